"""Several chapters at a time, each in a process of its own, which runs its kernel and watches it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import psutil

from lowcap.book.execute import Run
from lowcap.errors import BuildError
from lowcap.parallel import end_with

CONTEXT = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
Execution = Callable[[], Run]


def execute_all(jobs: Mapping[str, Execution], at_once: int) -> Iterator[tuple[str, Run]]:
    """Start the jobs in their order, `at_once` at a time, and yield name and run of each as it ends.

    Jobs and runs are pickled. What a job raises is raised here; then, and when the caller stops early (Ctrl-C), the
    processes of the others are ended with their kernels.

    Raises:
        BuildError: a process died, most often for want of memory.
    """
    waiting, running = deque(jobs.items()), dict[Any, tuple[str, BaseProcess]]()
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                name, job = waiting.popleft()
                ours, theirs = CONTEXT.Pipe(duplex=False)
                running[ours] = name, CONTEXT.Process(target=_work, args=(job, theirs, os.getpid()))
                running[ours][1].start()
                theirs.close()
            for ready in wait(list(running)):
                name, process = running[ready]
                run = _outcome(name, ready)
                process.join()
                del running[ready]
                yield name, run
    finally:
        for _, process in running.values():
            _end(process)


def _work(job: Execution, answer: Connection, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which then ends this process
    end_with(parent)
    try:
        outcome: Run | Exception = job()
    except Exception as error:
        outcome = error
    answer.send(outcome)


def _outcome(name: str, ready: Any) -> Run:
    try:
        outcome = ready.recv()
    except EOFError:
        raise BuildError(f"{name}: the process that ran it died; run the same command again, or --at-once 1") from None
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def _end(process: BaseProcess) -> None:
    """End a process with all that it has started."""
    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except (psutil.NoSuchProcess, ValueError):  # it has ended by itself, or was not started
        return
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.join()
