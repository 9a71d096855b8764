"""The forms of the explorables: what stands where, in which words. What they show is computed by their scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lowcap.explorables import html as c
from lowcap.explorables.html import SCORE, Axis, Chart, percent

ERROR = Axis(1, 0.005, {1 - f1: str(f1) for f1 in (0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99)}, logarithmic=True)
AS_RUN = 0.0095  # what ran under the name of "95 %": see chapter 3
METHODS = {
    "first": "first layer, smallest first",
    "network": "both layers together, smallest first",
    "layer": "each layer by itself, smallest first",
    "random": "first layer, at random",
    "tuned": "first layer, then fine-tuned",
}
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1)
STEPS = (100, 200, 500, 1000, 2000, 5000)
Curve = Sequence[tuple[float, float]]


def neurons(n: int) -> str:
    """A width in words."""
    return f"{n} neuron{'s' if n > 1 else ''}"


def train(widths: Sequence[int], n: int, published: Mapping) -> str:
    """Settings, numbers, two curves beside those of the published protocol, and what the neurons look for."""
    x = Axis(1, STEPS[-1], {v: f"{v:,}" for v in (1, 10, 100, 1000, 5000)}, "steps", logarithmic=True)
    charts = {"f1": (Chart(x, SCORE), "F1 on test digits"),
              "loss": (Chart(x, Axis(0, 0.8, {v: f"{v:g}" for v in (0, 0.2, 0.4, 0.6, 0.8)})),
                       "loss on training digits")}  # fmt: skip
    shown = []
    for name, (chart, heading) in charts.items():
        runs = [
            chart.line(zip(published["at"][1:], curves[name][1:], strict=True), "x-ref", data_when=f"width={w}")
            for w, curves in published["curves"].items()
        ]
        end = chart.upright(published["steps"], "the paper stops")
        shown.append(c.titled(heading, chart.svg(f"{name} curve", f"{heading} against steps", end, *runs)))
    paper = {"rate": published["rate"], "batch": 0, "steps": published["steps"]}
    main = c.button("Train", "train", "x-main", shown="go")
    return c.form(
        c.row(
            "x-controls",
            c.choice("width", "hidden neurons", {w: str(w) for w in widths}),
            c.choice("batch", "digits in each step", {0: f"all {n:,}", 128: "128"}),
            c.slider("rate", "learning rate", {v: f"{v:g}" for v in RATES}),
            c.slider("steps", "steps", {v: f"{v:,}" for v in STEPS}),
        ),
        c.row("x-buttons", main, c.button(f"The paper’s {published['steps']} steps", "begin", **paper),
              c.button("Another start", "another")),
        c.numbers(step="step", f1="F1 on test digits", loss="loss", speed="epochs a second"),
        c.row("x-pair", *shown),
        c.key(("x-now", "this network, live"), ("x-past", "earlier ones"),
              ("x-ref", f"the published protocol, from the run (median of {published['starts']} starts)")),
        c.fields("what each hidden neuron looks for"),
        c.row("x-buttons", c.button("Download this network", "save", "x-quiet"),
              c.button("Clear earlier ones", "clear", "x-quiet")),
    )  # fmt: skip


def prune(curves: Mapping[str, Curve], largest: float, most: int) -> str:
    """A slider over sparsity, the methods, what is left of the neurons, and of the sizes of the weights."""
    stops = sorted({*(i / 200 for i in range(200)), AS_RUN, 0.998, 0.999})
    share = {stop: i / (len(stops) - 1) for i, stop in enumerate(stops)}
    marks = [c.tag("span", text, class_=kind, style=f"--x-at: {share[stop]:.4f}") for stop, text, kind in
             ((AS_RUN, "0.95 %: what ran as “95 %”", "x-before"), (0.95, "a true 95 %", "x-after"))]  # fmt: skip
    jumps = {"none": 0, "0.95 %": AS_RUN, "50 %": 0.5, "90 %": 0.9, "95 %": 0.95, "99 %": 0.99}
    chart = Chart(Axis(0, 1, {v: percent(v) for v in c.SHARES}, "weights that are zero"), SCORE)
    lines = [chart.line(points, f"x-m-{name}", data_when=f"method={name}") for name, points in curves.items()]
    sizes = Chart(Axis(0, largest, {v * largest: f"{v * largest:.2f}" for v in c.SHARES}, "size of the weight"),
                  Axis(0, most, {0: "0", most: f"{most:,}"}))  # fmt: skip
    return c.form(
        c.row("", c.slider("sparsity", "share of the weights that is zero", {v: percent(v) for v in stops}),
              c.row("x-marks", *marks)),
        c.row("x-buttons", *(c.button(text, sparsity=value) for text, value in jumps.items())),
        c.methods("method", "which weights go, and the F1 that is left",
                  {name: text for name, text in METHODS.items() if curves[name]}),
        c.numbers(left="weights left", f1="F1 on all test digits", joined="neurons still joined"),
        c.fields("what each hidden neuron still looks for; those that the output no longer hears are pale"),
        c.row("x-pair",
              c.titled("F1: the dot is live, the lines are from the run",
                       chart.svg("curve", "F1 against sparsity", chart.upright(AS_RUN), chart.upright(0.95), *lines)),
              c.titled("how large the weights of the first layer are; the line is the threshold",
                       sizes.svg("histogram", "Histogram of the sizes of the first layer’s weights"))),
        c.key(("x-block", "weights that stay"), ("x-block x-gone", "weights that go")),
        c.row("x-buttons", c.button("Download the pruned network", "save", "x-quiet")),
    )  # fmt: skip


def draw(pair: Sequence[int], widths: Sequence[int]) -> str:
    """A pad to draw on, an answer of each network, and what the chosen one's answer is made of."""
    low, high = pair
    radios = (c.tag("input", type="radio", name="width", value=width) for width in widths)
    rows = [c.lean(str(i), neurons(w), radio) for i, (w, radio) in enumerate(zip(widths, radios, strict=True))]
    label = "Drawing pad. Arrow keys move the brush, space puts it down or lifts it, Delete clears."
    figures = (c.row("", c.picture("seen"), c.tag("p", "what the networks see")),
               c.row("", c.row("x-layers", c.picture("map"), c.picture("veil")),
                     c.tag("p", f"where ink would speak for {high}, or for {low}")))  # fmt: skip
    heading = c.tag("legend", f"{low} or {high}? Networks of all widths answer", class_="x-title")
    return c.form(
        c.row("x-desk",
              c.row("", c.part("what", "p", class_="x-title"), c.picture("pad", "x-pad", label),
                    c.row("x-buttons", c.button("Clear", "clear", "x-main"), c.button("A test digit", "another")),
                    c.toggle("centre", "centre it as MNIST does")),
              c.tag("fieldset", heading + ends(pair) + "".join(rows) + c.row("x-two", *figures), class_="x-methods")),
        c.row("", c.part("sum", "p"), c.part("units", "ul", class_="x-units")),
        c.key(("x-block", f"speaks for {high}"), ("x-block x-gone", f"speaks for {low}")),
        c.row("x-buttons", c.button("Download this network", "save", "x-quiet")),
    )  # fmt: skip


