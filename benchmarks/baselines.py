"""What lowcap is measured against: the same networks from the same initial weights, trained in other people's ways.

Each is written as its users would write it for speed, not as a straw man; where a library offers two ways to do the
same, the one that was faster here is taken. All see the images in the same order as ours (but scikit-learn, which
draws its own initial weights and order), so that after an epoch they must hold the same networks.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import Task
from lowcap.training import train


class Trainer:
    """Networks on their way through training.

    Args:
        population: the initial networks. They are not changed.
        recipe: SGD with momentum and mini-batches; its number of epochs is not used.
    """

    def __init__(self, population: Population, task: Task, recipe: Recipe):
        self.population, self.task, self.recipe = population, task, recipe
        dtype, y = population.w_in.dtype, task.y_train
        self.x, self.y = task.x_train.to(dtype), y.to(dtype) if y.is_floating_point() else y
        self.prepare()

    def prepare(self) -> None:
        """What is done once, however long the training: it is not timed."""

    def epoch(self) -> None:
        """Train all networks for one epoch."""
        raise NotImplementedError

    def logits(self, x: Tensor) -> Tensor:
        """Answers to images `(N, D)`: `(N, P, K)`, with K = 1 for a pair of classes."""
        raise NotImplementedError

    def seconds(self) -> float:
        """Train all networks for one epoch; returns how long it took."""
        start = time.perf_counter()
        self.epoch()
        return time.perf_counter() - start

    def loader(self) -> Iterable[tuple[Tensor, ...]]:
        """The first epoch's mini-batches of images and labels."""
        order = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(0))
        for index in order.split(self.recipe.batch_size or len(order)):
            yield self.x.index_select(0, index), self.y.index_select(0, index)

    def optimizer(self, parameters: object) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=self.recipe.lr, momentum=self.recipe.momentum, fused=True)

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of one network's answers `(B, K)`."""
        return binary_cross_entropy_with_logits(logits[:, 0], y) if logits.shape[1] == 1 else cross_entropy(logits, y)


class Ours(Trainer):
    """lowcap.training.train."""

    def prepare(self) -> None:
        self.population = self.population.select(range(len(self.population)))

    def seconds(self) -> float:
        marks: list[float] = []
        recipe = self.recipe.but(epochs=1)
        train(self.population, self.task, recipe, on_epoch=lambda *_: marks.append(time.perf_counter()))
        return marks[1] - marks[0]

    def logits(self, x: Tensor) -> Tensor:
        return self.population(x).view(len(x), len(self.population), -1)


class Tight(Trainer):
    """(b) nn.Sequential and autograd, one network after another, mini-batches taken from tensors in memory."""

    def prepare(self) -> None:
        self.modules = [self.population.to_module(i) for i in range(len(self.population))]

    def epoch(self) -> None:
        for module in self.modules:
            optimizer = self.optimizer(module.parameters())
            for x, y in self.loader():
                optimizer.zero_grad()
                self.loss(module(x), y).backward()
                optimizer.step()

    def logits(self, x: Tensor) -> Tensor:
        return torch.stack([module(x) for module in self.modules], dim=1)


class OneByOne(Tight):
    """(a) The same as most people write it, with a DataLoader."""

    def loader(self) -> Iterable[tuple[Tensor, ...]]:
        dataset = TensorDataset(self.x, self.y)
        sampler = RandomSampler(dataset, generator=torch.Generator().manual_seed(0))  # what shuffle=True makes
        return DataLoader(dataset, batch_size=self.recipe.batch_size, sampler=sampler)


