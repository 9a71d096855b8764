"""The claims of the book: what `claims.toml` says of them, what executed notebooks found, and where the two differ."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import nbformat

from lowcap.errors import BuildError

MARKS = {"holds": "✓", "holds in part": "◐", "does not hold": "✗", "not tested here": "–"}  # never colour alone


@dataclass(frozen=True)
class Claim:
    """A sentence that the book tests, as `claims.toml` describes it."""

    id: str
    sentence: str
    source: str
    criterion: str
    chapter: str
    figure: str
    expected: str


@cache
def catalogue() -> dict[str, Claim]:
    """All claims of `claims.toml` by id. Raises BuildError naming the entry that is not as the file's comment says."""
    entries = tomllib.loads(files("lowcap").joinpath("claims.toml").read_text("utf-8"))["claims"]
    return {key: read_claim(key, entry) for key, entry in entries.items()}


def read_claim(key: str, entry: Mapping[str, str]) -> Claim:
    """One table of `claims.toml` as a Claim; BuildError when a field is missing, unknown or not a verdict."""
    try:
        claim = Claim(id=key, **entry)
    except TypeError as error:
        raise BuildError(f"claims.toml: `{key}` must have exactly the fields of a claim: {error}") from None
    if claim.expected not in MARKS:
        raise BuildError(f"claims.toml: `{key}` expects {claim.expected!r}; a verdict is one of {', '.join(MARKS)}")
    return claim


def collect(notebooks: Iterable[Any]) -> list[dict[str, Any]]:
    """What the executed `notebooks` (paths, or notebooks already read) have found, in their order.

    Three kinds of dict, told apart by their keys: `{"run": ...}` for the chapter's parameters and data;
    `{"key", "value", "text", "chapter"}` for a recorded number; `{"claim": ...}` for a judged claim with its verdict.
    """
    found: list[dict[str, Any]] = []
    for notebook in notebooks:
        book = nbformat.read(notebook, as_version=4) if isinstance(notebook, str | Path) else notebook
        outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
        found += [dict(output.metadata["lowcap"]) for output in outputs if "lowcap" in output.get("metadata", {})]
    return found


def verdicts(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The judged claims among what `collect` found."""
    return [item["claim"] for item in found if "claim" in item]


def check_expected(found: Iterable[Mapping[str, Any]]) -> list[str]:
    """Where the verdicts among `found` part ways with `claims.toml`: one sentence for each, none when all is well.

    Only chapters that ran at the book's own parameters on MNIST count; of those, every claim must have been judged.
    """
    items = list(found)
    judged = {claim["id"]: claim["verdict"] for claim in verdicts(items)}
    chapters = {item["run"]["chapter"] for item in items if "run" in item and item["run"]["own"]}
    return [
        f"{claim.chapter}: claim `{claim.id}` was expected to come out as {claim.expected!r}, "
        + (f"but the run says {judged[claim.id]!r}" if claim.id in judged else "but was not judged")
        + "; correct the text and claims.toml, or find out why"
        for claim in catalogue().values()
        if claim.chapter in chapters and judged.get(claim.id) != claim.expected
    ]
