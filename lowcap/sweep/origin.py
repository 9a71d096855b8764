"""What the numbers of a sweep come from besides its grid: code, versions, kind of machine, data.

It is part of the name under which a shard is kept, and each worker makes sure that its own is the same.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lowcap
from lowcap import tasks

PACKAGES = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "torch", "torchvision")
Origin = dict[str, Any]


@lru_cache(maxsize=1)
def code() -> str:
    """A hash of this package's modules that compute something."""
    package = Path(lowcap.__file__).parent
    files = [*sorted(package.glob("*.py")), package / "sweep" / "experiments.py", package / "sweep" / "chapters.py"]
    return digest([(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files])


def origin(datasets: Iterable[str]) -> Origin:
    """Where numbers computed here, now, on these datasets come from."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    data = {name: _identity(name) for name in datasets}
    return {"code": code(), "versions": versions, "machine": platform.machine(), "data": data}


@lru_cache(maxsize=8)
def _identity(dataset: str) -> dict[str, Any]:
    return tasks.identity(dataset)


def differences(old: Origin, new: Origin) -> list[str]:
    """In words, how two origins differ; data that only one of them has do not count."""
    found = []
    if old["code"] != new["code"]:
        found.append("lowcap's code is another")
    if old["machine"] != new["machine"]:
        found.append(f"the machine is {new['machine']} instead of {old['machine']}")
    for name, number in old["versions"].items():
        if new["versions"].get(name) != number:
            found.append(f"{name} is {new['versions'].get(name)} instead of {number}")
    both = old["data"].keys() & new["data"].keys()
    found += [f"the files of {name} are others" for name in sorted(both) if old["data"][name] != new["data"][name]]
    return found


def digest(value: Any) -> str:
    """A hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]
