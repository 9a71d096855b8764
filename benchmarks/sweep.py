"""How sweeps scale: `python -m benchmarks.sweep --help`. All ratios come from interleaved rounds on one machine."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.__main__ import machine
from benchmarks.measure import spread
from benchmarks.readme import into
from benchmarks.sweep_report import END, START, as_markdown, plot
from lowcap.parallel import on_cores
from lowcap.sweep import engine, plan, shards
from lowcap.sweep.command import planned
from lowcap.sweep.plan import Plan
from lowcap.sweep.pools import Dask, Here, Loky, Pool
from lowcap.sweep.work import work
from lowcap.tasks import resolve

WIDTHS = (2, 4, 8, 16, 32, 64)  # of the sweep that is reckoned up: an even number of seeds fills a shard
# Dask looks at what its workers run a hundred times a second, and has them hand freed memory back at once.
CALM = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__NANNY__PRE_SPAWN_ENVIRON__MALLOC_TRIM_THRESHOLD_": str(2**27),
}
TOY = ["dataset=digits", "pair=4-9", "width=1", "seed=0", "epochs=1"]
WORKERS = 2
PARTS = ("costs", "memory", "scaling", "full_shard")


def plan_of(dataset: str, n_shards: int, fast: bool) -> Plan:
    """Shards of a few seconds each, all alike."""
    size = ["width=2", "seed=0:1", "epochs=2"] if fast else ["width=8,16,24", "seed=0:9", "epochs=12"]
    return planned("capacity", [f"dataset={dataset}", "pair=4-9", f"split=0:{n_shards - 1}", *size])


def timed(plan: Plan, pool: Pool) -> dict[str, float]:
    """Wall-clock seconds of a sweep, those that the workers spent within shards, and what is lost between them.

    The overhead is how much longer the workers were held than they worked; starting them is not part of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        engine.run(plan, Path(folder, "out"), pool)
        wall = time.perf_counter() - start
        shards = json.loads(Path(folder, "out", "manifest.json").read_text())["shards"]
    busy, workers = sum(s["seconds"] for s in shards), len({s["worker"] for s in shards})
    return {"wall": wall, "busy": busy, "overhead": wall * workers / busy - 1, "per_minute": 60 * len(shards) / wall}


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """A Dask scheduler and so many workers as processes of their own, on loopback; the scheduler's address."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "scheduler.json")
        common = {"cwd": folder, "env": os.environ | CALM, "stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        where = ["--scheduler-file", str(file), "--no-dashboard"]
        dask = [sys.executable, "-m", "dask"]
        local = ["--host", "127.0.0.1"]
        with subprocess.Popen([*dask, "scheduler", "--port", "0", *local, *where], **common) as scheduler:
            each = ["--nworkers", str(workers), "--nthreads", "1", "--local-directory", folder]
            with subprocess.Popen([*dask, "worker", *local, *where, *each], **common) as worker:
                try:
                    while not file.exists():
                        time.sleep(0.1)
                    yield json.loads(file.read_text())["address"]
                finally:
                    worker.terminate()
                    scheduler.terminate()


def scaling(dataset: str, rounds: int, fast: bool) -> dict:
    """One process against two, loky against Dask, in turn."""
    n_shards = 4 if fast else 8
    plan, warm = plan_of(dataset, n_shards, fast), plan_of(dataset, WORKERS, True)
    runs: dict[str, list[dict[str, float]]] = {"one": [], "loky": [], "dask": []}
    with closing(Loky(WORKERS)) as loky, cluster(WORKERS) as address, closing(Dask(address)) as dask:
        start = {
            name: timed(warm, pool)["wall"] for name, pool in (("loky", loky), ("dask", dask))
        }  # the data are read
        for number in range(rounds):
            print(f"workers: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            with closing(Here()) as here:
                runs["one"].append(timed(plan, here))
            runs["loky"].append(timed(plan, loky))
            runs["dask"].append(timed(plan, dask))
    ratios = {name: [a["wall"] / b["wall"] for a, b in zip(runs["one"], runs[name], strict=True)] for name in runs}
    against = [d["wall"] / k["wall"] - 1 for d, k in zip(runs["dask"], runs["loky"], strict=True)]
    return {
        "shards": n_shards,
        "seconds_per_shard": statistics.median(run["busy"] / n_shards for run in runs["one"]),
        "start": start,
        "per_minute": {name: spread([run["per_minute"] for run in found]) for name, found in runs.items()},
        "speedup": {name: spread(ratios[name]) for name in ("loky", "dask")},
        "overhead": {name: spread([run["overhead"] for run in found]) for name, found in runs.items()},
        "dask_against_loky": spread(against),
        "targets": {"speedup": 1.7, "overhead": 0.1},
    }


def memory(counts: tuple[int, ...]) -> list[dict]:
    """The most memory that a process held over so many tiny shards, and its own seconds per shard for keeping them."""
    code = "import json, sys; from benchmarks import sweep; print(json.dumps(sweep.toys(int(sys.argv[1]))))"
    found = []
    for count in counts:
        print(f"memory: {count} shards", file=sys.stderr, flush=True)
        run = subprocess.run([sys.executable, "-c", code, str(count)], capture_output=True, text=True, check=True)
        found.append(json.loads(run.stdout.splitlines()[-1]))
    return found


class Ready(Here):
    """Has every shard's result at once, so that only keeping it takes time."""

    def __init__(self, result: plan.Result):
        super().__init__()
        self.result = result

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future:
        future: Future = Future()
        future.set_result(self.result)
        return future


