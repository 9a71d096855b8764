"""Pruning by exact rank, for all members of a population at once.

A threshold removes as many weights as happen to lie below it. Here the weights of each member are ranked, and exactly
the named fraction of them goes, as in `torch.nn.utils.prune`; of equal weights the first goes first. What is removed
stays removed, so masks nest from level to level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lowcap.errors import UserError, fraction, one_of, whole_number
from lowcap.evaluation import evaluate
from lowcap.population import Population
from lowcap.pruning_scores import SCORES, Layers
from lowcap.recipe import Recipe
from lowcap.tasks import Task
from lowcap.training import train

SCOPES = ("layer", "first", "network")
N = TypeVar("N")  # networks of any kind
Level = TypeVar("Level")


@dataclass(frozen=True)
class Ranking:
    """The order in which a population's weights go, the first to go at 0.

    Attributes:
        ranks: of `w_in (D, U)` and of `w_out (U, K)` among the weights of the same member and scope.
        sizes: for each layer and member `(P,)`, how many weights count as the whole; 0 where the layer is left alone.
        before: for each layer and member `(P,)`, how many weights go before any is counted.
    """

    population: Population
    ranks: Layers
    sizes: Layers
    before: Layers

    def prune(self, sparsity: float) -> Population:
        """The population without its first `round(sparsity * size)` weights. Raises UserError as `fraction` does."""
        share, masks = fraction("sparsity", sparsity), []
        for ranks, size, before in zip(self.ranks, self.sizes, self.before, strict=True):
            gone = before + torch.round(share * size.double()).long()  # (P,): so many weights of each member
            per_unit = gone[self.population.owner]
            masks.append(ranks >= (per_unit[None, :] if ranks is self.ranks[0] else per_unit[:, None]))
        return self.population.masked(*masks)


@torch.no_grad()
def rank(
    population: Population,
    *,
    by: str = "magnitude",
    scope: str = "layer",
    live: Tensor | None = None,
    x: Tensor | None = None,
    y: Tensor | None = None,
    seed: int = 0,
) -> Ranking:
    """Rank the weights of each member.

    Args:
        by: which weights go first: those of small `magnitude`; of small magnitude times the root mean square of the
            `activation` that they are fed on images `x` (after Sun et al. 2024); of small product with their `gradient`
            of the loss on `x` and `y` (Lee et al. 2019: on an untrained population, SNIP); those of low `grasp` or
            `synflow` score (see `lowcap.pruning_scores`); or `random` ones, drawn by `seed` and the member's own.
        scope: `layer` takes the same fraction of both layers, `first` of the first layer only, `network` ranks both
            layers together.
        live: `(D,)` bool, the inputs that ever vary (`Task.live`). If given, the weights of the others go first and do
            not count, so that a sparsity is one of live weights; else all weights are ranked and counted.

    Raises:
        UserError: an unknown score or scope, a score without the images or labels that it needs, `live` of another
            shape.
    """
    one_of("by", by, SCORES)
    one_of("scope", scope, SCOPES)
    live = torch.ones(population.n_features, dtype=torch.bool) if live is None else live
    if live.shape != (population.n_features,) or live.dtype != torch.bool:
        found = f"{live.dtype}, {tuple(live.shape)}"
        raise UserError(f"`live` must be bool of shape ({population.n_features},); got {found}")
    s_in, s_out = (score.double() for score in SCORES[by](population, x, y, seed))
    # Scores are at least 0. So what is masked already goes before all else, and what no image ever feeds before that.
    for score, mask in ((s_in, population.mask_in), (s_out, population.mask_out)):
        if mask is not None:
            score.masked_fill_(~mask, -1)
    s_in[~live] = -2
    ranks = torch.empty_like(s_in, dtype=torch.long), torch.empty_like(s_out, dtype=torch.long)
    for i in range(len(population)):
        units = torch.where(population.owner == i)[0]
        first, last = s_in[:, units].flatten(), s_out[units].flatten()
        if scope == "network":  # one ranking for both layers, else one for each
            order = ranks_of(torch.cat([first, last]))
        else:
            order = torch.cat([ranks_of(first), ranks_of(last)])
        ranks[0][:, units] = order[: len(first)].view(-1, len(units))
        ranks[1][units] = order[len(first) :].view(len(units), -1)
    # How many weights a sparsity is a share of, and how many go before it begins to count.
    widths = torch.tensor(population.widths)
    n_in, n_out = widths * live.sum(), widths * population.n_outputs
    before, none = widths * (~live).sum(), torch.zeros_like(widths)
    if scope == "network":
        return Ranking(population, ranks, (n_in + n_out,) * 2, (before,) * 2)
    return Ranking(population, ranks, (n_in, none if scope == "first" else n_out), (before, none))


def prune(population: Population, sparsity: float, **how: Any) -> Population:
    """A copy without exactly the fraction `sparsity` of the weights; `how` are the arguments of `rank`.

    Weights that are masked already go first and count, so pruning again never brings one back.

    Raises:
        UserError: a sparsity outside [0, 1], or as `rank` does.
    """
    share = fraction("sparsity", sparsity)
    return rank(population, **how).prune(share)


def measure(population: Population, live: Tensor | None = None) -> pd.DataFrame:
    """What is left of each member, counted: a row per member, weights that are exactly zero count as removed.

    Columns: `sparsity` of all weights, `sparsity_in` of the first layer, `sparsity_out` of the second, `sparsity_live`
    of those that are not fed by a constant input (with `live (D,)`), `kept` weights, and `connected` units, those
    with at least one weight left on each side, to a pixel and to the output.
    """
    live = torch.ones(population.n_features, dtype=torch.bool) if live is None else live
    left_in, left_out = population.w_in != 0, population.w_out != 0
    connected = left_in.any(0) & left_out.any(1)
    per_unit = torch.stack([left_in.sum(0), left_in[live].sum(0), left_out.sum(1), connected], 1)
    table = torch.zeros(len(population), 4, dtype=torch.long).index_add_(0, population.owner, per_unit)
    first, first_live, last, units = table.numpy().T
    widths = np.array(population.widths)
    n_in, n_live, n_out = widths * population.n_features, widths * int(live.sum()), widths * population.n_outputs
    return pd.DataFrame(
        {
            "sparsity": 1 - (first + last) / (n_in + n_out),
            "sparsity_in": 1 - first / n_in,
            "sparsity_out": 1 - last / n_out,
            "sparsity_live": 1 - (first_live + last) / (n_live + n_out),
            "kept": first + last,
            "connected": units,
        }
    )


def results(population: Population, x: Tensor, y: Tensor, *, live: Tensor | None = None) -> pd.DataFrame:
    """`evaluate` on images `(N, D)` beside `measure`: a row per member."""
    return evaluate(population, x, y).join(measure(population, live))


def one_shot(
    population: Population, sparsities: Iterable[float], x: Tensor, y: Tensor, *, ranking: Ranking | None = None
) -> pd.DataFrame:
    """Prune once to each level, without training on, and look: `results` per level, which is the column `level`."""
    ranking = ranking or rank(population)
    return per_level(((s, ranking.prune(s)) for s in sparsities), x, y)


def per_level(populations: Iterable[tuple[float, Population]], x: Tensor, y: Tensor) -> pd.DataFrame:
    """`results` of each population under its level, which is the column `level`."""
    return pd.concat([results(one, x, y).assign(level=level) for level, one in populations], ignore_index=True)


def gradual(
    population: Population,
    task: Task,
    recipe: Recipe,
    sparsity: float,
    *,
    until: float = 0.75,
    order_seed: int = 0,
    **how: Any,
) -> Population:
    """Train in place while pruning a little after every epoch; returns the population.

    The sparsity rises as 1 - (1 - t)^3 of the final one (Zhu and Gupta 2017), where t is the share of the first
    `until` of the epochs; the rest is for recovery. `how` are the arguments of `rank`.

    Raises:
        UserError: `sparsity` or `until` outside [0, 1], or as `rank` and `train` do.
    """
    final, last = fraction("sparsity", sparsity), max(1, round(fraction("until", until) * recipe.epochs))

    def remove(epoch: int, now: Population) -> Population | None:
        return prune(now, final * (1 - (1 - epoch / last) ** 3), **how) if epoch <= last else None

    return train(population, task, recipe, order_seed=order_seed, on_epoch=remove)


def iterative(
    population: Population,
    task: Task,
    recipe: Recipe,
    sparsities: Iterable[float],
    *,
    rewind_to: int = 0,
    order_seed: int = 0,
    **how: Any,
) -> Iterator[tuple[float, Population]]:
    """Train, prune to the next level, rewind what is left to its early weights, train again (Frankle and Carbin 2019).

    Yields `(sparsity, trained population)`, first the dense one at 0.0. The population itself is left as it is.

    Args:
        rewind_to: the epoch whose weights are the early ones; 0 is the initialisation. Momentum and schedule begin
            anew there, for the dense networks as for all others.
        how: the arguments of `rank`.

    Raises:
        UserError: a sparsity outside [0, 1], `rewind_to` outside the recipe's epochs, or as `rank` and `train` do.
    """
    check_rewind(rewind_to, recipe)
    levels = [fraction("sparsities", value) for value in sparsities]
    early = train(population.copy(), task, recipe.but(epochs=rewind_to), order_seed=order_seed)
    rest = recipe.but(epochs=recipe.epochs - rewind_to)
    dense = train(early.copy(), task, rest, order_seed=order_seed + rewind_to)

    def retrain(pruned: Population) -> Population:
        left = early.masked(pruned.mask_in, pruned.mask_out)
        return train(left, task, rest, order_seed=order_seed + rewind_to)

    yield 0.0, dense
    yield from in_rounds(dense, levels, partial(prune, **how), retrain)


def in_rounds(
    dense: N, levels: Iterable[Level], prune: Callable[[N, Level], N], retrain: Callable[[N], N]
) -> Iterator[tuple[Level, N]]:
    """The loop of iterative pruning, for trained networks of any kind: yields `(level, trained networks)`.

    `prune(networks, level)` removes weights up to a level, `retrain(pruned)` rewinds what is left and trains it.
    """
    trained = dense
    for level in levels:
        trained = retrain(prune(trained, level))
        yield level, trained


def check_rewind(rewind_to: int, recipe: Recipe) -> None:
    """UserError unless networks trained by the recipe can be rewound to that epoch, and trained on from it."""
    whole_number("rewind_to", rewind_to, 0, recipe.epochs - 1, note="an epoch before the last")


def ranks_of(score: Tensor) -> Tensor:
    """The rank of each of `(n,)` scores, 0 for the smallest, equal ones in order of their index."""
    order = score.argsort(stable=True)
    return torch.empty_like(order).index_copy_(0, order, torch.arange(len(order)))


def largest_sparsity(
    rows: pd.DataFrame,
    *,
    by: Sequence[str],
    least: float | None = None,
    within: float | None = None,
    factor: float | None = None,
) -> pd.Series:
    """The largest level up to which each network, one per combination of the columns `by`, scores well enough.

    Args:
        rows: a row per network and `level`, with `f1`; level 0 is the dense network.
        least: the F1 that has to be reached, at this level and at every lower one; or
        within: how far below its own dense F1 it may stay; or
        factor: how many times the error 1 - F1 of the dense network it may make.

    Returns:
        The levels, indexed by `by`; NaN where even the dense network does not reach it.

    Raises:
        UserError: not exactly one of the three bars, or no level 0.
    """
    if [least, within, factor].count(None) != 2:
        raise UserError(f"give one of `least`, `within` and `factor`; got {least!r}, {within!r}, {factor!r}")
    if 0 not in set(rows["level"]):
        raise UserError("the rows must hold level 0, the dense networks, to which the others are compared")
    f1 = rows.pivot(index=list(by), columns="level", values="f1").sort_index(axis=1)
    bar = pd.Series(least, f1.index, dtype=float)
    if within is not None:
        bar = f1[0.0] - within
    elif factor is not None:
        bar = 1 - factor * (1 - f1[0.0])
    # A level counts only if all lower ones are good enough too; so the last of them is their number less one.
    fine = f1.ge(bar, axis=0).cummin(axis=1)
    last = fine.sum(axis=1) - 1
    levels = f1.columns.to_numpy()
    return pd.Series(np.where(last >= 0, levels[last], np.nan), index=f1.index, name="sparsity")
