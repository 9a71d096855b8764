"""Subnetworks compared over many networks: by score and read-out, by width, after retraining, at equal size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lowcap.chapters.tracing import units
from lowcap.chapters.tracing.activations import (
    READ_OUTS,
    SCORES,
    Trace,
    kept,
    quiet_first,
    scan,
    scores,
    search,
    trace,
)
from lowcap.chapters.tracing.surgery import Opened
from lowcap.evaluation import evaluate
from lowcap.parallel import one_thread_each
from lowcap.population import Population
from lowcap.pruning import prune
from lowcap.recipe import Recipe
from lowcap.tasks import Task
from lowcap.training import train

Traced = tuple[nn.Module, Trace]  # a network and what its hidden units did on the training images


def members(population: Population, task: Task) -> list[Traced]:
    """Every member as a module, traced on the task's training images."""
    modules = [population.to_module(i) for i in range(len(population))]
    opened = [Opened(module) for module in modules]  # here, since modules must not be opened beside threads
    with one_thread_each() as pool:
        traces = pool.map(lambda one: trace(one, task.x_train, task.y_train), opened)
        return list(zip(modules, traces, strict=True))


def compare(
    networks: Sequence[Traced], task: Task, *, by: Iterable[str] = SCORES, read_outs: Iterable[str] = READ_OUTS
) -> pd.DataFrame:
    """Remove units one by one: rows `network, width, by, read_out, removed, kept, share, val, test` (accuracies).

    A random order is drawn by the network's position.
    """
    plans = list(product(range(len(networks)), by, read_outs))
    opened = []  # a copy for each plan, since an opened module remembers the images it saw last
    for i, _, _ in plans:
        module, found = networks[i]
        opened.append(Opened(module, found.layer))

    def removals(plan: tuple[int, str, str], model: Opened) -> pd.DataFrame:
        i, score, read_out = plan
        found = networks[i][1]
        order = quiet_first(scores(found, score, seed=i))
        val = scan(model, found, order, task.x_val, task.y_val, read_out=read_out)
        test = scan(model, found, order, task.x_test, task.y_test, read_out=read_out)["accuracy"]
        rows = val.rename(columns={"accuracy": "val"})
        return rows.assign(test=test, network=i, width=len(order), by=score, read_out=read_out)

    with one_thread_each() as pool:
        return pd.concat(pool.map(removals, plans, opened), ignore_index=True)


def removable(rows: pd.DataFrame, *, target: float | None = None, loss: float = 0.0) -> pd.DataFrame:
    """The smallest subnetwork of each network, width, score and read-out in the rows of `compare`.

    Chosen on the validation images, for an accuracy of at least `target` or, without one, of the full network minus
    `loss`. Rows `width, network, by, read_out, removed, kept, share, before` (the share up to the first failure),
    `bisection` (the share by bisection), `val, test, dense` (test accuracy of the full network). A network that does
    not reach the target at any size has NaN.
    """
    found, keys = [], ["width", "network", "by", "read_out"]
    for names, group in rows.groupby(keys, sort=False):
        group = group.reset_index(drop=True)  # row k has k units removed; row 0 is the full network
        goal = max(0.0, group["val"][0] - loss) if target is None else target
        line = dict(zip(keys, names, strict=True), dense=group["test"][0])
        if group["val"].max() >= goal:
            best, n = search(group, goal, score="val"), len(group)
            before = n - 1 if best.first_failure is None else max(best.first_failure - 1, 0)
            bisection = np.nan if best.bisection is None else best.bisection / n
            line |= {name: group[name][best.removed] for name in ("removed", "kept", "share", "val", "test")}
            line |= {"before": before / n, "bisection": bisection}
        found.append(line)
    values = ["removed", "kept", "share", "before", "bisection", "val", "test", "dense"]
    return pd.DataFrame(found, columns=[*keys, *values])


def mean_and_range(shares: pd.Series) -> str:
    """Their mean, smallest and largest in percent, as text; a dash if one of them is missing."""
    if shares.isna().any():
        return "–"
    mean, low, high = 100 * shares.mean(), 100 * shares.min(), 100 * shares.max()
    return f"{mean:.0f} ({low:.0f} to {high:.0f})"


def without_units(population: Population, keep: Tensor) -> Population:
    """The population without the units `(all members' units,)` that are not kept: smaller, with free weights."""
    keep_in, keep_out = keep.expand_as(population.w_in), keep[:, None].expand_as(population.w_out)  # (D, U), (U, K)
    small = units.compact(population.masked(keep_in, keep_out))
    small.mask_in = small.mask_out = None
    return small


def shrunk(population: Population, networks: Sequence[Traced], share: float, by: str) -> Population:
    """All members without the given share of their units, the lowest by a score first (`networks` as by `members`)."""
    keeps = []
    for i, (_, found) in enumerate(networks):
        order = quiet_first(scores(found, by, seed=i))
        keeps.append(kept(order, round(share * len(order))))
    return without_units(population, torch.cat(keeps))


def retrained(
    population: Population, networks: Sequence[Traced], task: Task, recipe: Recipe, shares: Iterable[float]
) -> pd.DataFrame:
    """All members, complete and without a share of their units, trained on by the recipe.

    Rows `by, share` and the columns of `evaluate` on test images; the complete networks are `whole`, 0.0.
    """
    complete = train(population.copy(), task, recipe)
    frames = [evaluate(complete, task.x_test, task.y_test).assign(by="whole", share=0.0)]
    for share in shares:
        for by in SCORES:
            small = train(shrunk(population, networks, share, by), task, recipe)
            frames.append(evaluate(small, task.x_test, task.y_test).assign(by=by, share=share))
    return pd.concat(frames, ignore_index=True)


def as_small_as(population: Population, small: Population) -> Population:
    """The population with all its units, and as many parameters as `small`, all of whose members are alike.

    Weights of the first layer are removed by magnitude until the numbers are equal, or none is left.
    """
    rows = population.members
    first = population.n_features * rows["width"][0]  # weights of a first layer
    rest = rows["n_params"][0] - first  # biases and read-out, which stay
    left = small.members["n_params"][0] - rest
    return prune(population, float(1 - np.clip(left / first, 0, 1)), scope="first")
