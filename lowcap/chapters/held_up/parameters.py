"""The parameters of chapter 11: what may be changed, within which bounds, in which unit, and what it costs."""

from pydantic import ValidationInfo, field_validator

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

CHAPTER = "11-held-up"


class HeldUp(Parameters):
    """Chapter 11: what held up."""

    dataset: Dataset = parameter("auto", "where the images come from; auto takes MNIST if it is there")
    pairs: Pairs = parameter(FIVE_PAIRS, "the pairs of the study", unit="classes", cost=LINEAR)
    n_pairs: int = parameter(45, "how many of the 45 pairs, the five of the study first", (1, 45), "pairs", LINEAR)
    widths: Widths = parameter([1, 2, 4, 8, 24, 64], "hidden widths", unit="units", cost=LINEAR)
    width: int = parameter(
        24, "the width of pruned networks, and of those that noise is put before", (1, 1024), "units", LINEAR
    )
    other_width: int = parameter(64, "another one, for the same", (1, 1024), "units", LINEAR)
    n_seeds: int = parameter(3, "networks per pair and width", (2, 100), "networks", LINEAR)
    epochs: int = parameter(
        20, "passes over the training images with SGD (more where they are few)", (1, 500), "epochs", LINEAR
    )
    adam_epochs: int = parameter(10, "the same, with Adam", (1, 500), "epochs", LINEAR)
    seeds: Seeds = parameter(SEEDS, "seeds of the study, one replica each", cost=LINEAR)
    traced_widths: Widths = parameter([256, 64], "hidden widths of traced networks", unit="units", cost=LINEAR)
    traced_epochs: int = parameter(6, "passes over the training images of all ten classes", (1, 500), "epochs", LINEAR)
    pair: Pair = parameter([4, 9], "the pair of the maps, of noise and of random features", unit="classes")
    map_width: int = parameter(
        48, "width of the networks of the study whose maps are drawn", (1, 1024), "units", LINEAR
    )
    n_images: int = parameter(200, "test images that are explained, at most", (20, 10000), "images", LINEAR)
    n_splits: int = parameter(5, "splits into training and validation images, for noise", (1, 50), "splits", LINEAR)
    n_starts: int = parameter(4, "networks per width and split, for noise", (2, 100), "networks", LINEAR)
    n_closed: int = parameter(400, "training images of random features", (40, 2000), "images", "its cube")
    reach: int = parameter(17, "widest random features, in multiples of the images", (4, 32), "times", LINEAR)
    n_draws: int = parameter(5, "draws of images, wrong labels and random features", (1, 100), "draws", LINEAR)

    @field_validator("other_width")
    @classmethod
    def _another_width(cls, other_width: int, info: ValidationInfo) -> int:
        if other_width == info.data.get("width"):
            raise ValueError("that is `width` too; name two different widths")
        return other_width


SCHEMA = HeldUp

# Small enough to try the whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST = {
    "pairs": [[0, 1], [4, 9]],
    "n_pairs": 6,
    "widths": [1, 4, 16],
    "width": 4,
    "other_width": 16,
    "n_seeds": 2,
    "epochs": 4,
    "adam_epochs": 3,
    "seeds": [0, 42],
    "traced_widths": [24, 12],
    "traced_epochs": 2,
    "map_width": 8,
    "n_images": 40,
    "n_splits": 2,
    "n_starts": 2,
    "n_closed": 60,
    "reach": 8,
    "n_draws": 2,
}
