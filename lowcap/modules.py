"""A small convolutional network, a small transformer, and a plain training loop for one module whose layers are pruned.

Populations train many networks with one hidden layer at once; this is for the single module of any other shape.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lowcap.errors import UserError, whole_number
from lowcap.evaluation import losses
from lowcap.recipe import OPTIMIZERS, Recipe
from lowcap.tasks import Task

PRUNABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
LEAK = 1e-4  # slope of the activation below zero, as in the source
LAYERS = ("ffnn", "head")  # those that the source prunes
BATCH = 250  # images that are evaluated at once: few enough for the processor's caches
READINGS = 16  # readings of the sparsity in the course of a training, close together at first


class Rule(Protocol):
    """Says after each step of the optimiser which weights of a layer stay."""

    def keep(self, progress: float, weight: Tensor) -> Tensor:
        """True for the weights that stay, given the share of all steps that is done."""


class Image(nn.Module):
    """Flat pixels `(B, side * side)` in [0, 1] as images `(B, 1, side, side)` in [-1, 1], as in the source.

    Their order in memory is the one in which the processor is fastest at convolutions and pooling.
    """

    def __init__(self, side: int):
        super().__init__()
        self.side = side

    def forward(self, x: Tensor) -> Tensor:
        return (2 * x - 1).view(-1, 1, self.side, self.side).to(memory_format=torch.channels_last)


def cnn(image_shape: tuple[int, int], n_outputs: int, *, width: int = 256, seed: int = 0) -> nn.Sequential:
    """The small CNN of Basnet's repository: two convolutions, a hidden layer `ffnn` and a classifier `head`.

    For flat images `(B, H * W)` with values in [0, 1]; logits `(B, n_outputs)`. MNIST's 28 x 28 pixels get kernels of
    7 x 7 and 3 x 3 with 32 and 48 channels, each followed by 2 x 2 max pooling, so that `ffnn` has 768 inputs; smaller
    images get smaller kernels. Weights and biases start uniform within 1 / sqrt(fan-in), as in torch, drawn by `seed`.

    Raises:
        UserError: images that are not square or have fewer than 7 pixels a side.
    """
    height, side = image_shape
    if height != side or side < 7:
        raise UserError(f"`image_shape` must be square with at least 7 pixels a side; got {height} x {side}")
    first = max(2, side // 4)
    second = 3 if (side - first + 1) // 2 >= 4 else 2
    left = ((side - first + 1) // 2 - second + 1) // 2
    parts: dict[str, nn.Module] = {
        "image": Image(side),
        "conv1": nn.Conv2d(1, 32, first), "pool1": nn.MaxPool2d(2), "activation1": nn.LeakyReLU(LEAK),
        "conv2": nn.Conv2d(32, 48, second), "pool2": nn.MaxPool2d(2), "activation2": nn.LeakyReLU(LEAK),
        "flat": nn.Flatten(),
        "ffnn": nn.Linear(48 * left**2, width), "activation": nn.LeakyReLU(LEAK), "norm": nn.LayerNorm(width),
        "head": nn.Linear(width, n_outputs),
    }  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    for part in parts.values():
        if isinstance(part, PRUNABLE):
            bound = part.weight[0].numel() ** -0.5
            for tensor in part.parameters():
                nn.init.uniform_(tensor, -bound, bound, generator=generator)
        if isinstance(part, nn.Conv2d):  # the same values in another order, in which the processor is twice as fast
            part.weight.data = part.weight.data.contiguous(memory_format=torch.channels_last)
    return nn.Sequential(OrderedDict(parts))


class Transformer(nn.Module):
    """Patches - linear embedding with learned positions - encoder blocks - mean over patches - linear `head`.

    Each block is a `torch.nn.TransformerEncoderLayer` without dropout, normalised first, whose feed-forward part is
    twice the width. For flat images `(B, H * W)`, logits `(B, n_outputs)`; a patch has a quarter of the image's side,
    so that there are 16. Weights start uniform as of Glorot and Bengio (2010), drawn by `seed`, biases at 0.

    Raises:
        UserError: an image whose side is no multiple of 4, or a width that is no multiple of the heads.
    """

    def __init__(
        self,
        image_shape: tuple[int, int],
        n_outputs: int,
        *,
        width: int = 32,
        blocks: int = 1,
        heads: int = 4,
        seed: int = 0,
    ):
        super().__init__()
        height, side = image_shape
        if height != side or side % 4:
            raise UserError(f"`image_shape` must be square with a side that 4 divides; got {height} x {side}")
        if width < heads or width % heads:
            raise UserError(f"`width` must be a multiple of the {heads} heads; got {width}")
        whole_number("blocks", blocks, 1)
        self.patch = side // 4
        self.embed = nn.Linear(self.patch**2, width)
        self.positions = nn.Parameter(torch.empty(16, width))
        layers = [
            nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(blocks)
        ]
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_outputs)
        generator = torch.Generator().manual_seed(seed)  # torch's layers have drawn from the global one
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.xavier_uniform_(parameter, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        p = self.patch
        patches = x.view(-1, 4, p, 4, p).transpose(2, 3).reshape(-1, 16, p * p)  # (B, 16, p * p)
        return self.head(self.norm(self.blocks(self.embed(patches) + self.positions)).mean(1))


def layers_of(module: nn.Module, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Weights of linear and convolutional layers, attention's among them, by name: the named ones, or all.

    Raises:
        UserError: the module has no such layers, or none of a given name.
    """
    known: dict[str, Tensor] = {}
    for name, part in module.named_modules():
        if isinstance(part, PRUNABLE):
            known[name] = part.weight
        elif isinstance(part, nn.MultiheadAttention) and part.in_proj_weight is not None:
            known[f"{name}.in_proj"] = part.in_proj_weight  # queries, keys and values
    if not known:
        raise UserError("`module` must have linear or convolutional layers, whose weights can go; it has none")
    names = [names] if isinstance(names, str) else names
    for name in [] if names is None else names:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"`layers` must be among {', '.join(known)}; got {name!r}{hint}")
    if names is not None and not len(names):
        raise UserError(f"`layers` must name at least one of {', '.join(known)}; got none")
    return known if names is None else {name: known[name] for name in names}


