"""What goes wrong from outside. After each fault the last good book stands, one line names cause and remedy, and the
next build succeeds and leaves nothing of the broken one. (Sweeps: `test_sweep_engine.py`, `test_sweep_store.py`.)"""

import json
import multiprocessing
import os
import re
import shutil
import signal
import time
from datetime import datetime, timedelta

import nbformat
import psutil
import pytest
import toybook
from nbformat.v4 import new_code_cell
from toydisk import files_of_at_most, tmpfs

from lowcap.book import build as module
from lowcap.book import cache, run
from lowcap.book.build import Options, build
from lowcap.book.execute import execute
from lowcap.book.pages import site
from lowcap.book.publish import archive
from lowcap.notebook import parameters

DIGITS = Options(dataset="digits")
LEFT = {".lock", "executed", "html", "sites", "sphinx.log"}
PROCESSES = multiprocessing.get_context("forkserver")  # its children have imported the package, and nothing else
PROCESSES.set_forkserver_preload(["lowcap.book.build"])


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


@pytest.fixture
def root(tmp_path_factory, tmp_path, monkeypatch):
    """A copy of a book that was built with a real kernel and real pages; what is built in it takes stand-ins.

    Tests that are about kernels, or about chapters with more than printed text, ask for `kernels` too.
    """
    book = toybook.built(tmp_path_factory)  # first, since other tests share it, with real pages
    monkeypatch.setattr(site, "make_pages", toybook.quick_pages)
    for place in (module, run):
        monkeypatch.setattr(place, "execute", toybook.executed_here)
    return shutil.copytree(book, tmp_path / "book", symlinks=True)


@pytest.fixture
def kernels(root, monkeypatch):
    """Chapters run in real kernels."""
    monkeypatch.setattr(module, "execute", execute)


@pytest.fixture
def lowcap(root, monkeypatch, lowcap):
    """The command line, in the book; of what it says on standard error, the last line."""
    monkeypatch.chdir(root)

    def call(*arguments):
        code, out, err = lowcap(*arguments)
        assert "Traceback" not in err
        return code, out, err.splitlines()[-1] if err else ""

    return call


LIMITED = "import resource\nresource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))\n"  # address space, not memory
DEAF = "import ctypes, signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nctypes.PyDLL(None).sleep(99)"
MORE = "shrink a parameter, or run it where there is more memory"
ROOM = "No space left on device.*; make room on the disk and run the same command again"


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
def test_a_kernel_that_is_killed_starved_or_deaf(root, kernels, lowcap, cell, told):
    rewrite(root, cell)
    check_failure(lowcap, root, told, "--timeout", 4 if cell == DEAF else 600)
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
def test_a_full_disk(small_disk, root, kernels, lowcap, monkeypatch, kib):
    rewrite(root, "print('x' * 500_000)")
    ballast = small_disk / "sites" / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - kib * 1024))
    check_failure(lowcap, root, ROOM)
    ballast.unlink()
    monkeypatch.setattr(module, "execute", toybook.executed_here)
    check_the_next_build(root)


@pytest.fixture
def chapter(root, lowcap):
    """The chapter takes parameters, and was run once with `lowcap run`."""
    given = new_code_cell(parameters.cell("01-replay"), metadata={"tags": ["parameters"]})
    rewrite(root, given, "print('run', steps)")
    assert lowcap("run", "01-replay", "-p", "dataset=digits", "-p", "steps=3", "--out", "mine")[0] == 0
    return root / "mine"


@pytest.mark.parametrize("size", [100, 4_000])
def test_a_full_disk_during_a_run_keeps_the_earlier_one(root, lowcap, chapter, size):
    kept = [chapter / "01-replay.ipynb", *(path for path in chapter.glob("html/**/*") if path.is_file())]
    before = {path: path.read_bytes() for path in kept}
    again = ("run", "01-replay", "-p", "dataset=digits", "-p", "steps=5", "--out", "mine")
    with files_of_at_most(size):
        code, _, said = lowcap(*again)
    assert code == 1
    assert re.search("^lowcap: .*File too large.*; make room on the disk and run the same command again", said), said
    assert {path: path.read_bytes() for path in kept} == before
    assert lowcap(*again)[0] == 0
    assert "run 5" in (chapter / "html" / "index.html").read_text()
    assert {path.name for path in chapter.iterdir()} == {".lock", "01-replay.ipynb", "html", "sphinx.log"}


