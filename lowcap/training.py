"""The training loop of populations: all members at once, each as if it were alone.

Members share mini-batches and nothing else. The loss is the sum over members of each member's batch mean, so that each
trains as if it were alone. The population is trained in shards small enough for the processor's caches, one thread
each; a shard's content does not depend on the number of threads, and so neither does any result.

Three other loops exist, each for what this one cannot do: `modules.fit` trains one module of any shape by autograd, the
`descend` of the replay repeats the published study's arithmetic in 64 bits, and `chapters.descent.tangent_kernel` stops
and goes on in the middle of gradient descent on a squared error, to look at the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
import torch

from lowcap.errors import UserError, whole_number
from lowcap.parallel import one_thread_each
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.shard import AfterStep, Data, Shard
from lowcap.tasks import Task

SHARD_UNITS = 640  # weights, gradient and momentum of so many units fit a core's own cache


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
        order_seed: the source of randomness in the order of the mini-batches, the same for all members.
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
    whole_number("every", every, 1)
    if (population.n_features, population.n_outputs) != (task.n_features, task.n_outputs):
        raise UserError(
            f"the population has {population.n_features} features and {population.n_outputs} outputs, "
            f"task {task.name} of {task.dataset} needs {task.n_features} and {task.n_outputs}"
        )
    # A pixel that is zero in all training images gives its weights no gradient: unless something else moves them, they
    # are left out of the matrix products.
    moved_otherwise = recipe.weight_decay > 0 or after_step is not None
    pixels = torch.where(task.live | moved_otherwise)[0]
    data = Data.of(task, pixels, population.w_in.dtype)
    shards = [Shard(population, members, data, recipe, order_seed) for members in shares(population.widths)]
    # Shards need not wait for each other: they stop together only where somebody wants to look.
    pause = every if on_epoch else max(recipe.epochs, 1)
    stops = [*range(0, recipe.epochs, pause), recipe.epochs]
    if on_epoch:
        _revise(population, on_epoch(0, population), shards)
    with one_thread_each() as pool:
        for begin, stop in pairwise(stops):
            for _ in pool.map(lambda shard, a=begin, b=stop: shard.run(a, b, after_step), shards):
                pass  # to raise here what a thread has raised
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
    """Members split into an even number of shards of about equal numbers of units, similar widths together.

    The split depends on the widths alone, never on the machine: which members share a matrix product decides the last
    digits of all of them.
    """
    total = sum(widths)
    small = total <= SHARD_UNITS // 4  # too little work for a second thread to pay
    count = 1 if small else min(len(widths), 2 * math.ceil(total / (2 * SHARD_UNITS)))
    # Lay the members end to end, the widest first, cut the line into `count` equal lengths, and put each member where
    # its middle falls.
    order = sorted(range(len(widths)), key=lambda i: -widths[i])
    lengths = np.array([widths[i] for i in order])
    middles = np.cumsum(lengths) - lengths / 2
    groups: list[list[int]] = [[] for _ in range(count)]
    for member, middle in zip(order, middles, strict=True):
        groups[int(middle * count / total)].append(member)
    return [group for group in groups if group]


def trained(task: Task, widths: Iterable[int], seeds: Iterable[int], recipe: Recipe) -> Population:
    """One network for every width and seed, trained by the recipe."""
    return train(start(task, widths, seeds, recipe), task, recipe)


def start(task: Task, widths: Iterable[int], seeds: Iterable[int], recipe: Recipe) -> Population:
    """One untrained network for every width and seed."""
    return Population.grid(widths, seeds, n_features=task.n_features, n_outputs=task.n_outputs, init=recipe.init)
