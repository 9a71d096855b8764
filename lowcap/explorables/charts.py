"""Line charts of the run's own numbers: where each stands. `templates/controls.html` draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log

SHARES = (0, 0.25, 0.5, 0.75, 1)
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Scale:
    """One axis of a chart: its ends, the ticks with their texts, its name."""

    low: float
    high: float
    ticks: Mapping[float, str]
    label: str = ""
    logarithmic: bool = False

    def place(self, value: float, start: float, end: float) -> float:
        """Where a value lies between two places."""
        share = log(value / self.low) / log(self.high / self.low) if self.logarithmic else (
            (value - self.low) / (self.high - self.low))  # fmt: skip
        return round(start + share * (end - start), 1)


SCORE = Scale(0, 1, {v: f"{v:g}" for v in SHARES})


@dataclass(frozen=True)
class Curve:
    """A curve of the class `kind`; `when="name=value"` shows it only while a control has that value."""

    points: Points
    kind: str
    when: str = ""


@dataclass(frozen=True)
class Chart:
    """A line chart of 320 by 210 units, as wide as a phone: then its text is as large there as in half a page.

    Attributes:
        name: under which the script finds it.
        label: what it shows, for a screen reader.
        curves: of the run.
        marks: upright lines, at a value of `x`, with words to their left or none.
    """

    name: str
    label: str
    x: Scale
    y: Scale
    curves: Sequence[Curve] = ()
    marks: Mapping[float, str] = field(default_factory=dict)
    left, right, top, bottom = 40, 308, 12, 172

    def along(self, value: float) -> float:
        """The place of a value of `x`."""
        return self.x.place(value, self.left, self.right)

    def up(self, value: float) -> float:
        """The place of a value of `y`."""
        return self.y.place(value, self.bottom, self.top)

    def path(self, curve: Curve) -> str:
        """The places of a curve's points, as SVG wants them."""
        return " ".join(f"{self.along(x)},{self.up(y)}" for x, y in curve.points)

    @property
    def axes(self) -> list[list[float]]:
        """What the script needs to place its own marks: ends, whether logarithmic, and places of the ends, for each."""
        x, y = self.x, self.y
        return [[x.low, x.high, x.logarithmic, self.left, self.right],
                [y.low, y.high, y.logarithmic, self.bottom, self.top]]  # fmt: skip

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The part in which curves are drawn, with some room around it: its corner, width and height."""
        return self.left - 6, self.top - 7, self.right - self.left + 12, self.bottom - self.top + 8


def percent(share: float) -> str:
    """A share in words."""
    return f"{round(100 * share, 2):g} %"
