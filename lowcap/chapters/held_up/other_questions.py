"""The other questions of chapter 11: claims on the study's own networks, on traced neurons, maps, noise, and features.

Networks are trained once, fewer than in the claim's own chapter and on coarser grids; a `Question` counts them anew.
The first option of each choice is what that chapter does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from lowcap import pruning
from lowcap.chapters.descent import experiments as descent
from lowcap.chapters.descent import random_features
from lowcap.chapters.held_up.multiverse import Question
from lowcap.chapters.held_up.questions_over_pairs import AVERAGES, TENTHS, around
from lowcap.chapters.replay import experiments as replay
from lowcap.chapters.robustness import effects
from lowcap.chapters.robustness import experiments as robustness
from lowcap.chapters.saliency import attribution
from lowcap.chapters.saliency import experiments as saliency
from lowcap.chapters.tracing.subnetworks import compare, members, removable
from lowcap.evaluation import f1_score
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import Task, load_task
from lowcap.training import train


def studys_own(
    levels: Sequence[float], widths: Sequence[int], seeds: Sequence[int], pairs: replay.Pairs, *, dataset: str = "auto"
) -> pd.DataFrame:
    """The study's own networks, pruned to true levels: `pair, width, seed, pruned, images, level, f1`.

    `pruned` is `both layers`, as the study did, or `first layer`; `images` its own held-out ones, or the `official`
    test images.
    """

    def look(population: Population, data: replay.Split) -> pd.DataFrame:
        task = load_task(data.pair, dataset=dataset)
        images = {"held out": (data.x_test, data.y_test), "official": (task.x_test.double(), task.y_test.double())}
        frames = []
        ways: dict[str, Callable[[float], Population]] = {
            "both layers": lambda level: replay.pruned(population, level, as_run=False),
            "first layer": pruning.rank(population, scope="first").prune,
        }
        for name, prune in ways.items():
            for level in levels:
                small = prune(level)
                for kind, (x, y) in images.items():
                    with torch.no_grad():
                        f1 = f1_score(small(x) >= 0, y)  # as the study counts a half
                    rows = small.members.assign(pruned=name, images=kind, level=level, f1=f1.numpy())
                    frames.append(rows.assign(pair=task.name))
        return pd.concat(frames)

    return pd.concat(replay.each(look, seeds=seeds, pairs=pairs, widths=widths, dataset=dataset), ignore_index=True)


def _study_choices(rows: pd.DataFrame, width: int) -> dict[str, Mapping[str, Any]]:
    return {
        "pruned": {name: name for name in ("both layers", "first layer")},
        "images": {"the study's": "held out", "official test images": "official"},
        "over the starts": AVERAGES,
        "width": around(width, sorted(set(rows["width"]))),
    }


def _by_level(rows: pd.DataFrame, option: Mapping[str, Any]) -> pd.DataFrame:
    mine = rows[(rows["pruned"] == option["pruned"]) & (rows["images"] == option["images"])]
    mine = mine[mine["width"] == option["width"]]
    return mine.groupby(["pair", "level"])["f1"].agg(option["over the starts"]).unstack()


def pruning_unharmed(rows: pd.DataFrame, width: int) -> Question:
    """Does F1 change by hundredths of a percent? `rows` as of `studys_own`."""

    def judged(option: Mapping[str, Any]) -> tuple[bool, bool]:
        table = _by_level(rows, option)
        fine = table.sub(table[0.0], axis=0).loc[:, 0.1:0.99].abs() < option["unharmed below"]
        return bool(fine.all(axis=None)), bool(fine.loc[:, :0.5].all(axis=None))

    bars: dict[str, Mapping[str, Any]] = {"unharmed below": around(0.001, (0.005, 0.01))}
    return Question("pruning-unharmed", "Pruning up to 99 % is harmless", _study_choices(rows, width) | bars, judged)


def graceful(rows: pd.DataFrame, trained: Mapping[str, pd.DataFrame], width: int) -> Question:
    """Does F1 fall gracefully? `rows` as of `studys_own`, `trained` as the second of `pruned_pairs`, by optimiser."""

    def judged(option: Mapping[str, Any]) -> tuple[bool, bool]:
        end = trained[option["optimiser"]]  # networks trained to convergence, on the study's own pairs
        same_pairs, same_width = end["pair"].isin(set(rows["pair"])), end["width"].eq(option["width"])
        end = end[(end["layers"] == "first") & same_pairs & same_width]
        converged = end.groupby(["pair", "level"])["f1"].agg(option["over the starts"]).unstack()
        # The steepest fall from one tenth of the weights to the next, of any pair.
        falls = []
        for table in (_by_level(rows, option), converged):
            falls.append(-float(table[list(TENTHS)].diff(axis=1).min().min()))
        return bool(falls[0] <= option["graceful up to"]), bool(falls[1] <= option["graceful up to"])

    more: dict[str, Mapping[str, Any]] = {
        "optimiser": {name: name for name in trained},
        "graceful up to": around(0.05, (0.02, 0.1)),
    }
    return Question("graceful", "F1 falls gracefully", _study_choices(rows, width) | more, judged)


def traced(task: Task, recipe: Recipe, widths: Sequence[int], n_seeds: int) -> pd.DataFrame:
    """Networks of each width, trained and traced: rows as of `subnetworks.compare`, without corrected read-outs."""
    size = {"n_features": task.n_features, "n_outputs": task.n_outputs, "init": recipe.init}
    frames = []
    for width in widths:
        dense = train(Population.grid([width], range(n_seeds), **size), task, recipe)
        frames.append(compare(members(dense, task), task, read_outs=["plain"]))
    return pd.concat(frames, ignore_index=True)


def trace_no_loss(rows: pd.DataFrame, least: float, loss: float) -> Question:
    """Can 60 to 80 % of the neurons go with no loss? `rows` as of `traced`, the first width being our own."""

    def judged(option: Mapping[str, Any]) -> tuple[bool, bool]:
        mine = rows[rows["width"] == option["width"]]
        if option["chosen on"] == "test":
            mine = mine.assign(val=mine["test"])

        def removed(loss: float) -> pd.Series:
            """The share of units that can go, by score."""
            return removable(mine, loss=loss).groupby("by")["share"].agg(option["over the networks"])

        none, some = removed(0.0), removed(option["loss allowed"])
        best = none["firing"] if option["score"] == "firing" else none.drop("random").max()
        return bool(best >= least), bool(some.max() >= least)

    return Question(
        "trace-no-loss",
        "60 to 80 % of neurons can go",
        {
            "width": {str(width): width for width in dict.fromkeys(rows["width"])},
            "score": {"firing rate": "firing", "the best of three": "best"},
            "chosen on": {"validation images": "val", "test images": "test"},
            "over the networks": {"mean": "mean", "the best network": "max"},
            "loss allowed": around(loss, (0.0025, 0.01)),
        },
        judged,
    )


def saliency_strokes(networks: Mapping[str, Population], x: Tensor) -> Question:
    """Does the network focus on the strokes? `networks` of the study and converged ones; images `x`."""
    methods = {
        "change when a pixel is raised": "finite difference",
        "gradient": "gradient",
        "gradient × pixel": "input x gradient",
        "integrated gradients": "integrated gradients",
    }

    @cache
    def located(kind: str, method: str, ink: float) -> tuple[pd.Series, pd.Series]:
        mine = saliency.where(attribution.maps(networks[kind], x, method), {"ink": x > ink})
        share, area = mine["share"], mine["area"].iloc[0]
        # How bright a pixel of ink is on average, against one beside it.
        brighter = share / (1 - share).clip(lower=1e-12) * (1 - area) / area
        return saliency.estimate(share), saliency.estimate(brighter)

    def judged(option: Mapping[str, Any]) -> tuple[bool, bool]:
        both = [located(kind, option["map"], option["a pixel is ink above"]) for kind in networks]
        bright = all(brighter["low"] >= option["ink at least so many times as bright"] for _, brighter in both)
        mostly = all(share["low"] > 0.5 for share, _ in both)
        return bright and mostly, bright

    return Question(
        "saliency-strokes",
        "Focus on the strokes",
        {
            "map": methods,
            "a pixel is ink above": around(0.0, (0.25, 0.5)),
            "ink at least so many times as bright": around(2.0, (1.5, 3.0)),
        },
        judged,
    )


def robust_published(networks: robustness.Networks, small: int, large: int, *, sigma: float, patch: float) -> Question:
    """Is width robust beyond clean scores, as the study trained? `networks` of both widths, by that protocol."""
    sigmas, patches = around(sigma, (0.2, 0.5)), around(patch, (5, 9))
    severities = {"gaussian": list(sigmas.values()), "occlusion": list(patches.values())}
    rows = robustness.over_splits(networks, {kind: [0, *levels] for kind, levels in severities.items()})
    tables = {}
    for kind, levels in severities.items():
        for severity in levels:
            tables[kind, severity] = effects.effects(effects.paired(rows, kind, severity, small, large))

    def judged(option: Mapping[str, Any]) -> tuple[bool, bool]:
        both = [tables["gaussian", option["noise σ"]], tables["occlusion", option["side of the patch"]]]
        beyond = [one.loc[option["robust means"], "low"] > option["F1 that matters"] for one in both]
        # In part: for noise or for the patch all three measures agree, and none says the opposite.
        three = [one.loc[["hurt", "drop", "matched"]] for one in both]
        agreed = [(one["low"] > 0).all() for one in three]
        against = [(one["high"] < 0).any() for one in three]
        return all(beyond), any(agreed) and not any(against)

    measures = {"less lost": "drop", "more at equal clean F1": "matched", "higher F1, disturbed": "hurt"}
    return Question(
        "robust-published",
        "Width makes robust",
        {
            "robust means": measures,
            "noise σ": sigmas,
            "side of the patch": patches,
            "F1 that matters": around(0.005, (0.0, 0.01)),
        },
        judged,
    )


def feature_learning(tasks: Sequence[Task], n: int, noises: Sequence[float], reach: int, n_seeds: int) -> Question:
    """Is there a late descent without feature learning? Random features on `n` images and on half as many."""
    frames = []
    for task, size in product(tasks, (n, n // 2)):
        widths = random_features.sizes_around(size, reach)
        curve = random_features.feature_curve(task, widths, range(n_seeds), n=size, noises=noises)
        frames.append(curve.assign(task=task.name, size=size))
    rows = pd.concat(frames)
    curves = dict(iter(rows.groupby(["task", "size", "noise"])))

    def judged(option: Mapping[str, Any]) -> tuple[bool, bool]:
        down = []
        widest = option["widest, times the images"] * option["training images"]
        for task in tasks:
            mine = curves[task.name, option["training images"], option["wrong labels"]]
            marks = descent.landmarks(mine[mine["width"] <= widest])
            down.append(bool(marks["fall"] >= option["late descent, of the rise"] * marks["rise"]))
        return not any(down), not all(down)

    return Question(
        "dd-feature-learning",
        "Feature learning drives the descent",
        {
            "training images": {str(size): size for size in (n, n // 2)},
            "wrong labels": {f"{100 * noise:g} %": noise for noise in sorted(noises, reverse=True)},
            "late descent, of the rise": {"half": 1 / 2, "a quarter": 1 / 4, "three quarters": 3 / 4},
            "widest, times the images": around(reach, (reach // 2, reach // 4)),
        },
        judged,
    )
