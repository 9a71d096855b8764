"""How a judged claim looks: a box of HTML whose style is in the book's style sheet, and the same as plain text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lowcap.notebook.ledger import MARKS, Claim
from lowcap.templates import render


@dataclass(frozen=True)
class Verdict:
    """What a run says of a claim.

    Attributes:
        verdict: "holds", "holds in part", "does not hold" or "not tested here".
        numbers: readable name to formatted value, in the order given.
        own: whether the run had the book's own parameters on MNIST; if not, `changed` and `dataset` tell what it had.
    """

    claim: Claim
    verdict: str
    numbers: dict[str, str]
    own: bool
    changed: list[str]
    dataset: str

    def _ipython_display_(self) -> None:
        """Show nothing more as a cell's last value: `claims.judge` has shown the box."""


def note(verdict: Verdict) -> str:
    """Why the verdict is that of this run only; empty at the book's own parameters on MNIST."""
    changed = f"with other parameters than the book's ({', '.join(verdict.changed)})" if verdict.changed else ""
    data = f"on {verdict.dataset} instead of MNIST" if verdict.dataset not in ("", "mnist") else ""
    reasons = " and ".join(reason for reason in (changed, data) if reason)
    return f"This is the verdict of this run, {reasons}." if reasons else ""


def as_html(verdict: Verdict) -> str:
    """The box: `<div class="claim claim--holds">` with sentence, facts, verdict and note, each with its own class."""
    return render(
        "notebook/templates/claim_box.html",
        claim=verdict.claim,
        verdict=verdict.verdict,
        mark=MARKS[verdict.verdict],
        numbers=verdict.numbers,
        note=note(verdict),
    )


def as_text(verdict: Verdict) -> str:
    """The same for terminals and for notebook viewers without HTML."""
    claim = verdict.claim
    lines = [f"Claim: {claim.sentence}", f"Source: {claim.source}", f"Criterion: {claim.criterion}"]
    lines += [f"  {name}: {text}" for name, text in verdict.numbers.items()]
    return "\n".join([*lines, f"Verdict: {verdict.verdict}", *filter(None, [note(verdict)])])


def show(data: Mapping[str, str], metadata: Mapping[str, Any] | None = None) -> None:
    """Display a bundle of MIME type to text in the running notebook; do nothing where there is none."""
    if _notebook() is not None:
        from IPython.display import display

        display(dict(data), metadata=dict(metadata or {}), raw=True)


def after_each_cell(work: Callable[..., None]) -> None:
    """Have the running notebook call `work` after this cell and all later ones; do nothing where there is none."""
    if (notebook := _notebook()) is not None:
        notebook.events.register("post_run_cell", work)  # a second time changes nothing


def _notebook() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()


def numbers_line(numbers: Mapping[str, str]) -> dict[str, str]:
    """Recorded numbers, key to formatted value, as one small line: a bundle for `show`."""
    said = "Numbers that the text calls by name:"
    html = render("notebook/templates/numbers.html", heading=said, numbers=numbers)
    plain = ", ".join(f"{key} = {text}" for key, text in numbers.items())
    return {"text/html": html, "text/plain": f"{said} {plain}"}
