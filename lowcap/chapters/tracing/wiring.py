"""Find the hidden layers of an ordinary module, and which layer reads each of them.

Works on what `torch.fx` can trace: multilayer perceptrons and convolutional networks in which a layer's output runs
through operations that keep units apart (activation, pooling, dropout, batch normalisation, flattening) into the one
layer that reads it. A unit is a row of a linear layer or a channel of a convolution.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from lowcap.errors import UserError

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)
ACTIVATIONS = {"relu", "relu6", "leakyrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "tanh",
               "sigmoid", "hardtanh", "hardswish"}  # fmt: skip
NEUTRAL = {"identity", "dropout", "dropout1d", "dropout2d", "alphadropout", "contiguous"}
POOLS = {f"{kind}pool{n}d" for kind in ("max", "avg", "adaptivemax", "adaptiveavg") for n in (1, 2)}
NORMS = {"batchnorm1d", "batchnorm2d"}
RESHAPES = {"flatten", "view", "reshape"}


@dataclass(frozen=True)
class Hidden:
    """A hidden layer by the names of its parts: the layer, the batch normalisations of its output, and its reader.

    `activation` names the step of the traced graph whose values count as the units' activations.
    """

    layer: str
    activation: str
    norms: tuple[str, ...]
    reader: str
    n_units: int


class _Cannot(Exception):
    """Why units cannot be taken out of a layer."""


def hidden_layers(model: nn.Module) -> list[str]:
    """Names of the layers whose units can be taken out, in the order in which they run."""
    return [name for name, found in _wiring(traced(model)).items() if isinstance(found, Hidden)]


def find(model: nn.Module, layer: str | None = None) -> Hidden:
    """The hidden layer of that name; without a name the last one, whose reader is in most networks the read-out.

    Raises:
        UserError: the module has no linear or convolutional layers, no such layer, or units cannot be taken out of it;
            the message says why.
    """
    return choose(traced(model), layer)


def choose(graph: fx.GraphModule, layer: str | None) -> Hidden:
    found = _wiring(graph)
    if not found:
        raise UserError(
            f"`model` must have linear or convolutional layers (torch.nn); {type(graph).__name__} calls none"
        )
    fit = [one for one in found.values() if isinstance(one, Hidden)]
    if layer is None and not fit:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in found.items())
        raise UserError(f"units cannot be taken out of any layer of {type(graph).__name__} ({reasons})")
    if layer is None:
        return fit[-1]
    if layer not in found:
        raise UserError(f"`layer` must be one of {', '.join(found)}; got {layer!r}")
    one = found[layer]
    if isinstance(one, _Cannot):
        possible = ", ".join(hidden.layer for hidden in fit) or "none"
        raise UserError(f"units cannot be taken out of layer {layer!r}: {one}; layers where they can: {possible}")
    return one


def traced(model: nn.Module) -> fx.GraphModule:
    """A copy in evaluation mode, with its graph. Raises UserError when torch.fx cannot trace it."""
    if not isinstance(model, nn.Module):
        raise UserError(f"`model` must be a torch.nn.Module; got {type(model).__name__}")
    try:
        return fx.symbolic_trace(deepcopy(model).eval())
    except Exception as error:  # the model's own code meets symbols and may raise anything
        raise UserError(
            f"torch.fx cannot trace {type(model).__name__}, so its wiring stays unknown ({error})"
        ) from error


def _wiring(graph: fx.GraphModule) -> dict[str, Hidden | _Cannot]:
    """Every layer that the model calls, with what follows it or why its units cannot be taken out."""
    parts: dict[str, Any] = dict(graph.named_modules(remove_duplicate=False))
    calls = [node for node in graph.graph.nodes if node.op == "call_module"]
    found: dict[str, Hidden | _Cannot] = {}
    for node in calls:
        if type(parts[node.target]) in LAYERS:
            try:
                found[node.target] = hidden = _follow(node, parts)
                # A layer that runs twice would lose the unit in both places.
                called = [parts[call.target] for call in calls]
                if _often(parts[hidden.layer], called) or _often(parts[hidden.reader], called):
                    raise _Cannot("it or the layer that reads it is used more than once")
            except _Cannot as reason:
                found[node.target] = reason
    return found


def _often(part: nn.Module, called: list[Any]) -> bool:
    """Whether a part is among those called more than once, under whatever names."""
    return sum(one is part for one in called) > 1


def _follow(first: fx.Node, parts: dict[str, Any]) -> Hidden:
    """From a layer along its output to the layer that reads it."""
    layer, node = parts[str(first.target)], first
    norms: list[str] = []
    activation, flat = "", isinstance(layer, nn.Linear)
    while True:
        users = [user for user in node.users if not _asks_shape(user)]
        if len(users) != 1:
            raise _Cannot(f"its output goes to {len(users)} places")
        node = users[0]
        kind = _kind(node, parts)
        if node.op == "call_module" and type(parts[str(node.target)]) in LAYERS:
            break
        if kind in ACTIVATIONS:
            activation = node.name
        elif kind in NORMS and node.op == "call_module":
            norms.append(str(node.target))
        elif kind in RESHAPES:
            flat = True
        elif node.op == "output":
            raise _Cannot("its output is the model's")
        elif not (kind in NEUTRAL or (kind in POOLS and not flat)):
            raise _Cannot(f"`{kind}` follows, which may mix units")
    hidden = Hidden(str(first.target), activation, tuple(norms), str(node.target), len(layer.weight))
    _check_reader(hidden, layer, parts[hidden.reader], flat)
    return hidden


def _check_reader(hidden: Hidden, layer: Any, reader: Any, flat: bool) -> None:
    """Raises _Cannot unless the reader's inputs are complete units, in order."""
    if not hidden.activation:
        raise _Cannot("no activation function follows, so nothing fires")
    if max(getattr(layer, "groups", 1), getattr(reader, "groups", 1)) > 1:
        raise _Cannot("grouped convolutions tie channels together")
    positions, rest = divmod(reader.weight.shape[1], hidden.n_units)
    several = flat and not isinstance(layer, nn.Linear)  # a flattened channel may have many positions
    if isinstance(reader, nn.Linear) != flat or rest or (positions > 1 and not several):
        raise _Cannot(f"its reader {hidden.reader!r} does not read whole units")


def _kind(node: fx.Node, parts: dict[str, Any]) -> str:
    """The operation, however it is spelled: `nn.MaxPool2d`, `F.max_pool2d` and so on are all `maxpool2d`."""
    target = str(node.target)
    name = type(parts[target]).__name__ if node.op == "call_module" else getattr(node.target, "__name__", target)
    return name.lower().replace("_", "")


def _asks_shape(node: fx.Node) -> bool:
    return node.target == "size" or (node.target is getattr and node.args[1:] == ("shape",))
