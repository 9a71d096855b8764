"""The empirical tangent kernel of a network, the linearised network that it stands for, and the network itself.

The tangent kernel (Jacot et al. 2018) of two images is the product of the gradients of the network's output for them by
all its weights. If it did not change in training, gradient descent would be linear, with a solution in closed form: the
*linearised* network. How far it does change tells feature learning from *lazy* training (Chizat et al. 2019).

Letters for shapes: `N` training images, `M` other images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import pandas as pd
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from lowcap.chapters.descent.experiments import log_spaced, noisy_part
from lowcap.chapters.descent.random_features import coded
from lowcap.errors import UserError, number, whole_number
from lowcap.parallel import in_threads
from lowcap.population import Population
from lowcap.tasks import Task

CHUNK = 100  # images whose gradients are held in memory at a time
N_KERNEL = 100  # training images on which the change of the kernel is measured
MOMENTUM = 0.8
TWIN = 2**16  # added to a seed for another network on the same images
RATE = 0.8  # learning rate as a share of 1 / (largest eigenvalue of the first kernel)


def tangent_kernel(module: nn.Module, x: Tensor, other: Tensor | None = None) -> Tensor:
    """The tangent kernel `(N, M)` of images `(N, D)` with others `(M, D)`, by default with themselves.

    The module gives one output per image, `(B, 1)`. Gradients by `torch.func`, by all parameters; for one hidden layer
    with ReLU their products are written out, which takes a hundredth of the time.

    Raises:
        UserError: the module has another number of outputs.
    """
    with torch.no_grad():
        shape = tuple(module(x[:1]).shape)
    if shape != (1, 1):
        raise UserError(f"`module` must give one output per image, shape (B, 1); got {shape} for one image")
    other = x if other is None else other
    if isinstance(module, nn.Sequential) and [type(part) for part in module] == [nn.Linear, nn.ReLU, nn.Linear]:
        return _one_hidden_layer(module, x, other)
    return _by_gradients(module, x, other)


@torch.no_grad()
def _one_hidden_layer(module: nn.Sequential, x: Tensor, other: Tensor) -> Tensor:
    """The kernel of Linear, ReLU, Linear: per unit, by the first weights x x' v² where both images light it, by the
    second the product of its activations; biases count as a pixel, and a unit, that is always 1."""
    first, last = cast(nn.Linear, module[0]), cast(nn.Linear, module[2])
    before, before_other = first(x), first(other)  # (N, units), (M, units)
    # (N, units) @ (units, M) -> (N, M): the sum of v² over the units that both images light.
    by_first = ((before > 0) * last.weight.square()) @ (before_other > 0).to(x).T
    by_last = before.relu() @ before_other.relu().T
    pixels = x @ other.T + float(first.bias is not None)
    return pixels * by_first + by_last + float(last.bias is not None)


def _by_gradients(module: nn.Module, x: Tensor, other: Tensor) -> Tensor:
    """The kernel by the definition, block by block of images: gradients of all images at once would not fit."""
    columns = [_gradients(module, part) for part in other.split(CHUNK)]
    rows = []
    for part in x.split(CHUNK):
        own, blocks = _gradients(module, part), []
        for others in columns:
            products = [a @ b.T for a, b in zip(own, others, strict=True)]  # one per parameter, (B, B)
            blocks.append(torch.stack(products).sum(0))
        rows.append(torch.cat(blocks, 1))
    return torch.cat(rows)


def _gradients(module: nn.Module, x: Tensor) -> list[Tensor]:
    """For each parameter the gradients of the output `(B, size)`."""
    weights = {name: weight.detach() for name, weight in module.named_parameters()}

    def output(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        return functional_call(module, weights, (image[None],))[0, 0]

    return [grad.flatten(1) for grad in vmap(jacrev(output), (None, 0))(weights, x).values()]


@dataclass(frozen=True)
class Linearised:
    """Gradient descent on a linearised network, solved mode by mode of its kernel `(N, N)` with the training images.

    The loss is half the squared distance from the targets `(N,)`, summed over images; the steps are those of
    `torch.optim.SGD` on the complete training set, with heavy-ball momentum.

    Attributes:
        start: the network's outputs `(N,)` for the training images before training.

    Raises:
        UserError: shapes that do not fit, a rate that is not positive, a momentum outside [0, 1).
    """

    kernel: Tensor
    start: Tensor
    targets: Tensor
    lr: float
    momentum: float = 0.0

    def __post_init__(self) -> None:
        n = len(self.kernel)
        if self.kernel.shape != (n, n) or self.start.shape != (n,) or self.targets.shape != (n,):
            shapes = [tuple(t.shape) for t in (self.kernel, self.start, self.targets)]
            raise UserError(f"`kernel`, `start` and `targets` must have shapes (N, N), (N,), (N,); got {shapes}")
        number("lr", self.lr, above=0)
        number("momentum", self.momentum, least=0, below=1)

    def outputs(self, cross: Tensor, start: Tensor, steps: Iterable[int | None]) -> Tensor:
        """Outputs `(steps, M)` after so many steps (None: after all time) for images with kernel `cross (M, N)`.

        `start (M,)` are the network's own outputs for them before training. After all time this is kernel regression.
        """
        values, vectors = torch.linalg.eigh(self.kernel.double())
        modes = vectors.T @ (self.start - self.targets).double()
        used = values > values.max() * len(values) * torch.finfo(torch.float32).eps  # the rest is rounding
        found = []
        for step in steps:
            left = torch.zeros_like(values) if step is None else self._left(values, step)
            found.append(vectors @ torch.where(used, (1 - left) * modes / values, 0))
        return start.double() - torch.stack(found) @ cross.double().T

    def _left(self, values: Tensor, step: int) -> Tensor:
        """What is left of the distance from the targets along each mode: velocity and distance obey a 2 x 2 system."""
        one, m = torch.ones_like(values), self.momentum
        # One step: velocity v <- m v + eigenvalue d, distance d <- d - lr v.
        rows = [[m * one, values], [-self.lr * m * one, 1 - self.lr * values]]
        system = torch.stack([torch.stack(row, -1) for row in rows], -2)  # (modes, 2, 2)
        return torch.linalg.matrix_power(system, step)[:, 1, 1]


def change(kernel: Tensor, first: Tensor) -> tuple[float, float]:
    """How far a kernel is from the first one: relative Frobenius distance, and 1 - cosine, which ignores its scale."""
    distance = (kernel - first).norm() / first.norm()
    return float(distance), float(1 - (kernel * first).sum() / (kernel.norm() * first.norm()))


def follow(
    task: Task, widths: Sequence[int], seeds: Iterable[int], *, n: int, noise: float, steps: int, looks: int
) -> pd.DataFrame:
    """Networks for a pair of classes and their linearisations, side by side through full-batch gradient descent.

    Targets are -1 and 1, the loss is squared error, the first weights are He's. The rate is a fixed share of the
    largest that is stable for the linearised network. Each seed has its own images, wrong labels and first weights.

    Returns:
        A row per `width, seed, step` (0 is before training): `train_error, test_error` of the network,
        `lazy_train_error, lazy_test_error` of the linearised one, `agreement`, the share of test images that both
        answer alike, `twin_agreement`, the same for the network and one from another seed, `distance` and `turn` of
        the kernel from the first (see `change`), and `moved`, the relative change of the first weights. On the last
        step also `first_error, first_agreement`: kernel regression, after all time, with the first kernel; and
        `last_error, last_agreement`: with the kernel after training.

    Raises:
        UserError: more than two classes, or as `with_train_size` and `with_label_noise` do.
    """
    if task.n_outputs != 1:
        raise UserError(f"`task` must have two classes, for one output; got {len(task.classes)}")
    whole_number("steps", steps, 1)
    jobs = [
        partial(_follow, task, width, seed, n, noise, log_spaced(steps, looks)) for seed in seeds for width in widths
    ]
    return pd.concat(in_threads(jobs), ignore_index=True).assign(noise=noise)


def _follow(task: Task, width: int, seed: int, n: int, noise: float, steps: list[int]) -> pd.DataFrame:
    noisy = noisy_part(task, n, noise, seed)
    noisy = replace(noisy, x_train=noisy.x_train[:, noisy.live], x_test=noisy.x_test[:, noisy.live])
    x, x_test, y = noisy.x_train, noisy.x_test, coded(noisy.y_train, 1)[:, 0]
    # The twin says how far two networks differ anyway: the linearised one can hardly be closer than that.
    net, twin = (Population([width], [s], n_features=x.shape[1], init="he").to_module(0) for s in (seed, seed + TWIN))
    began = net.get_parameter("0.weight").detach().clone()
    kernel, cross = _kernels(net, x, x_test)  # before training, as the linearised network keeps them
    largest = float(torch.linalg.eigvalsh(kernel.double())[-1])
    lr, at = RATE / largest, [0, *steps]
    lazy = Linearised(kernel, _outputs(net, x), y, lr, MOMENTUM)
    both = lazy.outputs(torch.cat([kernel, cross]), _outputs(net, torch.cat([x, x_test])), [*at, None])
    rows, optimizers = [], [torch.optim.SGD(one.parameters(), lr, MOMENTUM) for one in (net, twin)]
    for i, step in enumerate(at):
        more = step - at[max(i - 1, 0)]  # steps since the last look
        for one, optimizer in zip((net, twin), optimizers, strict=True):
            _descend(one, x, y.float(), optimizer, more)
        distance, turn = change(tangent_kernel(net, x[:N_KERNEL]), kernel[:N_KERNEL, :N_KERNEL])
        moved = float((net.get_parameter("0.weight").detach() - began).norm() / began.norm())
        how_far = {"step": step, "distance": distance, "turn": turn, "moved": moved}
        rows.append(how_far | _compared(net, twin, both[i], noisy))
    out_test = _outputs(net, x_test)
    limits = {"first": both[-1, len(x) :], "last": _regression(net, x, x_test, y)}
    for name, limit in limits.items():
        rows[-1] |= {f"{name}_error": wrong(limit, noisy.y_test), f"{name}_agreement": alike(limit, out_test)}
    return pd.DataFrame(rows).assign(width=width, seed=seed, n=len(x))


def _compared(net: nn.Module, twin: nn.Module, lazy: Tensor, task: Task) -> dict[str, float]:
    """A network, its linearisation's outputs `(N + M,)` and a network from another seed on the same images."""
    out, out_test = _outputs(net, task.x_train), _outputs(net, task.x_test)
    lazy_train, lazy_test = lazy.split([len(out), len(out_test)])
    return {
        "train_error": wrong(out, task.y_train),
        "test_error": wrong(out_test, task.y_test),
        "lazy_train_error": wrong(lazy_train, task.y_train),
        "lazy_test_error": wrong(lazy_test, task.y_test),
        "agreement": alike(lazy_test, out_test),
        "twin_agreement": alike(_outputs(twin, task.x_test), out_test),
    }


