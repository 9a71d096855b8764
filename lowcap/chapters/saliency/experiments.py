"""Chapter 7's experiments: where a map lies, whose map it is, and whether it knows of a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn.functional import max_pool2d

from lowcap.chapters.replay import experiments as replay
from lowcap.chapters.saliency import attribution, faithfulness
from lowcap.chapters.saliency.attribution import DEFAULT, LOCAL, Settings
from lowcap.errors import one_of
from lowcap.evaluation import roc_auc
from lowcap.parallel import one_thread_each
from lowcap.population import Population
from lowcap.statistics import interval
from lowcap.tasks import Task

LAYERS = ("read-out", "hidden", "both")
REGIONS = ("ink", "near ink", "elsewhere", "always zero")
HINTS = ("mass on ink", "concentration", "likeness")
IMAGE = "the image itself"  # in place of a map: what is known without one


def together(populations: Sequence[Population]) -> Population:
    """One population of all members of several that have the same features, outputs and type of numbers."""
    first = populations[0]
    widths = [width for one in populations for width in one.widths]
    seeds = [seed for one in populations for seed in one.seeds]
    joined = Population(widths, seeds, n_features=first.n_features, n_outputs=first.n_outputs, init=first.init)
    joined = joined.to(first.w_in.dtype)
    for name, dim in (("w_in", 1), ("b_in", 0), ("w_out", 0), ("b_out", 0)):
        getattr(joined, name).data = torch.cat([getattr(one, name).detach() for one in populations], dim)
    return joined


def study(
    pair: tuple[int, int], width: int, seeds: Sequence[int], *, dataset: str = "auto"
) -> tuple[Population, Population]:
    """The study's own networks of one width, a member per seed: before their hundred steps of training, and after."""
    which: dict[str, Any] = {"seeds": seeds, "pairs": [pair], "widths": [width], "dataset": dataset}
    before, after = (replay.each(lambda one, _: one, steps=steps, **which) for steps in (0, replay.STEPS))
    return together(before), together(after)


def randomised(population: Population, layers: str, *, seed: int = 1) -> Population:
    """A copy with the weights and biases of some layers drawn anew, as an untrained network has them (Adebayo et al.
    2018): of the `read-out`, of `both` layers, or of the `hidden` one alone. Masks are dropped.

    Raises:
        UserError: unknown layers.
    """
    one_of("layers", layers, LAYERS)
    seeds, sizes = [1000 * seed + own for own in population.seeds], (population.n_features, population.n_outputs)
    fresh = Population(population.widths, seeds, n_features=sizes[0], n_outputs=sizes[1], init=population.init)
    other = together([population])
    names = {"read-out": ["w_out", "b_out"], "hidden": ["w_in", "b_in"]}
    for part in LAYERS[:2] if layers == "both" else (layers,):
        for name in names[part]:
            getattr(other, name).data = getattr(fresh, name).detach().to(other.w_in.dtype)
    return other


def regions(x: Tensor, live: Tensor) -> dict[str, Tensor]:
    """Four parts of each square image `(N, D)`, bool: `ink` (above 0); pixels that are `always zero` in training; those
    within two pixels of ink (of 28; in proportion on other sizes), `near ink`; and `elsewhere`."""
    side = round(x.shape[1] ** 0.5)
    reach, ink = max(1, round(side / 14)), x > 0
    # The largest value within reach is 1 exactly where ink is near: a dilation of the strokes.
    images = ink.float().view(-1, 1, side, side)  # (N, D) -> (N, 1, H, W)
    wide = max_pool2d(images, 2 * reach + 1, 1, reach).flatten(1) > 0
    dead = ~live & ~ink
    return dict(zip(REGIONS, (ink, wide & ~ink & ~dead, ~wide & ~dead, dead), strict=True))


