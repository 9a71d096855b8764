"""Specialists: for every class the part of a network that tells it from the others, and all of them as a committee.

Letters for shapes: `N` images, `C` classes, `U` units.
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from lowcap.chapters.tracing.activations import Trace, answers, kept, quiet_first, scores, search, sizes
from lowcap.chapters.tracing.subnetworks import Traced
from lowcap.chapters.tracing.surgery import Opened, silenced
from lowcap.parallel import one_thread_each
from lowcap.tasks import Task


def one_vs_rest(yes: Tensor, truth: Tensor) -> pd.DataFrame:
    """Scores of guesses `(R, N)`, bool, whether images `(N,)`, bool, are of one class: a row each.

    `precision` (0 if it never says yes), `recall`, `f1`, `balanced_accuracy`, the mean of the shares that it gets right
    of images of the class and of others (one half for one that always gives the same answer), and `accuracy`.
    """
    yes, truth = yes.double(), truth.double()
    hits, said = yes @ truth, yes.sum(1)  # (R, N) @ (N,) -> (R,)
    n = truth.sum()  # images of the class
    others = len(truth) - n
    recall, rejected = hits / n, 1 - (said - hits) / others
    precision = hits / said.clamp(min=1)
    accuracy = (hits + rejected * others) / len(truth)
    columns = {"precision": precision, "recall": recall, "f1": 2 * hits / (said + n)}
    columns["balanced_accuracy"] = (recall + rejected) / 2
    return pd.DataFrame({name: value.numpy() for name, value in {**columns, "accuracy": accuracy}.items()})


def specialist(network: Traced, digit: int, task: Task, by: str, *, seed: int = 0) -> tuple[Tensor, pd.DataFrame]:
    """The order in which units go for one class, and how well what is left tells that class, on validation images."""
    return _specialist(Opened(network[0], network[1].layer), network[1], digit, task, by, seed)


def _specialist(model: Opened, found: Trace, digit: int, task: Task, by: str, seed: int) -> tuple[Tensor, pd.DataFrame]:
    order = quiet_first(scores(found, by, of=digit, seed=seed))
    yes = answers(model, found, order, task.x_val) == digit
    return order, sizes(len(order)).join(one_vs_rest(yes, task.y_val == digit))


def specialists(
    network: Traced, task: Task, by: str, *, score: str = "balanced_accuracy", loss: float = 0.02
) -> Tensor:
    """For every class the smallest subnetwork that tells it from the others about as well as the full network does.

    Its score (a column of `one_vs_rest`) on the validation images is at most `loss` below that of the full network.
    Returns the units that each keeps, `(C, U)`, bool.
    """
    model, found = network
    digits = range(len(found.counts))

    def one(digit: int, opened: Opened) -> Tensor:
        order, rows = _specialist(opened, found, digit, task, by, digit)
        target = max(0.0, rows[score][0] - loss)  # row 0 is the full network
        return kept(order, search(rows, target, score=score).removed)

    opened = [Opened(model, found.layer) for _ in digits]  # here, since modules must not be opened beside threads
    with one_thread_each() as pool:
        return torch.stack(list(pool.map(one, digits, opened)))


@torch.no_grad()
def opinions(network: Traced, keeps: Tensor, x: Tensor) -> Tensor:
    """What each class's specialist answers `(C, N, C)`, as log-probabilities of all classes."""
    model, found = network
    return torch.stack([silenced(model, keep, found.layer).eval()(x).log_softmax(1) for keep in keeps])


def judged(opinions: Tensor, keeps: Tensor, y: Tensor) -> pd.DataFrame:
    """How well each specialist tells its class: rows `digit, kept, share` (of units), the scores of `one_vs_rest`."""
    yes = opinions.max(2).indices == torch.arange(len(keeps))[:, None]  # (C, N): does each name its own class?
    quality = pd.concat([one_vs_rest(yes[[d]], y == d) for d in range(len(keeps))], ignore_index=True)
    units = {"digit": range(len(keeps)), "kept": keeps.sum(1).numpy(), "share": keeps.double().mean(1).numpy()}
    return pd.DataFrame(units).join(quality)


def committee(opinions: Tensor) -> Tensor:
    """The classes `(N,)` whose own specialist is surest of them, from `opinions`."""
    return opinions.diagonal(dim1=0, dim2=2).argmax(1)


def overlap(keeps: Tensor) -> pd.DataFrame:
    """How much two specialists share, from kept units `(C, U)`: shared units over units of either (Jaccard)."""
    sets = keeps.double()
    both = sets @ sets.T  # (C, U) @ (U, C) -> (C, C)
    either = sets.sum(1)[:, None] + sets.sum(1) - both
    return pd.DataFrame((both / either).numpy())


def overlap_by_chance(keeps: Tensor) -> pd.DataFrame:
    """About the overlap that independent random sets of the same sizes would have."""
    share = keeps.double().mean(1)
    both = torch.outer(share, share)
    return pd.DataFrame((both / (share[:, None] + share - both)).numpy())
