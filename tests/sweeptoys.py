"""Shards that take no time, for the engine and the store of sweeps."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lowcap.sweep.origin import Origin, origin
from lowcap.sweep.plan import Plan


@dataclass(frozen=True)
class Toy:
    """A few rows of chance; a file in `folder` tells of each time that it was computed.

    `fatal` is how many times its worker dies, the first times that it is computed.
    """

    n: int
    folder: str
    fatal: int = 0

    def describe(self) -> dict[str, Any]:
        return {"n": self.n}

    def label(self) -> str:
        return f"toy {self.n}"

    def code(self) -> str:
        return "toy"

    def is_whole(self) -> bool:
        return True

    def rows(self) -> pd.DataFrame:
        before = len(list(Path(self.folder).glob(f"{self.n}.*")))
        Path(self.folder, f"{self.n}.{before}").touch()
        if before < self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        values = np.random.default_rng(self.n).normal(size=(3, 2))
        rows = pd.DataFrame({"n": self.n, "member": range(3), "name": f"number {self.n}"})
        return rows.assign(x=values[:, 0], y=values[:, 1].astype(np.float32), fine=values[:, 0] > 0)


def toys(numbers: Any, folder: Path, *, fatal: dict[int, int] | None = None, source: Origin | None = None) -> Plan:
    """A plan of toys that count their runs in `folder`."""
    folder.mkdir(exist_ok=True)
    jobs = [Toy(n, str(folder), (fatal or {}).get(n, 0)) for n in numbers]
    return Plan("toy", {"n": tuple(numbers)}, source or origin((), "toy"), jobs)


def computed(folder: Path) -> list[str]:
    """Which toys were computed, each as often as it was."""
    return sorted(path.name.split(".")[0] for path in folder.iterdir())
