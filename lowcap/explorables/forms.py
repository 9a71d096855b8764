"""The forms of the explorables: the values that their controls offer, and the run's own curves.

What stands where, in which words, is in `templates/`; what a form shows beside that is computed by its script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lowcap.explorables.charts import SCORE, SHARES, Chart, Curve, Points, Scale, percent
from lowcap.templates import render
from lowcap.values import CLOSE

ERROR = Scale(1, 0.005, {1 - f1: str(f1) for f1 in (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)}, logarithmic=True)
AS_RUN = CLOSE / 100  # what ran under the name of "95 %": see chapter 3
METHODS = {
    "first": "first layer, smallest first",
    "network": "both layers together, smallest first",
    "layer": "each layer by itself, smallest first",
    "random": "first layer, at random",
    "tuned": "first layer, then fine-tuned",
}
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1)
STEPS = (100, 200, 500, 1000, 2000, 5000)
JUMPS = {"none": 0, "0.95 %": AS_RUN, "50 %": 0.5, "90 %": 0.9, "95 %": CLOSE, "99 %": 0.99}


def train(widths: Sequence[int], n: int, published: Mapping[str, Any]) -> str:
    """Settings, numbers, two curves beside those of the published protocol, and what the neurons look for."""
    x = Scale(1, STEPS[-1], {v: f"{v:,}" for v in (1, 10, 100, 1000, 5000)}, "steps", logarithmic=True)
    axes = {"f1": SCORE, "loss": Scale(0, 0.8, {v: f"{v:g}" for v in (0, 0.2, 0.4, 0.6, 0.8)})}
    headings = {"f1": "F1 on test digits", "loss": "loss on training digits"}
    at, ends = published["at"], {published["steps"]: "the paper stops"}
    charts = {}
    for name, heading in headings.items():
        runs = [
            Curve([*zip(at[1:], curves[name][1:], strict=True)], "x-ref", f"width={width}")
            for width, curves in published["curves"].items()
        ]
        charts[heading] = Chart(f"{name} curve", f"{heading} against steps", x, axes[name], runs, ends)
    return render(
        "explorables/templates/train.html",
        widths={width: str(width) for width in widths},
        batches={0: f"all {n:,}", 128: "128"},
        rates={v: f"{v:g}" for v in RATES},
        steps={v: f"{v:,}" for v in STEPS},
        paper={"rate": published["rate"], "batch": 0, "steps": published["steps"]},
        charts=charts,
        starts=published["starts"],
    )


def prune(curves: Mapping[str, Points], largest: float, most: int) -> str:
    """A slider over sparsity, the methods, what is left of the neurons, and of the sizes of the weights.

    `largest` is the size of the largest weight, `most` the count of the fullest bin of their histogram.
    """
    stops = sorted({*(i / 200 for i in range(200)), AS_RUN, 0.998, 0.999})
    sparsity = Scale(0, 1, {v: percent(v) for v in SHARES}, "weights that are zero")
    lines = [Curve(points, f"x-m-{name}", f"method={name}") for name, points in curves.items()]
    size = Scale(0, largest, {v * largest: f"{v * largest:.2f}" for v in SHARES}, "size of the weight")
    count = Scale(0, most, {0: "0", most: f"{most:,}"})
    about_sizes = "Histogram of the sizes of the first layer’s weights"
    return render(
        "explorables/templates/prune.html",
        stops={v: percent(v) for v in stops},
        as_run=stops.index(AS_RUN) / (len(stops) - 1),
        as_meant=stops.index(CLOSE) / (len(stops) - 1),
        jumps=JUMPS,
        methods={name: text for name, text in METHODS.items() if curves[name]},
        curve=Chart("curve", "F1 against sparsity", sparsity, SCORE, lines, {AS_RUN: "", CLOSE: ""}),
        histogram=Chart("histogram", about_sizes, size, count),
    )


def draw(pair: Sequence[int], widths: Sequence[int]) -> str:
    """A pad to draw on, an answer of each network, and what the chosen one's answer is made of."""
    return render("explorables/templates/draw.html", pair=pair, widths=widths)


def corrupt(data: Mapping[str, Any], noises: Sequence[float], n: int) -> str:
    """A digit with a patch to drag, the answers and scores of all widths, and what the run found at some severities.

    `data` is that of `noise.corrupt_it`: its `curves` are a curve per width for "clipped" and "unclipped" noise,
    by its standard deviation, and for "patch", by the side of a patch at random places.
    """
    half, strongest = data["side"] // 2, max(noises)
    noise = Scale(0, strongest, {v: f"{v:g}" for v in noises}, "noise σ")
    patch = Scale(0, half, {round(v * half): str(round(v * half)) for v in SHARES}, "side of the patch, in pixels")
    noisy = [*_errors(data, "clipped", "clip=true"), *_errors(data, "unclipped", "clip=false")]
    return render(
        "explorables/templates/corrupt.html",
        pair=data["pair"],
        widths=data["widths"],
        n=n,
        noises={strongest * i / 30: f"{strongest * i / 30:.2g}" for i in range(31)},
        sides={i: f"{i} pixel{'s' * (i != 1)}" for i in range(half + 1)},
        charts=[
            Chart("noise curve", "F1 by noise", noise, ERROR, noisy),
            Chart("patch curve", "F1 by a patch at random places", patch, ERROR, _errors(data, "patch")),
        ],
    )


def _errors(data: Mapping[str, Any], kind: str, when: str = "") -> list[Curve]:
    """The run's curves of one kind, one for each width, as 1 - F1: that gives more room near 1."""
    errors = ([(x, max(1 - f1, ERROR.high)) for x, f1 in points] for points in data["curves"][kind])
    return [Curve(points, f"x-s{i}", when) for i, points in enumerate(errors)]


def morph(pair: Sequence[int], paths: Mapping[str, Sequence[int]], n: int, k: int, height: float) -> str:
    """A map with a slider from one condition to another, and the chosen digit with its neighbours."""
    steps = 30 * (max(map(len, paths.values())) - 1)
    return render(
        "explorables/templates/morph.html",
        pair=pair,
        ways={name: name for name in paths},
        stops={i / steps: "" for i in range(steps + 1)},
        n=n,
        k=k,
        height=height,
    )


def ledger(sources: Sequence[str], verdicts: Sequence[str]) -> str:
    """A search and two filters for the table of claims."""
    return render("explorables/templates/ledger.html", sources=sources, verdicts=verdicts)
