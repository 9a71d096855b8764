"""Ours and its rivals in turn, so that a machine's moods fall on all of them."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from threadpoolctl import threadpool_limits

from benchmarks.baselines import OneByOne, Ours, Sklearn, Stacked, Tight, Trainer, Wide
from lowcap.evaluation import f1_score, macro_f1
from lowcap.population import Population
from lowcap.recipe import CONVERGED
from lowcap.tasks import Task

WIDTHS = (2, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64)
N_SEEDS = 10
FEW = 2  # networks that are trained one after another are timed on so many of the seeds, and all widths
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
NAMES = {
    OneByOne: "(a) PyTorch, DataLoader",
    Tight: "(b) PyTorch, tight loop",
    Stacked: "(c) torch.func, vmap",
    Sklearn: "(d) scikit-learn",
    Wide: "(e) ParallelMLPs",
}


@dataclass(frozen=True)
class Case:
    """Networks of some widths on some classes, and how many times slower than ours each rival should at least be."""

    name: str
    classes: object
    widths: tuple[int, ...]
    targets: dict[type[Trainer], float]
    product: float | None = None  # share of the matrix product's rate that ours should reach


CASES = (
    Case("4-9", (4, 9), WIDTHS, {OneByOne: 10, Tight: 5, Stacked: 3, Sklearn: 4.5, Wide: 1.3}, 0.75),
    Case("4-9, widths up to 8", (4, 9), (2, 4, 6, 8), {OneByOne: 40}),
    Case("10 classes", "all", WIDTHS, {Wide: 2}),
)


@dataclass
class Rival:
    """A competitor in a case: what it is timed on, the numbers of threads tried each time, and what was measured."""

    kind: type[Trainer]
    population: Population
    target: float
    threads: set[int]
    seconds: list[float] = field(default_factory=list)  # per network and epoch
    fastest: list[int] = field(default_factory=list)  # the number of threads that this took
    ratios: list[float] = field(default_factory=list)
    trained: Trainer | None = None


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """At most so many threads in PyTorch and in the libraries of NumPy."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)


def timed(kind: type[Trainer], population: Population, task: Task, threads: int = CORES) -> tuple[float, Trainer]:
    """Seconds per network of an epoch from the given initial networks, and the networks that result."""
    with limited(threads):
        trainer = kind(population, task, CONVERGED)
        return trainer.seconds() / len(population), trainer


def product_rate(task: Task, units: int, repeats: int = 12) -> float:
    """GFLOP/s of the two large products of a step, on the live pixels and all units: the best of several."""
    pixels, batch = int(task.live.sum()), CONVERGED.batch_size or 128
    x, w, g = torch.rand(batch, pixels), torch.randn(pixels, units), torch.randn(batch, units)
    hidden, gradient, seconds = torch.empty(batch, units), torch.empty(pixels, units), []
    with limited(CORES):
        for _ in range(repeats):
            start = time.perf_counter()
            for _ in range(5):
                torch.mm(x, w, out=hidden)
                torch.mm(x.T, g, out=gradient)
            seconds.append((time.perf_counter() - start) / 5)
    return 4 * batch * pixels * units / min(seconds) / 1e9


def population(case: Case, task: Task, n_seeds: int) -> Population:
    """The initial networks of a case."""
    seeds, options = range(n_seeds), {"n_features": task.n_features, "n_outputs": task.n_outputs}
    return Population.grid(case.widths, seeds, **options)


def rivals(case: Case, task: Task, n_seeds: int) -> list[Rival]:
    """The competitors of a case, each warmed up, with one thread and all cores.

    Those that train one network after another, each too small for threads to matter, settle on the faster here.
    """
    everyone, few, one = (population(case, task, n) for n in (n_seeds, FEW, 1))
    found = []
    for kind, target in case.targets.items():
        costs = {n: timed(kind, one, task, n)[0] for n in (1, CORES, 1)}  # the first time warms up
        if kind in (Stacked, Wide):
            found.append(Rival(kind, everyone, target, {1, CORES}))
        else:
            found.append(Rival(kind, few, target, {min(costs, key=lambda n: costs[n])}))
    return found


def measure(case: Case, task: Task, rounds: int, n_seeds: int) -> dict:
    """All rivals and ours in turn, `rounds` times: each rival is held against ours just before and just after it."""
    everyone, against = population(case, task, n_seeds), rivals(case, task, n_seeds)
    timed(Ours, everyone, task)
    ours, rates = [timed(Ours, everyone, task)], []
    for number in range(rounds):
        print(f"{case.name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        for rival in against:
            tries = {n: timed(rival.kind, rival.population, task, n) for n in rival.threads}
            fastest = min(tries, key=lambda n: tries[n][0])
            seconds, rival.trained = tries[fastest]
            ours.append(timed(Ours, everyone, task))
            rival.seconds.append(seconds)
            rival.fastest.append(fastest)
            rival.ratios.append(2 * seconds / (ours[-1][0] + ours[-2][0]))
        if case.product:
            rates.append((ours[-1][0], product_rate(task, len(everyone.owner))))
    return {
        "case": case.name,
        "networks": len(everyone),
        "ours_ms": 1e3 * statistics.median(seconds for seconds, _ in ours),
        "rivals": [row(rival, ours[-1][1], task) for rival in against],
        "product": product(case, everyone, task, rates),
    }


def product(case: Case, everyone: Population, task: Task, rates: list[tuple[float, float]]) -> dict | None:
    """The rate of ours, counted on the pixels that it computes with, as a share of the matrix product's."""
    if not case.product:
        return None
    gflop = 4 * len(task.x_train) * int(task.live.sum()) * len(everyone.owner) / len(everyone) / 1e9
    share = spread([gflop / seconds / rate for seconds, rate in rates])
    return {
        "ours_gflops": statistics.median(gflop / seconds for seconds, _ in rates),
        "product_gflops": statistics.median(rate for _, rate in rates),
        "share": share,
        "target": case.product,
        "reached": share["median"] >= case.product,
    }


def spread(values: list[float]) -> dict[str, float]:
    """Median and range."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


@torch.no_grad()
def row(rival: Rival, ours: Trainer, task: Task) -> dict:
    """What was measured of a rival, and whether its networks and ours are the same after an epoch."""
    assert rival.trained is not None
    same = [i for i, seed in enumerate(ours.population.seeds) if seed in rival.population.seeds]
    theirs, mine = rival.trained.logits(task.x_test), ours.logits(task.x_test)[:, same]
    ratio = spread(rival.ratios)
    return {
        "name": NAMES[rival.kind],
        "ms": 1e3 * statistics.median(rival.seconds),
        "networks_timed": len(rival.population),
        "threads": statistics.mode(rival.fastest),
        "ratio": ratio,
        "target": rival.target,
        "reached": ratio["median"] >= rival.target,
        "f1": mean_f1(theirs, task),
        "f1_ours": mean_f1(mine, task),
        "largest_difference": None if rival.kind is Sklearn else (theirs - mine).abs().max().item(),
    }


def mean_f1(logits: torch.Tensor, task: Task) -> float:
    """F1 on the test images, averaged over networks."""
    if logits.shape[2] == 1:
        return f1_score(logits[:, :, 0] > 0, task.y_test).mean().item()
    return macro_f1(logits.argmax(2), task.y_test, task.n_outputs).mean().item()
