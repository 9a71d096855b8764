"""Recipes: how a network is trained, and the three that the book uses."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from lowcap.errors import number, one_of, whole_number
from lowcap.population import INITS
from lowcap.tasks import Task

OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


PAIR_IMAGES = 9_500  # training images of a pair of MNIST's digits, more or less


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        init: name of the initialisation (`population.INITS`).
        optimizer: `sgd`, `adam` or `adamw`, as in `torch.optim`, with `momentum` (SGD only) and `weight_decay`.
        lr: learning rate, at least at the start: `schedule` is `constant` or `cosine` (falls to zero).
        batch_size: images per step; None takes all, and an epoch is then one step.
        epochs: passes over the training images; training always runs to the end.

    Raises:
        UserError: a value is out of range; the message names the parameter and the range.
    """

    name: str = "custom"
    init: str = "published"
    optimizer: str = "sgd"
    lr: float = 0.05
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_size: int | None = 128
    epochs: int = 20
    schedule: str = "constant"

    def __post_init__(self) -> None:
        one_of("init of a recipe", self.init, INITS)
        one_of("optimizer of a recipe", self.optimizer, OPTIMIZERS)
        number("lr of a recipe", self.lr, above=0)
        number("momentum of a recipe", self.momentum, least=0, below=1)
        number("weight_decay of a recipe", self.weight_decay, least=0)
        if self.batch_size is not None:
            whole_number("batch_size of a recipe", self.batch_size, 1, note="or None for all images")
        whole_number("epochs of a recipe", self.epochs, 0)
        one_of("schedule of a recipe", self.schedule, ("constant", "cosine"))

    def but(self, **changes: Any) -> Recipe:
        """This recipe with some values changed."""
        return replace(self, **changes)

    def steps(self, n_images: int) -> int:
        """Steps of the optimiser on so many training images."""
        return self.epochs * math.ceil(n_images / (self.batch_size or n_images))

    def rate(self, done: float, total: float) -> float:
        """The learning rate after `done` of `total` epochs or steps."""
        return self.lr if self.schedule == "constant" else self.lr * (1 + math.cos(math.pi * done / total)) / 2

    def stretched(self, task: Task) -> Recipe:
        """This recipe with as many more epochs as the task has fewer training images than a pair of MNIST's digits.

        So the number of steps is about the same on small datasets. Full-batch recipes stay as they are.
        """
        times = max(1, round(PAIR_IMAGES / len(task.x_train))) if self.batch_size else 1
        return self.but(epochs=self.epochs * times)


PUBLISHED = Recipe("published", init="published", lr=0.03, batch_size=None, epochs=100)


CONVERGED = Recipe("converged", lr=0.05, momentum=0.9)


ADAM = Recipe("adam", optimizer="adam", lr=2e-3)