def where(maps: Tensor, parts: dict[str, Tensor]) -> pd.DataFrame:
    """Where maps `(P, N, D)` lie: a row per member and region with the `share` of their size, and of the `area`."""
    sizes = maps.abs().double()
    total = sizes.sum(-1).clamp(min=torch.finfo(torch.float64).tiny)
    frames = []
    for name, part in parts.items():
        share = ((sizes * part).sum(-1) / total).mean(1)
        rows = {"member": range(len(maps)), "share": share.numpy(), "area": float(part.double().mean())}
        frames.append(pd.DataFrame(rows).assign(region=name))
    return pd.concat(frames, ignore_index=True)


def curves(population: Population, x: Tensor, found: dict[str, Tensor], *, seed: int = 0) -> pd.DataFrame:
    """Deletion and insertion curves by each method's maps `(P, N, D)`, and in a random order.

    Pixels that speak for the class that the network gives go first; maps without signs go by size.

    Returns:
        A row per member, `method`, `kind` (deletion or insertion) and `replaced` share of the pixels: the mean
        `probability` of that class.
    """
    at_random = torch.rand(x.shape, generator=torch.Generator().manual_seed(seed))

    def work(i: int) -> list[pd.DataFrame]:
        one, frames = population.select([i]), []
        with torch.no_grad():
            sign = one(x).sign()
        orders = {}
        for name, maps in found.items():
            orders[name] = maps[i] * (1 if name in attribution.UNSIGNED else sign)
        for name, order in {**orders, "random order": at_random}.items():
            for kind in ("deletion", "insertion"):
                shares, curve = faithfulness.replaced(one, x, order, insert=kind == "insertion")
                rows = {"replaced": shares.numpy(), "probability": curve.mean(1).numpy()}
                frames.append(pd.DataFrame(rows).assign(member=i, method=name, kind=kind))
        return frames

    with one_thread_each() as pool:
        frames = chain.from_iterable(pool.map(work, range(len(population))))
        return pd.concat(frames, ignore_index=True)


def areas(rows: pd.DataFrame) -> pd.DataFrame:
    """The area under each curve of `curves`: a row per member and method, columns `deletion` and `insertion`."""
    tall = rows.pivot(index=["member", "method", "kind"], columns="replaced", values="probability")
    area = pd.Series(np.trapezoid(tall.to_numpy(), tall.columns.to_numpy(dtype=float)), tall.index)
    return area.unstack("kind")


def faithful(
    population: Population, x: Tensor, found: dict[str, Tensor], settings: Settings = DEFAULT, *, few: int = 40
) -> pd.DataFrame:
    """How faithful each method's maps `(P, N, D)` are, by measures that need no order: a row per member and method.

    Columns: `infidelity` as a share (on the first `5 * few` images), `sensitivity` (on the first `few`), and
    `incomplete`, where the method counts what pixels add (occlusion counts each pixel many times, so it is left out).
    """

    def work(i: int, name: str, maps: Tensor) -> dict:
        one, n = population.select([i]), 5 * few
        black = settings.baseline_images(x) if name == "gradient SHAP" else torch.zeros_like(x[:1])
        adds = name not in (*LOCAL, "occlusion")
        return {
            "member": i,
            "method": name,
            "infidelity": float(faithfulness.unexplained(one, x[:n], maps[i][:n], name).mean()),
            "sensitivity": float(faithfulness.sensitivity(one, x[:few], name, settings).mean()),
            "incomplete": faithfulness.incompleteness(one, x, maps[i], black) if adds else np.nan,
        }

    with one_thread_each() as pool:
        jobs = [(i, name, maps) for name, maps in found.items() for i in range(len(population))]
        alone = [job for job in jobs if job[1] == "gradient SHAP"]  # draws from the process's own streams
        beside = [job for job in jobs if job[1] != "gradient SHAP"]
        rows = list(pool.map(lambda job: work(*job), beside))
        return pd.DataFrame([*rows, *(work(*job) for job in alone)])


