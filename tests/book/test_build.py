"""Whole builds of a small book: what comes out, and that each way to fail leaves the last good book in place."""

import errno
import json
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import filelock
import nbformat
import psutil
import pytest
import toybook
from nbformat.v4 import new_code_cell
from toybook import published

from lowcap import cli
from lowcap.book import build as module
from lowcap.book.build import Options, build
from lowcap.book.drift import TOLERANCE
from lowcap.errors import BuildError, DataError, UserError

UNEXPECTED = """
from lowcap.notebook import claims
claims._resolve = str  # the book's own run, without its data
claims.begin("01-replay", dataset="mnist")
for claim in claims.catalogue().values():
    if claim.chapter == "01-replay":
        claims.judge(claim.id, claim.expected != "holds")
"""
DIGITS = Options(dataset="digits")


def rewrite(root, *cells):
    nbformat.write(toybook.notebook(*cells), root / "book" / "01-replay.ipynb")


def executed_at(root):
    return json.loads((root / "_build/html/provenance.json").read_text())["01-replay"]["executed"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A copy of a book that was built once; tests that change it must expect to be followed by others."""
    source = toybook.built(tmp_path_factory)
    return shutil.copytree(source, tmp_path_factory.mktemp("books") / source.name, symlinks=True)


@pytest.fixture
def quick_pages(monkeypatch):
    monkeypatch.setattr(module.site, "make_pages", toybook.quick_pages)


def test_the_page_shows_the_figure_with_its_alternative_text_and_says_which_data(root):
    page = published(root)[1]
    assert f'alt="{toybook.FIGURE["image"]["alt"]}"' in page
    assert "not on MNIST" in page


def test_the_caption_leads_to_the_folded_code(root):
    page = published(root)[1]
    assert '<a class="figure-code" href="#code-fig-replay" aria-label="Code of Fig. 1">Code</a>' in page
    fold = page[page.index('<details class="admonition hide above-input">') : page.index("</details>")]
    assert 'id="code-fig-replay"' in fold


def test_results_and_provenance_lie_beside_the_pages(root):
    html = root / "_build" / "html"
    found = json.loads((html / "results.json").read_text())
    assert found["results"] == {"01-replay": {"compared": 5}}
    assert [(claim["id"], claim["verdict"]) for claim in found["claims"]] == [("replay-exact", "holds")]
    entry = json.loads((html / "provenance.json").read_text())["01-replay"]
    assert entry["data"]["name"] == "digits"
    assert entry["parameters"]["steps"] == 100
    assert entry["seconds"] > 0
    assert entry["peak_mib"] > 20
    assert entry["versions"]["python"].startswith("3.")


def test_the_status_page_shows_the_run(root):
    page = (root / "_build/html/book/status.html").read_text()
    assert "grid_pair" in page
    assert "MiB" in page
    assert f"it may move by {TOLERANCE:g} (of 1" in page


def test_the_downloadable_notebook_tells_no_path_of_this_machine(root):
    source = (root / "_build/html/_sources/book/01-replay.ipynb").read_text()
    assert str(root) not in source
    assert "papermill" not in json.loads(source)["metadata"]


def test_an_unchanged_chapter_is_not_executed_again_and_its_launch_button_opens_the_source(root, monkeypatch):
    first = executed_at(root)
    assert "mybinder" not in published(root)[1]
    monkeypatch.setenv("LOWCAP_REPOSITORY", "https://github.com/ann/book")
    build(root, DIGITS)
    assert executed_at(root) == first
    assert "https://mybinder.org/v2/gh/ann/book/main?urlpath=lab/tree/book/01-replay.ipynb" in published(root)[1]


def test_a_chapter_is_executed_again_if_asked(root, quick_pages, monkeypatch):
    monkeypatch.setattr(module, "execute", toybook.executed_here)
    rewrite(root, "print('again')")
    build(root, DIGITS)
    first = executed_at(root)
    build(root, DIGITS)
    assert executed_at(root) == first
    time.sleep(1)
    build(root, Options(dataset="digits", again=("01-replay",)))
    assert executed_at(root) != first


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["1", "raise ValueError('no such\\npair')"], r"cell 3 raised ValueError: no such pair"),
        (["import sys; print('careful', file=sys.stderr)"], r"stderr: careful"),
        (["import os; os._exit(1)"], r"the kernel died"),
        ([new_code_cell("1", metadata={"tags": ["remove-imput"]})], r"unknown tag remove-imput"),
        (
            ["from lowcap.notebook import parameters", "parameters.check('01-replay', globals())"],
            r"`dataset` is not set",
        ),
        ([toybook.figure_cell(image={"alt": ""})], r"image.alt"),
        ([new_code_cell("1", execution_count=1)], r"strip them"),
    ],
)
def test_a_chapter_that_fails_leaves_the_last_good_book(root, cells, told):
    before = published(root)
    rewrite(root, *cells)
    with pytest.raises(BuildError, match=told) as caught:
        build(root, DIGITS)
    assert "01-replay.ipynb" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert published(root) == before


def test_a_chapter_that_takes_too_long_is_ended_with_its_kernel(root):
    rewrite(root, "import time; time.sleep(60)")
    with pytest.raises(BuildError, match=r"took longer than 3 s"):
        build(root, Options(dataset="digits", limit=3))
    assert not [p for p in psutil.Process().children(recursive=True) if "ipykernel" in " ".join(p.cmdline())]


def test_a_page_with_a_warning_is_not_published(root):
    before = published(root)
    rewrite(root, "1")
    index = root / "book" / "index.md"
    text = index.read_text()
    index.write_text(f"{text}\n{{ref}}`no-such-label`\n")
    with pytest.raises(BuildError, match=r"index\.md.*no-such-label"):
        build(root, DIGITS)
    index.write_text(text)
    assert published(root) == before


def test_mathematics_that_cannot_be_set_is_not_published(root):
    rewrite(root, "1")
    index = root / "book" / "index.md"
    text = index.read_text()
    index.write_text(f"{text}\n$\\foo x$\n")
    with pytest.raises(BuildError, match=r"cannot set.*foo"):
        build(root, DIGITS)
    index.write_text(text)


def test_a_verdict_that_is_not_the_expected_one_is_not_published(root):
    before = published(root)
    rewrite(root, UNEXPECTED)
    with pytest.raises(BuildError, match=r"part ways: 01-replay: claim .* was expected to come out as .* the run says"):
        build(root, DIGITS)
    assert published(root) == before


def test_two_builds_do_not_share_a_folder(root):
    with filelock.FileLock(root / "_build" / ".lock"), pytest.raises(BuildError, match="another build"):
        build(root, DIGITS)


def test_a_full_disk_is_told_before_anything_is_done(root, monkeypatch):
    before = published(root)
    monkeypatch.setattr(module, "ROOM", 2**60)
    with pytest.raises(BuildError, match=r"_build has .* MiB free"):
        build(root, DIGITS)
    assert published(root) == before


def test_a_disk_that_is_full_after_the_chapters_ran_leaves_the_last_good_book(root, quick_pages, monkeypatch, capsys):
    def full(path, _):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    before = published(root)
    rewrite(root, "print('never published')")
    monkeypatch.setattr(module, "execute", toybook.executed_here)
    monkeypatch.setattr(module, "write_json", full)
    monkeypatch.setattr(cli.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["lowcap", "build", "--dataset", "digits"])
    monkeypatch.chdir(root)
    with pytest.raises(SystemExit, match="1"):
        cli.main()
    out, err = capsys.readouterr()
    assert "execute 01-replay" in out
    assert err.startswith("lowcap: cannot read or write ")
    assert err.endswith("results.json: No space left on device; make room on the disk and run the same command again\n")
    assert err.count("\n") == 1
    assert published(root) == before


def test_an_unknown_chapter_or_dataset_is_the_users_mistake(root):
    with pytest.raises(UserError, match=r"unknown chapter 02-x; this book has 01-replay"):
        build(root, Options(again=("02-x",)))
    with pytest.raises(UserError, match="dataset"):
        build(root, Options(dataset="cifar"))


def test_insisting_on_mnist_never_falls_back(root, monkeypatch):
    def fail(name="auto"):
        raise DataError(f"{name} cannot be had")

    monkeypatch.setattr(module.tasks, "resolve", fail)
    with pytest.raises(DataError, match="mnist cannot be had"):
        build(root, Options(dataset="mnist"))


def command(root, *arguments):
    start = [sys.executable, "-m", "lowcap.cli", *arguments]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # tests in the background inherit that it is ignored
    pipe = subprocess.PIPE
    return subprocess.Popen(start, cwd=root, stdout=pipe, stderr=pipe, text=True, preexec_fn=heed)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_is_one_line_and_leaves_no_kernel(root, tmp_path, sent):
    before, started = published(root), tmp_path / "started"
    rewrite(root, f"open({str(started)!r}, 'w').write(str(__import__('os').getpid()))", "import time; time.sleep(120)")
    running = command(root, "build", "--dataset", "digits")
    while not (started.is_file() and started.read_text()):
        assert running.poll() is None
        time.sleep(0.1)
    running.send_signal(sent)
    _, said = running.communicate(timeout=120)
    assert running.returncode == 130
    assert said.splitlines()[-1] == "lowcap: interrupted; the last good book is still there"
    assert "Traceback" not in said
    assert not psutil.pid_exists(int(Path(started).read_text()))
    assert published(root) == before


def test_after_all_failures_the_book_builds_again(root):
    rewrite(root, "print('back again')")
    build(root, DIGITS)
    assert "back again" in published(root)[1]
