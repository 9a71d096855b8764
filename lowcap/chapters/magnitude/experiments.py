"""Magnitude pruning, as chapter 3 looks at it: ways to prune networks that were trained to convergence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from lowcap import pruning
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import Task, load_task
from lowcap.training import start, train, trained


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
