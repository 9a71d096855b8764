"""What the layer that reads hidden units can do, without training, when some of them are gone.

`plain` leaves its other weights. `folded` adds what the removed units contribute on average to its bias (next to zero
padding that is approximate). `refit` replaces its weights by those that give its old outputs best on the traced images:
ridge regression in closed form (Hoerl and Kennard 1970), possible for a linear layer.

Letters for shapes: `N` images, `U` units, `F` inputs of the reader, `U` times the positions of a unit, `K` outputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.linalg import cholesky, solve, solve_triangular

from lowcap.errors import UserError

READ_OUTS = ("plain", "folded", "refit")
RIDGE = 1e-3  # penalty of the refit, as a share of the mean variance of the reader's inputs
TOGETHER = 16  # refits that are multiplied at a time: one wide product is faster than many narrow ones
MOST_INPUTS = 4096  # of a reader that can be refitted: the covariance of its inputs is held in memory


@dataclass(frozen=True)
class Moments:
    """Means and covariances of what a reader read and gave, in double precision.

    `mean (F,)` and `mean_out (K,)`, `covariance (F, F)` of the inputs, `cross (F, K)` of inputs with outputs; the last
    two are None for a convolution and for a reader of more than 4,096 inputs.
    """

    n_units: int
    mean: Tensor
    mean_out: Tensor
    covariance: Tensor | None = None
    cross: Tensor | None = None

    def constants(self, reader: Any) -> Tensor:
        """What each unit contributes to each output on average, `(K, U)`."""
        weight = reader.weight.reshape(*reader.weight.shape[:2], -1).sum(2)  # (K, F, ...) -> (K, F)
        contribution = weight * self.mean.to(weight)
        return contribution.reshape(len(weight), self.n_units, -1).sum(2)  # (K, F) -> (K, U)

    def columns(self, units: Tensor) -> Tensor:
        """Positions of the units' values among the reader's inputs."""
        width = len(self.mean) // self.n_units
        return (units.cpu()[:, None] * width + torch.arange(width)).flatten()

    def system(self, units: Tensor) -> tuple[Tensor, Tensor]:
        """Left and right side of the ridge regression on some units: penalised covariance, and covariance with outputs.

        Raises UserError where there is no refit.
        """
        if self.covariance is None or self.cross is None:
            raise UserError(f"`read_out` can be refit for a linear layer of at most {MOST_INPUTS} inputs, not for this")
        columns = self.columns(units)
        # In proportion to the mean variance, so that the scale of the activations does not matter.
        strength = RIDGE * self.covariance.diagonal().mean().clamp(min=1e-12)
        penalty = strength * torch.eye(len(columns)).double()
        return self.covariance[columns][:, columns] + penalty, self.cross[columns]


class Gather:
    """Collects `Moments` batch by batch."""

    def __init__(self, reader: Any, n_units: int):
        self.n, self.n_units, self.n_inputs = 0, n_units, reader.weight.shape[1]
        size = self.n_inputs + len(reader.weight)
        can_refit = isinstance(reader, nn.Linear) and self.n_inputs <= MOST_INPUTS
        self.sums = torch.zeros(size, dtype=torch.float64)
        self.products = torch.zeros(size, size, dtype=torch.float64) if can_refit else None

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Inputs `(N, F, ...)` and outputs `(N, K, ...)`; of a convolution the means over positions."""
        means = [x.reshape(*x.shape[:2], -1).mean(2).cpu() for x in (inputs, outputs)]
        both = torch.cat(means, 1)  # (N, F + K)
        self.n += len(both)
        self.sums += both.double().sum(0)
        if self.products is not None:
            self.products += both.T @ both

    def moments(self) -> Moments:
        """What was collected so far."""
        f, mean = self.n_inputs, self.sums / self.n
        mean_in, mean_out = mean[:f], mean[f:]
        if self.products is None:
            return Moments(self.n_units, mean_in, mean_out)
        covariance = self.products / self.n - torch.outer(mean, mean)  # (F + K, F + K)
        of_inputs, with_outputs = covariance[:f, :f], covariance[:f, f:]
        return Moments(self.n_units, mean_in, mean_out, of_inputs, with_outputs)


def check(read_out: str, moments: Moments) -> None:
    """Raises UserError for an unknown read-out, or for a refit where there is none."""
    if read_out not in READ_OUTS:
        raise UserError(f"`read_out` must be one of {', '.join(READ_OUTS)}; got {read_out!r}")
    if read_out == "refit":
        moments.system(torch.zeros(1, dtype=torch.long))


def refits(moments: Moments, order: Tensor) -> list[Tensor]:
    """Ridge weights `(F left, K)` with 0, 1, ... U - 1 units removed in that order, from one Cholesky factor.

    With the last unit to go in front, the system of every size is a corner of the full one, and so is its factor.
    """
    left, right = moments.system(order.flip(0))
    # left = L L', so L h = right and then L' w = h; a corner of L and the first rows of h serve every size.
    factor = cholesky(left)
    half = solve_triangular(factor, right, upper=False)
    inputs_per_unit = len(left) // moments.n_units
    ends = range(len(left), 0, -inputs_per_unit)
    return [solve_triangular(factor[:k, :k].T, half[:k], upper=True) for k in ends]


def refitted(moments: Moments, order: Tensor, weights: list[Tensor], inputs: Tensor) -> Iterator[Tensor]:
    """The refitted reader's outputs `(N, K)` for each of the weights of `refits`."""
    columns = moments.columns(order.flip(0)).to(inputs.device)
    centred = inputs[:, columns] - moments.mean.to(inputs)[columns]
    mean_out = moments.mean_out.to(inputs)
    for begin in range(0, len(weights), TOGETHER):
        some = weights[begin : begin + TOGETHER]
        rows = len(some[0])  # the first has the most units left; to the others zeros are added below
        padded = [nn.functional.pad(weight, (0, 0, 0, rows - len(weight))) for weight in some]
        outputs = centred[:, :rows] @ torch.cat(padded, 1).to(inputs)  # (N, F left) @ (F left, sizes * K)
        yield from (mean_out + part for part in outputs.split(len(mean_out), 1))


def adjust(reader: Any, dense: Any, moments: Moments, keep: Tensor, read_out: str) -> None:
    """Give a reader that has lost units the bias, or all the weights, that its read-out asks for.

    Args:
        reader, dense: the smaller reader, changed in place, and the one that it comes from.
    """
    if read_out == "folded":
        bias = torch.zeros(len(dense.weight)).to(dense.weight) if dense.bias is None else dense.bias.data
        reader.bias = nn.Parameter(bias + moments.constants(dense)[:, ~keep].sum(1))
    elif read_out == "refit":
        units = keep.nonzero().flatten()
        weight = solve(*moments.system(units))
        bias = moments.mean_out - moments.mean[moments.columns(units)] @ weight
        reader.weight, reader.bias = nn.Parameter(weight.T.to(dense.weight)), nn.Parameter(bias.to(dense.weight))
