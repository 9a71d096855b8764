"""Grids: what they stand for, by hand, and one clear sentence for each that is wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcap.classes import ALL_PAIRS
from lowcap.errors import UserError
from lowcap.sweep.command import MOST_SHARDS, planned
from lowcap.sweep.grid import MOST_VALUES, names, numbers, own_or, parse, split, whole
from lowcap.sweep.shards import NAMES, UNITS, axes, blocks, check, shards
from lowcap.values import STUDY_PAIRS as PAIRS


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("width=5", (5,)),
        ("width=1:4", (1, 2, 3, 4)),
        ("width=8:24:8", (8, 16, 24)),
        ("width=8:23:8", (8, 16)),
        ("width=1:3,8, 16", (1, 2, 3, 8, 16)),
        (" width = 64:64 ", (64,)),
    ],
)
def test_whole_numbers_and_ranges_in_which_the_last_counts(text, values):
    assert parse([text], {"width": whole(1, 64, default="2")}) == {"width": values}


@pytest.mark.parametrize(
    ("text", "values"),
    [("0:1:0.25", (0, 0.25, 0.5, 0.75, 1)), ("0:0.3:0.1", (0, 0.1, 0.2, 0.3)), ("1e-1,0.5", (0.1, 0.5))],
)
def test_numbers_and_ranges_without_rounding_errors(text, values):
    assert parse([f"level={text}"], {"level": numbers(0, 1, default="0")}) == {"level": values}


def test_the_grid_of_the_issue():
    grid = parse(["pair=all", "width=1:64", "seed=0:99", "recipe=published,converged"], axes("capacity"))
    assert [grid[name][:2] for name in ("pair", "width", "seed")] == [("0-1", "0-2"), (1, 2), (0, 1)]
    assert [len(grid[name]) for name in ("pair", "width", "seed")] == [45, 64, 100]
    assert grid["recipe"] == ("published", "converged")
    assert grid["split"] == (0,)
    found = list(shards("capacity", grid))
    assert len(found) == 45 * 2 * 100  # a seed at all of 64 widths has 2,080 units, and fills a shard
    assert [(s.pair, s.recipe, s.seeds) for s in found[99:101]] == [
        ("0-1", "published", (99,)),
        ("0-1", "converged", (0,)),
    ]
    assert {s.widths for s in found} == {tuple(range(1, 65))}


def test_pairs_by_name_and_in_either_order():
    axis = {"pair": axes("capacity")["pair"]}
    assert parse(["pair=9-4,0-1"], axis)["pair"] == ("4-9", "0-1")
    assert parse(["pair=ten"], axis)["pair"] == ("0-1-2-3-4-5-6-7-8-9",)
    assert len(parse(["pair=all"], axis)["pair"]) == len(ALL_PAIRS) == 45
    assert parse([], axis)["pair"] == tuple(f"{a}-{b}" for a, b in PAIRS)


def test_commas_in_brackets_do_not_part():
    assert split("[3, 8],[4,[9]], 5") == ["[3, 8]", "[4,[9]]", "5"]


def test_blocks_hold_all_seeds_in_order_and_so_many_units():
    assert blocks([600, 400], range(5)) == [(0, 1), (2, 3), (4,)]
    assert blocks([UNITS + 1], [7, 3]) == [(7,), (3,)]
    assert blocks([1], range(10)) == [tuple(range(10))]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("widht=8", "did you mean `width`? There are: dataset, pair"),
        ("width", "given as axis=values, such as width=1:64; got 'width'"),
        ("width=", "given as axis=values"),
        ("width=eight", "axis `width` must be whole numbers from 1 to 4096, such as 1:64; got 'eight'"),
        ("width=0:3", "'0:3' does not lie within 1 to 4096"),
        ("width=1:5000", "does not lie within 1 to 4096"),
        ("width=9:3", "9:3 runs backwards; write 3:9"),
        ("width=1:9:0", "the step of a range must be above 0"),
        ("width=1:3,2", "2 comes twice; name each once"),
        ("width=1,,2", "nothing between two commas"),
        ("width=1.5", "'1.5' is no whole number"),
        ("seed=0:4294967295", f"more than {MOST_VALUES:,} values"),
        ("seed=-1", "'-1' is no whole number"),
        ("pair=4_9", "'4_9' is no pair, nor all, study, ten"),
        ("pair=4-4", "class 4 comes twice; name different ones"),
        ("pair=4-9,9-4", "4-9 comes twice"),
        ("pair=3-8-9", "'3-8-9' (a pair has two classes)"),
        ("recipe=convergd", "there is no 'convergd'; did you mean `converged`? There are: published, converged, adam"),
        ("kind=fog", "there is no 'fog'"),
        ("severity=nan", "'nan' is no number"),
        ("severity=0:1", "'0:1' is no number, nor a range first:last:step"),
        ("epochs=0", "axis `epochs` must be `own` or whole numbers from 1 to 100000"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(text, told):
    with pytest.raises(UserError) as error:
        parse([text], axes("robustness"))
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_several_mistakes_are_told_together_a_line_each():
    with pytest.raises(
        UserError, match=r"(?s)no axis `a`.*`seed` is given twice, as 1 and as 2.*`width` must"
    ) as error:
        parse(["a=1", "seed=1", "seed=2", "width=x"], axes("capacity"))
    assert len(str(error.value).splitlines()) == 3


def test_an_unknown_experiment_gets_the_nearest():
    with pytest.raises(
        UserError, match=r"no experiment `capcity`; did you mean `capacity`\? There are: .*chapter:NAME"
    ):
        axes("capcity")


@pytest.mark.parametrize(
    ("experiment", "texts", "told"),
    [
        ("robustness", ["kind=dropout", "severity=0,2"], "`severity` of dropout"),
        ("robustness", ["severity=own,0.1"], "`own` or numbers, not both"),
        ("descent", ["pair=ten", "n=9"], "axis `n` must be at least 10, an image per class; got 9"),
    ],
)
def test_values_that_do_not_go_together_are_refused_at_once(experiment, texts, told):
    with pytest.raises(UserError) as error:
        planned(experiment, [*texts, "dataset=digits"])
    assert told in str(error.value)


def test_a_grid_too_large_to_mean_it_is_refused(monkeypatch):
    monkeypatch.setattr("lowcap.sweep.command.MOST_SHARDS", 100)
    assert MOST_SHARDS == 1_000_000
    with pytest.raises(UserError, match="more than 100 shards; sweep a part of it into each of several --out"):
        planned("capacity", ["dataset=digits", "split=0:100", "width=1", "seed=0", "pair=4-9"])


_AXES = {**axes("robustness"), "x": own_or(numbers(-5, 5, default="0")), "kinds": names(("a", "b"), default="all")}
_TEXT = st.text(st.sampled_from("0123456789:,.-+eE[]()_ allownstudyten٣ \x00\n{}=") | st.characters(), max_size=25)


@given(st.lists(st.tuples(st.sampled_from([*_AXES, "nope"]), _TEXT).map("=".join) | _TEXT, max_size=3))
def test_whatever_comes_is_a_grid_within_bounds_or_one_clear_error(texts):
    try:
        grid = parse(texts, _AXES)
    except UserError:
        return
    assert grid.keys() == _AXES.keys()
    for values in grid.values():
        assert 0 < len(set(values)) == len(values) <= MOST_VALUES
    assert all(isinstance(w, int) and 1 <= w <= 4096 for w in grid["width"])
    assert all(v == "own" or (math.isfinite(v) and 0 <= v <= 180) for v in grid["severity"])
    assert set(grid["pair"]) <= {f"{a}-{b}" for a, b in ALL_PAIRS}


@given(st.integers(1, 90), st.integers(0, 60), st.integers(1, 9))
def test_a_range_is_that_of_python_with_its_end(first, length, step):
    found = parse([f"width={first}:{first + length}:{step}"], {"width": whole(1, 200, default="1")})["width"]
    assert found == tuple(range(first, first + length + 1, step))


def test_every_default_is_a_value_of_its_axis():
    for name in NAMES:
        grid = parse([], axes(name))
        check(name, grid)
        assert all(grid.values())
