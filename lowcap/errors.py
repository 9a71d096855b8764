"""What can go wrong, and whose mistake it is: the command line turns each kind into one line and an exit code."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any


class UserError(ValueError):
    """A mistake in what was asked for (exit code 2). The message names the parameter, what is allowed and what came."""


class DataError(RuntimeError):
    """Data that is missing, damaged or out of reach (exit code 1). The message names the file and the remedy."""


class BuildError(RuntimeError):
    """A book that must not be published (exit code 1). The message names the chapter or file and the cause."""


# The first argument of all that follow is the parameter's name, after which may stand whose it is: "lr of a recipe".


def whole_number(name: str, value: Any, least: int, most: int | None = None, note: str = "") -> int:
    """The value as an int.

    Args:
        note: what else is to be said of what is allowed, such as "or None".

    Raises:
        UserError: it is not a whole number of at least `least` and at most `most`. NumPy's are whole numbers too, and
            True is none.
    """
    if not (_is(Integral, value) and least <= value and (most is None or value <= most)):
        raise _refused(name, "a whole number" + _within(least, most), note, value)
    return int(value)


def whole_numbers(name: str, values: Any, least: int) -> list[int]:
    """The values as ints. Raises UserError unless each is a whole number of at least `least`; there may be none."""
    if not isinstance(values, Iterable):
        raise _refused(name, "a list of whole numbers" + _within(least), "", values)
    found = list(values)
    for value in found:
        if not _is(Integral, value) or value < least:
            raise _refused(name, "whole numbers" + _within(least), "", value)
    return [int(value) for value in found]


def number(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    note: str = "",
) -> float:
    """The value as a float, within bounds of which `least` and `most` are allowed themselves, `above` and `below` not.

    Raises:
        UserError: it is not a finite number within the bounds. NumPy's are numbers too, and True is none.
    """
    found = _finite(value)
    inside = (
        not math.isnan(found)
        and (least is None or found >= least)
        and (above is None or found > above)
        and (most is None or found <= most)
        and (below is None or found < below)
    )
    if not inside:
        raise _refused(name, "a number" + _within(least, most, above, below), note, value)
    return found


def fraction(name: str, value: Any) -> float:
    """The value as a float. Raises UserError unless it is a number in [0, 1]."""
    found = _finite(value)
    if 0 <= found <= 1:
        return found
    hint = f"; did you mean {found / 100:g}?" if 2 <= found <= 100 else ""
    raise UserError(f"{_refused(name, 'a fraction from 0 to 1', '', value)}{hint}")


def one_of(name: str, value: str, allowed: Iterable[str]) -> None:
    """Raises UserError, which lists what is allowed, unless the value is among it."""
    names = list(allowed)
    if value not in names:
        raise _refused(name, f"one of {', '.join(names)}", "", value)


def _is(kind: type, value: Any) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)  # to Python, True is the whole number 1


def _finite(value: Any) -> float:
    """The value as a float; NaN, which is in no range, if it is not a finite number, or one too large for a float."""
    try:
        found = float(value) if _is(Real, value) else math.nan
    except OverflowError:
        return math.nan
    return found if math.isfinite(found) else math.nan


def _within(
    least: float | None, most: float | None = None, above: float | None = None, below: float | None = None
) -> str:
    """The bounds in words, with a space before them; nothing where there are none."""
    if least is not None and most is not None:
        return f" from {_short(least)} to {_short(most)}"
    bounds = {"of at least": least, "above": above, "of at most": most, "below": below}
    said = [f"{words} {_short(bound)}" for words, bound in bounds.items() if bound is not None]
    return " " + " and ".join(said) if said else ""


def _short(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _refused(name: str, allowed: str, note: str, value: Any) -> UserError:
    parameter, space, whose = name.partition(" ")
    return UserError(f"`{parameter}`{space}{whose} must be {allowed}{', ' if note else ''}{note}; got {value!r}")
