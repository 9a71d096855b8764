"""Binder, as it would be: an environment from `.binder/` alone, `postBuild`, JupyterLab, a real browser.

Minutes long, so only with LOWCAP_WEEKLY=1. LOWCAP_BINDER_ENV names an environment to use instead of a fresh one.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from toybook import KERNEL, clone

ROOT = Path(__file__).parents[2]
CHAPTERS = sorted(path.stem for path in (ROOT / "book").glob("*.ipynb"))
TOKEN = "token=t"
MINUTES = 60_000 * float(os.environ.get("LOWCAP_PATIENCE", "1"))  # of a tab; more where many things run at once
ROOM = 2 * 10**9
DRAW = """
from lowcap.explorables import elements
from lowcap.population import Population
from lowcap.tasks import load_task
from lowcap.training import PUBLISHED, train
task = load_task((4, 9), dataset="digits")
population = Population.grid([2, 8], [0], n_features=task.n_features)
elements.draw_digit(train(population, task, PUBLISHED), task)
"""

pytestmark = [pytest.mark.weekly, pytest.mark.filterwarnings("ignore::ResourceWarning")]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The files that a fresh clone would have."""
    return clone(tmp_path_factory.mktemp("binder") / "repository")


@pytest.fixture(scope="module")
def environment(checkout, tmp_path_factory):
    """Process environment of the image: Python from `.binder/requirements.txt`, `postBuild` run in the checkout."""
    place = Path(os.environ.get("LOWCAP_BINDER_ENV") or tmp_path_factory.mktemp("env"))
    if not (place / "bin" / "pip").exists():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
    wanted = checkout / ".binder" / "requirements.txt"
    with suppress(OSError):
        wanted.write_text(_reachable(wanted.read_text()))
    subprocess.run([place / "bin" / "pip", "install", "--quiet", "-r", wanted], check=True)
    clean = {key: os.environ[key] for key in ("LANG", "LOWCAP_DATA") if key in os.environ}
    clean |= {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "VIRTUAL_ENV": str(place)}
    clean |= {"HOME": str(tmp_path_factory.mktemp("home"))}  # where JupyterLab keeps settings, and which tabs were open
    subprocess.run(["bash", ".binder/postBuild"], cwd=checkout, env=clean, check=True)
    return clean


def _reachable(text):
    """Without the index of CPU builds where it cannot be reached: torch then comes from where pip looks by itself."""
    try:
        socket.getaddrinfo("download.pytorch.org", 443)
    except OSError:
        return re.sub(r"(?m)^--extra-index-url .*\n", "", text)
    return text


@dataclass(frozen=True)
class Lab:
    """A JupyterLab server: its address, the folder that it serves, and its home."""

    address: str
    folder: Path
    home: Path

    def notebook(self, name):
        return self.folder / "book" / f"{name}.ipynb"


@contextmanager
def jupyter(folder, environment):
    """A JupyterLab server on `folder`, started as Binder starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
               "--IdentityProvider.token=t"]  # fmt: skip
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(240):
            with suppress(OSError):
                urlopen(f"http://127.0.0.1:{port}/api?{TOKEN}").close()
                break
            time.sleep(0.5)
        yield Lab(f"http://127.0.0.1:{port}/", folder, Path(environment["HOME"]))
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def lab(checkout, environment):
    nbformat.write(
        new_notebook(cells=[new_markdown_cell("# One explorable"), new_code_cell(DRAW)], metadata=KERNEL),
        checkout / "book" / "explorable.ipynb",
    )
    with jupyter(checkout, environment) as server:
        yield server


@contextmanager
def opened(browser, lab, name):
    """A tab on the notebook, at the path to which the launch button leads, once its kernel is ready."""
    shutil.rmtree(lab.home / ".jupyter" / "lab" / "workspaces", ignore_errors=True)  # else it opens earlier tabs too
    with browser.new_context(viewport={"width": 1400, "height": 1000}) as context:
        tab, errors = context.new_page(), []
        tab.set_default_timeout(2 * MINUTES)
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(f"{lab.address}lab/tree/book/{name}.ipynb?{TOKEN}")
        tab.locator(".jp-NotebookPanel h1").first.wait_for()
        tab.locator(".jp-NotebookPanel [data-status=idle]").first.wait_for()
        tab.errors = errors
        yield tab


def run_all(tab, path):
    """Run > Run All Cells; the saved notebook once every cell has run anew, or one has raised."""
    before = max(counts(path), default=0)
    tab.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
    tab.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
    end = time.monotonic() + 10 * MINUTES / 1000
    while time.monotonic() < end:
        tab.wait_for_timeout(1000)
        tab.keyboard.press("Control+s")
        done, saved = counts(path), nbformat.read(path, as_version=4)
        if len(done) == len(code(saved)) and min(done) > before:
            break
        if any(output.output_type == "error" for cell in code(saved) for output in cell.outputs):
            break
    return nbformat.read(path, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source]


def counts(path):
    """The execution counts of the saved notebook's cells, of those that have run."""
    return [cell.execution_count for cell in code(nbformat.read(path, as_version=4)) if cell.execution_count]


