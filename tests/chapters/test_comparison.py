"""Leads of one kind of network over another: by hand, and never over what was not trained."""

import pandas as pd
import pytest

from lowcap.chapters.tickets import comparison
from lowcap.errors import UserError


def test_a_ticket_wins_where_it_leads_every_control_outside_the_interval() -> None:
    levels = {1: (0.9, 0.8, 0.7), 2: (0.9, 0.9, 0.7)}
    rows = [
        {"width": 4, "seed": seed, "round": k, "method": method, "accuracy": value + 0.01 * (seed % 2)}
        for k, values in {0: (0.5, 0.5, 0.5), **levels}.items()
        for method, value in zip(("ticket", "new weights", "one-shot"), values, strict=True)
        for seed in range(4)
    ]
    lead = comparison.between(pd.DataFrame(rows), ["width"])
    assert lead["estimate"].round(6).to_dict() == {
        (4, 1, "new weights"): 0.1, (4, 1, "one-shot"): 0.2, (4, 2, "new weights"): 0.0, (4, 2, "one-shot"): 0.2,
    }  # fmt: skip
    change = comparison.over_dense(pd.DataFrame(rows), ["width"])
    both = ["new weights", "one-shot"]
    assert comparison.winning(lead, change, 0.0, both).to_dict() == {(4, 1): True, (4, 2): False}
    assert comparison.winning(lead, change, 0.0, ["one-shot"]).all()
    unsure = pd.DataFrame({"estimate": 0.1, "low": -0.01, "high": 0.2}, lead.index)
    assert not comparison.winning(unsure, change, 0.0, both).any()
    below = change.assign(low=-0.004)
    assert comparison.winning(lead, below, 0.004, both).any()
    assert not comparison.winning(lead, below, 0.003, both).any()
    change = change["estimate"].round(6)
    assert change[4, 1, "ticket"] == pytest.approx(0.4)
    assert change[4, 2, "one-shot"] == pytest.approx(0.2)


def test_a_lead_pairs_the_networks_by_their_seed() -> None:
    apart = {0: 0.1, 1: 0.2, 2: 0.3}  # what the seeds differ by; the lead is the same for all
    rows = pd.DataFrame(
        {"net": "a", "seed": seed, "round": k, "method": method, "accuracy": apart[seed] + 0.05 * (method == "ticket")}
        for k in (0, 1) for method, seeds in (("ticket", [0, 1, 2]), ("one-shot", [2, 0, 1])) for seed in seeds
    )  # fmt: skip
    assert comparison.between(rows, ["net"]).loc["a", 1, "one-shot"].tolist() == pytest.approx([0.05] * 3)
    some = rows[(rows["round"] == 0) | (rows["method"] == "ticket")].assign(round=lambda rows: rows["round"] + 1)
    assert comparison.between(some, ["net"], of="one-shot").index.tolist() == [("a", 1, "ticket")]


def test_with_three_networks_the_interval_is_their_range() -> None:
    values = {"ticket": (0.9, 0.8, 0.75), "one-shot": (0.7, 0.7, 0.7)}
    rows = pd.DataFrame(
        {"net": "a", "seed": seed, "round": 1, "method": method, "accuracy": value}
        for method, three in values.items() for seed, value in enumerate(three)
    )  # fmt: skip
    assert comparison.between(rows, ["net"]).loc["a", 1, "one-shot"].tolist() == pytest.approx([0.35 / 3, 0.05, 0.2])


def test_what_was_not_trained_is_not_beaten() -> None:
    index = pd.MultiIndex.from_tuples([(1, "one-shot"), (2, "one-shot"), (2, "new weights")], names=["round", "method"])
    lead = pd.DataFrame({"estimate": 0.1, "low": 0.1, "high": 0.1}, index)
    change = pd.concat({"ticket": pd.DataFrame({"low": 0.0}, pd.Index([1, 2], name="round"))}, names=["method"])
    with pytest.raises(UserError, match="each of the controls at each reading; new weights is not at all"):
        comparison.winning(lead, change, 0.0, ["new weights", "one-shot"])
    assert comparison.winning(lead, change, 0.0, ["one-shot"]).to_dict() == {1: True, 2: True}


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0.01, 0.2, "+1.20*"), (-0.1, 0.2, "+1.20"), (0.0, 0.2, "+1.20"), (float("nan"), float("nan"), "+1.20")],
)
def test_a_star_marks_an_interval_that_excludes_zero(low: float, high: float, text: str) -> None:
    assert comparison.starred(pd.Series({"estimate": 0.012, "low": low, "high": high})) == text
    assert comparison.starred(pd.Series({"estimate": -1e-6, "low": -0.1, "high": -0.01})) == "+0.00*"
    assert comparison.starred(pd.Series({"estimate": -1e-6, "low": -0.1, "high": 0.0})) == "+0.00"