class Stacked(Tight):
    """(c) torch.func: all networks padded to the widest and stacked, gradients by vmap over grad.

    The padding is exact: units without weights stay without, since their gradient is zero.
    """

    def prepare(self) -> None:
        super().prepare()
        self.width = max(self.population.widths)
        modules = [self._padded(module) for module in self.modules]
        self.base = modules[0]
        self.stacked = {name: nn.Parameter(p.detach()) for name, p in stack_module_state(modules)[0].items()}

    def _padded(self, module: nn.Sequential) -> nn.Sequential:
        hidden, out = module[0], module[2]
        padded = nn.Sequential(
            nn.Linear(hidden.in_features, self.width), nn.ReLU(), nn.Linear(self.width, out.out_features)
        )
        padded.to(hidden.weight.dtype)
        with torch.no_grad():
            for new, old in zip(padded.parameters(), module.parameters(), strict=True):
                new.zero_()[tuple(map(slice, old.shape))] = old
        return padded

    def epoch(self) -> None:
        gradient = vmap(grad(lambda p, x, y: self.loss(functional_call(self.base, p, (x,)), y)), (0, None, None))
        optimizer = self.optimizer(self.stacked.values())
        for x, y in self.loader():
            gradients = gradient({name: p.detach() for name, p in self.stacked.items()}, x, y)
            for name, parameter in self.stacked.items():
                parameter.grad = gradients[name]
            optimizer.step()

    def logits(self, x: Tensor) -> Tensor:
        return vmap(lambda p: functional_call(self.base, p, (x,)), out_dims=1)(self.stacked)


class Sklearn(Trainer):
    """(d) scikit-learn's MLPClassifier, one network after another, from its own initial weights."""

    def prepare(self) -> None:
        recipe, names = self.recipe, zip(self.population.widths, self.population.seeds, strict=True)
        common = {"solver": "sgd", "nesterovs_momentum": False, "alpha": 0.0, "max_iter": 1}
        common |= {"learning_rate_init": recipe.lr, "momentum": recipe.momentum, "batch_size": recipe.batch_size}
        self.models = [MLPClassifier((width,), random_state=seed, **common) for width, seed in names]

    def epoch(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one epoch is what is asked for
            for model in self.models:
                model.fit(self.x.numpy(), self.y.numpy())

    def logits(self, x: Tensor) -> Tensor:
        chances = [torch.from_numpy(np.asarray(model.predict_proba(x.numpy()))) for model in self.models]
        return torch.stack([(c if c.shape[1] > 2 else c[:, 1:]).logit() for c in chances], dim=1)


class Wide(Trainer):
    """(e) ParallelMLPs, after the description by Farias, Ludermir and Bastos-Filho (2023).

    One wide first layer for all networks; its activations times the output weights, element by element, are summed per
    network by a scatter-add; autograd does the rest. The loss is the sum of the networks' losses.
    """

    def prepare(self) -> None:
        start, dtype = self.population, self.population.w_in.dtype
        self.hidden = nn.Linear(start.n_features, len(start.owner), dtype=dtype)
        self.hidden.weight.data.copy_(start.w_in.detach().T)
        self.hidden.bias.data.copy_(start.b_in.detach())
        self.w_out, self.b_out = (nn.Parameter(w.detach().clone()) for w in (start.w_out, start.b_out))

    def forward(self, x: Tensor) -> Tensor:
        """Logits `(B, P, K)`."""
        hidden, owner, zeros = self.hidden(x).relu(), self.population.owner, self.b_out.new_zeros
        if self.w_out.shape[1] == 1:
            terms, logits = hidden * self.w_out[:, 0], zeros(len(x), len(self.b_out))
            return logits.scatter_add(1, owner.expand_as(terms), terms)[:, :, None] + self.b_out
        terms = hidden[:, :, None] * self.w_out
        return zeros(len(x), *self.b_out.shape).index_add(1, owner, terms) + self.b_out

    def epoch(self) -> None:
        optimizer = self.optimizer([*self.hidden.parameters(), self.w_out, self.b_out])
        for x, y in self.loader():
            optimizer.zero_grad()
            logits = self.forward(x)
            (self.losses(logits, y[:, None].expand(-1, logits.shape[1])) / len(y)).backward()
            optimizer.step()

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Sum of all cross-entropies, from `(B, P, K)` and `(B, P)`."""
        if logits.shape[2] > 1:
            return cross_entropy(logits.movedim(2, 1), labels, reduction="sum")
        return binary_cross_entropy_with_logits(logits[:, :, 0], labels, reduction="sum")

    def logits(self, x: Tensor) -> Tensor:
        return self.forward(x)
