"""Random features: networks whose hidden layer is random and stays so (Rahimi and Recht 2007).

Their read-out is the least-squares solution of smallest norm, or ridge regression, in closed form; all shares of label
noise and all penalties of a width share one decomposition.

Letters for shapes: `N` images, `B` of them at a time, `D` pixels, `F` features (hidden units), `K` outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lowcap.errors import UserError, number, whole_numbers
from lowcap.parallel import in_threads
from lowcap.tasks import Task, with_label_noise, with_train_size

BLOCK = 1000  # images whose features are held in memory at a time
FINE = 1e-6  # smallest over largest eigenvalue from which on a matrix may be squared before it is decomposed
N_VAL = 2500  # validation images that choose a penalty or a step to stop at, at most


def random_layer(n_pixels: int, n_features: int, seed: int) -> Tensor:
    """First weights `(D, F)`, normal with variance 2 / D (He et al. 2015); a narrower layer begins a wider one."""
    draw = np.random.default_rng([seed, n_pixels]).standard_normal((n_features, n_pixels), dtype=np.float32)
    return torch.from_numpy(draw).T * (2 / n_pixels) ** 0.5


def ridge(features: Tensor, targets: Tensor, penalties: Sequence[float] = (0.0,)) -> Tensor:
    """Weights `(penalties, F, K)` that minimise squared error plus penalty times squared norm (Hoerl and Kennard 1970).

    Features `(N, F)`, targets `(N, K)`, no intercept. Penalty 0 stands for its limit: of all least-squares solutions
    the one of smallest norm. One singular value decomposition serves all penalties.

    Raises:
        UserError: features and targets of different lengths, or a penalty that is negative or no number.
    """
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets):
        found = f"{tuple(features.shape)} and {tuple(targets.shape)}"
        raise UserError(f"`features` and `targets` must be matrices with a row per image; got {found}")
    for penalty in penalties:
        number("penalties (each)", penalty, least=0)
    u, s, v = _svd(features)
    image = u.T @ targets  # (R, N) @ (N, K) -> (R, K)
    zero = s <= s.max() * max(features.shape) * torch.finfo(s.dtype).eps  # as numpy.linalg.lstsq decides it
    # v s / (s² + penalty) u' y: for each singular value one factor per penalty.
    shrunk = [torch.where(zero, 0, s / (s**2 + penalty).clamp(min=1e-300)) for penalty in penalties]
    return torch.stack([v @ (factor[:, None] * image) for factor in shrunk])


def _svd(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`u (N, R), s (R,), v (F, R)`; a wide matrix is made square first, which is far cheaper."""
    if matrix.shape[1] <= matrix.shape[0]:
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        return u, s, vh.T
    squares, u = torch.linalg.eigh(matrix @ matrix.T)
    if squares[0] > FINE * squares[-1]:  # else squaring would have cost too many digits
        s = squares.sqrt()
        return u, s, matrix.T @ (u / s)
    q, r = torch.linalg.qr(matrix.T)
    u, s, vh = torch.linalg.svd(r.T)
    return u, s, q @ vh.T


def coded(y: Tensor, n_outputs: int) -> Tensor:
    """Labels as targets `(N, K)` of a regression with mean about 0: -1 and 1 for a pair, else one-hot less 1 / K."""
    if n_outputs == 1:
        return 2 * y.double()[:, None] - 1
    return one_hot(y, n_outputs).double() - 1 / n_outputs


