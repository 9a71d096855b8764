"""Intervals that mean what they say, and rank correlations as SciPy has them."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, spearmanr

from lowcap import statistics
from lowcap.errors import UserError
from lowcap.statistics import interval, spread


def test_an_interval_of_the_mean_agrees_with_its_closed_form() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    result = interval(values)
    half = 1.96 * values.std() / len(values) ** 0.5
    assert result.estimate == pytest.approx(values.mean())
    assert result.low == pytest.approx(values.mean() - half, abs=0.03)
    assert result.high == pytest.approx(values.mean() + half, abs=0.03)


@pytest.mark.parametrize("statistic", [np.mean, np.median, lambda values: np.quantile(values, 0.2)])
@pytest.mark.parametrize("confidence", [0.5, 0.95])
def test_an_interval_is_the_percentile_interval_of_scipy(statistic: Any, confidence: float) -> None:
    values = np.random.default_rng(1).exponential(size=25)
    ours = interval(values.tolist(), statistic=statistic, confidence=confidence, seed=3)
    theirs = bootstrap(
        (values,),
        statistic,
        n_resamples=2000,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert ours.tolist() == [statistic(values), theirs.low, theirs.high]


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    results = [interval(rng.normal(1, 1, 30), confidence=0.9, seed=i) for i in range(200)]
    assert 0.82 < np.mean([r.low <= 1 <= r.high for r in results]) < 0.95


@given(st.floats(-1e6, 1e6), st.integers(1, 5))
def test_an_interval_of_equal_values_is_that_value(value: float, n: int) -> None:
    assert interval([value] * n).tolist() == pytest.approx([value] * 3)


def test_an_interval_with_a_value_that_is_nan_is_nan() -> None:
    assert interval([1.0, math.nan, 2.0]).isna().all()


@pytest.mark.parametrize(("arguments", "name"), [(([],), "values"), (([1.0, 2.0],), "confidence")])
def test_an_interval_of_nothing_or_of_impossible_confidence_is_refused(arguments: tuple, name: str) -> None:
    with pytest.raises(UserError, match=f"`{name}` must"):
        interval(*arguments, confidence=95)


def test_a_spread_is_the_interval_or_the_range_of_a_few_or_a_dash() -> None:
    values = [0.1, 0.4, 0.2, 0.9, math.nan]
    known = interval(values[:4])
    assert spread(values) == "{:.3f} ({:.3f} to {:.3f})".format(*known)
    assert spread(values, "{:.1f}", np.median) == "{:.1f} ({:.1f} to {:.1f})".format(
        *interval(values[:4], statistic=np.median)
    )
    assert spread([0.4, -0.2, 0.1], "{:+.1f}") == "+0.1 (range −0.2 to +0.4)"
    assert spread([0.25, math.nan], "{:.0%}") == "25% (–)"
    assert spread([math.nan]) == spread([]) == "–"


def test_rank_correlation_agrees_with_scipy_and_leaves_out_what_is_missing() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30))
    y += x
    found = statistics.rank_correlation([*x, 1.0], [*y, np.nan])
    assert found["estimate"] == pytest.approx(spearmanr(x, y).statistic)
    assert found["low"] < found["estimate"] < found["high"]


@pytest.mark.parametrize(("x", "expected"), [([1, 2, 3, 4], 1.0), ([4, 3, 2, 1], -1.0), ([5, 5, 5, 5], 0.0)])
def test_rank_correlation_of_simple_orders(x: list[float], expected: float) -> None:
    assert statistics.rank_correlation(x, [10, 20, 30, 40])["estimate"] == pytest.approx(expected)


def test_rank_correlation_of_two_points_is_not_defined() -> None:
    assert statistics.rank_correlation([1, 2], [1, 2]).isna().all()


def test_rank_correlations_of_many_are_those_of_scipy():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(5, 30)), rng.integers(0, 4, (5, 30)).astype(float)
    assert statistics.spearman(x, y) == pytest.approx([spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)])
    assert statistics.spearman(np.ones(4), np.arange(4.0)) == 0


def test_a_comparison_is_of_the_same_networks() -> None:
    one = pd.DataFrame({"seed": [0, 1, 2], "f1": [0.9, 0.5, 0.7]})
    other = pd.DataFrame({"seed": [2, 1, 0], "f1": [0.6, 0.4, 0.8]})
    assert statistics.compared(one, other, ["seed"]).round(9).tolist() == [0.1, 0.1, 0.1]


def test_a_summary_is_the_mean_of_each_group_with_its_interval() -> None:
    index = pd.MultiIndex.from_product([["a", "b"], range(3)], names=["pair", "seed"])
    table = statistics.summarised(pd.Series([1.0, 2.0, 3.0, 5.0, 5.0, np.nan], index), ["pair"])
    estimate, low, high = table.loc["a"].tolist()
    assert estimate == 2
    assert low < 2 < high
    assert table.loc["b"].tolist() == [5, 5, 5]
