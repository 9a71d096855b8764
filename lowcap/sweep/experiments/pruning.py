"""Networks pruned once to each level."""

from __future__ import annotations

from itertools import product

import pandas as pd

from lowcap import pruning, pruning_scores
from lowcap.sweep.experiments.block import Block, Experiment
from lowcap.sweep.grid import names, numbers


def rows(block: Block) -> pd.DataFrame:
    """A row per network, score, scope and level: the columns of `pruning.one_shot`."""
    task, dense, frames = block.task, block.networks(), []
    for by, scope in product(block.on("by"), block.on("scope")):
        ranking = pruning.rank(dense, by=by, scope=scope, x=task.x_train, y=task.y_train)
        scored = pruning.one_shot(dense, block.on("level"), task.x_test, task.y_test, ranking=ranking)
        frames.append(scored.assign(by=by, scope=scope))
    return pd.concat(frames)


EXPERIMENT = Experiment(
    rows,
    "pruned once to each level, nothing trained afterwards",
    {
        "level": numbers(0, 1, default="0,0.5,0.8,0.9,0.95,0.99", what="fractions"),
        "by": names(pruning_scores.SCORES, default="magnitude"),
        "scope": names(pruning.SCOPES, default="first"),
    },
)
