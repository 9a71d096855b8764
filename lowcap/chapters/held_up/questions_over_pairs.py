"""Questions of chapter 11 over pairs of classes: how wide networks must be, and how much can be pruned, by difficulty.

Networks are trained once, fewer than in the claim's own chapter and on coarser grids; a `Question` counts them anew.
The first option of each choice is what that chapter does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import torch

from lowcap import pruning, statistics, training
from lowcap.chapters.held_up.multiverse import Question
from lowcap.chapters.replay import experiments as replay
from lowcap.evaluation import evaluate, f1_score, smallest_width
from lowcap.pairs import linear_error
from lowcap.recipe import Recipe
from lowcap.tasks import load_task

LEVELS = (0.0, 0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995)
TENTHS = tuple(round(0.1 * i, 1) for i in range(10))
LAYERS = {"first layer": "first", "both layers": "layer"}
AVERAGES = {"mean": "mean", "median": "median"}
INTERVALS = {"over pairs": "pairs", "over digits": "digits"}


def pruned_pairs(
    pairs: Iterable[tuple[int, int]],
    widths: Sequence[int],
    seeds: Sequence[int],
    recipe: Recipe,
    pruned: Sequence[int],
    *,
    tenths: Collection[tuple[int, int]] = replay.PAIRS,
    dataset: str = "auto",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train pair by pair: the rows of `capacity.sweep`, and those of networks of the `pruned` widths, pruned once.

    The latter hold `f1` per `pair, width, seed, level` and `layers`: `first`, or `layer` for each of the two. Levels
    are `LEVELS`, and every tenth for the pairs `tenths`.
    """
    full, less = [], []
    for pair in pairs:
        task = load_task(pair, dataset=dataset)
        dense = training.trained(task, widths, seeds, recipe.stretched(task))
        full.append(evaluate(dense, task.x_test, task.y_test).assign(pair=task.name))
        some = dense.select([i for i, width in enumerate(dense.widths) if width in pruned])
        levels = sorted({*LEVELS, *TENTHS}) if pair in tenths else LEVELS
        for layers in LAYERS.values():
            ranking = pruning.rank(some, scope=layers)
            for level in levels:
                small = ranking.prune(level)
                with torch.no_grad():
                    f1 = f1_score(small(task.x_test) > 0, task.y_test)
                less.append(small.members.assign(pair=task.name, layers=layers, level=level, f1=f1.numpy()))
    return pd.concat(full, ignore_index=True), pd.concat(less, ignore_index=True)


def difficulties(pairs: Iterable[tuple[int, int]], *, dataset: str = "auto") -> pd.DataFrame:
    """How hard each pair is, by the validation images that a `linear` classifier and the `nearest` class mean miss."""
    rows = {}
    for pair in pairs:
        task = load_task(pair, dataset=dataset)
        means = torch.stack([task.x_train[task.y_train == k].mean(0) for k in (0, 1)])  # (2, D)
        missed = torch.cdist(task.x_val, means).argmin(1) != task.y_val
        rows[task.name] = {"linear": linear_error(task), "nearest": float(missed.double().mean())}
    return pd.DataFrame(rows).T


def correlation(hard: pd.Series, needed: pd.Series, over: str) -> pd.Series:
    """`statistics.rank_correlation` of two values per pair, with its interval over `pairs` or over `digits`.

    Pairs that share a digit are not independent. Over digits the interval is the estimate and 1.96 standard errors of
    the jackknife that leaves out one digit at a time with all its pairs (Lin et al. 2020, who show it to be cautious).
    """
    both = pd.DataFrame({"hard": hard, "needed": needed}).dropna()
    found = statistics.rank_correlation(*both.to_numpy().T)
    if over == "pairs" or found.isna().any():
        return found
    labels = both.index.str.split("-")
    found_without = []
    for digit in sorted(set(chain.from_iterable(labels))):
        left = both[[digit not in pair for pair in labels]]
        if len(left) > 2:
            found_without.append(statistics.spearman(*left.to_numpy().T))
    each = np.array(found_without)
    error = 1.96 * np.sqrt(len(each) * each.var()) if len(each) > 2 else np.nan
    estimate = found["estimate"]
    return pd.Series({"estimate": estimate, "low": estimate - error, "high": estimate + error})


def around(value: float, others: Iterable[float]) -> dict[str, float]:
    """Our own value, then the others, as options."""
    return {f"{one:g}": one for one in dict.fromkeys((value, *others))}


