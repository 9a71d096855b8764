"""Many workers: the same rows whoever computes them, whoever dies, and whenever."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch
from sweeptoys import computed, toys

from lowcap.errors import BuildError, UserError
from lowcap.sweep import command, pools
from lowcap.sweep.engine import run
from lowcap.sweep.origin import origin
from lowcap.sweep.pools import Dask, Here, Loky
from lowcap.sweep.work import work

REAL = ["pair=4-9,3-8", "split=0:1", "width=1,3", "seed=0:2", "epochs=2", "dataset=digits"]


class Script(Here):
    """Workers that die, or vanish, as a script says: at a toy for the first so many times."""

    deaths = (BrokenProcessPool,)

    def __init__(self, script, slots=4):
        super().__init__()
        self.script, self.n, self.renewed, self.error = dict(script), slots, 0, BrokenProcessPool()

    def slots(self):
        return self.n

    def submit(self, work, job, source):
        if not self.script.get(job.n):
            return super().submit(work, job, source)
        self.script[job.n] -= 1
        future = Future()
        future.set_exception(self.error)
        return future

    def renew(self):
        self.renewed += 1


def go(plan, out, pool):
    with closing(pool):
        return run(plan, out, pool).read_bytes()


@pytest.fixture
def undisturbed(tmp_path):
    return go(toys(range(12), tmp_path / "quiet"), tmp_path / "undisturbed", Here())


@pytest.mark.parametrize("script", [{0: 1}, {11: 1, 3: 1}, {0: 1, 5: 2}, dict.fromkeys(range(0, 12, 3), 1)])
def test_shards_whose_worker_died_are_computed_after_all(undisturbed, tmp_path, script):
    pool = Script(script)
    assert go(toys(range(12), tmp_path / "ran"), tmp_path / "out", pool) == undisturbed
    assert 1 <= pool.renewed <= sum(script.values())
    assert len(computed(tmp_path / "ran")) == 12


def test_a_shard_that_kills_every_worker_is_named_and_all_others_are_kept(tmp_path):
    pool, out = Script({4: 99, 7: 99}), tmp_path / "out"
    with pytest.raises(BuildError, match=r"each worker died that computed toy [47], and 1 more"):
        go(toys(range(12), tmp_path / "ran"), out, pool)
    assert len(list((out / "parts").iterdir())) == 10
    assert pool.renewed <= 6


def test_workers_that_die_whatever_they_do_are_not_replaced_for_ever(tmp_path):
    pool = Script(dict.fromkeys(range(30), 99))
    with pytest.raises(BuildError, match=r"3 workers in a row have died \(at toy \d+\); is there too little memory"):
        go(toys(range(30), tmp_path / "ran"), tmp_path / "out", pool)
    assert pool.renewed == 3


def test_a_scheduler_that_goes_away_is_said(tmp_path):
    pool = Script({5: 1})
    pool.error = CancelledError()
    with pytest.raises(BuildError, match="the connection to the Dask scheduler is gone; start it again"):
        go(toys(range(12), tmp_path / "ran"), tmp_path / "out", pool)


def test_a_worker_unlike_the_others_is_refused(tmp_path):
    old = origin((), "toy")
    old["versions"]["torch"] = "1.0"
    with pytest.raises(BuildError, match=r"worker .* is not like the others: torch is .* instead of 1.0; make it so"):
        work(toys([1], tmp_path / "ran").jobs[0], old)
    assert computed(tmp_path / "ran") == []


def test_computing_here_leaves_the_number_of_threads_as_it_was(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        go(toys([1], tmp_path / "ran"), tmp_path / "out", Here())
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A real sweep in this process: its plan, and the bytes of its rows."""
    plan = command.planned("capacity", REAL)
    return plan, go(plan, tmp_path_factory.mktemp("alone") / "out", Here())


