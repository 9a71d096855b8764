"""Trace which hidden units fire, remove the quiet ones, and search the smallest subnetwork that is good enough.

For any module that `wiring` understands: `trace`, order the units by one of the `scores`, `scan` all sizes, `search`
the target, take the `subnetwork`.

Letters for shapes: `N` images, `C` classes, `U` units of the traced layer, `K` outputs of the layer that reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lowcap.chapters.tracing import readout
from lowcap.chapters.tracing.readout import READ_OUTS, Moments
from lowcap.chapters.tracing.surgery import Opened, compact
from lowcap.errors import UserError, number, one_of, whole_number

__all__ = ["READ_OUTS", "SCORES", "Found", "Trace", "answer", "answers", "kept", "quiet_first", "scan", "scores",
           "search", "sizes", "subnetwork", "trace"]  # fmt: skip

SCORES = ("firing", "activation", "weighted", "random")
BATCH = 1000  # images at a time


@dataclass(frozen=True)
class Trace:
    """What a layer's units did on labelled images.

    Attributes:
        firing (C, U): share of a class's images (and positions, in a convolution) on which the activation exceeds 0;
            that says something of units that can be silent, as after a ReLU.
        strength (C, U): mean size of the activation on the images of a class.
        counts (C,): images per class.
        outgoing (K, U): norm of the weights from each unit to each output of the reader.
        moments: of what the reader read and gave, for a read-out that is folded or refitted.
    """

    layer: str
    firing: Tensor
    strength: Tensor
    counts: Tensor
    outgoing: Tensor
    moments: Moments


@torch.no_grad()
def trace(model: nn.Module | Opened, x: Tensor, y: Tensor, layer: str | None = None) -> Trace:
    """Run images `(N, ...)` with labels `(N,)` through the model and record a hidden layer (the last, if not named).

    Raises:
        UserError: the model's wiring (see `wiring.find`), labels that do not fit, a class without images.
    """
    if len(x) == 0 or y.shape != (len(x),):
        raise UserError(f"need images and one label for each; got {len(x)} images, labels of shape {tuple(y.shape)}")
    opened = model if isinstance(model, Opened) else Opened(model, layer)
    name, n_units, reader = opened.hidden.layer, opened.hidden.n_units, opened.reader
    labels = _labels(y, max(2, opened.look(x[:1]).logits.shape[1]))
    counts = labels.bincount()
    sums = torch.zeros(2, len(counts), n_units, dtype=torch.float64)
    gather = readout.Gather(reader, n_units)
    for images, classes in zip(x.split(BATCH), labels.split(BATCH), strict=True):
        seen = opened.look(images)
        for i, value in enumerate((seen.activation > 0, seen.activation.abs())):
            mean = value.double().reshape(len(images), n_units, -1).mean(2).cpu()  # (B, U, ...) -> (B, U)
            sums[i].index_add_(0, classes, mean)
        gather.add(seen.inputs, seen.outputs)
    firing, strength = (sums / counts[:, None]).float()  # (2, C, U), class by class
    # A flattened channel is read at many positions: its norm is over all of them.
    outgoing = reader.weight.reshape(len(reader.weight), n_units, -1).norm(dim=2).cpu()  # (K, F) -> (K, U)
    return Trace(name, firing, strength, counts, outgoing, gather.moments())


def _labels(y: Tensor, n_classes: int) -> Tensor:
    labels = y.long().cpu()
    if (labels != y.cpu()).any() or (labels < 0).any() or (labels >= n_classes).any():
        raise UserError(f"labels must be classes from 0 to {n_classes - 1}; got {y.min():g} to {y.max():g}")
    if missing := set(range(n_classes)) - set(labels.tolist()):
        raise UserError(f"every class from 0 to {n_classes - 1} needs images; there are none of {sorted(missing)}")
    return labels


def scores(found: Trace, by: str, *, of: int | None = None, seed: int = 0) -> Tensor:
    """How much each unit `(U,)` counts: over all traced images or, with `of`, for one class.

    Args:
        by: `firing` (how often the unit fires), `activation` (how strongly, on average), `weighted` (that times the
            norm of its outgoing weights, with `of` only those to the class's own output) or `random` (drawn by `seed`).

    Raises:
        UserError: an unknown score, or a class that was not traced.
    """
    one_of("by", by, SCORES)
    if of is not None:
        whole_number("of", of, 0, len(found.counts) - 1, note="a class")
    if by == "random":
        return torch.rand(found.firing.shape[1], generator=torch.Generator().manual_seed(seed))
    values = found.firing if by == "firing" else found.strength
    shares = found.counts / found.counts.sum()  # of the images, by class
    value = shares @ values if of is None else values[of]  # (C,) @ (C, U) -> (U,): the mean over all images
    if by != "weighted":
        return value
    # A class has an output of its own only where the reader is the last layer, with one logit per class.
    own = of is not None and len(found.outgoing) == len(found.counts)
    return value * (found.outgoing[of] if own else found.outgoing.norm(dim=0))


def quiet_first(score: Tensor) -> Tensor:
    """Units `(U,)` in the order in which they go: lowest score first, of equal ones the first."""
    return torch.argsort(score, stable=True)


def kept(order: Tensor, removed: int) -> Tensor:
    """One bool per unit `(U,)`, False for the first `removed` of the order."""
    keep = torch.ones(len(order), dtype=torch.bool)
    keep[order[:removed]] = False
    return keep


@torch.no_grad()
def answers(model: nn.Module | Opened, found: Trace, order: Tensor, x: Tensor, *, read_out: str = "plain") -> Tensor:
    """Classes `(U, N)` that the model answers with 0, 1, ... U - 1 units removed in that order; nothing is trained.

    Each step takes one unit's contribution away, so where the reader is the last layer all subnetworks together cost
    about as much as two of them. For `read_out` see `lowcap.chapters.tracing.readout`.

    Raises:
        UserError: an unknown read-out, a refit of what cannot be refitted, an order that is not one of all units.
    """
    readout.check(read_out, found.moments)
    if sorted(order.tolist()) != list(range(found.firing.shape[1])):
        raise UserError(f"`order` must name each of the {found.firing.shape[1]} units once; got {len(order)} entries")
    opened = model if isinstance(model, Opened) else Opened(model, found.layer)
    weights = readout.refits(found.moments, order) if read_out == "refit" else []
    constants = found.moments.constants(opened.reader) if read_out == "folded" else None
    parts = []
    for images in x.split(BATCH):
        seen = opened.look(images)
        if read_out == "refit":
            steps = readout.refitted(found.moments, order, weights, seen.inputs)
        else:
            steps = _taken_away(opened, order, seen.inputs, seen.outputs, constants)
        parts.append(torch.stack([answer(opened.finish(outputs)) for outputs in steps]))
    return torch.cat(parts, 1)


def _taken_away(
    opened: Opened, order: Tensor, inputs: Tensor, outputs: Tensor, constants: Tensor | None
) -> Iterator[Tensor]:
    """The reader's outputs with 0, 1, ... U - 1 units removed, with what they contribute on average put back."""
    for unit in order.tolist():
        yield outputs
        outputs = opened.without(outputs, inputs, unit)
        if constants is not None:
            positions = [1] * (outputs.ndim - 2)  # of a convolution; none for a linear layer
            outputs = outputs + constants[:, unit].reshape(-1, *positions)  # (K,) -> (K, 1, ...)


def answer(logits: Tensor) -> Tensor:
    """The classes `(N,)` that logits `(N, C)` stand for; a single column is the logit of class 1 against class 0."""
    return (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.max(1).indices


@torch.no_grad()
def subnetwork(model: nn.Module, found: Trace, keep: Tensor, *, read_out: str = "plain") -> nn.Module:
    """The model without the units that `keep` `(U,)`, bool, leaves out, really smaller; raises as `answers` does."""
    readout.check(read_out, found.moments)
    opened, small = Opened(model, found.layer), compact(model, keep, found.layer)
    readout.adjust(small.get_submodule(opened.hidden.reader), opened.reader, found.moments, keep, read_out)
    return small


def scan(
    model: nn.Module | Opened, found: Trace, order: Tensor, x: Tensor, y: Tensor, *, read_out: str = "plain"
) -> pd.DataFrame:
    """Accuracy of every subnetwork along an order: rows `removed, kept, share, accuracy` for 0 to U - 1 removed.

    Raises:
        UserError: as `answers` does, or not one label for each image.
    """
    if len(x) == 0 or y.shape != (len(x),):
        raise UserError(f"need images and one label for each; got {len(x)} images, labels of shape {tuple(y.shape)}")
    right = answers(model, found, order, x, read_out=read_out) == y.long()
    return sizes(len(order)).assign(accuracy=right.double().mean(1).cpu().numpy())


def sizes(n_units: int) -> pd.DataFrame:
    """Rows `removed, kept, share` (of units that are removed) for 0 to U - 1 removed units."""
    removed = np.arange(n_units)
    return pd.DataFrame({"removed": removed, "kept": n_units - removed, "share": removed / n_units})


@dataclass(frozen=True)
class Found:
    """The smallest subnetwork of a scan whose score reaches a target.

    Attributes:
        removed, kept, score: of that subnetwork; larger ones may fall below the target.
        first_failure: the fewest removed units with a score below the target; None if there are none.
        bisection: what bisection, which trusts that a score only falls, would have removed; None where it fails.
    """

    removed: int
    kept: int
    score: float
    first_failure: int | None
    bisection: int | None


def search(rows: pd.DataFrame, target: float, *, score: str = "accuracy") -> Found:
    """The smallest subnetwork of a `scan` whose score is at least the target, by looking at every one.

    Raises:
        UserError: a target outside 0 to 1, or one that no subnetwork reaches; the message says the best within reach.
    """
    number("target", target, least=0, most=1, note="a score")
    one_of("score", score, map(str, rows.columns))
    rows = rows.sort_values("removed")
    values, removed = rows[score].to_numpy(), rows["removed"].to_numpy()
    fine = values >= target - 1e-12  # a target may be a difference of two scores
    if not fine.any():
        best = rows.iloc[int(values.argmax())]
        reach = f"the best within reach is {best[score]:.4f}, with {best['kept']:.0f} units"
        raise UserError(f"no subnetwork has {score} {target:g} or more; {reach}")
    last = int(np.flatnonzero(fine)[-1])
    first = None if fine.all() else int(removed[fine.argmin()])
    steps = _bisect(fine)
    by_bisection = None if steps is None else int(removed[steps])
    return Found(int(removed[last]), int(rows["kept"].iloc[last]), float(values[last]), first, by_bisection)


def _bisect(fine: np.ndarray) -> int | None:
    """How many steps bisection would take off, if what is fine came before all that is not; None if it fails."""
    low, high = 0, len(fine)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fine[middle] else (low, middle)
    return low if fine[low] else None
