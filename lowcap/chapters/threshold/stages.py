"""Networks at the stages of pruning by a threshold: untrained, trained, pruned during training, pruned after it.

All networks here are modules with the layers `ffnn` and `head`, the small CNN of `lowcap.modules` or members of a
population, in a dict by the name of their stage and their seed. Two or more are worked on at a time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import pandas as pd
from torch import Tensor, nn

from lowcap.chapters.threshold.rules import Fixed, Ramp, common_tau, histogram, prune_below, prune_share, sweep
from lowcap.errors import UserError
from lowcap.modules import LAYERS, Rule, accuracy, fit, sparsities
from lowcap.parallel import in_threads
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.shard import AfterStep
from lowcap.tasks import Task

Networks = dict[tuple[str, int], nn.Sequential]  # by stage and seed
FINE_TUNE_ORDER = 1000  # what is added to the seed of the order of mini-batches when a network is trained on


def train_all(
    untrained: Mapping[int, nn.Sequential], task: Task, recipe: Recipe, rules: Mapping[str, Rule | None]
) -> tuple[Networks, pd.DataFrame]:
    """Train a copy of each network under each rule for `ffnn` and `head`; the rules' names become the stages.

    Args:
        untrained: networks by seed, which is also the seed of the order of their mini-batches.

    Returns:
        The trained networks, and the course of their sparsities as `fit` gives it, with `stage` and `seed`.
    """
    # The same first weights and the same batches under every rule, so that stages differ by the rule alone.
    networks = {(stage, seed): deepcopy(network) for stage in rules for seed, network in untrained.items()}
    courses = in_threads(
        partial(fit, network, task, recipe, rule=rules[stage], layers=LAYERS, order_seed=seed)
        for (stage, seed), network in networks.items()
    )
    rows = [course.assign(stage=stage, seed=seed) for (stage, seed), course in zip(networks, courses, strict=True)]
    return networks, pd.concat(rows, ignore_index=True)


def pick(networks: Networks, stages: Iterable[str]) -> Networks:
    """The networks of these stages, in that order."""
    return {key: net for stage in dict.fromkeys(stages) for key, net in networks.items() if key[0] == stage}


def at(networks: Networks, stage: str) -> dict[int, nn.Sequential]:
    """The networks of one stage by seed."""
    return {seed: net for (_, seed), net in pick(networks, [stage]).items()}


def pruned_below(networks: Mapping[int, nn.Sequential], stage: str, tau: float | Mapping[str, float]) -> Networks:
    """`rules.prune_below` of networks by seed, in `ffnn` and `head`; `stage` is what to call them."""
    return {(stage, seed): prune_below(net, tau, LAYERS) for seed, net in networks.items()}


def histograms(networks: Networks, edges: Sequence[float]) -> pd.DataFrame:
    """`rules.histogram` of `ffnn` and `head` of each network, with its `stage` and `seed`."""
    frames = []
    for (stage, seed), network in networks.items():
        frames.append(histogram(network, edges, LAYERS).assign(stage=stage, seed=seed))
    return pd.concat(frames, ignore_index=True)


def score(networks: Networks, x: Tensor, y: Tensor) -> pd.DataFrame:
    """A row per network: `stage, seed, accuracy` on `(N, D)` and the sparsities `ffnn` and `head`."""
    found = in_threads(partial(accuracy, network, x, y) for network in networks.values())
    rows = [
        {"stage": stage, "seed": seed, "accuracy": value, **sparsities(network, LAYERS)}
        for ((stage, seed), network), value in zip(networks.items(), found, strict=True)
    ]
    return pd.DataFrame(rows, columns=["stage", "seed", "accuracy", *LAYERS])


def fine_tuned(networks: Networks, task: Task, recipe: Recipe) -> Networks:
    """Copies trained on by the recipe; weights of `ffnn` and `head` that are zero stay zero."""
    tuned = {key: deepcopy(network) for key, network in networks.items()}  # `fit` trains in place
    in_threads(
        partial(fit, network, task, recipe, layers=LAYERS, frozen=True, order_seed=FINE_TUNE_ORDER + seed)
        for (_, seed), network in tuned.items()
    )
    return tuned


def matched(networks: Networks, dense: Mapping[int, nn.Sequential]) -> Networks:
    """For each network the dense one of its seed, pruned once, layer by layer, to exactly the network's sparsities."""
    return {key: prune_share(dense[key[1]], sparsities(network, LAYERS)) for key, network in networks.items()}


