"""The command line: help that reads well, one line and the right code for each mistake."""

import re
from pathlib import Path

import pytest
import toybook
import toyfolder

from lowcap.errors import BuildError, DataError


def test_help_lists_the_commands_with_a_sentence_each(lowcap):
    for arguments in ([], ["--help"], ["-h"]):
        code, out, err = lowcap(*arguments)
        assert (code, err) == (0, "")
        assert all(f"  {command} " in out for command in ("build", "run", "sweep", "replay", "data", "readme"))
        assert "..." not in out.split("Commands:")[1]


@pytest.mark.parametrize("command", ["build", "run", "sweep", "replay", "data", "readme"])
def test_each_command_has_help(lowcap, command):
    assert "Usage: lowcap" in lowcap(command, "--help")[1]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nope"], "nope"),
        (["build", "--nope"], "--nope"),
        (["build", "--timeout", "0"], "--timeout"),
        (["run"], "chapter"),
        (["data", "--dataset", "cifar"], "cifar"),
        (["sweep", "capcity"], "did you mean `capacity`"),
        (["sweep", "capacity", "--grid", "width=0", "seed=x"], "axis `width` must be whole numbers from 1 to 4096"),
        (["sweep", "capacity", "--workers", "0"], "--workers"),
        (["sweep", "capacity", "--backend", "dask"], "needs --scheduler"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_2(lowcap, arguments, told):
    code, out, err = lowcap(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("lowcap: ")
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("chapter", "assignment", "told"),
    [
        ("09-nothing", "steps=3", "02-capacity"),
        ("01-replay", "step=3", "did you mean `steps`"),
        ("01-replay", "steps=0", "`steps` must be"),
        ("01-replay", "pairs=[[4, 4]]", "`pairs` must be"),
        ("01-replay", "steps", "name=value"),
    ],
)
def test_a_wrong_parameter_is_refused_before_a_kernel_starts(lowcap, tmp_path, monkeypatch, chapter, assignment, told):
    monkeypatch.chdir(toybook.make(tmp_path / "root"))
    monkeypatch.setattr("lowcap.book.run.execute", lambda *_: pytest.fail("a kernel was started"))
    code, _, err = lowcap("run", chapter, "-p", assignment)
    assert code == 2
    assert told in err


def test_several_wrong_parameters_are_one_line(lowcap, tmp_path, monkeypatch):
    monkeypatch.chdir(toybook.make(tmp_path / "root"))
    code, _, err = lowcap("run", "01-replay", "-p", "steps=0", "-p", "pairs=[[4, 4]]")
    assert (code, err.count("\n")) == (2, 1)
    assert "; `pairs` must be" in err or "; `steps` must be" in err


def test_outside_a_checkout_the_line_says_where_to_go(lowcap, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = lowcap("build")
    assert code == 2
    assert "inside a checkout" in err


def test_an_output_that_cannot_be_written_is_named(lowcap, tmp_path, monkeypatch):
    monkeypatch.chdir(toybook.make(tmp_path / "root"))
    (tmp_path / "file").touch()
    for command in (
        ["build", "--dataset", "digits", "--output", "../file/out"],
        ["run", "01-replay", "--out", "../file/out"],
        ["replay", "--csv", "../file/out"],
    ):
        code, _, err = lowcap(*command)
        assert code == 2
        assert re.fullmatch(
            rf"lowcap: `?{command[-2]}`? must be .* can be written; got \S+/file/out: Not a dir.*\n", err
        )


@pytest.mark.parametrize(
    ("command", "told"),
    [(["build"], "interrupted; the last good book is still there"), (["data"], "interrupted")],
)
def test_an_interruption_is_one_line_and_code_130(lowcap, tmp_path, monkeypatch, command, told):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.chdir(toybook.make(tmp_path / "root"))
    monkeypatch.setattr("lowcap.tasks.resolve", interrupt)
    code, _, err = lowcap(*command)
    assert (code, err.strip()) == (130, f"lowcap: {told}")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (BuildError("01-toy is broken"), "lowcap: 01-toy is broken\n"),
        (DataError("a.gz is truncated"), "lowcap: a.gz is truncated\n"),
        (
            OSError(28, "No space left on device", "/out/x"),
            "lowcap: cannot read or write /out/x: No space left on device; make room on the disk and run the same "
            "command again\n",
        ),
        (KeyError("x"), "lowcap: KeyError: 'x' (a fault of lowcap; LOWCAP_DEBUG=1 shows where)\n"),
    ],
)
def test_a_failure_is_one_line_and_code_1_without_traceback(lowcap, monkeypatch, error, told):
    def fail(_):
        raise error

    monkeypatch.setattr("lowcap.tasks.resolve", fail)
    assert lowcap("data") == (1, "", told)


