"""Numbers on their way to the page: arrays as named blobs, networks rounded to what the page gets."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowcap.population import Population
from lowcap.tasks import Task

KINDS = {"u1": np.uint8, "u2": np.uint8, "fixed16": np.float64, "float32": np.float32}
MIDDLE = 32767.5  # what is taken from a whole number of 16 bits; not itself whole, so that no weight becomes zero
Parts = Mapping[str, tuple[str, Any]]


@dataclass(frozen=True)
class Blob:
    """Named numbers, deflated, as base64 `text`; `name` is a hash of them, `parts` name -> [kind, count, scale].

    Names must not be whole numbers: JavaScript would put those first.
    """

    name: str
    text: str
    parts: dict[str, tuple[str, int, float]]

    @classmethod
    def of(cls, parts: Parts) -> Blob:
        """Pack arrays, each with its kind: u1 (whole numbers to 255), u2 (to 3), fixed16 (see `fixed`) or float32."""
        raw, about = b"", {}
        for name, (kind, given) in parts.items():
            values: np.ndarray = np.ravel(given).astype(KINDS[kind])
            scale = 1.0
            about[name] = (kind, len(values), scale)
            if kind == "u2":
                quads = np.pad(values, (0, -len(values) % 4)).reshape(-1, 4)
                values = (quads << np.array([6, 4, 2, 0], dtype=np.uint8)).sum(1).astype(np.uint8)
            elif kind == "fixed16":
                codes, scale = fixed(values)
                values = codes.view(np.uint8).reshape(-1, 2).T  # all low bytes, then all high ones: packs better
                about[name] = (kind, len(codes), scale)
            raw += values.tobytes()
        text = base64.b64encode(zlib.compress(raw, 9)).decode()
        return cls(hashlib.sha256(raw + repr(about).encode()).hexdigest()[:16], text, about)

    @property
    def reference(self) -> dict[str, Any]:
        """What an element needs to find the blob and take it apart."""
        return {"name": self.name, "parts": self.parts}


def fixed(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Numbers as whole numbers of 16 bits and a scale: a number is `(whole - MIDDLE) * scale`."""
    scale = float(np.abs(values).max(initial=0)) / MIDDLE or 1.0
    return np.round(values / scale + MIDDLE).clip(0, 65535).astype("<u2"), scale


@torch.no_grad()
def rounded(population: Population) -> Population:
    """A copy with the weights that the page gets; what is zero stays zero."""
    copy = population.copy()
    for member in range(len(copy)):
        units = copy.owner == member
        own = copy.w_in[:, units].double().numpy()
        codes, scale = fixed(own)
        copy.w_in[:, units] = torch.from_numpy(np.where(own == 0, 0, (codes - MIDDLE) * scale)).float()
    return copy


def weights(population: Population, member: int) -> np.ndarray:
    """All weights of one member in the page's order: first layer pixel by pixel, biases, second layer, bias."""
    one = population.select([member])
    return np.concatenate([p.detach().numpy().ravel() for p in (one.w_in, one.b_in, one.w_out, one.b_out)])


def packed(name: str, population: Population, member: int = 0) -> dict[str, tuple[str, Any]]:
    """A network, as it was trained, as two parts of a blob: what is left of its first layer, and the rest."""
    values = weights(population, member)
    n = population.n_features * population.widths[member]
    return {name: ("fixed16", values[:n][values[:n] != 0]), f"{name} rest": ("float32", values[n:])}


def shades(x: Tensor, top: int) -> np.ndarray:
    """Images as whole numbers from 0 to `top`."""
    return (x * top).round().numpy().astype(np.uint8)


def top_of(task: Task) -> int:
    """The brightest pixel in the files of the task's dataset: with it, whole numbers hold the images exactly."""
    return 16 if task.dataset == "digits" else 255
