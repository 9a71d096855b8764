"""Pruning to many levels and scoring what is left: ours, all networks at once, against PyTorch, one after another."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils import prune

from benchmarks.measure import CORES, FEW, WIDTHS, limited, spread
from lowcap.evaluation import f1_score, roc_auc
from lowcap.population import Population
from lowcap.pruning import one_shot
from lowcap.recipe import CONVERGED
from lowcap.tasks import Task
from lowcap.training import train

LEVELS = tuple(level / 20 for level in range(20))  # 0 to 0.95
SECONDS = 5  # in which all networks should be pruned to all levels and scored


def at_once(population: Population, task: Task) -> pd.DataFrame:
    return one_shot(population, LEVELS, task.x_test, task.y_test)


@torch.no_grad()
def one_by_one(population: Population, task: Task) -> pd.DataFrame:
    """The same with torch.nn.utils.prune on ordinary modules: a row per level and network."""
    modules = [population.to_module(i) for i in range(len(population))]
    return pd.DataFrame([scores(module, level, task) for level in LEVELS for module in modules])


def scores(module: nn.Sequential, level: float, task: Task) -> dict:
    """Prune a copy of one network by magnitude, the same share of both layers, and score it."""
    pruned, kept = deepcopy(module), 0
    for layer in (pruned[0], pruned[2]):
        prune.l1_unstructured(layer, "weight", amount=level)
        kept += int((layer.weight != 0).sum())
    logits, y = pruned(task.x_test), task.y_test
    guess, loss = logits > 0, binary_cross_entropy_with_logits(logits[:, 0], y).item()
    f1, accuracy = f1_score(guess, y).item(), (guess[:, 0] == y).double().mean().item()
    return {"f1": f1, "auc": roc_auc(logits, y)[0], "accuracy": accuracy, "loss": loss, "kept": kept}


def measure_pruning(task: Task, rounds: int, n_seeds: int) -> dict:
    """Both in turn, `rounds` times; PyTorch gets few of the networks."""
    starts = Population.grid(WIDTHS, range(n_seeds), n_features=task.n_features)
    everyone = train(starts, task, CONVERGED.but(epochs=1))
    few = everyone.select(np.array(everyone.seeds) < FEW)
    seconds, ratios = [], []
    for number in range(rounds):
        print(f"pruning: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        ours, table = timed(at_once, everyone, task)
        theirs, rows = timed(one_by_one, few, task)
        seconds.append(ours)
        ratios.append(theirs / len(few) / (ours / len(everyone)))
    same, found = table[table.seed < FEW].reset_index(drop=True)[rows.columns], spread(seconds)
    return {
        "networks": len(everyone),
        "networks_timed": len(few),
        "levels": len(LEVELS),
        "seconds": found,
        "target": SECONDS,
        "reached": found["median"] <= SECONDS,
        "ratio": spread(ratios),
        "largest_difference": float((same - rows).drop(columns="kept").abs().to_numpy().max()),
        "same_sizes": bool((same.kept == rows.kept).all()),
    }


def timed(
    how: Callable[[Population, Task], pd.DataFrame], population: Population, task: Task
) -> tuple[float, pd.DataFrame]:
    """Seconds that it takes with one thread or all cores, whichever is faster, and the rows."""
    seconds = []
    for threads in (1, CORES):
        with limited(threads):
            start = time.perf_counter()
            rows = how(population, task)
            seconds.append(time.perf_counter() - start)
    return min(seconds), rows