def fit(
    module: nn.Module,
    task: Task,
    recipe: Recipe,
    *,
    rule: Rule | None = None,
    layers: Sequence[str] | None = None,
    frozen: bool = False,
    order_seed: int = 0,
) -> pd.DataFrame:
    """Train a module in place, and after each step of the optimiser set to zero what the rule does not keep.

    Args:
        rule: applied to each of the layers on its own; None keeps everything.
        layers: names of linear or convolutional layers; None takes all of them.
        frozen: weights of these layers that are zero at the start stay zero.
        order_seed: the source of randomness in the order of the mini-batches.

    Returns:
        The course of the sparsity: `step, progress, layer, sparsity`, after the first step, the last, and some between.

    Raises:
        UserError: an unknown layer.
    """
    weights = layers_of(module, layers)
    # As numbers: a product with bools takes five times as long.
    masks = {name: (weight != 0).to(weight.dtype) for name, weight in weights.items()} if frozen else {}
    options = {"momentum": recipe.momentum} if recipe.optimizer == "sgd" else {}
    kind = OPTIMIZERS[recipe.optimizer]
    optimizer = kind(module.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True, **options)
    n, generator, rows = len(task.x_train), torch.Generator().manual_seed(order_seed), []
    size, total = recipe.batch_size or n, recipe.steps(n)
    read_at = {round(step) for step in np.geomspace(1, max(total, 1), READINGS)}
    batches = (i for _ in range(recipe.epochs) for i in torch.randperm(n, generator=generator).split(size))
    for step, index in enumerate(batches, start=1):
        optimizer.param_groups[0]["lr"] = recipe.rate(step - 1, total)
        optimizer.zero_grad()
        losses(module(task.x_train[index])[:, None], task.y_train[index]).sum().backward()
        optimizer.step()
        with torch.no_grad():
            for name, weight in weights.items():
                if name in masks:
                    weight.mul_(masks[name])
                if rule is not None:
                    weight.mul_(rule.keep(step / total, weight))
        if step in read_at:
            rows += [(step, step / total, *row) for row in sparsities(module, layers).items()]
    return pd.DataFrame(rows, columns=["step", "progress", "layer", "sparsity"])


def sparsities(module: nn.Module, layers: Sequence[str] | None = None) -> dict[str, float]:
    """The share of each layer's weights that is exactly zero, counted. Raises UserError as `layers_of` does."""
    return {name: float((weight == 0).double().mean()) for name, weight in layers_of(module, layers).items()}


@torch.no_grad()
def accuracy(module: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of images `(N, ...)` whose label `(N,)` the module gets right; with one logit, at logit 0."""
    right = 0
    for images, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
        logits = module(images)
        guess = logits.argmax(1) if logits.shape[1] > 1 else logits[:, 0] > 0
        right += int((guess == labels).sum())
    return right / len(y)
