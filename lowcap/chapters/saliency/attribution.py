"""Maps of pixel importance by Captum (Kokhlikyan et al. 2020), called by the name of the method.

Letters for shapes: `N` images, `D` pixels, `P` members. A map is that of one member's logit, so a positive value speaks
for class 1. What is drawn at random is drawn from the settings' seed, the same for every image and member: neither the
caller's random state nor the other images of a batch play a part.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowcap.errors import UserError, number, one_of, whole_number
from lowcap.parallel import one_thread_each
from lowcap.population import Population

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "IProgress not found")  # a progress bar that nobody asked for has no widgets
    from captum.attr import GradientShap, InputXGradient, IntegratedGradients, NoiseTunnel, Occlusion, Saliency

BATCH = 64  # images at a time; each becomes dozens of rows


@dataclass(frozen=True)
class Settings:
    """How the methods are set.

    Attributes:
        steps: points on the path of integrated gradients. samples: draws of gradient SHAP and SmoothGrad, from `seed`.
        noise: standard deviation of SmoothGrad's noise, in grey levels (1 is white).
        epsilon: by how much the finite difference raises a pixel.
        patch, stride: of occlusion, in pixels; None takes about a fifth of the image's side, and half of that.
        baselines: images `(M, D)` that gradient SHAP starts from; None is the black image, as for the others.

    Raises:
        UserError: a number outside its range, or a stride that leaves gaps between the patches.
    """

    steps: int = 16
    samples: int = 48
    noise: float = 0.15
    epsilon: float = 0.1
    patch: int | None = None
    stride: int | None = None
    seed: int = 0
    baselines: Tensor | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("steps", "samples"):
            whole_number(name, getattr(self, name), 1)
        for name in ("patch", "stride"):
            if getattr(self, name) is not None:
                whole_number(name, getattr(self, name), 1, note="or None")
        number("noise", self.noise, least=0)
        number("epsilon", self.epsilon, above=0)
        if self.patch is not None and self.stride is not None and self.stride > self.patch:
            raise UserError(f"`stride` must be from 1 to the patch's {self.patch} pixels; got {self.stride}")

    def baseline_images(self, x: Tensor) -> Tensor:
        """The images that gradient SHAP starts from, `(M, D)`."""
        return torch.zeros_like(x[:1]) if self.baselines is None else self.baselines.to(x)

    def window(self, side: int) -> tuple[int, int]:
        """Occlusion's patch and stride on an image of so many pixels a side."""
        patch = self.patch or max(2, round(side / 5.6))
        patch = min(patch, side)
        return patch, min(self.stride or max(1, patch // 2), patch)


DEFAULT = Settings()


class _SharedNoise(NoiseTunnel):
    """Captum's noise tunnel with noise that is given, the same for every image: it draws afresh for each one."""

    def __init__(self, method: Saliency, noise: Tensor):
        super().__init__(method)
        self.given = noise

    def _add_noise_to_inputs(self, n: int, inputs: tuple[Tensor, ...], stdevs: Any) -> tuple[Tensor, ...]:
        (x,) = inputs
        noisy = x.repeat_interleave(n, 0) + self.given[:n].repeat(len(x), 1)  # (N * n, D), image by image
        return (noisy.requires_grad_(),)


def _gradient(forward: Population, x: Tensor, target: int, settings: Settings) -> Tensor:
    return Saliency(forward).attribute(x, target=target, abs=False)


def _input_x_gradient(forward: Population, x: Tensor, target: int, settings: Settings) -> Tensor:
    return InputXGradient(forward).attribute(x, target=target)


def _integrated(forward: Population, x: Tensor, target: int, settings: Settings) -> Tensor:
    return IntegratedGradients(forward).attribute(x, target=target, n_steps=settings.steps, method="gausslegendre")


def _gradient_shap(forward: Population, x: Tensor, target: int, settings: Settings) -> Tensor:
    def side_by_side(rows: Tensor) -> Tensor:  # (samples, N * D) -> (samples,)
        return forward(rows.view(-1, x.shape[1]))[:, target].view(len(rows), -1).sum(1)

    # All images as one long one, so that each gets the same draws; the gradient of the sum parts them again.
    row, baselines = x.reshape(1, -1), settings.baseline_images(x).repeat(1, len(x))  # (1, N * D), (M, N * D)
    with _drawn_from(settings.seed):
        found = GradientShap(side_by_side).attribute(row, baselines, n_samples=settings.samples, stdevs=0.0)
    return found.view_as(x)


def _occlusion(forward: Population, x: Tensor, target: int, settings: Settings) -> Tensor:
    side = math.isqrt(x.shape[1])
    if side**2 != x.shape[1]:
        raise UserError(f"occlusion needs square images, such as 28 x 28 = 784 pixels; got {x.shape[1]} pixels")
    patch, stride = settings.window(side)
    images = x.view(-1, side, side)
    method = Occlusion(lambda z: forward(z.flatten(1)))
    found = method.attribute(images, (patch, patch), strides=stride, target=target, perturbations_per_eval=16)
    return found.flatten(1)


def _smoothgrad(forward: Population, x: Tensor, target: int, settings: Settings) -> Tensor:
    generator = torch.Generator().manual_seed(settings.seed)
    noise = settings.noise * torch.randn(settings.samples, x.shape[1], generator=generator)  # (samples, D)
    tunnel = _SharedNoise(Saliency(forward), noise.to(x))
    return tunnel.attribute(x, nt_samples=settings.samples, target=target, abs=False)


@torch.no_grad()
def _finite_difference(forward: Population, x: Tensor, target: int, settings: Settings) -> Tensor:
    units, exact = forward.owner == target, x.double()  # a sure network's probabilities differ in the last digits
    w_in, w_out = forward.w_in[:, units].double(), forward.w_out[units, 0].double()
    bias = forward.b_out[target, 0].double()
    sums = torch.addmm(forward.b_in[units].double(), exact, w_in)  # (N, units)
    before = (sums.relu() @ w_out + bias).sigmoid()  # (N,)
    # A pixel that is raised adds its own weights to the sums, so no image has to be run again for any pixel.
    raised = (sums[:, None] + settings.epsilon * w_in).relu_() @ w_out  # (N, D, units) @ (units,) -> (N, D)
    change = ((raised + bias).sigmoid() - before[:, None]).abs()
    # As the study shows its maps: each from its own least to its own largest value.
    change -= change.amin(1, keepdim=True)
    return (change / change.amax(1, keepdim=True).clamp(min=torch.finfo(change.dtype).tiny)).to(x)


METHODS: dict[str, Callable[[Population, Tensor, int, Settings], Tensor]] = {
    "gradient": _gradient,
    "SmoothGrad": _smoothgrad,
    "input x gradient": _input_x_gradient,
    "integrated gradients": _integrated,
    "gradient SHAP": _gradient_shap,
    "occlusion": _occlusion,
    "finite difference": _finite_difference,
}
LOCAL = ("gradient", "SmoothGrad", "finite difference")  # per unit of a pixel; the others count what a pixel adds
UNSIGNED = ("finite difference",)


def attribute(
    population: Population, x: Tensor, member: int = 0, method: str = "gradient", settings: Settings = DEFAULT
) -> Tensor:
    """Maps `(N, D)` of images `(N, D)` for one member's logit: Captum on the population, `target` = the member.

    Methods: `gradient` (Simonyan et al. 2014, with its sign), `SmoothGrad` (Smilkov et al. 2017: the mean gradient
    under noise), `input x gradient`, `integrated gradients` (Sundararajan et al. 2017, from the black image),
    `gradient SHAP` (Lundberg and Lee 2017), `occlusion` (Zeiler and Fergus 2014, black patches) and `finite
    difference`, the published study's: by how much the probability moves when one pixel is raised, scaled to [0, 1].

    Raises:
        UserError: an unknown method, a member that does not exist, images of another size, or several logits a member.
    """
    one_of("method", method, METHODS)
    member = population.check_member(member)
    if x.ndim != 2 or x.shape[1] != population.n_features or len(x) == 0:
        allowed = f"images of {population.n_features} pixels, shape (N, {population.n_features})"
        raise UserError(f"`x` must be {allowed}; got shape {tuple(x.shape)}")
    if population.n_outputs != 1:
        raise UserError(f"maps are of networks with one logit, for a pair of classes; got {population.n_outputs}")
    parts = []
    for images in x.detach().to(population.w_in).split(BATCH):
        parts.append(METHODS[method](population, images.clone().requires_grad_(), member, settings).detach())
    return torch.cat(parts)


def maps(population: Population, x: Tensor, method: str = "gradient", settings: Settings = DEFAULT) -> Tensor:
    """`attribute` for every member: `(P, N, D)`. Each is taken out of the population first, which gives the same.

    Raises:
        UserError: as `attribute`.
    """
    one_of("method", method, METHODS)

    def work(i: int) -> Tensor:
        return attribute(population.select([i]), x, 0, method, settings)

    with one_thread_each() as pool:
        in_turn = method == "gradient SHAP"  # for which Captum draws from the process's own streams
        return torch.stack(list((map if in_turn else pool.map)(work, range(len(population)))))


@contextmanager
def _drawn_from(seed: int) -> Iterator[None]:
    """Torch's and NumPy's own streams, which Captum draws from, at the seed; afterwards as they were."""
    state = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(state)
