"""What varies between networks, in numbers: intervals, ranges, rank correlations, paired comparisons."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ConstantInputWarning, bootstrap, spearmanrho

from lowcap.errors import UserError, number


def interval(values: object, *, statistic: Callable = np.mean, confidence: float = 0.95, seed: int = 0) -> pd.Series:
    """`estimate, low, high` of a statistic with its bootstrap interval (percentile, 2,000 resamples).

    >>> interval([1.0, 1.0, 1.0]).tolist()
    [1.0, 1.0, 1.0]

    Raises:
        UserError: no values, or a confidence that is not between 0 and 1.
    """
    values = np.asarray(values, dtype=float)
    if values.size == 0:
        raise UserError("`values` must hold at least one number; got none")
    number("confidence", confidence, above=0, below=1)
    estimate = low = high = float(statistic(values))
    if np.ptp(values) > 0:
        rng = np.random.default_rng(seed)
        result = bootstrap(
            (values,), statistic, n_resamples=2000, method="percentile", confidence_level=confidence, rng=rng
        )
        low, high = result.confidence_interval
    return pd.Series({"estimate": estimate, "low": float(low), "high": float(high)})


def spread(values: object, form: str = "{:.3f}", statistic: Callable = np.mean) -> str:
    """The statistic of the values that are numbers as text, each number by `form`, and in brackets its `interval`.

    Of two or three values, too few for an interval, it is their range; of one, and of none, a dash.

    >>> spread([0.5, 0.75], "{:.2f}"), spread([0.5]), spread([])
    ('0.62 (range 0.50 to 0.75)', '0.500 (–)', '–')
    """
    known = np.asarray(values, dtype=float).ravel()
    known = known[np.isfinite(known)]
    if not known.size:
        return "–"
    few = known.size <= 3
    low, high = (known.min(), known.max()) if few else interval(known, statistic=statistic)[["low", "high"]]
    middle, low, high = (form.format(value).replace("-", "−") for value in (statistic(known), low, high))
    return f"{middle} (–)" if known.size == 1 else f"{middle} ({'range ' if few else ''}{low} to {high})"


def rank_correlation(x: Sequence[float], y: Sequence[float], *, seed: int = 0) -> pd.Series:
    """Spearman's rank correlation as `estimate, low, high`, with the 95 % bootstrap interval over the points.

    Points with a NaN are left out. The correlation with a constant is 0, that of fewer than three points is NaN.
    """
    points = np.array([x, y], dtype=float)
    points = points[:, ~np.isnan(points.sum(0))]
    if points.shape[1] < 3:
        return pd.Series({"estimate": np.nan, "low": np.nan, "high": np.nan})
    options: dict[str, Any] = {"paired": True, "vectorized": True, "n_resamples": 2000, "method": "percentile"}
    result = bootstrap(tuple(points), spearman, rng=np.random.default_rng(seed), **options)
    low, high = map(float, result.confidence_interval)
    return pd.Series({"estimate": float(spearman(*points)), "low": low, "high": high})


def spearman(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    """Spearman's rank correlation along an axis, by SciPy; 0 with a constant, where SciPy warns and gives NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return np.nan_to_num(spearmanrho(x, y, axis=axis).statistic)


def summarised(values: pd.Series, by: Sequence[str]) -> pd.DataFrame:
    """`estimate, low, high`: mean and bootstrap interval of the values in each group of the index levels `by`."""
    return values.dropna().groupby(list(by)).apply(interval).unstack()


def compared(rows: pd.DataFrame, reference: pd.DataFrame, by: Sequence[str], value: str = "f1") -> pd.Series:
    """Mean difference of `value` between the same networks in two frames, with its bootstrap interval over them."""
    both = [frame.set_index(list(by))[value] for frame in (rows, reference)]
    return interval((both[0] - both[1]).dropna())
