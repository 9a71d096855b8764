"""Build the book: resolve the data, execute, gate, collect claims, make pages, check, swap."""

import copy
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from secrets import token_hex
from typing import Any

import nbformat

from lowcap import files, provenance, tasks
from lowcap.book import cache, gate, source, stage
from lowcap.book.execute import TIME_LIMIT, Run, execute
from lowcap.book.pages import assets, citation, ledger_page, paper, pdf, reading, site, status_page
from lowcap.book.side_by_side import execute_all
from lowcap.book.steps import Step, Steps
from lowcap.errors import BuildError, UserError
from lowcap.notebook import ledger, parameters
from lowcap.parallel import cores

ROOM = 200 * 2**20  # bytes that a site and its executed chapters need at most


@dataclass(frozen=True)
class Options:
    """How to build: the dataset ("auto" or a name), chapters to execute anew (`("*",)`: all), where, how fast.

    `at_once` is how many chapters run side by side; None: two, where there are two cores. `pdf` makes the paper too,
    printed by `browser` (a path or a name; None: one that `pdf.find_browser` finds).
    """

    dataset: str = "auto"
    again: tuple[str, ...] = ()
    output: Path = Path("_build")
    fast: bool = False
    limit: float = TIME_LIMIT
    at_once: int | None = None
    pdf: bool = False
    browser: str | None = None


def build(root: Path, options: Options = Options()) -> Path:
    """Build the book of the checkout `root`; the path of the site's first page.

    Raises UserError for a broken source or option, DataError and BuildError (and OSError) for what fails on the way;
    in each case the last good site and the executed chapters stay as they were.
    """
    book, steps = source.load(root), Steps()
    unknown = sorted(set(options.again) - {"*"} - set(book.chapters))
    if unknown:
        raise UserError(f"unknown chapter {', '.join(unknown)}; this book has {', '.join(book.chapters)}")
    if options.pdf:
        pdf.find_browser(options.browser)  # before chapters run for minutes
    output = (root / options.output).resolve()
    with hold(output, "--output"):
        with steps.step("data") as step:
            dataset = step.note = tasks.resolve(options.dataset)
        if dataset == "digits":
            print(f"MNIST was not used, and every page says so. {stage.MNIST_HELP}")
        page = Build(book, output, options, dataset, steps).run()
    steps.total()
    print(f"The book is at {page}")
    return page


@contextmanager
def hold(output: Path, option: str) -> Iterator[None]:
    """`files.held` for a build in the folder that `option` names; raises BuildError when there is too little room."""
    with files.held(output, "build", option):
        free = shutil.disk_usage(output).free
        if free < ROOM:
            raise BuildError(f"{output} has {free >> 20} MiB free, a build needs {ROOM >> 20} MiB; make room there")
        yield


@dataclass(frozen=True)
class Wanted:
    """A chapter as this build wants it: its notebook, altered parameters, all parameters, the name in the cache."""

    path: Path
    overrides: dict[str, Any]
    model: dict[str, Any]
    key: str


