"""Chapter 2: how small networks can be."""
