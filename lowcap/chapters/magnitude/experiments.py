"""Magnitude pruning, as chapter 3 looks at it: the study's networks again, then networks trained to convergence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch

from lowcap import pruning
from lowcap.chapters.replay import experiments as replay
from lowcap.errors import UserError
from lowcap.evaluation import dead_units, f1_score
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import Task, load_task
from lowcap.training import start, train, trained

KINDS = {"as run": True, "true": False}


def published(
    levels: Iterable[float],
    *,
    seeds: Sequence[int] = replay.SEEDS,
    pairs: replay.Pairs = replay.PAIRS,
    widths: Sequence[int] = (24,),
    dataset: str = "auto",
) -> pd.DataFrame:
    """The study's own networks, replayed and pruned in both layers to each level in [0, 1].

    Returns:
        A row per network, level and kind: `pair, width, seed, level, kind, f1` on the study's held-out images, and
        `sparsity`, `connected`: see `pruning.measure`; `dead` counts hidden units that never fire. The kind is `as run`
        (the level divided by 100 once more, as in the study's code) or `true`.
    """
    levels = list(levels)

    def look(population: Population, data: replay.Split) -> pd.DataFrame:
        frames = []
        for kind, as_run in KINDS.items():
            for level in levels:
                small = replay.pruned(population, 100 * level, as_run=as_run)
                with torch.no_grad():
                    hidden = small.hidden(data.x_test)
                    f1 = f1_score(small.read_out(hidden) >= 0, data.y_test)  # as the study counts a half
                rows = small.members.join(pruning.measure(small)).assign(level=level, kind=kind, f1=f1.numpy())
                frames.append(rows.assign(dead=dead_units(small, hidden)))
        return pd.concat(frames).assign(pair="-".join(map(str, data.pair)))

    return pd.concat(replay.each(look, seeds=seeds, pairs=pairs, widths=widths, dataset=dataset), ignore_index=True)


def against_reference(rows: pd.DataFrame) -> tuple[int, int]:
    """How many scores of `published` can be compared with the study's original code, and how many agree to 1e-9."""
    names = {}  # of the reference's columns: the kind and the level that each holds
    for kind, percentage in product(KINDS, replay.PERCENTAGES):
        names[f"f1_pruned_{kind.replace(' ', '_')}_{percentage}"] = (kind, percentage / 100)
    known = replay.reference().melt(["pair", "width", "seed"], list(names), var_name="column", value_name="reference")
    known[["kind", "level"]] = pd.DataFrame(known["column"].map(names).tolist(), index=known.index)
    both = rows.merge(known, on=["pair", "width", "seed", "kind", "level"])
    return len(both), int(((both["f1"] - both["reference"]).abs() < 1e-9).sum())


def fine_tuned(population: Population, task: Task, levels: Iterable[float], recipe: Recipe, **how: Any) -> pd.DataFrame:
    """Prune once to each level, train on by the recipe, and look on the test images: `pruning.results` per `level`.

    Level 0 is the dense network with the same additional training. `how` are the arguments of `pruning.rank`.
    """
    ranking = pruning.rank(population, **how)
    tuned = ((level, train(ranking.prune(level), task, recipe, order_seed=1)) for level in levels)
    return pruning.per_level(tuned, task.x_test, task.y_test)


def methods(
    task: Task,
    widths: Sequence[int],
    seeds: Sequence[int],
    recipe: Recipe,
    levels: Sequence[float],
    tune: Recipe,
    rounds: Sequence[float] = (),
) -> pd.DataFrame:
    """Five ways to the same sparsity of the first layer: `pruning.results` on the test images per `method` and `level`.

    `one-shot`; `fine-tuned` by the recipe `tune` after it; `gradual` during training; `iterative` with rewinding to the
    initialisation, through `rounds` (by default the levels); and, as a control, `random` masks over untrained networks,
    which are then trained.
    """
    dense = trained(task, widths, seeds, recipe)

    def fresh() -> Population:
        return start(task, widths, seeds, recipe)

    def look(populations: Iterable[tuple[float, Population]]) -> pd.DataFrame:
        return pruning.per_level(populations, task.x_test, task.y_test)

    how: dict[str, Any] = {"scope": "first"}
    some = [level for level in levels if level > 0]
    steps = [level for level in rounds or levels if level > 0]
    ranking = pruning.rank(dense, **how)
    # The masks of `random` are drawn before training: what such networks reach needs no knowledge of any weight.
    at_random = ((level, pruning.prune(fresh(), level, by="random", **how)) for level in some)
    frames = {
        "one-shot": pruning.one_shot(dense, levels, task.x_test, task.y_test, ranking=ranking),
        "fine-tuned": fine_tuned(dense, task, levels, tune, **how),
        "gradual": look((level, pruning.gradual(fresh(), task, recipe, level, **how)) for level in some),
        "iterative": look(pruning.iterative(fresh(), task, recipe, steps, **how)),
        "random": look((level, train(masked, task, recipe)) for level, masked in at_random),
    }
    for name in ("gradual", "random"):
        frames[name] = pd.concat([frames["one-shot"].query("level == 0"), frames[name]])
    return pd.concat([rows.assign(method=name) for name, rows in frames.items()], ignore_index=True)


def at_one_level(
    pairs: Iterable[tuple[int, int]],
    widths: Sequence[int],
    seeds: Sequence[int],
    recipe: Recipe,
    rounds: Sequence[float],
    *,
    dataset: str = "auto",
) -> pd.DataFrame:
    """Iterative pruning of the first layer through the rounds, and random masks at the last of them, pair by pair.

    Rows as of `methods`, at level 0 and the last round, with the column `pair`.
    """
    frames = []
    for pair in pairs:
        task = load_task(pair, dataset=dataset)
        own = recipe.stretched(task)
        found = dict(pruning.iterative(start(task, widths, seeds, own), task, own, rounds, scope="first"))
        control = pruning.prune(start(task, widths, seeds, own), rounds[-1], by="random", scope="first")
        runs = [("dense", 0.0, found[0.0]), ("iterative", rounds[-1], found[rounds[-1]])]
        for method, level, one in [*runs, ("random", rounds[-1], train(control, task, own))]:
            rows = pruning.results(one, task.x_test, task.y_test)
            frames.append(rows.assign(pair=task.name, method=method, level=level))
    return pd.concat(frames, ignore_index=True)


def sweep(
    pairs: Iterable[tuple[int, int]],
    widths: Sequence[int],
    seeds: Sequence[int],
    recipe: Recipe,
    levels: Sequence[float],
    *,
    tune: Recipe | None = None,
    tune_levels: Sequence[float] = (),
    dataset: str = "auto",
) -> pd.DataFrame:
    """Train and prune the first layer once, pair by pair: `pruning.results` per `pair`, `method` and `level`.

    The method is `one-shot`, at `levels`, and, with a recipe `tune`, `fine-tuned`, at `tune_levels`.
    """
    frames = []
    for pair in pairs:
        task = load_task(pair, dataset=dataset)
        dense = trained(task, widths, seeds, recipe.stretched(task))
        ranking = pruning.rank(dense, scope="first")
        rows = pruning.one_shot(dense, levels, task.x_test, task.y_test, ranking=ranking)
        frames.append(rows.assign(pair=task.name, method="one-shot"))
        if tune:
            rows = fine_tuned(dense, task, tune_levels, tune.stretched(task), scope="first")
            frames.append(rows.assign(pair=task.name, method="fine-tuned"))
    return pd.concat(frames, ignore_index=True)


def largest_sparsity(
    rows: pd.DataFrame,
    *,
    by: Sequence[str],
    least: float | None = None,
    within: float | None = None,
    factor: float | None = None,
) -> pd.Series:
    """The largest level up to which each network, one per combination of the columns `by`, scores well enough.

    Args:
        rows: a row per network and `level`, with `f1`; level 0 is the dense network.
        least: the F1 that has to be reached, at this level and at every lower one; or
        within: how far below its own dense F1 it may stay; or
        factor: how many times the error 1 - F1 of the dense network it may make.

    Returns:
        The levels, indexed by `by`; NaN where even the dense network does not reach it.

    Raises:
        UserError: not exactly one of the three bars, or no level 0.
    """
    if [least, within, factor].count(None) != 2:
        raise UserError(f"give one of `least`, `within` and `factor`; got {least!r}, {within!r}, {factor!r}")
    if 0 not in set(rows["level"]):
        raise UserError("the rows must hold level 0, the dense networks, to which the others are compared")
    f1 = rows.pivot(index=list(by), columns="level", values="f1").sort_index(axis=1)
    bar = pd.Series(least, f1.index, dtype=float)
    if within is not None:
        bar = f1[0.0] - within
    elif factor is not None:
        bar = 1 - factor * (1 - f1[0.0])
    # A level counts only if all lower ones are good enough too; so the last of them is their number less one.
    fine = f1.ge(bar, axis=0).cummin(axis=1)
    last = fine.sum(axis=1) - 1
    levels = f1.columns.to_numpy()
    return pd.Series(np.where(last >= 0, levels[last], np.nan), index=f1.index, name="sparsity")
