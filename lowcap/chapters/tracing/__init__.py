"""Chapter 5: tracing activations, and removing the neurons that they point at."""
