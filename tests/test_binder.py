"""Binder, as it would be: an environment from `.binder/` alone, `postBuild`, JupyterLab, a real browser.

Minutes long, so only with LOWCAP_WEEKLY=1. LOWCAP_BINDER_ENV names an environment to use instead of a fresh one.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from test_browser import browser  # noqa: F401  (a fixture)
from toybook import KERNEL, clone

ROOT = Path(__file__).parents[1]
CHAPTERS = sorted(path.stem for path in (ROOT / "book").glob("*.ipynb"))
TOKEN = "token=t"
MINUTES = 60_000 * float(os.environ.get("LOWCAP_PATIENCE", "1"))  # of a tab; more where many things run at once
ROOM = 2 * 10**9
DRAW = """
from lowcap import explorables
from lowcap.population import Population
from lowcap.tasks import load_task
from lowcap.training import PUBLISHED, train
task = load_task((4, 9), dataset="digits")
population = Population.grid([2, 8], [0], n_features=task.n_features)
explorables.draw_digit(train(population, task, PUBLISHED), task)
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
    clean = {key: os.environ[key] for key in ("HOME", "LANG", "LOWCAP_DATA") if key in os.environ}
    clean |= {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", "VIRTUAL_ENV": str(place)}
    subprocess.run(["bash", ".binder/postBuild"], cwd=checkout, env=clean, check=True)
    return clean


def _reachable(text):
    """Without the index of CPU builds where it cannot be reached: torch then comes from where pip looks by itself."""
    try:
        socket.getaddrinfo("download.pytorch.org", 443)
    except OSError:
        return re.sub(r"(?m)^--extra-index-url .*\n", "", text)
    return text


@contextmanager
def jupyter(folder, environment):
    """The address of a JupyterLab server on `folder`, started as Binder starts it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}",
               "--IdentityProvider.token=t", "--LabApp.news_url=None"]  # fmt: skip
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(240):
            with suppress(OSError):
                urlopen(f"http://127.0.0.1:{port}/api?{TOKEN}").close()
                break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture(scope="module")
def lab(checkout, environment):
    nbformat.write(
        new_notebook(cells=[new_markdown_cell("# One explorable"), new_code_cell(DRAW)], metadata=KERNEL),
        checkout / "book" / "explorable.ipynb",
    )
    with jupyter(checkout, environment) as address:
        yield address


@contextmanager
def opened(browser, lab, name):  # noqa: F811
    """A tab on the chapter, at the path to which the launch button leads; told what the console complains of."""
    with browser.new_context(viewport={"width": 1400, "height": 1000}) as context:
        tab, errors = context.new_page(), []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(f"{lab}lab/tree/book/{name}.ipynb?{TOKEN}", timeout=2 * MINUTES)
        tab.locator(".jp-NotebookPanel:visible h1").first.wait_for(timeout=2 * MINUTES)
        tab.errors = errors
        yield tab


def run_all(tab, path):
    """Run > Run All Cells; the saved notebook once every cell has run, or one has raised."""
    before = path.read_text()
    tab.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
    tab.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
    tab.locator(".jp-NotebookPanel:visible [data-status=busy]").first.wait_for(timeout=MINUTES)
    tab.locator(".jp-NotebookPanel:visible [data-status=idle]").first.wait_for(timeout=10 * MINUTES)
    tab.locator(".jp-NotebookPanel:visible").first.press("Control+s")
    for _ in range(100):
        if path.read_text() != before:
            break
        tab.wait_for_timeout(100)
    return nbformat.read(path, as_version=4)


def problems(notebook):
    """Cells that did not run, raised, or wrote to stderr."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    lost = [cell.id for cell in cells if not cell.execution_count]
    outputs = [output for cell in cells for output in cell.outputs]
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
def test_every_chapter_opens_and_its_markup_is_read(browser, lab, name):  # noqa: F811
    with opened(browser, lab, name) as tab:
        tab.locator("aside", has_text="You can change").first.wait_for(timeout=MINUTES)
        shown = tab.locator(".jp-NotebookPanel:visible").inner_text()
        assert "```{" not in shown
        assert not tab.locator(".jp-Dialog").count()
        assert tab.errors == []


def test_the_first_chapter_runs_and_runs_again_with_a_changed_parameter(browser, checkout, lab):  # noqa: F811
    path = checkout / "book" / "01-replay.ipynb"
    with opened(browser, lab, "01-replay") as tab:
        change(tab, "dataset: str", 'dataset: str = "digits"')
        first = run_all(tab, path)
        assert problems(first) == []
        assert told(first) == ["dataset"]
        change(tab, "steps: int", "steps: int = 50")
        second = run_all(tab, path)
        assert problems(second) == []
        assert told(second) == ["dataset", "steps"]


def change(tab, start, line):
    """Type another line over the one that starts so."""
    found = tab.locator(".jp-NotebookPanel:visible .cm-line", has_text=re.compile(f"^{re.escape(start)}")).first
    found.scroll_into_view_if_needed()
    found.click()
    tab.keyboard.press("Home")
    tab.keyboard.press("Shift+End")
    tab.keyboard.insert_text(line)


def told(notebook):
    """Which parameters the notebook says it was run with, other than the book's own."""
    texts = [o.data["text/plain"] for c in notebook.cells if c.cell_type == "code" for o in c.outputs if "data" in o]
    (note,) = [text for text in texts if text.startswith("This run differs")]
    return sorted(line.split(":")[0] for line in note.splitlines()[1:])


def test_an_explorable_works_in_jupyterlab(browser, checkout, lab):  # noqa: F811
    with opened(browser, lab, "explorable") as tab:
        assert problems(run_all(tab, checkout / "book" / "explorable.ipynb")) == []
        element = tab.locator("draw-digit")
        element.and_(tab.locator(".x-live")).wait_for(timeout=MINUTES)
        before = element.inner_text()
        element.get_by_role("button").first.click()
        tab.wait_for_timeout(500)
        assert element.inner_text() != before
        assert tab.errors == []


def test_the_settings_of_the_server_are_its_own(checkout):
    assert "error" not in json.dumps((checkout / "server.log").read_text()).lower()
