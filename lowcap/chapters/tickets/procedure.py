"""Winning tickets: one search, and the controls that every ticket must beat, for networks of any kind.

The search is that of Frankle and Carbin (2019). Train; remove a fixed share of the weights, the smallest; rewind what
is left to its early weights; train again; and so on, round by round. A *ticket* is what has lost weights that way.

That a ticket trains well does not show yet that it is special. Perhaps any weights would do under its mask, or any mask
of its size. So each control keeps one thing of the ticket and draws the rest anew.

The search and the controls are the same for a population (`populations`) and for one module at a time (`multilayer`).
How these are copied, trained, pruned and scored is not: `Networks` lists what the procedure asks of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Protocol, TypeVar

import pandas as pd

from lowcap.errors import one_of
from lowcap.parallel import Work
from lowcap.pruning import in_rounds

SHARE = 0.2  # of the weights left, removed per round
NEW = 1_000_000  # added to a seed for weights of another draw
CONTROLS = ("new weights", "shuffled mask", "random mask", "one-shot")

N = TypeVar("N")  # weights and their masks: a population with all its members, or one pruned module


class Networks(Protocol[N]):
    """Networks of one kind, on one task, trained by one recipe: what the procedure must be able to do with them."""

    @property
    def controls(self) -> Sequence[str]:
        """The names of the controls that networks of this kind have."""

    def early(self, offset: int = 0) -> N:
        """The networks at the epoch that tickets rewind to; with an `offset` to their seeds, from other weights."""

    def train(self, networks: N) -> N:
        """Train in place from that epoch to the last, and return the networks. What is masked stays masked."""

    def prune(self, networks: N, rounds: int) -> N:
        """The networks without their smallest weights, so many as are gone after so many rounds. Masks nest."""

    def carve(self, weights: N, masks: N) -> N:
        """A copy: the weights of the one under the masks of the other."""

    def random_places(self, name: str, ticket: N, rounds: int) -> N:
        """Masks with as many weights as the ticket's, at random places, as the control of that name draws them."""

    def scores(self, networks: N) -> pd.DataFrame:
        """A row per network, on the test images."""


def sparsity_after(rounds: int) -> float:
    """The share of the weights that is gone after so many rounds.

    >>> round(sparsity_after(2), 3)
    0.36
    """
    return 1 - (1 - SHARE) ** rounds


def find(kind: Networks[N], rounds: Iterable[int]) -> dict[int, N]:
    """Tickets by round, trained; the dense networks at 0.

    Args:
        rounds: after which networks are pruned, trained and kept. Between two of them is one cut.
    """
    early = kind.early()

    def retrain(pruned: N) -> N:
        return kind.train(kind.carve(early, pruned))

    dense = retrain(early)  # nothing is masked yet
    return {0: dense, **dict(in_rounds(dense, sorted(rounds), kind.prune, retrain))}


def control(kind: Networks[N], name: str, tickets: Mapping[int, N], rounds: int) -> N:
    """A control of the ticket after so many rounds, not yet trained from the early epoch on.

    Args:
        name: `new weights` under the ticket's mask; the `shuffled mask`, within each layer; a `random mask` of as many
            weights, drawn over all layers; `one-shot`, the mask that pruning the dense networks once would give; and
            for populations `same pixels`, the ticket's mask, in the first layer shuffled within each pixel. All but
            the first have the ticket's own early weights.
        tickets: what `find` found. Only masks are used, and the trained dense networks at 0.

    Raises:
        UserError: a name that is none of `kind.controls`.
    """
    one_of("name", name, kind.controls)
    if name == "new weights":
        return kind.carve(kind.early(NEW), tickets[rounds])
    if name == "one-shot":
        return kind.carve(kind.early(), kind.prune(tickets[0], rounds))
    return kind.carve(kind.early(), kind.random_places(name, tickets[rounds], rounds))


@dataclass(frozen=True)
class Found(Generic[N]):
    """Tickets of one search, and what they are to be compared with.

    Attributes:
        tickets: trained networks by round, with the dense ones at 0, of `find`.
        at: the rounds after which the `controls` are trained.
        method: what the tickets are called in the frame.
    """

    kind: Networks[N]
    tickets: Mapping[int, N]
    at: Sequence[int]
    controls: Sequence[str] = CONTROLS
    method: str = "ticket"

    def ticket_rows(self) -> pd.DataFrame:
        """Scores of the tickets by `round` and `method`. The dense networks, round 0, are part of each control too."""
        frames = [self.kind.scores(one).assign(round=k, method=self.method) for k, one in self.tickets.items()]
        dense = frames[0]
        return pd.concat([*frames, *(dense.assign(method=name) for name in self.controls)], ignore_index=True)

    def control_rows(self, name: str, rounds: int) -> pd.DataFrame:
        """Train a control, and score it."""
        trained = self.kind.train(control(self.kind, name, self.tickets, rounds))
        return self.kind.scores(trained).assign(round=rounds, method=name)


def compare(searches: Iterable[Found], run: Callable[[Iterable[Work]], list[pd.DataFrame]]) -> pd.DataFrame:
    """Train the controls of all searches: rows of tickets first, then of controls, by `round` and `method`.

    Args:
        run: works through the jobs, which do not depend on each other, and returns what they return in their order.
    """
    searches = list(searches)
    jobs: list[Work] = [search.ticket_rows for search in searches]
    for search in searches:
        jobs += [partial(search.control_rows, name, k) for k in search.at for name in search.controls]
    return pd.concat(run(jobs), ignore_index=True)
