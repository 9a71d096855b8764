"""Chapter 10: double descent."""
