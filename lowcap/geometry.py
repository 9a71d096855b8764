"""Geometry: what pruning does to a hidden layer, measured on its activations and on their t-SNE map.

A layer is compared with another one on the same images, or judged by itself; both in the space of its units, which no
map has flattened. Everything takes activations `(N, units)` of one network on `N` images, as NumPy arrays.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits
from torch import Tensor

from lowcap import pruning, replay
from lowcap.errors import UserError
from lowcap.evaluation import interval
from lowcap.magnitude import start
from lowcap.population import Population
from lowcap.tasks import Task
from lowcap.training import Recipe, train

Conditions = dict[str, Population]  # the same networks, a population per thing that was done to them
DENSE, AS_RUN, OTHER, UNTRAINED = "dense", "as run", "another seed", "untrained"


@dataclass(frozen=True)
class Images:
    """Images `(F, D)` and labels to fit probes on, and others `(N, D)` on which layers are looked at."""

    x_fit: Tensor
    y_fit: Tensor
    x: Tensor
    y: Tensor

    @classmethod
    def of(cls, data: Task | replay.Split, n_fit: int, n: int, seed: int = 0) -> Images:
        """At most so many training and test images of a task or of the study's split, drawn at random by `seed`."""
        rng = np.random.default_rng(seed)
        fit, some = (rng.permutation(len(y))[:k] for y, k in ((data.y_train, n_fit), (data.y_test, n)))
        return cls(data.x_train[fit], data.y_train[fit], data.x_test[some], data.y_test[some])


@dataclass(frozen=True)
class Layer:
    """Activations of one network's units on `Images`: `fit (F, units)` and `seen (N, units)`, with their labels."""

    fit: np.ndarray
    y_fit: np.ndarray
    seen: np.ndarray
    y: np.ndarray


def cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear centred kernel alignment in [0, 1] of activations `(N, a)` and `(N, b)` (Kornblith et al. 2019).

    |Y'X|² / (|X'X| |Y'Y|) with centred columns and Frobenius norms. 1 if they agree but for rotation, reflection,
    shift and scale. 0 where one of them does not vary.
    """
    x, y = _centred(x), _centred(y)
    whole = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / whole) if whole else 0.0


def procrustes(x: np.ndarray, y: np.ndarray) -> float:
    """Procrustes distance in [0, 1] of activations `(N, a)` and `(N, b)`: what the best fit leaves over.

    Both are centred and scaled to Frobenius norm 1; the best rotation, reflection and scaling of one leaves the squared
    distance 1 - s² to the other, where s is the sum of the singular values of Y'X (Schönemann 1966). The disparity of
    `scipy.spatial.procrustes`. 1 where one of them does not vary.
    """
    x, y = _centred(x), _centred(y)
    whole = np.linalg.norm(x) * np.linalg.norm(y)
    return max(0.0, 1 - float(np.linalg.norm(y.T @ x, "nuc") / whole) ** 2) if whole else 1.0


def shared_neighbours(x: np.ndarray, y: np.ndarray, k: int = 10) -> float:
    """Share of the `k` nearest images of each image in `x` that are among its `k` nearest in `y`, mean over images.

    By chance it is k / (N - 1). Raises UserError where there are not more than `k` images.
    """
    return _overlap(_neighbours(x, k), _neighbours(y, k))


def _overlap(near: np.ndarray, other: np.ndarray) -> float:
    return float((near[:, :, None] == other[:, None, :]).any(2).mean())


def _neighbours(x: np.ndarray, k: int) -> np.ndarray:
    """The `k` nearest others `(N, k)` of each of `(N, units)` points."""
    fewer("k", k, len(x))
    return distances(x, x).fill_diagonal_(torch.inf).topk(k, largest=False).indices.numpy()


def distances(x: np.ndarray, y: np.ndarray) -> Tensor:
    """Euclidean distances `(N, M)` of `(N, units)` and `(M, units)` points, not rounded by a matrix product."""
    a, b = (torch.from_numpy(np.ascontiguousarray(points)) for points in (x, y))
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def fewer(name: str, value: float, n: float) -> None:
    if not 0 < value < n:
        raise UserError(f"`{name}` must be above 0 and below {n:g} for so many images; got {value!r}")


def _centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(0, dtype=float)


def _silhouette(layer: Layer, k: int) -> float:
    return float(silhouette_score(layer.seen, layer.y)) if np.ptp(layer.seen) > 0 else 0.0


def _knn(layer: Layer, k: int) -> float:
    fewer("k", k, len(layer.fit) + 1)
    near = distances(layer.seen, layer.fit).topk(k, largest=False).indices.numpy()
    return float(((layer.y_fit[near].mean(1) > 0.5) == layer.y).mean())  # of a tie, class 0, as in scikit-learn


def _probe(layer: Layer, k: int) -> float:
    return float(RidgeClassifier(1.0).fit(layer.fit, layer.y_fit).score(layer.seen, layer.y))


BETWEEN: dict[str, Callable[[np.ndarray, np.ndarray, int], float]] = {
    "cka": lambda x, y, k: cka(x, y),
    "procrustes": lambda x, y, k: procrustes(x, y),
    "neighbours": shared_neighbours,
}
WITHIN: dict[str, Callable[[Layer, int], float]] = {"silhouette": _silhouette, "knn": _knn, "probe": _probe}
MEASURES = (*BETWEEN, *WITHIN)


def member(population: Population, width: int, seed: int) -> int:
    """The position of the network of this width and seed. Raises UserError where there is none."""
    have = list(zip(population.widths, population.seeds, strict=True))
    if (width, seed) not in have:
        there = f"width {_listed(population.widths)} and seed {_listed(population.seeds)}"
        raise UserError(f"`width` and `seed` must be those of a network that was trained: {there}; got {width}, {seed}")
    return have.index((width, seed))


def _listed(numbers: list[int]) -> str:
    return ", ".join(map(str, sorted(set(numbers))))


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """One thread per core, each with a layer or a map of its own: all cores on one of them would mostly wait."""
    with ThreadPoolExecutor(_cores(), initializer=threadpool_limits, initargs=(1, "openmp")) as pool:
        yield pool


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def layers(population: Population, images: Images) -> Iterator[Layer]:
    """The hidden layer of each member, on the images."""
    labels = images.y_fit.numpy(), images.y.numpy()
    with torch.no_grad():
        fit, seen = (population.hidden(x).numpy() for x in (images.x_fit, images.x))
    for member in range(len(population)):
        own = population.owner.numpy() == member
        yield Layer(fit[:, own], labels[0], seen[:, own], labels[1])


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
    reference = list(zip(names, layers(conditions[DENSE], images), strict=True))
    jobs = [(c, *pair) for c, one in conditions.items() for pair in zip(reference, layers(one, images), strict=True)]

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
    """By how much each layer in one condition is closer to its own dense one than in another condition: a row per

    measure of `BETWEEN`, `estimate, low, high` over the networks (`evaluation.interval`); above 0 is closer.
    """
    signs = pd.Series({name: -1 if name == "procrustes" else 1 for name in BETWEEN})
    one, other = (
        rows[rows["condition"] == name].set_index(["width", "seed"])[list(BETWEEN)] for name in (condition, than)
    )
    return ((one - other) * signs).apply(interval).T


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
    return f"{percent(level)} fine-tuned"


def trained(
    task: Task, width: int, seeds: Sequence[int], recipe: Recipe, levels: Iterable[float], tune: tuple[float, Recipe]
) -> Conditions:
    """Networks of one width, a member per seed, and what becomes of them.

    `dense`; `as run`, the study's pruning at the level of `tune`; the first layer pruned once to each level; at that
    of `tune` also trained on by its recipe; and two baselines: dense networks of `another seed`, and `untrained` ones.
    """
    untrained = start(task, [width], seeds, recipe)
    dense = train(untrained.select(range(len(untrained))), task, recipe)
    ranking, (level, after) = pruning.rank(dense, scope="first"), tune
    return {
        DENSE: dense,
        AS_RUN: replay.pruned(dense, 100 * level, as_run=True),
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
        conditions = {DENSE: dense, AS_RUN: replay.pruned(dense, 100 * level, as_run=True)}
        conditions |= {percent(share): replay.pruned(dense, 100 * share, as_run=False) for share in levels}
        conditions |= {OTHER: found[(i + 1) % len(found)][0], UNTRAINED: before[i]}
        rows.append(({name: one.select([0]).float() for name, one in conditions.items()}, images))
    return rows
