"""Robustness, as chapter 8 looks at it: networks of several widths, splits and protocols, scored under corruption."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, product

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lowcap import pruning
from lowcap.chapters.replay import experiments as replay
from lowcap.chapters.robustness.corruption import CORRUPTIONS, corrupt, patch_side
from lowcap.errors import UserError
from lowcap.evaluation import answer_scores, f1_score
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import Task, load_task
from lowcap.training import start, train

Kinds = Mapping[str, Sequence[float]]  # severities by kind of corruption
Networks = list[tuple[Task, Population]]  # one population per split


@torch.no_grad()
def scores(population: Population, x: Tensor, y: Tensor) -> pd.DataFrame:
    """`Population.members` with `f1` and `accuracy` on images `(N, D)` of a pair of classes."""
    return population.members.assign(**answer_scores(population(x) > 0, y))


def sweep(
    population: Population, x: Tensor, y: Tensor, kinds: Kinds | None = None, *, noise_seed: int = 0
) -> pd.DataFrame:
    """Score all members on the same corrupted images `(N, D)`.

    Args:
        kinds: the severities to look at, by kind; None takes all kinds at their six levels.

    Returns:
        A row per member, `kind` and `severity`, with the columns of `scores`.

    Raises:
        UserError: as `corrupt` does.
    """
    return _sweep([(x, y, population)], kinds, noise_seed).drop(columns="number")


def _sweep(jobs: Sequence[tuple[Tensor, Tensor, Population]], kinds: Kinds | None, noise_seed: int) -> pd.DataFrame:
    """The rows of `sweep` for several populations: `number` says which. Images that are equal are corrupted once."""
    kinds = {kind: about.levels for kind, about in CORRUPTIONS.items()} if kinds is None else kinds
    same = [False]  # are the images those of the population before? Splits of one pair share their test images
    for (before, _, _), (x, _, _) in pairwise(jobs):
        same.append(torch.equal(x, before))
    frames, changed = [], jobs[0][0]
    for kind, severities in kinds.items():
        for severity in severities:
            for i, (x, y, population) in enumerate(jobs):
                if not same[i]:
                    changed = corrupt(x, kind, severity, noise_seed=noise_seed)
                frames.append(scores(population, changed, y).assign(kind=kind, severity=float(severity), number=i))
    return pd.concat(frames, ignore_index=True)


@torch.no_grad()
def occlusion_map(population: Population, x: Tensor, y: Tensor, size: float) -> pd.DataFrame:
    """Score all members with a black square over the same place of all images `(N, D)`, for every place.

    What a patch takes from a hidden unit is subtracted from the unit's sum, so each place costs one small product.
    A patch of size 0 hides nothing at any place.

    Returns:
        A row per member and place, `top` and `left` in pixels, with the columns of `scores`.

    Raises:
        UserError: as `corrupt` does for the kind `occlusion`.
    """
    side, patch = round(x.shape[1] ** 0.5), patch_side(size, x.shape[1])
    sums = torch.addmm(population.b_in, x.to(population.w_in), population.w_in)  # (N, U), with nothing covered
    pixels = torch.arange(x.shape[1]).view(side, side)
    places = list(product(range(side - patch + 1), repeat=2))  # top and left
    # One place's hidden units are many; written anew each time, between results that stay, they would fill the memory.
    hidden, found = torch.empty_like(sums), np.empty((len(places), len(population), 2))
    for place, (top, left) in enumerate(places):
        covered = pixels[top : top + patch, left : left + patch].flatten()
        taken = x[:, covered].to(sums)
        torch.addmm(sums, taken, population.w_in[covered], alpha=-1, out=hidden).relu_()
        scored = answer_scores(population.read_out(hidden) > 0, y)
        found[place] = np.stack([scored["f1"], scored["accuracy"]], 1)
    frame = pd.concat([population.members] * len(places), ignore_index=True)
    frame[["f1", "accuracy"]] = found.reshape(-1, 2)
    frame[["top", "left"]] = np.repeat(places, len(population), axis=0)
    return frame


def published(
    kinds: Kinds,
    *,
    seeds: Sequence[int] = replay.SEEDS,
    pair: tuple[int, int] = (4, 9),
    widths: Sequence[int] = (24, 64),
    dataset: str = "auto",
) -> pd.DataFrame:
    """The study's own networks on its own held-out images, corrupted: rows as of `sweep`, noise drawn by each seed.

    Raises:
        UserError: as `corrupt` does, a pair that is none, or a dataset that is unknown or not there.
    """

    def look(population: Population, data: replay.Split) -> pd.DataFrame:
        frames = []
        for kind, severities in kinds.items():
            for severity in severities:
                changed = corrupt(data.x_test, kind, severity, noise_seed=population.seeds[0])
                with torch.no_grad():
                    f1 = f1_score(population(changed) >= 0, data.y_test)  # as the study counts a half
                frames.append(population.members.assign(kind=kind, severity=float(severity), f1=f1.numpy()))
        return pd.concat(frames)

    return pd.concat(replay.each(look, seeds=seeds, pairs=[pair], widths=widths, dataset=dataset), ignore_index=True)


def trained(
    tasks: Sequence[Task],
    recipe: Recipe,
    widths: Sequence[int],
    n_starts: int,
    *,
    blank: Callable[[Task], Tensor] | None = None,
) -> Networks:
    """Train `n_starts` networks of each width on each task (split), no two from the same seed.

    Args:
        blank: which pixels `(D,)`, bool, of a task have weights that start at zero; none by default.
    """
    found = []
    for i, task in enumerate(tasks):
        seeds = range(i * n_starts, (i + 1) * n_starts)
        population = start(task, widths, seeds, recipe)
        if blank is not None:
            population.w_in.data[blank(task)] = 0
        found.append((task, train(population, task, recipe.stretched(task), order_seed=i)))
    return found


def over_splits(networks: Networks, kinds: Kinds | None = None, *, noise_seed: int = 0) -> pd.DataFrame:
    """`sweep` of all networks on the test images: the column `split` is the split seed of their task.

    Raises:
        UserError: as `corrupt` does.
    """
    rows = _sweep([(task.x_test, task.y_test, population) for task, population in networks], kinds, noise_seed)
    split_seeds = [task.split_seed for task, _ in networks]
    return rows.assign(split=rows.pop("number").map(split_seeds.__getitem__))


def seldom_lit(task: Task, below: float = 0.01) -> Tensor:
    """The pixels `(D,)`, bool, that are lit in less than this share of the training images, or in none.

    Raises:
        UserError: a share that is not a fraction from 0 to 1.
    """
    share = pruning.fraction("below", below)
    lit = (task.x_train > 0).double().mean(0)
    return (lit < share) | (lit == 0)


def without(networks: Networks, pixels: Callable[[Task], Tensor]) -> Networks:
    """The same networks with the weights of some pixels `(D,)`, bool, set to zero, and nothing trained."""
    found = []
    for task, population in networks:
        keep = (~pixels(task))[:, None].expand_as(population.w_in)  # (D,) -> (D, U)
        found.append((task, population.masked(keep.clone())))
    return found


def of_widths(networks: Networks, widths: Sequence[int]) -> Networks:
    """The networks of some widths. Raises UserError for a width that was not trained."""
    trained_widths = sorted({width for _, population in networks for width in population.widths})
    for width in widths:
        if width not in trained_widths:
            raise UserError(f"`widths` must be among those trained, {trained_widths}; got {width!r}")
    found = []
    for task, population in networks:
        wanted = [width in widths for width in population.widths]
        found.append((task, population.select(wanted)))
    return found


def pruned(networks: Networks, levels: Iterable[float], tune: Recipe) -> Iterator[tuple[str, float, Networks]]:
    """The networks with their first layer pruned to each level: `(method, level, networks)`, where the method is
    `one-shot`, or `fine-tuned` by the recipe `tune` after it. Level 0 of both is the dense network."""
    ranked = [(task, pruning.rank(population, scope="first")) for task, population in networks]
    for level in levels:
        yield "one-shot", level, [(task, ranking.prune(level)) for task, ranking in ranked]
        tuned = []
        for i, (task, ranking) in enumerate(ranked):
            order_seed = len(networks) + i  # no order of mini-batches that training has seen
            tuned.append((task, train(ranking.prune(level), task, tune.stretched(task), order_seed=order_seed)))
        yield "fine-tuned", level, tuned


def across_pairs(
    pairs: Iterable[tuple[int, int]],
    recipe: Recipe,
    widths: Sequence[int],
    n_starts: int,
    kinds: Kinds,
    *,
    dataset: str = "auto",
) -> pd.DataFrame:
    """Train networks on each pair and score them under corruption: rows of `over_splits` with the column `pair`.

    Raises:
        UserError: as `load_task` and `corrupt` do.
    """
    frames = []
    for pair in pairs:
        task = load_task(pair, dataset=dataset)
        frames.append(over_splits(trained([task], recipe, widths, n_starts), kinds).assign(pair=task.name))
    return pd.concat(frames, ignore_index=True)
