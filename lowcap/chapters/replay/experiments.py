"""The published study replayed with its own random streams and its own pruning arithmetic.

Source of the method: Y. Kumar, arXiv 2507.16278 (2025), and its public code, described in our own words. This module
is kept apart from the sound code on purpose: nothing else should draw from a global stream, take the best value over
training or prune by a threshold. It reproduces that code's numbers, not its text.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from lowcap.classes import check_pair, name_of
from lowcap.errors import UserError, fraction
from lowcap.evaluation import f1_score, roc_auc
from lowcap.files import beside
from lowcap.parallel import one_thread_each
from lowcap.population import Population, head
from lowcap.shard import BLOCK_ROWS
from lowcap.tasks import check_seed, raw_training_images
from lowcap.values import STUDY_PAIRS as PAIRS
from lowcap.values import STUDY_SEEDS as SEEDS
from lowcap.values import STUDY_WIDTHS as WIDTHS

PERCENTAGES = (10, 15, 20, 30, 40, 50, 80, 90, 95, 99)  # as the study names its sparsities
LR, STEPS = 0.03, 100
PUBLISHED_NUMBERS = beside("published", "data/published")
Pairs = Sequence[tuple[int, int]]
T = TypeVar("T")


@dataclass(frozen=True)
class Split:
    """The study's split of the *training* images of one pair: float64 pixels `(N, D)` (rounded to
    float32 on the way, as the study's are), labels `(N,)` of 0 and 1."""

    pair: tuple[int, int]
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor


def split(pair: tuple[int, int], seed: int, *, dataset: str = "auto") -> Split:
    """Balance the two classes, shuffle, and hold out a stratified fifth, all from the one seed.

    Raises:
        UserError: not two different digits, or a seed out of range.
    """
    pair, rng = check_pair(pair), np.random.default_rng(check_seed(seed))
    images, labels = raw_training_images(dataset)
    fewest = min((labels == digit).sum() for digit in pair)
    # The order of the draws is the study's: the pair's first digit, its second, then the shuffle.
    index = np.concatenate([rng.choice(np.flatnonzero(labels == digit), fewest, replace=False) for digit in pair])
    index = index[rng.permutation(len(index))]
    x, y = images[index], (labels[index] == max(pair)).astype(float)
    parts = train_test_split(x, y, test_size=0.2, stratify=y, random_state=seed)
    x_train, x_test, y_train, y_test = (torch.from_numpy(part).double() for part in parts)
    return Split(pair, x_train, y_train, x_test, y_test)


def starts(
    seed: int, widths: Sequence[int] = WIDTHS, *, pairs: Pairs = PAIRS, n_features: int = 784
) -> dict[tuple, Population]:
    """Per pair one float64 population of all widths, with weights from the study's one stream per seed.

    The stream runs through the networks with the width in the outer loop and the pair in the inner one.
    """
    stream = np.random.RandomState(check_seed(seed))
    blank = Population(widths, [seed] * len(widths), n_features=n_features).double()
    drawn: dict[tuple, list] = {pair: [] for pair in pairs}
    for width in widths:
        for pair in pairs:
            drawn[pair].append((stream.randn(n_features, width) * 0.1, stream.randn(width, 1) * 0.1))
    populations = {}
    for pair, layers in drawn.items():
        population = blank.copy()
        population.w_in.data = torch.from_numpy(np.concatenate([w for w, _ in layers], axis=1))
        population.w_out.data = torch.from_numpy(np.concatenate([w for _, w in layers]))
        populations[pair] = population
    return populations


def _own(seed: int, widths: Sequence[int], pairs: Pairs, n_features: int) -> dict[tuple, Population]:
    """Per pair the study's own networks of these widths, as `starts`.

    The stream of random numbers runs through all of the study's own widths and pairs; others come after them. So a
    network is the same whichever others are asked for.
    """
    all_widths, all_pairs = list(dict.fromkeys([*WIDTHS, *widths])), list(dict.fromkeys([*PAIRS, *pairs]))
    wanted = [all_widths.index(width) for width in widths]
    every = starts(seed, all_widths, pairs=all_pairs, n_features=n_features)
    return {pair: every[pair].select(wanted) for pair in pairs}


