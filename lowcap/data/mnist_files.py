"""MNIST and its relatives on disk: found, downloaded by torchvision, and never used unless whole.

The files lie in torchvision's layout, `ROOT/MNIST/raw/train-images-idx3-ubyte` and so on. `ROOT` is the environment
variable LOWCAP_DATA (only read) or the cache (the checkout's `data/`, else `~/.cache/lowcap`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path

import numpy as np
from filelock import FileLock

from lowcap.data.vision import torchvision
from lowcap.errors import DataError

parse = torchvision.datasets.mnist.read_sn3_pascalvincent_tensor
CLASSES = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}  # name -> torchvision's class, folder
SIZES = {  # of all three: 60,000 and 10,000 images of 28 x 28 bytes behind a header of 16, labels behind one of 8
    "train-images-idx3-ubyte": 16 + 60_000 * 784,
    "train-labels-idx1-ubyte": 8 + 60_000,
    "t10k-images-idx3-ubyte": 16 + 10_000 * 784,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}
MNIST_MD5 = dict(
    zip(
        SIZES,
        (
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
        strict=True,
    )
)
MANIFEST = "md5.json"  # written beside files whose archives torchvision has verified
TIMEOUT = 30  # seconds without an answer before a download counts as failed


class Unavailable(DataError):
    """A dataset that is neither on disk nor to be downloaded."""


def cache_dir() -> Path:
    """Where downloads go."""
    checkout = Path(__file__).resolve().parents[2] / "data"
    return checkout if (checkout / "README.md").exists() else Path.home() / ".cache" / "lowcap"


def fetch(dataset: str) -> tuple[Path, dict[str, str]]:
    """The folder of a dataset's raw files and the MD5 of each, after a download if need be.

    Raises:
        Unavailable: it is not on disk and cannot be downloaded.
        DataError: a file is missing, truncated or altered.
    """
    folder = Path(CLASSES[dataset]) / "raw"
    for root in roots():
        if (root / folder).is_dir():
            return root / folder, verify(root / folder, dataset)
    _download(dataset, cache_dir())
    return cache_dir() / folder, verify(cache_dir() / folder, dataset)


def roots() -> list[Path]:
    """The folders in which data are looked for, in this order."""
    own = os.environ.get("LOWCAP_DATA")
    return [*([Path(own)] if own else []), cache_dir()]


def read(dataset: str) -> dict[str, np.ndarray]:
    """Images `(N, 784)` as bytes and labels `(N,)`, as `x_train, y_train, x_test, y_test`, from verified files.

    The raw files are read themselves: torchvision's classes would prefer an old, unverified copy in `processed/`.
    """
    raw, _ = fetch(dataset)
    names = dict(zip(("x_train", "y_train", "x_test", "y_test"), SIZES, strict=True))
    arrays = {key: _parse(raw / name, key) for key, name in names.items()}
    return {key: a.reshape(len(a), -1) if key.startswith("x") else a.astype(np.int64) for key, a in arrays.items()}


def _parse(path: Path, key: str) -> np.ndarray:
    """What a file holds: bytes, of the shape that its size has room for, and labels that are classes."""
    try:
        found = parse(str(path)).numpy()
    except (AssertionError, LookupError, ValueError, RuntimeError, OverflowError, MemoryError) as error:
        raise DataError(f"{path} does not hold images or labels; {_remedy(path)}") from error
    images = key.startswith("x")
    room = ((SIZES[path.name] - 16) // 784, 28, 28) if images else (SIZES[path.name] - 8,)
    if found.dtype != np.uint8 or found.shape != room or not (images or found.max(initial=0) <= 9):
        raise DataError(f"{path} does not hold images or labels as it should; {_remedy(path)}")
    return found


def verify(raw: Path, dataset: str) -> dict[str, str]:
    """The MD5 of each raw file, by name.

    Raises:
        DataError: a file is missing, has not its size, or is not what was published (for MNIST) or verified when it
            was downloaded (for the others).
    """
    known = MNIST_MD5 if dataset == "mnist" else _manifest(raw / MANIFEST)
    return {name: _verify_file(raw / name, size, known.get(name)) for name, size in SIZES.items()}


def _manifest(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text())) if path.exists() else {}
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged; {_remedy(path)}") from error


def _remedy(path: Path) -> str:
    dataset = {folder: name for name, folder in CLASSES.items()}[path.parts[-3]]
    return f"delete the folder {path.parents[1]} and run `lowcap data --dataset {dataset}` to fetch it again"


def _verify_file(path: Path, size: int, md5: str | None) -> str:
    remedy = _remedy(path)
    if not path.is_file():
        raise DataError(f"{path} is missing; {remedy}")
    if (found := path.stat().st_size) != size:
        raise DataError(f"{path} is damaged: expected {size:,} bytes, found {found:,}; {remedy}")
    digest = _md5(path, path.stat().st_mtime_ns)
    if md5 is not None and digest != md5:
        raise DataError(f"{path} is damaged: expected MD5 {md5}, found {digest}; {remedy}")
    return digest


@lru_cache(maxsize=64)
def _md5(path: Path, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _download(dataset: str, root: Path) -> None:
    """Download aside, verify, then rename: an interrupted download leaves nothing that looks complete."""
    name = CLASSES[dataset]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{name}.lock"):
            if (root / name).is_dir():  # another process was quicker
                return
            for left in root.glob(f".{name}-*"):  # by a process that was killed
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(dir=root, prefix=f".{name}-") as aside, _impatient():
                getattr(torchvision.datasets, name)(aside, download=True)
                sums = verify(Path(aside, name, "raw"), dataset)
                Path(aside, name, "raw", MANIFEST).write_text(json.dumps(sums, indent=1))
                Path(aside, name).replace(root / name)
    except (RuntimeError, OSError, HTTPException) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1].split("; delete")[0]
        looked = " or ".join(str(folder / name / "raw") for folder in roots())
        raise Unavailable(
            f"{dataset} is not in {looked} and could not be downloaded ({reason}); connect to the network and try "
            f"again, or set LOWCAP_DATA to a folder that holds {name}/raw/{next(iter(SIZES))} and its three companions"
        ) from error


@contextmanager
def _impatient() -> Iterator[None]:
    """Let connections that stay silent fail: torchvision sets no time limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
