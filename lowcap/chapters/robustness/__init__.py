"""Chapter 8: robustness against corrupted images."""
