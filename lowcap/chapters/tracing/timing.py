"""What pruning buys when a network is used: seconds, bytes and parameters of its dense, masked, small and sparse forms.

For networks linear - ReLU - linear, on one thread.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save
from scipy.sparse import csr_array
from torch import Tensor, nn

from lowcap.errors import UserError, one_of


class Sparse:
    """A network whose weight matrices are stored in compressed sparse rows (CSR): values, columns, row starts.

    Args:
        library: whose product multiplies them, `scipy` or `torch`; a sparse matrix wants its images as columns.

    Raises:
        UserError: the model is not linear - ReLU - linear, or an unknown library.
    """

    def __init__(self, model: nn.Module, library: str = "scipy"):
        one_of("library", library, ("scipy", "torch"))
        if [type(part) for part in model.children()] != [nn.Linear, nn.ReLU, nn.Linear]:
            raise UserError(f"`model` must be linear, ReLU, linear; got {model}")
        linear = [part for part in model.children() if isinstance(part, nn.Linear)]
        self.weights = [csr_array(part.weight.detach().numpy()) for part in linear]
        self.biases = [part.bias.detach()[:, None] for part in linear]
        with warnings.catch_warnings():  # torch calls its sparse tensors a beta
            warnings.simplefilter("ignore", UserWarning)
            dense = [part.weight.detach().to_sparse_csr() for part in linear]
        self.factors: Any = dense if library == "torch" else self.weights
        self.convert = torch.asarray if library == "torch" else np.asarray

    def __call__(self, x: Tensor) -> Tensor:
        """Logits `(N, C)` for images `(N, D)`."""
        first, last = self.factors
        columns = self.convert(x.T.contiguous())  # (N, D) -> (D, N)
        hidden = torch.as_tensor(first @ columns).add_(self.biases[0]).relu_()  # (U, D) @ (D, N) -> (U, N)
        return torch.as_tensor(last @ self.convert(hidden)).add_(self.biases[1]).T  # (C, N) -> (N, C)

    def tensors(self) -> dict[str, Tensor]:
        """What has to be stored: values and biases in float32, columns and row starts as int32."""
        found = {f"bias{i}": bias for i, bias in enumerate(self.biases)}
        for i, weight in enumerate(self.weights):
            found[f"values{i}"] = torch.from_numpy(weight.data)
            for name, index in (("columns", weight.indices), ("rows", weight.indptr)):
                found[f"{name}{i}"] = torch.from_numpy(index.astype(np.int32))
        return found


Form = nn.Module | Sparse


def sizes(forms: Mapping[str, Form]) -> pd.DataFrame:
    """A row per form: `form, parameters` (weights and biases that it stores), `bytes` of its safetensors file."""
    rows = []
    for name, form in forms.items():
        if isinstance(form, Sparse):
            tensors = form.tensors()
        else:
            tensors = {key: value.contiguous() for key, value in form.state_dict().items()}
        # Positions of weights are stored too, but they are no parameters.
        values = [value for value in tensors.values() if value.is_floating_point()]
        rows.append({"form": name, "parameters": sum(map(torch.numel, values)), "bytes": len(save(tensors))})
    return pd.DataFrame(rows)


@torch.no_grad()
def timings(
    forms: Mapping[str, Form], x: Tensor, batches: tuple[int, ...] = (1, 1000), *, rounds: int = 30
) -> pd.DataFrame:
    """Time every form on one thread.

    The forms take turns, so that what else the machine does meets all alike; a turn repeats the call for about a
    millisecond. The first form is the yardstick.

    Returns:
        A row per form and batch: `seconds` per call (median over rounds), `low, high` (its quartiles), `per_second`
        (images), `ratio` of the first form's median to this one's: 2 is twice as fast.
    """
    rows = []
    with one_thread():
        for batch in batches:
            images = x[:batch].contiguous()
            calls = {name: _repeats(form, images) for name, form in forms.items()}
            times: dict[str, list[float]] = {name: [] for name in forms}
            for _ in range(rounds):
                for name, form in forms.items():
                    times[name].append(_seconds(form, images, calls[name]))
            for name, values in times.items():
                low, middle, high = np.percentile(values, [25, 50, 75])
                row = {"form": name, "batch": len(images), "seconds": middle, "low": low, "high": high}
                rows.append({**row, "per_second": len(images) / middle})
    frame = pd.DataFrame(rows)
    return frame.assign(ratio=frame.groupby("batch")["seconds"].transform("first") / frame["seconds"])


def _repeats(form: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """How many calls take about a millisecond: a single one would be shorter than the clock's noise."""
    _seconds(form, x, 3)  # caches, lazy set-up
    return max(1, int(1e-3 / _seconds(form, x, 3)))


def _seconds(form: Callable[[Tensor], Tensor], x: Tensor, calls: int) -> float:
    """Seconds per call, over so many calls in a row."""
    began = time.perf_counter()
    for _ in range(calls):
        form(x)
    return (time.perf_counter() - began) / calls


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread, as scipy's sparse products do."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
