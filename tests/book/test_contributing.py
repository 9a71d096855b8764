"""CONTRIBUTING.md, followed to the letter in a copy of the checkout, makes a chapter that passes its own check."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell
from toybook import clone

from lowcap.book import style, template
from lowcap.errors import UserError

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    root = clone(tmp_path_factory.mktemp("newcomer") / "checkout")
    (root / ".venv" / "bin").mkdir(parents=True)
    command = root / ".venv" / "bin" / "lowcap"
    command.write_text(f'#!/bin/bash\nPYTHONPATH={root} exec {sys.executable} -m lowcap.cli "$@"\n')
    command.chmod(0o755)
    return root


def put(path, text, before):
    """Put the text into the file, before a mark; at its end where there is none."""
    found = path.read_text()
    at = found.index(before) if before else len(found)
    path.write_text(f"{found[:at]}{text}\n{found[at:]}" if before else f"{found}\n\n{text}")


def test_the_guide_followed_to_the_letter_makes_a_chapter(checkout):
    guide = (checkout / "CONTRIBUTING.md").read_text().split("## A new chapter")[1]
    blocks = {kind: [text for k, text in BLOCK.findall(guide) if k == kind] for kind in ("toml", "yaml", "sh")}
    put(checkout / "lowcap" / "claims.toml", blocks["toml"][0], "[readme]")
    put(checkout / "_toc.yml", blocks["yaml"][0].rstrip("\n"), "  - file: book/status")
    for command in blocks["sh"]:
        done = subprocess.run(["bash", "-e", "-c", command], cwd=checkout, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("12-mine is as a chapter should be\n")
    page = (checkout / "runs/12-mine/html/book/12-mine.html").read_text()
    assert "One hidden unit is nearly as good as many." in page
    lint = [sys.executable, "-m", "ruff", "check", "lowcap/chapters/mine", "book/12-mine.ipynb"]
    subprocess.run(lint, cwd=checkout, check=True)
    subprocess.run([*lint[:3], "format", "--check", "lowcap/chapters/mine"], cwd=checkout, check=True)


def test_what_is_no_id_begins_no_chapter(tmp_path):
    for name in ("mine", "12-Mine", "../12-mine", "12-mine.ipynb", "12-"):
        with pytest.raises(UserError, match="such as 12-mine; got"):
            template.new(tmp_path, name)
    assert not list(tmp_path.iterdir())


def test_an_existing_chapter_keeps_all_but_its_parameters(checkout):
    path = checkout / "book" / "01-replay.ipynb"
    before = nbformat.read(path, as_version=4)
    after = nbformat.read(template.new(checkout, "01-replay"), as_version=4)
    assert after == before
    next(cell for cell in after.cells if cell.cell_type == "code").source = "steps = 3"
    nbformat.write(after, path)
    assert nbformat.read(template.new(checkout, "01-replay"), as_version=4) == before


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_chapter_is_in_the_style_of_the_book(path):
    assert list(style.complaints(path.stem, nbformat.read(path, as_version=4))) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda nb: nb.cells.pop(0), "starts with the title"),
        (
            lambda nb: nb.cells[0].update(source=nb.cells[0].source.replace("**Run time**", "")),
            r"lacks \*\*Run time\*\*",
        ),
        (lambda nb: nb.cells[-1].update(source="The end."), "no section `## Things to try`"),
        (lambda nb: nb.cells[1].update(source="steps = 100"), "must be what `lowcap new 01-replay` writes"),
        (lambda nb: nb.cells[1].metadata.update(tags=["hide-input"]), "must be tagged `parameters`"),
        (lambda nb: nb.cells[2].update(source="import torch"), "must call `parameters.check"),
        (lambda nb: nb.cells.append(new_code_cell("x = 1\n" * 26)), "has 26 lines; at most 25"),
        (lambda nb: nb.cells.append(new_code_cell("def f():\n    return 1")), "defines a function"),
        (lambda nb: nb.cells.append(new_code_cell("1")), "not tagged `hide-input`"),
        (lambda nb: nb.cells.append(new_code_cell("plt.show()")), "lacks mystnb.figure.caption, .*mystnb.image.alt"),
    ],
)
def test_what_departs_from_the_style_is_told(change, told):
    notebook = nbformat.read(ROOT / "book" / "01-replay.ipynb", as_version=4)
    change(notebook)
    assert re.search(told, "; ".join(style.complaints("01-replay", notebook)))


def test_a_chapter_without_a_claim_is_told():
    notebook = nbformat.read(ROOT / "book" / "01-replay.ipynb", as_version=4)
    notebook.cells[2].source = notebook.cells[2].source.replace("01-replay", "02-capacity")
    assert "no claim" not in "; ".join(style.complaints("02-capacity", notebook))
