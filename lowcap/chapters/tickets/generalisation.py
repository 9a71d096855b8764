"""Do pruned networks generalise better? Tickets on training sets of any size, with clean and with wrong labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import pandas as pd

from lowcap.chapters.tickets import procedure
from lowcap.chapters.tickets.populations import Populations, scores
from lowcap.evaluation import evaluate
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import Task
from lowcap.training import start


def noisy_accuracy(accuracy: Any, share: float, n_classes: int) -> Any:
    """The accuracy to expect if a `share` of the labels were wrong; only a network's own mistakes ever match those."""
    return (1 - share) * accuracy + share * (1 - accuracy) / (n_classes - 1)


class Setting(NamedTuple):
    """A kind of training set: the task of each draw of its images and wrong labels, and the share of wrong ones."""

    task: Callable[[int], Task]
    noise: float = 0.0


def generalisation(
    settings: Mapping[str, Setting],
    width: int,
    seeds: Sequence[int],
    recipe: Recipe,
    rounds: Sequence[int],
    *,
    draws: int = 1,
) -> pd.DataFrame:
    """Dense networks, tickets and their masks shuffled, in settings of different size and label noise.

    Args:
        seeds: of the first draw; the others have as many of their own.
        rounds: after which the tickets are scored; between two of them is one cut, with rewinding.

    Returns:
        `populations.scores` by `setting`, `method`, `draw` and `round`; `error` on the test labels as they are, and
        `gap`: `train_accuracy` minus the accuracy to be expected on test labels as noisy as the training labels.
    """
    frames = []
    for name, draw in product(settings, range(draws)):
        task = settings[name].task(draw)
        own = [seed + draw * len(seeds) for seed in seeds]  # no network twice
        first = start(task, [width], own, recipe)
        rows = _one(first, task, recipe.stretched(task), sorted(rounds)).assign(setting=name, draw=draw)
        expected = noisy_accuracy(rows["accuracy"], settings[name].noise, len(task.classes))
        frames.append(rows.assign(gap=rows["train_accuracy"] - expected, error=1 - rows["accuracy"]))
    return pd.concat(frames, ignore_index=True)


def _one(first: Population, task: Task, recipe: Recipe, rounds: Sequence[int]) -> pd.DataFrame:
    """Scores of tickets and of shuffled masks on one task, with the accuracy on the training images."""
    kind = Populations(first, task, recipe)
    tickets = procedure.find(kind, rounds)
    shuffled = {k: kind.train(procedure.control(kind, "shuffled mask", tickets, k)) for k in rounds}
    frames = []
    for method, ones in {"ticket": tickets, "shuffled mask": {0: tickets[0], **shuffled}}.items():
        learnt = [evaluate(one, task.x_train, task.y_train)["accuracy"] for one in ones.values()]
        rows = scores(ones, task).assign(method=method, train_accuracy=pd.concat(learnt, ignore_index=True))
        frames.append(rows)
    return pd.concat(frames, ignore_index=True)
