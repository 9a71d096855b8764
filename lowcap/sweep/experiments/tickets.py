"""Winning tickets and their controls."""

from __future__ import annotations

import pandas as pd

from lowcap.chapters.tickets import experiments as tickets
from lowcap.sweep.experiments.block import Block, Experiment
from lowcap.sweep.grid import names, whole
from lowcap.training import start


def rows(block: Block) -> pd.DataFrame:
    """A row per network, round and method, the dense networks as round 0."""
    task, rounds, recipe = tickets.only_live(block.task), block.on("round"), block.fitted()
    first = start(task, block.shard.widths, block.shard.seeds, recipe)
    found = tickets.trunk(first, task, recipe, max(rounds))
    at, controls = [k for k in rounds if k], block.on("control")
    compared = tickets.compare(first, found, task, recipe, at, controls=controls)
    return compared[compared["round"].isin([0, *rounds])]


EXPERIMENT = Experiment(
    rows,
    "winning tickets and their controls, each trained from the start",
    {
        "round": whole(0, 40, default="7", example="7,14"),
        "control": names((*tickets.CONTROLS, "same pixels"), default="new weights,random mask"),
    },
)
