"""The visible parts of an explorable as HTML: an ordinary form, which its script fills and listens to.

A control's `name` is that of the value that it sets. What shows a value carries `data-part`, so that the script finds
it. What the run has computed, such as the axes and curves of a chart, is drawn here; the script adds what is live.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log
from typing import Any

LEGEND = (
    '<p class="x-legend"><span class="x-tag x-tag-live">computed live in your browser</span>'
    '<span class="x-tag x-tag-run">from the run that made this page</span></p>'
)
SHARES = (0, 0.25, 0.5, 0.75, 1)


def form(*parts: str) -> str:
    """All parts of an explorable, a line for a screen reader, and the key to what is live and what is not."""
    status = '<p class="x-status" role="status"></p>'
    return f'<template><form class="x-body">{"".join(parts)}{status}{LEGEND}</form></template>'


def tag(name: str, content: str = "", /, **attributes: Any) -> str:
    """An element; an attribute that is True stands alone, False leaves it out; `class_` is `class`, `_` is `-`."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not False}
    written = "".join(f" {key}" if value is True else f' {key}="{escape(str(value))}"' for key, value in given.items())
    return f"<{name}{written}>" if name == "input" else f"<{name}{written}>{content}</{name}>"


def row(kind: str, *parts: str) -> str:
    """Parts side by side, or one above the other; `kind` is the class that says how."""
    return tag("div", "".join(parts), class_=kind)


def part(name: str, kind: str = "b", /, **attributes: Any) -> str:
    """A place for what the script computes under `name`."""
    return tag(kind, data_part=name, **attributes)


def slider(name: str, label: str, stops: Mapping[float, str]) -> str:
    """A number, from some stops, each with its words."""
    about = {"data_stops": json.dumps(list(stops)), "data_texts": json.dumps(list(stops.values()), ensure_ascii=False)}
    bar = tag("input", type="range", name=name, aria_label=label, min=0, max=len(stops) - 1, **about)
    return tag("label", f"{escape(label)} {part('text ' + name)}{bar}", class_="x-slider")


def choice(name: str, label: str, values: Mapping[Any, str]) -> str:
    """One of several values, by radio buttons that look like one bar."""
    radios = (tag("input", type="radio", name=name, value=value) + tag("span", text) for value, text in values.items())
    inside = row("x-bars", *(tag("label", radio) for radio in radios))
    return tag("fieldset", tag("legend", escape(label)) + inside, class_="x-choice")


def toggle(name: str, label: str) -> str:
    """On or off."""
    box = tag("input", type="checkbox", role="switch", name=name)
    return tag("label", box + tag("span", escape(label)), class_="x-toggle")


def button(text: str, do: str = "change", kind: str = "", /, *, shown: str | bool = False, **values: Any) -> str:
    """Calls the method `do` of the element with `values`; "change" takes them over. The script may show other words in
    it under the name `shown`."""
    about = {"data_part": shown} | ({"data_values": json.dumps(values)} if values else {})
    return tag("button", escape(text), type="button", class_=f"x-button {kind}".strip(), data_do=do, **about)


def numbers(**labels: str) -> str:
    """Large numbers with their labels, by the name of each."""
    lines = (row("", tag("dt", label), tag("dd", "–", data_part=name)) for name, label in labels.items())
    return tag("dl", "".join(lines), class_="x-numbers")


def key(*entries: tuple[str, str]) -> str:
    """What lines and blocks mean: their class, and the words."""
    spans = (tag("span", tag("span", class_=f"x-swatch {kind}") + escape(text)) for kind, text in entries)
    return tag("p", "".join(spans), class_="x-key")


def picture(name: str, kind: str = "", label: str = "", /, **attributes: Any) -> str:
    """A canvas; with a label it can be worked with, without it only repeats what is said elsewhere."""
    how = {"role": "application", "tabindex": 0, "aria_label": label} if label else {"aria_hidden": "true"}
    return part(name, "canvas", class_=f"x-picture {kind}".strip(), **how, **attributes)


