"""A small multiverse: what the verdict on a claim would have been, had we chosen otherwise (Steegen et al. 2016)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from lowcap.errors import UserError
from lowcap.notebook import claims
from lowcap.notebook.claim_box import show
from lowcap.notebook.ledger import MARKS
from lowcap.templates import render

Options = Mapping[str, Any]  # of one choice, by what they are called; our own is the first


@dataclass(frozen=True)
class Question:
    """A claim whose verdict can be found again under other choices.

    Attributes:
        claim: its id.
        name: what it is about, in a few words.
        choices: for each choice, its options; with one alone there is nothing to choose.
        judged: from one option per choice, whether the claim holds (None: it cannot be known), and whether in part.

    Raises:
        UserError: an unknown claim, or a choice without options.
    """

    claim: str
    name: str
    choices: Mapping[str, Options]
    judged: Callable[[Mapping[str, Any]], tuple[bool | None, bool]]

    def __post_init__(self) -> None:
        if self.claim not in claims.catalogue():
            raise UserError(f"`claim` must be the id of a claim in claims.toml; got {self.claim!r}")
        for name, options in self.choices.items():
            if not options:
                raise UserError(f"choice `{name}` needs options, our own first; got none")


def explore(questions: Iterable[Question]) -> pd.DataFrame:
    """The verdict on each claim in every universe, that is, under every combination of options.

    Returns:
        A row per claim and universe: `claim, name, verdict`; `changed`, in how many choices it is not our own; and,
        where that is one, the `choice`, our option (`ours`) and that taken instead (`option`).
    """
    rows = []
    for question in questions:
        own = {choice: next(iter(options)) for choice, options in question.choices.items()}
        for labels in product(*question.choices.values()):
            taken = dict(zip(question.choices, labels, strict=True))  # one option of each choice
            other = [choice for choice, label in taken.items() if label != own[choice]]
            values = {choice: question.choices[choice][label] for choice, label in taken.items()}
            verdict = claims.word(*question.judged(values))
            alone = (other[0], own[other[0]], taken[other[0]]) if len(other) == 1 else (None, None, None)
            rows.append((question.claim, question.name, verdict, len(other), *alone))
    return pd.DataFrame(rows, columns=["claim", "name", "verdict", "changed", "choice", "ours", "option"])


def listed(questions: Iterable[Question]) -> pd.DataFrame:
    """A row per claim: what was chosen, a line of HTML for each choice with our own option in bold; and `universes`."""
    rows = {}
    for question in questions:
        rows[question.name] = {
            "choices, our own in bold": render("chapters/held_up/templates/choices.html", choices=question.choices),
            "universes": math.prod(map(len, question.choices.values())),
        }
    return pd.DataFrame(rows).T.rename_axis("claim")


def shares(universes: pd.DataFrame) -> pd.DataFrame:
    """Of the rows of `explore`: a row per name with the share of its universes that end in each verdict."""
    counts = universes.groupby("name", sort=False)["verdict"].value_counts(normalize=True).unstack()
    return counts.reindex(columns=list(MARKS)).loc[list(dict.fromkeys(universes["name"]))].fillna(0.0)


def kept(universes: pd.DataFrame) -> pd.DataFrame:
    """Of the rows of `explore`: a row per claim.

    `name`; `verdict`, that under our own choices; `alternatives`, in how many ways one choice can be changed, and
    `turns`, how many of them change the verdict; `universes`, and `agree`, the share of them with our verdict.
    """
    ours = universes[universes["changed"] == 0].set_index("claim")[["name", "verdict"]]
    both = universes.assign(other=universes["verdict"] != universes["claim"].map(ours["verdict"]))
    single = both[both["changed"] == 1].groupby("claim")["other"].agg(["size", "sum"])
    every = both.groupby("claim")["other"].agg(["size", "mean"])
    found = ours.assign(alternatives=single["size"], turns=single["sum"]).fillna(0)
    return found.assign(universes=every["size"], agree=1 - every["mean"])


def turned(universes: pd.DataFrame) -> pd.DataFrame:
    """Of the rows of `explore`: a row for each single choice that turns the verdict when it is exchanged, as HTML."""
    ours = universes["claim"].map(kept(universes)["verdict"])
    rows = universes.assign(before=ours)[(universes["changed"] == 1) & (universes["verdict"] != ours)]
    exchanged = [_instead(f"{row.choice}: {row.ours}", row.option) for row in rows.itertuples()]
    verdict = [_instead(row.before, row.verdict) for row in rows.itertuples()]
    texts = {"claim": rows["name"].map(escape), "exchanged": exchanged, "verdict": verdict}
    return pd.DataFrame(texts, rows.index).set_index("claim")


def _instead(before: object, after: object) -> Markup:
    return Markup("{} → <b>{}</b>").format(before, after)


def table(frame: pd.DataFrame) -> None:
    """Show a frame of HTML in the running notebook as a table whose lines may break; its index is the first column."""
    with pd.option_context("display.max_colwidth", None):
        html = frame.reset_index().to_html(index=False, border=0, classes="texts", escape=False)
    show({"text/html": html, "text/plain": frame.to_string()})