def during_and_after(
    networks: Networks, dense: Mapping[int, nn.Sequential], task: Task, recipe: Recipe
) -> pd.DataFrame:
    """Networks pruned during training against dense ones pruned after it, at the same sparsity of each layer.

    Returns:
        `score` on the test images, with `when` (during, after) and `tuned`: whether both were then trained on by
        `recipe` with their zeros kept.
    """
    frames = []
    for when, pruned in (("during", networks), ("after", matched(networks, dense))):
        for tuned in (False, True):
            shown = fine_tuned(pruned, task, recipe) if tuned else pruned
            frames.append(score(shown, task.x_test, task.y_test).assign(when=when, tuned=tuned))
    return pd.concat(frames, ignore_index=True)


def sweeps(dense: Mapping[int, nn.Sequential], taus: Sequence[float], x: Tensor, y: Tensor) -> pd.DataFrame:
    """`rules.sweep` of each network, with its `seed`."""
    frames = in_threads(partial(sweep, network, taus, x, y) for network in dense.values())
    return pd.concat([frame.assign(seed=seed) for seed, frame in zip(dense, frames, strict=True)], ignore_index=True)


def levels(dense: Mapping[int, nn.Sequential], shares: Iterable[float], x: Tensor, y: Tensor) -> pd.DataFrame:
    """`share, seed, accuracy`: each network without exactly that share of the weights of `ffnn` and `head` together."""
    shares, frames = list(shares), []
    for seed, network in dense.items():
        rows = sweep(network, [common_tau(network, share, LAYERS) for share in shares], x, y)
        rows = rows[rows["pruned"] == "both"].assign(share=shares, seed=seed)
        frames.append(rows[["share", "seed", "accuracy"]])
    return pd.concat(frames, ignore_index=True)


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """What `score` gives as a table to read, a row per stage: means over seeds in percent."""
    stages = scores.groupby("stage", sort=False)[["accuracy", *LAYERS]]
    mean, low, high = (100 * stages.agg(how) for how in ("mean", "min", "max"))
    spread = zip(mean["accuracy"], low["accuracy"], high["accuracy"], strict=True)
    accuracy_and_range = [f"{m:.1f} ({a:.1f}–{b:.1f})" for m, a, b in spread]
    table = pd.DataFrame({"accuracy, % (range)": accuracy_and_range}, index=mean.index)
    return table.assign(**{f"{layer} zero, %": mean[layer].map("{:.2f}".format) for layer in LAYERS})


def members(population: Population, stage: str, width: int) -> Networks:
    """The members of that width as modules with layers called `ffnn` and `head`."""
    found: Networks = {}
    for i, (own, seed) in enumerate(zip(population.widths, population.seeds, strict=True)):
        if own == width:
            parts = zip(("ffnn", "relu", "head"), population.to_module(i), strict=True)
            found[stage, seed] = nn.Sequential(OrderedDict(parts))
    return found


def in_population(rule: Any) -> AfterStep:
    """A rule in the form of `after_step` of `training.train`.

    Raises:
        UserError: the rule is a percentile. That is one of a layer of one network, and a step sees those of several.
    """
    if not isinstance(rule, Fixed | Ramp):
        raise UserError(f"`rule` must be Fixed or Ramp for a population, whose members share a step; got {rule!r}")

    def remove(progress: float, *weights: Tensor) -> None:
        for weight in weights:
            weight.mul_(rule.keep(progress, weight))

    return remove
