"""The sweep that a command line asks for, from its words to its files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

from lowcap import tasks
from lowcap.errors import UserError
from lowcap.parallel import cores
from lowcap.sweep import engine, plan, pools, shards
from lowcap.sweep.grid import parse
from lowcap.sweep.origin import origin

MOST_SHARDS = 1_000_000
CHAPTER = "chapter:"


def sweep(
    experiment: str,
    assignments: Sequence[str],
    out: Path,
    workers: int | None = None,
    backend: str = "loky",
    scheduler: str | None = None,
) -> Path:
    """Run or go on with a sweep; the path of its rows, or of a chapter's gallery.

    Args:
        experiment: one of `shards.NAMES`, or `chapter:` and a chapter's id.
        assignments: the grid, an `axis=values` each.
        workers: processes of this machine (1: this one); None takes one per core.

    Raises:
        UserError: what is asked for cannot be; DataError: the data cannot be had; BuildError: as `engine.run` does.
    """
    pools.check(backend, scheduler)
    if experiment.startswith(CHAPTER):
        from lowcap.sweep import chapters

        plan = chapters.plan(experiment.removeprefix(CHAPTER), assignments, out.resolve(), backend)
    else:
        plan = planned(experiment, assignments)
    count = min(workers or cores(), len(plan.jobs))
    with closing(pools.pool(backend, count, scheduler)) as pool:
        path = engine.run(plan, out, pool)
    if experiment.startswith(CHAPTER):
        from lowcap.sweep import gallery

        path = gallery.make(cast(Sequence[chapters.ChapterRun], plan.jobs), out)
    print(
        f"The rows of {len(plan.jobs)} shards are in {out / 'rows.parquet'}, what they are in {out / 'manifest.json'}"
    )
    return path


def planned(experiment: str, assignments: Sequence[str]) -> plan.Plan:
    """The plan of one of the package's own experiments. Raises as `sweep` does."""
    grid = parse(assignments, shards.axes(experiment))
    shards.check(experiment, grid)
    grid["dataset"] = tuple(dict.fromkeys(tasks.resolve(name) for name in grid["dataset"]))
    jobs = []
    for shard in shards.shards(experiment, grid):
        jobs.append(shard)
        if len(jobs) > MOST_SHARDS:
            raise UserError(
                f"the grid has more than {MOST_SHARDS:,} shards; sweep a part of it into each of several --out"
            )
    return plan.Plan(experiment, grid, origin(grid["dataset"], jobs[0].code()), jobs)
