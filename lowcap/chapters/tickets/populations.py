"""Winning tickets: pruned networks that train well from their own first weights, and what they must be compared with.

For populations; `multilayer` does the same for modules of any shape, `early` looks for masks before the end of
training, `comparison` tells how far one kind of network leads another. A round removes a fixed share of what is left
(Frankle and Carbin 2019). A *start* is an untrained population, a *ticket* one that has lost weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from lowcap import pruning
from lowcap.errors import UserError
from lowcap.evaluation import evaluate
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import Task
from lowcap.training import start as start  # the chapter takes its starts from here
from lowcap.training import train

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
        within: `pixel` shuffles the first layer's mask only among the weights of the same pixel, and leaves that of
            the output layer as it is.

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
        if within == "layer":
            mask_out[units] = torch.from_numpy(rng.permuted(mask_out[units].numpy()))
    return first.masked(mask_in, mask_out)


def control(name: str, tickets: Mapping[int, Population], first: Population, rounds: int) -> Population:
    """A control of the ticket after so many rounds, untrained.

    Args:
        name: `new weights` under the ticket's mask; the ticket's mask `shuffled` within each layer; a `random mask` of
            as many weights; `one-shot`, the mask that pruning the dense networks once would give; `same pixels`, the
            ticket's mask, in the first layer shuffled within each pixel. All but the first have the ticket's own first
            weights.
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
    """`pruning.results` on the test images of the populations by their `round`; `sparsity` is counted."""
    frames = (pruning.results(one, task.x_test, task.y_test).assign(round=k) for k, one in populations.items())
    return pd.concat(frames, ignore_index=True)


def compare(
    first: Population,
    tickets: Mapping[int, Population],
    task: Task,
    recipe: Recipe,
    at: Sequence[int],
    *,
    controls: Sequence[str] = CONTROLS,
) -> pd.DataFrame:
    """Tickets of all rounds, and their controls after the rounds `at`, which are trained here: `scores` per `method`.

    Args:
        first: the start of all of them.
        tickets: what `trunk` found from it.

    Returns:
        The methods are `ticket` and the names of the controls; round 0, the dense networks, is part of each.
    """
    frames = [scores(tickets, task).assign(method="ticket")]
    for name in controls:
        trained = {k: train(control(name, tickets, first, k), task, recipe) for k in at}
        frames.append(scores({0: tickets[0], **trained}, task).assign(method=name))
    return pd.concat(frames, ignore_index=True)


def course(populations: Mapping[str, Population], task: Task, recipe: Recipe, *, every: int = 1) -> pd.DataFrame:
    """Train in place, and look at the test images after each `every` epochs: `evaluate` by `method` and `epoch`."""
    frames: list[pd.DataFrame] = []
    for name, one in populations.items():

        def look(epoch: int, now: Population, name: str = name) -> None:
            frames.append(evaluate(now, task.x_test, task.y_test).assign(method=name, epoch=epoch))

        train(one, task, recipe, on_epoch=look, every=every)
    return pd.concat(frames, ignore_index=True)
