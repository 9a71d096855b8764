"""Which experiments can be swept, over which axes, and the shards of a grid. What they compute is in `experiments`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from lowcap.errors import UserError
from lowcap.sweep.experiments.block import RECIPES, ExperimentJob, find
from lowcap.sweep.grid import Axis, Grid, classes, names, own_or, suggestion, whole
from lowcap.values import DATASETS, LARGEST_SEED

NAMES = ("capacity", "pruning", "robustness", "tracing", "tickets", "descent")
UNITS = 2048  # hidden units of a shard's networks, or one seed: some ten seconds of training
OUTER = ("dataset", "pair", "split", "recipe", "epochs")  # axes of which a shard has one value each


def axes(experiment: str) -> dict[str, Axis]:
    """All axes of an experiment. Raises UserError, which lists what there is, when there is no such experiment."""
    if experiment not in NAMES:
        raise UserError(f"there is no experiment `{experiment}`{suggestion(experiment, NAMES)}, chapter:NAME")
    about = find(experiment)
    return {
        "dataset": names(("auto", *DATASETS), default="auto"),
        "pair": classes(only_pairs=about.only_pairs),
        "split": whole(0, LARGEST_SEED, default="0", example="0:4", what="split seeds"),
        "recipe": names(RECIPES, default="converged"),
        "epochs": own_or(whole(1, 100_000, default="", example="20")),
        "width": whole(1, 4096, default="2,4,8,16,32,64", example="1:64"),
        "seed": whole(0, LARGEST_SEED, default="0:9", example="0:99", what="seeds"),
        **about.axes,
    }


def blocks(widths: Sequence[int], seeds: Sequence[int]) -> list[tuple[int, ...]]:
    """The seeds in blocks whose networks, at all widths, have at most `UNITS` hidden units, or one seed."""
    size = max(1, UNITS // sum(widths))
    return [tuple(seeds[i : i + size]) for i in range(0, len(seeds), size)]


def shards(experiment: str, grid: Grid) -> Iterator[ExperimentJob]:
    """The shards of a grid, in the order of its rows."""
    conditions = tuple((name, grid[name]) for name in find(experiment).axes)
    for dataset, pair, split, recipe, epochs in product(*(grid[name] for name in OUTER)):
        for seeds in blocks(grid["width"], grid["seed"]):
            yield ExperimentJob(experiment, dataset, pair, split, recipe, epochs, grid["width"], seeds, conditions)


def check(experiment: str, grid: Grid) -> None:
    """Raises UserError for values that do not go together, before anything is computed."""
    find(experiment).check(grid)