def test_two_processes_give_the_same_bytes_though_one_is_killed(undisturbed, alone, tmp_path):
    with closing(Loky(2)) as pool:
        ran, out = tmp_path / "ran", tmp_path / "out"
        assert run(toys(range(12), ran, fatal={2: 1}), out, pool).read_bytes() == undisturbed
        runs = computed(ran)
        assert runs.count("2") == 2
        assert len(runs) <= 12 + 4  # what was at work or in line when it happened
        workers = {json.loads(line)["worker"] for line in (out / "durations.jsonl").read_text().splitlines()}
        assert f"{os.uname().nodename}:{os.getpid()}" not in workers
        assert run(alone[0], tmp_path / "real", pool).read_bytes() == alone[1]


def test_a_dask_cluster_gives_the_same_bytes_though_a_worker_is_killed(undisturbed, alone, tmp_path):
    from distributed import LocalCluster

    two = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50)
    with two as cluster, closing(Dask(cluster.scheduler_address)) as pool:
        assert run(alone[0], tmp_path / "real", pool).read_bytes() == alone[1]
        ran = tmp_path / "ran"
        assert run(toys(range(12), ran, fatal={2: 1}), tmp_path / "out", pool).read_bytes() == undisturbed
        assert computed(ran).count("2") == 2


MANY = ["pair=4-9", "split=0:60", "width=1,3", "seed=0:2", "epochs=40", "dataset=digits"]


@contextmanager
def sweep_in_a_process(out, workers):
    """The command line at work in a process of its own, when three shards are finished."""
    arguments = ["sweep", "capacity", "--grid", *MANY, "--out", str(out), "--workers", str(workers)]
    code = f"import sys; sys.argv = ['lowcap', *{arguments!r}]; from lowcap.cli import main; main()"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, start_new_session=True) as process:
        try:
            end = time.monotonic() + 600  # of a machine that is busy with other work
            while len(list(out.glob("parts/[!.]*"))) < 3:
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < end
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def test_a_sweep_killed_at_once_goes_on_to_the_same_bytes_and_leaves_no_worker(tmp_path):
    out = tmp_path / "out"
    with sweep_in_a_process(out, 2) as process:
        workers = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "parts").glob("[!.]*")}
    assert 3 <= len(kept) < 61
    assert not (out / "rows.parquet").exists()
    assert len(workers) >= 2
    assert psutil.wait_procs(workers, timeout=30)[1] == []
    plan = command.planned("capacity", MANY)
    resumed, fresh = (go(plan, folder, Here()) for folder in (out, tmp_path / "fresh"))
    assert resumed == fresh
    assert {name: (out / "parts" / name).stat().st_mtime_ns for name in kept} == kept


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(tmp_path):
    out = tmp_path / "out"
    with sweep_in_a_process(out, 1) as process:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=300)[1].decode()
    assert process.returncode == 130
    assert f"shards are kept in {out}; the same command goes on from there" in said
    assert said.endswith("lowcap: interrupted\n")
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("backend", "scheduler", "told"),
    [
        ("spark", None, "`--backend` must be one of loky, dask; got 'spark'"),
        ("dask", None, "`--backend dask` needs --scheduler ADDRESS"),
        ("loky", "tcp://127.0.0.1:1", "`--scheduler` goes with --backend dask"),
    ],
)
def test_backends_that_cannot_be_are_refused_before_anything_is_read(backend, scheduler, told):
    with pytest.raises(UserError, match=told):
        command.sweep("nothing", [], Path("nowhere"), 2, backend, scheduler)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(pools, "PATIENCE", 0.5)
    with pytest.raises(
        UserError, match=r"`--scheduler` must be the address of a Dask scheduler; got tcp://127\.0\.0\.1:9"
    ):
        Dask("tcp://127.0.0.1:9")


def test_the_command_line_writes_rows_and_says_where(tmp_path, capsys):
    out = tmp_path / "out"
    command.sweep("capacity", REAL, out, 1)
    rows = pd.read_parquet(out / "rows.parquet")
    assert len(rows) == 2 * 2 * 2 * 3
    assert f"The rows of 4 shards are in {out / 'rows.parquet'}" in capsys.readouterr().out
