"""Sweeps, and the smallest width by each rule."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifier

from lowcap.chapters.capacity import experiments as capacity
from lowcap.classes import ALL_PAIRS
from lowcap.evaluation import evaluate, smallest_width
from lowcap.pairs import linear_error, pairs_in_order
from lowcap.population import Population
from lowcap.recipe import PUBLISHED
from lowcap.tasks import load_task
from lowcap.training import train
from lowcap.values import STUDY_PAIRS as PAIRS


def above_nine_tenths(scores: pd.Series) -> pd.Series:
    return scores > 0.9


def rows_of(scores: dict[int, list[float]]) -> pd.DataFrame:
    """Networks of one pair under one protocol, with the given F1 values per width."""
    cells = [{"width": width, "f1": f1} for width, values in scores.items() for f1 in values]
    return pd.DataFrame(cells).assign(protocol="converged", pair="4-9")


def test_a_width_is_sufficient_only_if_every_larger_one_is() -> None:
    scores = pd.Series({2: 0.95, 4: 0.89, 8: 0.93, 16: 0.97})
    assert smallest_width(scores, above_nine_tenths) == 8
    assert smallest_width(scores[::-1], above_nine_tenths) == 8


def test_no_width_suffices_when_the_largest_does_not() -> None:
    assert np.isnan(smallest_width(pd.Series({2: 0.95, 4: 0.89}), above_nine_tenths))


@given(st.dictionaries(st.integers(1, 100), st.floats(0, 1), min_size=1))
def test_from_the_smallest_width_on_all_suffice_and_the_one_before_does_not(scores: dict[int, float]) -> None:
    widths = sorted(scores)
    found = smallest_width(pd.Series(scores), above_nine_tenths)
    fine = [w for w in widths if w >= found]
    assert all(scores[w] > 0.9 for w in fine)
    before = [w for w in widths if w not in fine]
    assert not before or scores[before[-1]] <= 0.9


def test_the_three_rules_on_numbers_worked_out_by_hand() -> None:
    rows = rows_of({1: [0.96, 0.97, 0.50], 4: [0.985, 0.986, 0.99], 64: [0.99, 0.99, 0.99]})
    needed = capacity.widths_needed(rows, threshold=0.9, tolerance=0.005, factor=2.0).loc[("converged", "4-9")]
    assert needed["threshold"] == 4  # the failed start pulls the mean of width 1 to 0.81
    assert needed["tolerance"] == 4  # medians 0.96, 0.986, 0.99: the second is 0.004 below the last
    assert needed["proportion"] == 4  # errors 0.04, 0.014, 0.01: the second is 1.4 times the last
    strict = capacity.widths_needed(rows, threshold=0.8, tolerance=0.003, factor=1.3).loc[("converged", "4-9")]
    assert strict.tolist() == [1, 64, 64]


def test_the_order_of_pairs_begins_with_the_studys_and_holds_each_once() -> None:
    order = pairs_in_order(45)
    assert tuple(order[:5]) == PAIRS
    assert sorted(order) == sorted(ALL_PAIRS)
    assert pairs_in_order(7) == order[:7]


def test_a_sweep_has_a_row_per_network_and_does_not_depend_on_its_company() -> None:
    recipe = PUBLISHED.but(epochs=5)
    rows = capacity.sweep([(0, 1), (4, 9)], [2, 3], [0, 1], recipe, dataset="digits")
    assert rows.groupby("pair").size().to_dict() == {"0-1": 4, "4-9": 4}
    alone = capacity.sweep([(4, 9)], [3], [1], recipe, dataset="digits")
    same = rows.query("pair == '4-9' and width == 3 and seed == 1")
    assert alone["loss"].item() == pytest.approx(same["loss"].item(), rel=1e-5)


def test_a_learning_curve_starts_before_training_and_ends_with_it() -> None:
    task = load_task((0, 1), dataset="digits")
    curve = capacity.learning_curve(task, [2], [0, 1], PUBLISHED.but(epochs=7), every=3)
    assert sorted(curve["epoch"].unique()) == [0, 3, 6, 7]
    population = train(Population.grid([2], [0, 1], n_features=64), task, PUBLISHED.but(epochs=7))
    end = evaluate(population, task.x_val, task.y_val)
    assert curve.query("epoch == 7")["loss"].tolist() == pytest.approx(end["loss"].tolist(), rel=1e-6)


def test_the_linear_error_is_that_of_scikit_learns_ridge_classifier() -> None:
    task = load_task((3, 8), dataset="digits")
    for alpha in (1.0, 100.0):
        oracle = RidgeClassifier(alpha=alpha).fit(task.x_train.double().numpy(), task.y_train.numpy())
        missed = 1 - oracle.score(task.x_val.double().numpy(), task.y_val.numpy())
        assert linear_error(task, alpha=alpha) == pytest.approx(missed)