def _regression(net: nn.Module, x: Tensor, x_test: Tensor, y: Tensor) -> Tensor:
    """What regression with the kernel that the network has now answers `(M,)`."""
    kernel, cross = _kernels(net, x, x_test)
    nothing = torch.zeros(len(x_test))
    return Linearised(kernel, torch.zeros(len(x)), y, 1.0).outputs(cross, nothing, [None])[0]


def _kernels(net: nn.Module, x: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    """The kernel of the training images with themselves, and of the test images with them."""
    both = tangent_kernel(net, torch.cat([x, x_test]), x)
    return both[: len(x)], both[len(x) :]


@torch.no_grad()
def _outputs(net: nn.Module, x: Tensor) -> Tensor:
    return net(x)[:, 0]


def _descend(net: nn.Module, x: Tensor, y: Tensor, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """So many steps of full-batch gradient descent on half the squared distance from the targets `(N,)`."""
    # Not `modules.fit`, which minimises cross-entropy with a new optimiser: here the loss must be the one that
    # `Linearised` solves in closed form, and momentum must live on from one look at the kernel to the next.
    for _ in range(steps):
        optimizer.zero_grad()
        (net(x)[:, 0] - y).square().sum().div(2).backward()
        optimizer.step()


def wrong(outputs: Tensor, y: Tensor) -> float:
    """The share of labels `(N,)` of 0 and 1 that the sign of the outputs `(N,)` gets wrong."""
    return float(((outputs > 0).double() != y).double().mean())


def alike(outputs: Tensor, others: Tensor) -> float:
    """The share of images for which two networks' outputs `(N,)` have the same sign."""
    return float(((outputs > 0) == (others > 0)).double().mean())
