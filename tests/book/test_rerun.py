"""Chapters run again by hand: papermill's own command line with its traps, and `lowcap run` interrupted."""

import os
import signal
import subprocess
import sys
import time
from html import unescape
from pathlib import Path
from typing import Any

import nbformat
import papermill.cli
import psutil
import pytest
import toybook
import toyfolder
from click.testing import CliRunner
from nbformat.v4 import new_code_cell, new_markdown_cell

from lowcap.errors import UserError
from lowcap.notebook import claims, parameter_table, parameters
from lowcap.notebook.parameter_types import allowed

CHAPTER = "02-capacity"
CHECK = f'from lowcap.notebook import parameters\np = parameters.check("{CHAPTER}", globals())'
USE = f'{CHECK}\nprint("checked", p.lr, p.pair)'


def toy(path: Path, *more: Any) -> Path:
    """A chapter that checks the parameters of chapter 2 and does nothing else."""
    given = new_code_cell(parameters.cell(CHAPTER), metadata={"tags": ["parameters"]})
    nbformat.write(toybook.notebook(given, USE, *more), path)
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy(tmp_path_factory.mktemp("toy") / "toy.ipynb")


def prepared(source: Path, folder: Path, *arguments: str) -> parameters.Parameters:
    """What `parameters.check` makes of the cells that papermill's command line prepares from its arguments."""
    made = folder / "out.ipynb"
    command = [str(source), str(made), "--prepare-only", "--no-progress-bar", *arguments]
    done = CliRunner().invoke(papermill.cli.papermill, command)
    assert done.exit_code == 0, done.output
    namespace: dict[str, Any] = {"In": []}
    for cell in nbformat.read(made, as_version=4).cells:
        if {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", [])):
            exec(cell.source, namespace)
            namespace["In"].append(cell.source)
    return parameters.check(CHAPTER, namespace)


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["-p", "pair", "[3, 8]"], "pair", (3, 8)),
        (["-p", "pair", "8,3"], "pair", (3, 8)),
        (["-y", "pair: [3, 8]"], "pair", (3, 8)),
        (["-y", "pair: '[3, 8]'"], "pair", (3, 8)),
        (["-y", "{pair: [8, 3]}"], "pair", (3, 8)),
        (["-r", "pair", "[3, 8]"], "pair", (3, 8)),
        (["-p", "pairs", "[[3, 8], [1, 7]]"], "pairs", ((3, 8), (1, 7))),
        (["-p", "lr", "1e-3"], "lr", 0.001),
        (["-r", "lr", "1e-3"], "lr", 0.001),
        (["-y", "lr: 1e-3"], "lr", 0.001),
        (["-y", "lr: 1.0e-3"], "lr", 0.001),
        (["-p", "lr", "1"], "lr", 1.0),
        (["-p", "epochs", "7"], "epochs", 7),
        (["-p", "epochs", "7.0"], "epochs", 7),
        (["-r", "epochs", "7"], "epochs", 7),
        (["-p", "widths", "[1e0, 2]"], "widths", (1, 2)),
        (["-y", "widths: [1.0, '2']"], "widths", (1, 2)),
        (["-p", "dataset", "digits"], "dataset", "digits"),
        (["-y", 'dataset: "digits"'], "dataset", "digits"),
        (["-p", "dataset", 'folder:my "pictures" of {4} it\'s'], "dataset", 'folder:my "pictures" of {4} it\'s'),
    ],
)
def test_what_papermill_makes_of_a_value_comes_out_right(
    arguments: list[str], name: str, value: Any, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_resolve", lambda dataset: "mnist")
    model = prepared(source, tmp_path, *arguments)
    assert getattr(model, name) == value
    assert type(getattr(model, name)) is type(value)
    assert set(parameters.changed(model)) == {name}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-p", "fast", "false"], "`fast` is not a parameter of chapter 02-capacity"),
        (["-p", "n_seed", "3"], "`n_seed` is not a parameter of chapter 02-capacity; did you mean `n_seeds`?"),
        (["-y", "Lr: 0.1"], "`Lr` is not a parameter of chapter 02-capacity; did you mean `lr`?"),
        (["-p", "pair", "4_9"], "`pair` must be two different classes from 0 to 9, written [4, 9]; got 49 (one number"),
        (["-y", "pair: 4_9"], "got 49 (one number is not a pair, and 4_9 is read as the number 49; write [4, 9])"),
        (["-r", "pair", "4_9"], "got '4_9' (one number is not a pair"),
        (["-p", "lr", "nan"], "`lr` must be a number from 1e-06 to 100.0; got nan"),
        (["-p", "lr", "inf"], "got inf"),
        (["-y", "lr: .nan"], "got nan"),
        (["-y", "lr: -.inf"], "got -inf"),
        (["-r", "lr", "nan"], "got 'nan'"),
        (["-p", "lr", "None"], "got None"),
        (["-p", "epochs", "True"], "`epochs` must be a whole number from 1 to 500; got True"),
        (["-p", "epochs", "true"], "got 'true'"),
        (["-y", "epochs: yes"], "got True"),
        (["-p", "epochs", "3.5"], "got 3.5"),
        (["-p", "epochs", "'7'"], "got \"'7'\""),
        (["-y", "dataset: off"], "got False"),
        (["-p", "dataset", "false"], "got 'false'"),
        (["-p", "dataset", "'digits'"], "got \"'digits'\" (did you mean digits?)"),
        (["-p", "dataset", "Fashion-MNIST"], "(did you mean fashion-mnist?)"),
    ],
)
def test_what_papermill_garbles_is_refused_by_name(
    arguments: list[str], said: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_resolve", lambda dataset: "mnist")
    with pytest.raises(UserError) as refusal:
        prepared(source, tmp_path, *arguments)
    assert said in str(refusal.value)


def by_papermill(notebook: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "papermill", str(notebook), "out.ipynb", "--no-progress-bar", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=os.environ | {"LOWCAP_FROM": ""})


def test_plain_papermill_runs_a_real_chapter_on_a_readers_images(tmp_path: Path) -> None:
    toyfolder.folder(tmp_path / "two", 2, 60)
    chapter = toybook.REAL / "book" / "01-replay.ipynb"
    given = {"dataset": "folder:two", "pairs": "[[1, 0]]", "grid_pair": "[0, 1]", "widths": "[2, 3]", "seeds": "[1]",
             "steps": "9", "grid_lrs": "[1e-2, 0.03]", "grid_seeds": "1"}  # fmt: skip
    done = by_papermill(chapter, tmp_path, *(text for pair in given.items() for text in ("-p", *pair)))
    assert done.returncode == 0, done.stderr
    shown = (tmp_path / "out.ipynb").read_text()
    assert "classes of folder:two: 0 is apple, 1 is book" in shown
    assert "on folder:two instead of MNIST" in shown


def test_a_real_chapter_stops_in_its_first_cells_when_papermill_is_given_nonsense(tmp_path: Path) -> None:
    chapter = toybook.REAL / "book" / "01-replay.ipynb"
    done = by_papermill(chapter, tmp_path, "-p", "step", "5", "-p", "seeds", "1_2", "-p", "dataset", "digits")
    assert done.returncode == 1
    assert "`step` is not a parameter of chapter 01-replay; did you mean `steps`?" in done.stderr
    assert "`seeds` must be a list of different whole numbers" in done.stderr
    cells = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    ran = [cell for cell in cells if cell.cell_type == "code" and cell.execution_count]
    assert len(ran) == 3  # the parameters, what papermill injected, and the check


@pytest.mark.parametrize("chapter", parameters.chapters())
def test_the_commands_in_a_chapter_are_exact(chapter: str, tmp_path: Path) -> None:
    name, value = parameter_table.example(chapter)
    model = parameters.validate(chapter, {name: value})
    assert set(parameters.changed(model)) == {name}
    for line in parameter_table.commands(chapter).values():
        words = subprocess.run(["sh", "-c", f'printf "%s\\n" {line}'], capture_output=True, text=True, check=True)
        typed = words.stdout.splitlines()
        if typed[0] == "lowcap":
            assert typed[1:3] == ["run", chapter]
            assert parameters.parse_assignments([typed[4]]) == {name: value}
        else:
            assert typed == ["papermill", f"{chapter}.ipynb", "out.ipynb", "-p", name, value]


@pytest.mark.parametrize("chapter", parameters.chapters())
def test_the_table_in_a_chapter_says_all_that_the_schema_says(chapter: str) -> None:
    page = unescape(parameter_table.as_html(chapter))
    for name, field in parameters.schema(chapter).model_fields.items():
        notes: Any = field.json_schema_extra
        assert f"<code>{name}</code> {field.description}" in page
        for text in (allowed(field).words, notes["cost"], notes["unit"]):
            assert f"<td>{text}</td>" in page or not text
    assert page.count("<tr>") == len(parameters.schema(chapter).model_fields) + 1


def test_ctrl_c_leaves_what_was_there_and_no_kernel(tmp_path: Path) -> None:
    given = new_code_cell(parameters.cell("01-replay"), metadata={"tags": ["parameters"]})
    use = (
        "from pathlib import Path\nfrom lowcap.notebook import parameters\np = parameters.check('01-replay', globals())"
    )
    wait = "import time\nPath('started').touch()\ntime.sleep(600)"
    root = toybook.make(tmp_path / "root", new_markdown_cell("Hello."), given, use, wait)
    mine = root / "mine"
    (mine / "html").mkdir(parents=True)
    old = {mine / "01-replay.ipynb": "notebook", mine / "01-replay.html": "page", mine / "html" / "index.html": "site"}
    for path, text in old.items():
        path.write_text(text)
    command = [
        sys.executable,
        "-m",
        "lowcap.cli",
        "run",
        "01-replay",
        "-p",
        "dataset=digits",
        "--html",
        "--out",
        "mine",
    ]
    process = subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not (mine / "stage" / "book" / "started").exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    kernels = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.splitlines()[-1] == "lowcap: interrupted; what an earlier run left is still there"
    assert [line.split(",")[0] for line in said.splitlines()[:-1]] == [
        f"01-replay: cell {i} of 4" for i in (1, 2, 3, 4)
    ]
    assert "Traceback" not in said
    assert {path: path.read_text() for path in old} == old
    assert kernels
    assert not [kernel for kernel in kernels if kernel.is_running() and kernel.status() != psutil.STATUS_ZOMBIE]
