"""The experiments that can be swept: a task, networks, conditions in, a row per network and condition out.

All are the package's own; scores are those on the task's official test split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any

import pandas as pd

from lowcap import pruning, pruning_scores
from lowcap.chapters.descent import experiments as descent
from lowcap.chapters.robustness import experiments as robustness
from lowcap.chapters.robustness.corruption import CORRUPTIONS, check_severity
from lowcap.chapters.tickets import experiments as tickets
from lowcap.chapters.tracing import activations, subnetworks
from lowcap.classes import from_name
from lowcap.errors import UserError
from lowcap.evaluation import evaluate
from lowcap.population import Population
from lowcap.recipe import ADAM, CONVERGED, PUBLISHED, Recipe
from lowcap.sweep.grid import Axis, Grid, classes, names, numbers, own_or, suggestion, whole
from lowcap.tasks import DATASETS, Task, load_task, with_train_size
from lowcap.training import start, trained
from lowcap.values import LARGEST_SEED

UNITS = 2048  # hidden units of a shard's networks, or one seed: some ten seconds of training
RECIPES = {recipe.name: recipe for recipe in (PUBLISHED, CONVERGED, ADAM)}
OWN = "own"  # leaves a choice to the experiment: the recipe's epochs, more where images are few; a kind's severities
OUTER = ("dataset", "pair", "split", "recipe", "epochs")  # axes of which a shard has one value each


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

    def is_whole(self) -> bool:
        """Whether what lies beside the rows is there; nothing does."""
        return True

    def rows(self) -> pd.DataFrame:
        """Train, look, and say of each row where it comes from."""
        task = load_task(from_name(self.pair), dataset=self.dataset, split_seed=self.split)
        recipe = RECIPES[self.recipe]
        block = Block(task, recipe if self.epochs == OWN else recipe.but(epochs=self.epochs), self)
        found = EXPERIMENTS[self.experiment].rows(block).reset_index(drop=True)
        own = {"dataset": self.dataset, "pair": self.pair, "split": self.split, "recipe": self.recipe}
        own["epochs"] = found.pop("epoch") if "epoch" in found else block.fitted().epochs
        found = found.drop(columns="member", errors="ignore")
        return pd.concat([pd.DataFrame(own, index=found.index), found], axis=1)


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


def _capacity(block: Block) -> pd.DataFrame:
    return evaluate(block.networks(), block.task.x_test, block.task.y_test)


def _pruning(block: Block) -> pd.DataFrame:
    task, dense, frames = block.task, block.networks(), []
    for by, scope in product(block.on("by"), block.on("scope")):
        ranking = pruning.rank(dense, by=by, scope=scope, x=task.x_train, y=task.y_train)
        rows = pruning.one_shot(dense, block.on("level"), task.x_test, task.y_test, ranking=ranking)
        frames.append(rows.assign(by=by, scope=scope))
    return pd.concat(frames)


def _robustness(block: Block) -> pd.DataFrame:
    given = block.on("severity")
    kinds = {kind: CORRUPTIONS[kind].levels if given == (OWN,) else given for kind in block.on("kind")}
    return robustness.sweep(block.networks(), block.task.x_test, block.task.y_test, kinds)


def _tracing(block: Block) -> pd.DataFrame:
    population = block.networks()
    networks = subnetworks.members(population, block.task)
    rows = subnetworks.compare(networks, block.task, by=block.on("by"), read_outs=block.on("read_out"))
    return rows.assign(seed=[population.seeds[i] for i in rows.pop("network")])


def _tickets(block: Block) -> pd.DataFrame:
    task, rounds, recipe = tickets.only_live(block.task), block.on("round"), block.fitted()
    first = start(task, block.shard.widths, block.shard.seeds, recipe)
    found = tickets.trunk(first, task, recipe, max(rounds))
    at, controls = [k for k in rounds if k], block.on("control")
    rows = tickets.compare(first, found, task, recipe, at, controls=controls)
    return rows[rows["round"].isin([0, *rounds])]


def _descent(block: Block) -> pd.DataFrame:
    frames = []
    for n, noise in product(block.on("n"), block.on("noise")):
        recipe = block.fitted(with_train_size(block.task, n))
        frames.append(descent.trained(block.task, block.shard.widths, block.shard.seeds, recipe, n=n, noise=noise))
    return pd.concat(frames)


@dataclass(frozen=True)
class Experiment:
    """How one is computed, a sentence on it, its own axes, and whether it needs two classes."""

    rows: Callable[[Block], pd.DataFrame]
    about: str
    axes: dict[str, Axis] = field(default_factory=dict)
    only_pairs: bool = False


_SEVERITY = own_or(numbers(0, 180, default="", example="0,0.1,0.3", what="numbers in the unit of the kind,"))
EXPERIMENTS = {
    "capacity": Experiment(_capacity, "scores of trained networks"),
    "pruning": Experiment(
        _pruning,
        "pruned once to each level, nothing trained afterwards",
        {
            "level": numbers(0, 1, default="0,0.5,0.8,0.9,0.95,0.99", what="fractions"),
            "by": names(pruning_scores.SCORES, default="magnitude"),
            "scope": names(pruning.SCOPES, default="first"),
        },
    ),
    "robustness": Experiment(
        _robustness,
        "scores under corruption",
        {"kind": names(CORRUPTIONS, default="gaussian,occlusion"), "severity": _SEVERITY},
        only_pairs=True,
    ),
    "tracing": Experiment(
        _tracing,
        "hidden units removed one by one",
        {
            "by": names(activations.SCORES, default="weighted"),
            "read_out": names(activations.READ_OUTS, default="plain"),
        },
    ),
    "tickets": Experiment(
        _tickets,
        "winning tickets and their controls, each trained from the start",
        {
            "round": whole(0, 40, default="7", example="7,14"),
            "control": names((*tickets.CONTROLS, "same pixels"), default="new weights,random mask"),
        },
    ),
    "descent": Experiment(
        _descent,
        "networks trained on few images with wrong labels",
        {
            "n": whole(2, 60000, default="500", example="500,2000"),
            "noise": numbers(0, 1, default="0,0.2", example="0,0.1,0.2", what="fractions"),
        },
    ),
}


def axes(experiment: str) -> dict[str, Axis]:
    """All axes of an experiment. Raises UserError, which lists what there is, when there is no such experiment."""
    if experiment not in EXPERIMENTS:
        raise UserError(f"there is no experiment `{experiment}`{suggestion(experiment, EXPERIMENTS)}, chapter:NAME")
    about = EXPERIMENTS[experiment]
    return {
        "dataset": names(("auto", *DATASETS), default="auto"),
        "pair": classes(only_pairs=about.only_pairs),
        "split": whole(0, LARGEST_SEED, default="0", example="0:4", what="split seeds"),
        "recipe": names(RECIPES, default="converged"),
        "epochs": own_or(whole(1, 100_000, default="", example="20")),
        "width": whole(1, 4096, default="2,4,8,16,32,64", example="1:64"),
        "seed": whole(0, LARGEST_SEED, default="0:9", example="0:99", what="seeds"),
        **about.axes,
    }


def blocks(widths: Sequence[int], seeds: Sequence[int]) -> list[tuple[int, ...]]:
    """The seeds in blocks whose networks, at all widths, have at most `UNITS` hidden units, or one seed."""
    size = max(1, UNITS // sum(widths))
    return [tuple(seeds[i : i + size]) for i in range(0, len(seeds), size)]


def shards(experiment: str, grid: Grid) -> Iterator[ExperimentJob]:
    """The shards of a grid, in the order of its rows."""
    conditions = tuple((name, grid[name]) for name in EXPERIMENTS[experiment].axes)
    for dataset, pair, split, recipe, epochs in product(*(grid[name] for name in OUTER)):
        for seeds in blocks(grid["width"], grid["seed"]):
            yield ExperimentJob(experiment, dataset, pair, split, recipe, epochs, grid["width"], seeds, conditions)


def check(experiment: str, grid: Grid) -> None:
    """Raises UserError for values that do not go together, before anything is computed."""
    for kind, severity in product(grid.get("kind", ()), grid.get("severity", ())):
        if severity != OWN:
            check_severity(kind, severity)
        elif len(grid["severity"]) > 1:
            raise UserError("axis `severity` must be `own` or numbers, not both; got both")
    most = max(pair.count("-") + 1 for pair in grid["pair"])
    if min(grid.get("n", (most,))) < most:
        raise UserError(f"axis `n` must be at least {most}, an image per class; got {min(grid['n'])}")
