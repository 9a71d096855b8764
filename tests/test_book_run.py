"""One chapter with the reader's own parameters."""

import nbformat
import pytest
import toybook
from nbformat.v4 import new_code_cell

from lowcap import parameters
from lowcap.book.run import run, swap
from lowcap.errors import BuildError

USE = "p = parameters.check('01-replay', globals())\nprint('steps', p.steps, 'pairs', p.pairs)"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    given = new_code_cell(parameters.cell("01-replay"), metadata={"tags": ["parameters", "remove-cell"]})
    cells = (given, "from lowcap import parameters", USE, toybook.figure_cell())
    return toybook.make(tmp_path_factory.mktemp("run") / "root", *cells)


@pytest.fixture(scope="module")
def page(root):
    return run(root, "01-replay", ["steps=7", "pairs=[[3, 8]]", "dataset=digits"], root / "mine")


def test_the_chapter_runs_with_the_altered_parameters(page, root):
    text = (root / "mine" / "html" / "book" / "01-replay.html").read_text()
    assert page == root / "mine" / "html" / "index.html"
    assert "steps 7" in text
    assert "not on MNIST" in text


def test_the_injected_cell_is_hidden_like_the_one_it_overrides(page, root):
    made = nbformat.read(root / "mine" / "01-replay.ipynb", as_version=4)
    injected = next(cell for cell in made.cells if "injected-parameters" in cell.metadata.get("tags", []))
    assert injected.metadata.tags == ["injected-parameters", "remove-cell"]
    assert "# Parameters" not in (root / "mine" / "html" / "book" / "01-replay.html").read_text()


def test_only_the_notebook_and_its_page_are_left(page, root):
    assert sorted(p.name for p in (root / "mine").iterdir() if not p.name.startswith(".")) == [
        "01-replay.ipynb",
        "html",
        "sphinx.log",
    ]


def test_the_earlier_page_goes_only_when_the_new_one_is_in_its_place(tmp_path):
    for name in ("html", "pages"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text(name)
    with pytest.raises(FileNotFoundError):
        swap(tmp_path / "missing", tmp_path / "html")
    assert (tmp_path / "html" / "index.html").read_text() == "html"
    swap(tmp_path / "pages", tmp_path / "html")
    assert [(path.name, path.read_text()) for path in tmp_path.glob("*/*")] == [("index.html", "pages")]


def test_a_run_that_fails_keeps_the_earlier_one(page, root):
    source = root / "book" / "01-replay.ipynb"
    good, before = source.read_text(), page.stat().st_mtime
    nbformat.write(toybook.notebook(parameters.cell("01-replay"), "raise OSError('gone')"), source)
    with pytest.raises(BuildError, match="raised OSError: gone"):
        run(root, "01-replay", [], root / "mine")
    source.write_text(good)
    assert page.stat().st_mtime == before
    assert (root / "mine" / "01-replay.ipynb").is_file()
