"""What the numbers of a sweep come from besides its grid: code, versions, kind of machine, data.

It is part of the name under which a shard is kept, and each worker makes sure that its own is the same.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from lowcap import tasks
from lowcap.provenance import COMPUTING, versions

PACKAGES = (*COMPUTING, "pyarrow")  # which writes the rows
Origin = dict[str, Any]


def origin(datasets: Iterable[str], code: str, packages: Iterable[str] = PACKAGES) -> Origin:
    """Where numbers computed here, now, on these datasets come from; `code` is the hash that `Job.code` gives."""
    data = {name: _identity(name) for name in datasets}
    return {"code": code, "versions": versions(packages), "machine": platform.machine(), "data": data}


def here(code: str, other: Origin) -> Origin:
    """What would stand in place of an `other` origin if the sweep had begun here."""
    return origin(other["data"], code, other["versions"].keys() - {"python"})


@lru_cache(maxsize=8)
def _identity(dataset: str) -> dict[str, Any]:
    return tasks.identity(dataset)


def differences(old: Origin, new: Origin) -> list[str]:
    """In words, how two origins differ; data that only one of them has do not count."""
    found = []
    if old["code"] != new["code"]:
        found.append("lowcap's code differs")
    if old["machine"] != new["machine"]:
        found.append(f"the machine is {new['machine']} instead of {old['machine']}")
    for name, number in old["versions"].items():
        if new["versions"].get(name) != number:
            found.append(f"{name} is {new['versions'].get(name)} instead of {number}")
    both = old["data"].keys() & new["data"].keys()
    found += [f"the files of {name} differ" for name in sorted(both) if old["data"][name] != new["data"][name]]
    return found
