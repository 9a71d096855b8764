"""The README's results, written from the last build and never by hand."""

import json
import tomllib
from collections import Counter
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any

from lowcap.errors import BuildError, UserError
from lowcap.notebook.ledger import Claim, catalogue

START, END = "<!-- results:start -->", "<!-- results:end -->"
NOTEBOOKS, PAGES = "book", "_build/html/book"  # where the README's links lead, seen from the checkout's root


def templates() -> list[str]:
    """The lines of `[readme] lines` in `claims.toml`: Markdown with {key} fields, which recorded numbers fill, and {id}
    fields, which the verdicts of claims fill."""
    return tomllib.loads(files("lowcap").joinpath("claims.toml").read_text("utf-8")).get("readme", {}).get("lines", [])


def update(readme: Path, results: Path, lines: list[str]) -> None:
    """Put `lines`, filled with the numbers of `results` (a site's `results.json`), between the README's two marks.

    Each line begins with the number of its chapter, a link to the notebook; each verdict is a link to the page and
    figure of its claim.

    Raises UserError when the marks or the lines are missing, BuildError when there is no build, when it was not the
    book's own run, and when a number is missing, two chapters recorded one under the same key,
    or a line does not name claims of one chapter.
    """
    if not lines:
        raise UserError("claims.toml has no `[readme]` table with `lines`; add the Markdown lines to be filled in")
    text = readme.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise UserError(f"{readme} must hold {START} and after it {END}, each once")
    values = _values(results)
    filled = "\n".join(_line(line, values, catalogue()) for line in lines)
    head, tail = text.split(START)[0], text.split(END)[1]
    readme.write_text(f"{head}{START}\n{filled}\n{END}{tail}", encoding="utf-8")


def _values(results: Path) -> dict[str, Any]:
    """Recorded numbers by key, and verdicts by the claim's id."""
    if not results.is_file():
        raise BuildError(f"{results} is missing; build the book first: make book")
    found = json.loads(results.read_text(encoding="utf-8"))
    other = [claim["id"] for claim in found["claims"] if not claim["own"]]
    if other or not found["claims"]:
        which = f"claims judged on another run: {', '.join(other)}" if other else "no claim was judged"
        raise BuildError(f"{results} is not of the book's own run ({which}); build it first: make book DATASET=mnist")
    pairs = [pair for chapter in found["results"].values() for pair in chapter.items()]
    pairs += [(claim["id"], claim["verdict"]) for claim in found["claims"]]
    counts = Counter(key for key, _ in pairs)
    if len(counts) < len(pairs):
        twice = ", ".join(sorted(key for key in counts if counts[key] > 1))
        raise BuildError(f"{results} has more than one value for {twice}; give each chapter keys of its own")
    return dict(pairs)


def _line(line: str, values: dict[str, Any], claims: dict[str, Claim]) -> str:
    """A line of the list, filled in, with its links."""
    named = [claims[name] for _, name, _, _ in Formatter().parse(line) if name in claims]
    chapters = {claim.chapter for claim in named}
    if len(chapters) != 1:
        found = ", ".join(sorted(chapters)) or "none"
        raise BuildError(f"README line {line!r} must name the claims of one chapter, as {{id}}; it names {found}")
    chapter = chapters.pop()
    links = {claim.id: f"[{values.get(claim.id)}]({PAGES}/{chapter}.html#{claim.figure})" for claim in named}
    return f"- [Chapter {int(chapter[:2])}]({NOTEBOOKS}/{chapter}.ipynb): {_fill(line, values | links)}"


def _fill(line: str, values: dict[str, Any]) -> str:
    try:
        return line.format(**values)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise BuildError(f"README line {line!r} cannot be filled in: {type(error).__name__} {error}") from None
