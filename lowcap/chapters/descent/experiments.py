"""Double descent: test error against width, training time and training images, past the point of zero training error.

Trained networks, looked at as they train, beside the random features of `random_features`; and where a curve has its
classical minimum, its peak and its interpolation threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lowcap.chapters.descent.random_features import BLOCK, N_VAL
from lowcap.errors import UserError, whole_number
from lowcap.evaluation import losses
from lowcap.modules import Transformer, fit
from lowcap.parallel import in_processes
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import Task, with_label_noise, with_train_size
from lowcap.training import train

REACH = 16  # "very wide": so many times the interpolation threshold
HEADS = 2  # of a transformer, whose width is a multiple of it


def trained(
    task: Task,
    widths: Sequence[int],
    seeds: Iterable[int],
    recipe: Recipe,
    *,
    n: int,
    noise: float | Sequence[float] = 0.0,
    looks: int = 1,
) -> pd.DataFrame:
    """Networks of every width trained on `n` images with wrong labels, looked at as they train.

    Each seed has its own images, wrong labels, first weights and order of mini-batches.

    Args:
        noise: the share of wrong labels, or several, each with networks of its own.
        looks: how many epochs are looked at, close together at first; the last one always is.

    Returns:
        A row per `width, seed, epoch` with `noise, n` and, for the training, validation and test images,
        `train_error, train_loss, val_error, ...`: the share of wrong answers and the cross-entropy in nats. Training
        error is counted on the labels as given, wrong ones included.

    Raises:
        UserError: a number of looks below 1, or as `with_train_size`, `with_label_noise` and `train` do.
    """
    whole_number("looks", looks, 1)
    epochs = log_spaced(recipe.epochs, looks)
    shares = [noise] if isinstance(noise, float | int) else noise
    jobs = [
        partial(_course, noisy_part(task, n, share, seed), widths, seed, recipe, share, epochs)
        for share, seed in product(shares, seeds)
    ]
    return pd.concat(in_processes(jobs), ignore_index=True)


def noisy_part(task: Task, n: int, noise: float, seed: int) -> Task:
    """`n` training images of the task, a share of them with wrong labels, both drawn by the seed."""
    return with_label_noise(with_train_size(task, n, seed), noise, seed)


def _course(
    noisy: Task, widths: Sequence[int], seed: int, recipe: Recipe, noise: float, epochs: list[int]
) -> pd.DataFrame:
    """The networks of one seed on their images, looked at after these epochs."""
    frames: list[pd.DataFrame] = []

    def look(epoch: int, population: Population) -> None:
        if epoch in epochs:
            rows = population.members[["width", "n_params"]].assign(seed=seed, epoch=epoch, n=len(noisy.x_train))
            frames.append(rows.assign(**scores(population, noisy), noise=noise))

    shape: dict[str, Any] = {"n_features": noisy.n_features, "n_outputs": noisy.n_outputs, "init": recipe.init}
    every = 1 if len(epochs) > 1 else recipe.epochs  # to stop after each epoch takes time
    train(Population.grid(widths, [seed], **shape), noisy, recipe, order_seed=seed, on_epoch=look, every=every)
    return pd.concat(frames)


def log_spaced(last: int, count: int) -> list[int]:
    """At most `count` whole numbers from 1 to `last`, at even ratios; the last is always among them."""
    return sorted({round(float(step)) for step in np.geomspace(last, 1, count)})


@torch.no_grad()
def scores(model: Callable[[Tensor], Tensor], task: Task) -> dict[str, np.ndarray]:
    """`train_error, train_loss, val_error, ...` of each member of a population, or of one module, as arrays `(P,)`."""
    found, val = {}, (task.x_val[:N_VAL], task.y_val[:N_VAL])
    splits = {"train": (task.x_train, task.y_train), "val": val, "test": (task.x_test, task.y_test)}
    for split, (x, y) in splits.items():
        logits = torch.cat([model(part) for part in x.split(BLOCK)])
        logits = logits[:, None] if not isinstance(model, Population) else logits  # a module is one member
        guess = logits.argmax(-1) if task.n_outputs > 1 else (logits > 0).to(y)  # (N, P)
        found[f"{split}_error"] = (guess != y[:, None]).double().mean(0).numpy()
        found[f"{split}_loss"] = losses(logits, y).numpy()
    return found


def transformers(
    task: Task, widths: Sequence[int], seeds: Iterable[int], recipe: Recipe, *, n: int, noise: float = 0.0
) -> pd.DataFrame:
    """One-block transformers of every width, trained as the networks of `trained` are; rows as there, at the end."""
    images = {seed: noisy_part(task, n, noise, seed) for seed in seeds}
    jobs = [partial(_transformer, images[seed], width, seed, recipe) for seed in images for width in widths]
    return pd.concat(in_processes(jobs), ignore_index=True).assign(noise=noise)


def _transformer(noisy: Task, width: int, seed: int, recipe: Recipe) -> pd.DataFrame:
    net = Transformer(noisy.image_shape, noisy.n_outputs, width=width, heads=HEADS, seed=seed)
    fit(net, noisy, recipe, order_seed=seed)
    rows = {"width": width, "seed": seed, "epoch": recipe.epochs, "n": len(noisy.x_train)}
    rows["n_params"] = sum(weight.numel() for weight in net.parameters())
    return pd.DataFrame({**rows, **scores(net, noisy)})


def threshold(
    rows: pd.DataFrame, *, x: str = "width", by: str = "train_error", at_most: float = 0.0, from_above: bool = True
) -> float:
    """The measured interpolation threshold: the smallest `x` from which on the training images are fitted; NaN if none.

    Fitted means that the median over the rows of `by` is at most `at_most`, at this `x` and all larger ones
    (`from_above`), or, where `x` is a number of images, the largest up to which they are.

    Raises:
        UserError: a column that is missing, or no rows.
    """
    middle = _by(rows, x, by).median()
    fine = middle <= at_most
    # A single size that happens to fit does not count: all sizes beyond it have to fit too.
    fine = fine[::-1].cummin()[::-1] if from_above else fine.cummin()
    known = fine.index[fine]
    if not len(known):
        return float("nan")
    return float(known[0] if from_above else known[-1])


def landmarks(rows: pd.DataFrame, *, x: str = "width", y: str = "test_error") -> pd.Series:
    """Where the mean curve of `y` over `x` has its classical minimum and its peak, and how large the peak is.

    The peak is where the mean stands highest above its lowest value further left, which is the classical minimum. A
    curve that only falls has none: `rise` is 0, and minimum and peak are its last point.

    Returns:
        `at_minimum, minimum, at_peak, peak`; `first`, the fall to the minimum from the highest mean before it; `rise`
        (peak less minimum), `ratio` (peak over minimum) and `sure`, the smallest rise between the same two points among
        the seeds that are at both; `fall`, from the peak to the lowest mean after it; `at_last, last`, the largest `x`;
        `best`, the `x` of the lowest mean of all.

    Raises:
        UserError: a column that is missing, or no rows.
    """
    mean = _by(rows, x, y).mean()
    # Not the highest point of the curve, which is often its left end, but the highest above what came before.
    above = mean - mean.cummin()
    at_peak = above.idxmax() if above.max() > 0 else mean.index[-1]
    at_minimum = mean.loc[:at_peak].idxmin()
    minimum, peak = mean[at_minimum], mean[at_peak]
    each = rows.pivot_table(index="seed", columns=x, values=y)
    rise_of_each = each[at_peak] - each[at_minimum]
    found = {
        "at_minimum": at_minimum,
        "minimum": minimum,
        "at_peak": at_peak,
        "peak": peak,
        "first": mean.loc[:at_minimum].max() - minimum,
        "rise": peak - minimum,
        "ratio": peak / max(minimum, 1e-12),
        "sure": rise_of_each.min(),
        "fall": peak - mean.loc[at_peak:].min(),
        "at_last": mean.index[-1],
        "last": mean.iloc[-1],
        "best": mean.idxmin(),
    }
    return pd.Series(found, dtype=float)


def per_seed(rows: pd.DataFrame, *, x: str = "width", y: str = "test_error") -> pd.DataFrame:
    """`rise, ratio, fall` of each seed between the points that `landmarks` finds in the mean curve, NaN where the seed
    is not at both of them."""
    mean, found = _by(rows, x, y).mean(), landmarks(rows, x=x, y=y)
    each = rows.pivot_table(index="seed", columns=x, values=y)
    at_lowest_after = mean.loc[found["at_peak"] :].idxmin()
    late = each[at_lowest_after]
    low, peak = each[found["at_minimum"]], each[found["at_peak"]]
    return pd.DataFrame({"rise": peak - low, "ratio": peak / low.clip(lower=1e-12), "fall": peak - late})


def survey(rows: pd.DataFrame, by: Sequence[str], *, fit: str, at_most: float) -> pd.DataFrame:
    """The landmarks of every curve of test error over width, against its measured interpolation threshold.

    Args:
        by: the columns that tell one curve from another.
        fit, at_most: what the threshold is measured by, as in `threshold`.

    Returns:
        A row per curve with the columns of `landmarks` and `zero`, the threshold (NaN if there is none); `away`, how
        many steps in the list of widths the peak is from it; `times`, the largest width over it; `at_zero`, the mean
        there; and `past`, the largest rise of the mean from it on.

    Raises:
        UserError: as `threshold` and `landmarks` do.
    """
    found = []
    for key, group in rows.groupby(list(by), sort=False):
        marks, zero = landmarks(group), threshold(group, by=fit, at_most=at_most)
        row = {**dict(zip(by, key, strict=True)), **marks, "zero": zero, "times": marks["at_last"] / zero}
        if zero > 0:
            beyond, widths = group[group["width"] >= zero], sorted(set(group["width"]))
            row["away"] = abs(widths.index(marks["at_peak"]) - widths.index(zero))
            row["at_zero"] = beyond.loc[beyond["width"] == zero, "test_error"].mean()
            row["past"] = landmarks(beyond)["rise"]
        found.append(row)
    return pd.DataFrame(found, columns=[*by, *marks.index, "zero", "times", "away", "at_zero", "past"])


def very_wide(widths: Iterable[int], known: Sequence[int], zero: float, times: float = REACH) -> list[int]:
    """Of `widths` those above the `known` ones that are needed to reach so many times the threshold `zero`.

    None where the known ones do; all where there is no threshold (NaN), or none of them reaches it.
    """
    goal = times * zero if zero > 0 else float("inf")
    above = sorted(width for width in set(widths) if width > max(known))
    before = [max(known), *above]  # the width before each; one more is needed while that one is below the goal
    return [width for width, last in zip(above, before, strict=False) if last < goal]


def _by(rows: pd.DataFrame, x: str, y: str) -> Any:
    """Values of `y` grouped by `x`."""
    if missing := [name for name in (x, y) if name not in rows]:
        raise UserError(f"the rows have no column {missing}; they have {', '.join(map(str, rows.columns))}")
    if not len(rows):
        raise UserError("the rows must hold at least one network; there are none")
    return rows.groupby(x)[y]


def chosen(rows: pd.DataFrame, among: str, *, by: Sequence[str] = ("width", "seed")) -> pd.DataFrame:
    """Of each network the row with the lowest `val_error` (the first of equal ones), over the column `among`.

    Over `epoch` that is early stopping; over `penalty` it is a penalty chosen on validation images.
    """
    ordered = rows.sort_values([*by, among], kind="stable").reset_index(drop=True)
    return ordered.loc[ordered.groupby(list(by))["val_error"].idxmin()].reset_index(drop=True)
