"""Winning tickets: pruned networks that train well from their own first weights, and what they must be compared with.

For populations; `lowcap.multilayer` does the same for modules of any shape, `lowcap.early` looks for masks before the
end of training. A round removes a fixed share of what is
left (Frankle and Carbin 2019). A *start* is an untrained population, a *ticket* one that has lost weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from lowcap import pruning
from lowcap.errors import UserError
from lowcap.evaluation import evaluate
from lowcap.magnitude import compared, start
from lowcap.population import Population
from lowcap.tasks import Task
from lowcap.training import Recipe, train

SHARE = 0.2  # of the weights left, removed per round
SCOPE = "network"  # both layers ranked together
NEW = 1_000_000  # added to a seed for weights of another draw
CONTROLS = ("new weights", "shuffled mask", "random mask", "one-shot")
WITHIN = ("layer", "pixel")


def sparsity_after(rounds: int) -> float:
    """The share of the weights that is gone after so many rounds.

    >>> round(sparsity_after(2), 3)
    0.36
    """
    return 1 - (1 - SHARE) ** rounds


def only_live(task: Task) -> Task:
    """The task without the pixels that are zero in all training images, so that every weight can do something."""
    parts = {name: getattr(task, name)[:, task.live] for name in ("x_train", "x_val", "x_test")}
    return replace(task, **parts, live=task.live[task.live])


def trunk(first: Population, task: Task, recipe: Recipe, rounds: int, *, rewind_to: int = 0) -> dict[int, Population]:
    """Trained networks after 0, 1, ... `rounds` rounds of magnitude pruning with rewinding: see `pruning.iterative`."""
    levels = [sparsity_after(k) for k in range(1, rounds + 1)]
    found = pruning.iterative(first, task, recipe, levels, rewind_to=rewind_to, scope=SCOPE)
    return {k: one for k, (_, one) in enumerate(found)}


def carve(first: Population, mask: Population) -> Population:
    """The weights of `first` under the masks of another population of the same widths."""
    return first.masked(mask.mask_in, mask.mask_out)


def reinitialised(ticket: Population, offset: int = NEW) -> Population:
    """New random weights under the ticket's masks. The members keep their names, to be compared with the ticket's."""
    seeds, (n, k) = [seed + offset for seed in ticket.seeds], (ticket.n_features, ticket.n_outputs)
    new = carve(Population(ticket.widths, seeds, n_features=n, n_outputs=k, init=ticket.init), ticket)
    new.seeds = list(ticket.seeds)
    return new


def shuffled(ticket: Population, first: Population, *, seed: int = 0, within: str = "layer") -> Population:
    """The weights of `first` under the ticket's masks, shuffled within each layer of each member.

    Args:
        within: `pixel` shuffles the first layer's mask only among the weights of the same pixel.

    Raises:
        UserError: the ticket has no masks, or an unknown `within`.
    """
    pruning.one_of("within", within, WITHIN)
    if ticket.mask_in is None or ticket.mask_out is None:
        raise UserError("`ticket` must be a pruned population, with masks on both layers; got one without")
    mask_in, mask_out = ticket.mask_in.clone(), ticket.mask_out.clone()
    for i, (width, own) in enumerate(zip(ticket.widths, ticket.seeds, strict=True)):
        rng, units = np.random.default_rng([seed, own, width]), torch.where(ticket.owner == i)[0]
        old = mask_in[:, units].numpy()
        new = rng.permuted(old, axis=1) if within == "pixel" else rng.permuted(old)
        mask_in[:, units] = torch.from_numpy(new)
        mask_out[units] = torch.from_numpy(rng.permuted(mask_out[units].numpy()))
    return first.masked(mask_in, mask_out)


def control(name: str, tickets: Mapping[int, Population], first: Population, rounds: int) -> Population:
    """A control of the ticket after so many rounds, untrained.

    Args:
        name: `new weights` under the ticket's mask; the ticket's mask `shuffled` within each layer; a `random mask` of
            as many weights; `one-shot`, the mask that pruning the dense networks once would give; `same pixels`, the
            ticket's mask shuffled within each pixel. All but the first have the ticket's own first weights.
        tickets: what `trunk` found; only masks, and the trained dense networks at 0, are used.
    """
    pruning.one_of("name", name, (*CONTROLS, "same pixels"))
    if name == "new weights":
        return reinitialised(tickets[rounds])
    if name in ("shuffled mask", "same pixels"):
        return shuffled(tickets[rounds], first, within="pixel" if name == "same pixels" else "layer")
    if name == "random mask":
        return pruning.prune(first, sparsity_after(rounds), by="random", scope=SCOPE)
    return carve(first, pruning.prune(tickets[0], sparsity_after(rounds), scope=SCOPE))


def scores(populations: Mapping[int, Population], task: Task) -> pd.DataFrame:
    """`evaluate` on the test images, and `train_accuracy`, of the populations by their `round`; `sparsity` counted."""
    frames = []
    for k, one in populations.items():
        rows = pruning.results(one, task.x_test, task.y_test)
        frames.append(rows.assign(round=k, train_accuracy=evaluate(one, task.x_train, task.y_train)["accuracy"]))
    return pd.concat(frames, ignore_index=True)


def compare(
    task: Task,
    widths: Sequence[int],
    seeds: Sequence[int],
    recipe: Recipe,
    rounds: int,
    at: Sequence[int],
    *,
    controls: Sequence[str] = CONTROLS,
) -> pd.DataFrame:
    """Tickets of all rounds and their controls after the rounds `at`, trained: `scores` per `method`.

    The methods are `ticket` and the names of the controls; round 0, the dense networks, is part of each.
    """
    first = start(task, widths, seeds, recipe)
    tickets = trunk(first, task, recipe, rounds)
    frames = [scores(tickets, task).assign(method="ticket")]
    for name in controls:
        trained = {k: train(control(name, tickets, first, k), task, recipe) for k in at}
        frames.append(scores({0: tickets[0], **trained}, task).assign(method=name))
    return pd.concat(frames, ignore_index=True)


def leads(rows: pd.DataFrame, by: Sequence[str], *, of: str = "ticket", value: str = "accuracy") -> pd.DataFrame:
    """How far one method leads each other one, network by network.

    Args:
        rows: a row per network, `round` and `method`; `by` names the columns that say which networks are compared with
            each other, such as `width`; among them a network is known by its `seed`.

    Returns:
        `estimate, low, high` of the mean difference of `value`, indexed by `by`, `round` and `method`; a lead counts
        where `low` is above 0.
    """
    found = {}
    for key, group in rows[rows["round"] > 0].groupby([*by, "round"], sort=False):
        own = group[group["method"] == of]
        for method, other in group[group["method"] != of].groupby("method", sort=False):
            found[(*key, method)] = compared(own, other, ["seed"], value)
    index = [*by, "round", "method"]
    return pd.DataFrame(found.values(), pd.MultiIndex.from_tuples(found, names=index))


def changes(rows: pd.DataFrame, by: Sequence[str], *, value: str = "accuracy") -> pd.DataFrame:
    """As `leads`, but of each method over its own dense networks, round 0."""
    found = {}
    for key, group in rows.groupby([*by, "method"], sort=False):
        dense = group[group["round"] == 0]
        for k, pruned in group[group["round"] > 0].groupby("round"):
            found[(*key[:-1], k, key[-1])] = compared(pruned, dense, ["seed"], value)
    return pd.DataFrame(found.values(), pd.MultiIndex.from_tuples(found, names=[*by, "round", "method"]))


def in_points(row: pd.Series) -> str:
    """A difference of accuracies and its interval in percentage points.

    >>> in_points(pd.Series({"estimate": 0.012, "low": -0.003, "high": 0.02}))
    '+1.20 (-0.30 to +2.00)'
    """
    return "{estimate:+.2f} ({low:+.2f} to {high:+.2f})".format(**((100 * row).round(2) + 0.0))  # no -0.00


def winning(lead: pd.DataFrame, controls: Sequence[str] = CONTROLS) -> pd.Series:
    """Whether the ticket leads each of its controls outside the interval, by all levels of `leads` but the method."""
    levels = [name for name in lead.index.names if name != "method"]
    wanted = lead[lead.index.get_level_values("method").isin(controls)]
    return wanted["low"].gt(0).groupby(level=levels, sort=False).all()


def course(populations: Mapping[str, Population], task: Task, recipe: Recipe, *, every: int = 1) -> pd.DataFrame:
    """Train in place, and look at the test images after each `every` epochs: `evaluate` by `method` and `epoch`."""
    frames: list[pd.DataFrame] = []
    for name, one in populations.items():

        def look(epoch: int, now: Population, name: str = name) -> None:
            frames.append(evaluate(now, task.x_test, task.y_test).assign(method=name, epoch=epoch))

        train(one, task, recipe, on_epoch=look, every=every)
    return pd.concat(frames, ignore_index=True)


def noisy_accuracy(accuracy: Any, share: float, n_classes: int) -> Any:
    """The accuracy to expect if a `share` of the labels were wrong: a network gains a wrong label only by chance."""
    return (1 - share) * accuracy + share * (1 - accuracy) / (n_classes - 1)


def generalisation(
    tasks: Mapping[str, Callable[[int], Task]],
    width: int,
    seeds: Sequence[int],
    recipe: Recipe,
    rounds: Sequence[int],
    *,
    noise: Mapping[str, float],
    draws: int = 1,
) -> pd.DataFrame:
    """Dense networks, tickets and their masks shuffled, on training sets of different size and label noise.

    Args:
        tasks: by name, the task of each draw of its training images and wrong labels.
        seeds: of the first draw; the others have as many of their own.
        rounds: after which the tickets are scored; each step between two of them is one cut, with rewinding.
        noise: by the same names, the share of wrong labels.

    Returns:
        `scores` by `setting`, `method`, `draw` and `round`; `gap` is the training accuracy minus the test accuracy to
        be expected with test labels as noisy as the training labels, `error` is that on the test labels as they are.
    """
    frames = []
    for name, draw in ((name, draw) for name in tasks for draw in range(draws)):
        task = tasks[name](draw)
        own, first = recipe.stretched(task), start(task, [width], [s + draw * len(seeds) for s in seeds], recipe)
        levels = {sparsity_after(k): k for k in sorted(rounds)}
        found = pruning.iterative(first, task, own, levels, scope=SCOPE)
        tickets = {levels.get(level, 0): one for level, one in found}
        other = {k: train(control("shuffled mask", tickets, first, k), task, own) for k in levels.values()}
        for method, ones in {"ticket": tickets, "shuffled mask": {0: tickets[0], **other}}.items():
            frames.append(scores(ones, task).assign(setting=name, method=method, draw=draw))
    rows = pd.concat(frames, ignore_index=True)
    expected = [
        noisy_accuracy(a, noise[s], len(task.classes)) for a, s in zip(rows["accuracy"], rows["setting"], strict=True)
    ]
    return rows.assign(gap=rows["train_accuracy"] - expected, error=1 - rows["accuracy"])
