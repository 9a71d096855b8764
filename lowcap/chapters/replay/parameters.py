"""The parameters of chapter 1: what may be changed, within which bounds, in which unit, and what it costs."""

from lowcap.notebook.parameter_types import (
    FIVE_PAIRS,
    LINEAR,
    SEEDS,
    Dataset,
    Pair,
    Pairs,
    Parameters,
    Rates,
    Seeds,
    Widths,
    parameter,
)
from lowcap.values import STUDY_WIDTHS

CHAPTER = "01-replay"


class Replay(Parameters):
    """Chapter 1: the published study, replayed."""

    dataset: Dataset = parameter("auto", "where the images come from; auto takes MNIST if it is there")
    pairs: Pairs = parameter(FIVE_PAIRS, "pairs of classes to tell apart", unit="classes", cost=LINEAR)
    widths: Widths = parameter(list(STUDY_WIDTHS), "hidden widths", unit="units", cost=LINEAR)
    seeds: Seeds = parameter(SEEDS, "seeds of the study, one replica each", cost=LINEAR)
    steps: int = parameter(100, "full-batch gradient steps per network", (1, 2000), "steps", LINEAR)
    lr: float = parameter(0.03, "learning rate of the study", (1e-6, 100.0), "per step")
    grid_pair: Pair = parameter([4, 9], "pair of the learning-rate grid", unit="classes")
    grid_lrs: Rates = parameter(
        [1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0], "learning rates of the grid", unit="per step", cost=LINEAR
    )
    grid_seeds: int = parameter(2, "networks per width and learning rate in the grid", (1, 50), "networks", LINEAR)


SCHEMA = Replay

# Small enough to try the whole chapter in seconds, on the bundled digits; the numbers it gives mean nothing.
FAST = {
    "pairs": [[0, 1], [4, 9]],
    "widths": [2, 8, 24],
    "seeds": [0, 42],
    "grid_lrs": [0.001, 0.03, 0.3],
    "grid_seeds": 1,
}
