"""Record the numbers of a chapter and judge its claims by them.

In a notebook both leave an output: a number one that `{glue:text}` can quote, a claim a box. Both carry their data as
output metadata, from which `collect` reads them back out of executed notebooks. Outside a notebook nothing is shown.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from typing import Any

from lowcap.errors import UserError
from lowcap.notebook.claim_box import Verdict, after_each_cell, as_html, as_text, numbers_line, show
from lowcap.notebook.ledger import Claim, catalogue, check_expected, collect, verdicts

__all__ = ["Claim", "Verdict", "begin", "catalogue", "check_expected", "collect", "dataset", "judge", "record",
           "record_all", "verdicts", "word"]  # fmt: skip

GLUE = "application/papermill.record/"  # the prefix under which myst-nb looks for what the text quotes


@dataclass
class ChapterRecord:
    """The chapter that is running: what was changed in its parameters, its data, and the numbers so far."""

    chapter: str = ""
    changed: list[str] = field(default_factory=list)
    dataset: str = ""
    numbers: dict[str, tuple[float | str, str]] = field(default_factory=dict)
    told: int = 0  # how many of the numbers a reader of the bare notebook has been told

    @property
    def own(self) -> bool:
        """Whether this is the book's own run: nothing changed, on MNIST."""
        return bool(self.chapter) and not self.changed and self.dataset == "mnist"


_run = ChapterRecord()


def begin(chapter: str, changed: Sequence[str] = (), dataset: str = "auto") -> None:
    """Start the record of `chapter` and forget any earlier one; `changed` names the parameters that are not the
    book's own. `lowcap.notebook.parameters.check` calls this; a chapter need not."""
    global _run
    _run = ChapterRecord(chapter, list(changed), _resolve(dataset))
    details = {"chapter": chapter, "changed": _run.changed, "dataset": _run.dataset, "own": _run.own}
    _glue("lowcap.run", chapter, {"run": details})
    after_each_cell(_tell)


def record(key: str, value: Any, fmt: str | None = None) -> None:
    """Keep `value`, a finite number or a text, under `key`, so that prose can quote it as ``{glue:text}`key` ``, on
    another page as ``{glue:text}`02-capacity.ipynb::key:s` ``.

    `fmt` is a `str.format` field; without it whole numbers are shown as they are, other numbers with three decimals.
    Recording the same again does nothing. Raises UserError for a key not made of a-z, 0-9, `_` and `-`, for a value
    that cannot be recorded, and for a second, different value.
    """
    if not re.fullmatch(r"[a-z0-9_-]+", key):
        raise UserError(f"a key is made of a-z, 0-9, _ and -; got {key!r}")
    plain = _plain(key, value)
    text = _text(key, plain, fmt)
    if key in _run.numbers:
        if _run.numbers[key] != (plain, text):
            raise UserError(f"`{key}` is already recorded as {_run.numbers[key][1]}, now {text}; use another key")
        return
    _run.numbers[key] = (plain, text)
    details = {"chapter": _run.chapter, "key": key, "value": plain, "text": text}
    _glue(key, text, details)


def record_all(values: Mapping[str, Any], fmt: str | None = None) -> None:
    """`record` each of `values`, a value by key, all with the same `fmt`.

    So that a chapter can write out the keys of a group of numbers: a search for a key finds the cell that records it.
    """
    for key, value in values.items():
        record(key, value, fmt)


def judge(
    claim_id: str, holds: bool | None, in_part: bool = False, numbers: Sequence[str] | Mapping[str, str] = ()
) -> Verdict:
    """The verdict of this run on a claim, shown as a box with the recorded `numbers` that it rests on: their keys, or
    a key for each label.

    `holds` is whether the criterion is met in full, None where this run cannot tell; `in_part` whether it is met in
    part, which counts only where it is not met in full. Raises UserError for an unknown claim or key, and for a claim
    of another chapter.
    """
    claim = catalogue().get(claim_id) or _unknown("claim", claim_id, catalogue())
    if _run.chapter not in ("", claim.chapter):
        raise UserError(
            f"claim `{claim_id}` belongs to chapter {claim.chapter}, not to {_run.chapter}: see claims.toml"
        )
    labels = numbers if isinstance(numbers, Mapping) else {key.replace("_", " "): key for key in numbers}
    shown = {label: _recorded(key) for label, key in labels.items()}
    verdict = Verdict(claim, word(holds, in_part), shown, _run.own, _run.changed, _run.dataset)
    details = asdict(verdict)
    bundle = {"text/html": as_html(verdict), "text/plain": as_text(verdict)}
    show(bundle, {"lowcap": {"claim": details.pop("claim") | details}})
    return verdict


def _glue(name: str, text: str, details: Mapping[str, Any]) -> None:
    """An output that shows nothing by itself: myst-nb keeps it for the text to quote.

    In quotes, since myst-nb reads a literal: a bare 0.970 would be quoted as 0.97.
    """
    show({f"{GLUE}text/plain": repr(text)}, {"scrapbook": {"name": name, "mime_prefix": GLUE}, "lowcap": dict(details)})


def _tell(*_: Any) -> None:
    """Below a cell, the numbers that it recorded: outside the pages, a notebook shows `{glue:text}` as a bare key.

    myst-nb takes what is marked as a number for the text out of the page, and so this too.
    """
    fresh = {key: text for key, (_, text) in list(_run.numbers.items())[_run.told :]}
    _run.told = len(_run.numbers)
    if fresh:
        name = f"lowcap.told.{_run.told}"
        show(numbers_line(fresh), {"scrapbook": {"name": name, "mime_prefix": GLUE}})


def dataset() -> str:
    """The dataset of the run, resolved; empty before `begin`."""
    return _run.dataset


def _resolve(dataset: str) -> str:
    from lowcap import tasks  # here, so that reading claims back needs no torch

    return tasks.resolve(dataset)


def word(holds: bool | None, in_part: bool) -> str:
    """The verdict in words, as `judge` takes it from its arguments."""
    if holds is None:
        return "not tested here"
    return "holds" if holds else "holds in part" if in_part else "does not hold"


def _plain(key: str, value: Any) -> float | str:
    """NumPy and torch scalars as Python's own; UserError for what is not one finite number or a text."""
    plain = value.item() if getattr(value, "ndim", None) == 0 else value
    if isinstance(plain, bool) or not isinstance(plain, int | float | str):
        raise UserError(f"`{key}` must be one number or a text; got {type(value).__name__}")
    if isinstance(plain, float) and not math.isfinite(plain):
        raise UserError(f"`{key}` is {plain}, which says nothing; record a text that says why there is no number")
    return plain


def _text(key: str, value: float | str, fmt: str | None) -> str:
    try:
        return (fmt or ("{:.3f}" if isinstance(value, float) else "{}")).format(value)
    except (ValueError, LookupError, AttributeError) as error:
        raise UserError(f"`{key}`: the format {fmt!r} does not fit {value!r} ({error})") from None


def _recorded(key: str) -> str:
    return _run.numbers[key][1] if key in _run.numbers else _unknown("recorded number", key, _run.numbers)


def _unknown(what: str, name: str, known: Mapping[str, Any] | Iterable[str]) -> Any:
    near = get_close_matches(name, list(known), n=1)
    raise UserError(f"there is no {what} `{name}`" + (f"; did you mean `{near[0]}`?" if near else ""))
