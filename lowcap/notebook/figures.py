"""The house style, and the figures that more than one chapter draws. Everything here takes a tidy frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, ScalarFormatter

from lowcap.classes import from_name
from lowcap.errors import UserError

# Okabe and Ito's palette, which readers with any colour vision tell apart: warm for hard pairs, cool for easy ones.
BLUE, SKY, GREEN, ORANGE, RED, PINK, INK = "#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#333333"
COLOURS = {"0-1": BLUE, "1-7": SKY, "5-6": GREEN, "3-8": ORANGE, "4-9": RED, "published": RED, "converged": BLUE,
           "ffnn": BLUE, "head": ORANGE, "both": INK, "during": BLUE, "after": RED}  # fmt: skip
COLOURS |= {"MLP": BLUE, "transformer": RED, "trained": BLUE, "random features": ORANGE}
COLOURS |= {"network": BLUE, "linearised": RED, "another start": "#777777"}
COLOURS |= {"one-shot": RED, "fine-tuned": ORANGE, "gradual": SKY, "iterative": BLUE, "random": "#777777"}
COLOURS |= {
    "first layer": RED,
    "both layers together": GREEN,
    "each layer": PINK,
    "magnitude × activation": BLUE,
    "magnitude × gradient": ORANGE,
}
COLOURS |= {"SGD": BLUE, "Adam": GREEN}
COLOURS |= {"never fire": RED, "always fire": ORANGE, "joined": BLUE}
SHADES = (("#bfe0f5", BLUE, "#002a45"), ("#fbe3b0", RED, "#5a1c00"))  # of class 0 and 1, from light to dark
COLOURS |= {"gradient": BLUE, "SmoothGrad": SKY, "input x gradient": GREEN, "integrated gradients": RED,
            "gradient SHAP": ORANGE, "occlusion": PINK, "finite difference": INK, "random order": "#999999",
            "study, at its start": "#999999", "study": RED}  # fmt: skip
COLOURS |= {"ticket": BLUE, "own weights": BLUE, "new weights": ORANGE, "shuffled mask": PINK, "random mask": "#777777",
            "same pixels": GREEN, "dense": INK, "one hidden layer": BLUE}  # fmt: skip
COLOURS |= {"ticket, clean": BLUE, "ticket, noisy": SKY, "shuffled, clean": "#8e3f72", "shuffled, noisy": PINK}
VERDICTS = {"holds": "#7db8e0", "holds in part": "#e6dccb", "does not hold": "#ec9f6e", "not tested here": "#cccccc"}
MARKERS = ("o", "s", "D", "^", "v", "P", "X")
STYLE: dict[Any, Any] = {
    "figure.dpi": 172,  # twice the 688 pixels of the column
    "figure.figsize": (8, 3.8),
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "legend.frameon": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "image.cmap": "cividis",
}


def use_style() -> None:
    """Set the house style for all figures that follow."""
    plt.rcParams.update(STYLE)


def panels(columns: int, rows: int = 1, *, height: float = 3.6, **kwargs: Any) -> tuple[Figure, np.ndarray]:
    """A figure of the page's width with `(rows * columns,)` axes; other arguments as for `plt.subplots`."""
    fig, axes = plt.subplots(rows, columns, figsize=(8, height * rows), **kwargs)
    return fig, np.ravel(axes)


def colours(names: Sequence[object]) -> dict:
    """A colour per name: the book's own where it has one (pairs, protocols), else from one palette, in order."""
    spare = sns.color_palette("viridis", len(names))
    return {name: COLOURS.get(str(name), colour) for name, colour in zip(names, spare, strict=True)}


def curves(
    data: pd.DataFrame, *, x: str, y: str, hue: str, ax: Axes, band: Any = ("ci", 95), estimator: str = "mean"
) -> Axes:
    """A line per value of `hue`: the mean (or median) of `y` at each `x`, with a band over the rows behind it.

    Colours are those of `colours`, and every line has its own marker, so that none rests on colour alone.

    Args:
        band: seaborn's `errorbar`, over the rows that share x and hue: ("ci", 95) is a bootstrap interval of the
            estimate, ("pi", 100) the whole range.
    """
    _columns(data, x, y, hue)
    if data[[x, y, hue]].dropna().empty:  # an edge of a range may leave nothing; a legend needs a line all the same
        ax.plot([], [], color=INK, label="nothing to show")
        ax.set(xlabel=x, ylabel=y)
        return ax
    names = list(dict.fromkeys(data[hue]))
    style: dict[str, Any] = {"hue_order": names, "style_order": names, "palette": colours(names), "dashes": False}
    markers = {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(names)}
    sns.lineplot(
        data, x=x, y=y, hue=hue, style=hue, markers=markers, errorbar=band, estimator=estimator, seed=0, ax=ax, **style
    )
    ax.legend(title=None)
    return ax


