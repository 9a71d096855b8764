"""Recipes: how a network is trained, and the three that the book uses."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import torch

from lowcap.errors import UserError
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
        checks = {
            "init": (self.init in tuple(INITS), f"one of {', '.join(INITS)}"),
            "optimizer": (self.optimizer in tuple(OPTIMIZERS), f"one of {', '.join(OPTIMIZERS)}"),
            "lr": (0 < _number(self.lr) < math.inf, "a positive number"),
            "momentum": (0 <= _number(self.momentum) < 1, "a number of at least 0 and below 1"),
            "weight_decay": (0 <= _number(self.weight_decay) < math.inf, "a number of at least 0"),
            "batch_size": (
                self.batch_size is None or _number(self.batch_size, Integral) >= 1,
                "a whole number of at least 1, or None for all images",
            ),
            "epochs": (_number(self.epochs, Integral) >= 0, "a whole number of at least 0"),
            "schedule": (self.schedule in ("constant", "cosine"), "constant or cosine"),
        }
        for name, (fine, allowed) in checks.items():
            if not fine:
                raise UserError(f"`{name}` of a recipe must be {allowed}; got {getattr(self, name)!r}")

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


def _number(value: Any, kind: type = Real) -> Any:
    """The value, or NaN, which is in no range, if it is not a number of that kind."""
    return value if isinstance(value, kind) and not isinstance(value, bool) else math.nan


PUBLISHED = Recipe("published", init="published", lr=0.03, batch_size=None, epochs=100)


CONVERGED = Recipe("converged", lr=0.05, momentum=0.9)


ADAM = Recipe("adam", optimizer="adam", lr=2e-3)
