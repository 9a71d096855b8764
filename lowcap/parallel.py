"""Independent jobs side by side: in threads or, where steps are so small that threads would wait, in processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from functools import cache
from typing import Any

from joblib import Parallel, delayed

from lowcap.training import cores, on_cores, one_thread_each, work_alone

Job = Callable[[], Any]


def in_threads(jobs: Iterable[Job]) -> list[Any]:
    """The results of the jobs, in their order, worked on by one thread per core."""
    each = [(copy_context(), job) for job in jobs]  # so that `on_cores` holds in them too
    with one_thread_each() as pool:
        return list(pool.map(lambda one: one[0].run(one[1]), each))


def in_processes(jobs: Sequence[Job]) -> list[Any]:
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


def _alone(job: Job, parent: int) -> Any:
    end_with(parent)
    work_alone()
    with on_cores(1):
        return job()
