"""The gate between execution and publishing: what an executed chapter must not contain."""

from collections.abc import Iterator
from pathlib import Path

from nbformat import NotebookNode

from lowcap import dependencies
from lowcap.errors import BuildError

INJECTED = "injected-parameters"
TAGS = frozenset(
    {
        "parameters",
        "remove-cell",
        "remove-input",
        "remove-output",
        "hide-cell",
        "hide-input",
        "hide-output",
        "full-width",
        "margin",
    }
)
LIVE = ("application/vnd.jupyter.widget-view+json", "application/javascript")
MIN_ALT_WORDS = 4


def check_source(path: Path, notebook: NotebookNode) -> None:
    """Raise BuildError, with every reason, for a notebook that must not be executed as a chapter."""
    _refuse(path.name, [*_kernel(notebook), *_tags(notebook, injected=False), *_committed(notebook)])


def check_executed(name: str, notebook: NotebookNode, *, injected: bool = False) -> None:
    """Raise BuildError, with every reason, for an executed chapter that must not be published.

    `injected` allows the cell in which papermill puts altered parameters; the book at its own parameters has none.
    """
    found = [*_kernel(notebook), *_tags(notebook, injected), *_counts(notebook)]
    found += _modules(name.removesuffix(".ipynb"), notebook)
    for number, cell in _code(notebook):
        found += [f"code cell {number}: {reason}" for reason in (*_outputs(cell), *_figures(cell))]
    _refuse(name, found + list(_figure_names(notebook)))


def warned(notebook: NotebookNode) -> list[str]:
    """Take what cells wrote to stderr out of the notebook, in place; a line for each.

    The book must not have any; on a reader's own data a warning is to be reported, and no reason to lose the run.
    """
    said = []
    for number, cell in _code(notebook):
        streams = [o for o in cell.outputs if o.output_type == "stream" and o.name == "stderr"]
        said += [f"code cell {number} warned: {' '.join(output.text.split())[:300]}" for output in streams]
        cell.outputs = [output for output in cell.outputs if output not in streams]
    return said


def _refuse(name: str, reasons: list[str]) -> None:
    if reasons:
        raise BuildError(f"{name} cannot be published: {'; '.join(reasons)}")


def _code(notebook: NotebookNode) -> Iterator[tuple[int, NotebookNode]]:
    return enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1)


def _kernel(notebook: NotebookNode) -> Iterator[str]:
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    language = notebook.metadata.get("language_info", {}).get("name")
    if kernel != "python3":
        yield f"metadata.kernelspec.name must be python3, got {kernel}"
    if language != "python":
        yield f"metadata.language_info.name must be python, got {language}"


def _tags(notebook: NotebookNode, injected: bool) -> Iterator[str]:
    allowed = TAGS | {INJECTED} if injected else TAGS
    for number, cell in enumerate(notebook.cells, start=1):
        tags = set(cell.metadata.get("tags", []))
        if any("papermill-error" in tag for tag in tags):
            yield f"cell {number} is papermill's error banner: the run failed"
        elif INJECTED in tags and not injected:
            yield f"cell {number} was injected: run the chapter at its own parameters"
        elif tags - allowed:
            yield f"cell {number}: unknown tag {', '.join(sorted(tags - allowed))} (known: {', '.join(sorted(TAGS))})"


def _committed(notebook: NotebookNode) -> Iterator[str]:
    dirty = [str(n) for n, cell in _code(notebook) if cell.get("outputs") or cell.get("execution_count")]
    if dirty:
        yield f"source has outputs or execution counts in code cell {', '.join(dirty)}; strip them (nbstripout)"


def _counts(notebook: NotebookNode) -> Iterator[str]:
    counts = [cell.get("execution_count") for _, cell in _code(notebook)]
    if not counts:
        yield "there is no code cell"
    elif all(count is None for count in counts):
        yield "it was not executed"
    elif counts != list(range(1, len(counts) + 1)):
        where = next(n for n, count in enumerate(counts, start=1) if count != n)
        yield f"code cell {where} has execution count {counts[where - 1]}: not one run from top to bottom (or empty)"


def _modules(chapter: str, notebook: NotebookNode) -> Iterator[str]:
    """A module that was loaded but is not part of the chapter's key could change, and the chapter would not run."""
    loaded = notebook.metadata.get("lowcap", {}).get("modules")
    if loaded is None:
        yield "it does not say which modules it has loaded (metadata.lowcap.modules): execute it by `lowcap`"
    elif unknown := sorted(set(loaded) - dependencies.of_chapter(notebook, chapter).modules.keys()):
        yield (
            f"it has loaded {', '.join(unknown)}, which is not hashed with it: import that by an import statement, in "
            "the chapter or in a module that it imports, or do not load it"
        )


def _outputs(cell: NotebookNode) -> Iterator[str]:
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            yield f"raised {output.ename}: {output.evalue}"
        elif output.output_type == "stream" and output.name == "stderr":
            yield f"wrote to stderr: {' '.join(output.text.split())[:200]}"
        elif set(LIVE) & set(output.get("data", {})):
            yield "shows a widget or runs JavaScript, which a static page cannot carry"


def _figures(cell: NotebookNode) -> Iterator[str]:
    images = [o for o in cell.get("outputs", []) if any(kind.startswith("image/") for kind in o.get("data", {}))]
    if not images:
        return
    if len(images) > 1:
        yield f"draws {len(images)} images; one figure a cell, or they share one caption and alternative text"
    if any(o.output_type == "execute_result" and o not in images for o in cell.outputs):
        yield "shows a value beside its image, and both would be the figure; assign the last line to a name"
    meta = cell.metadata.get("mystnb", {})
    alt, figure = str(meta.get("image", {}).get("alt", "")), meta.get("figure", {})
    if len(alt.split()) < MIN_ALT_WORDS:
        yield f"image needs metadata.mystnb.image.alt of {MIN_ALT_WORDS} words or more, got {alt!r}"
    yield from (f"image needs metadata.mystnb.figure.{key}" for key in ("caption", "name") if not figure.get(key))


def _figure_names(notebook: NotebookNode) -> Iterator[str]:
    names = [cell.metadata.get("mystnb", {}).get("figure", {}).get("name") for _, cell in _code(notebook)]
    yield from (f"figure name {name} is used twice" for name in sorted({n for n in names if n and names.count(n) > 1}))
