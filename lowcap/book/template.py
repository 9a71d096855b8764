"""A new chapter from the template: its folder in `lowcap/chapters`, with its parameters, and its notebook."""

import re
from importlib import invalidate_caches
from pathlib import Path

import nbformat

from lowcap.errors import UserError
from lowcap.notebook import parameters
from lowcap.notebook.schemas import ID

TEMPLATES = Path("book") / "template"


def new(root: Path, chapter: str) -> Path:
    """Write `book/CHAPTER.ipynb`; where it exists, only bring its parameters cell up to date. Returns its path.

    Where the chapter has no folder in `lowcap/chapters`, one is made, with parameters to begin with.

    Raises UserError for a name that is none.
    """
    if not ID.fullmatch(chapter):
        raise UserError(f"a chapter's id is two digits and words in small letters, such as 12-mine; got {chapter!r}")
    folder, path = root / "lowcap" / "chapters" / word(chapter), root / "book" / f"{chapter}.ipynb"
    if not folder.exists():
        _begin(folder, root / TEMPLATES / "parameters.py", chapter)
    cell = parameters.cell(chapter)
    if path.is_file():
        notebook = nbformat.read(path, as_version=4)
    else:
        text = (root / TEMPLATES / "00-template.ipynb").read_text(encoding="utf-8").replace("00-template", chapter)
        text = text.replace("template_", f"{word(chapter)}_")  # the prefix of the chapter's keys
        notebook = nbformat.reads(text.replace('"id": "00-', f'"id": "{chapter[:2]}-'), as_version=4)
    first = next(one for one in notebook.cells if one.cell_type == "code")
    first.source, first.metadata.tags = cell, ["parameters", "hide-input"]
    nbformat.write(notebook, path)
    return path


def word(chapter: str) -> str:
    """The name of the chapter's folder: `held_up` for 11-held-up."""
    return chapter[3:].replace("-", "_")


def _begin(folder: Path, template: Path, chapter: str) -> None:
    name = "".join(part.capitalize() for part in chapter[3:].split("-"))
    text = template.read_text(encoding="utf-8").replace("00-template", chapter).replace("Template", name)
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(f'"""Chapter {int(chapter[:2])}: {chapter[3:]}."""\n', encoding="utf-8")
    (folder / "parameters.py").write_text(re.sub("([Cc]hapter) 0", rf"\1 {int(chapter[:2])}", text), encoding="utf-8")
    invalidate_caches()  # else a process that has looked into the folder above does not see the new one