def feature_curve(
    task: Task,
    widths: Sequence[int],
    seeds: Iterable[int],
    *,
    n: int,
    noises: Sequence[float] = (0.0,),
    penalties: Sequence[float] = (0.0,),
) -> pd.DataFrame:
    """Random features of every width, fitted in closed form to `n` training images; all that is random by the seed.

    Returns:
        A row per `width, seed, noise` (share of wrong training labels) and `penalty` with `n`, and for the training
        and test images, and the validation images where there are penalties to choose from, `train_error, train_loss,
        test_error, ...`: the share of wrong answers and the mean squared distance from the targets (see `coded`).
        Training error is counted on the labels as given, wrong ones included.

    Raises:
        UserError: as `ridge`, `with_train_size` and `with_label_noise` do, or no width.
    """
    if not whole_numbers("widths", widths, 1):
        raise UserError("`widths` must be one or more whole numbers of at least 1; got none")
    jobs = [partial(_features_of_seed, task, list(widths), seed, n, noises, penalties) for seed in seeds]
    return pd.concat(in_threads(jobs), ignore_index=True)


@torch.no_grad()
def _features_of_seed(
    task: Task, widths: list[int], seed: int, n: int, noises: Sequence[float], penalties: Sequence[float]
) -> pd.DataFrame:
    small = with_train_size(task, n, seed)
    # All shares of wrong labels at once, as more columns of targets: the decomposition is the costly part.
    noisy = [with_label_noise(small, noise, seed) for noise in noises]
    layer = random_layer(task.n_features, max(widths), seed)
    targets = torch.cat([coded(one.y_train, task.n_outputs) for one in noisy], 1)  # (N, noises * K)
    features = (small.x_train @ layer).relu().double()
    weights = [ridge(features[:, :width], targets, penalties) for width in widths]
    keys = pd.DataFrame(list(product(noises, penalties)), columns=["noise", "penalty"])
    frames = [keys.assign(width=width, seed=seed, n=len(small.x_train)) for width in widths]
    given = {
        "train": (small.x_train, [one.y_train for one in noisy]),
        "val": (task.x_val[:N_VAL], [task.y_val[:N_VAL]] * len(noisy)),
        "test": (task.x_test, [task.y_test] * len(noisy)),
    }
    if len(penalties) == 1:
        del given["val"]  # nothing to choose
    for split, (x, labels) in given.items():
        sums = [torch.zeros(2, len(noisy), len(penalties), dtype=torch.float64) for _ in widths]
        for begin in range(0, len(x), BLOCK):
            # Features of the widest layer; narrower ones are its first columns.
            features = (x[begin : begin + BLOCK] @ layer).relu().double()  # (B, F)
            parts = [y[begin : begin + BLOCK] for y in labels]
            for total, weight, width in zip(sums, weights, widths, strict=True):
                total += _missed(features[:, :width], weight, parts, task.n_outputs)
        for frame, total in zip(frames, sums, strict=True):
            frame[f"{split}_error"], frame[f"{split}_loss"] = (total / len(x)).flatten(1).numpy()
    return pd.concat(frames)


def _missed(features: Tensor, weights: Tensor, labels: list[Tensor], k: int) -> Tensor:
    """Wrong answers and squared distances, summed over the images: `(2, noises, penalties)`."""
    outputs = features @ weights.permute(1, 0, 2).flatten(1)  # (B, penalties * noises * K)
    outputs = outputs.view(len(features), len(weights), len(labels), k).permute(2, 1, 0, 3)  # (noises, penalties, B, K)
    guess = outputs.argmax(-1) if k > 1 else (outputs[..., 0] > 0).double()  # (noises, penalties, B)
    wrong, distance = [], []
    for out, answer, y in zip(outputs, guess, labels, strict=True):
        wrong.append((answer != y).sum(1))
        distance.append((out - coded(y, k)).square().sum((1, 2)))
    return torch.stack([torch.stack(wrong), torch.stack(distance)])


STEPS = (0.02, 0.04, 0.08, 0.12, 0.16, 0.2, 0.3, 0.4, 0.6, 0.8, 0.9, 0.95, 1, 1.05, 1.1, 1.2, 1.5, 2, 3, 4, 8)


def sizes_around(n: int, reach: float = 16) -> list[int]:
    """Sizes from a fiftieth of `n` to `reach` times `n`, densest at `n` itself, where a peak is expected."""
    steps = [step for step in [*STEPS, reach] if step <= reach]
    return sorted({max(1, round(n * step)) for step in steps})
