"""Recipes and the one training loop, for all members of a population at once.

Members share mini-batches and nothing else. The loss is the sum over members of each member's batch mean, so that each
trains as if it were alone. The population is trained in shards small enough for the processor's caches, one thread
each; a shard's content does not depend on the number of threads, and so neither does any result.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from lowcap.errors import UserError
from lowcap.population import INITS, Population
from lowcap.shard import OPTIMIZERS, AfterStep, Data, Shard
from lowcap.tasks import Task

PAIR_IMAGES = 9_500  # training images of a pair of MNIST's digits, more or less
SHARD_UNITS = 640  # weights, gradient and momentum of so many units fit a core's own cache
_cores: ContextVar[int | None] = ContextVar("cores", default=None)  # that may be used; None: all of this process


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
            "init": (self.init in tuple(INITS), f"one of {', '.join(INITS)}"),
            "optimizer": (self.optimizer in tuple(OPTIMIZERS), f"one of {', '.join(OPTIMIZERS)}"),
            "lr": (0 < _number(self.lr) < math.inf, "a positive number"),
            "momentum": (0 <= _number(self.momentum) < 1, "a number of at least 0 and below 1"),
            "weight_decay": (0 <= _number(self.weight_decay) < math.inf, "a number of at least 0"),
            "batch_size": (
                self.batch_size is None or _number(self.batch_size, Integral) >= 1,
                "a whole number of at least 1, or None for all images",
            ),
            "epochs": (_number(self.epochs, Integral) >= 0, "a whole number of at least 0"),
            "schedule": (self.schedule in ("constant", "cosine"), "constant or cosine"),
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                raise UserError(f"`{name}` of a recipe must be {allowed}; got {getattr(self, name)!r}")

    def but(self, **changes: Any) -> Recipe:
        """This recipe with some values changed."""
        return replace(self, **changes)

    def steps(self, n_images: int) -> int:
        """Steps of the optimiser on so many training images."""
        return self.epochs * math.ceil(n_images / (self.batch_size or n_images))

    def rate(self, done: float, total: float) -> float:
        """The learning rate after `done` of `total` epochs or steps."""
        return self.lr if self.schedule == "constant" else self.lr * (1 + math.cos(math.pi * done / total)) / 2

    def stretched(self, task: Task) -> Recipe:
        """This recipe with as many more epochs as the task has fewer training images than a pair of MNIST's digits.

        So the number of steps is about the same on small datasets. Full-batch recipes stay as they are.
        """
        times = max(1, round(PAIR_IMAGES / len(task.x_train))) if self.batch_size else 1
        return self.but(epochs=self.epochs * times)


def _number(value: Any, kind: type = Real) -> Any:
    """The value, or NaN, which is in no range, if it is not a number of that kind."""
    return value if isinstance(value, kind) and not isinstance(value, bool) else math.nan


PUBLISHED = Recipe("published", init="published", lr=0.03, batch_size=None, epochs=100)
CONVERGED = Recipe("converged", lr=0.05, momentum=0.9)
ADAM = Recipe("adam", optimizer="adam", lr=2e-3)


def train(
    population: Population,
    task: Task,
    recipe: Recipe,
    *,
    order_seed: int = 0,
    on_epoch: Callable[[int, Population], Population | None] | None = None,
    every: int = 1,
    after_step: AfterStep | None = None,
) -> Population:
    """Train all members in place and return the population.

    Args:
        order_seed: the source of chance of the mini-batches' order, the same for all members.
        on_epoch: called as `on_epoch(epoch, population)` before training (epoch 0), then after each `every` epochs.
            It only looks (what it changes in place is lost), unless it returns a population of the same widths: then
            training goes on with the weights and masks of that one.
        after_step: called as `after_step(progress, w_in, w_out)` after each step of the optimiser, with the share of
            all steps that is done, and the weights `(D, U)` and `(K, U)` of some of the members, which it may change in
            place. Several threads call it, so it must not remember anything between calls.

    Raises:
        UserError: the population and the task disagree on features or classes, `every` is less than 1, or `on_epoch`
            returns networks of other widths.
    """
    if not _number(every, Integral) >= 1:
        raise UserError(f"`every` must be a whole number of at least 1; got {every!r}")
    if (population.n_features, population.n_outputs) != (task.n_features, task.n_outputs):
        raise UserError(
            f"the population has {population.n_features} features and {population.n_outputs} outputs, "
            f"task {task.name} of {task.dataset} needs {task.n_features} and {task.n_outputs}"
        )
    # Weights of pixels that are zero in all training images have no gradient: unless something else moves them, leave
    # them out.
    pixels = torch.where(task.live | (recipe.weight_decay > 0 or after_step is not None))[0]
    data = Data.of(task, pixels, population.w_in.dtype)
    shards = [Shard(population, members, data, recipe, order_seed) for members in shares(population.widths)]
    stops = [*range(0, recipe.epochs, every if on_epoch else max(recipe.epochs, 1)), recipe.epochs]
    if on_epoch:
        _revise(population, on_epoch(0, population), shards)
    with one_thread_each() as pool:
        for start, stop in pairwise(stops):
            for _ in pool.map(lambda shard, a=start, b=stop: shard.run(a, b, after_step), shards):
                pass
            if on_epoch:
                _revise(population, on_epoch(stop, population), shards)
    return population


def _revise(population: Population, new: Population | None, shards: list[Shard]) -> None:
    """Go on with the weights and masks of `new`, if there is one."""
    if new is None:
        return
    if new.widths != population.widths:
        raise UserError(f"`on_epoch` must return None or networks of the same widths; got {new!r}")
    for own, other in zip(population.parameters(), new.parameters(), strict=True):
        own.data.copy_(other.data)
    population.mask_in, population.mask_out = new.mask_in, new.mask_out
    for shard in shards:
        shard.load()


def shares(widths: list[int]) -> list[list[int]]:
    """Members split into an even number of shards of about equal numbers of units, similar widths together."""
    order = sorted(range(len(widths)), key=lambda i: -widths[i])
    total = sum(widths)
    count = min(len(widths), 2 * math.ceil(total / (2 * SHARD_UNITS)) if total > SHARD_UNITS // 4 else 1)
    middle = np.cumsum([widths[i] for i in order]) - np.array([widths[i] for i in order]) / 2
    groups = [[i for i, m in zip(order, middle, strict=True) if int(m * count / total) == g] for g in range(count)]
    return [group for group in groups if group]


def cores() -> int:
    """How many cores may be used here: those of `on_cores`, else all that this process has."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _cores.get() or own


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Let what is trained in this block use so many cores, as one of several processes that share a machine."""
    token = _cores.set(count)
    try:
        yield
    finally:
        _cores.reset(token)


@contextmanager
def one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """A pool of one worker per core, set up by `work_alone`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(cores(), initializer=work_alone) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def work_alone() -> None:
    """Let this thread's matrix products use one thread, and its numbers below 1e-38 be zero.

    The momentum of a unit that died or of a pixel that is seldom lit fades to such numbers, and processors are slow
    with them.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
