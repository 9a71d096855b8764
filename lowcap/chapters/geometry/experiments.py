"""Geometry: networks, what becomes of them when they are pruned, and how far their hidden layers move.

The measures are those of `measures`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from lowcap import pruning
from lowcap.chapters.geometry.measures import BETWEEN, MEASURES, WITHIN, Images, Layer, hidden_layers, workers
from lowcap.chapters.replay import experiments as replay
from lowcap.errors import UserError
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.statistics import interval
from lowcap.tasks import Task
from lowcap.training import start, train

Conditions = dict[str, Population]  # the same networks, a population per thing that was done to them
DENSE, AS_RUN, OTHER, UNTRAINED = "dense", "as run", "another seed", "untrained"


def member(population: Population, width: int, seed: int) -> int:
    """The position of the network of this width and seed. Raises UserError where there is none."""
    have = list(zip(population.widths, population.seeds, strict=True))
    if (width, seed) not in have:
        there = f"width {_listed(population.widths)} and seed {_listed(population.seeds)}"
        raise UserError(f"`width` and `seed` must be those of a network that was trained: {there}; got {width}, {seed}")
    return have.index((width, seed))


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, sorted(set(numbers))))


def compare(
    conditions: Mapping[str, Population], images: Images, *, measures: Sequence[str] = MEASURES, k: int = 10
) -> pd.DataFrame:
    """A row per condition and network: `condition, width, seed`, a column per measure, and what `firing` counts.

    `cka`, `procrustes` and `neighbours` compare with the same network in the condition `dense`. `silhouette` says how
    far the classes lie apart, of at most 1 (Rousseeuw 1987); `knn` and `probe` are the accuracy of the `k` nearest
    neighbours and of a linear classifier (ridge regression) on the activations, fitted on `images.x_fit`.

    Raises:
        UserError: an unknown measure, no condition `dense`, or fewer images than neighbours.
    """
    for name in measures:
        pruning.one_of("measures", name, MEASURES)
    pruning.one_of("reference condition", DENSE, conditions)
    names = conditions[DENSE].members[["width", "seed"]].to_dict("records")
    reference = list(zip(names, hidden_layers(conditions[DENSE], images), strict=True))
    # A job is one network in one condition, beside the same network when it was dense.
    jobs = []
    for condition, population in conditions.items():
        for pair in zip(reference, hidden_layers(population, images), strict=True):
            jobs.append((condition, *pair))

    def row(job: tuple[str, tuple[dict, Layer], Layer]) -> dict:
        condition, (name, dense), layer = job
        found = {measure: BETWEEN[measure](dense.seen, layer.seen, k) for measure in measures if measure in BETWEEN}
        found |= {measure: WITHIN[measure](layer, k) for measure in measures if measure in WITHIN}
        return {"condition": condition} | name | found

    with workers() as pool:
        rows = list(pool.map(row, jobs))
    counts = pd.concat([firing(population, images) for population in conditions.values()], ignore_index=True)
    return pd.DataFrame(rows).join(counts)


def closer(rows: pd.DataFrame, condition: str, than: str = OTHER) -> pd.DataFrame:
    """How much closer to its dense layer each network's layer is in one condition than in another, by `compare`'s rows.

    A row per measure of `measures.BETWEEN`, `estimate, low, high` of the paired difference over the networks
    (`statistics.interval`); above 0 is closer.

    Raises:
        UserError: a condition that is not among the rows.
    """
    for name, value in (("condition", condition), ("than", than)):
        pruning.one_of(name, value, rows["condition"].unique())
    # Procrustes is a distance, small where layers are alike; the others are large there.
    signs = pd.Series({name: -1 if name == "procrustes" else 1 for name in BETWEEN})

    def measured(name: str) -> pd.DataFrame:
        return rows[rows["condition"] == name].set_index(["width", "seed"])[list(BETWEEN)]

    difference = measured(condition) - measured(than)
    return (difference * signs).apply(interval).T


@torch.no_grad()
def firing(population: Population, images: Images) -> pd.DataFrame:
    """A row per member: `f1, dead, sparsity_in, connected` of `pruning.results`, and `always`, units that fire on all.

    A unit is dead if it fires on none of the images looked at.
    """
    constant = (population.hidden(images.x) > 0).all(0).long()
    always = torch.zeros(len(population), dtype=torch.long).index_add_(0, population.owner, constant)
    rows = pruning.results(population, images.x, images.y)[["f1", "dead", "sparsity_in", "connected"]]
    return rows.assign(always=always.numpy())


def percent(level: float) -> str:
    """The name of the condition in which so much, in [0, 1], is pruned."""
    return f"{100 * level:g} %"


def tuned_name(level: float) -> str:
    """The name of the condition in which so much is pruned and the rest trained on."""
    return f"{percent(level)} fine-tuned"


def trained(
    task: Task, width: int, seeds: Sequence[int], recipe: Recipe, levels: Iterable[float], tune: tuple[float, Recipe]
) -> Conditions:
    """Networks of one width, a member per seed, and what becomes of them.

    `dense`; `as run`, the study's pruning at the level of `tune`; the first layer pruned once to each level; at that
    of `tune` also trained on by its recipe; and two baselines: dense networks of `another seed`, and `untrained` ones.
    """
    untrained = start(task, [width], seeds, recipe)
    dense = train(untrained.copy(), task, recipe)
    ranking, (level, after) = pruning.rank(dense, scope="first"), tune
    # For `another seed` each network stands in its neighbour's place: the same networks, compared with others.
    return {
        DENSE: dense,
        AS_RUN: replay.pruned(dense, level, as_run=True),
        **{percent(share): ranking.prune(share) for share in levels},
        tuned_name(level): train(ranking.prune(level), task, after, order_seed=1),
        OTHER: dense.select(np.roll(range(len(dense)), -1)),
        UNTRAINED: untrained,
    }


def published(
    pair: tuple[int, int], width: int, seeds: Sequence[int], levels: Sequence[float], level: float, **how: Any
) -> list[tuple[Conditions, Images]]:
    """The study's own networks, replayed: per seed the conditions of one network, with images of its own split.

    Conditions as of `trained`, without fine-tuning; pruned once in both layers, as the study does. The hidden layer is
    that of pruning the first layer alone. `how`: `n_fit` and `n` images, and the `dataset`. After training and pruning
    the networks are rounded to float32.
    """
    dataset, n_fit, n = how.get("dataset", "auto"), how.get("n_fit", 2000), how.get("n", 1000)
    options: dict[str, Any] = {"seeds": seeds, "pairs": [pair], "widths": [width], "dataset": dataset}
    found = replay.each(lambda population, data: (population, Images.of(data, n_fit, n)), **options)
    before = replay.each(lambda population, data: population, steps=0, **options)
    rows = []
    for i, (dense, images) in enumerate(found):
        conditions = {DENSE: dense, AS_RUN: replay.pruned(dense, level, as_run=True)}
        conditions |= {percent(share): replay.pruned(dense, share, as_run=False) for share in levels}
        neighbour, _ = found[(i + 1) % len(found)]
        conditions |= {OTHER: neighbour, UNTRAINED: before[i]}
        rows.append(({name: one.select([0]).float() for name, one in conditions.items()}, images))
    return rows
