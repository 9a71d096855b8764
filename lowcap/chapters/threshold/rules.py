"""Pruning by a threshold on the size of weights: the rules, one-shot pruning, and what it leaves behind.

The question comes from Basnet's repository (`ajheshbasnet/model-compression`). A threshold removes as many weights as
happen to lie below it, so here the sparsity that it reaches is always counted.

Networks are ordinary modules; `layers` are names of their linear or convolutional layers, None for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lowcap import pruning
from lowcap.errors import UserError, number
from lowcap.modules import BATCH, LAYERS, accuracy, layers_of, sparsities

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Fixed:
    """Keeps weights of at least `tau` in size, from the first step on. Raises UserError for a negative tau."""

    tau: float

    def __post_init__(self) -> None:
        check_tau(self.tau)

    def keep(self, progress: float, weight: Tensor) -> Tensor:
        return weight.abs() >= self.tau


@dataclass(frozen=True)
class Ramp:
    """As `Fixed`, with a threshold that rises evenly from 0 to `tau` over the share `over` of all steps.

    Raises UserError for a negative tau or a share outside [0, 1].
    """

    tau: float
    over: float = 0.8

    def __post_init__(self) -> None:
        check_tau(self.tau)
        pruning.fraction("over", self.over)

    def keep(self, progress: float, weight: Tensor) -> Tensor:
        now = self.tau if progress >= self.over else self.tau * progress / self.over
        return weight.abs() >= now


@dataclass(frozen=True)
class Percentile:
    """Keeps all but the share `q` of a layer's weights, the smallest. Raises UserError for a share outside [0, 1]."""

    q: float

    def __post_init__(self) -> None:
        pruning.fraction("q", self.q)

    def keep(self, progress: float, weight: Tensor) -> Tensor:
        size = weight.abs()
        k = round(self.q * size.numel())
        if k == 0:
            return torch.ones_like(size, dtype=torch.bool)
        # A partition finds the k-th smallest without sorting the rest: this runs after every step of the optimiser.
        largest_gone = np.partition(size.numpy().ravel(), k - 1)[k - 1]
        return size > largest_gone


def check_tau(tau: object) -> float:
    """The threshold as a float. Raises UserError unless it is a number of at least 0."""
    return number("tau", tau, least=0, note="the size below which weights go")


@torch.no_grad()
def prune_below(module: Module, tau: float | Mapping[str, float], layers: Sequence[str] | None = None) -> Module:
    """A copy in which the layers' weights smaller than `tau` in size are zero.

    Args:
        tau: one threshold for all layers, or one for each by its name.

    Raises:
        UserError: a negative tau, an unknown layer, a module without layers that could be pruned.
    """
    other = deepcopy(module)
    taus = tau if isinstance(tau, Mapping) else dict.fromkeys(layers_of(other, layers), tau)
    for name, weight in layers_of(other, list(taus)).items():
        weight.mul_(Fixed(taus[name]).keep(1, weight))
    return other


@torch.no_grad()
def prune_share(module: Module, shares: Mapping[str, float]) -> Module:
    """A copy in which exactly the share `shares[layer]` of each named layer's weights is zero, the smallest.

    Raises:
        UserError: a share outside [0, 1], an unknown layer, a module without layers that could be pruned.
    """
    other = deepcopy(module)
    for name, weight in layers_of(other, list(shares)).items():
        gone = round(pruning.fraction(f"shares[{name}]", shares[name]) * weight.numel())
        # By rank, not by a threshold: of equal weights a threshold would take all or none.
        keep = pruning.ranks_of(weight.abs().flatten()) >= gone
        weight.mul_(keep.view_as(weight))
    return other


