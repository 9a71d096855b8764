"""The parameters of chapter 2: what may be changed, within which bounds, in which unit, and what it costs."""

from lowcap.notebook.parameter_types import FIVE_PAIRS, LINEAR, Dataset, Pair, Pairs, Parameters, Widths, parameter

CHAPTER = "02-capacity"


class Capacity(Parameters):
    """Chapter 2: how small can the networks be?"""

    dataset: Dataset = parameter("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = parameter([4, 9], "the pair that is looked at closely", unit="classes")
    pairs: Pairs = parameter(FIVE_PAIRS, "the pairs of the study", unit="classes", cost=LINEAR)
    widths: Widths = parameter([1, 2, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64], "hidden widths", unit="units", cost=LINEAR)
    n_seeds: int = parameter(10, "networks per pair and width", (1, 100), "networks", LINEAR)
    all_widths: Widths = parameter([1, 2, 4, 8, 16, 32, 64], "hidden widths for all pairs", unit="units", cost=LINEAR)
    all_seeds: int = parameter(10, "networks per pair and width for all pairs", (1, 100), "networks", LINEAR)
    published_seeds: int = parameter(3, "replicas by the published protocol", (1, 50), "networks", LINEAR)
    epochs: int = parameter(20, "passes over the training images (more where they are few)", (1, 500), "epochs", LINEAR)
    lr: float = parameter(0.05, "learning rate", (1e-6, 100.0), "per step")
    long_epochs: int = parameter(60, "passes in the longer run that checks convergence", (1, 2000), "epochs", LINEAR)
    threshold: float = parameter(0.9, "mean F1 that a width has to exceed, after the paper", (0.0, 1.0), "F1")
    tolerance: float = parameter(0.005, "how far below the widest network a width may stay", (0.0, 1.0), "F1")
    factor: float = parameter(1.5, "how many times the error of the widest network a width may make", (1.0, 100.0))
    n_pairs: int = parameter(45, "how many of the 45 pairs, the five of the study first", (1, 45), "pairs", LINEAR)


SCHEMA = Capacity

# Small enough to try the whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST = {
    "pairs": [[0, 1], [4, 9]],
    "widths": [1, 4, 16],
    "n_seeds": 3,
    "all_widths": [1, 4, 16],
    "all_seeds": 2,
    "published_seeds": 2,
    "epochs": 8,
    "long_epochs": 16,
    "n_pairs": 8,
}
