"""Scores of all members at once, as tidy frames, and the smallest width whose score is enough."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from lowcap.errors import UserError
from lowcap.population import Population


@torch.no_grad()
def evaluate(population: Population, x: Tensor, y: Tensor) -> pd.DataFrame:
    """A row per member: its columns in `Population.members`, then `f1, auc, accuracy, loss` on images `(N, D)`.

    For a pair of classes `f1` and `auc` are those of class 1, at logit 0 and over all thresholds; `dead` counts hidden
    units that never fire. With more classes `f1` is the mean over classes and `auc` is left out. `loss` is the mean
    cross-entropy in nats. A network that has diverged has the loss NaN.

    Raises:
        UserError: images and labels do not fit each other or the population.
    """
    if x.ndim != 2 or x.shape[1] != population.n_features or len(x) != len(y) or len(y) == 0:
        found = f"images of shape {tuple(x.shape)} and {len(y)} labels"
        raise UserError(f"need images of {population.n_features} features and as many labels; got {found}")
    hidden = population.hidden(x)
    frame, logits = population.members, population.read_out(hidden)
    if population.n_outputs == 1:
        guess = logits > 0
        scores = {"f1": f1_score(guess, y), "auc": roc_auc(logits, y), "accuracy": accuracy(guess, y)}
    else:
        guess = logits.argmax(-1)
        scores = {"f1": macro_f1(guess, y, population.n_outputs), "accuracy": accuracy(guess, y)}
    columns = {**scores, "loss": losses(logits, y), "dead": dead_units(population, hidden)}
    return frame.assign(**{name: np.asarray(value) for name, value in columns.items()})


def answer_scores(guess: Tensor, y: Tensor) -> dict[str, np.ndarray]:
    """`f1` and `accuracy` `(P,)` of guessed answers `(N, P)`, bool, to a pair of classes, as `evaluate` says them."""
    return {"f1": f1_score(guess, y).numpy(), "accuracy": accuracy(guess, y).numpy()}


def accuracy(guess: Tensor, y: Tensor) -> Tensor:
    """The share of right ones, per column of guessed classes `(N, P)`."""
    return (guess == y[:, None]).double().mean(0)


def losses(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy `(P,)` of each member's logits `(B, P)` or `(B, P, K)`, in nats."""
    if logits.ndim == 2 or logits.shape[2] == 1:
        logits = logits.view(len(logits), -1)
        target = y[:, None].to(logits).expand_as(logits)
        return binary_cross_entropy_with_logits(logits, target, reduction="none").mean(0)
    return torch.stack([cross_entropy(member, y) for member in logits.unbind(1)])


def dead_units(population: Population, hidden: Tensor) -> np.ndarray:
    """How many hidden units of each member `(P,)` never fire, by the activations `(N, U)` of all of them."""
    quiet = (hidden <= 0).all(0).long()
    return torch.zeros(len(population), dtype=torch.long).index_add_(0, population.owner, quiet).numpy()


def f1_score(guess: Tensor, y: Tensor) -> Tensor:
    """F1 of class 1 per column: guesses `(N, P)`, bool, and labels `(N,)` of 0 and 1 give `(P,)`; 0 where undefined."""
    truth = y.double()
    both = truth @ guess.double()
    return 2 * both / (guess.sum(0) + truth.sum()).clamp(min=1)


def macro_f1(guess: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Mean F1 over classes, per column of guessed classes `(N, P)`."""
    return torch.stack([f1_score(guess == c, y == c) for c in range(n_classes)]).mean(0)


def roc_auc(logits: Tensor, y: Tensor) -> np.ndarray:
    """Area under the ROC curve per column of `(N, P)`: the share of pairs of images in the right order, ties a half.

    NaN in a column counts as 0; all is NaN without images of both classes.
    """
    positive = y.numpy() > 0
    n, m = positive.sum(), (~positive).sum()
    # The Mann-Whitney statistic: from the sum of the ranks of class 1, those among its own images are taken away.
    ranks = rankdata(np.nan_to_num(logits.detach().numpy()), axis=0)[positive].sum(0)
    return (ranks - n * (n + 1) / 2) / (n * m or np.nan)


def smallest_width(scores: pd.Series, enough: Callable[[pd.Series], pd.Series]) -> float:
    """The smallest width that is enough, as is every larger one; NaN when the largest is not.

    Args:
        scores: one score per width, indexed by width.
        enough: which of the scores, in order of width, suffice.

    >>> smallest_width(pd.Series({2: 0.95, 4: 0.89, 8: 0.93, 16: 0.97}), lambda f1: f1 > 0.9)
    8.0
    """
    scores = scores.sort_index()
    # From the widest down: once a width fails, no narrower one counts.
    stable = enough(scores)[::-1].cummin()[::-1].astype(bool)
    return float(scores.index[stable][0]) if stable.any() else float("nan")
