"""Imports run one way: whoever reads a module needs to know only what stands below it."""

import ast
from collections.abc import Iterable
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import nbformat
import pytest

from lowcap.files import PACKAGE

LAYERS = ("ground", "data", "core", "notebook", "chapters", "explorables", "book", "sweep", "cli")
GROUND = ("lowcap", "lowcap.errors", "lowcap.files")
ASKED_AGAIN = {"descent", "robustness", "saliency", "tracing"}  # by the chapter `held_up`, whose subject it is
Edge = tuple[str, str]  # a module, or a notebook, and a module that it imports


def modules() -> dict[str, Path]:
    paths = sorted(PACKAGE.rglob("*.py"))
    named = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in paths}
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


def imported(code: str, known: Iterable[str]) -> set[str]:
    """The modules among those `known` that code imports, at its top or in a function."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that they can be searched for"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= full & set(known) or {str(node.module)}
    return names & set(known)


@cache
def edges() -> tuple[Edge, ...]:
    """All imports of the package's modules, by one another and by the notebooks."""
    known = modules()
    found = [(name, other) for name, path in known.items() for other in imported(path.read_text("utf-8"), known)]
    for path in sorted((PACKAGE.parent / "book").glob("*.ipynb")):
        cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        found += [(path.stem, other) for cell in cells for other in imported(cell, known)]
    return tuple(found)


def layer(module: str) -> int:
    """How high a module stands; a notebook stands on the explorables."""
    if not module.startswith("lowcap"):
        return LAYERS.index("explorables")
    place = "ground" if module in GROUND else module.split(".")[1]
    return LAYERS.index(place if place in LAYERS else "core")


def chapter(module: str) -> str:
    """The chapter to which a module or a notebook belongs; none is empty."""
    if module.startswith("lowcap.chapters."):
        return module.split(".")[2]
    return "" if module.startswith("lowcap") else module[3:].replace("-", "_")


def wrong(found: Iterable[Edge]) -> list[str]:
    """The imports that break a rule, a sentence each, and the first circle."""
    said, graph = [], {}
    for one, other in found:
        graph.setdefault(one, set()).add(other)
        own, theirs = chapter(one), chapter(other)
        if layer(other) > layer(one):
            said.append(f"{one} imports {other}, which stands above it")
        if own and theirs not in ("", own, "replay") and not (own == "held_up" and theirs in ASKED_AGAIN):
            said.append(f"{one} imports {other}, of another chapter; what both need belongs in the core")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        said.append(f"a circle: {' -> '.join(error.args[1])}")
    return said


def test_imports_run_one_way_without_circles_and_not_between_chapters() -> None:
    found = edges()
    assert len(found) > 400  # of an empty list every rule holds
    assert wrong(found) == []


@pytest.mark.parametrize(
    ("edge", "reason"),
    [
        (("lowcap.errors", "lowcap.tasks"), "above"),
        (("lowcap.data.folder", "lowcap.tasks"), "above"),
        (("lowcap.training", "lowcap.notebook.claims"), "above"),
        (("lowcap.notebook.schemas", "lowcap.chapters"), "above"),
        (("lowcap.notebook.claims", "lowcap.book.pages.ledger_page"), "above"),
        (("lowcap.chapters.capacity.experiments", "lowcap.explorables.elements"), "above"),
        (("lowcap.explorables.elements", "lowcap.book.gate"), "above"),
        (("03-magnitude", "lowcap.book.gate"), "above"),
        (("lowcap.book.gate", "lowcap.sweep.origin"), "above"),
        (("lowcap.sweep.command", "lowcap.cli"), "above"),
        (("lowcap.tasks", "lowcap.training"), "a circle"),
        (("lowcap.chapters.tickets.populations", "lowcap.chapters.tickets.early"), "a circle"),
        (("lowcap.chapters.tickets.populations", "lowcap.chapters.descent.experiments"), "of another chapter"),
        (("lowcap.chapters.held_up.multiverse", "lowcap.chapters.capacity.experiments"), "of another chapter"),
        (("lowcap.chapters.replay.experiments", "lowcap.chapters.magnitude.experiments"), "of another chapter"),
        (("03-magnitude", "lowcap.chapters.capacity.experiments"), "of another chapter"),
    ],
)
def test_each_rule_refuses_an_import_that_breaks_it(edge: Edge, reason: str) -> None:
    (said, *_) = wrong([*edges(), edge])
    assert reason in said
    assert edge[0] in said
