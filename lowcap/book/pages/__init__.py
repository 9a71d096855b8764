"""From executed chapters to the pages of the site, a single file, and the PDF."""