def minimum_width(rows: Mapping[str, pd.DataFrame], *, threshold: float, dataset: str) -> Question:
    """Are the minimum widths that the study prints for a dataset what pairs need? `rows` of networks by optimiser."""
    printed = replay.printed(dataset).query("quantity == 'minimum_width'").set_index("pair")["value"]
    printed = printed.str.extract(r"(\d+)")[0].astype(float)

    def judged(option: Mapping[str, Any]) -> tuple[bool | None, bool]:
        scores = rows[option["optimiser"]].groupby(["pair", "width"])[option["score"]]
        table = scores.agg(option["over the starts"]).unstack()
        known = printed[printed.index.isin(table.index)]
        stays = option["wide enough"]
        found = pd.Series({pair: _first(table.loc[pair], threshold, stays) for pair in known.index})
        if not len(known):
            return None, False  # the study prints nothing for these pairs
        enough = (found.fillna(np.inf) >= known).to_numpy()  # no width suffices: more is needed than was tried
        return bool(enough.all()), bool(enough.mean() >= 0.5)

    return Question(
        "minimum-width",
        "Minimum widths",
        {
            "optimiser": {name: name for name in rows},
            "score": {"F1": "f1", "accuracy": "accuracy"},
            "over the starts": {**AVERAGES, "the worst": "min"},
            "wide enough": {"here and at every larger width": True, "here": False},
        },
        judged,
    )


def _first(scores: pd.Series, threshold: float, stays: bool) -> float:
    """The smallest width whose score exceeds the threshold, as do those of all larger ones if it `stays` above."""
    if stays:
        return smallest_width(scores, lambda f1: f1 > threshold)
    above = scores.index[scores > threshold]
    return float(above.min()) if len(above) else float("nan")


def capacity_difficulty(
    rows: Mapping[str, pd.DataFrame], hard: pd.DataFrame, *, threshold: float, tolerance: float, factor: float
) -> Question:
    """Do harder pairs need more units? By the three measures after convergence; that before it is not asked again."""

    @cache
    def positive(optimiser: str, average: str, measure: str, over: str, rule: str, value: float) -> bool:
        table = rows[optimiser].groupby(["pair", "width"])["f1"].agg(average).unstack()
        bars = {
            "threshold": lambda f1: f1 > value,
            "tolerance": lambda f1: f1 >= f1.iloc[-1] - value,
            "times the error": lambda f1: 1 - f1 <= value * (1 - f1.iloc[-1]),
        }
        needed = pd.Series({pair: smallest_width(f1, bars[rule]) for pair, f1 in table.iterrows()})
        return bool(correlation(hard[measure], needed, over)["low"] > 0)

    def judged(option: Mapping[str, Any]) -> tuple[bool, bool]:
        average = option["over the starts"]
        averages = {"threshold": "mean", "tolerance": average, "times the error": average}
        found = []
        for rule, own in averages.items():
            how = option["optimiser"], own, option["difficulty"], option["interval"]
            found.append(positive(*how, rule, option[rule]))
        return all(found), any(found)

    return Question(
        "capacity-difficulty",
        "Capacity scales with difficulty",
        {
            "optimiser": {name: name for name in rows},
            "over the starts": {"median": "median", "mean": "mean"},
            "difficulty": {"error of a linear classifier": "linear", "error of the nearest class mean": "nearest"},
            "interval": INTERVALS,
            "threshold": around(threshold, (0.95, 0.97)),
            "tolerance": around(tolerance, (0.0025, 0.01)),
            "times the error": around(factor, (1.25, 2.0)),
        },
        judged,
    )


def simple_tasks(
    rows: Mapping[str, pd.DataFrame], hard: pd.DataFrame, width: int, *, least: float, tolerance: float, factor: float
) -> Question:
    """Do simple tasks stand more pruning? `rows` as the second of `pruned_pairs`, by optimiser."""

    @cache
    def below(optimiser: str, size: int, layers: str, average: str, over: str, bar: str, value: float) -> bool:
        mine = rows[optimiser]
        mine = mine[(mine["width"] == size) & (mine["layers"] == layers) & mine["level"].isin(LEVELS)]
        largest = pruning.largest_sparsity(mine, by=["pair", "width", "seed"], **{bar: value})
        of_pairs = largest.groupby("pair").agg(average)
        return bool(correlation(hard["linear"], of_pairs, over)["high"] < 0)

    def judged(option: Mapping[str, Any]) -> tuple[bool, bool]:
        how = [option[name] for name in ("optimiser", "width", "pruned", "over the starts", "interval")]
        bars = {"least": least, "within": option["tolerance"], "factor": option["times the error"]}
        found = [below(*how, bar, value) for bar, value in bars.items()]
        return all(found), any(found)

    return Question(
        "simple-tasks",
        "Simple tasks stand more pruning",
        {
            "optimiser": {name: name for name in rows},
            "width": around(width, sorted(set(next(iter(rows.values()))["width"]))),
            "pruned": LAYERS,
            "over the starts": AVERAGES,
            "interval": INTERVALS,
            "tolerance": around(tolerance, (0.005, 0.02)),
            "times the error": around(factor, (1.5, 3.0)),
        },
        judged,
    )
