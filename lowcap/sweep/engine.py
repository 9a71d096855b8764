"""Drive a sweep: hand out the shards that are missing, keep what comes back, begin again where a worker has died."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lowcap.errors import BuildError
from lowcap.progress import Progress
from lowcap.sweep.plan import Job, Plan
from lowcap.sweep.pools import Pool
from lowcap.sweep.store import Store
from lowcap.sweep.work import work

EVERY = 30.0  # seconds between lines on how far it is, where there is no terminal
DEATHS = 3  # in a row, with nothing finished in between, are enough
TRIES = 2  # that a shard has alone, after a worker has died while it was at work on it


def run(plan: Plan, out: Path, pool: Pool) -> Path:
    """Compute what is missing in the folder `out`; the path of the file with all rows.

    Raises:
        UserError: the folder cannot be written, or holds something else.
        BuildError: the disk is full, a worker is unlike the others, or workers died again and again. What is finished
            stays, and the same call goes on from there.
    """
    with Store.open(out, plan) as store:
        missing = [job for job in plan.jobs if not (store.has(plan.key(job)) and job.is_whole())]
        kept = len(plan.jobs) - len(missing)
        progress = Progress(partial(_rated, kept), every=EVERY)
        for note in store.notes:
            progress.note(note)
        try:
            progress.show(kept, len(plan.jobs))
            _Run(plan, store, pool, progress).compute(missing)
        except BaseException:
            progress.close()
            progress.note(
                f"{progress.done} of {progress.total} shards are kept in {out}; the same command goes on from there"
            )
            raise
        progress.close()
        return store.finish(plan)


def _rated(kept: int, done: int, total: int, seconds: float) -> str:
    """How far a sweep is that began with `kept` shards, how fast it goes on, and how long that takes yet."""
    said = f"{done} of {total} shards"
    if done > kept and seconds > 0:
        rate = (done - kept) / seconds * 60
        said += f", {rate:.1f} per minute, about {(total - done) / rate:.1f} minutes to go"
    return said


@dataclass(frozen=True)
class _Run:
    """A sweep under way."""

    plan: Plan
    store: Store
    pool: Pool
    progress: Progress

    def compute(self, missing: Iterable[Job]) -> None:
        """Hand out the jobs. Those at work when a worker died are done last, one by one: so the guilty one is found."""
        todo, suspects, running, deaths = deque(missing), deque[Job](), dict[Future, Job](), 0
        done = self.progress.done
        while todo or running:
            while todo and len(running) < self.pool.slots():
                job = todo.popleft()
                running[self._submit(job)] = job
            lost = self._collect(running)
            while lost and running:  # what else was at work ends or is lost as well
                lost += self._collect(running)
            if self.progress.done > done:
                done, deaths = self.progress.done, 0
            if lost:
                suspects += lost
                deaths += 1
                self.pool.renew()
            if deaths == DEATHS:
                cause = "is there too little memory? Use fewer --workers"
                raise BuildError(f"{DEATHS} workers in a row have died (at {lost[0].label()}); {cause}")
        if guilty := [job.label() for job in suspects if not self._alone(job)]:
            more = f", and {len(guilty) - 1} more" if len(guilty) > 1 else ""
            raise BuildError(f"each worker died that computed {guilty[0]}{more}")

    def _submit(self, job: Job) -> Future:
        return self.pool.submit(work, job, self.plan.origin)

    def _collect(self, running: dict[Future, Job]) -> list[Job]:
        """Wait for a job to end and keep what has; the jobs whose worker has died."""
        lost = []
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job = running.pop(future)
            try:
                result = future.result()
            except self.pool.deaths:
                lost.append(job)
            except CancelledError:
                raise BuildError("the connection to the Dask scheduler is gone; start it again") from None
            else:
                self.store.put(self.plan.key(job), result)
                self.progress.step()
        return lost

    def _alone(self, job: Job) -> bool:
        """Whether the job could be done with nothing beside it."""
        for _ in range(TRIES):
            if not self._collect({self._submit(job): job}):
                return True
            self.pool.renew()
        return False
