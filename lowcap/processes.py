"""Independent jobs in processes of their own: where steps are small, the threads of one process wait for each other."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from joblib import Parallel, delayed

from lowcap.convnet import in_threads
from lowcap.training import on_cores


def in_processes(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """The results of the jobs, in their order; each gets a core, fewer jobs than cores share this process's threads.

    Jobs and results are pickled. What a job raises is raised here.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(jobs) < cores or cores == 1:
        return in_threads(jobs)
    return Parallel(cores)(delayed(_alone)(job) for job in jobs)


def _alone(job: Callable[[], Any]) -> Any:
    """The job's result, on one thread, numbers below 1e-38 taken as zero, as everywhere in training."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    with on_cores(1):
        return job()
