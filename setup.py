"""Finds the packages, so that a new folder needs no line anywhere; all else is in pyproject.toml."""

from setuptools import find_packages, setup

DATA = ["lowcap.published", "lowcap.static", "lowcap.static.explorables"]  # which lie outside `lowcap` in a checkout
setup(packages=[*find_packages(include=["lowcap", "lowcap.*"]), *DATA])
