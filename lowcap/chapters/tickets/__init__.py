"""Chapter 9: winning tickets and their controls."""
