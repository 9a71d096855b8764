"""Where shards are computed: in this process, by loky's processes on this machine, or by a Dask cluster.

All three take jobs and give futures. joblib brings loky; `joblib.Parallel` itself is not used, since under Dask it
waits for ever for a job whose worker has died.
"""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

import torch
from threadpoolctl import threadpool_limits

from lowcap.errors import BuildError, UserError, one_of
from lowcap.parallel import end_with

PATIENCE = 30.0  # seconds that a cluster has to answer, and to show its first worker
BACKENDS = ("loky", "dask")


class Pool(Protocol):
    """`deaths` are the exceptions that say that a worker has died under a job."""

    deaths: tuple[type[BaseException], ...]

    def slots(self) -> int:
        """How many jobs to hand over at a time: those at work, and one more for each to begin at once."""

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future:
        """Hand over a job."""

    def renew(self) -> None:
        """After a death, make sure that there are workers again."""

    def close(self) -> None:
        """End what still runs."""


class Here:
    """This very process, one job after another."""

    deaths: tuple[type[BaseException], ...] = ()

    def __init__(self) -> None:
        self._threads, self._limits = torch.get_num_threads(), threadpool_limits(1)

    def slots(self) -> int:
        return 1

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def renew(self) -> None:
        """Nobody can have died."""

    def close(self) -> None:
        self._limits.restore_original_limits()
        torch.set_num_threads(self._threads)


class Loky:
    """So many processes of this machine, each on one thread."""

    def __init__(self, workers: int):
        from joblib.externals.loky.process_executor import BrokenProcessPool

        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")  # and is replaced
        self._workers = workers
        self.deaths: tuple[type[BaseException], ...] = (BrokenProcessPool,)
        self.renew()

    def slots(self) -> int:
        return 2 * self._workers

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future:
        return self._executor.submit(work, *arguments)

    def renew(self) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        alone = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._executor = ProcessPoolExecutor(self._workers, initializer=begin, initargs=(os.getpid(),), env=alone)

    def close(self) -> None:
        self._executor.shutdown(wait=True, kill_workers=True)


class Dask:
    """The workers of a running Dask cluster; they need the same lowcap, packages and data."""

    def __init__(self, address: str):
        try:
            from distributed import Client, KilledWorker
        except ImportError:
            raise UserError("`--backend dask` needs the package distributed: pip install 'lowcap[sweep]'") from None
        self.deaths: tuple[type[BaseException], ...] = (KilledWorker,)
        try:
            self._client = Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            hint = "start one with `dask scheduler`, and `dask worker ADDRESS --nthreads 1` on each machine"
            raise UserError(
                f"`--scheduler` must be the address of a Dask scheduler; got {address} ({error}); {hint}"
            ) from None
        try:
            self._client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            self.close()
            raise BuildError(
                f"the Dask scheduler at {address} has no workers; start some: dask worker {address} --nthreads 1"
            ) from None
        self._executor = self._client.get_executor(pure=False)

    def slots(self) -> int:
        return max(1, 2 * sum(self._client.ncores().values()))

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future:
        return self._executor.submit(work, *arguments)

    def renew(self) -> None:
        """The cluster replaces its workers itself."""

    def close(self) -> None:
        self._client.close()


def check(backend: str, scheduler: str | None) -> None:
    """Raises UserError for an unknown backend, and for a scheduler without Dask or Dask without one."""
    one_of("--backend", backend, BACKENDS)
    if backend == "dask" and not scheduler:
        raise UserError("`--backend dask` needs --scheduler ADDRESS, such as tcp://127.0.0.1:8786")
    if backend != "dask" and scheduler:
        raise UserError("`--scheduler` goes with --backend dask; leave it out, or add that")


def pool(backend: str, workers: int, scheduler: str | None) -> Pool:
    """The pool that is asked for. Raises UserError and BuildError as `check` and `Dask` do."""
    check(backend, scheduler)
    if scheduler:
        return Dask(scheduler)
    return Here() if workers == 1 else Loky(workers)


def begin(parent: int) -> None:
    """Set up a process of loky: Ctrl-C is the parent's to handle, and when the parent is gone, so is this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with(parent)
