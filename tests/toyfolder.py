"""Made-up data of a reader's own, from small digits: folders of images, files in the layout of MNIST's relatives."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from lowcap.data import mnist_files

NAMES = ("apple", "book", "cup", "dog", "egg", "fox", "gate", "hat", "ink", "jar")


def small_digits(label: int) -> np.ndarray:
    """Scikit-learn's 8 x 8 digits of one class as bytes."""
    digits = load_digits()
    return (digits.images[digits.target == label] * 15.9).astype(np.uint8)


def folder(root: Path, n_classes: int = 4, n: int = 90, *, parts: tuple[str, ...] = ("",)) -> Path:
    """Class folders of `n` images each, grey and coloured, of several sizes; with `parts`, once in each of them."""
    for part in parts:
        for label, name in enumerate(NAMES[:n_classes]):
            place = root / part / name
            place.mkdir(parents=True)
            for i, image in enumerate(small_digits(label)[:n]):
                picture = Image.fromarray(image).resize((20 + i % 5, 24))
                (picture if i % 2 else picture.convert("RGB")).save(place / f"{i}.{'png' if i % 3 else 'jpg'}")
    return root


def relative(root: Path, dataset: str) -> Path:
    """Files of full size in torchvision's layout for `fashion-mnist` or `kmnist`: digits, moved and with noise."""
    rng = np.random.default_rng(0)
    raw = root / mnist_files.CLASSES[dataset] / "raw"
    raw.mkdir(parents=True)
    bases = [np.stack([np.asarray(Image.fromarray(i).resize((20, 20))) for i in small_digits(c)]) for c in range(10)]
    for images, labels in (list(mnist_files.SIZES)[:2], list(mnist_files.SIZES)[2:]):
        n = (mnist_files.SIZES[images] - 16) // 784
        y = rng.permutation(np.arange(n) % 10).astype(np.uint8)
        x = rng.integers(0, 60, (n, 28, 28), dtype=np.uint8)
        for label, base in enumerate(bases):
            at = np.flatnonzero(y == label)
            top, left = rng.integers(2, 7, 2)
            x[at, top : top + 20, left : left + 20] |= base[rng.integers(0, len(base), len(at))]
        x[:, 0] = 0
        (raw / images).write_bytes(np.array([2051, n, 28, 28], ">i4").tobytes() + x.tobytes())
        (raw / labels).write_bytes(np.array([2049, n], ">i4").tobytes() + y.tobytes())
    return root
