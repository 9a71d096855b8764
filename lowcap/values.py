"""Values that several modules share, each once. Light: what reads them need not load torch."""

LARGEST_SEED = 2**32 - 1  # what NumPy's legacy generator takes