@dataclass(frozen=True)
class Build:
    """One build under way: the book, where it goes, how, on which data."""

    book: source.Book
    output: Path
    options: Options
    dataset: str
    steps: Steps
    used: list[Path] = field(default_factory=list)  # of the cache

    @property
    def stage(self) -> Path:
        return self.output / "stage"

    @property
    def executed(self) -> Path:
        return self.output / "executed"

    @cached_property
    def repository(self) -> str | None:
        return repository(self.book.root)

    def run(self) -> Path:
        """All steps after the data; the path of the site's first page."""
        with self.steps.step("stage"):
            stage.prepare(self.book, self.stage)
            stage.configure(
                self.book,
                self.stage,
                banner=stage.banner(self.dataset, self.options.fast),
                repository=self.repository,
            )
        notebooks = self._chapters(tasks.identity(self.dataset))
        with self.steps.step("claims") as step:
            facts = self._claims(notebooks)
            step.note = f"{len(facts['claims'])} judged"
        with self.steps.step("pages"):
            pages = site.make_pages(self.stage, self.output)
        with self.steps.step("tidy"):
            site.offer(pages, notebooks, self.repository)
            write_json(pages / "results.json", facts)
            write_json(pages / "provenance.json", {n: nb.metadata["lowcap"] for n, nb in notebooks.items()})
            site.tidy(pages)
        if self.options.pdf:
            with self.steps.step("PDF") as step:
                step.note = self._paper(pages, notebooks)
        with self.steps.step("check and publish"):
            site.check_self_contained(pages)
            page = site.publish(pages, self.output, f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{token_hex(4)}")
        cache.tidy(self.executed, self.used)
        for left in (self.stage, self.output / "pages"):
            shutil.rmtree(left)
        return page

    def _chapters(self, identity: dict[str, Any]) -> dict[str, nbformat.NotebookNode]:
        """The executed and gated chapters in the book's order; what nothing has changed for comes from the cache."""
        wanted = {name: self._wanted(name, path, identity) for name, path in self.book.chapters.items()}
        ready, todo = dict[str, nbformat.NotebookNode](), dict[str, Wanted]()
        for name, chapter in wanted.items():
            if kept := self._kept(name, chapter):
                ready[name] = self._staged(name, chapter, nbformat.read(kept, as_version=4))
                self.used.append(kept)
                self.steps.ended(Step(f"execute {name}", "unchanged, not executed again"))
            else:
                todo[name] = chapter
        for name, run in self._executed(todo):
            self.steps.ended(Step(f"execute {name}", f"peak {run.peak_bytes / 2**20:.0f} MiB", run.seconds))
            run.notebook.metadata["lowcap"] = cache.record(run, wanted[name].model, identity, self.book.root)
            ready[name] = self._staged(name, wanted[name], run.notebook)
            self.used.append(cache.keep(self.executed, wanted[name].key, run.notebook))
        return {name: ready[name] for name in wanted}

    def _wanted(self, name: str, path: Path, identity: dict[str, Any]) -> Wanted:
        overrides = parameters.fast(name) if self.options.fast else {}
        model = parameters.validate(name, overrides).model_dump(mode="json")
        return Wanted(path, {key: model[key] for key in overrides}, model, cache.cache_key(path, model, identity))

    def _kept(self, name: str, chapter: Wanted) -> Path | None:
        again = {name, "*"} & set(self.options.again)
        return None if again else cache.find(self.executed, chapter.key)

    def _executed(self, todo: Mapping[str, Wanted]) -> Iterator[tuple[str, Run]]:
        """Run the chapters, side by side where that is asked for; those that measure time have the machine to
        themselves."""
        at_once = min(2, cores()) if self.options.at_once is None else self.options.at_once
        jobs = {name: self._job(todo[name].path, todo[name].overrides) for name in sorted(todo, key=self._minutes)}
        alone = [name for name in jobs if at_once == 1 or parameters.alone(name)]
        beside = {name: job for name, job in jobs.items() if name not in alone}
        if len(beside) == 1:
            alone += [beside.popitem()[0]]
        for name in alone:
            yield name, jobs[name]()
        yield from execute_all(beside, at_once)

    def _job(self, path: Path, overrides: dict[str, Any]) -> Callable[[], Run]:
        folder = self.stage / path.parent.relative_to(self.book.root)
        return partial(execute, path, folder, overrides, self.dataset, self.options.limit)

    def _minutes(self, name: str) -> tuple[int, str]:
        """To sort by: what says that it takes long comes first, so that no core waits for it at the end."""
        first = nbformat.read(self.book.chapters[name], as_version=4).cells[0].source
        said = re.search(r"\*\*Run time\*\* about (\d+) minutes", first)
        return -int(said[1]) if said else 0, name

    def _staged(self, name: str, chapter: Wanted, notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
        """The chapter, when it has passed the gate; a copy of it, dressed for the pages, is then in the stage."""
        gate.check_executed(chapter.path.name, notebook, injected=bool(chapter.overrides))
        staged = copy.deepcopy(notebook)
        assets.move(staged, self.stage)
        reading.dress(staged, name, reading.glossary_terms(self.stage))
        nbformat.write(staged, self.stage / chapter.path.relative_to(self.book.root))
        return notebook

    def _paper(self, pages: Path, notebooks: Mapping[str, nbformat.NotebookNode]) -> str:
        """Put the PDF among the pages, and links to it; what to say about it."""
        executed = max(datetime.fromisoformat(nb.metadata["lowcap"]["executed"]) for nb in notebooks.values())
        about = paper.About(
            self.book.config["title"],
            self.book.config["author"],
            f"{executed.day} {executed:%B %Y}",
            stage.banner(self.dataset, self.options.fast),
        )
        documents = [path.relative_to(self.book.root).with_suffix("").as_posix() for path in self.book.documents]
        made = pdf.make(pages, documents, about, executed, pdf.find_browser(self.options.browser))
        return pdf.offer(pages, made, documents[0])

    def _claims(self, notebooks: dict[str, nbformat.NotebookNode]) -> dict[str, Any]:
        """Write the pages that are made from the run; what the run found. Raises BuildError for unexpected verdicts."""
        found = ledger.collect(notebooks.values())
        problems = ledger.check_expected(found)
        if problems:
            raise BuildError(f"the text and the evidence part ways: {'; '.join(problems)}")
        generate(self.stage, found, {name: notebook.metadata["lowcap"] for name, notebook in notebooks.items()})
        citation.write(self.book.root, self.stage, self.repository)
        return {"results": results(found), "claims": ledger.verdicts(found)}


def generate(place: Path, found: list[dict[str, Any]], origins: dict[str, dict[str, Any]]) -> None:
    """Write what pages include of what was `found`, and of where it comes from, into the stage `place`."""
    judged = Counter(claim["chapter"] for claim in ledger.verdicts(found))
    made = {
        "ledger": ledger_page.ledger_table(found),
        "score": ledger_page.score_table(found),
        "evidence": status_page.evidence(origins, judged),
        "status": status_page.status_page(origins),
    }
    for name, text in made.items():
        (place / stage.GENERATED / f"{name}.md").write_text(text, encoding="utf-8")


def results(found: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float | str]]:
    """Of what `ledger.collect` found, the recorded numbers and texts: chapter -> key -> value."""
    chapters: dict[str, dict[str, float | str]] = {}
    for item in found:
        if "key" in item:
            chapters.setdefault(item["chapter"], {})[item["key"]] = item["value"]
    return chapters


def repository(root: Path) -> str | None:
    """The book's address on the web: LOWCAP_REPOSITORY, else the checkout's remote; None when neither is on the web."""
    return stage.web_address(os.environ.get("LOWCAP_REPOSITORY") or provenance.remote_of(root))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
