"""Recipes and the one training loop, for all members of a population at once.

Members share mini-batches and nothing else. The loss is the sum over members of each member's batch mean, so that each
trains as if it were alone. The gradients are written out (they are four products), and the population is trained in
shards small enough for the processor's caches, one thread each; a shard's content does not depend on the number of
threads, and so neither does any result.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from lowcap.errors import UserError
from lowcap.population import INITS, Population, head
from lowcap.tasks import Task

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
BLOCK_ROWS = 1024  # large batches are gone through in blocks of so many images
SHARD_UNITS = 600  # weights, gradient and momentum of so many units fit a core's own cache


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        init: name of the initialisation (`population.INITS`).
        optimizer: `sgd`, `adam` or `adamw`, as in `torch.optim`, with `momentum` (SGD only) and `weight_decay`.
        lr: learning rate, at least at the start: `schedule` is `constant` or `cosine` (falls to zero).
        batch_size: images per step; None takes all, and an epoch is then one step.
        epochs: passes over the training images; training always runs to the end.

    Raises:
        UserError: a value is out of range; the message names the parameter and the range.
    """

    name: str = "custom"
    init: str = "published"
    optimizer: str = "sgd"
    lr: float = 0.05
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int | None = 128
    epochs: int = 20
    schedule: str = "constant"

    def __post_init__(self) -> None:
        checks = {
            "init": (self.init in INITS, f"one of {', '.join(INITS)}"),
            "optimizer": (self.optimizer in OPTIMIZERS, f"one of {', '.join(OPTIMIZERS)}"),
            "lr": (self.lr > 0 and math.isfinite(self.lr), "a positive number"),
            "momentum": (0 <= self.momentum < 1, "at least 0 and below 1"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "at least 0"),
            "batch_size": (self.batch_size is None or self.batch_size >= 1, "at least 1, or None for all images"),
            "epochs": (self.epochs >= 0, "at least 0"),
            "schedule": (self.schedule in ("constant", "cosine"), "constant or cosine"),
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                raise UserError(f"`{name}` of a recipe must be {allowed}; got {getattr(self, name)!r}")

    def but(self, **changes: Any) -> Recipe:
        """This recipe with some values changed."""
        return replace(self, **changes)


PUBLISHED = Recipe("published", init="published", lr=0.03, batch_size=None, epochs=100)
CONVERGED = Recipe("converged", lr=0.05, momentum=0.9)
ADAM = Recipe("adam", optimizer="adam", lr=2e-3)


def train(
    population: Population,
    task: Task,
    recipe: Recipe,
    *,
    order_seed: int = 0,
    on_epoch: Callable[[int, Population], None] | None = None,
    every: int = 1,
) -> Population:
    """Train all members in place and return the population.

    Args:
        order_seed: the source of chance of the mini-batches' order, the same for all members.
        on_epoch: called as `on_epoch(epoch, population)` before training (epoch 0), then after each `every` epochs.

    Raises:
        UserError: the population and the task disagree on features or classes.
    """
    if (population.n_features, population.n_outputs) != (task.n_features, task.n_outputs):
        raise UserError(
            f"the population has {population.n_features} features and {population.n_outputs} outputs, "
            f"task {task.name} of {task.dataset} needs {task.n_features} and {task.n_outputs}"
        )
    # Weights of pixels that are zero in all training images have no gradient: unless they decay, leave them out.
    pixels = torch.where(task.live if recipe.weight_decay == 0 else torch.ones_like(task.live))[0]
    data = _Data(pixels, task.x_train[:, pixels].to(population.w_in), task.y_train)
    shards = [_Shard(population, members, data, recipe, order_seed) for members in shares(population.widths)]
    stops = [*range(0, recipe.epochs, every if on_epoch else max(recipe.epochs, 1)), recipe.epochs]
    if on_epoch:
        on_epoch(0, population)
    with one_thread_each() as pool:
        for start, stop in pairwise(stops):
            for _ in pool.map(lambda shard, a=start, b=stop: shard.run(a, b), shards):
                pass
            if on_epoch:
                on_epoch(stop, population)
    return population


def shares(widths: list[int]) -> list[list[int]]:
    """Members split into an even number of shards of about equal numbers of units, similar widths together."""
    order = sorted(range(len(widths)), key=lambda i: -widths[i])
    total = sum(widths)
    count = min(len(widths), 2 * math.ceil(total / (2 * SHARD_UNITS)) if total > SHARD_UNITS // 4 else 1)
    middle = np.cumsum([widths[i] for i in order]) - np.array([widths[i] for i in order]) / 2
    groups = [[i for i, m in zip(order, middle, strict=True) if int(m * count / total) == g] for g in range(count)]
    return [group for group in groups if group]


class _Data(NamedTuple):
    """Training images `(N, pixels)` restricted to the positions `pixels` among all features, and labels `(N,)`."""

    pixels: Tensor
    x: Tensor
    y: Tensor


class _Shard:
    """Some members on their way through training; writes their weights back after each run."""

    def __init__(self, population: Population, members: list[int], data: _Data, recipe: Recipe, order_seed: int):
        one = population.select(members)
        self.population, self.members, self.owner, self.data, self.recipe = population, members, one.owner, data, recipe
        self.units = torch.cat([torch.where(population.owner == i)[0] for i in members])
        self.w_in = one.w_in.detach()[data.pixels]
        self.small = torch.cat([one.b_in.detach(), one.b_out.detach().flatten(), one.w_out.detach().flatten()])
        self.grads = torch.zeros_like(self.w_in), torch.zeros_like(self.small)
        self.b_in, self.b_out, self.w_out = self._parts(self.small)
        self.small_grads = self._parts(self.grads[1])
        self.columns = one.columns()
        self.block = head(self.w_out, self.columns, len(members))
        mask_in = None if one.mask_in is None else one.mask_in[data.pixels]
        self.masks = [(w, m) for w, m in ((self.w_in, mask_in), (self.w_out, one.mask_out)) if m is not None]
        self.optimizer = self._torch_optimizer() if recipe.optimizer != "sgd" else None
        self.generator = torch.Generator().manual_seed(order_seed)

    def _parts(self, small: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Views of hidden biases `(U,)`, output biases `(P * K,)` and output weights `(U, K)` in one flat tensor."""
        units, outputs = len(self.owner), len(self.members) * self.population.n_outputs
        return small[:units], small[units : units + outputs], small[units + outputs :].view(units, -1)

    def _torch_optimizer(self) -> torch.optim.Optimizer:
        parameters = [self.w_in, self.small]
        for parameter, grad in zip(parameters, self.grads, strict=True):
            parameter.grad = grad
        kind = OPTIMIZERS[self.recipe.optimizer]
        return kind(parameters, lr=self.recipe.lr, weight_decay=self.recipe.weight_decay, fused=True)

    @torch.no_grad()
    def run(self, start: int, stop: int) -> None:
        """Train for the epochs from `start` to `stop` and write the weights back."""
        n = len(self.data.x)
        size = self.recipe.batch_size or n
        for epoch in range(start, stop):
            batches = self._batches(size) if size < n else [(self.data.x, self.data.y)]
            for step, (x, y) in enumerate(batches):
                self.step(x, y, self._rate(epoch + step * size / n))
        rows = self.data.pixels[:, None], self.units
        self.population.w_in.data[rows] = self.w_in
        self.population.b_in.data[self.units] = self.b_in
        self.population.w_out.data[self.units] = self.w_out
        self.population.b_out.data[self.members] = self.b_out.view(len(self.members), -1)

    def _batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = self.data.x, self.data.y
        for index in torch.randperm(len(x), generator=self.generator).split(size):
            yield x.index_select(0, index), y.index_select(0, index)

    def _rate(self, epoch: float) -> float:
        if self.recipe.schedule == "constant":
            return self.recipe.lr
        return self.recipe.lr * (1 + math.cos(math.pi * epoch / self.recipe.epochs)) / 2

    def step(self, x: Tensor, y: Tensor, lr: float) -> None:
        """One step of the optimiser on images `(B, D)` and labels `(B,)`."""
        self.block.scatter_(1, self.columns, self.w_out)  # (U, P * K)
        momentum = self.recipe.momentum if self.optimizer is None else 0.0
        self.grads[1].mul_(momentum)
        for rows, labels in zip(x.split(BLOCK_ROWS), y.split(BLOCK_ROWS), strict=True):
            self._add_gradient(rows, labels, len(x), momentum)
            momentum = 1.0
        self._update(lr)
        for weight, mask in self.masks:
            weight.mul_(mask)

    def _add_gradient(self, x: Tensor, y: Tensor, n: int, momentum: float) -> None:
        """Add the gradient of the loss on some of the `n` images of a batch; momentum gathers inside the product."""
        hidden = torch.addmm(self.b_in, x, self.w_in).relu_()  # (B, U)
        error = self._error(torch.addmm(self.b_out, hidden, self.block), y).div_(n)  # (B, P * K)
        grad_hidden = torch.ops.aten.threshold_backward(error @ self.block.T, hidden, 0)  # (B, U)
        b_in, b_out, w_out = self.small_grads
        self.grads[0].addmm_(x.T, grad_hidden, beta=momentum)
        b_in.add_(grad_hidden.sum(0))
        b_out.add_(error.sum(0))
        w_out.add_((hidden.T @ error).gather(1, self.columns))

    def _update(self, lr: float) -> None:
        if self.optimizer is not None:
            self.optimizer.param_groups[0]["lr"] = lr
            self.optimizer.step()
            return
        for parameter, grad in zip((self.w_in, self.small), self.grads, strict=True):
            if self.recipe.weight_decay:
                grad.add_(parameter, alpha=self.recipe.weight_decay)
            parameter.sub_(grad, alpha=lr)

    def _error(self, logits: Tensor, y: Tensor) -> Tensor:
        """Gradient of each image's cross-entropies by the logits `(B, P * K)`."""
        if self.population.n_outputs == 1:
            return logits.sigmoid_().sub_(y[:, None])
        scores = logits.view(len(y), -1, self.population.n_outputs).softmax(-1)
        scores[torch.arange(len(y)), :, y] -= 1
        return scores.view_as(logits)


@contextmanager
def one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """A pool of one worker per core whose matrix products use one thread each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else threads) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)
