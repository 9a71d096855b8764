"""Structured pruning: hidden units of all members of a population go, and the networks get really smaller."""

from __future__ import annotations

import torch
from torch import Tensor

from lowcap.errors import fraction, one_of
from lowcap.evaluation import losses
from lowcap.population import Population
from lowcap.pruning import ranks_of
from lowcap.pruning_scores import SCORES, given

UNIT_SCORES = ("norm", "activation", "ablation", "random")


def prune_units(
    population: Population,
    sparsity: float,
    *,
    by: str = "norm",
    x: Tensor | None = None,
    y: Tensor | None = None,
    seed: int = 0,
) -> Population:
    """A copy without exactly the fraction `sparsity` of each member's hidden units, at least as masks: see `compact`.

    Args:
        by: which units go first: those of small `norm` (of the incoming weights times that of the outgoing ones, since
            a ReLU network can shift scale from one to the other); of small mean `activation` on images `x`; those whose
            `ablation` alone raises the loss on `x` and `y` least; or `random` ones. Units without any outgoing weight
            go first and count, so pruning again never takes more than asked for.

    Raises:
        UserError: a sparsity outside [0, 1], an unknown score, or one without the images or labels that it needs.
    """
    share = fraction("sparsity", sparsity)
    keep = torch.ones(len(population.owner), dtype=torch.bool)
    score = unit_scores(population, by=by, x=x, y=y, seed=seed).masked_fill(_cut(population), -torch.inf)
    for i, width in enumerate(population.widths):
        units = torch.where(population.owner == i)[0]
        keep[units[ranks_of(score[units]) < round(share * width)]] = False
    return population.masked(keep.expand_as(population.w_in), keep[:, None].expand_as(population.w_out))


@torch.no_grad()
def unit_scores(
    population: Population, *, by: str, x: Tensor | None = None, y: Tensor | None = None, seed: int = 0
) -> Tensor:
    """How much each hidden unit `(U,)` matters, by one of the scores of `prune_units`; raises as that does."""
    one_of("by", by, UNIT_SCORES)
    if by == "norm":
        return population.w_in.norm(dim=0) * population.w_out.norm(dim=1)
    if by == "random":
        return SCORES["random"](population, x, y, seed)[1][:, 0]
    images = given("x", x, by)
    hidden = population.hidden(images)
    if by == "activation":
        return hidden.mean(0)
    labels, logits = given("y", y, by), population(images).view(len(images), len(population), -1)  # (N, P, K)
    base = losses(logits, labels)
    raised = []
    for unit, i in enumerate(population.owner.tolist()):
        contribution = hidden[:, unit, None] * population.w_out[unit]  # (N, 1) * (K,) -> (N, K)
        without = logits[:, i] - contribution
        raised.append(losses(without[:, None], labels)[0] - base[i])
    return torch.stack(raised)


@torch.no_grad()
def compact(population: Population) -> Population:
    """The same networks, with equal outputs, without the hidden units that do nothing: really smaller ones.

    A unit does nothing if all its outgoing weights are zero. One whose incoming weights are all zero says the same for
    every image, and that goes into the output's bias. A network none of whose units does anything keeps one.
    """
    cut, constant = _cut(population), (population.w_in == 0).all(0)
    other = population.copy()
    says = (population.b_in.relu()[:, None] * population.w_out)[constant]  # what each of these units adds, always
    other.b_out.data.index_add_(0, population.owner[constant], says)
    other.w_out.data[constant] = 0
    keep = ~(cut | constant)
    for i in range(len(population)):
        units = torch.where(population.owner == i)[0]
        keep[units[0]] |= not keep[units].any()
    for name, columns in (("w_in", True), ("b_in", False), ("w_out", False), ("mask_in", True), ("mask_out", False)):
        if (tensor := getattr(other, name)) is not None:
            kept = tensor[:, keep] if columns else tensor[keep]
            setattr(other, name, torch.nn.Parameter(kept) if name in ("w_in", "b_in", "w_out") else kept)
    other.owner = population.owner[keep]
    other.widths = other.owner.bincount(minlength=len(population)).tolist()
    return other


def _cut(population: Population) -> Tensor:
    """Whether a unit `(U,)` has no outgoing weights, and so does nothing."""
    return (population.w_out == 0).all(1)