def hints(population: Population, task: Task, methods: Iterable[str]) -> pd.DataFrame:
    """What maps of all test images say that could give a mistake away: a row per member, image and method (or `IMAGE`).

    Columns: `member, image, wrong, method`, the size of the logit, `certainty`, and the `HINTS`, none of which knows
    the size of a map: the share of its `mass on ink`; its `concentration`, the share of the brightest tenth of the live
    pixels; its `likeness`, the cosine with the mean map of training images that the network gives the same class.

    Raises:
        UserError: an unknown method.
    """
    methods = list(methods)
    for method in methods:
        one_of("method", method, (*attribution.METHODS, IMAGE))
    x, n = task.x_test, min(1000, len(task.x_train))
    with torch.no_grad():
        logits, known = (population(images) for images in (x, task.x_train[:n]))
    wrong = (logits > 0) != (task.y_test[:, None] > 0)
    a_tenth = max(1, int(task.live.sum()) // 10)  # of the live pixels

    def maps_of(images: Tensor, method: str) -> Tensor:
        """Maps `(P, N, D)`; for `IMAGE` the images themselves, the same for every member."""
        if method == IMAGE:
            return images.expand(len(population), -1, -1)
        return attribution.maps(population, images, method)

    frames = []
    for method in methods:
        maps, seen = (maps_of(images, method) for images in (x, task.x_train[:n]))
        for i in range(len(population)):
            own, sizes = maps[i], maps[i].abs()  # (N, D)
            total = sizes.sum(1).clamp(min=torch.finfo(sizes.dtype).tiny)
            on_ink = (sizes * (x > 0)).sum(1) / total
            brightest = sizes[:, task.live].topk(a_tenth, dim=1).values
            # The mean map of each class is over images that this network gives the class, rightly or not.
            given = known[:, i] > 0
            means = torch.stack([seen[i][given == bool(c)].mean(0).nan_to_num() for c in (0, 1)])  # (2, D)
            answers = (logits[:, i] > 0).long()
            likeness = faithfulness.cosine(own, means.to(own)[answers])
            values = (on_ink, brightest.sum(1) / total, likeness)
            columns = {"image": range(len(x)), "wrong": wrong[:, i].numpy()}
            columns["certainty"] = logits[:, i].abs().numpy()
            columns |= {name: value.numpy() for name, value in zip(HINTS, values, strict=True)}
            frames.append(pd.DataFrame(columns).assign(member=i, method=method))
    return pd.concat(frames, ignore_index=True)


def foretold(rows: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """How well columns of `hints` (of one method) together tell wrong answers from right ones: the area under the ROC
    curve per member; NaN for one that makes no mistake, or nothing but mistakes.

    One column counts as it is: less of it speaks for a mistake. Several are weighed by a logistic regression fitted to
    the other images, of all members, in five parts.
    """
    x, wrong = rows[list(columns)].to_numpy(dtype=float), rows["wrong"].to_numpy()
    score = -x[:, 0]
    if len(columns) > 1:
        score = np.zeros(len(rows))
        for fit, test in GroupKFold(min(5, rows["image"].nunique())).split(x, wrong, rows["image"]):
            if 0 < wrong[fit].sum() < len(fit):
                model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced"))
                score[test] = model.fit(x[fit], wrong[fit]).decision_function(x[test])
    scored = pd.DataFrame({"member": rows["member"], "wrong": wrong, "score": score})
    aucs = {}
    for i, one in scored.groupby("member"):
        score_of, wrong_of = torch.tensor(one[["score"]].to_numpy()), torch.tensor(one["wrong"].to_numpy())
        aucs[i] = roc_auc(score_of, wrong_of)[0]
    return pd.Series(aucs, name="auc").rename_axis("member")


def estimate(values: Iterable[float]) -> pd.Series:
    """`interval` of the values that are numbers; all NaN where there are none."""
    known = pd.Series(list(values), dtype=float).dropna()
    return interval(known) if len(known) else pd.Series({"estimate": np.nan, "low": np.nan, "high": np.nan})
