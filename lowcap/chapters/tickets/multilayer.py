"""Winning tickets of modules of any shape, one network at a time: see `populations` for the idea."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lowcap import modules
from lowcap.chapters.tickets.populations import CONTROLS, NEW, SHARE
from lowcap.errors import UserError, one_of
from lowcap.parallel import in_threads
from lowcap.population import INITS
from lowcap.pruning import ranks_of
from lowcap.recipe import Recipe
from lowcap.tasks import Task

OUTPUT = "head"  # the layer that gives the logits: pruned at half the rate, as by Frankle and Carbin
Masks = dict[str, Tensor]


def mlp(n_features: int, hidden: Sequence[int], n_outputs: int, *, init: str = "he", seed: int = 0) -> nn.Sequential:
    """Linear layers of the given widths with ReLU between them; weights as `population.INITS` draws them, biases 0.

    The last layer is named `head`. Raises UserError without a hidden layer or for an unknown init.
    """
    one_of("init", init, INITS)
    if not hidden or min(hidden) < 1:
        raise UserError(f"`hidden` must be one or more widths of at least 1; got {hidden!r}")
    generator, parts = torch.Generator().manual_seed(seed), OrderedDict[str, nn.Module]()
    for i, (fan_in, fan_out) in enumerate(pairwise([n_features, *hidden, n_outputs]), start=1):
        linear = nn.Linear(fan_in, fan_out)
        linear.weight.data = INITS[init](fan_in, (fan_out, fan_in), generator).float()
        linear.bias.data.zero_()
        parts[f"layer{i}" if i <= len(hidden) else OUTPUT] = linear
        if i <= len(hidden):
            parts[f"activation{i}"] = nn.ReLU()
    return nn.Sequential(parts)


@dataclass(frozen=True)
class Setup:
    """One kind of network and how its tickets are looked for.

    Attributes:
        make: the untrained module of a seed; its output layer is named `head`.
        rounds: after which networks are trained and scored; between two of them is one cut.
        at: those of the rounds after which the controls are trained too.
        rewind_to: the epoch whose weights the tickets, and the controls with the network's own weights, go back to.
        method: what its tickets are called in the frame.

    Raises:
        UserError: controls at a round that has no ticket, or `rewind_to` outside the recipe's epochs.
    """

    name: str
    make: Callable[[int], nn.Module]
    task: Task
    recipe: Recipe
    rounds: Sequence[int]
    at: Sequence[int]
    seeds: Sequence[int]
    rewind_to: int = 0
    method: str = "ticket"

    def __post_init__(self) -> None:
        if missing := sorted(set(self.at) - set(self.rounds)):
            raise UserError(f"`at` must name some of the rounds {list(self.rounds)}; got {missing} too")
        if self.rewind_to not in range(self.recipe.epochs):
            raise UserError(f"`rewind_to` must be an epoch from 0 to {self.recipe.epochs - 1}; got {self.rewind_to!r}")


def kept_after(weights: Masks, rounds: int) -> dict[str, int]:
    """How many weights of each layer are left after so many rounds; the output layer loses half as fast."""
    rates = {name: SHARE / 2 if name == OUTPUT else SHARE for name in weights}
    return {name: round(weight.numel() * (1 - rates[name]) ** rounds) for name, weight in weights.items()}


def largest(score: Masks, keep: dict[str, int], masks: Masks | None = None) -> Masks:
    """Masks of the `keep` weights of each layer with the highest scores, among those that `masks` still hold."""
    found = {}
    for name, values in score.items():
        flat = values.detach().abs().flatten().double()
        if masks is not None:
            flat = flat.masked_fill(~masks[name].flatten(), -1)
        found[name] = (ranks_of(flat) >= flat.numel() - keep[name]).view_as(values)
    return found


def masked(module: nn.Module, masks: Masks) -> nn.Module:
    """A copy in which weights whose mask is False are zero; `convnet.fit(frozen=True)` keeps them there."""
    other = deepcopy(module)
    with torch.no_grad():
        for name, weight in modules.layers_of(other).items():
            weight.masked_fill_(~masks[name], 0)
    return other


def control_mask(name: str, ticket: Masks, dense: nn.Module, seed: int) -> Masks:
    """The mask of a control: see `tickets.control`. A random mask is drawn over the whole network, a shuffled one
    within each layer."""
    one_of("name", name, CONTROLS)
    rng, sizes = np.random.default_rng(seed), {layer: mask.numel() for layer, mask in ticket.items()}
    if name == "new weights":
        return ticket
    if name == "one-shot":
        return largest(modules.layers_of(dense), {layer: int(mask.sum()) for layer, mask in ticket.items()})
    if name == "shuffled mask":
        return {layer: torch.from_numpy(rng.permuted(mask.numpy())) for layer, mask in ticket.items()}
    drawn = torch.from_numpy(rng.permuted(torch.cat([mask.flatten() for mask in ticket.values()]).numpy()))
    parts = drawn.split(list(sizes.values()))
    return {layer: part.view_as(ticket[layer]) for layer, part in zip(sizes, parts, strict=True)}


def fit(module: nn.Module, task: Task, recipe: Recipe, *, order_seed: int = 0) -> None:
    """`convnet.fit` in place, where weights that are zero stay zero; in a row of linear layers, with less work.

    Inputs and hidden units all of whose outgoing weights are zero get no gradient. They are left out and stay as they
    are, which is what training would do with them as long as there is no weight decay.
    """
    if not isinstance(module, nn.Sequential) or recipe.weight_decay:
        modules.fit(module, task, recipe, frozen=True, order_seed=order_seed)
        return
    small = deepcopy(module)
    layers, parts = ([part for part in one if isinstance(part, nn.Linear)] for one in (module, small))
    used = [torch.where((layer.weight != 0).any(0))[0] for layer in layers] + [torch.arange(layers[-1].out_features)]
    places = [(rows, columns) for columns, rows in pairwise(used)]
    for layer, part, (rows, columns) in zip(layers, parts, places, strict=True):
        part.weight = nn.Parameter(layer.weight.detach()[rows[:, None], columns])
        part.bias = nn.Parameter(layer.bias.detach()[rows])
    few = replace(task, x_train=task.x_train[:, used[0]])
    modules.fit(small, few, recipe, frozen=True, order_seed=order_seed)
    for layer, part, (rows, columns) in zip(layers, parts, places, strict=True):
        layer.weight.data[rows[:, None], columns] = part.weight.detach()
        layer.bias.data[rows] = part.bias.detach()


def _trained(module: nn.Module, setup: Setup, start: int, stop: int, seed: int) -> nn.Module:
    """Train in place from one epoch to another; weights that are zero stay zero."""
    recipe = setup.recipe.but(epochs=stop - start)
    fit(module, setup.task, recipe, order_seed=seed + start)
    return module


def _row(setup: Setup, method: str, rounds: int, seed: int, module: nn.Module) -> dict:
    weights, task = modules.layers_of(module).values(), setup.task
    kept, size = sum(int((w != 0).sum()) for w in weights), sum(w.numel() for w in weights)
    row = {"network": setup.name, "method": method, "round": rounds, "seed": seed, "kept": kept}
    return row | {
        "sparsity": 1 - kept / size,
        "n_params": kept + sum(p.numel() for p in module.parameters()) - size,
        "accuracy": modules.accuracy(module, task.x_test, task.y_test),
    }


def _search(setup: Setup, seed: int) -> tuple[list[dict], dict[int, Masks], nn.Module, nn.Module]:
    """Rows of the rounds, the masks after each, the early weights, and the trained dense module."""
    early = _trained(setup.make(seed), setup, 0, setup.rewind_to, seed)
    dense = now = _trained(deepcopy(early), setup, setup.rewind_to, setup.recipe.epochs, seed)
    rows, masks, mask = [_row(setup, setup.method, 0, seed, dense)], {}, None
    for k in sorted(setup.rounds):
        weights = modules.layers_of(now)
        mask = masks[k] = largest(weights, kept_after(weights, k), mask)
        now = _trained(masked(early, mask), setup, setup.rewind_to, setup.recipe.epochs, seed)
        rows.append(_row(setup, setup.method, k, seed, now))
    return rows, masks, early, dense


def _control(setup: Setup, seed: int, name: str, k: int, ticket: Masks, early: nn.Module, dense: nn.Module) -> dict:
    mask, own = control_mask(name, ticket, dense, seed), early
    if name == "new weights":
        own = _trained(setup.make(seed + NEW), setup, 0, setup.rewind_to, seed)
    module = _trained(masked(own, mask), setup, setup.rewind_to, setup.recipe.epochs, seed)
    return _row(setup, name, k, seed, module)


def compare(setups: Sequence[Setup], controls: Sequence[str] = CONTROLS) -> pd.DataFrame:
    """Tickets and controls of all setups and seeds, one thread per core.

    Returns:
        A row per `network` (the setup's name), `method`, `round` and `seed`: `sparsity` of the prunable weights,
        `kept` of them, `n_params` with all that is not pruned, `accuracy` on test images. Round 0, the dense
        networks, is part of each method.
    """
    every = [(setup, seed) for setup in setups for seed in setup.seeds]
    found = in_threads(partial(_search, setup, seed) for setup, seed in every)
    rows, jobs = [], []
    for (setup, seed), (own, masks, early, dense) in zip(every, found, strict=True):
        rows += own + [own[0] | {"method": name} for name in controls if setup.at]
        jobs += [
            partial(_control, setup, seed, name, k, masks[k], early, dense)
            for k in setup.at
            for name in controls
        ]  # fmt: skip
    return pd.DataFrame(rows + in_threads(jobs))
