"""Populations: many one-hidden-layer networks side by side as one wide network.

Letters for shapes: `B` batch, `D` features, `P` members, `U` hidden units of all members, `K` logits per member.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lowcap.errors import DataError, UserError, one_of, whole_number, whole_numbers


def _published(fan_in: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 0.1 * torch.randn(shape, generator=generator, dtype=torch.float64)


def _he(fan_in: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return (2 / fan_in) ** 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)


INITS: dict[str, Callable[[int, tuple[int, ...], torch.Generator], Tensor]] = {"published": _published, "he": _he}


class Population(nn.Module):
    """Networks `features - width - logits` with ReLU, one per entry of `widths` and `seeds`.

    The hidden layers of all members are one matrix, so that a hundred small networks cost one large matrix product.
    Members never influence each other; the first weights of each depend on its own width and seed alone.

    Parameters (biases start at 0):
        w_in `(D, U)`, b_in `(U,)`: the hidden layers; `owner (U,)` says which member a unit belongs to.
        w_out `(U, K)`, b_out `(P, K)`: the outputs. `K` is 1 for a pair of classes.
    Masks (`mask_in (D, U)`, `mask_out (U, K)`, bool, True = kept) are None until set by `masked`; a weight whose mask
    is False is zero and stays zero in training.

    Args:
        init: `published` (weights 0.1 * standard normal, as in the published study) or `he` (normal with variance
            2 / fan-in, He et al. 2015).

    Raises:
        UserError: widths, seeds or sizes that are not whole numbers in range, or lists of different lengths.
    """

    w_in: Tensor
    owner: Tensor
    mask_in: Tensor | None
    mask_out: Tensor | None

    def __init__(
        self,
        widths: Sequence[int],
        seeds: Sequence[int],
        *,
        n_features: int = 784,
        n_outputs: int = 1,
        init: str = "published",
    ):
        super().__init__()
        self.widths, self.seeds = whole_numbers("widths", widths, 1), whole_numbers("seeds", seeds, 0)
        self.n_features, self.n_outputs = (
            whole_number("n_features", n_features, 1),
            whole_number("n_outputs", n_outputs, 1),
        )
        self.init = init
        if len(self.widths) != len(self.seeds) or not self.widths:
            raise UserError(f"need one seed per width; got {len(self.widths)} widths and {len(self.seeds)} seeds")
        one_of("init", init, INITS)
        self.register_buffer("owner", torch.arange(len(self.widths)).repeat_interleave(torch.tensor(self.widths)))
        self.register_buffer("mask_in", None)
        self.register_buffer("mask_out", None)
        starts = [self._start(width, seed) for width, seed in zip(self.widths, self.seeds, strict=True)]
        self.w_in = nn.Parameter(torch.cat([w for w, _ in starts], dim=1).float())
        self.w_out = nn.Parameter(torch.cat([w for _, w in starts]).float())
        self.b_in = nn.Parameter(torch.zeros(len(self.owner)))
        self.b_out = nn.Parameter(torch.zeros(len(self.widths), n_outputs))

    @classmethod
    def grid(cls, widths: Iterable[int], seeds: Iterable[int], **kwargs: Any) -> Population:
        """One member for every combination of a width and a seed; other arguments as for the class."""
        pairs = [(width, seed) for width in widths for seed in seeds]
        return cls([width for width, _ in pairs], [seed for _, seed in pairs], **kwargs)

    def _start(self, width: int, seed: int) -> tuple[Tensor, Tensor]:
        """A member's first weights, `(D, width)` and `(width, K)`."""
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, width]).generate_state(1)[0]))
        draw = INITS[self.init]
        w_in = draw(self.n_features, (self.n_features, width), generator)
        return w_in, draw(width, (width, self.n_outputs), generator)

    def __len__(self) -> int:
        return len(self.widths)

    def __repr__(self) -> str:
        return f"Population({len(self)} members, {len(self.owner)} units, widths {sorted(set(self.widths))})"

    @property
    def members(self) -> pd.DataFrame:
        """A row per member: `member, width, seed, n_params` (weights and biases that are not masked)."""
        kept_in = torch.ones_like(self.w_in, dtype=torch.bool) if self.mask_in is None else self.mask_in
        kept_out = torch.ones_like(self.w_out, dtype=torch.bool) if self.mask_out is None else self.mask_out
        per_unit = kept_in.sum(0) + kept_out.sum(1) + 1  # with the unit's bias
        n_params = self.n_outputs + torch.zeros(len(self), dtype=torch.long).index_add_(0, self.owner, per_unit)
        rows = {"width": self.widths, "seed": self.seeds, "n_params": n_params.tolist()}
        return pd.DataFrame(rows).rename_axis("member").reset_index()

    def columns(self) -> Tensor:
        """For each unit the positions `(U, K)` of its member's logits among all `P * K`."""
        return self.owner[:, None] * self.n_outputs + torch.arange(self.n_outputs)

    def hidden(self, x: Tensor) -> Tensor:
        """Activations `(B, U)` of all hidden units for images `(B, D)`."""
        return torch.addmm(self.b_in, x.to(self.w_in), self.w_in).relu()

    def forward(self, x: Tensor) -> Tensor:
        """Logits for images `(B, D)`: `(B, P)` for a pair of classes, else `(B, P, K)`."""
        return self.read_out(self.hidden(x))

    def read_out(self, hidden: Tensor) -> Tensor:
        """Logits, as `forward` gives them, for activations `(B, U)` of the hidden units."""
        # Zero times infinity is not zero: a member that has diverged answers NaN, and must not spoil the others.
        spoiled = torch.zeros_like(self.b_out[:, 0]).index_add(0, self.owner, hidden.sum(0) * 0)
        bias = (self.b_out + spoiled[:, None]).flatten()
        logits = torch.addmm(bias, hidden.nan_to_num(), head(self.w_out, self.columns(), len(self)))
        return logits if self.n_outputs == 1 else logits.view(len(hidden), len(self), self.n_outputs)

    def select(self, members: Sequence[int] | np.ndarray | Tensor) -> Population:
        """A new population of the given members (positions, or one bool per member), in that order."""
        index = self._positions(members)
        units = torch.cat([torch.where(self.owner == i)[0] for i in index.tolist()])
        other = self._empty_like(index)
        state = {"w_in": self.w_in[:, units], "b_in": self.b_in[units], "w_out": self.w_out[units]}
        for name, tensor in {**state, "b_out": self.b_out[index]}.items():
            setattr(other, name, nn.Parameter(tensor.detach().clone()))
        other.owner = torch.arange(len(index)).repeat_interleave(torch.tensor(other.widths))
        other.mask_in = None if self.mask_in is None else self.mask_in[:, units].clone()
        other.mask_out = None if self.mask_out is None else self.mask_out[units].clone()
        return other

    def copy(self) -> Population:
        """All members once more, with weights and masks of their own."""
        return self.select(range(len(self)))

    def _positions(self, members: Sequence[int] | np.ndarray | Tensor) -> np.ndarray:
        try:
            index = np.arange(len(self))[np.asarray(members)]
        except IndexError:
            index = np.array([])
        if index.ndim != 1 or not index.size:
            allowed = f"one or more positions from 0 to {len(self) - 1}, or one bool per member"
            raise UserError(f"`members` must be {allowed}; got {members!r}")
        return index

    def _empty_like(self, index: np.ndarray) -> Population:
        """A population with this one's settings and the given members' names, without their weights."""
        other = Population([1], [0], n_features=1, n_outputs=self.n_outputs, init=self.init)
        other.widths = [self.widths[i] for i in index]
        other.seeds = [self.seeds[i] for i in index]
        other.n_features = self.n_features
        return other

    def masked(self, mask_in: Tensor | None = None, mask_out: Tensor | None = None) -> Population:
        """A copy in which the weights whose mask is False are zero and stay zero in training.

        Weights that are masked already stay masked. Raises UserError for a mask of another shape or type.
        """
        other = self.copy()
        for name, mask in (("in", mask_in), ("out", mask_out)):
            weight = getattr(other, f"w_{name}")
            if mask is not None and (mask.shape != weight.shape or mask.dtype != torch.bool):
                raise UserError(
                    f"`mask_{name}` must be bool of shape {tuple(weight.shape)}; got {mask.dtype}, {tuple(mask.shape)}"
                )
            if mask is not None:
                old = getattr(other, f"mask_{name}")
                setattr(other, f"mask_{name}", mask.clone() if old is None else mask & old)
                weight.data.masked_fill_(~mask, 0)  # not a product: also what has diverged becomes zero
        return other

    def check_member(self, member: Any) -> int:
        """The position of a member as an int. Raises UserError where there is none."""
        return whole_number("member", member, 0, len(self) - 1)

    def to_module(self, member: int) -> nn.Sequential:
        """One member as an ordinary module, for Captum and for readers: Linear, ReLU, Linear."""
        member = self.check_member(member)
        one, width = self.select([member]), self.widths[member]
        module = nn.Sequential(nn.Linear(self.n_features, width), nn.ReLU(), nn.Linear(width, self.n_outputs))
        weights = (one.w_in.T, one.b_in, one.w_out.T, one.b_out[0])
        for parameter, value in zip(module.parameters(), weights, strict=True):
            parameter.data = value.detach().clone().contiguous()
        return module

    def save(self, path: str | PathLike) -> None:
        """Write weights, masks and the members' names as one safetensors file. Raises DataError when that fails."""
        about = {"widths": self.widths, "seeds": self.seeds, "n_features": self.n_features}
        about |= {"n_outputs": self.n_outputs, "init": self.init}
        try:
            save_file({k: v.contiguous() for k, v in self.state_dict().items()}, path, {"lowcap": json.dumps(about)})
        except (SafetensorError, OSError) as error:
            raise DataError(f"{path} cannot be written ({error})") from error

    @classmethod
    def load(cls, path: str | PathLike) -> Population:
        """Read what `save` wrote, bit for bit. Raises DataError when the file is not such a file."""
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})["lowcap"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            _consistent(about, tensors)
            population = cls(**about).to(tensors["w_in"].dtype)
            population.mask_in, population.mask_out = tensors.get("mask_in"), tensors.get("mask_out")
            population.load_state_dict(tensors)
        except (SafetensorError, OSError, LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise DataError(f"{path} is not a population saved by `Population.save` ({reason})") from error
        return population


def _consistent(about: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """ValueError unless the names and the tensors of a file fit each other; before anything of that size is made."""
    widths, n_features, n_outputs = about["widths"], about["n_features"], about["n_outputs"]
    units = sum(whole_numbers("widths", widths, 1))
    shapes = {"w_in": (n_features, units), "b_in": (units,), "w_out": (units, n_outputs), "owner": (units,)}
    shapes |= {"b_out": (len(widths), n_outputs), "mask_in": (n_features, units), "mask_out": (units, n_outputs)}
    for name, tensor in tensors.items():
        kind = torch.bool if name.startswith("mask") else torch.long if name == "owner" else tensors["w_in"].dtype
        if tuple(tensor.shape) != shapes[name] or tensor.dtype != kind:
            raise ValueError(f"{name} is {tensor.dtype} of shape {tuple(tensor.shape)}, not {kind} of {shapes[name]}")
    owner = torch.arange(len(widths)).repeat_interleave(torch.tensor(widths))
    if not torch.equal(tensors["owner"], owner) or not tensors["w_in"].is_floating_point():
        raise ValueError("its units do not belong to its members, or its weights are no numbers")


def head(w_out: Tensor, columns: Tensor, n_members: int) -> Tensor:
    """The outputs `(U, K)` of all members as one block matrix `(U, P * K)`: each unit feeds its own member only."""
    return w_out.new_zeros(len(w_out), n_members * w_out.shape[1]).scatter(1, columns, w_out)
