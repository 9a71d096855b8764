"""Run one chapter with the reader's own parameters: an executed notebook, and a page of it."""

import copy
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import nbformat

from lowcap import files, tasks
from lowcap.book import cache, gate, source, stage
from lowcap.book.build import generate, hold, repository
from lowcap.book.execute import TIME_LIMIT, execute
from lowcap.book.pages import assets, reading, single_file, site
from lowcap.book.steps import Steps
from lowcap.errors import UserError
from lowcap.notebook import ledger, parameters
from lowcap.progress import Progress

REFERENCES = "## References\n\n```{bibliography}\n:filter: docname in docnames\n```"


def run(
    root: Path,
    chapter: str,
    assignments: Sequence[str],
    out: Path,
    limit: float = TIME_LIMIT,
    *,
    one_file: bool = False,
) -> Path:
    """Execute `chapter` with `assignments` ("name=value"); the path of its page, `out/html/index.html`, or of the
    self-contained `out/CHAPTER.html` if `one_file` is asked for.

    The executed notebook is `out/CHAPTER.ipynb`. Raises UserError before a kernel starts when a name or a value is
    wrong; BuildError when the run fails, and then `out` keeps what it had.
    """
    raw = parameters.parse_assignments(assignments)
    checked = parameters.validate(chapter, raw)
    model = checked.model_dump(mode="json")
    book, steps = source.load(root), Steps()
    if chapter not in book.chapters:
        raise UserError(f"chapter `{chapter}` is not in this book's table of contents: {', '.join(book.chapters)}")
    altered = {name: model[name] for name in raw}
    with hold(out.resolve(), "--out"):
        put_back(out.resolve() / "html")
        work, dataset = out.resolve() / "stage", tasks.resolve(model["dataset"])
        parameters.check_classes_exist(checked, dataset)
        stage.prepare(book, work)
        describe = f"{chapter}: cell {{}} of {{}}, {{:.0f}} s".format
        with steps.step(f"execute {chapter}"), closing(Progress(describe, transient=True)) as progress:
            done = execute(book.chapters[chapter], work / "book", altered, dataset, limit, progress.show)
        for warning in gate.warned(done.notebook):
            print(f"{chapter}: {warning}", file=sys.stderr)
        gate.check_executed(chapter, done.notebook, injected=bool(altered))
        done.notebook.metadata["lowcap"] = cache.record(done, model, tasks.identity(dataset), root)
        with steps.step("page"):
            page = _publish(book, chapter, done.notebook, work, dataset, one_file)
    print(f"The executed notebook is {out / chapter}.ipynb, its page {page}")
    return page


def _publish(
    book: source.Book, chapter: str, notebook: nbformat.NotebookNode, work: Path, dataset: str, one_file: bool
) -> Path:
    """Make the page from the stage `work`, then put notebook and page beside it in place of earlier ones."""
    out, place = work.parent, book.chapters[chapter].relative_to(book.root)
    staged = copy.deepcopy(notebook)
    assets.move(staged, work)
    reading.dress(staged, chapter, {} if one_file else reading.glossary_terms(work))
    if one_file:
        staged.cells.append(nbformat.v4.new_markdown_cell(REFERENCES))
    nbformat.write(staged, work / place)
    generate(work, ledger.collect([notebook]), {chapter: notebook.metadata["lowcap"]})
    banner = stage.banner(dataset, False, _names(dataset))
    stage.configure(book, work, banner=banner, repository=repository(book.root), chapter=chapter, one_file=one_file)
    pages = site.make_pages(work, out, strict=False)
    site.offer(pages, {chapter: notebook}, repository(book.root))
    site.tidy(pages)
    files.write(out / f"{chapter}.ipynb", nbformat.writes(notebook).encode())
    page = out / "html" / "index.html"
    if one_file:
        page = single_file.write(pages, pages / place.with_suffix(".html"), out / f"{chapter}.html")
    else:
        swap(pages, out / "html")
    for left in (work, out / "pages"):
        shutil.rmtree(left)
    return page


def _names(dataset: str) -> tuple[str, ...]:
    """The names of the dataset's classes, unless they are the ten digits."""
    names = tasks.class_names(dataset)
    return () if names == tuple(map(str, range(10))) else names


def swap(new: Path, place: Path) -> None:
    """Put the folder `new` at `place`; what was there is deleted only when the new one is in its place."""
    if place.exists():
        shutil.rmtree(_before(place), ignore_errors=True)
        os.replace(place, _before(place))
    try:
        os.replace(new, place)
    except OSError:
        put_back(place)
        raise
    shutil.rmtree(_before(place), ignore_errors=True)


def put_back(place: Path) -> None:
    """Undo a `swap` that ended, perhaps with the process, when the old folder was gone and the new one not there."""
    if _before(place).exists() and not place.exists():
        os.replace(_before(place), place)


def _before(place: Path) -> Path:
    return place.with_name(f".{place.name}.before")
