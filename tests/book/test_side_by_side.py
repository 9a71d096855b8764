"""Chapters that run beside each other: all come back, what one raises is raised, and no process is left behind."""

import os
import signal
import threading
import time
from functools import partial

import nbformat
import psutil
import pytest
import toybook

from lowcap.book.build import Options, build
from lowcap.book.execute import Run
from lowcap.book.side_by_side import execute_all
from lowcap.errors import BuildError


def ran(seconds, text="done", folder=None):
    """A job that takes so long; `folder` holds a file for the time that it is at work, then how many there were."""
    if folder:
        mark = folder / str(os.getpid())
        mark.touch()
    time.sleep(seconds)
    if folder:
        (folder / f"{mark.name}.{sum(path.name.isdigit() for path in folder.iterdir())}").touch()
        mark.unlink()
    return Run(nbformat.v4.new_notebook(metadata={"text": text}), seconds, 0)


def fail(error):
    raise error


def offspring():
    return {child for child in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(child.cmdline())}


def test_all_jobs_come_back_by_name_and_at_most_so_many_run_at_once(tmp_path):
    jobs = {name: partial(ran, 0.3, name, tmp_path) for name in "abcd"}
    found = dict(execute_all(jobs, 2))
    assert {name: run.notebook.metadata["text"] for name, run in found.items()} == {name: name for name in "abcd"}
    seen = {int(path.suffix[1:]) for path in tmp_path.iterdir()}
    assert seen
    assert seen <= {1, 2}
    assert not offspring()


def test_what_a_job_raises_is_raised_and_the_others_are_ended():
    jobs = {"a": partial(ran, 99), "b": partial(fail, BuildError("b.ipynb: cell 2 raised"))}
    with pytest.raises(BuildError, match=r"^b\.ipynb: cell 2 raised$"):
        dict(execute_all(jobs, 2))
    assert not offspring()


def test_a_process_that_dies_is_named():
    with pytest.raises(BuildError, match=r"^a: the process that ran it died; .*--at-once 1"):
        dict(execute_all({"a": partial(os._exit, 1), "b": partial(ran, 99)}, 2))
    assert not offspring()


def test_ctrl_c_ends_them_all():
    threading.Timer(2, partial(os.kill, os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        dict(execute_all({"a": partial(ran, 99), "b": partial(ran, 99)}, 2))
    assert not offspring()


def test_a_book_of_two_chapters_has_the_same_pages_whether_they_run_beside_each_other_or_not(tmp_path):
    root = toybook.make(tmp_path / "root", toybook.figure_cell())
    source = root / "book" / "01-replay.ipynb"
    (root / "book" / "02-capacity.ipynb").write_text(source.read_text().replace("fig-line", "fig-other"))
    toc = (root / "_toc.yml").read_text()
    (root / "_toc.yml").write_text(toc.replace("book/01-replay\n", "book/01-replay\n  - file: book/02-capacity\n"))
    pages = []
    for at_once in (2, 1):
        page = build(root, Options(dataset="digits", again=("*",), at_once=at_once))
        pages.append([(page.parent / "book" / f"{name}.html").read_text() for name in ("01-replay", "02-capacity")])
    assert pages[0] == pages[1]
    assert "Figure" in pages[0][1] or "Fig." in pages[0][1]