def toys(count: int) -> dict:
    """So many tiny shards in this process; then the CPU seconds that keeping them takes, all else done."""
    plan = planned("capacity", [*TOY, f"split=0:{count - 1}"])
    with closing(Here()) as here:
        timed(plan, here)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with closing(Ready(work(plan.jobs[0], plan.origin))) as ready:
        start = time.process_time()
        timed(plan, ready)
    return {"shards": count, "peak_mib": most, "keeping_seconds": (time.process_time() - start) / count}


def costs(dataset: str, rounds: int, fast: bool) -> dict:
    """CPU seconds of networks trained on one core by width, seeds and pairs, and the exponent of each."""
    few = ["epochs=2"] if fast else []
    widths, seeds, pairs = [1, 2, 4, 8, 16, 32, 64, 128], [1, 3, 10, 30], [1, 2, 4]
    if fast:
        widths, seeds, pairs = [1, 2, 4], [1, 2], [1, 2]
    names = ("4-9", "3-8", "0-1", "5-6")
    grids = {
        "width": [(w, [f"width={w}", "seed=0:9", "pair=4-9"]) for w in widths],
        "seeds": [(n, ["width=8", f"seed=0:{n - 1}", "pair=4-9"]) for n in seeds],
        "pairs": [(n, ["width=8", "seed=0:9", f"pair={','.join(names[:n])}"]) for n in pairs],
    }
    found: dict[str, dict] = {}
    for axis, points in grids.items():
        seconds: dict[int, list[float]] = {x: [] for x, _ in points}
        for number in range(rounds):
            print(f"cost by {axis}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
            for x, grid in points:
                seconds[x].append(cpu_seconds(planned("capacity", [f"dataset={dataset}", *grid, *few])))
        networks = {x: 10 if axis == "width" else x if axis == "seeds" else 10 * x for x, _ in points}
        middle = {x: statistics.median(values) for x, values in seconds.items()}
        rows = [{"x": x, "seconds": middle[x], "per_network": middle[x] / networks[x]} for x in middle]
        found[axis] = {"points": rows, "exponent": exponent(middle)}
        if axis == "width":
            found[axis]["exponent_from_16"] = exponent({x: s for x, s in middle.items() if x >= 16} or middle)
    return found


def exponent(seconds: dict[int, float]) -> float:
    """The power of x with which the seconds grow: a straight line through the logarithms."""
    return float(np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)[0])


def cpu_seconds(plan: Plan) -> float:
    """What a plan's shards cost this process on one core; other programs do not count."""
    torch.set_num_threads(1)
    start = time.process_time()
    with on_cores(1):
        for job in plan.jobs:
            work(job, plan.origin)
    return time.process_time() - start


def full_shards(dataset: str, fast: bool) -> dict:
    """CPU seconds and bytes of a shard as full as `shards.UNITS` allows, by recipe."""
    seeds = 2 if fast else shards.UNITS // sum(WIDTHS)
    widths = ",".join(map(str, WIDTHS))
    found: dict = {"widths": WIDTHS, "seeds": seeds, "recipes": {}}
    for recipe in ("converged", "published"):
        print(f"a full shard, {recipe}", file=sys.stderr, flush=True)
        texts = [f"dataset={dataset}", "pair=4-9", f"width={widths}", f"seed=0:{seeds - 1}", f"recipe={recipe}"]
        plan = planned("capacity", [*texts, *(["epochs=2"] if fast else [])])
        start = time.process_time()
        with on_cores(1):
            result = work(plan.jobs[0], plan.origin)
        seconds = time.process_time() - start
        found["recipes"][recipe] = {"cpu_seconds": seconds, "bytes": len(result.payload), "rows": result.rows}
    return found


def measured(options: argparse.Namespace) -> dict:
    """All that is asked for, beside what the file already has."""
    found = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    dataset, rounds = ("digits", 1) if options.fast else (resolve("auto"), options.rounds)
    found |= {"machine": machine(), "dataset": dataset, "rounds": rounds, "fast": options.fast}
    measures = {
        "costs": lambda: costs(dataset, rounds, options.fast),
        "memory": lambda: memory((5, 20) if options.fast else (100, 1000)),
        "scaling": lambda: scaling(dataset, rounds, options.fast),
        "full_shard": lambda: full_shards(dataset, options.fast),
    }
    for name in options.only:
        found[name] = measures[name]()
    found["machine"]["load_at_end"] = round(os.getloadavg()[0], 1)
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="PATH", help="write everything measured to this file")
    parser.add_argument("--from", dest="source", type=Path, metavar="PATH", help="measure nothing, take this file")
    parser.add_argument("--readme", type=Path, metavar="PATH", help="put the text between this file's marks")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="draw cost against width, seeds and pairs")
    parser.add_argument("--fast", action="store_true", help="tiny, on the bundled digits: shows that it runs")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these, into the same --json")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed (3)")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error(f"--rounds must be at least 1; got {options.rounds}")
    found = json.loads(options.source.read_text()) if options.source else measured(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if not set(PARTS) <= found.keys():
        return
    print(as_markdown(found))
    if options.readme:
        options.readme.write_text(into(options.readme.read_text(), as_markdown(found), START, END))
    if options.plot:
        plot(found, options.plot)


if __name__ == "__main__":
    main()
