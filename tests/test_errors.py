"""Checks of arguments: what is let through, and what the refusal of the rest says."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lowcap import errors
from lowcap.errors import UserError

NO_NUMBERS = [True, False, np.True_, "3", None, [3], {3}, 3j, math.nan, torch.tensor(3)]
anything = st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=3))


def refusal(call: Any, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(UserError) as error:
        call(*args, **kwargs)
    return str(error.value)


@given(anything, st.integers(-5, 5), st.one_of(st.none(), st.integers(-5, 5)))
def test_a_whole_number_within_its_bounds_comes_back_as_an_int_and_nothing_else_does(
    value: Any, least: int, most: int | None
) -> None:
    try:
        found = errors.whole_number("n", value, least, most)
    except UserError:
        found = None
    fine = type(value) is int and value in range(least, max(value, least) + 1 if most is None else most + 1)
    assert found == (value if fine else None)


@pytest.mark.parametrize("kind", [int, np.int8, np.uint32, np.int64])
def test_whole_numbers_and_numbers_of_numpy_are_taken_as_pythons_own(kind: Any) -> None:
    found = errors.whole_number("n", kind(3), 1, 3), *errors.whole_numbers("n", np.array([2, 3]), 1)
    assert found == (3, 2, 3)
    assert {type(value) for value in found} == {int}
    assert (errors.number("x", kind(3), most=3), type(errors.number("x", kind(3)))) == (3.0, float)


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_number_is_refused_whatever_the_bounds(value: Any) -> None:
    assert refusal(errors.whole_number, "n", value, 0) == f"`n` must be a whole number of at least 0; got {value!r}"
    assert refusal(errors.number, "x", value) == f"`x` must be a number; got {value!r}"
    assert refusal(errors.fraction, "x", value) == f"`x` must be a fraction from 0 to 1; got {value!r}"
    assert refusal(errors.whole_numbers, "n", [4, value], 0).endswith(f"whole numbers of at least 0; got {value!r}")


@given(st.floats(), st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_bounds_of_numbers_are_inclusive_or_not_as_they_say(value: float, low: float, high: float) -> None:
    bounds = {
        ("least", "most"): low <= value <= high,
        ("least", "below"): low <= value < high,
        ("above", "most"): low < value <= high,
        ("above", "below"): low < value < high,
    }
    for (lower, upper), fine in bounds.items():
        limits: dict[str, Any] = {lower: low, upper: high}
        try:
            found: float | None = errors.number("x", value, **limits)
        except UserError:
            found = None
        assert found == (value if fine and math.isfinite(value) else None)


@pytest.mark.parametrize(
    ("bounds", "allowed"),
    [
        ({}, "a number"),
        ({"least": 0}, "a number of at least 0"),
        ({"above": 0}, "a number above 0"),
        ({"most": 0.5}, "a number of at most 0.5"),
        ({"least": 0, "most": 180.0}, "a number from 0 to 180"),
        ({"least": 0, "below": 1}, "a number of at least 0 and below 1"),
        ({"above": 0, "below": 60, "note": "for so many images"}, "a number above 0 and below 60, for so many images"),
    ],
)
def test_a_refusal_names_the_parameter_what_is_allowed_and_what_came(bounds: dict[str, Any], allowed: str) -> None:
    assert refusal(errors.number, "x", "a", **bounds) == f"`x` must be {allowed}; got 'a'"


@pytest.mark.parametrize(
    ("bounds", "allowed"),
    [
        ((1,), "a whole number of at least 1"),
        ((0, 9), "a whole number from 0 to 9"),
        ((0, 2**32 - 1), "a whole number from 0 to 4294967295"),
        ((1, None, "or None"), "a whole number of at least 1, or None"),
    ],
)
def test_a_refusal_of_a_whole_number_says_its_bounds_in_full(bounds: tuple, allowed: str) -> None:
    assert refusal(errors.whole_number, "n", -1, *bounds) == f"`n` must be {allowed}; got -1"


def test_only_the_name_of_a_parameter_is_set_as_code() -> None:
    assert refusal(errors.number, "lr of a recipe", 0, above=0) == "`lr` of a recipe must be a number above 0; got 0"
    assert (
        refusal(errors.one_of, "by of a ranking", "x", ["a", "b"]) == "`by` of a ranking must be one of a, b; got 'x'"
    )


def test_numbers_too_large_for_a_float_are_refused_as_what_they_are() -> None:
    huge = 10**400
    assert errors.whole_number("n", huge, 0) == huge
    assert refusal(errors.number, "x", huge, least=0) == f"`x` must be a number of at least 0; got {huge!r}"
    assert refusal(errors.fraction, "x", huge).startswith("`x` must be a fraction from 0 to 1; got 1000")
    assert errors.number("x", Fraction(1, 4)) == 0.25


@pytest.mark.parametrize("values", [3, None, 0.5], ids=repr)
def test_a_list_is_asked_for_where_one_number_comes(values: Any) -> None:
    said = refusal(errors.whole_numbers, "widths", values, 1)
    assert said == f"`widths` must be a list of whole numbers of at least 1; got {values!r}"
    assert errors.whole_numbers("widths", iter([]), 1) == []
