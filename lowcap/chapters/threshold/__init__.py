"""Chapter 4: weights under a threshold."""
