"""Explorables: elements of a page that compute in the reader's browser, with data from the run that made the page.

`book/static/explorables/` holds their code. What a cell shows works by itself in JupyterLab; for the site,
`lowcap.book.pages.assets` puts code and data into files of their own. First layers travel rounded to 16 bits, so every
number that stands beside a live one is computed here from the rounded weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from lowcap import pruning
from lowcap.evaluation import evaluate
from lowcap.explorables import forms
from lowcap.explorables.blob import Blob, packed, rounded, shades, top_of
from lowcap.files import beside
from lowcap.notebook.claim_box import show as display
from lowcap.population import Population
from lowcap.recipe import PUBLISHED, Recipe
from lowcap.tasks import Task
from lowcap.templates import render
from lowcap.training import train
from lowcap.values import CLOSE

CODE = beside("static", "book/static") / "explorables"
FILES = ("network.js", "core.js", "train-yourself.js", "prune-yourself.js", "draw-digit.js", "corrupt-it.js",
         "morph-map.js", "claim-ledger.js")  # fmt: skip
STYLE = "explorables.css"
BINS = 60  # of the histogram of weights, as in prune-yourself.js
SHADES = 3  # training digits travel in four shades of grey: 0 to 3


def show(
    element: str,
    data: Mapping[str, Any],
    form: str,
    blobs: Iterable[Blob],
    fallback: pd.DataFrame,
    *,
    front: bool = False,
) -> None:
    """Display the custom element `element` with its data and form; without JavaScript there is the table `fallback`.

    `front` offers it to the front page too (`{include} _generated/ELEMENT.md`).
    """
    html = render(
        "explorables/templates/element.html",
        element=element,
        data=data,
        form=form,
        table=fallback.to_html(border=0, classes="dataframe"),
        blobs=blobs,
        style=(CODE.parent / STYLE).read_text("utf-8"),
        code="\n".join((CODE / name).read_text("utf-8") for name in FILES),
    )
    text = f"{data['fallback']}\n{fallback.to_string()}"
    display({"text/html": html, "text/plain": text}, {"lowcap": {"explorable": element, "front": front}})


def about(task: Task, key: str, fallback: str, starts: Mapping[str, Any]) -> dict[str, Any]:
    """What every element is told: its key, the pair, the images, the caption of its table and its first settings."""
    known = {"key": key, "pair": list(task.classes), "side": task.image_shape[0], "top": top_of(task)}
    return known | {"fallback": fallback, "starts": dict(starts)}


def train_yourself(
    task: Task, widths: Sequence[int], *, n_train: int = 2000, n_test: int = 500, starts: int = 5
) -> None:
    """Let the reader train a network on some digits of the task, beside the published protocol on the same ones."""
    small = _sample(task, n_train, n_test)
    at = sorted({0, *np.geomspace(1, PUBLISHED.epochs, 16).round().astype(int).tolist()})
    rows: list[pd.DataFrame] = []

    def look(step: int, now: Population) -> None:
        if step in at:
            scores = evaluate(now, small.x_test, small.y_test)
            loss = evaluate(now, small.x_train, small.y_train)["loss"]
            rows.append(scores.assign(loss=loss, step=step))

    population = Population.grid(widths, range(starts), n_features=task.n_features, init=PUBLISHED.init)
    train(population, small, PUBLISHED, on_epoch=look)
    median = {name: pd.concat(rows).groupby(["width", "step"])[name].median().unstack() for name in ("f1", "loss")}
    curves = {w: {name: table.T[w].round(4).tolist() for name, table in median.items()} for w in widths}
    pixels = np.concatenate([shades(x, SHADES) for x in (small.x_train, small.x_test)])
    digits = Blob.of({"pixels": ("u2", pixels), "labels": ("u1", torch.cat([small.y_train, small.y_test]))})
    text = f"F1 on {len(small.y_test)} test digits by the published protocol, from the run that made this page."
    width = min((w for w in widths if w > 1), default=widths[0])
    begin = {"width": width, "rate": 0.1, "batch": 128, "steps": 1000, "seed": 1}
    data = about(task, "train", text, begin) | {"blobs": [digits.reference], "top": SHADES, "n": len(small.y_train)}
    data["published"] = {"rate": PUBLISHED.lr, "steps": PUBLISHED.epochs, "starts": starts, "at": at, "curves": curves}
    form = forms.train(widths, data["n"], data["published"])
    shown = median["f1"][[at[-1]]].set_axis([f"F1 after {at[-1]} steps"], axis=1)
    show("train-yourself", data, form, [digits], shown.rename_axis("hidden neurons").round(3))


def _sample(task: Task, n_train: int, n_test: int) -> Task:
    """The task with fewer images, in four shades: the first training images, test images from all over."""
    spread = np.linspace(0, len(task.y_test) - 1, min(n_test, len(task.y_test))).astype(int)
    x_train, x_test = (
        torch.from_numpy(shades(x, SHADES)) / SHADES for x in (task.x_train[:n_train], task.x_test[spread])
    )
    labels = {"y_train": task.y_train[:n_train], "y_test": task.y_test[spread]}
    return replace(task, x_train=x_train, x_test=x_test, live=x_train.any(0), **labels)  # type: ignore[arg-type]


def prune_yourself(
    population: Population, task: Task, tune: Recipe, *, levels: Sequence[float], tuned: Sequence[float]
) -> None:
    """Let the reader prune the population's first network, judged on all test images of the pair.

    The run's own scores at `levels` stand beside the live ones; `fine-tuned` are networks that were trained on by
    `tune` after their first layer was pruned to each of the levels `tuned`.
    """
    dense, test = rounded(population.select([0])), (task.x_test, task.y_test)
    first = pruning.rank(dense, scope="first")
    rankings = {
        "first": first,
        "network": pruning.rank(dense, scope="network"),
        "layer": pruning.rank(dense, scope="layer"),
        "random": replace(first, ranks=(_scattered(dense.w_in.shape), first.ranks[1])),
    }
    shots = {name: pruning.one_shot(dense, levels, *test, ranking=ranking) for name, ranking in rankings.items()}
    curves = {name: [*zip(rows["level"], rows["f1"], strict=True)] for name, rows in shots.items()}
    parts, curves["tuned"] = packed("dense", population), []
    for i, level in enumerate(tuned):
        small = train(first.prune(level), task, tune, order_seed=1)
        parts |= packed(f"tuned {i}", small)
        curves["tuned"].append((level, float(evaluate(rounded(small), *test)["f1"].iloc[0])))
    nets = Blob.of(parts)
    digits = Blob.of({"pixels": ("u1", shades(task.x_test, top_of(task))), "labels": ("u1", task.y_test)})
    text = f"F1 on the {len(task.y_test):,} test digits by sparsity, from the run that made this page."
    data = about(task, "prune", text, {"sparsity": forms.AS_RUN, "method": "layer"})
    data |= {"blobs": [digits.reference, nets.reference], "width": dense.widths[0], "curves": curves}
    data |= {
        "tuned": [float(level) for level in tuned],
        "methods": {k: v for k, v in forms.METHODS.items() if curves[k]},
    }
    sizes = dense.w_in.detach().abs().numpy()
    form = forms.prune(curves, float(sizes.max()), int(np.histogram(sizes, BINS, (0, sizes.max()))[0].max()))
    table = pd.DataFrame({forms.METHODS[name]: dict(curve) for name, curve in curves.items()}).T.rename_axis(
        "zero weights"
    )
    chosen = [level for level in (0.0, 0.5, 0.8, 0.9, CLOSE, 0.98) if level in table]
    shown = table[chosen].set_axis([f"{100 * level:g} %" for level in chosen], axis=1)
    show("prune-yourself", data, form, [nets, digits], shown.map(lambda f1: "–" if pd.isna(f1) else f"{f1:.3f}"))


def _scattered(shape: Sequence[int]) -> Tensor:
    """Ranks in an order that looks random and that the page can repeat: by the last step of MurmurHash3."""
    h = np.arange(np.prod(shape), dtype=np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        h = (h ^ (h >> np.uint32(shift))) * np.uint32(factor)
    return pruning.ranks_of(torch.from_numpy(h.astype(np.int64))).view(*shape)


def draw_digit(population: Population, task: Task, *, n_examples: int = 12, front: bool = False) -> None:
    """Let the reader draw a digit, and have all networks of the population answer; it starts on a test digit."""
    nets = rounded(population)
    picked = torch.cat([torch.where(task.y_test == c)[0][: n_examples // 2] for c in (0, 1)]).view(2, -1).T.flatten()
    x, y = task.x_test[picked], task.y_test[picked]
    scores = evaluate(nets, task.x_test, task.y_test)
    examples = Blob.of({"pixels": ("u1", shades(x, top_of(task))), "labels": ("u1", y)})
    blob = networks(population, range(len(nets)))
    text = f"F1 of the networks on the {len(task.y_test):,} test digits, from the run that made this page."
    width = max((w for w in nets.widths if w <= 4), default=nets.widths[0])
    data = about(task, "draw", text, {"digit": 1, "width": width, "centre": True, "ink": ""})
    data |= {"blobs": [examples.reference, blob.reference], "widths": nets.widths}
    data |= {"f1": scores["f1"].round(4).tolist(), "box": 20 if data["side"] == 28 else data["side"]}
    form = forms.draw(task.classes, nets.widths)
    shown = scores[["width", "f1"]].set_axis(["hidden neurons", "F1"], axis=1).set_index("hidden neurons").round(3)
    show("draw-digit", data, form, [blob, examples], shown, front=front)


def networks(population: Population, members: Iterable[int]) -> Blob:
    """The weights of some members, as `net 0`, `net 1`, ..."""
    parts = (packed(f"net {i}", population, member) for i, member in enumerate(members))
    return Blob.of({name: values for part in parts for name, values in part.items()})
