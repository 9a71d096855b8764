"""A shard: some members of a population on their way through training, few enough for a core's own caches.

The gradients are written out, they are four products. Hidden biases are one more row of the first weights, met by a
pixel that is always 1. The second layers are a block matrix in which each unit feeds its own member only; it is gone
through in blocks of a few members, so that few of its zeros are ever multiplied. Logits lie transposed, `(P * K, B)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lowcap.population import Population
from lowcap.recipe import OPTIMIZERS, Recipe
from lowcap.tasks import Task

BLOCK_ROWS = 1024  # large batches are gone through in blocks of so many images
HEAD_CELLS = 4096  # a block of second layers has at most so many entries, or one member
AfterStep = Callable[[float, Tensor, Tensor], None]
LANES = 16  # matrix products run fastest on a multiple of so many units: units of weight zero fill up the rest


class Data(NamedTuple):
    """Training images `(N, D + 1)` at the positions `pixels (D,)`, a last pixel of 1, and targets `(K, N)`."""

    pixels: Tensor
    x: Tensor
    y: Tensor

    @classmethod
    def of(cls, task: Task, pixels: Tensor, dtype: torch.dtype) -> Data:
        """The training images of a task as a shard takes them."""
        y = task.y_train[None] if task.n_outputs == 1 else one_hot(task.y_train, task.n_outputs).T
        x = task.x_train.index_select(1, torch.cat([pixels, pixels[:1]])).to(dtype)
        x[:, -1] = 1
        return cls(pixels, x, y.to(dtype).contiguous())


class Shard:
    """Members `members` of a population; trains a copy of their weights, and writes them back after each run."""

    def __init__(self, population: Population, members: list[int], data: Data, recipe: Recipe, order_seed: int):
        self.population, self.members, self.data, self.recipe = population, members, data, recipe
        self.units = torch.cat([torch.where(population.owner == i)[0] for i in members])
        padding = -len(self.units) % LANES
        n_units, k = len(self.units) + padding, population.n_outputs
        self.w_in = data.x.new_zeros(len(data.pixels) + 1, n_units)  # (D + 1, U)
        self.w_out = data.x.new_zeros(k, n_units)  # (K, U)
        self.b_out = data.x.new_zeros(len(members) * k, 1)  # (P * K, 1)
        self.weights = [self.w_in, self.w_out, self.b_out]
        self.grads = [torch.zeros_like(weight) for weight in self.weights]
        self.head = _Head([population.widths[i] for i in members], self.w_out)
        self.batch = data.x.new_empty(min(recipe.batch_size or 0, len(data.x)), data.x.shape[1])
        self.optimizer = self._torch_optimizer() if recipe.optimizer != "sgd" else None
        self.generator = torch.Generator().manual_seed(order_seed)
        self.load()

    def load(self) -> None:
        """Take the members' weights and masks from the population."""
        one, n = self.population.select(self.members), len(self.units)
        w_in, w_out = self.w_in[:-1, :n], self.w_out[:, :n].T
        w_in.copy_(one.w_in.detach()[self.data.pixels])
        w_out.copy_(one.w_out.detach())
        self.w_in[-1, :n] = one.b_in.detach()
        self.b_out.copy_(one.b_out.detach().view(-1, 1))
        mask_in = None if one.mask_in is None else one.mask_in[self.data.pixels]
        masks = ((w_in, mask_in), (w_out, one.mask_out))
        self.masks = [(weight, mask) for weight, mask in masks if mask is not None]

    def _torch_optimizer(self) -> torch.optim.Optimizer:
        for weight, grad in zip(self.weights, self.grads, strict=True):
            weight.grad = grad
        kind = OPTIMIZERS[self.recipe.optimizer]
        return kind(self.weights, lr=self.recipe.lr, weight_decay=self.recipe.weight_decay, fused=True)

    @torch.no_grad()
    def run(self, start: int, stop: int, after_step: AfterStep | None = None) -> None:
        """Train for the epochs from `start` to `stop` and write the weights back."""
        n = len(self.data.x)
        size = self.recipe.batch_size or n
        w_in, w_out = self.w_in[:, : len(self.units)], self.w_out[:, : len(self.units)]
        for epoch in range(start, stop):
            batches = self._batches(size) if size < n else [(self.data.x, self.data.y)]
            for step, (x, y) in enumerate(batches):
                self.step(x, y, self.recipe.rate(epoch + step * size / n, self.recipe.epochs))
                if after_step:
                    seen = min((step + 1) * size / n, 1)  # share of the epoch; its last batch may be smaller
                    after_step((epoch + seen) / self.recipe.epochs, w_in[:-1], w_out)
        # Each shard owns other columns of the population's matrices, so threads can write without waiting.
        self.population.w_in.data[self.data.pixels[:, None], self.units] = w_in[:-1]
        self.population.b_in.data[self.units] = w_in[-1]
        self.population.w_out.data[self.units] = w_out.T
        self.population.b_out.data[self.members] = self.b_out.view(len(self.members), -1)

    def _batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = self.data.x, self.data.y
        for index in torch.randperm(len(x), generator=self.generator).split(size):
            yield torch.index_select(x, 0, index, out=self.batch[: len(index)]), y.index_select(1, index)

    def step(self, x: Tensor, y: Tensor, lr: float) -> None:
        """One step of the optimiser on images `(B, D + 1)` and targets `(K, B)`."""
        # SGD's momentum costs nothing here: the old gradient is not erased but scaled, as the new one is added to it.
        # torch's optimisers keep a momentum of their own, so for them it is erased.
        momentum = self.recipe.momentum if self.optimizer is None else 0.0
        self.head.fill(self.w_out)
        for rows, targets in zip(x.split(BLOCK_ROWS), y.split(BLOCK_ROWS, dim=1), strict=True):
            self._add_gradient(rows, targets, len(x), momentum)
            momentum = 1.0  # the other blocks of this batch are added as they are
        self._update(lr)
        for weight, mask in self.masks:
            weight.mul_(mask)

    def _add_gradient(self, x: Tensor, y: Tensor, n: int, momentum: float) -> None:
        """Add the gradient of the loss on some of the `n` images of a batch; momentum gathers inside the product."""
        # Forward. Zero times infinity is not zero: what a diverged member says is silenced, lest the zeros spread it.
        hidden = torch.mm(x, self.w_in).relu_().nan_to_num_(0, 0, 0)  # (B, D + 1) @ (D + 1, U) -> (B, U)
        logits = self.head.logits(hidden, self.b_out)  # (P * K, B)
        # Backward: by the logits, through the second layers, through ReLU (in place), into the first layers.
        error = self._error(logits, y).nan_to_num_(0).div_(n)  # (P * K, B)
        grad_hidden, grad_w_out = self.head.gradients(hidden, error)
        torch.ops.aten.threshold_backward.grad_input(grad_hidden, hidden, 0, grad_input=grad_hidden)
        self.grads[0].addmm_(x.T, grad_hidden, beta=momentum)  # (D + 1, B) @ (B, U) -> (D + 1, U)
        for grad, new in zip(self.grads[1:], (grad_w_out, error.sum(1, keepdim=True)), strict=True):
            torch.add(new, grad, alpha=momentum, out=grad)

    def _error(self, logits: Tensor, y: Tensor) -> Tensor:
        """Gradient of each image's cross-entropies by the logits, both `(P * K, B)`."""
        # For sigmoid and softmax alike it is the predicted probability less the target.
        if len(y) == 1:
            return logits.sigmoid_().sub_(y)
        return logits.view(-1, *y.shape).softmax(1).sub_(y).view_as(logits)

    def _update(self, lr: float) -> None:
        if self.optimizer is not None:
            self.optimizer.param_groups[0]["lr"] = lr
            self.optimizer.step()
            return
        for weight, grad in zip(self.weights, self.grads, strict=True):
            if self.recipe.weight_decay:
                grad.add_(weight, alpha=self.recipe.weight_decay)
            weight.sub_(grad, alpha=lr)