def histogram(module: nn.Module, edges: Sequence[float], layers: Sequence[str] | None = None) -> pd.DataFrame:
    """How the weights of each layer are spread, with those that are exactly zero counted apart.

    Args:
        edges: of the bins, rising; weights beyond the first or the last edge count into the outermost bins.

    Returns:
        `layer, left, right, share` (of all weights of the layer): a row per bin of the weights that are not zero, and
        before them one with `left = right = 0` for the zeros.

    Raises:
        UserError: fewer than two edges, edges that do not rise, or as `layers_of` does.
    """
    bins = np.asarray(edges, dtype=float)
    if bins.ndim != 1 or len(bins) < 2 or not (np.diff(bins) > 0).all():
        raise UserError(f"`edges` must be two or more rising numbers; got {edges!r}")
    frames = []
    for name, weight in layers_of(module, layers).items():
        values = weight.detach().numpy().ravel()
        # What lies beyond the edges would not be counted, and the shares would not add up to 1.
        counts, _ = np.histogram(np.clip(values[values != 0], bins[0], bins[-1]), bins)
        share = np.array([(values == 0).sum(), *counts]) / values.size  # (bins + 1,), the zeros first
        left, right = [0, *bins[:-1]], [0, *bins[1:]]
        frames.append(pd.DataFrame({"left": left, "right": right, "share": share, "layer": name}))
    return pd.concat(frames, ignore_index=True)


def sizes(module: nn.Module, layers: Sequence[str] | None = None) -> pd.DataFrame:
    """How large the weights of each layer are: `layer, median, p99` and `largest` size, and the `sd` of the values."""
    rows = []
    for name, weight in layers_of(module, layers).items():
        values = weight.detach().double().flatten()
        median, p99 = values.abs().quantile(torch.tensor([0.5, 0.99], dtype=torch.double)).tolist()
        rows.append((name, median, p99, values.abs().max().item(), values.std(correction=0).item()))
    return pd.DataFrame(rows, columns=["layer", "median", "p99", "largest", "sd"])


def common_tau(module: nn.Module, share: float, layers: Sequence[str] | None = None) -> float:
    """The threshold that removes this share of the weights of all these layers together: exactly, if no two are alike.

    Raises:
        UserError: a share outside [0, 1], or as `layers_of` does.
    """
    sizes = [weight.detach().abs().flatten() for weight in layers_of(module, layers).values()]
    size = torch.cat(sizes).sort().values
    gone = round(pruning.fraction("share", share) * len(size))
    if gone == 0:
        return 0.0
    # A weight goes if it is below the threshold, so the threshold is the smallest weight that stays; where none does,
    # it is the next larger number than the largest weight.
    return float(size[gone] if gone < len(size) else torch.nextafter(size[-1], size.new_tensor(math.inf)))


@torch.no_grad()
def sweep(module: nn.Sequential, taus: Iterable[float], x: Tensor, y: Tensor) -> pd.DataFrame:
    """One-shot pruning of a trained module at each threshold, in `ffnn`, in `head` and in both.

    What comes before `ffnn` is not pruned, so it sees the images `(N, D)` only once.

    Returns:
        `tau, pruned` (ffnn, head, both), `accuracy`, the sparsities `ffnn` and `head`, and that of the two together,
        `removed`.
    """
    layers_of(module, LAYERS)
    first = [name for name, _ in module.named_children()].index(LAYERS[0])
    below, top = module[:first], module[first:]
    fed = torch.cat([below(part) for part in x.split(BATCH)])  # (N, D) -> (N, inputs of ffnn)
    rows = []
    for tau in taus:
        for pruned, layers in (("ffnn", LAYERS[:1]), ("head", LAYERS[1:]), ("both", LAYERS)):
            other = prune_below(top, tau, layers)
            weights = torch.cat([weight.flatten() for weight in layers_of(other, LAYERS).values()])
            row = {"tau": tau, "pruned": pruned, "accuracy": accuracy(other, fed, y), **sparsities(other, LAYERS)}
            rows.append({**row, "removed": float((weights == 0).double().mean())})
    return pd.DataFrame(rows)