def ends(pair: Sequence[int]) -> str:
    """What the two ends of a leaning bar mean."""
    spans = c.tag("span", f"← {pair[0]}") + c.tag("span", f"{pair[1]} →")
    return c.tag("p", spans, class_="x-ends", aria_hidden="true")


def corrupt(data: Mapping, noises: Sequence[float], n: int) -> str:
    """A digit with a patch to drag, the answers and scores of all widths, and what the run found at some severities.

    `data` is that of `explorables.corrupt_it`: its `curves` are a curve per width for "clipped" and "unclipped" noise,
    by its standard deviation, and for "patch", by the side of a patch at random places.
    """
    half, strongest, widths = data["side"] // 2, max(noises), data["widths"]
    noise = Axis(0, strongest, {v: f"{v:g}" for v in noises}, "noise σ")
    patch = Axis(0, half, {round(v * half): str(round(v * half)) for v in c.SHARES}, "side of the patch, in pixels")
    stops = [strongest * i / 30 for i in range(31)]
    label = "The digit. Drag the patch over it, or move it by the arrow keys."
    heads = ends(data["pair"]) + c.tag("p", f"F1 on {n} digits", class_="x-head")
    rows = [_answer(i, width) for i, width in enumerate(widths)]
    noisy = [*_lines(data, "clipped", "clip=true"), *_lines(data, "unclipped", "clip=false")]
    return c.form(
        c.row("x-controls", c.slider("noise", "noise, its standard deviation σ", {v: f"{v:.2g}" for v in stops}),
              c.slider("patch", "side of the patch", {i: f"{i} pixel{'s' * (i != 1)}" for i in range(half + 1)})),
        c.row("x-buttons", c.button("Clean", noise=0, patch=0), c.button("Another digit", "another"),
              c.button("Another noise", "again"), c.toggle("clip", "keep pixels between 0 and 1")),
        c.row("x-desk", c.row("", c.part("what", "p", class_="x-title"), c.picture("pad", "x-pad", label)),
              c.row("x-methods x-answers", heads, *rows)),
        c.row("x-pair",
              _scores("noise", "noise", noise, noisy),
              _scores("patch", "a patch at random places", patch, _lines(data, "patch", False))),
        c.row("x-buttons", c.button("Download these scores", "save", "x-quiet")),
    )  # fmt: skip


