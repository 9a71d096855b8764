"""How small can networks be: sweeps over pairs, widths and seeds, and the smallest width by a criterion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
import torch

from lowcap.classes import ALL_PAIRS
from lowcap.evaluation import evaluate
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import Task, class_names, load_task, resolve
from lowcap.training import train
from lowcap.values import STUDY_PAIRS


def pairs_in_order(n: int, dataset: str = "auto") -> list[tuple[int, int]]:
    """The first `n` pairs of classes that the dataset has: the study's five, then the others in a fixed shuffled order.

    Ten classes have 45 pairs, fewer have fewer.
    """
    others = [pair for pair in ALL_PAIRS if pair not in STUDY_PAIRS]
    order = np.random.default_rng(0).permutation(len(others))
    n_classes = len(class_names(resolve(dataset)))
    every = [*STUDY_PAIRS, *(others[i] for i in order)]
    return [pair for pair in every if max(pair) < n_classes][:n]


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


def smallest_width(scores: pd.Series, enough: Callable[[pd.Series], pd.Series]) -> float:
    """The smallest width that is enough, as is every larger one; NaN when the largest is not.

    Args:
        scores: one score per width, indexed by width.
        enough: which of the scores, in order of width, suffice.

    >>> smallest_width(pd.Series({2: 0.95, 4: 0.89, 8: 0.93, 16: 0.97}), lambda f1: f1 > 0.9)
    8.0
    """
    scores = scores.sort_index()
    # From the widest down: once a width fails, no narrower one counts.
    stable = enough(scores)[::-1].cummin()[::-1].astype(bool)
    return float(scores.index[stable][0]) if stable.any() else float("nan")


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


def linear_error(task: Task, *, alpha: float = 100.0) -> float:
    """Share of validation images that a linear classifier gets wrong: ridge regression on the labels, in closed form.

    A measure of how hard a pair is that owes nothing to hidden units or to gradient descent. The same as scikit-learn's
    RidgeClassifier, in a tenth of its time.
    """
    middle, target = task.x_train.mean(0), 2 * task.y_train - 1
    # Centred, so that the intercept is the mean of the targets and is not penalised.
    x = task.x_train - middle
    penalised = x.T @ x + alpha * torch.eye(task.n_features)  # (D, D)
    weights = torch.linalg.solve(penalised, x.T @ (target - target.mean()))  # (D,)
    guess = (task.x_val - middle) @ weights + target.mean() > 0
    return float((guess != task.y_val.bool()).double().mean())
