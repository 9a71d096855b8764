"""What leaves the checkout beside the site: the archive and the README's results."""
