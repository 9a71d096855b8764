"""The cell that downloaded chapters start with: it installs the package where that is missing, and nothing else.

The real thing, in an empty folder and a fresh environment, takes minutes: LOWCAP_WEEKLY=1.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import toybook
from nbformat.v4 import new_code_cell

from lowcap.book.pages import bootstrap
from lowcap.notebook import parameters

ROOT = Path(__file__).parents[3]
COMMIT = "0123456789" * 4


def chapter(**about):
    made = toybook.notebook("import lowcap")
    made.metadata["lowcap"] = about
    return made


def cell(repository, **about):
    made = bootstrap.add(chapter(**about), repository, "9.9")
    assert [c.cell_type for c in made.cells] == ["markdown", "code", "code"]
    nbformat.validate(made)
    return made.cells[1].source


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the cell runs, in an empty folder where lowcap is not installed."""
    commands = []

    def run(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.chdir(tmp_path)
    return commands


def test_where_the_package_is_installed_the_cell_does_nothing(monkeypatch):
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda *command, **_: commands.append(command))
    exec(cell("https://github.com/ann/book", commit=COMMIT), {})
    assert commands == []


def test_the_package_comes_from_the_repository_at_the_commit_of_the_run(asked):
    exec(cell("https://github.com/ann/book", commit=COMMIT), {})
    (command,) = asked
    assert command == [sys.executable, "-m", "pip", "install", "--quiet",
                       f"https://github.com/ann/book/archive/{COMMIT}.zip"]  # fmt: skip


def test_a_wheel_beside_the_notebook_comes_first(asked, tmp_path):
    (tmp_path / "lowcap-9.9-py3-none-any.whl").touch()
    exec(cell("https://github.com/ann/book", commit=COMMIT), {})
    assert [command[-1] for command in asked] == ["lowcap-9.9-py3-none-any.whl"]


@pytest.mark.parametrize(("repository", "commit"), [(None, COMMIT), ("https://github.com/ann/book", None)])
def test_with_nowhere_to_take_it_from_the_reader_is_told_what_to_do(asked, repository, commit):
    with pytest.raises(RuntimeError, match=r"put lowcap-9\.9-py3-none-any\.whl into the notebook's folder"):
        exec(cell(repository, commit=commit), {})
    assert asked == []


def test_what_pip_says_is_shown(monkeypatch, asked):
    failed = subprocess.CompletedProcess([], 1, "", "no matching distribution")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match="could not be installed: no matching distribution"):
        exec(cell("https://github.com/ann/book", commit=COMMIT), {})


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this checkout, built from the files that a clone would have."""
    work = tmp_path_factory.mktemp("wheel")
    toybook.clone(work / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", work]
    subprocess.run([*command, work / "source"], check=True)
    return next(work.glob("lowcap-*.whl"))


def test_the_wheel_holds_what_the_package_reads(wheel, tmp_path):
    shutil.unpack_archive(wheel, tmp_path, "zip")
    look = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from lowcap.chapters.replay import experiments as replay\n"
        "from lowcap.explorables import elements as explorables\n"
        "from lowcap.explorables import forms\n"
        "from lowcap.notebook import ledger\n"
        "assert replay.__file__.startswith(sys.path[0]), replay.__file__\n"
        "assert all((explorables.CODE / name).is_file() for name in explorables.FILES)\n"
        "assert (explorables.CODE.parent / explorables.STYLE).is_file()\n"
        "assert len(replay.printed()) and len(ledger.catalogue())\n"
        "assert 'x-pad' in forms.draw([4, 9], [1, 2])\n"
    )
    subprocess.run([sys.executable, "-P", "-c", look], check=True, cwd=tmp_path, env={"PATH": os.environ["PATH"]})
    for kind in ("*.py", "*.html"):
        made = {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "lowcap").rglob(kind)}
        assert made == {path.relative_to(ROOT).as_posix() for path in (ROOT / "lowcap").rglob(kind)} != set()


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Process environment with a Python that has a kernel and nothing of ours; `pip` keeps to the book's versions.

    (With the newest of everything, `.ci/weekly latest` installs the package.)
    """
    place = tmp_path_factory.mktemp("bare") / "env"
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    clean = {key: value for key, value in os.environ.items() if key in ("HOME", "LANG") or key.startswith("PIP_")}
    clean |= {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    clean |= {"PIP_CONSTRAINT": str(ROOT / "requirements.txt")}
    subprocess.run([place / "bin" / "pip", "install", "--quiet", "ipykernel", "nbclient"], check=True, env=clean)
    return clean


@pytest.mark.weekly
@pytest.mark.parametrize("name", ["01-replay", "02-capacity"])
def test_a_chapter_runs_in_an_empty_folder_and_installs_what_it_needs(wheel, bare, tmp_path, name):
    source = nbformat.read(ROOT / "book" / f"{name}.ipynb", as_version=4)
    first = next(i for i, c in enumerate(source.cells) if "parameters" in c.metadata.get("tags", []))
    values = {"dataset": "digits"} | parameters.fast(name)
    source.cells.insert(first + 1, new_code_cell("\n".join(f"{key} = {value!r}" for key, value in values.items())))
    nbformat.write(bootstrap.add(source, None, "9.9"), tmp_path / "chapter.ipynb")
    shutil.copy(wheel, tmp_path)
    subprocess.run(["jupyter-execute", "--inplace", "chapter.ipynb"], cwd=tmp_path, env=bare, check=True)
    done = nbformat.read(tmp_path / "chapter.ipynb", as_version=4)
    assert all(cell.execution_count for cell in done.cells if cell.cell_type == "code")
    assert {path.name for path in tmp_path.iterdir()} == {"chapter.ipynb", Path(wheel).name}
