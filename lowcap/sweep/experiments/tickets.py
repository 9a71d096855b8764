"""Winning tickets and their controls."""

from __future__ import annotations

import pandas as pd

from lowcap.chapters.tickets import populations as tickets
from lowcap.chapters.tickets import procedure
from lowcap.sweep.experiments.block import Block, Experiment
from lowcap.sweep.grid import names, whole
from lowcap.training import start


def rows(block: Block) -> pd.DataFrame:
    """A row per network, round and method, the dense networks as round 0."""
    task, rounds, recipe = tickets.only_live(block.task), block.on("round"), block.fitted()
    first = start(task, block.shard.widths, block.shard.seeds, recipe)
    kind = tickets.Populations(first, task, recipe)
    found = procedure.find(kind, range(1, max(rounds) + 1))
    at, controls = [k for k in rounds if k], block.on("control")
    compared = tickets.compare(kind, found, at, controls=controls)
    return compared[compared["round"].isin([0, *rounds])]


EXPERIMENT = Experiment(
    rows,
    "winning tickets and their controls, each trained from the start",
    {
        "round": whole(0, 40, default="7", example="7,14"),
        "control": names(tickets.Populations.controls, default="new weights,random mask"),
    },
)
