"""Chapter 7: saliency maps, what they agree on and whether they can be trusted."""