def _answer(i: int, width: int) -> str:
    """A line for a network: its colour and width, its answer, its F1."""
    name = c.tag("span", c.tag("span", class_=f"x-swatch x-s{i}") + neurons(width))
    bar = c.part(f"bar {i}", "span", class_="x-lean", aria_hidden="true")
    return c.row("x-method", name, bar, c.part(f"says {i}", "span"), c.part(f"f1 {i}"))


def _lines(data: Mapping, kind: str, when: str | bool) -> list[tuple[Curve, dict]]:
    """The run's curves of one kind, one for each width, with what sets them apart."""
    return [(curve, {"kind": f"x-s{i}", "data_when": when}) for i, curve in enumerate(data["curves"][kind])]


def _scores(name: str, by: str, axis: Axis, lines: Sequence[tuple[Curve, dict]]) -> str:
    """A chart of F1, with more room near 1, that has the run's own curves."""
    chart = Chart(axis, ERROR)
    drawn = [chart.line([(x, max(1 - f1, ERROR.high)) for x, f1 in curve], **how) for curve, how in lines]
    return c.titled(f"F1 by {by}: lines from the run, dots live", chart.svg(f"{name} curve", f"F1 by {by}", *drawn))


def morph(pair: Sequence[int], paths: Mapping[str, Sequence[int]], n: int, k: int, height: float) -> str:
    """A map with a slider from one condition to another, and the chosen digit with its neighbours."""
    steps = 30 * (max(map(len, paths.values())) - 1)
    label = f"Map of {n} test digits. Arrow keys go from point to point."
    drawing = c.tag("svg", "", class_="x-map", viewBox=f"0 0 100 {height:.1f}", role="application", tabindex=0,
                    aria_label=label, data_part="map")  # fmt: skip
    near = "".join(c.tag("canvas", class_="x-picture", aria_hidden="true") for _ in range(k))
    play = c.button("Play", "play", "x-main", shown="play")
    return c.form(
        c.choice("to", "from the dense layer to", {name: name for name in paths}),
        c.row("x-row", c.slider("at", "the map is of", {i / steps: "" for i in range(steps + 1)}), play,
              c.button("Next", "next")),
        c.row("x-desk x-wide", drawing,
              c.row("", c.part("what", "p", class_="x-title"), c.picture("digit", "x-chosen"),
                    c.titled(f"its {k} nearest neighbours here; framed: in the dense map too",
                             c.tag("div", near, class_="x-near", data_part="near")))),
        c.numbers(kept="neighbours kept by this digit, live", all="share kept by all digits, from the run"),
        c.key(("x-block x-gone", f"{pair[1]} (triangles)"), ("x-block", f"{pair[0]} (dots)"),
              ("x-block x-ring", "neighbours of the chosen digit in the dense map")),
        c.row("x-buttons", c.button("Download all maps", "save", "x-quiet")),
    )  # fmt: skip


def ledger(sources: Sequence[str], verdicts: Sequence[str]) -> str:
    """A search and two filters for the table of claims."""

    def select(name: str, label: str, values: Sequence[str]) -> str:
        options = "".join(c.tag("option", v or "all", value=v) for v in ("", *values))
        return c.tag("label", label + c.tag("select", options, name=name), class_="x-field")

    search = c.tag("label", "search" + c.tag("input", type="search", name="text"), class_="x-field")
    data = '<a href="../results.json">Download all claims and numbers</a>'
    return c.form(
        c.row("x-filters", search, select("source", "source", sources), select("verdict", "verdict", verdicts)),
        c.toggle("open", "Criteria and numbers of all"),
        c.part("count", "p", class_="x-title"),
        c.tag("p", data, class_="x-title"),
    )
