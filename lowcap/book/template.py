"""A new chapter from the template, with the parameters that `schema.py` describes."""

import re
from pathlib import Path

import nbformat

from lowcap.errors import UserError
from lowcap.notebook import parameters

TEMPLATE = Path("book") / "template" / "00-template.ipynb"
NAME = re.compile(r"\d\d-[a-z]+(?:-[a-z]+)*")


def new(root: Path, chapter: str) -> Path:
    """Write `book/CHAPTER.ipynb`; where it exists, only bring its parameters cell up to date. Returns its path.

    Raises UserError for a name that is none, and for a chapter that `schema.py` does not describe.
    """
    if not NAME.fullmatch(chapter):
        raise UserError(f"a chapter's id is two digits and words in small letters, such as 12-mine; got {chapter!r}")
    cell, path = parameters.cell(chapter), root / "book" / f"{chapter}.ipynb"
    if path.is_file():
        notebook = nbformat.read(path, as_version=4)
    else:
        text = (root / TEMPLATE).read_text(encoding="utf-8").replace("00-template", chapter)
        text = text.replace("template_", f"{chapter[3:].replace('-', '_')}_")  # the prefix of the chapter's keys
        notebook = nbformat.reads(text.replace('"id": "00-', f'"id": "{chapter[:2]}-'), as_version=4)
    first = next(one for one in notebook.cells if one.cell_type == "code")
    first.source, first.metadata.tags = cell, ["parameters", "hide-input"]
    nbformat.write(notebook, path)
    return path
