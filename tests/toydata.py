"""Small stand-ins for data: a synthetic task, and files in MNIST's own format."""

import time
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pytest
import torch

from lowcap import tasks
from lowcap.data import mnist_files
from lowcap.tasks import Task

SMALL = dict(zip(mnist_files.SIZES, (16 + 60 * 784, 8 + 60, 16 + 40 * 784, 8 + 40), strict=True))


def toy_task(n_classes: int = 2, *, n: int = 96, seed: int = 0) -> Task:
    """Noisy prototypes of 12 pixels, of which the first, the fifth and the last are always zero in training."""
    rng = np.random.default_rng(seed)
    dead = [0, 4, 11]
    prototypes = rng.random((n_classes, 12))

    def part() -> tuple[torch.Tensor, torch.Tensor]:
        y = rng.permutation(np.arange(n) % n_classes)
        x = np.clip(prototypes[y] + rng.normal(0, 0.3, (n, 12)), 0, 1).astype(np.float32)
        return torch.from_numpy(x), torch.from_numpy(y.astype(np.float32 if n_classes == 2 else np.int64))

    (x_train, y_train), (x_val, y_val), (x_test, y_test) = part(), part(), part()
    x_train[:, dead] = 0
    live = (x_train != 0).any(0)
    return Task("toy", tuple(range(n_classes)), seed, x_train, y_train, x_val, y_val, x_test, y_test, live)


def write_small(raw: Path, *, seed: int = 0) -> Path:
    """Four files in the format of MNIST, with 60 and 40 images of all ten classes."""
    raw.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name, size in SMALL.items():
        if "images" in name:
            header = np.array([2051, (size - 16) // 784, 28, 28], dtype=">i4").tobytes()
            body = rng.integers(0, 256, size - 16, dtype=np.uint8).tobytes()
        else:
            header = np.array([2049, size - 8], dtype=">i4").tobytes()
            body = (np.arange(size - 8, dtype=np.uint8) % 10).tobytes()
        (raw / name).write_bytes(header + body)
    return raw


def flip_last_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


class Downloads:
    """Stands in for torchvision's classes: counts the calls and writes small files, half of them if `fail` is set."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fail: BaseException | None = None
        self.truncate = False
        self.pause = 0.0  # seconds between the first byte and the last

    def __call__(self, root: str, *, download: bool, name: str) -> None:
        self.calls.append(name)
        raw = Path(root, name, "raw")
        raw.mkdir(parents=True, exist_ok=True)
        time.sleep(self.pause)
        write_small(raw)
        if self.fail or self.truncate:
            (raw / "t10k-labels-idx1-ubyte").unlink()
            (raw / "t10k-images-idx3-ubyte").write_bytes(b"half")
        if self.fail:
            raise self.fail


def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Downloads:
    """No data but what the test puts into `tmp_path / "cache"`, small files count as whole, and no network."""
    downloads = Downloads()
    for name in mnist_files.CLASSES.values():
        monkeypatch.setattr(mnist_files.torchvision.datasets, name, partial(downloads, name=name))
    monkeypatch.setattr(mnist_files, "cache_dir", lambda: tmp_path / "cache")
    monkeypatch.setattr(mnist_files, "SIZES", SMALL)
    whole = write_small(tmp_path / "whole" / "MNIST" / "raw")
    monkeypatch.setattr(mnist_files, "MNIST_MD5", {path.name: mnist_files._md5(path, 0) for path in whole.iterdir()})
    for variable in ("LOWCAP_DATA", "LOWCAP_DATASET"):
        monkeypatch.delenv(variable, raising=False)
    for name, cached in list(vars(tasks).items()):
        if hasattr(cached, "cache_clear"):  # caches of this test's own
            monkeypatch.setattr(tasks, name, lru_cache(**cached.cache_parameters())(cached.__wrapped__))
    return downloads
