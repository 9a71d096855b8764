"""Chapter 11: what held up, asked again under other choices."""
