"""The study's own networks, pruned as its code did it and as its text says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import pandas as pd
import torch

from lowcap import pruning
from lowcap.chapters.replay.experiments import PERCENTAGES, SEEDS, Pairs, Split, each, pruned, reference
from lowcap.classes import name_of
from lowcap.evaluation import dead_units, f1_score
from lowcap.population import Population
from lowcap.values import STUDY_PAIRS

KINDS = {"as run": True, "true": False}


def published(
    levels: Iterable[float],
    *,
    seeds: Sequence[int] = SEEDS,
    pairs: Pairs = STUDY_PAIRS,
    widths: Sequence[int] = (24,),
    dataset: str = "auto",
) -> pd.DataFrame:
    """The study's own networks, replayed and pruned in both layers to each level in [0, 1].

    Returns:
        A row per network, level and kind: `pair, width, seed, level, kind, f1` on the study's held-out images, and
        `sparsity`, `connected`: see `pruning.measure`; `dead` counts hidden units that never fire. The kind is `as run`
        (the level divided by 100 once more, as in the study's code) or `true`.
    """
    levels = list(levels)

    def look(population: Population, data: Split) -> pd.DataFrame:
        frames = []
        for kind, as_run in KINDS.items():
            for level in levels:
                small = pruned(population, level, as_run=as_run)
                with torch.no_grad():
                    hidden = small.hidden(data.x_test)
                    f1 = f1_score(small.read_out(hidden) >= 0, data.y_test)  # as the study counts a half
                rows = small.members.join(pruning.measure(small)).assign(level=level, kind=kind, f1=f1.numpy())
                frames.append(rows.assign(dead=dead_units(small, hidden)))
        return pd.concat(frames).assign(pair=name_of(data.pair))

    return pd.concat(each(look, seeds=seeds, pairs=pairs, widths=widths, dataset=dataset), ignore_index=True)


def against_reference(rows: pd.DataFrame) -> tuple[int, int]:
    """How many scores of `published` can be compared with the study's original code, and how many agree to 1e-9."""
    names = {}  # of the reference's columns: the kind and the level that each holds
    for kind, percentage in product(KINDS, PERCENTAGES):
        names[f"f1_pruned_{kind.replace(' ', '_')}_{percentage}"] = (kind, percentage / 100)
    known = reference().melt(["pair", "width", "seed"], list(names), var_name="column", value_name="reference")
    known[["kind", "level"]] = pd.DataFrame(known["column"].map(names).tolist(), index=known.index)
    both = rows.merge(known, on=["pair", "width", "seed", "kind", "level"])
    return len(both), int(((both["f1"] - both["reference"]).abs() < 1e-9).sum())
