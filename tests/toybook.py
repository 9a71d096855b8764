"""A small book in a temporary folder: the real configuration and style, chapters that take a second."""

import os
import shutil
import subprocess
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from lowcap.book.build import Options, build

REAL = Path(__file__).resolve().parent.parent
KERNEL = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}
FIGURE = {"image": {"alt": "A straight line that rises from left to right."}}
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


def fast_book(tmp_path_factory):
    """The real book at fast settings on the bundled digits; its chapters are executed once per test session."""
    output = tmp_path_factory.getbasetemp() / "fast-book"
    return build(REAL, Options(dataset="digits", fast=True, output=output)).parent.resolve()


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
