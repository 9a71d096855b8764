"""A small book in a temporary folder: the real configuration and style, chapters that take a second.

What takes long is made once per test session, also where several processes share the tests: `fast_book`, `built`.
`executed_here` and `quick_pages` stand in for a kernel and for Jupyter Book, in tests that are about neither.
"""

import contextlib
import io
import os
import shutil
import subprocess
import time
from pathlib import Path

import nbformat
from filelock import FileLock
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from lowcap.book import gate
from lowcap.book.build import Options, build
from lowcap.book.execute import Run

REAL = Path(__file__).resolve().parent.parent
KERNEL = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}
FIGURE = {"image": {"alt": "A straight line that rises from left to right."}}
JUDGED = """
from lowcap.notebook import claims
claims.begin("01-replay", changed=["steps"], dataset="digits")
claims.record("compared", 5)
claims.judge("replay-exact", True, numbers=["compared"])
"""
DRAW = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"


def clone(folder):
    """Copy what a fresh clone of this checkout would hold into the folder; the folder."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REAL, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REAL / name, folder / name)
    return folder


def figure_cell(name="fig-line", **changes):
    mystnb = FIGURE | {"figure": {"caption": "A line.", "name": name}} | changes
    return new_code_cell(DRAW, metadata={"mystnb": mystnb, "tags": ["hide-input"]})


def notebook(*cells, title="# A chapter"):
    """A chapter; text stands for a code cell."""
    made = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    return new_notebook(cells=[new_markdown_cell(title), *made], metadata=KERNEL)


def once(tmp_path_factory, name, make):
    """The folder that `make(folder)` fills, once per test session, whichever of the session's processes comes first.

    Tests must leave it as it is: others read it.
    """
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):  # each process has its folder in one that all share
        shared = shared.parent
    folder, made = shared / name, shared / f"{name}.made"
    with FileLock(shared / f"{name}.lock"):
        if not made.exists():
            make(folder)
            made.touch()
    return folder


def fast_book(tmp_path_factory):
    """The pages of the real book at fast settings on the bundled digits."""
    # One chapter at a time, in this process: the other of two processes that share the tests has the other core.
    options = {"dataset": "digits", "fast": True, "at_once": 1}
    folder = once(tmp_path_factory, "fast-book", lambda output: build(REAL, Options(output=output, **options)))
    return (folder / "html").resolve()


def built(tmp_path_factory):
    """A book with a figure, a number and a judged claim, whose chapter prints "good", built with real pages.

    Its folder has a name with a space and braces, which papermill, paths and addresses may stumble over.
    """

    def make_and_build(root):
        build(make(root, figure_cell("fig-replay"), JUDGED, "print('good')"), Options(dataset="digits"))

    return once(tmp_path_factory, "my {book}", make_and_build)


def executed_here(source, folder, parameters, dataset, limit=0.0, report=None):
    """A stand-in for `execute`, which takes seconds for a kernel: the cells run in this process.

    Only what they print is kept, and what one of them raises is raised here.
    """
    notebook, names, start = nbformat.read(source, as_version=4), {}, time.monotonic()
    gate.check_source(source, notebook)
    if parameters:
        given = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
        at = next(i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
        notebook.cells.insert(at + 1, new_code_cell(given, metadata={"tags": [gate.INJECTED]}))
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.execution_count = number
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(cell.source, names)
        if said.getvalue():
            cell.outputs.append(new_output("stream", name="stdout", text=said.getvalue()))
    notebook.metadata["lowcap"] = {"modules": []}  # which a kernel says: the gate asks for them
    return Run(notebook, time.monotonic() - start, 100 * 2**20)


def quick_pages(stage, work, *, strict=True):
    """A stand-in for Jupyter Book, which takes seconds: a page, twice, that shows what the chapter printed."""
    made = nbformat.read(stage / "book" / "01-replay.ipynb", as_version=4)
    said = "".join(out.get("text", "") for cell in made.cells for out in cell.get("outputs", []))
    pages = work / "pages" / "_build" / "html"
    shutil.rmtree(work / "pages", ignore_errors=True)
    shutil.copytree(stage / "book", pages / "_sources" / "book", ignore=shutil.ignore_patterns("static", ".*"))
    (pages / "book").mkdir()
    for page in ("index.html", "book/01-replay.html"):
        (pages / page).write_text(f"<html><head></head><body>{said}</body></html>")
    (work / "sphinx.log").touch()
    return pages


def make(root, *cells):
    """Write a book of an index, the chapter 01-replay with the given cells, a status and a references page."""
    book = root / "book"
    book.mkdir(parents=True)
    shutil.copytree(REAL / "book" / "static", book / "static")
    shutil.copy(REAL / "_config.yml", root)
    for name in ("status.md", "references.md"):
        shutil.copy(REAL / "book" / name, book)
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n"
        "  - file: book/01-replay\n  - file: book/status\n  - file: book/references\n"
    )
    (book / "index.md").write_text("# A toy book\n\n```{include} _generated/ledger.md\n```\n\n{cite}`toy2020`\n")
    (book / "references.bib").write_text("@book{toy2020, author={Ann Toy}, title={Toys}, year={2020}, publisher={T}}\n")
    nbformat.write(notebook(*(cells or (figure_cell(),))), book / "01-replay.ipynb")
    return root


def published(root):
    """The published site's name and the text of the chapter's page."""
    html = root / "_build" / "html"
    return os.readlink(html), (html / "book" / "01-replay.html").read_text()


def empty_tables(notebook):
    """The source of each cell that shows a table without rows, so that a verdict could rest on none."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            page = "".join(output.get("data", {}).get("text/html", ""))
            if "<tbody" in page and "<td" not in page:
                yield cell.source
