"""Few images with wrong labels."""

from __future__ import annotations

from itertools import product

import pandas as pd

from lowcap.chapters.descent import experiments as descent
from lowcap.errors import UserError
from lowcap.sweep.experiments.block import Block, Experiment
from lowcap.sweep.grid import Grid, numbers, whole
from lowcap.tasks import with_train_size


def rows(block: Block) -> pd.DataFrame:
    """A row per network, number of images and share of wrong labels."""
    frames = []
    for n, noise in product(block.on("n"), block.on("noise")):
        recipe = block.fitted(with_train_size(block.task, n))
        frames.append(descent.trained(block.task, block.shard.widths, block.shard.seeds, recipe, n=n, noise=noise))
    return pd.concat(frames)


def check(grid: Grid) -> None:
    """Raises UserError for fewer images than there are classes."""
    most = max(pair.count("-") + 1 for pair in grid["pair"])
    if min(grid["n"]) < most:
        raise UserError(f"axis `n` must be at least {most}, an image per class; got {min(grid['n'])}")


EXPERIMENT = Experiment(
    rows,
    "networks trained on few images with wrong labels",
    {
        "n": whole(2, 60000, default="500", example="500,2000"),
        "noise": numbers(0, 1, default="0,0.2", example="0,0.1,0.2", what="fractions"),
    },
    check=check,
)
