"""The explorable that shows networks corrupted digits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from torch import Tensor

from lowcap.chapters.robustness.corruption import CORRUPTIONS, patch_side
from lowcap.chapters.robustness.experiments import sweep
from lowcap.explorables import forms
from lowcap.explorables.blob import Blob, rounded, shades, top_of
from lowcap.explorables.elements import about, networks, show
from lowcap.population import Population
from lowcap.tasks import Task


def corrupt_it(population: Population, task: Task, sigma: float, patch: int, *, n_digits: int = 500) -> None:
    """Let the reader corrupt test digits of a pair, and have the first network of each width answer (of six, at most).

    It begins with noise of the standard deviation `sigma`; `patch` is the side, of 28 pixels, that a patch has when it
    is first put down. The run's own scores, on the same digits, are those of `corruption.corrupt`.
    """
    picked = [population.widths.index(width) for width in sorted(set(population.widths))][-6:]
    nets = rounded(population.select(picked))
    spread = np.linspace(0, len(task.y_test) - 1, min(n_digits, len(task.y_test))).astype(int)
    x, y, side = task.x_test[spread], task.y_test[spread], task.image_shape[0]
    sigmas = sorted({*CORRUPTIONS["gaussian"].levels, float(sigma)})
    scores = _corrupted(nets, x, y, sigmas)
    curves = {kind: [[*table[width].items()] for width in nets.widths] for kind, table in scores.items()}
    blob = networks(population, picked)
    digits = Blob.of({"pixels": ("u1", shades(x, top_of(task))), "labels": ("u1", y)})
    text = f"F1 on {len(y)} test digits, clean and corrupted, from the run that made this page."
    begin = {"digit": 0, "noise": float(sigma), "clip": True, "patch": 0, "seed": 1}
    begin |= {"row": side // 3, "column": side // 3}
    data = about(task, "corrupt", text, begin) | {"blobs": [digits.reference, blob.reference]}
    data |= {"widths": nets.widths, "patch": patch_side(patch, x.shape[1]), "curves": curves}
    shown = {"clean": scores["clipped"].loc[0], f"noise, σ = {sigma:g}": scores["clipped"].loc[sigma]}
    shown |= {f"patch of {size}": row for size, row in scores["patch"].iloc[1::2].iterrows()}
    table = pd.DataFrame(shown).rename_axis("hidden neurons").round(3)
    show("corrupt-it", data, forms.corrupt(data, sigmas, len(y)), [blob, digits], table)


def _corrupted(nets: Population, x: Tensor, y: Tensor, sigmas: Sequence[float]) -> dict[str, pd.DataFrame]:
    """F1 by severity (side of a patch: in pixels of these images) and width: clipped and unclipped noise, patches."""
    kinds = {"gaussian": sigmas, "unclipped": sigmas, "occlusion": CORRUPTIONS["occlusion"].levels}
    found = sweep(nets, x, y, kinds)
    tables = {
        kind: rows.pivot_table(index="severity", columns="width", values="f1") for kind, rows in found.groupby("kind")
    }
    patches = tables["occlusion"].groupby(lambda size: patch_side(size, x.shape[1])).mean()
    return {"clipped": tables["gaussian"], "unclipped": tables["unclipped"], "patch": patches}
