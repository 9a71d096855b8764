"""Winning tickets of populations: all members are pruned, rewound and trained at once, each as if it were alone.

The search and its controls are those of `procedure`. `early` looks for masks before the end of training, `comparison`
tells how far one kind of network leads another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
import torch

from lowcap import pruning
from lowcap.chapters.tickets import procedure
from lowcap.chapters.tickets.procedure import CONTROLS, NEW, sparsity_after
from lowcap.errors import UserError
from lowcap.evaluation import evaluate
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import Task
from lowcap.training import start as start  # the chapter takes its untrained networks from here
from lowcap.training import train

SCOPE = "network"  # both layers ranked together
WITHIN = ("layer", "pixel")


def only_live(task: Task) -> Task:
    """The task without the pixels that are zero in all training images, so that every weight can do something."""
    parts = {name: getattr(task, name)[:, task.live] for name in ("x_train", "x_val", "x_test")}
    return replace(task, **parts, live=task.live[task.live])


def carve(first: Population, mask: Population) -> Population:
    """The weights of `first` under the masks of another population of the same widths."""
    return first.masked(mask.mask_in, mask.mask_out)


def reinitialised(ticket: Population, offset: int = NEW) -> Population:
    """New random weights under the ticket's masks. The members keep their names, to be compared with the ticket's."""
    seeds, sizes = [seed + offset for seed in ticket.seeds], (ticket.n_features, ticket.n_outputs)
    drawn = Population(ticket.widths, seeds, n_features=sizes[0], n_outputs=sizes[1], init=ticket.init)
    new = carve(drawn, ticket)
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
        # By the member's own seed and width, so that its company does not matter.
        rng, units = np.random.default_rng([seed, own, width]), torch.where(ticket.owner == i)[0]
        old = mask_in[:, units].numpy()
        new = rng.permuted(old, axis=1) if within == "pixel" else rng.permuted(old)
        mask_in[:, units] = torch.from_numpy(new)
        if within == "layer":
            mask_out[units] = torch.from_numpy(rng.permuted(mask_out[units].numpy()))
    return first.masked(mask_in, mask_out)


@dataclass(frozen=True)
class Populations:
    """A population on a task, trained by a recipe, as `procedure` asks for it (see `procedure.Networks`).

    Attributes:
        first: the untrained networks; they are left as they are.
        rewind_to: the epoch whose weights the tickets, and their controls, go back to. Momentum and schedule begin anew
            there, for the dense networks as for all others.

    Raises:
        UserError: `rewind_to` outside the recipe's epochs.
    """

    first: Population
    task: Task
    recipe: Recipe
    rewind_to: int = 0
    controls: ClassVar[Sequence[str]] = (*CONTROLS, "same pixels")

    def __post_init__(self) -> None:
        pruning.check_rewind(self.rewind_to, self.recipe)

    def early(self, offset: int = 0) -> Population:
        """The networks at the epoch `rewind_to`, or networks of the same names from weights of another draw."""
        untrained = reinitialised(self.first, offset) if offset else self.first.copy()
        return train(untrained, self.task, self.recipe.but(epochs=self.rewind_to))

    def train(self, networks: Population) -> Population:
        """Train in place from that epoch to the last."""
        rest = self.recipe.but(epochs=self.recipe.epochs - self.rewind_to)
        return train(networks, self.task, rest, order_seed=self.rewind_to)

    def prune(self, networks: Population, rounds: int) -> Population:
        """By magnitude, both layers ranked together."""
        return pruning.prune(networks, sparsity_after(rounds), scope=SCOPE)

    def carve(self, weights: Population, masks: Population) -> Population:
        """See `carve`."""
        return carve(weights, masks)

    def random_places(self, name: str, ticket: Population, rounds: int) -> Population:
        """A `random mask` over both layers of each member, or the ticket's own masks `shuffled`."""
        if name == "random mask":
            return pruning.prune(self.first, sparsity_after(rounds), by="random", scope=SCOPE)
        return shuffled(ticket, self.first, within="pixel" if name == "same pixels" else "layer")

    def scores(self, networks: Population) -> pd.DataFrame:
        """`pruning.results` on the test images."""
        return pruning.results(networks, self.task.x_test, self.task.y_test)


def scores(populations: Mapping[int, Population], task: Task) -> pd.DataFrame:
    """`pruning.results` on the test images of the populations by their `round`; `sparsity` is counted."""
    frames = (pruning.results(one, task.x_test, task.y_test).assign(round=k) for k, one in populations.items())
    return pd.concat(frames, ignore_index=True)


def compare(
    kind: Populations, tickets: Mapping[int, Population], at: Sequence[int], *, controls: Sequence[str] = CONTROLS
) -> pd.DataFrame:
    """Tickets of all rounds, and their controls after the rounds `at`, which are trained here: `scores` per `method`.

    Args:
        tickets: what `procedure.find` found.

    Returns:
        The methods are `ticket` and the names of the controls; round 0, the dense networks, is part of each.
    """
    # One after another: `train` keeps all cores busy with the members of one population.
    rows = procedure.compare([procedure.Found(kind, tickets, at, controls)], lambda jobs: [job() for job in jobs])
    order = ["ticket", *controls]
    return rows.sort_values("method", key=lambda method: method.map(order.index), kind="stable", ignore_index=True)


def course(populations: Mapping[str, Population], task: Task, recipe: Recipe, *, every: int = 1) -> pd.DataFrame:
    """Train in place, and look at the test images after each `every` epochs: `evaluate` by `method` and `epoch`."""
    frames: list[pd.DataFrame] = []
    for name, one in populations.items():

        def look(epoch: int, now: Population, name: str = name) -> None:
            frames.append(evaluate(now, task.x_test, task.y_test).assign(method=name, epoch=epoch))

        train(one, task, recipe, on_epoch=look, every=every)
    return pd.concat(frames, ignore_index=True)