def dotted(data: pd.DataFrame, *, x: str, y: str, hue: str, ax: Axes) -> Axes:
    """Thin dotted lines of the mean of `y`, in the colours that `curves` gives the same names, without a legend."""
    _columns(data, x, y, hue)
    for name, colour in colours(list(dict.fromkeys(data[hue]))).items():
        mean = data[data[hue] == name].groupby(x)[y].mean()
        ax.plot(mean.index, mean, color=colour, linewidth=1.2, linestyle=":")
    return ax


def graded(table: pd.DataFrame, ax: Axes) -> Axes:
    """A line per column over the index, dark to light in the order of the columns, which are numbers (widths, say)."""
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.92, table.shape[1]))
    for i, (name, shade) in enumerate(zip(table, shades, strict=True)):
        line = table[name].dropna()
        ax.plot(line.index, line, color=shade, marker=MARKERS[i % len(MARKERS)], markersize=4, label=f"{name}")
    return ax


def log_ticks(ax: Axes, values: Sequence[float]) -> None:
    """A logarithmic x axis with these ticks, those that lie within it, written out."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(FixedLocator([value for value in values if low <= value <= high]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 10 else f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())


def legend_above(ax: Axes, *, title: str | None = None) -> None:
    """The legend in one row above the axes, where it covers no line."""
    ax.legend(title=title, loc="lower left", bbox_to_anchor=(0, 1), ncols=9, columnspacing=1.4, handletextpad=0.5)


def width_axis(ax: Axes, widths: Sequence[int]) -> None:
    """A logarithmic x axis of hidden widths with a tick at each power of two among them."""
    ax.set_xscale("log", base=2)
    width_ticks(ax, widths, "x")
    ax.set_xlabel("width (hidden units)")


def width_ticks(ax: Axes, widths: Sequence[int], which: str = "y") -> None:
    """Ticks at the powers of two among the widths, written out, on a logarithmic axis."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_locator(FixedLocator([w for w in sorted(set(widths)) if w & (w - 1) == 0] or sorted(set(widths))))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_locator(NullLocator())


