"""Where a chapter's parameters are described: in the module `parameters` of its folder, found by the chapter's id."""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

from lowcap.errors import UserError
from lowcap.notebook.parameter_types import Parameters

CHAPTERS = "lowcap.chapters"  # by name: chapters import this package, not this package a chapter
ID = re.compile(r"\d\d-[a-z]+(?:-[a-z]+)*")  # of a chapter


def chapters() -> list[str]:
    """The ids of all chapters that have parameters, in the book's order, such as "02-capacity"."""
    words = [found.name for found in iter_modules(import_module(CHAPTERS).__path__)]
    return sorted(str(import_module(f"{CHAPTERS}.{word}.parameters").CHAPTER) for word in words)


def schema(chapter: str) -> type[Parameters]:
    """The parameter class of `chapter` (a file stem such as "02-capacity"); UserError when there is no such chapter."""
    return _module(chapter).SCHEMA


def fast(chapter: str) -> dict[str, Any]:
    """Parameters with which the chapter takes seconds; UserError when there is no such chapter."""
    return _module(chapter).FAST


def alone(chapter: str) -> bool:
    """Whether the chapter measures time, and must have the machine to itself; UserError as `schema` does."""
    return getattr(_module(chapter), "ALONE", False)


def _module(chapter: str) -> Any:
    """`lowcap.chapters.WORD.parameters`, and no other chapter's: a kernel loads what its own chapter needs."""
    if ID.fullmatch(chapter):
        name = f"{CHAPTERS}.{chapter[3:].replace('-', '_')}.parameters"
        if find_spec(name.rpartition(".")[0]) and find_spec(name):
            module = import_module(name)
            if chapter == module.CHAPTER:
                return module
    shown = chapter if chapter.isprintable() else repr(chapter)
    raise UserError(f"there is no chapter `{shown}`{did_you_mean(chapter, chapters())}")


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """What a refusal adds: the nearest of the names, or all of them."""
    known = list(names)
    near = get_close_matches(name.lower(), known, n=1)
    return (f"; did you mean `{near[0]}`? There are: " if near else "; there are: ") + ", ".join(known)