@torch.no_grad()
def descend(population: Population, x: Tensor, y: Tensor, *, lr: float = LR, steps: int = STEPS) -> Iterator[Tensor]:
    """Full-batch gradient descent in place, `steps` times; yields the training logits `(N, P)` *before* each step."""
    # Kept apart from `training.train` on purpose: the study computed in 64 bits, took all images at each step, and
    # scored the logits before the step. Its numbers come out to the last digits only in that order of operations.
    live = torch.where((x != 0).any(0))[0]  # the other pixels' weights have no gradient
    blocks = list(zip(x[:, live].split(BLOCK_ROWS), y[:, None].split(BLOCK_ROWS), strict=True))
    w_in, b_in, columns = population.w_in[live], population.b_in, population.columns()
    for _ in range(steps):
        block, logits = head(population.w_out, columns, len(population)), []
        grads = [torch.zeros_like(t) for t in (w_in, b_in, population.w_out, population.b_out)]
        for rows, labels in blocks:
            hidden = torch.addmm(b_in, rows, w_in).relu_().nan_to_num_()  # one that diverges must spoil no other
            logits.append(torch.addmm(population.b_out.flatten(), hidden, block))
            error = (logits[-1].sigmoid() - labels).nan_to_num_() / len(x)
            grad_hidden = error @ block.T
            torch.ops.aten.threshold_backward.grad_input(grad_hidden, hidden, 0, grad_input=grad_hidden)
            parts = (
                rows.T @ grad_hidden,  # w_in: (D, B) @ (B, U)
                grad_hidden.sum(0),  # b_in
                (hidden.T @ error).gather(1, columns),  # w_out: of (U, P) each unit's own member
                error.sum(0)[:, None],  # b_out
            )
            for grad, part in zip(grads, parts, strict=True):
                grad.add_(part)
        yield torch.cat(logits)
        for weight, grad in zip((w_in, b_in, population.w_out, population.b_out), grads, strict=True):
            weight.sub_(grad, alpha=lr)
        population.w_in.data[live] = w_in


def pruned(population: Population, sparsity: float, *, as_run: bool) -> Population:
    """The study's one-shot pruning: in each layer every weight up to the k-th smallest magnitude becomes zero.

    Args:
        sparsity: the share of each layer's weights that the study says it takes, in [0, 1]: 0.95 where it names 95 %.
        as_run: as its code computed it, dividing by 100 once more, so that 0.95 % of the weights go instead of 95 %;
            else as its text says.

    Raises:
        UserError: a sparsity outside [0, 1].
    """
    share = fraction("sparsity", sparsity) / (100 if as_run else 1)
    other = population.copy()
    for i in range(len(other)):
        units = torch.where(other.owner == i)[0]
        for weight, rows in ((other.w_in.data, (slice(None), units)), (other.w_out.data, (units,))):
            layer = weight[rows]
            if k := int(share * layer.numel()):
                weight[rows] = layer * (layer.abs() > layer.abs().flatten().kthvalue(k).values)
    return other


def run(
    seeds: Sequence[int] = SEEDS,
    *,
    widths: Sequence[int] = WIDTHS,
    pairs: Pairs = PAIRS,
    dataset: str = "auto",
    steps: int = STEPS,
    lr: float = LR,
    percentages: Sequence[int] = PERCENTAGES,
    progress: Callable[[int, tuple], None] = lambda seed, pair: None,  # called after each seed and pair
) -> pd.DataFrame:
    """Replay the study: a row per network.

    Columns: `seed, width, pair, n_train, n_test, best_train_f1, final_train_f1, final_loss` (training metrics are
    those before each step, as the study took them), `test_f1, test_auc, w1_sum` after training, and for each pruning
    percentage `f1_pruned_as_run_P` and `f1_pruned_true_P` on the held-out fifth.

    Raises:
        UserError: nothing to replay, or a pair, width, seed, learning rate or number of steps out of range.
    """
    seeds, widths = list(dict.fromkeys(seeds)), list(dict.fromkeys(widths))
    pairs = list(dict.fromkeys(map(check_pair, pairs)))
    if not (seeds and widths and pairs) or steps < 1 or not lr > 0:
        found = f"{len(seeds)}, {len(widths)}, {len(pairs)}, steps={steps!r} and lr={lr!r}"
        raise UserError(f"need at least one seed, width, pair and step, and a positive `lr`; got {found}")
    n_features = raw_training_images(dataset)[0].shape[1]
    jobs = [job for seed in seeds for job in _own(seed, widths, pairs, n_features).items()]

    def replay(job: tuple) -> pd.DataFrame:
        pair, population = job
        rows = _replay(population, split(pair, population.seeds[0], dataset=dataset), steps, lr, percentages)
        progress(population.seeds[0], pair)
        return rows

    with one_thread_each() as pool:
        frames = list(pool.map(replay, jobs))
    rows = pd.concat(frames, ignore_index=True)
    order = pd.MultiIndex.from_product([seeds, widths, [name_of(pair) for pair in pairs]])
    return rows.set_index(["seed", "width", "pair"]).loc[order.set_names(["seed", "width", "pair"])].reset_index()


