"""Small multiples of maps, each with the outline of its digit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lowcap.notebook.figures import INK

Row = Mapping[str, tuple[Tensor, Tensor]]  # by column: a map and its image, each (D,)


def gallery(
    rows: Mapping[str, Row], *, unsigned: Sequence[str] = (), classes: Sequence[int] = (), shared: bool = False
) -> Figure:
    """A row of maps per name, each row on a scale of its own that its columns share; one for all rows if `shared`.

    A scale ends at the 0.995 quantile of the sizes, lest a few pixels make all others pale; they get its last colour.

    Maps are red where they speak for class 1 and blue where they speak against it, white at 0; the rows named in
    `unsigned` run from dark at 0 to bright. The bar at the bottom names the two `classes`.
    """
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    fig, axes = plt.subplots(len(rows), len(columns), figsize=(8, 1.72 * len(rows) + 0.8), squeeze=False)
    shown, limits = None, {name: _limit([row]) for name, row in rows.items()}
    if shared:
        limits = dict.fromkeys(rows, _limit(rows.values()))
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        limit = limits[name]
        signed = name not in unsigned
        for ax, column in zip(line, columns, strict=True):
            scale = {"cmap": "RdBu_r", "vmin": -limit} if signed else {"cmap": "cividis", "vmin": 0}
            image = ax.imshow(_square(row[column][0]), vmax=limit, **scale)
            shown = image if signed else shown
            _outline(ax, row[column][1], INK if signed else "white")
        label = name.replace(" ", "\n", 1) if len(name) > 9 else name
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", size=11)
    for ax, column in zip(axes[0], columns, strict=True):
        ax.set_title(column, loc="center", size=10.5)
    if shown is not None and classes:
        limit = shown.get_clim()[1]
        bar = fig.colorbar(shown, ax=axes[-1], location="bottom", aspect=40, shrink=0.6, pad=0.08)
        bar.set_ticks([-limit, 0, limit], labels=[f"for {classes[0]}", "0", f"for {classes[1]}"])
        bar.outline.set_visible(False)
    return fig


def _limit(rows: Iterable[Row]) -> float:
    """Where the colour scale of these rows ends."""
    sizes = np.concatenate([np.abs(found.numpy()) for row in rows for found, _ in row.values()])
    return float(np.quantile(sizes, 0.995)) or 1.0  # of maps that are zero everywhere any scale will do


def _outline(ax: Axes, image: Tensor, colour: str) -> None:
    pixels = _square(image)
    if pixels.max() > 0:
        ax.contour(pixels, levels=[0.4 * pixels.max()], colors=[colour], linewidths=0.8)
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.spines[["left", "bottom"]].set_visible(False)


def _square(pixels: Tensor) -> np.ndarray:
    side = round(len(pixels) ** 0.5)
    return pixels.detach().numpy().reshape(side, side)
