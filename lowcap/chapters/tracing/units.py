"""Really smaller networks: whole hidden units that do nothing are taken out of all members of a population."""

from __future__ import annotations

import torch
from torch import Tensor

from lowcap.population import Population


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
