"""Values that several modules share, each once. Light: what reads them need not load torch."""

LARGEST_SEED = 2**32 - 1  # what NumPy's legacy generator takes
DATASETS = ("mnist", "fashion-mnist", "kmnist", "digits")  # and `folder:PATH`, see `lowcap.data.folder`

# The published study's, in the order in which its code ran them.
STUDY_PAIRS = ((0, 1), (1, 7), (4, 9), (3, 8), (5, 6))
STUDY_SEEDS = (0, 42, 78)
STUDY_WIDTHS = (2, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64)

CLOSE = 0.95  # the sparsity that chapters look at closely: the study says that 95 % of the weights can go
SPARSITIES = (0.5, 0.8, 0.9, CLOSE, 0.99)  # on the way to it and beyond
