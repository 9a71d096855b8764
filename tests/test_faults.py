"""What goes wrong from outside. After each fault the last good book stands, one line names cause and remedy, and the
next build succeeds and leaves nothing of the broken one. (Sweeps: `test_sweep_engine.py`, `test_sweep_store.py`.)"""

import gzip
import hashlib
import http.server
import multiprocessing
import os
import re
import shutil
import signal
import sys
import threading
import time
from contextlib import ExitStack
from datetime import datetime, timedelta

import nbformat
import psutil
import pytest
import toybook
import toydata
from toydisk import files_of_at_most, read_only, tmpfs

from lowcap import cli, idx, parameters
from lowcap.book import build as module
from lowcap.book import cache, site
from lowcap.book.build import Options, build

DIGITS = Options(dataset="digits")
LEFT = {".lock", "executed", "html", "sites", "sphinx.log"}
PROCESSES = multiprocessing.get_context("forkserver")  # its children have imported the package, and nothing else
PROCESSES.set_forkserver_preload(["lowcap.book.build"])


def quick_pages(stage, work, *, strict=True):
    """A stand-in for Jupyter Book, which takes seconds: one page that shows what the chapter printed."""
    made = nbformat.read(stage / "book" / "01-replay.ipynb", as_version=4)
    said = "".join(out.get("text", "") for cell in made.cells for out in cell.get("outputs", []))
    pages = work / "pages" / "_build" / "html"
    shutil.rmtree(work / "pages", ignore_errors=True)
    (pages / "_sources" / "book").mkdir(parents=True)
    (pages / "index.html").write_text(f"<html><head></head><body>{said}</body></html>")
    (work / "sphinx.log").touch()
    return pages


def rewrite(root, *cells):
    nbformat.write(toybook.notebook(*cells), root / "book" / "01-replay.ipynb")


def book(root):
    """The book that stands: the name of its site, and all that is in it; no link of it leads nowhere."""
    html = (root / "_build" / "html").resolve()
    site.check_self_contained(html)
    return html, {path: path.read_bytes() for path in html.rglob("*") if path.is_file()}


def check_the_next_build(root, text="the next one"):
    """It succeeds, shows the text, and leaves nothing of the one before."""
    rewrite(root, f"print({text!r})")
    assert text in build(root, DIGITS).read_text()
    site.check_self_contained((root / "_build" / "html").resolve())
    assert {path.name for path in (root / "_build").iterdir()} == LEFT
    assert len(list((root / "_build" / "sites").iterdir())) == 1
    assert all(cache.find(root / "_build" / "executed", path.name.split(".")[0]) == path
               for path in (root / "_build" / "executed").iterdir())  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A book that was built with real pages; tests copy it."""
    root = toybook.make(tmp_path_factory.mktemp("good") / "book", toybook.figure_cell(), "print('good')")
    build(root, DIGITS)
    return root


@pytest.fixture
def root(good, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "make_pages", quick_pages)
    return shutil.copytree(good, tmp_path / "book", symlinks=True)


@pytest.fixture
def lowcap(monkeypatch, capsys, root):
    """Run the command line in the book; its exit code, standard output, and the last line of standard error."""
    monkeypatch.chdir(root)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["lowcap", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return ended.value.code or 0, out, err.splitlines()[-1] if err else ""

    return run


# --- faults of a chapter and of the disk: the build says what happened -------------------------------------------------

LIMITED = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))\n"  # address space, not memory
DEAF = "import ctypes, signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nctypes.PyDLL(None).sleep(60)"
MORE = "shrink a parameter, or run it where there is more memory"
ROOM = "No space left on device.*; make room there and run the same command again"



def check_failure(lowcap, root, told, *options):
    """One line says what is told, and the last good book stands."""
    before = book(root)
    code, _, said = lowcap("build", "--dataset", "digits", *options)
    assert code == 1
    assert re.search(f"^lowcap: .*{told}", said), said
    assert book(root) == before


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
         rf"the kernel died, most often for want of memory \(it held \d+ MiB when last seen\); {MORE}$"),
        (LIMITED + "bytearray(2**34)", rf"cell 2 raised MemoryError: .*; {MORE}$"),
        (LIMITED + "import torch\ntorch.zeros(2**34)", rf"cell 2 raised RuntimeError: .*; {MORE}$"),
        (DEAF, r"01-replay.ipynb: took longer than 4 s; shrink a parameter or raise --timeout$"),
    ],
    ids=["killed", "memory", "torch's memory", "deaf"],
)  # fmt: skip
def test_a_kernel_that_is_killed_starved_or_deaf(root, lowcap, cell, told):
    rewrite(root, cell)
    check_failure(lowcap, root, told, "--timeout", 4 if cell == DEAF else 60)
    assert not [child for child in psutil.Process().children(True) if "ipykernel" in " ".join(child.cmdline())]
    check_the_next_build(root)


@pytest.fixture
def small_disk(root, monkeypatch):
    """The build folder on a disk of its own."""
    monkeypatch.setattr(module, "ROOM", 0)
    kept = (root / "_build").rename(root / "kept")
    with tmpfs(root / "_build", "64m") as disk:
        shutil.copytree(kept, disk, symlinks=True, dirs_exist_ok=True)
        yield disk


@pytest.mark.parametrize("kib", [0, 400, 1000])
def test_a_full_disk(small_disk, root, lowcap, kib):
    rewrite(root, "print('x' * 500_000)")
    ballast = small_disk / "sites" / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - kib * 1024))
    check_failure(lowcap, root, ROOM)
    ballast.unlink()
    check_the_next_build(root)
