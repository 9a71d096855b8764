"""How far two maps agree, and how faithful a map is to its network.

Letters for shapes: `N` images, `D` pixels, `P` members, `M` baselines, `S` steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import pandas as pd
import torch
from scipy.stats import rankdata
from torch import Tensor

from lowcap.chapters.saliency.attribution import (  # before Captum, which it keeps quiet
    DEFAULT,
    LOCAL,
    Settings,
    attribute,
)
from lowcap.errors import fraction
from lowcap.parallel import one_thread_each
from lowcap.population import Population

from captum.metrics import infidelity, infidelity_perturb_func_decorator, sensitivity_max  # isort: skip

RADIUS = 0.02  # of the change under which sensitivity is asked for, in grey levels
MEASURES = ("cosine", "cosine of sizes", "Spearman", "Spearman of sizes", "overlap")


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of two maps `(..., D)`; 0 where one of them is zero."""
    return torch.nn.functional.cosine_similarity(a, b, dim=-1, eps=1e-30)


def centred_ranks(a: Tensor) -> Tensor:
    """Ranks of each map `(..., D)` around their mean; equal values share theirs.

    The cosine of two of them is Spearman's rank correlation, 0 where a map is constant. A map that is compared with
    many is so ranked only once.
    """
    return torch.from_numpy(rankdata(a.numpy(), axis=-1)).sub_((a.shape[-1] + 1) / 2).float()


def overlap(a: Tensor, b: Tensor, share: float) -> Tensor:
    """How many of the largest `share` of pixels, by size, two maps `(..., D)` have in common, from 0 to 1.

    Unrelated maps have `share` itself in common. A pixel at exactly zero is never among the largest.
    """
    k = max(1, round(share * a.shape[-1]))
    both = torch.ones_like(a, dtype=torch.bool)
    for one in (a.abs(), b.abs()):
        value, index = one.topk(k, dim=-1)
        both &= torch.zeros_like(both).scatter_(-1, index, value > 0)
    return both.sum(-1) / k


@torch.no_grad()
def replaced(
    population: Population, x: Tensor, order: Tensor, *, insert: bool = False, steps: int = 20
) -> tuple[Tensor, Tensor]:
    """Deletion or insertion curves (Petsiuk et al. 2018) of one member: shares `(S,)` and probabilities `(S, N)`.

    Args:
        order: values `(N, D)`; the pixels with the largest go first. They are made black, or, with `insert`, put into
            a black image. The probability is that of the class that the member gives the complete image.
        steps: after how many more shares the curve is taken, close together at first, where it moves most.
    """
    # Of each pixel its place in the order, (N, D): the inverse of the permutation that sorts them.
    place, largest_first = torch.empty_like(order, dtype=torch.long), order.argsort(dim=1, descending=True, stable=True)
    place.scatter_(1, largest_first, torch.arange(x.shape[1]).expand(order.shape))
    sign = population(x)[:, 0].sign()
    shares, curve = torch.linspace(0, 1, steps + 1) ** 2, []
    for share in shares.tolist():
        gone = place < round(share * x.shape[1])
        curve.append((population(x * (gone if insert else ~gone))[:, 0] * sign).sigmoid())
    return shares, torch.stack(curve)


def unexplained(population: Population, x: Tensor, found: Tensor, method: str, *, seed: int = 0) -> Tensor:
    """Captum's infidelity (Yeh et al. 2019) of one member's maps as a share `(N,)`: 0 is perfect, 1 an empty map.

    A random tenth of the pixels is made black, 32 times; the map should foretell the change of the logit, up to a
    factor. The mean square of what it misses is divided by that of what an empty map misses, the change itself. Black
    pixels stay as they are, so what the map says of them is not judged.
    """
    kept = torch.rand(32, x.shape[1], generator=torch.Generator().manual_seed(seed)) >= 0.1

    @infidelity_perturb_func_decorator(multiply_by_inputs=method not in LOCAL)
    def perturb(inputs: Tensor) -> Tensor:
        return inputs * kept.repeat(len(inputs) // len(kept), 1)

    x = x.to(found)
    how: dict[str, Any] = {"target": 0, "n_perturb_samples": len(kept), "normalize": True}
    missed = infidelity(population, perturb, x, found, **how)
    change = infidelity(population, perturb, x, torch.zeros_like(found), **how)  # what an empty map misses
    return (missed / change.clamp(min=torch.finfo(change.dtype).tiny)).clamp(0, 1)


def sensitivity(
    population: Population, x: Tensor, method: str, settings: Settings = DEFAULT, *, radius: float = RADIUS
) -> Tensor:
    """Captum's maximal sensitivity (Yeh et al. 2019) of one member's maps `(N,)`: how far a map moves, relative to its
    size, when every pixel moves by up to `radius`, at worst over four draws."""
    generator = torch.Generator().manual_seed(settings.seed)
    shift = torch.empty(4, x.shape[1]).uniform_(-radius, radius, generator=generator)  # the same for every image

    def moved(images: Tensor) -> Tensor:
        return images + shift.to(images).repeat(len(images) // len(shift), 1)

    def explain(inputs: Any) -> Any:  # Captum asks first with a tuple, and then wants one
        if isinstance(inputs, tuple):
            return (explain(inputs[0]),)
        return attribute(population, inputs, 0, method, settings)

    x = x.to(population.w_in).detach()
    return sensitivity_max(explain, x, moved, n_perturb_samples=len(shift))


@torch.no_grad()
def incompleteness(population: Population, x: Tensor, found: Tensor, baselines: Tensor) -> float:
    """By how much the sums of one member's maps `(N, D)` miss what they should add up to, the logit less its mean over
    the `baselines` `(M, D)`: mean error over mean size."""
    due = population(x)[:, 0] - population(baselines)[:, 0].mean()
    return float((found.sum(1) - due).abs().mean() / due.abs().mean())


def agreements(reference: Tensor, others: Mapping[str, Tensor], pixels: Tensor, *, share: float = 0.1) -> pd.DataFrame:
    """How far each member's maps agree with its own in `reference`; all maps are `(P, N, D)`.

    Args:
        pixels: `(D,)` bool, those that are compared.
        share: of them, the largest that count for `overlap`.

    Returns:
        A row per member and name: `member, with`, and the mean over images of each of the `MEASURES`; those `of sizes`
        are of the maps without their signs.

    Raises:
        UserError: a share outside [0, 1].
    """
    fraction("share", share)

    def work(i: int) -> list[dict]:
        own = reference[i][:, pixels]
        ranked = centred_ranks(own), centred_ranks(own.abs())  # once: ranking takes most of the time
        rows = []
        for name, maps in others.items():
            other = maps[i][:, pixels]
            values = (
                cosine(own, other),
                cosine(own.abs(), other.abs()),
                cosine(ranked[0], centred_ranks(other)),
                cosine(ranked[1], centred_ranks(other.abs())),
                overlap(own, other, share),
            )
            means = {measure: float(value.mean()) for measure, value in zip(MEASURES, values, strict=True)}
            rows.append({"member": i, "with": name, **means})
        return rows

    with one_thread_each() as pool:
        return pd.DataFrame(chain.from_iterable(pool.map(work, range(len(reference)))))
