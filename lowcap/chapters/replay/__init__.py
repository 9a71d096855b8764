"""Chapter 1: the published study, replayed as its code ran it."""
