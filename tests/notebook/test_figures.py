"""Figures, by what they draw and not by their pixels."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from lowcap.errors import UserError
from lowcap.notebook import figures


@pytest.fixture
def scores() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "width": [2, 2, 2, 8, 8, 8] * 2,
            "f1": [0.1, 0.2, 0.9, 0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.9, 0.9, 0.9],
            "pair": ["4-9"] * 6 + ["0-1"] * 6,
        }
    )


def test_a_curve_runs_through_the_medians(scores: pd.DataFrame) -> None:
    ax = figures.curves(scores, x="width", y="f1", hue="pair", ax=plt.figure().gca(), estimator="median")
    drawn = [line.get_ydata() for line in ax.get_lines() if len(line.get_ydata())][:2]
    assert np.allclose(drawn, [[0.2, 0.6], [0.8, 0.9]])


def test_a_band_spans_all_rows_when_asked_for_the_whole_range(scores: pd.DataFrame) -> None:
    ax = figures.curves(scores, x="width", y="f1", hue="pair", ax=plt.figure().gca(), band=("pi", 100))
    low, high = np.array(ax.collections[0].get_paths()[0].vertices)[:, 1].min(), 0.9
    assert (low, ax.collections[0].get_paths()[0].vertices[:, 1].max()) == pytest.approx((0.1, high))


def test_pairs_and_protocols_keep_their_colour_and_names_share_none() -> None:
    assert figures.colours(["4-9", "0-1"]) == {"4-9": figures.RED, "0-1": figures.BLUE}
    assert len({str(colour) for colour in figures.colours([1, 2, 4, 8]).values()}) == 4


def test_a_missing_column_is_named(scores: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="no column"):
        figures.curves(scores, x="width", y="auc", hue="pair", ax=plt.figure().gca())


def test_widths_are_ticked_at_powers_of_two() -> None:
    ax = plt.figure().gca()
    ax.plot([2, 64], [0, 1])
    figures.width_axis(ax, [2, 6, 8, 10, 64])
    assert list(ax.get_xticks()) == [2, 8, 64]


def test_every_width_has_a_colour_step_of_its_own() -> None:
    norm = figures.log2_norm([1, 2, 4, 64])
    steps = [int(norm(width)) for width in (1, 2, 4, 64)]
    assert steps == sorted(set(steps))


def test_a_pair_lands_in_its_own_cell_and_a_missing_value_is_a_dash() -> None:
    ax = figures.pair_map({"0-1": 1.0, "4-9": 2.5, "3-8": float("nan")}, plt.figure().gca())
    texts = {(round(t.get_position()[0] - 0.5), round(t.get_position()[1] + 0.5)): t.get_text() for t in ax.texts}
    assert texts[(0, 1)] == "1"
    assert texts[(4, 9)] == "2.5"
    assert texts[(3, 8)] == "–"


def test_an_axis_of_sparsity_spaces_tenths_of_what_is_left_evenly() -> None:
    ax = plt.figure().gca()
    ax.plot([0, 0.9, 0.99], [1, 2, 3])
    figures.sparsity_axis(ax)
    ax.figure.canvas.draw()
    x = ax.transData.transform([(0, 1), (0.9, 1), (0.99, 1)])[:, 0]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1])
    low, high = ax.get_xlim()
    assert low < 0 < 0.99 < high < 0.995
    assert [t.get_text() for t in ax.get_xticklabels()][:5] == ["0", "50", "70", "80", "90"]


def test_panels_that_share_an_axis_of_sparsity_share_its_limits() -> None:
    _, axes = figures.panels(2, sharey=True)
    axes[0].plot([1, 2], [0.5, 0.9])
    axes[1].plot([1, 2], [0.8, 0.99])
    figures.sparsity_axis(axes[0], "y")
    assert axes[0].get_ylim() == axes[1].get_ylim()
    low, high = axes[1].get_ylim()
    assert low < 0.5 < 0.99 < high


def test_dotted_lines_are_means_in_the_colours_of_the_curves(scores: pd.DataFrame) -> None:
    ax = figures.dotted(scores, x="width", y="f1", hue="pair", ax=plt.figure().gca())
    assert np.allclose([line.get_ydata() for line in ax.get_lines()], [[0.4, 0.6], [0.8, 0.9]])
    assert [line.get_color() for line in ax.get_lines()] == [figures.RED, figures.BLUE]
    assert not ax.get_legend_handles_labels()[0]


def test_graded_lines_leave_out_what_is_missing() -> None:
    table = pd.DataFrame({2: [1.0, np.nan, 3.0], 8: [1.0, 2.0, 3.0]}, index=[1, 10, 100])
    ax = figures.graded(table, plt.figure().gca())
    assert [len(line.get_xdata()) for line in ax.get_lines()] == [2, 3]
    assert ax.get_legend_handles_labels()[1] == ["2", "8"]


def test_logarithmic_ticks_are_those_within_the_axis() -> None:
    ax = plt.figure().gca()
    ax.plot([5, 3000], [1, 2])
    figures.log_ticks(ax, (1, 10, 1000, 100000))
    assert ax.get_xticks().tolist() == [10, 1000]
    assert ax.xaxis.get_major_formatter()(1000, 0) == "1,000"
