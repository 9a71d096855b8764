"""What a sweep computes: its shards in the order of their rows, under one grid and one origin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pandas as pd

from lowcap.dependencies import digest
from lowcap.sweep.grid import Grid
from lowcap.sweep.origin import Origin


class Job(Protocol):
    """A shard: its rows follow from what it describes and from the origin alone; `code` is a hash of its code."""

    def describe(self) -> dict[str, Any]: ...
    def label(self) -> str: ...
    def code(self) -> str: ...
    def is_whole(self) -> bool: ...
    def rows(self) -> pd.DataFrame: ...


@dataclass(frozen=True)
class Plan:
    """What is to be computed: the name and grid that were asked for, the shards in the order of their rows."""

    experiment: str
    grid: Grid
    origin: Origin
    jobs: Sequence[Job]

    def key(self, job: Job) -> str:
        """The name of a shard: a hash of all that its rows depend on."""
        about = job.describe()
        data = self.origin["data"]
        own = {**self.origin, "data": data.get(about.get("dataset"), data)}
        return digest([about, own])


@dataclass(frozen=True)
class Result:
    """A shard's rows as the bytes of a Parquet file, and what is told of it beside them."""

    payload: bytes
    rows: int
    seconds: float
    worker: str
