"""Hidden units removed one by one."""

from __future__ import annotations

import pandas as pd

from lowcap.chapters.tracing import activations, subnetworks
from lowcap.sweep.experiments.block import Block, Experiment
from lowcap.sweep.grid import names


def rows(block: Block) -> pd.DataFrame:
    """A row per network, score, read-out and number of removed units."""
    population = block.networks()
    networks = subnetworks.members(population, block.task)
    found = subnetworks.compare(networks, block.task, by=block.on("by"), read_outs=block.on("read_out"))
    return found.assign(seed=[population.seeds[i] for i in found.pop("network")])


EXPERIMENT = Experiment(
    rows,
    "hidden units removed one by one",
    {
        "by": names(activations.SCORES, default="weighted"),
        "read_out": names(activations.READ_OUTS, default="plain"),
    },
)
