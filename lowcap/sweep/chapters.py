"""Sweep a whole chapter: each shard is one run of its notebook by papermill, as `lowcap run` does it, with its page."""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd

from lowcap import dependencies, provenance, tasks
from lowcap.book import run as runner
from lowcap.book.execute import TIME_LIMIT
from lowcap.book.source import find_root, load
from lowcap.errors import UserError
from lowcap.notebook import ledger, parameters
from lowcap.notebook.parameter_table import literal
from lowcap.notebook.parameter_types import allowed
from lowcap.sweep.grid import Axis, parse, whole
from lowcap.sweep.origin import PACKAGES, origin
from lowcap.sweep.plan import Plan

MOST_RUNS = 1000
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class ChapterRun:
    """A chapter with some parameters, as text by name; `whole` are all of them, with the dataset that is meant."""

    chapter: str
    root: str
    home: str
    notebook: str
    given: tuple[tuple[str, str], ...]
    whole: tuple[tuple[str, str], ...]

    def describe(self) -> dict[str, Any]:
        """What the numbers depend on; not where the files lie."""
        every = dict(self.whole)
        return {"chapter": self.chapter, "notebook": self.notebook, "parameters": every, "dataset": every["dataset"]}

    def label(self) -> str:
        """For people."""
        return f"{self.chapter} " + ", ".join(f"{name}={text}" for name, text in self.given)

    @property
    def folder(self) -> Path:
        """Where the executed notebook and its page lie."""
        return Path(self.home) / "runs" / dependencies.digest(self.describe())[:12]

    @property
    def executed(self) -> Path:
        return self.folder / f"{self.chapter}.ipynb"

    def code(self) -> str:
        """A hash of the code that its rows follow from: the chapter's own, how it is executed, and how it is read."""
        return _code(Path(self.root), self.chapter)

    def is_whole(self) -> bool:
        """Whether notebook and page are there."""
        return self.executed.is_file() and (self.folder / "html" / "index.html").is_file()

    def rows(self) -> pd.DataFrame:
        """Run the chapter: a row per recorded number and judged claim, beside the swept parameters."""
        with _one_thread(), redirect_stdout(io.StringIO()):
            assignments = [f"{name}={text}" for name, text in self.given]
            runner.run(Path(self.root), self.chapter, assignments, self.folder, TIME_LIMIT)
        found = pd.DataFrame(_facts(ledger.collect([self.executed])), columns=["kind", "name", "value", "text"])
        swept = {name: _number_or_text(text) for name, text in self.given}
        return pd.concat([pd.DataFrame(swept, index=found.index), found.astype({"value": float})], axis=1)


@lru_cache(maxsize=4)
def _code(root: Path, chapter: str) -> str:
    notebook = nbformat.read(load(root).chapters[chapter], as_version=4)
    alone = [dependencies.meaning(module) for module in ("lowcap.book.execute", "lowcap.sweep.chapters")]
    follows = dependencies.of_chapter(notebook, chapter).facts(), dependencies.of_modules("lowcap.sweep.work").facts()
    return dependencies.digest([*alone, *follows])


def _facts(found: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, float, str]]:
    for item in found:
        if "key" in item:
            value = item["value"]
            yield "number", item["key"], math.nan if isinstance(value, str) else float(value), item["text"]
        elif "claim" in item:
            yield "claim", item["claim"]["id"], math.nan, item["claim"]["verdict"]


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let kernels that start in this block compute on one thread, whoever starts them."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def plan(chapter: str, assignments: Sequence[str], out: Path, backend: str) -> Plan:
    """The runs of a chapter over a grid of its parameters; those that are not named have the book's own values.

    Raises:
        UserError: an unknown chapter or parameter, values that are not allowed, a backend that has no common folder.
    """
    if backend != "loky":
        raise UserError("a chapter is swept on one machine, since its pages are files; leave out --backend")
    book, every = load(find_root(Path.cwd())), axes(chapter)
    if chapter not in book.chapters:
        raise UserError(f"chapter `{chapter}` is not in this book's table of contents: {', '.join(book.chapters)}")
    if not assignments:
        raise UserError(f"name at least one parameter of {chapter}, such as --grid {next(iter(every))}=...")
    named = {assignment.partition("=")[0].strip() for assignment in assignments}
    grid = {name: values for name, values in parse(assignments, every).items() if name in named}
    count = math.prod(map(len, grid.values()))
    if count > MOST_RUNS:
        raise UserError(f"the grid has {count:,} runs of the chapter; {MOST_RUNS:,} are the most")
    notebook = hashlib.sha256(book.chapters[chapter].read_bytes()).hexdigest()
    jobs = []
    for point in product(*grid.values()):
        given = dict(zip(grid, point, strict=True))
        model = parameters.validate(chapter, given).model_dump(mode="json")
        model["dataset"] = tasks.resolve(model["dataset"])
        texts = tuple((name, literal(value)) for name, value in model.items())
        jobs.append(ChapterRun(chapter, str(book.root), str(out), notebook, tuple(given.items()), texts))
    datasets = dict.fromkeys(job.describe()["dataset"] for job in jobs)
    packages = sorted({*PACKAGES, *provenance.PACKAGES})
    return Plan(f"chapter:{chapter}", grid, origin(datasets, jobs[0].code(), packages), jobs)


def axes(chapter: str) -> dict[str, Axis]:
    """The parameters of a chapter as axes; values are text as `lowcap run -p` takes it, whole numbers also ranges."""
    found = {}
    for name, field in parameters.schema(chapter).model_fields.items():
        words = allowed(field)
        example = f"{literal(field.default)}, several with commas between them"
        found[name] = Axis(partial(_read, chapter, name), words.words, example, literal(field.default))
    return found


def _read(chapter: str, name: str, text: str) -> list[str]:
    """One value, or those of a range, each checked alone."""
    field = parameters.schema(chapter).model_fields[name]
    is_range = field.annotation is int and ":" in text
    pieces = list(map(str, whole(0, 2**40, default="").read(text))) if is_range else [text]
    found = []
    for piece in pieces:
        try:
            found.append(literal(parameters.validate(chapter, {name: piece}).model_dump(mode="json")[name]))
        except UserError as error:
            raise ValueError(str(error).splitlines()[0]) from None
    return found


def read_executed(job: ChapterRun) -> nbformat.NotebookNode:
    """The executed notebook of a run."""
    return nbformat.read(job.executed, as_version=4)
