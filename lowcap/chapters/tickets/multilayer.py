"""Winning tickets of modules of any shape, one network at a time.

The search and its controls are those of `procedure`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lowcap import modules
from lowcap.chapters.tickets import procedure
from lowcap.chapters.tickets.procedure import CONTROLS, SHARE
from lowcap.errors import UserError, one_of
from lowcap.parallel import in_threads
from lowcap.population import INITS
from lowcap.pruning import check_rewind, ranks_of
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
    generator = torch.Generator().manual_seed(seed)  # not torch's own stream: the weights come from the seed alone
    parts = OrderedDict[str, nn.Module]()
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
        check_rewind(self.rewind_to, self.recipe)


def kept_after(weights: Masks, rounds: int) -> dict[str, int]:
    """How many weights of each layer are left after so many rounds; the output layer loses half as fast."""
    rates = {name: SHARE / 2 if name == OUTPUT else SHARE for name in weights}
    return {name: round(weight.numel() * (1 - rates[name]) ** rounds) for name, weight in weights.items()}


def largest(score: Masks, keep: dict[str, int], masks: Masks | None = None) -> Masks:
    """Masks of the `keep` weights of each layer with the highest scores, among those that `masks` still hold."""
    found = {}
    for name, values in score.items():
        flat = values.detach().abs().flatten().double()
        if masks is not None:  # below any size, so that what is gone goes first again
            flat = flat.masked_fill(~masks[name].flatten(), -1)
        gone = flat.numel() - keep[name]
        found[name] = (ranks_of(flat) >= gone).view_as(values)
    return found


def masked(module: nn.Module, masks: Masks) -> nn.Module:
    """A copy in which weights whose mask is False are zero; `modules.fit(frozen=True)` keeps them there."""
    other = deepcopy(module)
    with torch.no_grad():
        for name, weight in modules.layers_of(other).items():
            weight.masked_fill_(~masks[name], 0)
    return other


def fit(module: nn.Module, task: Task, recipe: Recipe, *, order_seed: int = 0) -> None:
    """`modules.fit` in place, where weights that are zero stay zero; in a row of linear layers, with less work.

    Inputs and hidden units all of whose outgoing weights are zero get no gradient. They are left out and stay as they
    are, which is what training would do with them as long as there is no weight decay.
    """
    if not isinstance(module, nn.Sequential) or recipe.weight_decay:
        modules.fit(module, task, recipe, frozen=True, order_seed=order_seed)
        return
    small = deepcopy(module)
    layers = [part for part in module if isinstance(part, nn.Linear)]
    parts = [part for part in small if isinstance(part, nn.Linear)]
    # Of each layer the inputs that lead anywhere. They are the outputs that the layer before has to give; the last
    # layer gives all of its own.
    used = [torch.where((layer.weight != 0).any(0))[0] for layer in layers]
    used.append(torch.arange(layers[-1].out_features))
    places = [(rows, columns) for columns, rows in pairwise(used)]
    for layer, part, (rows, columns) in zip(layers, parts, places, strict=True):
        part.weight = nn.Parameter(layer.weight.detach()[rows[:, None], columns])
        part.bias = nn.Parameter(layer.bias.detach()[rows])
    few = replace(task, x_train=task.x_train[:, used[0]])
    modules.fit(small, few, recipe, frozen=True, order_seed=order_seed)
    # Back to where they came from; all other weights are as they were.
    for layer, part, (rows, columns) in zip(layers, parts, places, strict=True):
        layer.weight.data[rows[:, None], columns] = part.weight.detach()
        layer.bias.data[rows] = part.bias.detach()


class PrunedModule(NamedTuple):
    """A module and the masks of its layers; without masks all of its weights stay."""

    module: nn.Module
    masks: Masks | None = None


@dataclass(frozen=True)
class SingleNetwork:
    """The network of one seed of a setup, as `procedure` asks for it (see `procedure.Networks`)."""

    setup: Setup
    seed: int
    controls: ClassVar[Sequence[str]] = CONTROLS

    def early(self, offset: int = 0) -> PrunedModule:
        """The network at the epoch `rewind_to`, or one from weights of another draw."""
        return PrunedModule(self._fit(self.setup.make(self.seed + offset), 0, self.setup.rewind_to))

    def train(self, networks: PrunedModule) -> PrunedModule:
        """Train in place from that epoch to the last; weights that are zero stay zero."""
        self._fit(networks.module, self.setup.rewind_to, self.setup.recipe.epochs)
        return networks

    def _fit(self, module: nn.Module, begin: int, stop: int) -> nn.Module:
        recipe = self.setup.recipe.but(epochs=stop - begin)
        fit(module, self.setup.task, recipe, order_seed=self.seed + begin)
        return module

    def prune(self, networks: PrunedModule, rounds: int) -> PrunedModule:
        """By magnitude within each layer."""
        weights = modules.layers_of(networks.module)
        return PrunedModule(networks.module, largest(weights, kept_after(weights, rounds), networks.masks))

    def carve(self, weights: PrunedModule, masks: PrunedModule) -> PrunedModule:
        """A copy: the weights of the one under the masks of the other."""
        if masks.masks is None:
            return PrunedModule(deepcopy(weights.module))
        return PrunedModule(masked(weights.module, masks.masks), masks.masks)

    def random_places(self, name: str, ticket: PrunedModule, rounds: int) -> PrunedModule:
        """The ticket's masks shuffled: within each layer for a `shuffled mask`, over all layers for a `random mask`."""
        rng, masks = np.random.default_rng(self.seed), ticket.masks or {}
        if name == "shuffled mask":
            drawn = {layer: torch.from_numpy(rng.permuted(mask.numpy())) for layer, mask in masks.items()}
        else:
            flat = torch.cat([mask.flatten() for mask in masks.values()])
            parts = torch.from_numpy(rng.permuted(flat.numpy())).split([mask.numel() for mask in masks.values()])
            drawn = {layer: part.view_as(masks[layer]) for layer, part in zip(masks, parts, strict=True)}
        return PrunedModule(ticket.module, drawn)

    def scores(self, networks: PrunedModule) -> pd.DataFrame:
        """One row: what is left of the network, and its accuracy on the test images."""
        module, task = networks.module, self.setup.task
        weights = modules.layers_of(module).values()
        kept = sum(int((weight != 0).sum()) for weight in weights)
        size = sum(weight.numel() for weight in weights)
        others = sum(p.numel() for p in module.parameters()) - size  # biases, norms, positions
        row = {
            "network": self.setup.name,
            "seed": self.seed,
            "kept": kept,
            "sparsity": 1 - kept / size,
            "n_params": kept + others,
            "accuracy": modules.accuracy(module, task.x_test, task.y_test),
        }
        return pd.DataFrame([row])


def compare(setups: Sequence[Setup], controls: Sequence[str] = CONTROLS) -> pd.DataFrame:
    """Tickets and controls of all setups and seeds, one thread per core.

    Returns:
        A row per `network` (the setup's name), `method`, `round` and `seed`: `sparsity` of the prunable weights,
        `kept` of them, `n_params` with all that is not pruned, `accuracy` on test images. Round 0, the dense
        networks, is part of each method.
    """
    # A job per network for the search, and one per control, so that all cores have work to the end.
    every = [SingleNetwork(setup, seed) for setup in setups for seed in setup.seeds]
    tickets = in_threads(partial(procedure.find, one, one.setup.rounds) for one in every)
    searches = [
        procedure.Found(one, found, one.setup.at, controls if one.setup.at else (), one.setup.method)
        for one, found in zip(every, tickets, strict=True)
    ]
    rows = procedure.compare(searches, in_threads)
    return rows[["network", "method", "round", "seed", "kept", "sparsity", "n_params", "accuracy"]]