def test_debugging_shows_the_traceback(lowcap, monkeypatch):
    def fail(_):
        raise BuildError("here")

    monkeypatch.setenv("LOWCAP_DEBUG", "1")
    monkeypatch.setattr("lowcap.tasks.resolve", fail)
    with pytest.raises(BuildError, match="here"):
        lowcap("data")


def test_data_prints_the_identity(lowcap):
    code, out, _ = lowcap("data", "--dataset", "digits")
    assert code == 0
    assert out.splitlines()[0] == "name: digits"
    assert "n train: 1347" in out


def test_run_hands_over_folder_limit_and_the_wish_for_one_file(lowcap, tmp_path, monkeypatch):
    calls = []
    monkeypatch.chdir(toybook.make(tmp_path / "root"))
    monkeypatch.setattr("lowcap.book.run.run", lambda *given, **more: calls.append((*given[1:], more)))
    assert lowcap("run", "01-replay", "-p", "steps=3", "--html")[0] == 0
    assert lowcap("run", "01-replay", "--out", "mine", "--timeout", "9")[0] == 0
    assert calls == [
        ("01-replay", ["steps=3"], Path("runs/01-replay"), 3600, {"one_file": True}),
        ("01-replay", [], Path("mine"), 9, {"one_file": False}),
    ]


@pytest.mark.parametrize(
    ("asked", "told"),
    [("folder:nowhere", "must name a folder that can be read"), ("folder:", "`dataset` must be one of auto, mnist")],
)
def test_a_folder_that_is_not_there_is_refused_before_a_kernel_starts(lowcap, tmp_path, monkeypatch, asked, told):
    monkeypatch.chdir(toybook.make(tmp_path / "root"))
    monkeypatch.setattr("lowcap.book.run.execute", lambda *_: pytest.fail("a kernel was started"))
    code, _, err = lowcap("run", "01-replay", "-p", f"dataset={asked}")
    assert (code, err.count("\n")) == (2, 1)
    assert told in err


def test_a_class_that_the_folder_lacks_is_refused_before_a_kernel_starts(lowcap, tmp_path, monkeypatch):
    monkeypatch.chdir(toybook.make(tmp_path / "root"))
    toyfolder.folder(Path("two"), 2, 40)
    monkeypatch.setattr("lowcap.book.run.execute", lambda *_: pytest.fail("a kernel was started"))
    code, _, err = lowcap("run", "01-replay", "-p", "dataset=folder:two", "-p", "pairs=[[0, 1]]")
    assert (code, err.count("\n")) == (2, 1)
    assert "`grid_pair` asks for class 4, 9; folder:two has only 0 (apple), 1 (book); such as grid_pair=[0, 1]" in err


def test_replay_hands_over_path_and_seeds_and_insists_on_mnist(lowcap, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "lowcap.chapters.replay.experiments.to_csv", lambda *given, dataset: calls.append((*given, dataset))
    )
    assert lowcap("replay", "--csv", "a.csv")[0] == 0
    assert lowcap("replay", "--csv", "b.csv", "--seeds", "0", "--seeds", "42")[0] == 0
    assert calls == [(Path("a.csv"), [0, 42, 78], "mnist"), (Path("b.csv"), [0, 42], "mnist")]


def test_a_sweep_takes_its_grid_in_one_go_or_axis_by_axis(lowcap, monkeypatch):
    calls = []
    monkeypatch.setattr("lowcap.sweep.command.sweep", lambda *given: calls.append(given))
    assert lowcap("sweep", "capacity", "--grid", "pair=all", "width=1:64", "seed=0:99", "--out", "there")[0] == 0
    assert lowcap("sweep", "chapter:02-capacity", "--grid", "lr=1", "--grid", "n_pairs=2", "--workers", "3")[0] == 0
    assert calls == [
        ("capacity", ["pair=all", "width=1:64", "seed=0:99"], Path("there"), None, "loky", None),
        ("chapter:02-capacity", ["lr=1", "n_pairs=2"], Path("sweeps/chapter-02-capacity"), 3, "loky", None),
    ]
