"""How far one kind of network leads another, network by network, with an interval over the seeds.

Frames have a row per network, `round` of pruning and `method`; round 0 holds the dense networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from lowcap.chapters.tickets.procedure import CONTROLS
from lowcap.errors import UserError
from lowcap.statistics import compared


def between(rows: pd.DataFrame, by: Sequence[str], *, of: str = "ticket", value: str = "accuracy") -> pd.DataFrame:
    """How far one method leads each other one, network by network.

    Args:
        rows: a row per network, `round` and `method`; `by` names the columns that say which networks are compared with
            each other, such as `width`; among them a network is known by its `seed`.

    Returns:
        `estimate, low, high` of the mean difference of `value`, indexed by `by`, `round` and `method`; a lead counts
        where `low` is above 0. Rounds at which `of` was not trained are left out.
    """
    found = {}
    for key, group in rows[rows["round"] > 0].groupby([*by, "round"], sort=False):
        own = group[group["method"] == of]
        if own.empty:
            continue
        for method, other in group[group["method"] != of].groupby("method", sort=False):
            # Pairs of networks with the same seed: what seeds differ by falls out of the difference.
            found[(*key, method)] = compared(own, other, ["seed"], value)
    index = [*by, "round", "method"]
    return pd.DataFrame(found.values(), pd.MultiIndex.from_tuples(found, names=index))


def over_dense(rows: pd.DataFrame, by: Sequence[str], *, value: str = "accuracy") -> pd.DataFrame:
    """As `between`, but of each method over its own dense networks, round 0."""
    found = {}
    for (*key, method), group in rows.groupby([*by, "method"], sort=False):
        dense = group[group["round"] == 0]
        for k, pruned in group[group["round"] > 0].groupby("round"):
            found[(*key, k, method)] = compared(pruned, dense, ["seed"], value)
    return pd.DataFrame(found.values(), pd.MultiIndex.from_tuples(found, names=[*by, "round", "method"]))


def in_points(row: pd.Series) -> str:
    """A difference of accuracies and its interval in percentage points.

    >>> in_points(pd.Series({"estimate": 0.012, "low": -0.003, "high": 0.02}))
    '+1.20 (-0.30 to +2.00)'
    """
    points = (100 * row).round(2) + 0.0  # no -0.00
    return "{estimate:+.2f} ({low:+.2f} to {high:+.2f})".format(**points)


def starred(row: pd.Series) -> str:
    """A difference of accuracies in percentage points, with a star where its interval excludes 0.

    >>> starred(pd.Series({"estimate": 0.012, "low": 0.003, "high": 0.02}))
    '+1.20*'
    >>> starred(pd.Series({"estimate": 0.012, "low": -0.003, "high": 0.02}))
    '+1.20'
    """
    points = round(100 * row["estimate"], 2) + 0.0  # no -0.00
    excludes_zero = row["low"] > 0 or row["high"] < 0
    return f"{points:+.2f}*" if excludes_zero else f"{points:+.2f}"


def winning(
    lead: pd.DataFrame, change: pd.DataFrame, tolerance: float, controls: Sequence[str] = CONTROLS
) -> pd.Series:
    """Whether tickets are as good as their dense networks and lead each control, each time with the entire interval.

    Args:
        lead: of `between`, at all rounds that have controls.
        change: of `over_dense`; as good is at most the `tolerance` below.

    Raises:
        UserError: a control is missing at a round that has others: what was not trained is not beaten.
    """
    wanted = lead[lead.index.get_level_values("method").isin(controls)]
    table = wanted["low"].unstack("method").reindex(columns=list(controls))  # a row per round, a column per control
    if table.isna().any(axis=None):
        missing = table.columns[table.isna().any()].tolist()
        raise UserError(f"the rows must hold each of the controls at each reading; {', '.join(missing)} is not at all")
    dense = change.xs("ticket", level="method")["low"].reindex(table.index)
    return table.gt(0).all(axis=1) & dense.ge(-tolerance)
