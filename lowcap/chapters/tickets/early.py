"""Masks found without full training: by scores of untrained networks, or early on; and how masks settle in training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lowcap import pruning
from lowcap.chapters.tickets.populations import SCOPE, carve, reinitialised, scores, shuffled
from lowcap.chapters.tickets.procedure import sparsity_after
from lowcap.errors import UserError
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import Task, with_train_size
from lowcap.training import train

SYNFLOW_ROUNDS = 20


def partly_trained(first: Population, task: Task, recipe: Recipe, share: float) -> tuple[Population, int]:
    """A copy trained for a share of the recipe's steps, and how many that were.

    Less than an epoch is one pass over as many batches of images; more is rounded to whole epochs. Raises UserError for
    a share outside [0, 1].
    """
    n, size = len(task.x_train), recipe.batch_size or len(task.x_train)
    steps = round(pruning.fraction("share", share) * recipe.steps(n))
    once = recipe.but(epochs=1)
    per_epoch = max(1, once.steps(n))
    too_few = steps * size < len(task.classes)  # images for a training set, which needs one of each class
    if steps >= per_epoch or too_few:
        epochs = round(steps / per_epoch)
        return train(first.copy(), task, recipe.but(epochs=epochs)), epochs * per_epoch
    some = with_train_size(task, steps * size)
    return train(first.copy(), some, once), once.steps(len(some.x_train))


def masks_found(
    first: Population, task: Task, recipe: Recipe, sparsity: float, shares: Iterable[float]
) -> Iterator[tuple[str, int, Population]]:
    """Masks at one sparsity that need no full training, as `(name, steps spent, untrained networks under the mask)`.

    First the three scores of the untrained networks, on all training images: `SNIP`, `GraSP` and `SynFlow`, the last in
    rounds of its own without data. Then magnitude after each of the `shares` of a training: `magnitude, 5 %`.
    """
    data: dict[str, Any] = {"x": task.x_train, "y": task.y_train, "scope": SCOPE}
    for name, by in {"SNIP": "gradient", "GraSP": "grasp"}.items():
        yield name, 0, pruning.prune(first, sparsity, by=by, **data)
    # In one cut SynFlow would cut whole layers; in rounds, each of the same share of what is left, it does not.
    flow = first
    for k in range(1, SYNFLOW_ROUNDS + 1):
        so_far = 1 - (1 - sparsity) ** (k / SYNFLOW_ROUNDS)
        flow = pruning.prune(flow, so_far, by="synflow", scope=SCOPE)
    yield "SynFlow", 0, flow
    for share in shares:
        trained, steps = partly_trained(first, task, recipe, share)
        yield f"magnitude, {100 * share:g} %", steps, carve(first, pruning.prune(trained, sparsity, scope=SCOPE))


def cheap(
    first: Population, task: Task, recipe: Recipe, rounds: int, shares: Iterable[float] = (0, 0.01, 0.05, 0.1, 0.5)
) -> pd.DataFrame:
    """Train untrained networks under each of `masks_found`, with their own weights, new ones, and the mask shuffled.

    Returns:
        Rows of `scores`, at the sparsity of so many `round`s, with the columns `mask` (its name), `steps` spent on it
        alone, and `method`: `own weights`, `new weights` or `shuffled mask`.
    """
    frames = []
    for name, steps, own in masks_found(first, task, recipe, sparsity_after(rounds), shares):
        tries = {"own weights": own, "new weights": reinitialised(own), "shuffled mask": shuffled(own, first)}
        for method, one in tries.items():
            rows = scores({rounds: train(one, task, recipe)}, task)
            frames.append(rows.assign(mask=name, method=method, steps=steps))
    return pd.concat(frames, ignore_index=True)


def mask_distance(a: Population, b: Population) -> Tensor:
    """How different two masks are, per member `(P,)`: 0 for equal ones, 1 for what two random masks would differ.

    That is the share of weights in one mask and not in the other, divided by what it is expected to be if masks of the
    same sizes are drawn at random. NaN where a mask is full or empty. Raises UserError for other widths or no masks.
    """
    if a.widths != b.widths or a.n_features != b.n_features:
        raise UserError(f"the two populations must have the same widths and features; got {a!r} and {b!r}")
    # Per unit, then per member: weights that the one mask keeps, that the other keeps, that differ, and all.
    per_unit = torch.zeros(len(a.owner), 4, dtype=torch.double)
    for left, right, dim in ((a.mask_in, b.mask_in, 0), (a.mask_out, b.mask_out, 1)):
        if left is None or right is None:
            raise UserError("both populations must be pruned, with masks on both layers; got one without")
        parts = (left, right, left ^ right, torch.ones_like(left))
        per_unit += torch.stack([part.sum(dim) for part in parts], 1)  # (U, 4)
    total = torch.zeros(len(a), 4, dtype=torch.double).index_add_(0, a.owner, per_unit)
    p, q, apart = (total[:, :3] / total[:, 3:]).T
    at_random = p * (1 - q) + q * (1 - p)  # kept by the one and not by the other
    return apart / at_random


def mask_course(first: Population, task: Task, recipe: Recipe, sparsity: float, *, every: int = 1) -> pd.DataFrame:
    """How the mask of magnitude pruning settles in training: a row per network and each `every` epochs.

    Columns: `width, seed, epoch`, and the `mask_distance` to the mask of the reading before, `step`, and to that of the
    last, `rest`.
    """
    masks: dict[int, Population] = {}

    def look(epoch: int, now: Population) -> None:
        masks[epoch] = pruning.prune(now, sparsity, scope=SCOPE)

    train(first.copy(), task, recipe, on_epoch=look, every=every)
    frames, before, last = [], None, masks[recipe.epochs]
    for epoch, mask in masks.items():
        rest = mask_distance(mask, last).numpy()
        step = mask_distance(before, mask).numpy() if before else np.nan
        frames.append(mask.members[["width", "seed"]].assign(epoch=epoch, rest=rest, step=step))
        before = mask
    return pd.concat(frames, ignore_index=True)
