"""The explorable that turns maps of a hidden layer into one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from lowcap.chapters.geometry.measures import Images, shared_neighbours
from lowcap.explorables import forms
from lowcap.explorables.blob import Blob, shades, top_of
from lowcap.explorables.elements import about, show
from lowcap.tasks import Task


def morph_map(
    found: pd.DataFrame, images: Images, task: Task, paths: Mapping[str, Sequence[str]], *, k: int = 10
) -> None:
    """Let the reader go from map to map of one layer: `found` is a frame of `tsne.maps` for `images` of the task.

    `paths` names the ways from the first condition through others; what the run says of a map is the share of the `k`
    nearest neighbours in the first one that are among the `k` nearest in it.
    """
    conditions = list(dict.fromkeys(found["condition"]))
    maps = {c: rows[["x", "y"]].to_numpy() for c, rows in found.groupby("condition")}
    low, high = (found[["x", "y"]].agg(end).to_numpy() for end in ("min", "max"))
    scale = 94 / (high - low)[0]
    # 100 wide; y goes up on paper
    placed = {c: 3 + scale * (maps[c] - [low[0], high[1]]) * [1, -1] for c in conditions}
    first = found[found["condition"] == conditions[0]]
    shade = (255 * first.groupby("label")["y"].rank(pct=True)).astype(int)
    kept = [shared_neighbours(maps[conditions[0]], maps[c], k) for c in conditions]
    digits = Blob.of(
        {"pixels": ("u1", shades(images.x, top_of(task))), "labels": ("u1", images.y), "shade": ("u1", shade)}
    )
    blob = Blob.of({f"map {i}": ("fixed16", placed[c]) for i, c in enumerate(conditions)})
    text = f"Share of the {k} nearest neighbours in the first map that are among the {k} nearest in each map."
    ways = {name: [conditions.index(c) for c in path] for name, path in paths.items()}
    data = about(task, "morph", text, {"at": 0.0, "to": next(iter(paths)), "point": 0})
    data |= {"blobs": [digits.reference, blob.reference], "conditions": conditions, "paths": ways}
    data |= {"k": k, "kept": [round(share, 4) for share in kept]}
    table = pd.DataFrame({"neighbours kept": kept}, index=pd.Index(conditions, name="map")).round(2)
    form = forms.morph(task.classes, ways, len(images.y), k, 6 + scale * (high - low)[1])
    show("morph-map", data, form, [blob, digits], table)
