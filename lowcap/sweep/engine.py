"""Drive a sweep: hand out the shards that are missing, keep what comes back, begin again where a worker has died."""

from __future__ import annotations

import io
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from threadpoolctl import threadpool_limits

from lowcap.errors import BuildError
from lowcap.sweep import origin as origins
from lowcap.sweep.grid import Grid
from lowcap.sweep.origin import Origin
from lowcap.sweep.pools import Pool
from lowcap.sweep.store import Store
from lowcap.training import on_cores

DEATHS = 3  # in a row, with nothing finished in between, are enough
TRIES = 2  # that a shard has alone, after a worker has died while it was at work on it


class Job(Protocol):
    """A shard: its rows follow from what it describes and from the origin alone."""

    def describe(self) -> dict[str, Any]: ...
    def label(self) -> str: ...
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
        return origins.digest([about, own])


@dataclass(frozen=True)
class Result:
    """A shard's rows as the bytes of a Parquet file, and what is told of it beside them."""

    payload: bytes
    rows: int
    seconds: float
    worker: str


def work(job: Job, origin: Origin) -> Result:
    """Compute one shard on one core. Raises BuildError where code, versions or data are not those of the sweep."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    if wrong := origins.differences(origin, origins.origin(origin["data"])):
        raise BuildError(f"worker {socket.gethostname()} is not like the others: {'; '.join(wrong)}; make it so")
    with threadpool_limits(1), on_cores(1):
        payload, rows = as_parquet(job.rows())
    return Result(payload, rows, time.perf_counter() - start, f"{socket.gethostname()}:{os.getpid()}")


def as_parquet(frame: pd.DataFrame) -> tuple[bytes, int]:
    """A frame as the bytes of a Parquet file, the same for the same rows, and its number of rows."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    plain = [pa.field(f.name, pa.string() if pa.types.is_large_string(f.type) else f.type) for f in table.schema]
    sink = io.BytesIO()
    pq.write_table(table.cast(pa.schema(plain)), sink, compression="zstd")
    return sink.getvalue(), len(frame)


def run(plan: Plan, out: Path, pool: Pool) -> Path:
    """Compute what is missing in the folder `out`; the path of the file with all rows.

    Raises:
        UserError: the folder cannot be written, or holds something else.
        BuildError: the disk is full, a worker is unlike the others, or workers died again and again. What is finished
            stays, and the same call goes on from there.
    """
    with Store.open(out, plan) as store:
        missing = [job for job in plan.jobs if not (store.has(plan.key(job)) and job.is_whole())]
        progress = Progress(len(plan.jobs), len(plan.jobs) - len(missing), store.notes)
        try:
            compute(missing, plan, store, pool, progress)
        except BaseException:
            progress.end(
                f"{progress.done} of {progress.total} shards are kept in {out}; the same command goes on from there"
            )
            raise
        progress.end()
        return store.finish(plan)


def compute(missing: Iterable[Job], plan: Plan, store: Store, pool: Pool, progress: Progress) -> None:
    """Hand out the jobs. Those at work when a worker died are done last, one by one: so the guilty one is found."""
    todo, suspects, running, deaths = deque(missing), deque[Job](), dict[Future, Job](), 0
    while todo or running:
        while todo and len(running) < pool.slots():
            job = todo.popleft()
            running[pool.submit(work, job, plan.origin)] = job
        lost = _collect(running, plan, store, pool, progress)
        while lost and running:  # what else was at work ends or is lost as well
            lost += _collect(running, plan, store, pool, progress)
        if progress.moved():
            deaths = 0
        if lost:
            suspects += lost
            deaths += 1
            pool.renew()
        if deaths == DEATHS:
            cause = "is there too little memory? Use fewer --workers"
            raise BuildError(f"{DEATHS} workers in a row have died (at {lost[0].label()}); {cause}")
    guilty = [job.label() for job in suspects if not _alone(job, plan, store, pool, progress)]
    if guilty:
        raise BuildError(
            f"each worker died that computed {guilty[0]}" + (f", and {len(guilty) - 1} more" * (len(guilty) > 1))
        )


def _collect(running: dict[Future, Job], plan: Plan, store: Store, pool: Pool, progress: Progress) -> list[Job]:
    """Wait for a job to end and keep what has; the jobs whose worker has died."""
    lost = []
    for future in wait(running, return_when=FIRST_COMPLETED).done:
        job = running.pop(future)
        try:
            result = future.result()
        except pool.deaths:
            lost.append(job)
        except CancelledError:
            raise BuildError("the connection to the Dask scheduler is gone; start it again") from None
        else:
            store.put(plan.key(job), result)
            progress.step()
    return lost


def _alone(job: Job, plan: Plan, store: Store, pool: Pool, progress: Progress) -> bool:
    """Whether the job could be done with nothing beside it."""
    for _ in range(TRIES):
        if not _collect({pool.submit(work, job, plan.origin): job}, plan, store, pool, progress):
            return True
        pool.renew()
    return False


class Progress:
    """How far it is: a line that is written anew on a terminal, and now and then a line elsewhere."""

    EVERY = 30.0  # seconds between lines where there is no terminal

    def __init__(self, total: int, done: int, notes: Iterable[str] = ()):
        self.total = total
        self.done = self.first = self.seen = done
        self.start = self.said = time.monotonic()
        self.live = sys.stderr.isatty()
        for note in notes:
            self._line(note)
        self._say()

    def step(self) -> None:
        """One more shard is finished."""
        self.done += 1
        if self.live or time.monotonic() > self.said + self.EVERY:
            self._say()

    def moved(self) -> bool:
        """Whether any shard was finished since this was last asked."""
        before, self.seen = self.seen, self.done
        return self.done > before

    def end(self, note: str = "") -> None:
        """The last line."""
        self._say()
        if self.live:
            print(file=sys.stderr)
        if note:
            self._line(note)

    def _say(self) -> None:
        self.said, minutes = time.monotonic(), (time.monotonic() - self.start) / 60
        text = f"{self.done} of {self.total} shards"
        if self.done > self.first and minutes > 0:
            rate = (self.done - self.first) / minutes
            text += f", {rate:.1f} per minute, about {(self.total - self.done) / rate:.1f} minutes to go"
        print(f"\r{text:<78}" if self.live else text, end="" if self.live else "\n", file=sys.stderr, flush=True)

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
