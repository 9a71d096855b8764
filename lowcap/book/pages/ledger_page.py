"""The pages' tables of all claims and their verdicts."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from lowcap.explorables import forms
from lowcap.notebook.ledger import MARKS, verdicts
from lowcap.templates import render


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
        sentence = render("book/pages/templates/ledger_sentence.html", **claim)
        cells = [sentence, claim["source"], verdict, f"{{numref}}`{claim['figure']}`"]
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    sources = sorted({claim["source"].split(",")[0] for claim in judged})
    form = forms.ledger(sources, [verdict for verdict in MARKS if verdict in {claim["verdict"] for claim in judged}])
    data = {"key": "ledger", "starts": {"text": "", "source": "", "verdict": "", "open": False}}
    start = render("book/pages/templates/ledger_start.html", data=data, form=form)
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


def _raw(html: str) -> str:
    return f"```{{raw}} html\n{html}\n```"
