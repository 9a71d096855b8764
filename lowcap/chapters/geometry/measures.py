"""Hidden layers: their activations, six measures on them, and threads to take many at a time.

A layer is compared with another one on the same images, or judged by itself; both in the space of its units, which no
map has flattened. Everything takes activations `(N, units)` of one network on `N` images, as NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits
from torch import Tensor

from lowcap.chapters.replay import experiments as replay
from lowcap.errors import number
from lowcap.parallel import cores
from lowcap.population import Population
from lowcap.tasks import Task


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
        fit, some = rng.permutation(len(data.y_train))[:n_fit], rng.permutation(len(data.y_test))[:n]
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
    # (a, N) @ (N, a): with products by unit, not by image, none grows with the number of images.
    size = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.linalg.norm(y.T @ x) ** 2 / size) if size else 0.0


def procrustes(x: np.ndarray, y: np.ndarray) -> float:
    """Procrustes distance in [0, 1] of activations `(N, a)` and `(N, b)`: what the best fit leaves over.

    Both are centred and scaled to Frobenius norm 1; the best rotation, reflection and scaling of one leaves the squared
    distance 1 - s² to the other, where s is the sum of the singular values of Y'X (Schönemann 1966). The disparity of
    `scipy.spatial.procrustes`. 1 where one of them does not vary.
    """
    x, y = _centred(x), _centred(y)
    size = np.linalg.norm(x) * np.linalg.norm(y)
    if not size:
        return 1.0
    s = float(np.linalg.norm(y.T @ x, "nuc") / size)  # the nuclear norm is the sum of the singular values
    return max(0.0, 1 - s**2)


def shared_neighbours(x: np.ndarray, y: np.ndarray, k: int = 10) -> float:
    """Share of the `k` nearest images of each image in `x` that are among its `k` nearest in `y`, mean over images.

    For unrelated layers it is about k / (N - 1). Raises UserError where there are not more than `k` images.
    """
    return _overlap(_neighbours(x, k), _neighbours(y, k))


def _overlap(near: np.ndarray, other: np.ndarray) -> float:
    """The share of neighbours `(N, k)` that are also among the others `(N, k)` of the same image."""
    same = near[:, :, None] == other[:, None, :]  # (N, k, k)
    return float(same.any(2).mean())


def _neighbours(x: np.ndarray, k: int) -> np.ndarray:
    """The `k` nearest others `(N, k)` of each of `(N, units)` points."""
    fewer("k", k, len(x))
    apart = distances(x, x).fill_diagonal_(torch.inf)  # none is its own neighbour
    return apart.topk(k, largest=False).indices.numpy()


def distances(x: np.ndarray, y: np.ndarray) -> Tensor:
    """Euclidean distances `(N, M)` of `(N, units)` and `(M, units)` points, not rounded by a matrix product."""
    a, b = (torch.from_numpy(np.ascontiguousarray(points)) for points in (x, y))
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def fewer(name: str, value: float, n: float) -> None:
    """Raises UserError unless the value lies between 0 and n, both excluded."""
    number(name, value, above=0, below=n, note="for so many images")


def _centred(x: np.ndarray) -> np.ndarray:
    """Each column less its mean; exactly 0 where it varies by rounding alone."""
    varies = np.ptp(x, 0) > 1e-12 * np.abs(x).max(0)
    return np.where(varies, x - x.mean(0, dtype=float), 0.0)


def _silhouette(layer: Layer, k: int) -> float:
    return float(silhouette_score(layer.seen, layer.y)) if np.ptp(layer.seen) > 0 else 0.0


def _knn(layer: Layer, k: int) -> float:
    fewer("k", k, len(layer.fit) + 1)
    near = distances(layer.seen, layer.fit).topk(k, largest=False).indices.numpy()  # (N, k)
    guess = layer.y_fit[near].mean(1) > 0.5  # of a tie, class 0, as in scikit-learn
    return float((guess == layer.y).mean())


def _probe(layer: Layer, k: int) -> float:
    return float(RidgeClassifier(1.0).fit(layer.fit, layer.y_fit).score(layer.seen, layer.y))


BETWEEN: dict[str, Callable[[np.ndarray, np.ndarray, int], float]] = {
    "cka": lambda x, y, k: cka(x, y),
    "procrustes": lambda x, y, k: procrustes(x, y),
    "neighbours": shared_neighbours,
}
WITHIN: dict[str, Callable[[Layer, int], float]] = {"silhouette": _silhouette, "knn": _knn, "probe": _probe}
MEASURES = (*BETWEEN, *WITHIN)


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """One thread per core, each with a layer or a map of its own: all cores on one of them would mostly wait."""
    with ThreadPoolExecutor(cores(), initializer=threadpool_limits, initargs=(1, "openmp")) as pool:
        yield pool


def hidden_layers(population: Population, images: Images) -> Iterator[Layer]:
    """The hidden layer of each member, on the images."""
    labels = images.y_fit.numpy(), images.y.numpy()
    with torch.no_grad():
        fit, seen = (population.hidden(x).numpy() for x in (images.x_fit, images.x))
    for member in range(len(population)):
        own = population.owner.numpy() == member
        yield Layer(fit[:, own], labels[0], seen[:, own], labels[1])