def lean(name: str, text: str, before: str) -> str:
    """A line for an answer: a control, words, a bar that leans to either class, and what the answer is."""
    bar = part(f"bar {name}", "span", class_="x-lean", aria_hidden="true")
    return tag("label", before + tag("span", escape(text)) + bar + part(f"says {name}"), class_="x-method")


@dataclass(frozen=True)
class Axis:
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


SCORE = Axis(0, 1, {v: f"{v:g}" for v in SHARES})


@dataclass(frozen=True)
class Chart:
    """A line chart of 320 by 210 units, as wide as a phone: then its text is as large there as in half a page."""

    x: Axis
    y: Axis
    left, right, top, bottom = 40, 308, 12, 172

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The place of a pair of values."""
        return self.x.place(x, self.left, self.right), self.y.place(y, self.bottom, self.top)

    def line(self, points: Iterable[tuple[float, float]], kind: str, **attributes: Any) -> str:
        """A curve; `data_when="name=value"` shows it only while a control has that value."""
        path = " ".join("{},{}".format(*self.at(*point)) for point in points)
        return tag("polyline", class_=kind, points=path, **attributes)

    def upright(self, x: float, text: str = "") -> str:
        """A line at a value, with words to its left."""
        place = self.x.place(x, self.left, self.right)
        words = tag("text", escape(text), x=place - 5, y=self.top + 4, text_anchor="end", class_="x-mark")
        return tag("line", class_="x-mark", x1=place, x2=place, y1=0, y2=self.bottom) + (words if text else "")

    def svg(self, name: str, label: str, *content: str) -> str:
        """The chart, with the run's own content, and room for live marks."""
        parts = []
        for value, text in self.y.ticks.items():
            y = self.y.place(value, self.bottom, self.top)
            parts.append(tag("line", class_="x-grid", x1=self.left, x2=self.right, y1=y, y2=y))
            parts.append(tag("text", text, x=self.left - 7, y=y + 4, text_anchor="end"))
        for value, text in self.x.ticks.items():
            place = self.x.place(value, self.left, self.right)
            parts.append(tag("text", text, x=place, y=self.bottom + 16, text_anchor="middle"))
        parts.append(tag("line", class_="x-axis", x1=self.left, x2=self.right, y1=self.bottom, y2=self.bottom))
        parts.append(tag("text", escape(self.x.label), x=self.right, y=206, text_anchor="end", class_="x-name"))
        box = {"x": self.left - 6, "y": self.top - 7, "width": self.right - self.left + 12,
               "height": self.bottom - self.top + 8}  # fmt: skip
        view = " ".join(str(value) for value in box.values())
        parts.append(tag("svg", "".join(content) + tag("g"), viewBox=view, **box))
        ends = [[axis.low, axis.high, axis.logarithmic, *places] for axis, places in
                ((self.x, (self.left, self.right)), (self.y, (self.bottom, self.top)))]  # fmt: skip
        about = {"data_part": name, "data_axes": json.dumps(ends), "aria_label": label, "viewBox": "0 0 320 210"}
        return tag("svg", "".join(parts), class_="x-chart", role="img", **about)


def percent(share: float) -> str:
    """A share in words."""
    return f"{round(100 * share, 2):g} %"


def titled(text: str, *parts: str) -> str:
    """Parts under a small heading."""
    return row("x-titled", tag("p", escape(text), class_="x-title"), *parts)


def fields(heading: str) -> str:
    """Room for what each hidden neuron looks for."""
    return titled(heading, part("fields", "div", class_="x-fields", role="img"))


def methods(name: str, heading: str, lines: Mapping[str, str]) -> str:
    """One of several methods, each with a bar and a number."""
    rows: Sequence[str] = [
        tag(
            "label",
            tag("input", type="radio", name=name, value=value)
            + tag("span", escape(text))
            + part(f"bar {value}", "span", class_="x-bar", aria_hidden="true")
            + part(f"f1 {value}"),
            class_=f"x-method x-m-{value}",
        )
        for value, text in lines.items()
    ]
    return tag("fieldset", tag("legend", escape(heading), class_="x-title") + "".join(rows), class_="x-methods")
