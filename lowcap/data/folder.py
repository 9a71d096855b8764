"""Images of a reader's own: a folder with one folder of images per class, as torchvision's `ImageFolder` reads it.

Classes are numbered from 0 in the alphabetical order of their folders' names. Images become grey, 28 x 28, 0 (black) to
255. Where the folder holds `train` and `test`, these are the splits; else a fixed stratified quarter serves as test
split. Nothing is ever written there, and what cannot be read stops everything, with the name of the file.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from sklearn.model_selection import train_test_split

from lowcap.data.vision import torchvision
from lowcap.errors import DataError, UserError

PREFIX = "folder:"
SIDE = 28
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # PIL would also start other programs for some formats
SMALLEST, LARGEST = 4, 50_000_000  # pixels: of a side, and of the whole image (more is a decompression bomb)
MOST_CLASSES, MOST_IMAGES = 10, 200_000
LEAST = {"train": 30, "test": 10}  # images per class; fewer leave nothing to hold out, to prune or to map
TEST_SHARE = 0.25


@dataclass(frozen=True)
class OwnImages:
    """What a folder holds: flat images `(N, 784)` as bytes with labels, the names of the classes, and checksums."""

    arrays: dict[str, np.ndarray]
    names: tuple[str, ...]
    sums: dict[str, str]
    source: str


def is_folder(dataset: str) -> bool:
    """Whether a dataset's name means a folder of the reader's."""
    return dataset.startswith(PREFIX)


def place(dataset: str) -> Path:
    """The folder that `folder:PATH` names. A relative path starts where the command was given: LOWCAP_FROM, if it is
    set (a chapter's kernel works in another folder), else the working directory."""
    start = os.environ.get("LOWCAP_FROM") or os.getcwd()
    return Path(os.path.normpath(os.path.join(start, os.path.expanduser(dataset.removeprefix(PREFIX)))))


def read(dataset: str) -> OwnImages:
    """All images of `folder:PATH`, read once per process.

    Raises:
        UserError: there is no such folder.
        DataError: fewer than two classes or more than ten, too few images of a class, an image that cannot be read, or
            one that is too small or too large. The message names the folder or file and the remedy.
    """
    path = place(dataset)
    try:
        there = path.is_dir() and os.access(path, os.R_OK | os.X_OK)
    except (OSError, ValueError):  # a name that no system takes
        there = False
    if not there:
        raise UserError(
            f"`dataset` must name a folder that can be read, with one folder of images per class; got {dataset!r}, "
            f"and there is no such folder: {str(path)!r}"
        )
    return _read(path)


@lru_cache(maxsize=1)
def _read(path: Path) -> OwnImages:
    parts = {part: path / part for part in LEAST}
    if all(_classes(folder) for folder in parts.values()):
        x, y, names, sums = _part(parts["train"], LEAST["train"])
        x_test, y_test, others, sums_test = _part(parts["test"], LEAST["test"])
        if others != names:
            raise DataError(
                f"{parts['train']} and {parts['test']} must hold the same classes; got {', '.join(names)} and "
                f"{', '.join(others)}; move or rename folders"
            )
        arrays = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}
        sums = {f"train/{k}": v for k, v in sums.items()} | {f"test/{k}": v for k, v in sums_test.items()}
        return OwnImages(arrays, names, sums, "a folder of images, with train and test")
    x, y, names, sums = _part(path, sum(LEAST.values()))
    train, test = train_test_split(np.arange(len(y)), test_size=TEST_SHARE, stratify=y, random_state=0)
    arrays = {"x_train": x[train], "y_train": y[train], "x_test": x[test], "y_test": y[test]}
    return OwnImages(arrays, names, sums, "a folder of images, a quarter of them held out for the test")


class _Listed(torchvision.datasets.ImageFolder):
    """Torchvision's folder of class folders, without hidden ones; its images are read by `_pixels`."""

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        names = _classes(Path(directory))
        return names, {name: i for i, name in enumerate(names)}