def test_a_full_disk_during_archiving_keeps_the_earlier_archive(root, lowcap):
    for name in archive.BESIDE:
        shutil.copy(toybook.REAL / name, root)
    assert lowcap("archive")[0] == 0
    before = (root / "dist" / "book.zip").read_bytes()
    with files_of_at_most(len(before) // 2):
        code, _, said = lowcap("archive")
    assert code > 0
    assert "File too large; make room on the disk and run the same command again" in said
    assert [(path.name, path.read_bytes()) for path in (root / "dist").iterdir()] == [("book.zip", before)]
    assert lowcap("archive")[0] == 0


KILLER = "import os, signal, time\nopen({pid!r}, 'w').write(str(os.getpid()))\nos.kill(os.getppid(), signal.SIGKILL)\n"
POINTS = {  # where the build is killed: what is replaced by its death
    "gate": (module.gate, "check_executed", lambda *_, **__: True),
    "caching": (os, "replace", lambda _, to: str(to).endswith(".ipynb")),
    "before the move": (module.site, "publish", lambda *_: True),
    "inside the move": (os, "replace", lambda _, to: to.name == "html"),
    "after the move": (shutil, "rmtree", lambda path, **_: path.parent.name == "sites"),
}


def running(pid):
    """Whether the process is at work: what has ended may wait for its new parent to say so."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def killed(root, point, pid):
    """A build, in a process of its own, that is killed at a point, perhaps by a process that it started."""
    module.site.make_pages = toybook.quick_pages if point != "pages" else site.make_pages
    module.execute = toybook.executed_here if point != "execute" else module.execute
    if point == "pages":
        site.START = site.START.replace("\nmain()", f"\n{KILLER.format(pid=str(pid))}time.sleep(99)")
    elif point in POINTS:
        place, name, due = POINTS[point]
        work = getattr(place, name)

        def die(*arguments, **options):
            if due(*arguments, **options):
                os.kill(os.getpid(), signal.SIGKILL)
            return work(*arguments, **options)

        setattr(place, name, die)
    build(root, DIGITS)


@pytest.mark.parametrize("point", ["execute", "pages", *POINTS])
def test_a_build_that_is_killed(root, tmp_path, request, point):
    before, pid = book(root), tmp_path / "pid"
    rewrite(root, (KILLER.format(pid=str(pid)) + "time.sleep(99)") if point == "execute" else "print('killed')")
    process = PROCESSES.Process(target=killed, args=(root, point, pid), daemon=True)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    end = time.monotonic() + 120
    while pid.exists() and running(int(pid.read_text())):  # what the build had started
        assert time.monotonic() < end
        time.sleep(0.1)
    if point == "after the move":
        assert "killed" in (root / "_build" / "html" / "index.html").read_text()
        book(root)
    else:
        assert book(root) == before
    if point == "execute":
        request.getfixturevalue("kernels")
    check_the_next_build(root)


def waiting(root):
    module.site.make_pages, module.execute = toybook.quick_pages, toybook.executed_here
    build(root, DIGITS)


def test_two_builds_at_once(root, lowcap, tmp_path):
    started, go = tmp_path / "started", tmp_path / "go"
    wait = f"import os, time\nopen({str(started)!r}, 'w').close()\nwhile not os.path.exists({str(go)!r}):\n"
    rewrite(root, wait + "    time.sleep(0.05)\nprint('the first')")
    first = PROCESSES.Process(target=waiting, args=(root,), daemon=True)
    first.start()
    while not started.exists():
        assert first.is_alive()
        time.sleep(0.05)
    check_failure(lowcap, root, f"another build is at work in {root / '_build'}; wait for it or give another --output$")
    go.touch()
    first.join()
    assert first.exitcode == 0
    assert "the first" in (root / "_build" / "html" / "index.html").read_text()
    check_the_next_build(root)


DAMAGES = {
    "cut off": lambda text: text[: len(text) // 2],
    "altered": lambda text: text.replace("good", "evil"),
    "no notebook": lambda text: "{}",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cached_chapter_is_executed_again(root, lowcap, damage):
    before = set((root / "_build" / "executed").iterdir())
    rewrite(root, "print('good')")
    build(root, DIGITS)
    (cached,) = set((root / "_build" / "executed").iterdir()) - before
    whole = cached.read_text()
    cached.write_text(DAMAGES[damage](whole))
    for name in archive.BESIDE:
        shutil.copy(toybook.REAL / name, root)
    code, _, said = lowcap("archive")
    assert code == 1
    assert said.endswith("01-replay changed; build the book first: make book")
    cached.write_text(DAMAGES[damage](whole))
    code, out, said = lowcap("build", "--dataset", "digits")
    assert code == 0
    assert f"{cached} was damaged and is deleted; its chapter must be executed again" in said
    assert re.search(r"execute 01-replay .* peak", out)
    assert "good" in (root / "_build" / "html" / "index.html").read_text()
    assert lowcap("archive")[0] == 0
    check_the_next_build(root)


class Clock(datetime):
    shift = timedelta(0)

    @classmethod
    def now(cls, tz=None):
        return datetime(2026, 3, 29, 2, 30, tzinfo=tz) + cls.shift


@pytest.mark.parametrize("days", [-400, 0, 400])
def test_a_clock_that_jumps(root, monkeypatch, days):
    """Back, not at all (two builds in the same second), ahead; and while a chapter runs."""
    for place in (module, cache):
        monkeypatch.setattr(place, "datetime", Clock)
    for number in range(cache.KEPT + 3):  # of the future
        path = cache.keep(root / "_build" / "executed", f"{number}", toybook.notebook("1"))
        os.utime(path, (2**32, 2**32))
    now, jumped = time.time, root / "jumped"
    monkeypatch.setattr(time, "time", lambda: now() + (86_400 * days if jumped.exists() else 0))
    rewrite(root, "print('first')")
    build(root, DIGITS)
    monkeypatch.setattr(Clock, "shift", timedelta(days=days))
    rewrite(root, f"open({str(jumped)!r}, 'w').close()\nimport time\ntime.sleep(1)\nprint('second')")
    monkeypatch.setattr(module, "execute", execute)
    page = build(root, Options(dataset="digits", limit=3600))
    monkeypatch.setattr(module, "execute", toybook.executed_here)
    assert "second" in page.read_text()
    assert len(list((root / "_build" / "sites").iterdir())) == 1
    entry = json.loads((page.parent / "provenance.json").read_text())["01-replay"]
    assert 1 <= entry["seconds"] < 3600
    for _ in range(2):  # what the last book was made of stays in the cache
        assert archive.read(root, (root / "_build").resolve())
    assert len(list((root / "_build" / "executed").iterdir())) <= cache.KEPT + 1
    check_the_next_build(root)
