"""Chapter 6: the geometry of hidden layers, measured and as maps."""
