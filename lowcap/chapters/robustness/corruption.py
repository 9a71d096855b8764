"""Corruptions of images: what is changed, how strongly, and by which random draws.

A corruption takes flat images in [0, 1] and a severity in its own unit; severity 0 changes nothing. What is drawn at
random belongs to an image's position in the data set, not to the batch that it comes in, and a higher severity makes
more of the same draw, so that severities and networks are compared on the same noise. Lengths are in pixels of a
28 x 28 image and scale with the side of other images. The choice follows MNIST-C (Mu and Gilmer 2019) where it can.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowcap.data.vision import torchvision
from lowcap.errors import UserError, number, one_of
from lowcap.tasks import check_seed

BLOCK = 256  # images whose random numbers come from one generator
SIDE = 28  # of the images in whose pixels lengths are given
vision = torchvision.transforms.functional


@lru_cache(maxsize=64)  # many networks are looked at under the same noise; what is drawn is never changed in place
def _block(sample: Callable[..., Tensor], columns: int, *seeds: int) -> Tensor:
    state = int(np.random.SeedSequence(seeds).generate_state(1)[0])
    return sample(BLOCK, columns, generator=torch.Generator().manual_seed(state))


@dataclass(frozen=True)
class Draws:
    """What is drawn for images `first` to `first + n`: the same for an image, whichever others it comes with."""

    noise_seed: int
    first: int
    n: int

    def _draw(self, sample: Callable[..., Tensor], columns: int, stream: int) -> Tensor:
        blocks = range(self.first // BLOCK, math.ceil((self.first + self.n) / BLOCK))
        parts = [_block(sample, columns, self.noise_seed, stream, block) for block in blocks]
        offset = self.first % BLOCK  # the first block may begin before the first image
        return torch.cat(parts)[offset:][: self.n]

    def normal(self, x: Tensor) -> Tensor:
        """Standard normal, of the shape and type of the images."""
        return self._draw(torch.randn, x[0].numel(), 0).to(x).view_as(x)

    def uniform(self, columns: int, stream: int) -> Tensor:
        """Uniform in [0, 1), `(n, columns)`; streams are independent of each other."""
        return self._draw(torch.rand, columns, stream)


def _unclipped(x: Tensor, sigma: float, draws: Draws) -> Tensor:
    return x + sigma * draws.normal(x)


def _speckle(x: Tensor, sigma: float, draws: Draws) -> Tensor:
    return x * (1 + sigma * draws.normal(x))


def _salt_pepper(x: Tensor, share: float, draws: Draws) -> Tensor:
    hit, white = (draws.uniform(x[0].numel(), stream).view(x.shape) for stream in (1, 2))
    return torch.where(hit < share, (white < 0.5).to(x), x)


def _dropout(x: Tensor, share: float, draws: Draws) -> Tensor:
    return x * (draws.uniform(x[0].numel(), 1).view(x.shape) >= share)


def _blur(x: Tensor, sigma: float, draws: Draws) -> Tensor:
    sigma *= x.shape[-1] / SIDE
    reach = min(math.ceil(3 * sigma), x.shape[-1] - 1)  # the image is mirrored at its edge, so it cannot reach further
    return vision.gaussian_blur(x[:, None], [2 * reach + 1] * 2, [sigma] * 2)[:, 0]


def _contrast(x: Tensor, loss: float, draws: Draws) -> Tensor:
    return vision.adjust_contrast(x[:, None], 1 - loss)[:, 0]


def _brightness(x: Tensor, loss: float, draws: Draws) -> Tensor:
    return vision.adjust_brightness(x[:, None], 1 - loss)[:, 0]


def _veil(x: Tensor, share: float, draws: Draws) -> Tensor:
    return x + share * (1 - x)


def _rotation(x: Tensor, degrees: float, draws: Draws) -> Tensor:
    left = draws.uniform(1, 3)[:, 0] < 0.5
    bilinear = torchvision.transforms.InterpolationMode.BILINEAR
    turned = torch.empty_like(x)
    for rows, angle in ((left, degrees), (~left, -degrees)):
        turned[rows] = vision.rotate(x[rows], angle, bilinear)
    return turned


def _shift(x: Tensor, pixels: float, draws: Draws) -> Tensor:
    by = _length(pixels, x)
    direction = (draws.uniform(1, 4)[:, 0] * 4).long()
    down, up, right, left = (direction == i for i in range(4))
    height, width = x.shape[1:]
    moved = torch.zeros_like(x)  # what is laid bare is black
    moved[down, by:] = x[down, : height - by]
    moved[up, : height - by] = x[up, by:]
    moved[right, :, by:] = x[right, :, : width - by]
    moved[left, :, : width - by] = x[left, :, by:]
    return moved


def _occlusion(x: Tensor, size: float, draws: Draws) -> Tensor:
    size = _length(size, x)
    place = draws.uniform(2, 5).double()  # (N, 2) in [0, 1): the same place at every size, in proportion
    inside = []
    for axis, side in enumerate(x.shape[1:]):
        begin = (place[:, axis, None] * (side - size + 1)).long()
        pixels = torch.arange(side)
        inside.append((pixels >= begin) & (pixels < begin + size))  # (N, side)
    rows, columns = inside
    return x.masked_fill(rows[:, :, None] & columns[:, None, :], 0)  # (N, H, 1) & (N, 1, W) -> (N, H, W)


def _length(pixels: float, x: Tensor) -> int:
    """A length of pixels of a 28 x 28 image on images `(N, H, W)`: at least one pixel, at most the side."""
    return min(x.shape[-1], max(1, round(pixels * x.shape[-1] / SIDE)))


def patch_side(size: float, n_features: int) -> int:
    """How many pixels the side of a patch has in an image of so many features; none at size 0, which hides nothing.

    Raises:
        UserError: a size that `occlusion` does not have, or features that make no square image.
    """
    side, size = _side(n_features), check_severity("occlusion", size)
    return _length(size, torch.empty(1, side, side)) if size else 0


@dataclass(frozen=True)
class Corruption:
    """One kind: what it does to images `(N, H, W)`, its name and unit for people, the largest severity, and the six
    severities that are looked at where nothing else is said. Results are clipped to [0, 1] unless it says otherwise."""

    apply: Callable[[Tensor, float, Draws], Tensor]
    title: str
    unit: str
    largest: float
    levels: tuple[float, ...]
    clipped: bool = True


_SIGMA, _LOSS = (0, 0.1, 0.2, 0.3, 0.4, 0.5), (0, 0.2, 0.4, 0.6, 0.8, 0.95)
CORRUPTIONS = {
    "gaussian": Corruption(_unclipped, "Gaussian noise", "σ", 10, _SIGMA),
    "unclipped": Corruption(_unclipped, "the same, not clipped", "σ", 10, _SIGMA, clipped=False),
    "speckle": Corruption(_speckle, "speckle (noise on ink only)", "σ", 10, (0, 0.2, 0.4, 0.6, 0.8, 1)),
    "salt_pepper": Corruption(_salt_pepper, "salt and pepper", "share of pixels", 1, (0, 0.05, 0.1, 0.15, 0.2, 0.3)),
    "dropout": Corruption(_dropout, "pixel dropout", "share of pixels", 1, (0, 0.1, 0.2, 0.3, 0.5, 0.7)),
    "occlusion": Corruption(_occlusion, "occlusion, random place", "side (pixels)", 28, (0, 3, 5, 7, 10, 14)),
    "blur": Corruption(_blur, "blur", "σ (pixels)", 10, (0, 0.5, 1, 1.5, 2, 3)),
    "contrast": Corruption(_contrast, "less contrast", "contrast lost", 1, _LOSS),
    "brightness": Corruption(_brightness, "less brightness", "brightness lost", 1, _LOSS),
    "veil": Corruption(_veil, "white veil", "opacity", 1, (0, 0.1, 0.2, 0.3, 0.4, 0.5)),
    "rotation": Corruption(_rotation, "rotation, either way", "degrees", 180, (0, 10, 20, 30, 45, 60)),
    "shift": Corruption(_shift, "shift, four directions", "pixels", 28, (0, 1, 2, 3, 4, 6)),
}


def corrupt(x: Tensor, kind: str, severity: float, *, noise_seed: int = 0, first: int = 0) -> Tensor:
    """A corrupted copy of images `(N, D)` in [0, 1], of the same shape and type.

    Whether pixels lie in [0, 1] is not checked; above severity 0 all kinds but `unclipped` bring them there.

    >>> corrupt(torch.ones(1, 4), "brightness", 0.5)
    tensor([[0.5000, 0.5000, 0.5000, 0.5000]])

    Args:
        severity: in the unit of the kind (`CORRUPTIONS[kind].unit`), from 0, which changes nothing, to its `largest`.
        noise_seed: the source of randomness.
        first: the position of `x[0]` in its data set, so that a batch is corrupted as it is within all images.

    Raises:
        UserError: an unknown kind, a severity out of range, images that are not square or not in rows, a seed or
            position that is not a whole number of at least 0.
    """
    if x.ndim != 2:
        raise UserError(f"`x` must hold flat images in rows, (N, D), such as (1, 784) for one; got {tuple(x.shape)}")
    severity, side = check_severity(kind, severity), _side(x.shape[-1])
    draws = Draws(check_seed(noise_seed, "noise_seed"), check_seed(first, "first"), len(x))
    if severity == 0 or len(x) == 0:
        return x.clone()
    changed = CORRUPTIONS[kind].apply(x.view(-1, side, side), severity, draws).view_as(x)
    return changed.clamp(0, 1) if CORRUPTIONS[kind].clipped else changed


def expected(x: Tensor, sigma: float) -> Tensor:
    """What images `(N, D)` are on average over all clipped Gaussian noise of standard deviation sigma above 0.

    The mean of a normal variable clipped to [0, 1], in closed form.
    """
    normal = torch.distributions.Normal(0.0, 1.0)
    low, high = -x / sigma, (1 - x) / sigma
    between = normal.cdf(high) - normal.cdf(low)
    slope = normal.log_prob(low).exp() - normal.log_prob(high).exp()
    return x * between + sigma * slope + 1 - normal.cdf(high)


def check_severity(kind: str, severity: Any) -> float:
    """The severity as a float. Raises UserError for an unknown kind, or a severity that the kind does not have."""
    one_of("kind", kind, CORRUPTIONS)
    about = CORRUPTIONS[kind]
    return number(f"severity of {kind} ({about.unit})", severity, least=0, most=about.largest)


def _side(n_features: int) -> int:
    side = math.isqrt(n_features)
    if side * side != n_features or not side:
        raise UserError(f"images must be square, such as 28 x 28 or 8 x 8 pixels; got {n_features} features")
    return side
