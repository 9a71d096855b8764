"""What can go wrong, by whose doing: the command line turns each kind into one line and an exit code."""

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any


class UserError(ValueError):
    """A mistake in what was asked for (exit code 2). The message names the parameter, what is allowed and what came."""


class DataError(RuntimeError):
    """Data that is missing, damaged or out of reach (exit code 1). The message names the file and the remedy."""


class BuildError(RuntimeError):
    """A book that must not be published (exit code 1). The message names the chapter or file and the cause."""


def fraction(name: str, value: Any) -> float:
    """The value as a float. Raises UserError unless it is a number in [0, 1]."""
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if 0 <= number <= 1:
        return number
    hint = f"; did you mean {number / 100:g}?" if 2 <= number <= 100 else ""
    raise UserError(f"`{name}` must be a fraction from 0 to 1; got {value!r}{hint}")


def one_of(name: str, value: str, allowed: Iterable[str]) -> None:
    """Raises UserError, which lists what is allowed, unless the value is among it."""
    names = list(allowed)
    if value not in names:
        raise UserError(f"`{name}` must be one of {', '.join(names)}; got {value!r}")
