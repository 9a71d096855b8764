"""The parameters of chapter 3: what may be changed, within which bounds, in which unit, and what it costs."""

from lowcap.notebook.parameter_types import (
    FIVE_PAIRS,
    LINEAR,
    SEEDS,
    Dataset,
    Pair,
    Pairs,
    Parameters,
    Seeds,
    Widths,
    parameter,
)
from lowcap.values import CLOSE

CHAPTER = "03-magnitude"


class Magnitude(Parameters):
    """Chapter 3: magnitude pruning."""

    dataset: Dataset = parameter("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = parameter([4, 9], "the pair that is looked at closely", unit="classes")
    pairs: Pairs = parameter(FIVE_PAIRS, "the pairs of the study", unit="classes", cost=LINEAR)
    width: int = parameter(24, "the width that is looked at closely", (1, 1024), "units", LINEAR)
    seeds: Seeds = parameter(SEEDS, "seeds of the study, one replica each", cost=LINEAR)
    widths: Widths = parameter([2, 4, 8, 24, 64], "hidden widths", unit="units", cost=LINEAR)
    n_seeds: int = parameter(10, "networks per pair and width", (2, 100), "networks", LINEAR)
    n_pairs: int = parameter(45, "how many of the 45 pairs, the five of the study first", (1, 45), "pairs", LINEAR)
    epochs: int = parameter(20, "passes over the training images (more where they are few)", (1, 500), "epochs", LINEAR)
    lr: float = parameter(0.05, "learning rate of SGD", (1e-6, 100.0), "per step")
    tune_epochs: int = parameter(3, "passes of fine-tuning after pruning", (1, 500), "epochs", LINEAR)
    sparsity: float = parameter(CLOSE, "the sparsity that is looked at closely", (0.0, 0.999), "fraction")
    least: float = parameter(0.9, "F1 that a pruned network has to reach, after the paper", (0.0, 1.0), "F1")
    tolerance: float = parameter(0.01, "how far below its dense F1 a pruned network may stay", (0.0, 1.0), "F1")
    factor: float = parameter(2.0, "how many times the error of its dense network it may make", (1.0, 100.0))


SCHEMA = Magnitude

# Small enough to try the whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST = {
    "pairs": [[0, 1], [4, 9]],
    "width": 16,
    "widths": [4, 16],
    "seeds": [0, 42],
    "n_seeds": 3,
    "n_pairs": 6,
    "epochs": 6,
    "tune_epochs": 2,
}