def _classes(folder: Path) -> list[str]:
    """The names of the class folders in `folder`, in alphabetical order; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] not in "._")


def _part(folder: Path, least: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], dict[str, str]]:
    """Images, labels, classes and a checksum per class of one folder of class folders."""
    names = _classes(folder)
    if not 2 <= len(names) <= MOST_CLASSES:
        held = ", ".join(names[:20]) or "none"
        raise DataError(
            f"{folder} must hold from 2 to {MOST_CLASSES} folders, one per class, with images in them; "
            f"got {len(names)} ({held}); point `dataset` at the folder that holds the class folders"
        )
    listed = _Listed(str(folder), is_valid_file=_looks_like_image, allow_empty=True).samples
    if len(listed) > MOST_IMAGES:
        raise DataError(f"{folder} holds {len(listed):,} images; at most {MOST_IMAGES:,} are read; take a part of them")
    again = [file for file, n in Counter(os.path.realpath(file) for file, _ in listed).items() if n > 1]
    if again:
        raise DataError(f"{folder} leads to {again[0]} more than once, by links; remove all but one")
    counts = Counter(label for _, label in listed)
    few = [f"{name} has {counts[i]}" for i, name in enumerate(names) if counts[i] < least]
    if few:
        kinds = ", ".join(torchvision.datasets.folder.IMG_EXTENSIONS)
        raise DataError(
            f"{folder} must hold at least {least} images of each class ({kinds}); {', '.join(few)}; add images or "
            "move the folder away"
        )
    images, sums = (
        np.empty((len(listed), SIDE * SIDE), np.uint8),
        {name: hashlib.md5(usedforsecurity=False) for name in names},
    )
    for i, (file, label) in enumerate(listed):
        images[i], digest = _pixels(Path(file))
        sums[names[label]].update(f"{Path(file).relative_to(folder / names[label]).as_posix()}\0{digest}\n".encode())
    labels = np.array([label for _, label in listed])
    _not_blank(folder, names, images, labels)
    return images, labels, tuple(names), {name: found.hexdigest() for name, found in sums.items()}


def _looks_like_image(file: str) -> bool:
    return not Path(file).name.startswith(".") and file.lower().endswith(torchvision.datasets.folder.IMG_EXTENSIONS)


def _not_blank(folder: Path, names: list[str], images: np.ndarray, labels: np.ndarray) -> None:
    """Refuse a class of which no image shows anything, such as black lines on a transparent ground."""
    blank = np.ptp(images, axis=1) == 0
    for label, name in enumerate(names):
        if blank[labels == label].all():
            raise DataError(
                f"every image in {folder / name} is one even shade (what is transparent counts as black); save them "
                "with the ground that they are meant to have"
            )


def _pixels(file: Path) -> tuple[np.ndarray, str]:
    """One image as 784 bytes, and the MD5 of its file. DataError for whatever is wrong with it."""
    try:
        content = file.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is too large is refused below
            with Image.open(BytesIO(content), formats=FORMATS) as image:
                size = image.size
                if min(size) >= SMALLEST and size[0] * size[1] <= LARGEST:
                    return _grey(image), hashlib.md5(content, usedforsecurity=False).hexdigest()
    except Image.DecompressionBombError:
        raise DataError(f"{file} has too many pixels; {_sizes()}; shrink it or remove it") from None
    except Exception as error:  # decoders raise nearly anything on damaged files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{file} cannot be read as an image ({reason[:200]}); replace it or remove it") from error
    raise DataError(f"{file} is {size[0]} x {size[1]} pixels; {_sizes()}; shrink, replace or remove it")


def _sizes() -> str:
    return f"images have sides of {SMALLEST} or more and at most {LARGEST:,} pixels in all"


def _grey(image: Image.Image) -> np.ndarray:
    """Upright, grey, 28 x 28, flat; transparent parts black; 16 bits a pixel scaled to 8."""
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        upright = Image.fromarray((np.asarray(upright) / 257).clip(0, 255).astype(np.uint8))
    elif upright.mode == "F":
        raise ValueError("its pixels are floating-point numbers, of unknown range")
    elif upright.mode in ("LA", "PA", "RGBA") or "transparency" in upright.info:
        seen = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", seen.size, "black"), seen)
    small = upright.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(small).reshape(-1)