def each(
    look: Callable[[Population, Split], T],
    *,
    seeds: Sequence[int] = SEEDS,
    pairs: Pairs = PAIRS,
    widths: Sequence[int] = (24,),
    dataset: str = "auto",
    steps: int = STEPS,
) -> list[T]:
    """Train the study's own networks again, and return what `look(population, split)` makes of each pair and seed.

    A population holds the networks of one pair and seed, a member per width, in float64; only the networks that are
    asked for are trained, by so many `steps`: with 0 they are untrained. The results come pair by pair, seed by seed.
    """
    n_features = raw_training_images(dataset)[0].shape[1]
    pairs = list(dict.fromkeys(map(check_pair, pairs)))
    own = {seed: _own(seed, widths, pairs, n_features) for seed in seeds}

    def work(job: tuple[tuple[int, int], int]) -> T:
        pair, seed = job
        population, data = own[seed][pair], split(pair, seed, dataset=dataset)
        deque(descend(population, data.x_train, data.y_train, steps=steps), maxlen=0)
        return look(population, data)

    with one_thread_each() as pool:
        return list(pool.map(work, [(pair, seed) for pair in pairs for seed in seeds]))


def learning_rates(
    data: Split, lrs: Sequence[float], *, widths: Sequence[int] = WIDTHS, n_seeds: int = 3, steps: int = STEPS
) -> pd.DataFrame:
    """The study's networks, from fresh float32 weights, at several learning rates.

    Returns:
        A row per network: `lr, width, seed, best_train_f1` (over the steps) and `final_train_f1`.
    """
    x, y = data.x_train.float(), data.y_train.float()

    def grid(lr: float) -> pd.DataFrame:
        population = Population.grid(widths, range(n_seeds), n_features=x.shape[1])
        f1 = torch.stack([_f1(logits, y) for logits in descend(population, x, y, lr=lr, steps=steps)])
        return population.members.assign(lr=lr, best_train_f1=f1.amax(0).numpy(), final_train_f1=f1[-1].numpy())

    with one_thread_each() as pool:
        return pd.concat(pool.map(grid, lrs), ignore_index=True)


def printed(dataset: str = "mnist") -> pd.DataFrame:
    """The numbers that the paper prints: `quantity, pair, width, condition, value, spread, source`.

    They are of MNIST: a run on another (resolved) `dataset` has nothing to be held to, and gets no row.
    """
    rows = pd.read_csv(PUBLISHED_NUMBERS / "published_text.csv")
    return rows if dataset == "mnist" else rows.head(0)


def reference() -> pd.DataFrame:
    """What the study's own code computes for its seed 0 on MNIST, in the columns of `run`."""
    return pd.read_csv(PUBLISHED_NUMBERS / "replay_seed0.csv")


def _f1(logits: Tensor, y: Tensor) -> Tensor:
    """F1 as the study counts it: a probability of exactly one half is class 1."""
    return f1_score(logits >= 0, y)


def _replay(population: Population, data: Split, steps: int, lr: float, percentages: Sequence[int]) -> pd.DataFrame:
    f1 = [_f1(z, data.y_train) for z in descend(population, data.x_train, data.y_train, lr=lr, steps=steps - 1)]
    for logits in descend(population, data.x_train, data.y_train, lr=lr, steps=1):
        f1.append(_f1(logits, data.y_train))
        target = data.y_train[:, None].expand_as(logits)
        loss = binary_cross_entropy_with_logits(logits, target, reduction="none").mean(0)
    with torch.no_grad():
        test = population(data.x_test)
        columns = {
            "n_train": len(data.x_train),
            "n_test": len(data.x_test),
            "best_train_f1": torch.stack(f1).amax(0),
            "final_train_f1": f1[-1],
            "final_loss": loss,
            "test_f1": _f1(test, data.y_test),
            "test_auc": roc_auc(test, data.y_test),
            "w1_sum": torch.zeros(len(population), dtype=test.dtype).index_add_(
                0, population.owner, population.w_in.sum(0)
            ),
        }
        for percentage in percentages:
            for kind in ("as_run", "true"):
                small = pruned(population, percentage / 100, as_run=kind == "as_run")
                columns[f"f1_pruned_{kind}_{percentage}"] = _f1(small(data.x_test), data.y_test)
    names = {"seed": population.seeds, "width": population.widths, "pair": name_of(data.pair)}
    return pd.DataFrame({**names, **{k: v.numpy() if isinstance(v, Tensor) else v for k, v in columns.items()}})


def to_csv(path: str | PathLike, seeds: Sequence[int] = SEEDS, **kwargs: Any) -> pd.DataFrame:
    """`run`, written to a CSV file with all digits, which replaces an old one only when it is complete."""
    if Path(path).is_dir():
        raise UserError(f"`path` must be a file to write; {path} is a folder")
    aside = Path(f"{path}.part")
    try:
        with aside.open("w", newline="") as file:  # at once: where nothing can be written, nothing is computed
            rows = run(seeds, **kwargs)
            rows.to_csv(file, index=False)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return rows
