"""Maps of hidden layers by t-SNE, made so that they can be compared, and what they are worth.

t-SNE (van der Maaten and Hinton 2008) may turn, mirror and rearrange a map freely. So the maps of what became of a
network start from the map of the network before, and are turned onto it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from scipy.linalg import orthogonal_procrustes
from sklearn.manifold import TSNE, trustworthiness

from lowcap.chapters.geometry.measures import Images, fewer, hidden_layers, procrustes, shared_neighbours, workers
from lowcap.population import Population


def tsne(
    x: np.ndarray, *, perplexity: float = 30, seed: int = 0, near: np.ndarray | None = None, max_iter: int = 1000
) -> np.ndarray:
    """The t-SNE map `(N, 2)` of activations `(N, units)`, from random positions or from the positions `near (N, 2)`.

    A complete fit either way: as is usual, these are shrunk to a tiny cloud, and only their arrangement counts.

    Raises:
        UserError: a perplexity that is not below the number of images.
    """
    fewer("perplexity", perplexity, len(x))
    first: Any = "random" if near is None else 1e-4 * (near - near.mean(0)) / near.std()
    fit = TSNE(perplexity=perplexity, init=first, random_state=seed, max_iter=max_iter, learning_rate="auto")
    return fit.fit_transform(np.asarray(x, dtype=np.float32))


def maps(
    conditions: Mapping[str, Population], images: Images, member: int = 0, *, free: Sequence[str] = (), **how: Any
) -> pd.DataFrame:
    """Maps of one network in all conditions: each but the first starts from the first one's positions.

    They are then shifted, turned or mirrored to lie as close to it as they can, which changes no distance in them.
    Conditions named in `free` start at random and stay as they come.

    Returns:
        A row per condition and image: `condition, image, label, x, y`; `how` are arguments of `tsne`.

    Raises:
        UserError: a member that does not exist, or as `tsne` does.
    """
    with workers() as pool:
        places = _places(_hidden(conditions, images, member), free, pool.map, how)
    label = images.y.numpy().astype(int)
    frames = []
    for condition, place in places.items():
        columns = {"condition": condition, "label": label, "x": place[:, 0], "y": place[:, 1]}
        frames.append(pd.DataFrame(columns).rename_axis("image").reset_index())
    return pd.concat(frames, ignore_index=True)


def _hidden(conditions: Mapping[str, Population], images: Images, member: int) -> dict[str, np.ndarray]:
    """The activations `(N, units)` of one network in each condition."""
    hidden = {}
    for condition, population in conditions.items():
        layer = next(hidden_layers(population.select([member]), images))
        hidden[condition] = layer.seen
    return hidden


def _places(hidden: dict[str, np.ndarray], free: Sequence[str], apply: Callable, how: dict) -> dict[str, np.ndarray]:
    """The map `(N, 2)` of each condition, by the activations in each."""
    first, *others = hidden
    anchor, seed = tsne(hidden[first], **how), how.get("seed", 0)

    def one(condition: str) -> np.ndarray:
        if condition in free:  # with a seed of its own: else it would begin from the same random positions
            return tsne(hidden[condition], **{**how, "seed": seed + 1})
        return turned(tsne(hidden[condition], near=anchor, **how), anchor)

    found: list[np.ndarray] = [anchor, *apply(one, others)]
    return dict(zip(hidden, found, strict=True))


def turned(place: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """A map `(N, 2)` shifted, turned or mirrored to lie as close to another as it can."""
    middle, other = place - place.mean(0), onto - onto.mean(0)
    rotation, _ = orthogonal_procrustes(middle, other)  # (2, 2), reflections included
    return middle @ rotation + onto.mean(0)


def quality(
    conditions: Mapping[str, Population], images: Images, *, k: int = 10, free: Sequence[str] = (), **how: Any
) -> pd.DataFrame:
    """What the maps of all members are worth: a row per condition and network, `condition, width, seed` and three more.

    `trust`: the trustworthiness of the map. `moved`: the Procrustes distance of the map from that of the first
    condition. `kept`: the share of the `k` neighbours in that one that are neighbours still. `free, how` as for `maps`.

    Raises:
        UserError: as `tsne` and `trust` do.
    """
    first = next(iter(conditions))
    names: list[dict[Any, Any]] = conditions[first].members[["width", "seed"]].to_dict("records")

    def look(member: int) -> list[dict]:
        hidden = _hidden(conditions, images, member)
        places = _places(hidden, free, map, {**how, "seed": 100 * member})
        rows = []
        for condition, place in places.items():
            found = {"trust": trust(hidden[condition], place, k), "moved": procrustes(places[first], place)}
            found["kept"] = shared_neighbours(places[first], place, k)
            rows.append({"condition": condition} | names[member] | found)
        return rows

    with workers() as pool:
        return pd.DataFrame(chain.from_iterable(pool.map(look, range(len(names)))))


def trust(x: np.ndarray, place: np.ndarray, k: int = 10) -> float:
    """Trustworthiness of a map `(N, 2)` of activations `(N, units)`: 1 if no image has a neighbour in the map that is
    none in the layer (Venna and Kaski 2001). Raises UserError where `k` is not below half of the images."""
    fewer("k", k, len(x) / 2)
    return float(trustworthiness(x, place, n_neighbors=k))
