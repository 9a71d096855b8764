"""The folder of a sweep: nothing is lost, nothing is computed twice, nothing wrong is kept."""

import errno
import json
from contextlib import closing

import duckdb
import filelock
import pandas as pd
import polars
import pyarrow.parquet as pq
import pytest
from sweeptoys import Toy, computed, toys
from toydisk import files_of_at_most

from lowcap.errors import BuildError, UserError
from lowcap.sweep import store
from lowcap.sweep.engine import run
from lowcap.sweep.origin import origin
from lowcap.sweep.pools import Here
from lowcap.sweep.work import work


def go(plan, out):
    with closing(Here()) as here:
        return run(plan, out, here)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def undisturbed(tmp_path):
    """The bytes of all rows of ten toys when nothing goes wrong."""
    return go(toys(range(10), tmp_path / "quiet"), tmp_path / "undisturbed").read_bytes()


def test_all_rows_are_in_one_file_in_the_order_of_the_shards(out, tmp_path):
    go(toys([3, 1, 2], tmp_path / "ran"), out)
    rows = pd.read_parquet(out / "rows.parquet")
    expected = pd.concat([Toy(n, str(tmp_path / "ran")).rows() for n in (3, 1, 2)], ignore_index=True)
    pd.testing.assert_frame_equal(rows, expected, check_exact=True)


def test_pandas_polars_and_duckdb_read_the_same_rows(out, tmp_path):
    path = go(toys(range(4), tmp_path / "ran"), out)
    rows = pd.read_parquet(path).to_dict("list")
    assert rows["n"] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert polars.read_parquet(path).to_dict(as_series=False) == rows
    with closing(duckdb.connect()) as db:
        found = db.execute(f"FROM '{path}'")
        assert [column[0] for column in found.description] == list(rows)
        assert found.fetchall() == list(zip(*rows.values(), strict=True))


def test_the_manifest_says_what_was_done_and_durations_stay_out_of_the_rows(out, tmp_path):
    plan = toys([5, 6], tmp_path / "ran")
    go(plan, out)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["experiment"], manifest["grid"], manifest["rows"]) == ("toy", {"n": [5, 6]}, 6)
    assert manifest["complete"] is True
    assert manifest["origin"] == origin((), "toy")
    assert {"python", "numpy", "torch", "pyarrow"} <= manifest["origin"]["versions"].keys()
    assert [(s["key"], s["shard"], s["rows"]) for s in manifest["shards"]] == [
        (plan.key(job), job.label(), 3) for job in plan.jobs
    ]
    assert all(s["seconds"] >= 0 for s in manifest["shards"])
    for shard in manifest["shards"]:
        content = (out / "parts" / f"{shard['key']}.{shard['checksum']}.parquet").read_bytes()
        assert store.checksum_of(content) == shard["checksum"]
    assert "seconds" not in pd.read_parquet(out / "rows.parquet")


def test_shards_of_other_types_become_one_table(tmp_path):
    parts = []
    for i, frame in enumerate([pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [0.5], "b": ["x"]})]):
        parts.append(tmp_path / f"{i}.parquet")
        frame.to_parquet(parts[-1])
    assert store.merge(parts, tmp_path / "all.parquet") == [1, 1]
    assert polars.read_parquet(tmp_path / "all.parquet").rows() == [(1.0, None), (0.5, "x")]


def test_the_order_of_computing_changes_nothing(undisturbed, out, tmp_path):
    plan = toys(range(10), tmp_path / "ran")
    shuffled = [plan.jobs[i] for i in (3, 1, 4, 5, 9, 2, 6, 8, 7, 0)]
    with store.Store.open(out, plan) as folder:
        for job in shuffled:
            folder.put(plan.key(job), work(job, plan.origin))
    assert go(plan, out).read_bytes() == undisturbed
    assert computed(tmp_path / "ran") == sorted(str(n) for n in range(10))


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(errno.EIO, "a disk's fault")])
def test_what_was_finished_before_an_end_is_not_computed_again(undisturbed, out, tmp_path, monkeypatch, capsys, stop):
    def interrupted(toy):
        if toy.n == 6:
            raise stop
        return whole(toy)

    whole = Toy.rows
    plan = toys(range(10), tmp_path / "ran")
    monkeypatch.setattr(Toy, "rows", interrupted)
    with pytest.raises(type(stop) if isinstance(stop, Exception) else stop):
        go(plan, out)
    assert f"6 of 10 shards are kept in {out}; the same command goes on from there" in capsys.readouterr().err
    assert not (out / "rows.parquet").exists()
    assert json.loads((out / "manifest.json").read_text())["complete"] is False
    monkeypatch.undo()
    assert go(plan, out).read_bytes() == undisturbed
    assert computed(tmp_path / "ran") == sorted(str(n) for n in range(10))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"number 4", b"number 5")),
        lambda path: path.write_bytes(b""),
        lambda path: path.rename(path.with_name(f"{path.name}x")),
    ],
    ids=["truncated", "altered", "empty", "renamed"],
)
def test_a_damaged_shard_is_computed_again_and_no_other(undisturbed, out, tmp_path, capsys, damage):
    plan = toys(range(10), tmp_path / "ran")
    go(plan, out)
    (path,) = (out / "parts").glob(f"{plan.key(plan.jobs[4])}.*")
    damage(path)
    (out / "rows.parquet").unlink()
    assert go(plan, out).read_bytes() == undisturbed
    assert "1 shards in" in capsys.readouterr().err
    assert computed(tmp_path / "ran") == sorted([*(str(n) for n in range(10)), "4"])


