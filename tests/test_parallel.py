"""Jobs side by side: in order, with the cores that they may use, and with their errors."""

import multiprocessing
import os
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import torch

from lowcap import parallel
from lowcap.errors import UserError, fraction
from lowcap.parallel import cores, on_cores


def test_results_come_in_the_order_of_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    work = [partial(pow, 2, i) for i in range(5)]
    assert parallel.in_threads(work) == [1, 2, 4, 8, 16]
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    assert parallel.in_processes(work) == [1, 2, 4, 8, 16]


def test_a_job_may_use_the_cores_that_were_allowed_around_it() -> None:
    with on_cores(1):
        assert parallel.in_threads([cores, cores]) == [1, 1]
    with on_cores(3):
        assert parallel.in_threads([cores]) == [3]


def test_processes_are_started_only_where_there_are_cores_for_them() -> None:
    with on_cores(1):
        assert parallel.in_processes([os.getpid] * 3) == [os.getpid()] * 3
    with on_cores(2):
        assert parallel.in_processes([os.getpid]) == [os.getpid()]
        assert os.getpid() not in parallel.in_processes([os.getpid] * 2)
        assert parallel.in_processes([torch.get_num_threads, cores]) == [1, 1]


def test_what_a_job_raises_is_raised_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    with pytest.raises(UserError, match="`share` must be a fraction"):
        parallel.in_processes([partial(fraction, "share", 3)] * 2)


def tell(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(99)


def start_two(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(parallel, "cores", lambda: 2)
        parallel.in_processes([partial(tell, folder)] * 2)


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=start_two, args=(tmp_path,))
    process.start()
    while len(list(tmp_path.iterdir())) < 2:
        assert process.is_alive()
        time.sleep(0.1)
    workers = [psutil.Process(int(path.name)) for path in tmp_path.iterdir()]
    process.kill()
    process.join()
    end = time.monotonic() + 30
    while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers):
        assert time.monotonic() < end
        time.sleep(0.1)
