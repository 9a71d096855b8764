"""Read grids such as `pair=all width=1:64 seed=0:99 recipe=published,converged`.

An axis has one or more values, separated by commas. Numbers may be ranges `first:last` or `first:last:step`, in which
the last number counts. Values are read as numbers and names, never run as code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from lowcap.classes import ALL_PAIRS, from_name, name_of, pair_in_order
from lowcap.errors import UserError
from lowcap.values import STUDY_PAIRS

MOST_VALUES = 100_000  # of one axis: more is a slip of the keyboard
GROUPS = {"all": ALL_PAIRS, "study": STUDY_PAIRS, "ten": (tuple(range(10)),)}
Grid = dict[str, tuple[Any, ...]]  # values, numbers or text, by axis


@dataclass(frozen=True)
class Axis:
    """An axis of a grid: the values of one text between commas, what is allowed in words, and the default as text."""

    read: Callable[[str], Sequence[Any]]
    allowed: str
    example: str
    default: str


def parse(assignments: Iterable[str], axes: Mapping[str, Axis]) -> Grid:
    """The values of every axis, of those not named the default.

    >>> parse(["width=1:3,8"], {"width": whole(1, 64, default="2")})
    {'width': (1, 2, 3, 8)}

    Raises:
        UserError: what is no `axis=values`, an unknown axis, an axis or a value given twice, a value that is not
            allowed; a line for each, with what would be.
    """
    given: dict[str, str] = {}
    wrong = []
    for assignment in assignments:
        name, equals, text = (part.strip() for part in assignment.partition("="))
        if not (name and equals and text):
            wrong.append(f"an axis is given as axis=values, such as width=1:64; got {assignment!r}")
        elif name not in axes:
            wrong.append(f"there is no axis `{name}`{suggestion(name, axes)}")
        elif name in given:
            wrong.append(f"axis `{name}` is given twice, as {given[name]} and as {text}; give it once")
        else:
            given[name] = text
    grid: Grid = {}
    for name, axis in axes.items():
        try:
            grid[name] = values(given.get(name, axis.default), axis.read)
        except ValueError as error:
            hint = f"{axis.allowed}, such as {axis.example}"
            wrong.append(f"axis `{name}` must be {hint}; got {_short(given[name])} ({error})")
    if wrong:
        raise UserError("\n".join(wrong))
    return grid


def values(text: str, read: Callable[[str], Sequence[Any]]) -> tuple[Any, ...]:
    """The values between the commas that stand outside brackets. Raises ValueError, which says why."""
    found: dict[Any, None] = {}
    for piece in split(text):
        new = read(piece)
        if twice := [value for value in new if value in found]:
            raise ValueError(f"{twice[0]} comes twice; name each once")
        found |= dict.fromkeys(new)
        if len(found) > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")
    return tuple(found)


def split(text: str) -> list[str]:
    """Pieces between commas, but for commas within brackets. Raises ValueError for one that is empty."""
    pieces, depth = [""], 0
    for letter in text:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth <= 0:
            pieces.append("")
        else:
            pieces[-1] += letter
    pieces = [piece.strip() for piece in pieces]
    if not all(pieces):
        raise ValueError("nothing between two commas, or beside one")
    return pieces


def suggestion(name: str, known: Iterable[str]) -> str:
    """The end of a sentence that a name is unknown: the nearest that is, and all that are."""
    names = list(known)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    return (f"; did you mean `{near[0]}`? There are: " if near else "; there are: ") + ", ".join(names)


def whole(low: int, high: int, *, default: str, example: str = "1:8,16", what: str = "whole numbers") -> Axis:
    """An axis of whole numbers and ranges of them."""

    def read(text: str) -> Sequence[int]:
        if not re.fullmatch(r"\d{1,12}(:\d{1,12}){0,2}", text, re.ASCII):
            raise ValueError(f"{_short(text)} is no whole number, nor a range first:last or first:last:step")
        first, last, step = _bounds([int(part) for part in text.split(":")])
        if not low <= first <= last <= high:
            raise ValueError(_outside(text, first, last, low, high))
        return range(first, last + 1, step) if _count(first, last, step) else ()

    return Axis(read, f"{what} from {low} to {high}", example, default)


def numbers(low: float, high: float, *, default: str, example: str = "0,0.5,0.9", what: str = "numbers") -> Axis:
    """An axis of numbers and ranges of them, the step of which must be given."""

    def read(text: str) -> Sequence[float]:
        try:
            parts = [float(part) for part in text.split(":")]
        except ValueError:
            parts = []
        if len(parts) not in (1, 3) or not all(map(math.isfinite, parts)) or "_" in text:
            raise ValueError(f"{_short(text)} is no number, nor a range first:last:step")
        first, last, step = _bounds(parts)
        if not low <= first <= last <= high:
            raise ValueError(_outside(text, first, last, low, high))
        return [round(first + i * step, 12) for i in range(_count(first, last, step))]

    return Axis(read, f"{what} from {low:g} to {high:g}", example, default)


def names(known: Iterable[str], *, default: str) -> Axis:
    """An axis of names; `all` stands for all of them."""
    options = list(known)

    def read(text: str) -> Sequence[str]:
        if text == "all" and "all" not in options:
            return options
        if text not in options:
            raise ValueError(f"there is no {_short(text)}{suggestion(text, options)}")
        return [text]

    return Axis(read, f"among {', '.join(options)}", ",".join(options[:2]), default)


def own_or(axis: Axis) -> Axis:
    """The same axis, where `own`, which is its default, leaves the choice to the experiment."""

    def read(text: str) -> Sequence[Any]:
        return ["own"] if text == "own" else axis.read(text)

    return Axis(read, f"`own` or {axis.allowed}", axis.example, "own")


def classes(*, default: str = "study", only_pairs: bool = False) -> Axis:
    """The axis of pairs of digits, as text such as `4-9`, the smaller digit first; more than two digits make a task
    of so many classes, unless `only_pairs`."""

    def read(text: str) -> Sequence[str]:
        if text in GROUPS:
            found = GROUPS[text]
        elif re.fullmatch(r"\d(-\d)+", text, re.ASCII):
            found = (from_name(text),)
        else:
            raise ValueError(f"{_short(text)} is no pair, nor {', '.join(GROUPS)}")
        return [name_of(pair_in_order(digits) if only_pairs else digits) for digits in found]

    words = "pairs of digits 0 to 9, `study` (the five of the study) or `all` (45 pairs)"
    return Axis(read, words if only_pairs else f"{words}, more digits or `ten`", "4-9,3-8", default)


def _bounds(parts: list[Any]) -> tuple[Any, Any, Any]:
    first, last = parts[0], parts[min(1, len(parts) - 1)]
    step = parts[2] if len(parts) == 3 else 1
    if step <= 0:
        raise ValueError("the step of a range must be above 0")
    return first, last, step


def _count(first: float, last: float, step: float) -> int:
    count = int((last - first) / step + 1e-9) + 1
    if count > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    return count


def _outside(text: str, first: float, last: float, low: float, high: float) -> str:
    if first > last:
        return f"{text} runs backwards; write {last:g}:{first:g}"
    return f"{_short(text)} does not lie within {low:g} to {high:g}"


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