def test_what_a_killed_process_left_half_written_goes(undisturbed, out, tmp_path):
    plan = toys(range(10), tmp_path / "ran")
    go(plan, out)
    for name in (".rows.parquet.new", "parts/.x.parquet.new"):
        (out / name).write_bytes(b"half")
    with (out / "durations.jsonl").open("a") as file:
        file.write('{"key": "a", "sec')
    assert go(plan, out).read_bytes() == undisturbed
    assert sorted(p.name for p in out.iterdir()) == [
        ".lock",
        "durations.jsonl",
        "manifest.json",
        "parts",
        "rows.parquet",
    ]
    assert len(list((out / "parts").iterdir())) == 10


def test_a_larger_grid_goes_on_from_the_smaller(undisturbed, out, tmp_path, capsys):
    go(toys(range(4), tmp_path / "ran"), out)
    assert go(toys(range(10), tmp_path / "ran"), out).read_bytes() == undisturbed
    assert "the grid has grown; shards that are in both are not computed again" in capsys.readouterr().err
    assert computed(tmp_path / "ran") == sorted(str(n) for n in range(10))


def test_shards_that_only_the_smaller_grid_had_go_at_the_end(out, tmp_path):
    plan = toys(range(3), tmp_path / "ran")
    go(plan, out)
    other = toys(range(3), tmp_path / "ran")
    for job in other.jobs:
        object.__setattr__(job, "n", job.n + 100)  # the same grid, cut into other shards
    go(other, out)
    assert {path.name.split(".")[0] for path in (out / "parts").iterdir()} == {other.key(job) for job in other.jobs}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda new: new.update(code="x"), "lowcap's code differs"),
        (lambda new: new.update(machine="vax"), "the machine is vax instead of "),
        (lambda new: new["versions"].update(torch="1.0"), "torch is 1.0 instead of "),
        (lambda new: new["data"].update(mnist={"n": 2}), "the files of mnist differ"),
    ],
)
def test_a_sweep_does_not_go_on_with_other_code_versions_or_data(out, tmp_path, change, told):
    old, new = origin((), "toy"), origin((), "toy")
    old["data"]["mnist"] = {"n": 1}
    change(new)
    with store.Store.open(out, toys([1], tmp_path / "ran", source=old)):
        pass
    before = (out / "manifest.json").read_bytes()
    with pytest.raises(
        UserError, match=r"was begun elsewhere: .*; give another --out, or go back to what it was"
    ) as error:
        go(toys([1], tmp_path / "ran", source=new), out)
    assert told in str(error.value)
    assert (out / "manifest.json").read_bytes() == before


def test_a_grid_that_lacks_values_and_another_experiment_are_refused(out, tmp_path):
    go(toys([1, 2, 3], tmp_path / "ran"), out)
    before = (out / "rows.parquet").read_bytes()
    with pytest.raises(
        UserError, match=r"holds a sweep with n=2, which this grid lacks; add it, or give another --out"
    ):
        go(toys([1, 3], tmp_path / "ran"), out)
    other = toys([1, 2, 3], tmp_path / "ran")
    object.__setattr__(other, "experiment", "toys")
    with pytest.raises(UserError, match="holds a sweep of toy, not of toys; give another --out"):
        go(other, out)
    assert (out / "rows.parquet").read_bytes() == before


def test_a_damaged_manifest_says_what_to_do_and_that_helps(undisturbed, out, tmp_path):
    plan = toys(range(10), tmp_path / "ran")
    go(plan, out)
    for content in (
        "{",
        "[]",
        '{"format": 2}',
        '{"experiment": 1, "grid": 2, "origin": 3, "commit": 4, "local_changes": 5}',
    ):
        (out / "manifest.json").write_text(content)
        with pytest.raises(UserError, match="is damaged or of another version; delete that file"):
            go(plan, out)
    (out / "manifest.json").unlink()
    assert go(plan, out).read_bytes() == undisturbed
    assert computed(tmp_path / "ran") == sorted(str(n) for n in range(10))


def test_a_folder_with_other_things_in_it_is_left_alone(out, tmp_path):
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"`--out` must be a new folder or that of a sweep; .* holds thesis.tex"):
        go(toys([1], tmp_path / "ran"), out)
    assert sorted(path.name for path in out.iterdir()) == [".lock", "thesis.tex"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        UserError, match=r"`--out` must be a folder that can be written; got .*/file/out: Not a directory"
    ):
        go(toys([1], tmp_path / "ran"), tmp_path / "file" / "out")


def test_two_sweeps_at_once_in_one_folder(out, tmp_path):
    out.mkdir()
    with filelock.FileLock(out / ".lock"), pytest.raises(BuildError, match="another sweep is at work in"):
        go(toys([1], tmp_path / "ran"), out)


@pytest.mark.parametrize(("full_at", "kept"), [("manifest", 0), ("shard", 0), ("rows", 10)])
def test_a_full_disk_is_one_clear_message_and_leaves_nothing_corrupt(undisturbed, out, tmp_path, full_at, kept):
    plan = toys(range(10), tmp_path / "ran")
    part = max(path.stat().st_size for path in (tmp_path / "undisturbed").glob("parts/*"))
    assert 1000 < part < len(undisturbed)
    with files_of_at_most({"manifest": 100, "shard": 1000, "rows": part}[full_at]), pytest.raises(BuildError) as error:
        go(plan, out)
    assert f"{out} is full (" in str(error.value)
    assert "File too large); make room there and run the same command again" in str(error.value)
    assert not list(out.rglob("*.new"))
    assert [pq.read_table(part).num_rows for part in out.glob("parts/*")] == [3] * kept
    assert go(plan, out).read_bytes() == undisturbed
    assert len(computed(tmp_path / "ran")) == 10 + (full_at == "shard")
