"""What every experiment is given, a block of networks on one task, and how its rows become those of a shard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib import import_module
from typing import Any

import pandas as pd

from lowcap import dependencies
from lowcap.classes import from_name
from lowcap.population import Population
from lowcap.recipe import ADAM, CONVERGED, PUBLISHED, Recipe
from lowcap.sweep.grid import Axis, Grid
from lowcap.tasks import Task, load_task
from lowcap.training import trained

RECIPES = {recipe.name: recipe for recipe in (PUBLISHED, CONVERGED, ADAM)}
OWN = "own"  # leaves a choice to the experiment: the recipe's epochs, more where images are few; a kind's severities


@dataclass(frozen=True)
class Block:
    """What an experiment is given: the task, the recipe before `fitted`, and the shard."""

    task: Task
    recipe: Recipe
    shard: ExperimentJob

    def on(self, axis: str) -> tuple[Any, ...]:
        """The values of one of the experiment's own axes."""
        return dict(self.shard.conditions)[axis]

    def fitted(self, task: Task | None = None) -> Recipe:
        """The recipe with more epochs where images are few, unless the sweep says how many epochs."""
        return self.recipe.stretched(task or self.task) if self.shard.epochs == OWN else self.recipe

    def networks(self) -> Population:
        """Trained networks of all widths and seeds."""
        return trained(self.task, self.shard.widths, self.shard.seeds, self.fitted())


@dataclass(frozen=True)
class Experiment:
    """How one is computed, a sentence on it, its own axes, whether it needs two classes, and what it asks of a grid.

    `check` raises UserError for values that do not go together.
    """

    rows: Callable[[Block], pd.DataFrame]
    about: str
    axes: dict[str, Axis] = field(default_factory=dict)
    only_pairs: bool = False
    check: Callable[[Grid], None] = lambda grid: None


def find(name: str) -> Experiment:
    """The experiment of this name, one of `lowcap.sweep.shards.NAMES`."""
    return import_module(_module(name)).EXPERIMENT


def _module(name: str) -> str:
    return f"lowcap.sweep.experiments.{name}"


@lru_cache(maxsize=16)
def _code(experiment: str) -> str:
    return dependencies.digest(dependencies.of_modules(_module(experiment), "lowcap.sweep.work").facts())


@dataclass(frozen=True)
class ExperimentJob:
    """What is computed, and kept, at a time: one task, split and recipe with a block of seeds at all widths.

    Everything that its rows depend on but code, versions and data. `conditions` are the experiment's own axes.
    """

    experiment: str
    dataset: str
    pair: str
    split: int
    recipe: str
    epochs: Any
    widths: tuple[int, ...]
    seeds: tuple[int, ...]
    conditions: tuple[tuple[str, tuple[Any, ...]], ...] = ()

    def describe(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return asdict(self)

    def label(self) -> str:
        """For people."""
        seeds = f"seeds {self.seeds[0]} to {self.seeds[-1]}"
        return f"{self.dataset} {self.pair}, split {self.split}, {self.recipe}, {seeds}"

    def code(self) -> str:
        """A hash of the code that its rows follow from: that of its experiment, and of what makes bytes of them."""
        return _code(self.experiment)

    def is_whole(self) -> bool:
        """Whether what lies beside the rows is there; nothing does."""
        return True

    def rows(self) -> pd.DataFrame:
        """Train, look, and say of each row where it comes from."""
        task = load_task(from_name(self.pair), dataset=self.dataset, split_seed=self.split)
        recipe = RECIPES[self.recipe]
        block = Block(task, recipe if self.epochs == OWN else recipe.but(epochs=self.epochs), self)
        found = find(self.experiment).rows(block).reset_index(drop=True)
        own = {"dataset": self.dataset, "pair": self.pair, "split": self.split, "recipe": self.recipe}
        own["epochs"] = found.pop("epoch") if "epoch" in found else block.fitted().epochs
        found = found.drop(columns="member", errors="ignore")
        return pd.concat([pd.DataFrame(own, index=found.index), found], axis=1)
