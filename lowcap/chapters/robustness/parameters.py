"""The parameters of chapter 8: what may be changed, within which bounds, in which unit, and what it costs."""

from pydantic import ValidationInfo, field_validator

from lowcap.notebook.parameter_types import (
    LINEAR,
    SEEDS,
    Dataset,
    Pair,
    Parameters,
    Seeds,
    Share,
    Shares,
    Widths,
    parameter,
)
from lowcap.values import SPARSITIES

CHAPTER = "08-robustness"


class Robustness(Parameters):
    """Chapter 8: robustness."""

    dataset: Dataset = parameter("auto", "where the images come from; auto takes MNIST if it is there")
    pair: Pair = parameter([4, 9], "the pair that is looked at closely", unit="classes")
    small: int = parameter(24, "the narrower of the two widths that are compared", (1, 1024), "units", LINEAR)
    large: int = parameter(64, "the wider of them", (1, 1024), "units", LINEAR)
    widths: Widths = parameter([1, 2, 4, 8, 24, 64], "hidden widths", unit="units", cost=LINEAR)
    seeds: Seeds = parameter(SEEDS, "seeds of the study, one replica each", cost=LINEAR)
    n_splits: int = parameter(5, "splits into training and validation images", (1, 50), "splits", LINEAR)
    n_starts: int = parameter(8, "networks per width and split", (2, 100), "networks", LINEAR)
    epochs: int = parameter(12, "passes over the training images (more where they are few)", (1, 500), "epochs", LINEAR)
    lr: float = parameter(0.05, "learning rate of SGD", (1e-6, 100.0), "per step")
    sigma: float = parameter(0.3, "standard deviation of the noise that decides", (0.01, 10.0), "of a pixel's range")
    patch: int = parameter(7, "side of the patch that decides", (1, 28), "pixels of 28")
    matters: float = parameter(0.005, "F1 that an effect has to exceed", (0.0, 1.0), "F1")
    rare: Share = parameter(0.01, "a pixel is seldom lit in fewer than this share of the images")
    n_pairs: int = parameter(45, "how many of the 45 pairs, the five of the study first", (1, 45), "pairs", LINEAR)
    pair_starts: int = parameter(4, "networks per pair and width", (2, 100), "networks", LINEAR)
    pair_epochs: int = parameter(5, "passes over the training images of each pair", (1, 500), "epochs", LINEAR)
    sparsities: Shares = parameter(list(SPARSITIES), "true sparsities of the first layer", unit="fraction", cost=LINEAR)
    tune_epochs: int = parameter(3, "passes of fine-tuning after pruning", (1, 500), "epochs", LINEAR)
    epsilon: float = parameter(0.05, "how far an attack may move a pixel", (0.001, 1.0), "of a pixel's range")
    n_attacked: int = parameter(300, "test images that are attacked, at most", (10, 10000), "images", LINEAR)

    @field_validator("large")
    @classmethod
    def _another_width(cls, large: int, info: ValidationInfo) -> int:
        if large == info.data.get("small"):
            raise ValueError("that is the width of `small` too; name two different widths")
        return large


SCHEMA = Robustness

# Small enough to try the whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST = {
    "small": 8,
    "large": 24,
    "widths": [2, 8, 24],
    "seeds": [0, 42],
    "n_splits": 2,
    "n_starts": 3,
    "epochs": 2,
    "n_pairs": 5,
    "pair_starts": 3,
    "pair_epochs": 1,
    "sparsities": [0.5, 0.9],
    "tune_epochs": 1,
    "n_attacked": 60,
}