class _Head:
    """Second layers `(K, U)` of networks of the given widths as blocks, one after another, of a few networks each."""

    def __init__(self, widths: list[int], w_out: Tensor):
        k, n_units = w_out.shape
        # A network joins the block before it unless that block would have too many entries, most of them zero.
        groups: list[list[int]] = [[]]
        for width in widths:
            entries = (sum(groups[-1]) + width) * (len(groups[-1]) + 1) * k
            if groups[-1] and entries > HEAD_CELLS:
                groups.append([])
            groups[-1].append(width)
        place = [i for group in groups for i, width in enumerate(group) for _ in range(width)]  # of a unit's network
        fill = n_units - len(place)  # units of no network
        self.units, self.outputs = [sum(group) for group in groups], [len(group) * k for group in groups]
        self.units[-1] += fill
        # All blocks lie side by side in one table, in which `rows` says where a unit's weights stand: (K, U).
        self.rows = torch.tensor(place + fill * [0]) * k + torch.arange(k)[:, None]
        self.table, self.grad = (w_out.new_zeros(max(self.outputs), n_units) for _ in range(2))
        self.blocks, self.grads = self._views(self.table), self._views(self.grad)

    def _views(self, table: Tensor) -> list[Tensor]:
        return [columns[:k] for columns, k in zip(table.split(self.units, 1), self.outputs, strict=True)]

    def fill(self, w_out: Tensor) -> None:
        """Take these weights `(K, U)`."""
        self.table.scatter_(0, self.rows, w_out)

    def logits(self, hidden: Tensor, bias: Tensor) -> Tensor:
        """Logits `(P * K, B)` for activations `(B, U)`."""
        out = hidden.new_empty(len(bias), len(hidden))
        for block, h, logits in zip(self.blocks, hidden.split(self.units, 1), out.split(self.outputs), strict=True):
            torch.mm(block, h.T, out=logits)
        return out.add_(bias)

    def gradients(self, hidden: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients by the activations `(B, U)` and by the weights `(K, U)`, from that by the logits."""
        grad_hidden = torch.empty_like(hidden)
        parts = zip(self.blocks, self.grads, error.split(self.outputs), strict=True)
        views = zip(hidden.split(self.units, 1), grad_hidden.split(self.units, 1), strict=True)
        for (block, grad, e), (h, grad_h) in zip(parts, views, strict=True):
            torch.mm(e.T, block, out=grad_h)
            torch.mm(e, h, out=grad)
        return grad_hidden, self.grad.gather(0, self.rows)  # of each block, only what belongs to a weight
