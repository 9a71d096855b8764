"""How small can networks be: sweeps over pairs, widths and seeds, and the smallest width by a criterion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from lowcap.evaluation import evaluate, smallest_width
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import Task, load_task
from lowcap.training import train


def sweep(
    pairs: Iterable[tuple[int, int]],
    widths: Sequence[int],
    seeds: Sequence[int],
    recipe: Recipe,
    *,
    dataset: str = "auto",
    split_seed: int = 0,
) -> pd.DataFrame:
    """Train networks of every width and seed on every pair, and score them on the official test split.

    Returns:
        A row per network: `pair, protocol`, the columns of `evaluate`.
    """
    frames = []
    for pair in pairs:
        task = load_task(pair, dataset=dataset, split_seed=split_seed)
        population = Population.grid(widths, seeds, n_features=task.n_features, init=recipe.init)
        rows = evaluate(train(population, task, recipe), task.x_test, task.y_test)
        frames.append(rows.assign(pair=task.name, protocol=recipe.name))
    return pd.concat(frames, ignore_index=True)


def learning_curve(
    task: Task, widths: Sequence[int], seeds: Sequence[int], recipe: Recipe, *, every: int = 5
) -> pd.DataFrame:
    """Scores on the validation images in the course of training: a row per network and epoch (0, `every`, ...)."""
    frames: list[pd.DataFrame] = []

    def look(epoch: int, now: Population) -> None:
        frames.append(evaluate(now, task.x_val, task.y_val).assign(epoch=epoch))

    population = Population.grid(widths, seeds, n_features=task.n_features, init=recipe.init)
    train(population, task, recipe, on_epoch=look, every=every)
    return pd.concat(frames, ignore_index=True).assign(pair=task.name, protocol=recipe.name)


def widths_needed(rows: pd.DataFrame, *, threshold: float, tolerance: float, factor: float) -> pd.DataFrame:
    """The smallest sufficient width of every protocol and pair among the rows of `sweep`, by three rules.

    Returns:
        Rows by protocol and pair, and a column per rule: `threshold`, the mean F1 over seeds exceeds it;
        `tolerance`, the median F1 is at most so far below that of the widest network; `proportion`, the error 1 - F1
        of the median is at most `factor` times that of the widest. NaN where no width suffices.
    """
    scores = rows.groupby(["protocol", "pair", "width"])["f1"]
    mean, median = scores.mean().unstack(), scores.median().unstack()
    rules: dict[str, tuple[pd.DataFrame, Callable[[pd.Series], pd.Series]]] = {
        "threshold": (mean, lambda f1: f1 > threshold),
        "tolerance": (median, lambda f1: f1 >= f1.iloc[-1] - tolerance),
        "proportion": (median, lambda f1: 1 - f1 <= factor * (1 - f1.iloc[-1])),
    }
    found = {}
    for rule, (table, enough) in rules.items():
        found[rule] = [smallest_width(f1.dropna(), enough) for _, f1 in table.iterrows()]
    return pd.DataFrame(found, index=mean.index)
