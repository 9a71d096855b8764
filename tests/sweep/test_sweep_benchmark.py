"""What is said of sweeps comes from what was measured."""

import json
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from lowcap.sweep.pools import Here

ROOT = Path(__file__).resolve().parents[2]
SPREAD = {"median": 1.8, "min": 1.7, "max": 1.9}
FOUND = {
    "machine": {"cores": 2, "cpu": "Xeon", "load_at_start": 0.1, "load_at_end": 1.0},
    "dataset": "mnist",
    "rounds": 3,
    "scaling": {
        "shards": 8,
        "seconds_per_shard": 4.0,
        "start": {"loky": 3.0, "dask": 5.0},
        "per_minute": dict.fromkeys(("one", "loky", "dask"), SPREAD),
        "speedup": dict.fromkeys(("loky", "dask"), SPREAD),
        "overhead": {name: {"median": 0.05, "min": 0.01, "max": 0.2} for name in ("one", "loky", "dask")},
        "dask_against_loky": {"median": 0.02, "min": -0.01, "max": 0.03},
        "targets": {"speedup": 1.7, "overhead": 0.1},
    },
    "memory": [
        {"shards": 100, "peak_mib": 500.0, "keeping_seconds": 0.01},
        {"shards": 1000, "peak_mib": 512.0, "keeping_seconds": 0.01},
    ],
    "costs": {
        name: {"points": [{"x": x, "seconds": x**2, "per_network": x**2 / 10} for x in (1, 2, 4)], "exponent": 2.0}
        for name in ("width", "seeds", "pairs")
    },
    "full_shard": {
        "widths": [1, 2],
        "seeds": 30,
        "recipes": {"converged": {"cpu_seconds": 36.0, "bytes": 1_000_000, "rows": 60}},
    },
}
FOUND["costs"]["width"]["exponent_from_16"] = 2.0


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import sweep_report

    return sweep_report


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import sweep

    return sweep


def test_the_large_sweep_by_hand(report: ModuleType) -> None:
    sums = report.reckoned(FOUND, "converged")
    shards = 10 * 45 * 34  # 34 blocks of 30 seeds
    assert (sums["shards"], sums["networks"]) == (shards, 10 * 45 * 1000 * 2)
    assert sums["hours"][1] == pytest.approx(shards * 0.01 * 1.05)
    assert sums["hours"][256] == pytest.approx(60 * 0.01 * 1.05)  # 15,300 shards are 59.8 each
    assert sums["gigabytes"] == pytest.approx(15.3)
    assert sums["most_cores"] == pytest.approx(3600)


def test_one_process_that_keeps_all_shards_sets_the_pace_of_many(report: ModuleType) -> None:
    slow = FOUND | {"memory": [FOUND["memory"][0], {"shards": 1, "peak_mib": 1.0, "keeping_seconds": 1.0}]}
    assert report.reckoned(slow, "converged")["hours"][256] == pytest.approx(15300 / 3600)


def test_the_text_holds_the_numbers_and_their_reservations(report: ModuleType) -> None:
    text = report.as_markdown(FOUND)
    assert "| two, loky | 1.8 (1.7 to 1.9) | 1.80 (1.70 to 1.90) | 5.0% (1.0% to 20.0%) |" in text
    assert "1.7 times with two processes (reached), and at most 10% lost (reached)" in text
    assert "500 MiB over 100 tiny shards, 512 MiB over 1,000" in text
    assert "| converged | 900,000 | 15,300 | 7 days | 10.0 h | 38 min | 15.30 GB |" in text
    assert "provisional" not in text
    busy = FOUND | {"machine": FOUND["machine"] | {"load_at_end": 9.0}}
    assert "busy with other work (load 9), so these numbers are provisional" in report.as_markdown(busy)


def test_the_text_goes_between_the_marks_and_nowhere_else(report: ModuleType) -> None:
    from benchmarks import readme

    into = partial(readme.into, first=report.START, last=report.END)
    page = (ROOT / "README.md").read_text()
    filled = into(page, "new")
    assert filled.partition(report.START)[0] == page.partition(report.START)[0]
    assert filled.partition(report.END)[2] == page.partition(report.END)[2]
    assert f"{report.START}\nnew\n{report.END}" in filled
    assert into(filled, "new") == filled
    with pytest.raises(ValueError, match="must hold the lines"):
        into("nothing", "new")


def test_powers_are_those_of_a_straight_line_in_logarithms(bench: ModuleType) -> None:
    assert bench.exponent({1: 3.0, 2: 12.0, 8: 192.0}) == pytest.approx(2)


def test_a_sweep_is_timed_and_what_lies_between_its_shards_is_told_apart(bench: ModuleType) -> None:
    plan = bench.plan_of("digits", 2, True)
    pool = Here()
    found = bench.timed(plan, pool)
    pool.close()
    assert 0 < found["busy"] < found["wall"]
    assert found["overhead"] == pytest.approx(found["wall"] / found["busy"] - 1)
    assert found["per_minute"] == pytest.approx(120 / found["wall"])
    assert bench.cpu_seconds(plan) > 0


def test_keeping_a_shard_takes_time_of_its_own(bench: ModuleType) -> None:
    found = bench.toys(3)
    assert found["shards"] == 3
    assert found["peak_mib"] > 100
    assert 0 < found["keeping_seconds"] < 1


def test_parts_that_were_measured_apart_become_one_text_and_figure(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for name, part in (("scaling", "scaling"), ("memory", "memory"), ("costs", "costs"), ("full_shards", "full_shard")):
        monkeypatch.setattr(bench, name, lambda *_, part=part: FOUND[part])
    where = ["--fast", "--json", str(tmp_path / "found.json")]
    bench.main([*where, "--only", "costs", "memory"])
    assert capsys.readouterr().out == ""
    bench.main([*where, "--only", "scaling", "full_shard", "--plot", str(tmp_path / "costs.png")])
    assert "shards per minute" in capsys.readouterr().out
    assert json.loads((tmp_path / "found.json").read_text())["memory"] == FOUND["memory"]
    assert (tmp_path / "costs.png").stat().st_size > 10_000
    bench.main(["--from", str(tmp_path / "found.json")])
    assert "15,300" in capsys.readouterr().out
