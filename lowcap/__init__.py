"""Populations of tiny networks, and the experiments of the book "Low-Capacity Networks" on them."""

__version__ = "0.1.0"
