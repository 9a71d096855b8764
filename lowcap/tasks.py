"""Tasks: two (or all) classes of a dataset with their train, validation and official test split."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

from lowcap.classes import check_classes, name_of
from lowcap.data import folder, mnist_files
from lowcap.data.vision import torchvision
from lowcap.errors import DataError, UserError, fraction, number, whole_number
from lowcap.values import DATASETS, LARGEST_SEED


@dataclass(frozen=True)
class Task:
    """A classification problem. Images are flat rows of float32 in [0, 1].

    For a pair the labels are float32 of 0 and 1, where class 1 is the larger label; for more classes, and for "all",
    they are int64 positions in `classes`.

    Attributes:
        x_train, x_val, x_test: `(N, features)`; `x_test` is the dataset's official test split.
        y_train, y_val, y_test: `(N,)`.
        live: `(features,)` bool, whether a pixel is ever non-zero in `x_train`. The weights of the others never get a
            gradient.
    """

    dataset: str
    classes: tuple[int, ...]
    split_seed: int
    x_train: Tensor = field(repr=False)
    y_train: Tensor = field(repr=False)
    x_val: Tensor = field(repr=False)
    y_val: Tensor = field(repr=False)
    x_test: Tensor = field(repr=False)
    y_test: Tensor = field(repr=False)
    live: Tensor = field(repr=False)

    @property
    def name(self) -> str:
        """The classes, for tables: `4-9`."""
        return name_of(self.classes)

    @property
    def n_features(self) -> int:
        return self.x_train.shape[1]

    @property
    def n_outputs(self) -> int:
        """Logits per network: one for a pair, else one per class."""
        return 1 if self.y_train.is_floating_point() else len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        side = round(self.n_features**0.5)
        return side, side


def check_dataset(dataset: str, parameter: str = "dataset") -> str:
    """The name itself. Raises UserError when no such dataset is known."""
    if isinstance(dataset, str) and folder.is_folder(dataset) and dataset != folder.PREFIX:
        return dataset
    if dataset not in (*DATASETS, "auto"):
        raise UserError(f"`{parameter}` must be one of auto, {', '.join(DATASETS)}, folder:PATH; got {dataset!r}")
    return dataset


def check_seed(seed: int, parameter: str = "seed") -> int:
    """The seed itself. Raises UserError when NumPy's generators cannot take it."""
    return whole_number(parameter, seed, 0, LARGEST_SEED)


def resolve(dataset: str = "auto") -> str:
    """The dataset that a name stands for, fetched and checked.

    `auto` means the value of the environment variable LOWCAP_DATASET if it is set, else MNIST if it is on disk or can
    be downloaded, else the 8x8 digits that come with scikit-learn. This is tried once per process, so that a process
    never computes on both.

    Raises:
        UserError: no such dataset is known.
        DataError: the dataset cannot be had, or (also for `auto`) a file of it is damaged.
    """
    if check_dataset(dataset) == "auto":
        dataset = check_dataset(os.environ.get("LOWCAP_DATASET") or "auto", "LOWCAP_DATASET")
    if dataset == "auto":
        return _mnist_or_digits(*map(str, mnist_files.roots()))
    if folder.is_folder(dataset):
        folder.read(dataset)
    elif dataset != "digits":
        mnist_files.fetch(dataset)
    return dataset


def class_names(dataset: str) -> tuple[str, ...]:
    """What the classes of a resolved dataset are called, in the order of their numbers."""
    if folder.is_folder(dataset):
        return folder.read(dataset).names
    kind = getattr(torchvision.datasets, mnist_files.CLASSES.get(dataset, ""), None)
    names = None if dataset == "mnist" else getattr(kind, "classes", None)
    return tuple(map(str, range(10))) if names is None else tuple(names)


def check_there(asked: Iterable[int], dataset: str, parameter: str = "classes") -> None:
    """Raises UserError, which lists what there is, when a resolved dataset has no class of a number that is asked."""
    names = class_names(dataset)
    missing = sorted(set(asked) - set(range(len(names))))
    if missing:
        there = ", ".join(f"{i} ({name})" for i, name in enumerate(names))
        raise UserError(f"`{parameter}` asks for class {', '.join(map(str, missing))}; {dataset} has only {there}")


@lru_cache(maxsize=1)
def _mnist_or_digits(*roots: str) -> str:
    try:
        mnist_files.fetch("mnist")
    except mnist_files.Unavailable as error:
        logging.getLogger(__name__).warning("using the 8x8 digits that come with scikit-learn: %s", error)
        return "digits"
    return "mnist"


def identity(dataset: str) -> dict:
    """What the dataset is, for provenance: its name and source, MD5 of each file (of a reader's own images: of each
    class), numbers of images."""
    dataset = resolve(dataset)
    arrays = _arrays(dataset)
    counts = {"n_train": len(arrays["y_train"]), "n_test": len(arrays["y_test"])}
    if folder.is_folder(dataset):
        own = folder.read(dataset)
        return {"name": dataset, "source": own.source, "files": own.sums, "classes": list(own.names), **counts}
    files = {} if dataset == "digits" else mnist_files.fetch(dataset)[1]
    source = f"scikit-learn {sklearn.__version__}" if dataset == "digits" else "torchvision's files"
    return {"name": dataset, "source": source, "files": files, **counts}


