"""Which classes make a task, and which of a pair is class 1."""

import subprocess
import sys
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcap import classes
from lowcap.chapters.replay import experiments as replay
from lowcap.errors import UserError
from lowcap.notebook import parameters
from lowcap.sweep import grid
from lowcap.tasks import load_task
from lowcap.values import STUDY_PAIRS

NO_CLASSES = [(4, 4), (4, 10), (-1, 4), (4,), (), (4, 9.0), (True, 2), "49", b"49", 49, None, {4, 9}, [[4, 9]]]


@given(st.permutations(range(10)), st.integers(2, 10))
def test_classes_come_in_rising_order_whichever_way_round_they_were_written(labels: list[int], n: int) -> None:
    given = labels[:n]
    found = classes.in_order(given)
    assert list(found) == sorted(given)
    assert classes.in_order(np.array(given)) == classes.check_classes(tuple(given)) == found
    assert classes.from_name(classes.name_of(given)) == found


@pytest.mark.parametrize("wrong", NO_CLASSES, ids=repr)
def test_what_makes_no_task_is_refused_by_all(wrong: Any) -> None:
    for check in (classes.in_order, classes.pair_in_order):
        with pytest.raises(ValueError, match="class"):
            check(wrong)
    for check in (classes.check_classes, classes.check_pair):
        with pytest.raises(UserError) as error:
            check(wrong)
        assert str(error.value).endswith(f"got {wrong!r}")


def test_three_classes_make_a_task_but_no_pair() -> None:
    assert classes.check_classes((8, 1, 3)) == (1, 3, 8)
    with pytest.raises(UserError, match=r"a pair must be two different digits .*; got \(8, 1, 3\)"):
        classes.check_pair((8, 1, 3))


def test_there_are_45_pairs_and_the_studys_are_among_them() -> None:
    assert tuple(combinations(range(10), 2)) == classes.ALL_PAIRS
    assert len(classes.ALL_PAIRS) == 45
    assert set(STUDY_PAIRS) < set(classes.ALL_PAIRS)


@pytest.mark.parametrize("pair", [(4, 9), (9, 4)])
def test_tasks_the_replay_parameters_and_sweeps_agree_on_a_pair(pair: tuple[int, int]) -> None:
    task, split = load_task(pair, dataset="digits"), replay.split(pair, 0, dataset="digits")
    parameter: Any = parameters.validate("02-capacity", {"pair": list(pair)})
    axis = grid.classes().read("-".join(map(str, pair)))
    assert task.classes == split.pair == parameter.pair == classes.from_name(axis[0]) == (4, 9)
    assert task.name == axis[0] == "4-9"


def test_a_wrong_pair_is_refused_without_torch() -> None:
    code = """
import sys
from lowcap.errors import UserError
from lowcap.notebook import parameters
for chapter in parameters.chapters():
    parameters.schema(chapter)
try:
    parameters.validate("02-capacity", {"pair": [4, 4]})
except UserError as error:
    print(error)
print([name for name in ("torch", "sklearn", "torchvision") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said, loaded = done.stdout.splitlines()
    assert said.startswith(
        "`pair` must be two different classes from 0 to 9, written [4, 9]; got [4, 4] (class 4 comes "
    )
    assert loaded == "[]"
