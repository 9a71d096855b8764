"""Chapter 3: magnitude pruning."""