def problems(notebook):
    """Cells that did not run, raised, or wrote to stderr."""
    lost = [cell.id for cell in code(notebook) if not cell.execution_count]
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    return lost + [str(o) for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]


def test_the_environment_is_small(environment):
    size = subprocess.run(["du", "-sb", environment["VIRTUAL_ENV"]], capture_output=True, text=True, check=True).stdout
    assert int(size.split()[0]) < ROOM


def test_the_reader_of_myst_fits_this_jupyterlab(environment):
    command = ["jupyter", "labextension", "list"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    told = re.sub(r"\x1b\[\d+m", "", done.stdout + done.stderr)
    assert re.search(r"jupyterlab-myst \S+ enabled OK", told), told


@pytest.mark.parametrize("name", CHAPTERS)
def test_every_chapter_opens_and_its_markup_is_read(browser, lab, name):
    with opened(browser, lab, name) as tab:
        tab.locator("aside", has_text="You can change").first.wait_for()
        tab.locator("h2", has_text="Things to try").first.wait_for(state="attached")
        tab.wait_for_function("() => !document.querySelector('.jp-NotebookPanel').innerText.includes('```{')")
        assert not tab.locator(".jp-Dialog, .jp-toast-message").count()
        assert tab.errors == []


def test_the_first_chapter_runs_and_runs_again_with_a_changed_parameter(browser, lab):
    path = lab.notebook("01-replay")
    with opened(browser, lab, "01-replay") as tab:
        change(tab, "dataset: str", 'dataset: str = "digits"')
        first = run_all(tab, path)
        assert problems(first) == []
        assert told(first) == ["dataset"]
        tab.locator("small", has_text="Numbers that the text calls by name").first.wait_for()
        change(tab, "steps: int", "steps: int = 50")
        second = run_all(tab, path)
        assert problems(second) == []
        assert told(second) == ["dataset", "steps"]


def change(tab, start, line):
    """Type another line over the one that starts so."""
    lines = tab.locator(".jp-NotebookPanel .cm-line")
    found = lines.filter(has_text=re.compile(f"^{re.escape(start)}")).first
    found.scroll_into_view_if_needed()
    found.click()
    tab.keyboard.press("Home")
    tab.keyboard.press("Shift+End")
    tab.keyboard.insert_text(line)
    lines.filter(has_text=re.compile(f"^{re.escape(line)}$")).first.wait_for()


def told(notebook):
    """Which parameters the notebook says it was run with, other than the book's own."""
    outputs = [output.get("data", {}) for cell in code(notebook) for output in cell.outputs]
    (note,) = [data["text/plain"] for data in outputs if data.get("text/plain", "").startswith("This run differs")]
    return sorted(re.findall(r"(?m)^(\w+): ", note))


def test_an_explorable_works_in_jupyterlab(browser, lab):
    with opened(browser, lab, "explorable") as tab:
        assert problems(run_all(tab, lab.notebook("explorable"))) == []
        element = tab.locator("draw-digit")
        element.and_(tab.locator(".x-live")).wait_for()
        before = element.inner_text()
        element.get_by_role("button").first.click()
        tab.wait_for_function("text => document.querySelector('draw-digit').innerText !== text", arg=before)
        assert tab.errors == []


def test_the_server_starts_without_complaint(lab):
    """Later its log may tell of tabs that these tests closed while they were talking to a kernel."""
    start, *later = (lab.folder / "server.log").read_text().split(" is running at")
    assert later
    assert "error" not in start.lower()
