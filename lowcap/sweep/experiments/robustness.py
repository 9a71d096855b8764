"""Networks under corruption."""

from __future__ import annotations

from itertools import product

import pandas as pd

from lowcap.chapters.robustness import experiments as robustness
from lowcap.chapters.robustness.corruption import CORRUPTIONS, check_severity
from lowcap.errors import UserError
from lowcap.sweep.experiments.block import OWN, Block, Experiment
from lowcap.sweep.grid import Grid, names, numbers, own_or


def rows(block: Block) -> pd.DataFrame:
    """A row per network, kind and severity."""
    given = block.on("severity")
    kinds = {kind: CORRUPTIONS[kind].levels if given == (OWN,) else given for kind in block.on("kind")}
    return robustness.sweep(block.networks(), block.task.x_test, block.task.y_test, kinds)


def check(grid: Grid) -> None:
    """Raises UserError for a severity that a kind does not have, and for `own` beside numbers."""
    for kind, severity in product(grid["kind"], grid["severity"]):
        if severity != OWN:
            check_severity(kind, severity)
        elif len(grid["severity"]) > 1:
            raise UserError("axis `severity` must be `own` or numbers, not both; got both")


EXPERIMENT = Experiment(
    rows,
    "scores under corruption",
    {
        "kind": names(CORRUPTIONS, default="gaussian,occlusion"),
        "severity": own_or(numbers(0, 180, default="", example="0,0.1,0.3", what="numbers in the unit of the kind,")),
    },
    only_pairs=True,
    check=check,
)