def load_task(classes: object, *, dataset: str = "auto", split_seed: int = 0, val_fraction: float = 0.2) -> Task:
    """Load a task.

    A stratified share `val_fraction` of the training images, drawn by `split_seed`, is held out for validation; the
    official test split is left alone. (The bundled digits have none: a fixed stratified quarter of them serves.)

    >>> load_task((9, 4), dataset="digits").name
    '4-9'

    Raises:
        UserError: unknown dataset, classes that are not two or more different digits, a seed or share out of range.
        DataError: the dataset cannot be had or a file of it is damaged; the message names file and remedy.
    """
    every = isinstance(classes, str) and classes == "all"
    classes = check_classes(classes)
    check_seed(split_seed, "split_seed")
    val_fraction = number("val_fraction", val_fraction, above=0, below=1)
    dataset = resolve(dataset)
    arrays = _arrays(dataset)
    if every:
        classes = tuple(range(len(class_names(dataset))))
    check_there(classes, dataset)
    pair = len(classes) == 2 and not every
    x, y = _restrict(arrays["x_train"], arrays["y_train"], classes)
    n_val = math.ceil(val_fraction * len(y))
    if not len(classes) <= n_val <= len(y) - len(classes):
        raise UserError(
            f"`val_fraction` must leave an image of each class to train and to validate on; {val_fraction!r} of "
            f"{len(y)} images is {n_val}"
        )
    train, val = train_test_split(np.arange(len(y)), test_size=val_fraction, stratify=y, random_state=split_seed)
    splits = ((x[train], y[train]), (x[val], y[val]), _restrict(arrays["x_test"], arrays["y_test"], classes))
    (x_train, y_train), (x_val, y_val), (x_test, y_test) = ((_pixels(x), _labels(y, pair)) for x, y in splits)
    live = torch.from_numpy(x[train].any(0))
    return Task(dataset, classes, split_seed, x_train, y_train, x_val, y_val, x_test, y_test, live)


def with_train_size(task: Task, n: int, seed: int = 0) -> Task:
    """The task with `n` of its training images, as many of each class as in proportion; all, if it has fewer.

    Validation and test images are left alone. Raises UserError unless `n` is a whole number of at least one image per
    class.
    """
    least = len(task.classes)
    n = whole_number("n", n, least, note="an image of each class")
    if n > len(task.x_train) - least:
        return task
    every = np.arange(len(task.x_train))
    index, _ = train_test_split(every, train_size=n, stratify=task.y_train.numpy(), random_state=seed)
    x, y = task.x_train[index], task.y_train[index]
    return replace(task, x_train=x, y_train=y, live=(x != 0).any(0))


def with_label_noise(task: Task, share: float, noise_seed: int = 0) -> Task:
    """The task with exactly `round(share * N)` of its `N` training labels wrong: each some other class, at random.

    Validation and test labels are left alone. With the same seed, what is wrong at a smaller share is wrong, in the
    same way, at a larger one. Raises UserError unless `share` is a number in [0, 1] and the seed one that NumPy takes.
    """
    wanted = fraction("share", share)
    rng = np.random.default_rng(check_seed(noise_seed, "noise_seed"))
    n, n_classes = len(task.y_train), len(task.classes)
    steps = rng.integers(1, n_classes, n)  # to one of the other classes
    wrong = rng.permutation(n)[: round(wanted * n)]
    labels = task.y_train.numpy().astype(int)
    labels[wrong] = (labels[wrong] + steps[wrong]) % n_classes
    return replace(task, y_train=_labels(labels, task.y_train.is_floating_point()))


def raw_training_images(dataset: str) -> tuple[np.ndarray, np.ndarray]:
    """All training images `(N, features)` in [0, 1] as float32 and their labels `(N,)`, in the files' order."""
    dataset = resolve(dataset)
    return _raw_training_images(dataset, folder.place(dataset) if folder.is_folder(dataset) else None)


@lru_cache(maxsize=1)
def _raw_training_images(dataset: str, place: Path | None) -> tuple[np.ndarray, np.ndarray]:
    arrays = _arrays(dataset)
    return _pixels(arrays["x_train"]).numpy(), arrays["y_train"]


def _arrays(dataset: str) -> dict[str, np.ndarray]:
    """Flat images in their files' own units, and labels, as `x_train, y_train, x_test, y_test`."""
    return folder.read(dataset).arrays if folder.is_folder(dataset) else _fixed(dataset)


@lru_cache(maxsize=2)
def _fixed(dataset: str) -> dict[str, np.ndarray]:
    if dataset != "digits":
        return mnist_files.read(dataset)
    digits = load_digits()
    x_train, x_test, y_train, y_test = train_test_split(
        digits.data, digits.target, test_size=0.25, stratify=digits.target, random_state=0
    )
    return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}


def _restrict(x: np.ndarray, y: np.ndarray, classes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    keep = np.isin(y, classes)
    if missing := set(classes) - set(np.unique(y[keep]).tolist()):
        raise DataError(f"the dataset holds no images of class {sorted(missing)}")
    return x[keep], np.searchsorted(classes, y[keep])


def _pixels(x: np.ndarray) -> Tensor:
    return torch.from_numpy(x).to(torch.float32, copy=True).div_(255 if x.dtype == np.uint8 else 16)


def _labels(y: np.ndarray, pair: bool) -> Tensor:
    return torch.from_numpy(y.astype(np.float32 if pair else np.int64))
