"""The claims of the book: what `claims.toml` says of them, what executed notebooks found, and where the two differ."""

import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import nbformat

from lowcap.errors import BuildError
from lowcap.explorables import forms

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


def ledger_table(found: Iterable[Mapping[str, Any]]) -> str:
    """A MyST table of the judged claims among `found`: sentence, source, verdict with its mark, figure.

    A sentence leads to its box in the chapter, and opens to its criterion and numbers. The last column refers to the
    figure by its number, which needs the label to exist somewhere in the book. Around the table is an element which
    adds a search and filters, see `book/static/explorables/claim-ledger.js`.
    """
    judged = verdicts(found)
    rows = ["| Claim | Source | Verdict | Figure |", "|---|---|---|---|"]
    for claim in judged:
        verdict = f"{MARKS[claim['verdict']]} {claim['verdict']}" + ("" if claim["own"] else " (this run)")
        cells = [_sentence(claim), claim["source"], verdict, f"{{numref}}`{claim['figure']}`"]
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    sources = sorted({claim["source"].split(",")[0] for claim in judged})
    form = forms.ledger(sources, [verdict for verdict in MARKS if verdict in {claim["verdict"] for claim in judged}])
    data = '{"key": "ledger", "starts": {"text": "", "source": "", "verdict": "", "open": false}}'
    start = f'<claim-ledger class="explorable"><script type="application/json">{data}</script>{form}'
    return "\n".join([_raw(start), "", *rows, "", _raw("</claim-ledger>")])


def score_table(found: Iterable[Mapping[str, Any]]) -> str:
    """A MyST table of how many of the judged claims among `found` came out how, a row per source and one for all."""
    judged = [(claim["source"].split(",")[0], claim["verdict"]) for claim in verdicts(found)]
    shown = [verdict for verdict in MARKS if verdict in {verdict for _, verdict in judged}]
    rows = [f"| Claims of | {' | '.join(f'{MARKS[v]} {v}' for v in shown)} |", "|---" + "|--:" * len(shown) + "|"]
    sources = [source for source, _ in Counter(source for source, _ in judged).most_common()]
    for source in [*sources, None]:
        mine = [verdict for name, verdict in judged if source in (name, None)]
        counts = [mine.count(verdict) for verdict in shown]
        rows.append(f"| {source or '**all**'} | {' | '.join(map(str, counts))} |")
    return "\n".join([*rows, ""])


def _sentence(claim: Mapping[str, Any]) -> str:
    numbers = "; ".join(f"{escape(name)}: {escape(text)}" for name, text in claim["numbers"].items())
    facts = escape(claim["criterion"]) + (f" <b>Numbers:</b> {numbers}." if numbers else "")
    place = f"{claim['chapter']}.html#claim-{claim['id']}"
    return (
        f'<a href="{place}">{escape(claim["sentence"])}</a>'
        f"<details><summary>Criterion and numbers</summary>{facts}</details>"
    )


def _raw(html: str) -> str:
    return f"```{{raw}} html\n{html}\n```"
