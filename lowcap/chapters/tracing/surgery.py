"""Open an ordinary module at a hidden layer, and take units out of it.

Taking a unit out means that the layer that reads it sees zero in its place; `silenced` puts the zeros there, `compact`
leaves a smaller module with the same outputs.

Letters for shapes: `N` images, `U` units, `F` inputs of the reader (`U` times the positions that a flattened channel
has), `K` its outputs.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from lowcap.chapters.tracing.wiring import Hidden, choose, find, traced
from lowcap.errors import UserError


class Seen(NamedTuple):
    """Activations `(N, U, ...)`, the reader's inputs `(N, F, ...)` and outputs `(N, K, ...)`, and logits of images."""

    activation: Tensor
    inputs: Tensor
    outputs: Tensor
    logits: Tensor


class Opened(fx.Interpreter):
    """A copy of a module, in evaluation mode, that shows what its hidden layer does and goes on from there.

    Do not open a module while other threads use modules, since `torch.fx` patches all of them in the meantime. Opened
    ones can be used side by side, one per thread.
    """

    def __init__(self, model: nn.Module, layer: str | None = None):
        graph = traced(model)
        super().__init__(graph, garbage_collect_values=False)
        self.hidden = choose(graph, layer)
        self.reader: Any = graph.get_submodule(self.hidden.reader)
        nodes = list(graph.graph.nodes)
        self._activation = next(node for node in nodes if node.name == self.hidden.activation)
        self._reader = next(node for node in nodes if node.target == self.hidden.reader)
        self._before = nodes[: nodes.index(self._reader)]
        self._rows = isinstance(graph.get_submodule(self.hidden.layer), nn.Linear)

    def look(self, x: Tensor) -> Seen:
        """Run images. Raises UserError when the model does not turn each into a row of logits."""
        logits = self.run(x)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(x):
            shown = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise UserError(f"`model` must turn {len(x)} images into logits (images, classes); got {shown}")
        seen = Seen(self.env[self._activation], self.env[self._reader.args[0]], self.env[self._reader], logits)
        if seen.activation.shape[1] != self.hidden.n_units or (self._rows and seen.activation.ndim != 2):
            raise UserError(
                f"layer {self.hidden.layer!r} gives values of shape {tuple(seen.activation.shape)}, not units"
            )
        return seen

    def finish(self, outputs: Tensor) -> Tensor:
        """The model's logits, had the reader given these outputs for the images of the last `look`."""
        if all(user.op == "output" for user in self._reader.users):
            return outputs
        # Go on with what came before the reader as it was, and with these outputs in place of its own.
        seen = self.env
        known = {node: seen[node] for node in self._before}
        logits = self.run(None, initial_env={**known, self._reader: outputs.clone()})
        self.env = seen  # so that other outputs can be finished for the same images
        return logits

    def without(self, outputs: Tensor, inputs: Tensor, unit: int) -> Tensor:
        """The reader's outputs `(N, K, ...)` less what one unit contributes to them."""
        weight = self.reader.weight
        width = weight.shape[1] // self.hidden.n_units  # inputs per unit: a flattened channel has many positions
        own = slice(unit * width, (unit + 1) * width)
        if isinstance(self.reader, nn.Linear):
            return torch.addmm(outputs, inputs[:, own], weight[:, own].T, alpha=-1)
        return outputs - self.reader._conv_forward(inputs[:, own], weight[:, own], None)


def silenced(model: nn.Module, keep: Tensor, layer: str | None = None) -> nn.Module:
    """A copy in which the units that `keep` `(U,)`, bool, leaves out count for nothing; its size stays the same."""
    hidden, other = find(model, layer), deepcopy(model)
    reader: Any = other.get_submodule(hidden.reader)
    reader.weight.data[:, ~_for_values(keep, hidden, reader.weight.shape[1])] = 0
    return other


def compact(model: nn.Module, keep: Tensor, layer: str | None = None) -> nn.Module:
    """A copy from which the units that `keep` `(U,)`, bool, leaves out are gone, with the outputs of `silenced`.

    Raises:
        UserError: as `find`; or `keep` is not one bool per unit with at least one True.
    """
    hidden, other = find(model, layer), deepcopy(model)
    part: Any = other.get_submodule(hidden.layer)
    _trim(part, _for_values(keep, hidden, hidden.n_units), ("weight", "bias"), 0)
    setattr(part, "out_features" if isinstance(part, nn.Linear) else "out_channels", len(part.weight))
    for norm in (other.get_submodule(name) for name in hidden.norms):
        part = norm
        _trim(part, _for_values(keep, hidden, part.num_features), ("weight", "bias", "running_mean", "running_var"), 0)
        part.num_features = part.num_features * int(keep.sum()) // hidden.n_units
    part = other.get_submodule(hidden.reader)
    _trim(part, _for_values(keep, hidden, part.weight.shape[1]), ("weight",), 1)
    setattr(part, "in_features" if isinstance(part, nn.Linear) else "in_channels", part.weight.shape[1])
    return other


def _for_values(keep: Tensor, hidden: Hidden, n: int) -> Tensor:
    """`keep`, checked, for the `n` values that belong to the units, unit by unit."""
    if not isinstance(keep, Tensor) or keep.shape != (hidden.n_units,) or keep.dtype != torch.bool or not keep.any():
        shown = f"{keep.dtype}, {tuple(keep.shape)}" if isinstance(keep, Tensor) else repr(keep)
        raise UserError(f"`keep` must hold one bool per unit, {hidden.n_units}, at least one of them True; got {shown}")
    return keep.repeat_interleave(n // hidden.n_units)


def _trim(part: Any, keep: Tensor, names: tuple[str, ...], dim: int) -> None:
    for name in names:
        old = getattr(part, name)
        if old is not None:
            new = old.data[keep.to(old.device)] if dim == 0 else old.data[:, keep.to(old.device)]
            setattr(part, name, nn.Parameter(new.clone(), old.requires_grad) if isinstance(old, nn.Parameter) else new)
