"""What the classes of a task may be, in which order, and what they are called; decided here and nowhere else.

Light: a wrong pair is refused without torch.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from lowcap.errors import UserError

ALL_PAIRS = tuple(combinations(range(10), 2))


def in_order(classes: Any) -> tuple[int, ...]:
    """The classes in rising order, whichever way round they were written: class 1 of a pair is the larger label.

    Raises:
        ValueError: they are not two to ten different whole numbers from 0 to 9; the message says what is wrong.
    """
    try:
        if not isinstance(classes, Sequence | np.ndarray) or any(isinstance(label, bool) for label in classes):
            raise TypeError
        found = tuple(sorted(operator.index(label) for label in classes))
    except TypeError:
        raise ValueError("classes are a list of whole numbers") from None
    if outside := set(found) - set(range(10)):
        raise ValueError(f"there is no class {min(outside)}")
    if twice := [label for label in found if found.count(label) > 1]:
        raise ValueError(f"class {twice[0]} comes twice; name different ones")
    if len(found) < 2:
        raise ValueError("a task has two classes or more")
    return found


def pair_in_order(classes: Any) -> tuple[int, int]:
    """The two classes of a pair as `in_order` has them. Raises ValueError as that does, and for more than two."""
    found = in_order(classes)
    if len(found) > 2:
        raise ValueError("a pair has two classes")
    return found[0], found[1]


def check_classes(classes: Any) -> tuple[int, ...]:
    """The classes of a task in rising order.

    Raises:
        UserError: unless they are two to ten different whole numbers from 0 to 9, or "all".
    """
    if isinstance(classes, str) and classes == "all":
        return tuple(range(10))
    try:
        return in_order(classes)
    except ValueError:
        allowed = 'the classes of a task must be two (or more) different digits from 0 to 9 such as (4, 9), or "all"'
        raise UserError(f"{allowed}; got {classes!r}") from None


def check_pair(classes: Any) -> tuple[int, int]:
    """The two classes of a pair in rising order. Raises UserError unless they are different, and from 0 to 9."""
    try:
        return pair_in_order(classes)
    except ValueError:
        allowed = "a pair must be two different digits from 0 to 9 such as (4, 9)"
        raise UserError(f"{allowed}; got {classes!r}") from None


def name_of(classes: Iterable[int]) -> str:
    """What a task of these classes is called in tables.

    >>> name_of((4, 9))
    '4-9'
    """
    return "-".join(map(str, classes))


def from_name(name: str) -> tuple[int, ...]:
    """The classes of a task of that name, in rising order.

    >>> from_name("9-4")
    (4, 9)

    Raises:
        ValueError: it is no such name, or as `in_order`.
    """
    return in_order([int(label) for label in name.split("-")])
