"""Numbers that moved by more than rounding, and verdicts that changed."""

import json

import pytest

from lowcap.book import drift
from lowcap.errors import BuildError, UserError


def results(**numbers):
    return {"results": {"01-replay": numbers}, "claims": [{"id": "exact", "verdict": "holds"}]}


def test_numbers_that_moved_by_more_than_rounding_are_drift():
    book = results(f1=0.9, steps=1480, text="4-9", padded="0.971", x_speed_one=2.0)
    assert drift.compare(book, results(f1=0.904, steps=1484, text="4-9", padded="0.972", x_speed_one=3.0)) == []
    assert drift.compare(book, results(f1=0.91, steps=1500, text="3-8", padded="0.961", x_speed_one=3.0)) == [
        "01-replay f1: 0.9 became 0.91",
        "01-replay padded: 0.971 became 0.961",
        "01-replay steps: 1480 became 1500",
        "01-replay text: 4-9 became 3-8",
    ]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("+0.782 (0.61 to 0.929)", True),
        ("+0.78 (0.61 to 0.95)", False),
        ("−0.78 (0.61 to 0.93)", False),
        ("+0.78 (0.61 or 0.93)", False),
        ("+0.78 (0.61 to 0.93), 3", False),
    ],
)
def test_numbers_within_texts_may_move_as_far_as_others(text, same):
    found = drift.compare(results(text="+0.78 (0.61 to 0.93)"), results(text=text))
    assert (found == []) == same


def test_a_changed_verdict_and_what_only_one_has_are_drift():
    other = results(f1=0.9, extra=1)
    other["claims"][0]["verdict"] = "does not hold"
    found = drift.compare(results(f1=0.9), other)
    assert found == ["01-replay extra: only in the second", "claim exact: holds became does not hold"]


def test_drift_is_a_failure_that_lists_it_all(tmp_path):
    for name, f1 in (("old", 0.9), ("new", 0.5)):
        (tmp_path / name).write_text(json.dumps(results(f1=f1)))
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    assert drift.check(old, old) == 2
    with pytest.raises(BuildError, match=r"1 numbers or verdicts differ: 01-replay f1: 0\.9 became 0\.5"):
        drift.check(old, new)
    for text in ("", "[]", "{}"):
        (tmp_path / "new").write_text(text)
        with pytest.raises(UserError, match=r"must be the results\.json of a built book"):
            drift.check(old, new)
    with pytest.raises(UserError, match=r"must be the results\.json"):
        drift.check(old, "http://127.0.0.1/results.json")
