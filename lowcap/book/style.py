"""What every chapter has in common, checked before it runs: its frame, its parameters, cells that can be read."""

from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from lowcap.book import gate, source
from lowcap.book.run import run
from lowcap.errors import BuildError, UserError
from lowcap.notebook import ledger, parameters
from lowcap.notebook.parameter_table import literal

LINES = 25  # of a code cell, at most
OPENING = ("**You will see**", "**Run time**", "**You can change**")
CLOSING = ("## Verdict", "## Things to try")
DEFINITIONS = ("def ", "class ", "async def ")


def check(root: Path, chapter: str, out: Path) -> Path:
    """Check `chapter` of the checkout `root` as a newcomer should before a pull request; the path of its page in `out`.

    Its style first, then a run at fast settings on the bundled digits, gated as for publishing. Raises UserError for a
    chapter that the book does not know, BuildError with every complaint about style, or why it does not run.
    """
    book = source.load(root)
    if chapter not in book.chapters:
        raise UserError(f"chapter `{chapter}` is not in _toc.yml; add it there. There are: {', '.join(book.chapters)}")
    parameters.schema(chapter)
    path = book.chapters[chapter]
    notebook = nbformat.read(path, as_version=4)
    gate.check_source(path, notebook)
    found = list(complaints(chapter, notebook))
    if found:
        raise BuildError(f"{path.name}: {'; '.join(found)}")
    values = {"dataset": "digits"} | parameters.fast(chapter)
    return run(root, chapter, [f"{name}={literal(value)}" for name, value in values.items()], out)


def complaints(chapter: str, notebook: NotebookNode) -> Iterator[str]:
    """What is not as in every other chapter: one sentence each."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    if not notebook.cells or not notebook.cells[0].source.startswith("# "):
        yield "the first cell must be text that starts with the title, `# Title`"
    yield from (f"the first cell lacks {part}" for part in OPENING if part not in notebook.cells[0].source)
    yield from (f"there is no section `{part}`" for part in CLOSING if f"\n{part}" not in f"\n{text}")
    if "lowcap run" not in text.split(CLOSING[1])[-1]:
        yield f"`{CLOSING[1]}` must hold commands, such as `lowcap run {chapter} -p name=value`"
    yield from _frame(chapter, code)
    for number, cell in enumerate(code, start=1):
        yield from (f"code cell {number} {said}" for said in _cell(cell))
    if not any(claim.chapter == chapter for claim in ledger.catalogue().values()):
        yield "claims.toml has no claim that this chapter judges"


def _frame(chapter: str, code: list[NotebookNode]) -> Iterator[str]:
    """The two cells with which every chapter begins."""
    if not code or code[0].source != parameters.cell(chapter):
        yield f"the first code cell must be what `lowcap new {chapter}` writes"
    elif "parameters" not in code[0].metadata.get("tags", []):
        yield "the first code cell must be tagged `parameters`"
    if len(code) < 2 or f'parameters.check("{chapter}", globals())' not in code[1].source:
        yield f'the second code cell must call `parameters.check("{chapter}", globals())`'


def _cell(cell: NotebookNode) -> Iterator[str]:
    lines = cell.source.splitlines()
    if len(lines) > LINES and "parameters" not in cell.metadata.get("tags", []):
        yield f"has {len(lines)} lines; at most {LINES}, or the page cannot be read"
    if any(line.startswith(DEFINITIONS) for line in lines):
        yield "defines a function or class; it belongs in the package, with a test"
    if "hide-input" not in cell.metadata.get("tags", []):
        yield "is not tagged `hide-input`"
    if "plt.show()" in cell.source:
        about = cell.metadata.get("mystnb", {})
        wanted = {"figure": ("caption", "name"), "image": ("alt",)}
        missing = [f"{part}.{key}" for part, keys in wanted.items() for key in keys if not about.get(part, {}).get(key)]
        if missing:
            yield f"draws a figure and lacks mystnb.{', mystnb.'.join(missing)} in its metadata"