def sparsity_axis(ax: Axes, which: str = "x", *, label: str = "weights removed (%)") -> None:
    """An axis of sparsity in [0, 1) that is logarithmic in what is left: 90, 99 and 99.9 % lie at even distances."""
    x = which == "x"
    axis = ax.xaxis if x else ax.yaxis
    set_scale, set_limits = (ax.set_xscale, ax.set_xlim) if x else (ax.set_yscale, ax.set_ylim)
    shared = ax.get_shared_x_axes() if x else ax.get_shared_y_axes()
    limits = [getattr(one.dataLim, f"interval{which}") for one in shared.get_siblings(ax) if one.has_data()]
    low, high = (np.min(limits), np.max(limits)) if np.isfinite(limits).all() and limits else (0, 0.99)
    set_scale("function", functions=(lambda s: -np.log10(np.clip(1 - s, 1e-6, None)), lambda t: 1 - 10.0**-t))
    set_limits(1 - 1.1 * (1 - low), 1 - (1 - high) / 1.1)
    axis.set_major_locator(FixedLocator([0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999]))
    axis.set_major_formatter(FuncFormatter(lambda s, _: f"{100 * s:g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_label_text(label)


def log2_norm(widths: Sequence[int]) -> BoundaryNorm:
    """Colours for widths: one step per width, whatever the distance between them."""
    edges = [w / 2**0.5 for w in sorted(set(widths))] + [max(widths) * 2**0.5]
    return BoundaryNorm(edges, 256)


def pair_map(values: Mapping[str, float] | pd.Series, ax: Axes, *, fmt: str = "g", **kwargs: Any) -> Axes:
    """A number per pair of classes as a triangular map; `values` by pair, "4-9". Missing values show as a dash."""
    grid = np.full((10, 10), np.nan)
    for pair, value in dict(values).items():
        a, b = from_name(pair)
        grid[b, a] = value
        if np.isnan(value):
            ax.text(a + 0.5, b - 0.5, "–", ha="center", va="center", size=8)
    options = {"cmap": "cividis_r", "linewidths": 1, "square": True, "cbar": False}
    sns.heatmap(grid[1:, :9], annot=True, fmt=fmt, annot_kws={"size": 8}, ax=ax, **{**options, **kwargs})
    ax.set_yticklabels([str(i) for i in range(1, 10)], rotation=0)
    ax.grid(False)
    return ax


def weight_histograms(data: pd.DataFrame, *, lowest: float = 1e-5) -> Figure:
    """A row per stage and a histogram per layer on a logarithmic scale, each with a bar for the weights that are zero.

    Args:
        data: `stage` with the columns of `rules.histogram`; rows that share stage, layer and bin are averaged.
        lowest: the smallest share that is shown.
    """
    _columns(data, "stage", "layer", "left", "right", "share")
    shares = data.groupby(["stage", "layer", "left", "right"], sort=False)["share"].mean()
    stages, layers = list(dict.fromkeys(data["stage"])), list(dict.fromkeys(data["layer"]))
    fig, axes = plt.subplots(
        len(stages), 2 * len(layers), figsize=(8, 1.25 * len(stages) + 0.6), squeeze=False,
        width_ratios=[7, 1] * len(layers), sharex="col", sharey="col",
    )  # fmt: skip
    for (row, stage), (column, layer) in product(enumerate(stages), enumerate(layers)):
        one = shares[stage, layer].reset_index()
        bins, zeros = one[one["left"] < one["right"]], one.loc[one["left"] == one["right"], "share"].sum()
        ax, side = axes[row, 2 * column : 2 * column + 2]
        ax.stairs(bins["share"], [*bins["left"], bins["right"].iloc[-1]], fill=True, color=COLOURS.get(layer, BLUE))
        ax.set(yscale="log", ylim=(lowest, 1))
        ax.set_title(f"{layer}: {stage}", fontsize=9.5)
        side.bar([0], [zeros], color=INK)
        side.text(0, zeros + 0.05, f"{100 * zeros:.0f} %", ha="center", size=9)
        side.set(ylim=(0, 1.3), xlim=(-1, 1), xticks=[0], xticklabels=["zero"], yticks=[])
        side.grid(False)
    for ax in axes[-1, ::2]:
        ax.set_xlabel("weight")
    fig.supylabel("share of the layer's weights")
    return fig


def point_maps(
    data: pd.DataFrame, axes: Sequence[Axes], *, by: str = "condition", size: float = 7, shared: bool = True
) -> None:
    """A map of the same images per value of `by`: class 0 as blue dots, class 1 as orange triangles.

    The shade of a point is its height in the first map, within its class, so that one can follow where images went.

    Args:
        data: the columns `by`, `image, label, x, y`, as of `tsne.maps`.
        shared: whether all maps have the same limits; else each fills its own square.
    """
    _columns(data, by, "image", "label", "x", "y")
    names = list(dict.fromkeys(data[by]))
    first = data[data[by] == names[0]].set_index("image")
    shade = first.groupby("label")["y"].rank(pct=True)
    for ax, name in zip(axes, names, strict=False):
        own = data[data[by] == name]
        for label, marker in enumerate("o^"):
            some = own[own["label"] == label]
            cmap = LinearSegmentedColormap.from_list(str(label), SHADES[label])
            style: dict[str, Any] = {"s": size, "marker": marker, "linewidths": 0, "vmin": 0, "vmax": 1}
            ax.scatter(some["x"], some["y"], c=some["image"].map(shade), cmap=cmap, **style)
        low, high = ((data if shared else own)[["x", "y"]].agg(end).to_numpy() for end in ("min", "max"))
        middle, half = (low + high) / 2, 0.57 * (high - low).max()
        ax.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
        ax.set(xticks=[], yticks=[], aspect="equal", facecolor="#f7f7f7")
        ax.set_title(str(name), fontsize=10)
        ax.spines[:].set_visible(False)


def _columns(data: pd.DataFrame, *names: str) -> None:
    if missing := [name for name in names if name not in data]:
        raise UserError(f"the frame has no column {missing}; it has {', '.join(map(str, data.columns))}")
