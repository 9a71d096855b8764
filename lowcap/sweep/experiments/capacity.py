"""Scores of trained networks."""

from __future__ import annotations

import pandas as pd

from lowcap.evaluation import evaluate
from lowcap.sweep.experiments.block import Block, Experiment


def rows(block: Block) -> pd.DataFrame:
    """A row per network: the columns of `evaluate`."""
    return evaluate(block.networks(), block.task.x_test, block.task.y_test)


EXPERIMENT = Experiment(rows, "scores of trained networks")
