"""Looking inside trained networks: maps of activations, attributions, corruptions. Seconds, and a ratio to doing it
one network (or one image) at a time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch

from benchmarks.measure import FEW, limited, spread
from lowcap.chapters.geometry.tsne import tsne
from lowcap.chapters.robustness.corruption import CORRUPTIONS, corrupt
from lowcap.chapters.robustness.experiments import scores, sweep
from lowcap.chapters.saliency.attribution import METHODS, Settings, attribute, maps
from lowcap.population import Population
from lowcap.recipe import CONVERGED
from lowcap.tasks import Task
from lowcap.training import train

POINTS, IMAGES, NETWORKS, SOME = 2000, 500, 70, 10  # SOME: images that are explained one at a time
TARGETS = {"t-SNE map": 20, "attribution": 60, "corruption": 30}  # seconds


def measure_inside(task: Task, rounds: int, *, fast: bool = False) -> list[dict]:
    """One row per job: what it was, its seconds with the target, and how many times as long the other way takes."""
    n_networks, n_explained = (FEW, FEW) if fast else (NETWORKS, 10)
    population = Population.grid([24], range(n_networks), n_features=task.n_features)
    train(population, task, CONVERGED.but(epochs=1))
    few, settings = population.select(range(n_explained)), Settings(baselines=task.x_train[:20])
    x, y = task.x_test[:IMAGES], task.y_test
    points = few.select([0]).hidden(task.x_train[:POINTS]).detach().numpy()

    def mapped() -> None:
        with limited(1):  # as the book's maps are made, one on each core
            tsne(points)

    def explained() -> list[torch.Tensor]:
        return [maps(few, x, method, settings) for method in METHODS]

    def one_image_at_a_time() -> list[torch.Tensor]:
        one = few.select([0])  # alone, so that what its neighbours cost is not counted for each of them again
        return [
            torch.cat([attribute(one, image[None], 0, method, settings) for image in x[:SOME]]) for method in METHODS
        ]

    def one_network_at_a_time() -> None:
        for kind, about in CORRUPTIONS.items():
            for severity in about.levels:
                scores(population.select([0]), corrupt(task.x_test, kind, severity), y)

    jobs: list[tuple[str, str, Callable, Callable | None, float]] = [
        ("t-SNE map", f"{len(points)} points", mapped, None, 1),
        (
            "attribution",
            f"{len(METHODS)} methods, {len(x)} images, {n_explained} networks",
            explained,
            one_image_at_a_time,
            len(x) / min(SOME, len(x)) * n_explained,
        ),
        (
            "corruption",
            f"{len(CORRUPTIONS)} kinds, 6 severities, {n_networks} networks",
            lambda: sweep(population, task.x_test, y),
            one_network_at_a_time,
            n_networks,
        ),
    ]
    return [_row(name, what, ours, other, times, rounds) for name, what, ours, other, times in jobs]


def _row(name: str, what: str, ours: Callable, other: Callable | None, times: float, rounds: int) -> dict:
    seconds, ratios = [], []
    for number in range(rounds):
        print(f"{name}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        seconds.append(_seconds(ours))
        if other is not None:
            ratios.append(_seconds(other) * times / seconds[-1])
    found, target = spread(seconds), TARGETS[name]
    return {
        "name": name,
        "what": what,
        "seconds": found,
        "target": target,
        "reached": found["median"] <= target,
        "ratio": spread(ratios) if ratios else None,
    }


def _seconds(job: Callable) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start
