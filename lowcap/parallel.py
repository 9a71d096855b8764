"""Cores, threads and processes: how independent work is spread over the machine without changing a number."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import cache
from typing import Any

import torch
from joblib import Parallel, delayed

Work = Callable[[], Any]
_cores: ContextVar[int | None] = ContextVar("cores", default=None)  # that may be used; None: all of this process


def cores() -> int:
    """How many cores may be used here: those of `on_cores`, else all that this process has."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return _cores.get() or own


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Let what is trained in this block use so many cores, as one of several processes that share a machine."""
    token = _cores.set(count)
    try:
        yield
    finally:
        _cores.reset(token)


@contextmanager
def one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """A pool of one worker per core, set up by `work_alone`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(cores(), initializer=work_alone) as pool:
            yield pool
    finally:
        torch.set_num_threads(threads)


def work_alone() -> None:
    """Let this thread's matrix products use one thread, and its numbers below 1e-38 be zero.

    The momentum of a unit that died or of a pixel that is seldom lit fades to such numbers, and processors are slow
    with them.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def in_threads(jobs: Iterable[Work]) -> list[Any]:
    """The results of the jobs, in their order, worked on by one thread per core."""
    each = [(copy_context(), job) for job in jobs]  # so that `on_cores` holds in them too
    with one_thread_each() as pool:
        return list(pool.map(lambda one: one[0].run(one[1]), each))


def in_processes(jobs: Sequence[Work]) -> list[Any]:
    """The results of the jobs, in their order; each gets a core, fewer jobs than cores share this process's threads.

    Jobs and results are pickled. What a job raises is raised here.
    """
    count = cores()
    if len(jobs) < count or count == 1:
        return in_threads(jobs)
    return Parallel(count)(delayed(_alone)(job, os.getpid()) for job in jobs)


@cache
def end_with(parent: int) -> None:
    """Let this process end when the one that started it has ended, even if that was killed."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _alone(job: Work, parent: int) -> Any:
    end_with(parent)
    work_alone()
    with on_cores(1):
        return job()
