"""Pairs of classes: in which order they are taken, and how hard each is to tell apart."""

from __future__ import annotations

import numpy as np
import torch

from lowcap.classes import ALL_PAIRS
from lowcap.tasks import Task, class_names, resolve
from lowcap.values import STUDY_PAIRS


def pairs_in_order(n: int, dataset: str = "auto") -> list[tuple[int, int]]:
    """The first `n` pairs of classes that the dataset has: the study's five, then the others in a fixed shuffled order.

    Ten classes have 45 pairs, fewer have fewer.
    """
    others = [pair for pair in ALL_PAIRS if pair not in STUDY_PAIRS]
    order = np.random.default_rng(0).permutation(len(others))
    n_classes = len(class_names(resolve(dataset)))
    every = [*STUDY_PAIRS, *(others[i] for i in order)]
    return [pair for pair in every if max(pair) < n_classes][:n]


def linear_error(task: Task, *, alpha: float = 100.0) -> float:
    """Share of validation images that a linear classifier gets wrong: ridge regression on the labels, in closed form.

    A measure of how hard a pair is that owes nothing to hidden units or to gradient descent. The same as scikit-learn's
    RidgeClassifier, in a tenth of its time.
    """
    middle, target = task.x_train.mean(0), 2 * task.y_train - 1
    # Centred, so that the intercept is the mean of the targets and is not penalised.
    x = task.x_train - middle
    penalised = x.T @ x + alpha * torch.eye(task.n_features)  # (D, D)
    weights = torch.linalg.solve(penalised, x.T @ (target - target.mean()))  # (D,)
    guess = (task.x_val - middle) @ weights + target.mean() > 0
    return float((guess != task.y_val.bool()).double().mean())
