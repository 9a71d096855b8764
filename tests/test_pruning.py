"""Pruning: exactly the requested number of weights goes, of each member as if it were alone, and none comes back."""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.nn.utils import prune as oracle
from toydata import toy_task

from lowcap import pruning
from lowcap.errors import UserError
from lowcap.evaluation import evaluate
from lowcap.population import Population
from lowcap.pruning import SCOPES, gradual, iterative, measure, one_shot, prune, rank, results
from lowcap.pruning_scores import SCORES
from lowcap.recipe import CONVERGED, Recipe
from lowcap.tasks import Task, load_task
from lowcap.training import train

unhurried = settings(deadline=None, max_examples=40)
some_widths = st.lists(st.integers(1, 6), min_size=1, max_size=4)
outputs = st.sampled_from([1, 3])
fractions = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])
SPARSITIES = (0.0, 0.1, 0.5, 0.83, 1.0)
FEATURES = 12
RECIPE = Recipe(lr=0.1, momentum=0.9, batch_size=32, epochs=5)


def populate(widths: Any = (1, 2, 3, 5), n_outputs: int = 1) -> Population:
    """A float64 population in which biases are not zero either."""
    population = Population(widths, range(len(widths)), n_features=FEATURES, n_outputs=n_outputs, init="he").double()
    generator = torch.Generator().manual_seed(1)
    for bias in (population.b_in, population.b_out):
        bias.data.normal_(generator=generator)
    return population


def coarse(population: Population) -> Population:
    """The same with weights rounded to halves: many are equal, many are zero."""
    for weight in (population.w_in, population.w_out):
        weight.data.mul_(4).round_().div_(2)
    return population


def images(n_outputs: int = 1) -> dict[str, Tensor]:
    task = toy_task(3 if n_outputs == 3 else 2)
    return {"x": task.x_train.double(), "y": task.y_train}


def masks(population: Population, member: int) -> list[Tensor]:
    """A member's masks, flat."""
    one = population.select([member])
    pairs = ((one.mask_in, one.w_in), (one.mask_out, one.w_out))
    return [(torch.ones_like(w, dtype=torch.bool) if mask is None else mask).flatten() for mask, w in pairs]


def gone(population: Population, member: int) -> list[int]:
    return [int((~mask).sum()) for mask in masks(population, member)]


def requested(width: int, n_outputs: int, sparsity: float, scope: str) -> int:
    """How many weights of a member should go."""
    sizes = [width * FEATURES, width * n_outputs]
    if scope == "network":
        return round(sparsity * sum(sizes))
    return sum(round(sparsity * size) for size in sizes[: 1 if scope == "first" else 2])


def plain_scores(module: nn.Sequential, by: str, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Scores `(D, width)` and `(width, K)` of one ordinary module, straight from their definitions."""
    first, last = module[0].weight, module[2].weight
    if by == "activation":
        rms, rms_hidden = x.pow(2).mean(0).sqrt(), module[:2](x).pow(2).mean(0).sqrt()
        pair = (first * rms).abs(), (last * rms_hidden).abs()
    elif by == "gradient":
        logits = module(x)
        loss = cross_entropy(logits, y) if logits.shape[1] > 1 else binary_cross_entropy_with_logits(logits[:, 0], y)
        loss.backward()
        pair = (first * first.grad).abs(), (last * last.grad).abs()
    else:
        pair = first.abs(), last.abs()
    return pair[0].detach().T, pair[1].detach().T


def plain_masks(scores: tuple[Tensor, Tensor], sparsity: float, scope: str) -> list[list[bool]]:
    """Sort by score, then by place, and let the first ones go."""
    parts = [score.flatten().tolist() for score in scores]
    sizes = [len(part) for part in parts]
    groups = [parts[0] + parts[1]] if scope == "network" else parts
    shares = [sparsity, 0.0 if scope == "first" else sparsity]
    kept: list[bool] = []
    for group, share in zip(groups, shares, strict=False):
        order = sorted(range(len(group)), key=lambda i: (group[i], i))
        out = set(order[: round(share * len(group))])
        kept += [i not in out for i in range(len(group))]
    return [kept[: sizes[0]], kept[sizes[0] :]]


def toy(w_in: list, w_out: list) -> Population:
    population = Population([len(w_out)], [0], n_features=len(w_in))
    population.w_in.data, population.w_out.data = torch.tensor(w_in).float(), torch.tensor(w_out).float()
    return population


@pytest.mark.parametrize(
    ("how", "sparsity", "w_in", "w_out"),
    [
        ({}, 0.5, [[0, -4], [3, 0]], [[5], [0]]),
        ({"scope": "first"}, 0.25, [[0, -4], [3, 2]], [[5], [-1]]),
        ({"scope": "network"}, 1 / 6, [[0, -4], [3, 2]], [[5], [-1]]),  # 1 and -1 are a tie
        ({"scope": "network"}, 2 / 6, [[0, -4], [3, 2]], [[5], [0]]),
        ({"scope": "network"}, 5 / 6, [[0, 0], [0, 0]], [[5], [0]]),
        ({"scope": "first"}, 0.75, [[0, -4], [0, 0]], [[5], [-1]]),
        ({"scope": "first", "by": "activation"}, 0.75, [[0, 0], [3, 0]], [[5], [-1]]),  # 1, 4, 3 sqrt 2, 2 sqrt 2
        ({"scope": "first", "live": [False, True]}, 0.5, [[0, 0], [3, 0]], [[5], [-1]]),
        ({"scope": "network", "live": [False, True]}, 0.25, [[0, 0], [3, 2]], [[5], [0]]),
    ],
)
def test_a_network_small_enough_to_check_by_hand(how: dict, sparsity: float, w_in: list, w_out: list) -> None:
    population = toy([[1, -4], [3, 2]], [[5], [-1]])
    how = how | ({"live": torch.tensor(how["live"])} if "live" in how else {})
    how |= {"x": torch.tensor([[1.0, 0.0], [1.0, 2.0]])} if "by" in how else {}
    pruned = prune(population, sparsity, **how)
    assert (pruned.w_in.tolist(), pruned.w_out.tolist()) == (w_in, w_out)
    assert population.w_in.tolist() == [[1, -4], [3, 2]]
    assert population.mask_in is None


@pytest.mark.parametrize(("sparsity", "left"), [(0, 2), (0.2, 2), (0.3, 1), (0.5, 1), (0.7, 1), (0.8, 0), (1, 0)])
@pytest.mark.parametrize("weight", [[[3.0], [1.0]], [[1.0], [1.0]], [[0.0], [0.0]]])
def test_two_weights_are_pruned_exactly(sparsity: float, left: int, weight: list) -> None:
    pruned = prune(toy([[1.0, 1.0]], weight), sparsity)
    assert pruned.mask_out.sum() == left
    if left == 1:
        assert pruned.mask_out.tolist() == [[weight[0] > weight[1]], [weight[0] <= weight[1]]]


@unhurried
@given(some_widths, outputs, fractions, st.sampled_from(SCOPES), st.sampled_from(tuple(SCORES)), st.booleans())
def test_exactly_the_requested_number_of_weights_goes_whatever_the_ties(
    widths: list, n_outputs: int, sparsity: float, scope: str, by: str, ties: bool
) -> None:
    population = coarse(populate(widths, n_outputs)) if ties else populate(widths, n_outputs)
    pruned = prune(population, sparsity, scope=scope, by=by, **images(n_outputs))
    for i, width in enumerate(widths):
        assert sum(gone(pruned, i)) == requested(width, n_outputs, sparsity, scope)
    assert torch.equal(pruned.w_in, population.w_in * pruned.mask_in)
    assert torch.equal(pruned.w_out, population.w_out * pruned.mask_out)
    assert torch.equal(pruned.b_in, population.b_in)


@unhurried
@given(
    some_widths, outputs, st.lists(fractions, min_size=2, max_size=2), st.sampled_from(SCOPES), st.sampled_from(SCOPES)
)
def test_pruning_again_counts_what_is_gone_and_brings_nothing_back(
    widths: list, n_outputs: int, sparsities: list, scope: str, again: str
) -> None:
    population = coarse(populate(widths, n_outputs))
    once = prune(population, sparsities[0], by="random", scope=scope)
    twice = prune(once, sparsities[1], scope=again)
    assert not (twice.mask_in & ~once.mask_in).any()
    assert not (twice.mask_out & ~once.mask_out).any()
    for i, width in enumerate(widths):
        before, after = gone(once, i), gone(twice, i)
        if again == "network":
            assert sum(after) == max(sum(before), requested(width, n_outputs, sparsities[1], again))
        else:
            assert after[0] == max(before[0], round(sparsities[1] * width * FEATURES))
            assert after[1] == (
                before[1] if again == "first" else max(before[1], round(sparsities[1] * width * n_outputs))
            )


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("by", SCORES)
def test_masks_nest_over_levels_from_the_whole_network_to_nothing(by: str, scope: str) -> None:
    ranking = rank(coarse(populate()), by=by, scope=scope, **images())
    levels = [ranking.prune(s) for s in np.linspace(0, 1, 21)]
    for less, more in pairwise(levels):
        assert not (more.mask_in & ~less.mask_in).any()
        assert not (more.mask_out & ~less.mask_out).any()
    assert levels[0].mask_in.all()
    assert levels[0].mask_out.all()
    assert not levels[-1].w_in.any()
    assert levels[-1].w_out.any() == (scope == "first")


@pytest.mark.parametrize("scope", SCOPES)
def test_pruning_nothing_changes_no_bit(scope: str) -> None:
    population = populate(n_outputs=3)
    same = prune(population, 0, scope=scope)
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), population.parameters(), strict=True))
    assert same.members.equals(population.members)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("scope", SCOPES)
def test_what_is_left_of_each_member_is_what_pytorch_leaves_of_it(scope: str, sparsity: float, n_outputs: int) -> None:
    population = populate(n_outputs=n_outputs)
    pruned, x = prune(population, sparsity, scope=scope), images(n_outputs)["x"]
    for i in range(len(population)):
        module = population.to_module(i)
        layers = [(module[0], "weight"), (module[2], "weight")][: 1 if scope == "first" else 2]
        if scope == "network":
            oracle.global_unstructured(layers, oracle.L1Unstructured, amount=float(sparsity))
        for layer, name in layers:
            if scope != "network":
                oracle.l1_unstructured(layer, name, amount=float(sparsity))
            oracle.remove(layer, name)
        assert torch.equal(pruned.to_module(i)[0].weight, module[0].weight)
        assert torch.equal(pruned.to_module(i)[2].weight, module[2].weight)
        torch.testing.assert_close(pruned(x).view(len(x), 4, -1)[:, i], module(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("by", ["magnitude", "activation", "gradient"])
def test_scores_are_those_that_their_definitions_give_for_the_module_alone(by: str, n_outputs: int) -> None:
    population, data = populate(n_outputs=n_outputs), images(n_outputs)
    scores = SCORES[by](population, data["x"], data["y"], 0)
    for i in range(len(population)):
        plain, units = plain_scores(population.to_module(i), by, **data), population.owner == i
        torch.testing.assert_close(scores[0][:, units].detach(), plain[0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(scores[1][units].detach(), plain[1], rtol=1e-9, atol=1e-12)
        for scope in SCOPES:
            pruned = prune(population, 0.6, by=by, scope=scope, **data)
            assert [mask.tolist() for mask in masks(pruned, i)] == plain_masks(plain, 0.6, scope)


@pytest.mark.parametrize("scope", SCOPES)
def test_of_equal_weights_the_first_goes_first(scope: str) -> None:
    population = coarse(populate())
    pruned = prune(population, 0.4, scope=scope)
    for i in range(len(population)):
        scores = population.select([i]).w_in.abs(), population.select([i]).w_out.abs()
        assert [mask.tolist() for mask in masks(pruned, i)] == plain_masks(scores, 0.4, scope)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("by", SCORES)
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_a_member_is_pruned_in_a_crowd_as_if_alone(by: str, scope: str, n_outputs: int) -> None:
    population = prune(populate(n_outputs=n_outputs), 0.2, by="random", seed=8)
    how: dict[str, Any] = {"by": by, "scope": scope, "live": toy_task().live, "seed": 3, **images(n_outputs)}
    crowd = prune(population, 0.55, **how).select([3, 1, 0, 2])
    for place, i in enumerate([3, 1, 0, 2]):
        alone = prune(population.select([i]), 0.55, **how)
        assert all(torch.equal(a, b) for a, b in zip(masks(crowd, place), masks(alone, 0), strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["w_in", "b_in", "w_out", "b_out"])
@pytest.mark.parametrize("by", SCORES)
def test_a_member_that_has_diverged_is_pruned_to_size_and_spoils_no_other(by: str, where: str, bad: float) -> None:
    healthy, sick, healthy_ones = populate(), populate(), [0, 1, 3]
    tensor = getattr(sick, where).data
    (tensor.T if where == "w_in" else tensor)[2 if where == "b_out" else sick.owner == 2] = bad
    expected, pruned = (prune(p, 0.5, by=by, **images()) for p in (healthy, sick))
    for i in healthy_ones:
        assert all(torch.equal(a, b) for a, b in zip(masks(pruned, i), masks(expected, i), strict=True))
    assert gone(pruned, 2) == [18, 2]  # of 36 and 3: 1.5 is rounded to 2
    rows = results(pruned, **images()).drop(2)
    assert rows.equals(results(expected, **images()).drop(2))


def test_random_pruning_is_drawn_by_the_seed_and_the_member_alone_and_fair_to_all_weights() -> None:
    population = populate((2, 2, 2))
    population.seeds = [5, 5, 6]
    one, other = (prune(population, 0.5, by="random", seed=s) for s in (0, 1))
    assert torch.equal(masks(one, 0)[0], masks(one, 1)[0])
    assert not torch.equal(masks(one, 0)[0], masks(one, 2)[0])
    assert not torch.equal(one.mask_in, other.mask_in)
    assert torch.equal(one.mask_in, prune(population, 0.5, by="random", seed=0).mask_in)
    alone = population.select([0])
    kept = torch.stack([prune(alone, 0.25, by="random", seed=s).mask_in for s in range(400)]).double().mean(0)
    assert (kept - 0.75).abs().max() < 4.5 * (0.75 * 0.25 / 400) ** 0.5


@unhurried
@given(some_widths, fractions, st.sampled_from(SCOPES), st.sampled_from(tuple(SCORES)))
def test_a_sparsity_of_live_weights_takes_all_dead_ones_and_that_share_of_the_others(
    widths: list, sparsity: float, scope: str, by: str
) -> None:
    population, live = populate(widths, 3), toy_task(3).live
    pruned = prune(population, sparsity, scope=scope, by=by, live=live, **images(3))
    assert not pruned.w_in[~live].any()
    n_live, table = int(live.sum()), measure(pruned, live)
    for i, width in enumerate(widths):
        sizes = [width * n_live, width * 3]
        if scope == "network":
            left = sum(sizes) - round(sparsity * sum(sizes))
        else:
            left = sizes[0] - round(sparsity * sizes[0])
            left += sizes[1] - (0 if scope == "first" else round(sparsity * sizes[1]))
        assert table.kept[i] == left
        assert table.sparsity_live[i] == pytest.approx(1 - left / sum(sizes))
        assert table.sparsity[i] == pytest.approx(1 - left / (width * (FEATURES + 3)))


def test_what_is_left_is_counted_as_by_hand() -> None:
    pruned = prune(toy([[1, -4], [3, 2]], [[5], [-1]]), 0.5)  # leaves -4, 3 and 5
    assert measure(pruned, torch.tensor([False, True])).to_dict("records") == [
        {
            "sparsity": 0.5,
            "sparsity_in": 0.5,
            "sparsity_out": 0.5,
            "sparsity_live": 0.5,
            "kept": 3,
            "connected": 1,
        }
    ]
    uneven = toy([[1, 0], [3, 0]], [[5], [-1]])  # zeros that nobody masked; the second unit is cut off from the images
    row = measure(uneven).iloc[0]
    assert row.tolist() == pytest.approx([2 / 6, 0.5, 0, 2 / 6, 4, 1])


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_one_shot_results_are_those_of_each_pruned_population_with_its_measured_size(n_outputs: int) -> None:
    population, data = populate(n_outputs=n_outputs), images(n_outputs)
    table = one_shot(population, SPARSITIES, **data, ranking=rank(population, scope="network"))
    assert table.level.tolist() == [s for s in SPARSITIES for _ in range(4)]
    for level, rows in table.groupby("level"):
        pruned = prune(population, level, scope="network")
        expected = evaluate(pruned, **data).join(measure(pruned))
        assert rows.drop(columns="level").reset_index(drop=True).equals(expected)
    sizes = np.array([w * (FEATURES + n_outputs) for w in population.widths] * len(SPARSITIES))
    kept = [n - round(s * n) for n, s in zip(sizes.tolist(), table.level, strict=True)]
    assert table.kept.tolist() == kept
    assert table.sparsity.tolist() == pytest.approx(1 - np.array(kept) / sizes)
    assert (table.n_params - table.kept).tolist() == [w + n_outputs for w in population.widths] * len(SPARSITIES)


def test_one_shot_prunes_by_magnitude_and_layer_unless_told_otherwise() -> None:
    population = populate()
    assert one_shot(population, [0.5], **images()).equals(
        one_shot(population, [0.5], **images(), ranking=rank(population, by="magnitude", scope="layer"))
    )


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        RECIPE.but(weight_decay=0.1),
        RECIPE.but(optimizer="adam", momentum=0.0, lr=0.02),
        RECIPE.but(optimizer="adamw", momentum=0.0, lr=0.02, weight_decay=0.1),
    ],
    ids=["sgd", "decay", "adam", "adamw"],
)
def test_pruned_weights_stay_exactly_zero_through_fine_tuning(recipe: Recipe, scope: str) -> None:
    task, seen = toy_task(), []
    population = train(populate(), task, recipe.but(epochs=2))
    pruned = prune(population, 0.6, scope=scope)
    before, start = measure(pruned), pruned.w_in.detach().clone()
    train(pruned, task, recipe, on_epoch=lambda _, now: seen.append(measure(now)))
    assert len(seen) == recipe.epochs + 1
    assert all(table.equals(before) for table in seen)
    assert not torch.equal(pruned.w_in, start)


@pytest.mark.parametrize("until", [0, 0.5, 0.75, 1])
@pytest.mark.parametrize("scope", SCOPES)
def test_gradual_pruning_follows_its_curve_to_exactly_the_final_sparsity(
    scope: str, until: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, levels, removed = RECIPE.but(epochs=8), [], []

    def watched(now: Population, sparsity: float, **how: Any) -> Population:
        pruned = prune(now, sparsity, **how)
        levels.append(sparsity)
        removed.append([sum(gone(pruned, i)) for i in range(4)])
        return pruned

    monkeypatch.setattr(pruning, "prune", watched)
    population = populate()
    assert gradual(population, toy_task(), recipe, 0.9, until=until, scope=scope) is population
    last = max(1, round(until * 8))
    assert levels == pytest.approx([0.9 + (0 - 0.9) * (1 - t / last) ** 3 for t in range(last + 1)])  # eq. 1 there
    assert (np.diff(removed, axis=0) >= 0).all()
    assert removed[-1] == [requested(w, 1, 0.9, scope) for w in population.widths]
    assert removed[-1] == [sum(gone(population, i)) for i in range(4)]
    assert not population.w_in[~population.mask_in].any()
    assert not population.w_out[~population.mask_out].any()


def test_gradual_pruning_to_nothing_is_plain_training() -> None:
    pruned = gradual(populate(), toy_task(), RECIPE, 0.0)
    plain = train(populate(), toy_task(), RECIPE)
    assert all(torch.equal(a, b) for a, b in zip(pruned.parameters(), plain.parameters(), strict=True))


def copy(population: Population) -> Population:
    return population.select(range(len(population)))


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[Population]:
    """The populations that are handed to `train`, as they are then."""
    found: list[Population] = []

    def watched(population: Population, *args: Any, **kwargs: Any) -> Population:
        found.append(copy(population))
        return train(population, *args, **kwargs)

    monkeypatch.setattr(pruning, "train", watched)
    return found


@pytest.mark.parametrize("rewind_to", [0, 2])
def test_each_level_starts_from_its_mask_times_the_early_weights(rewind_to: int, starts: list[Population]) -> None:
    population, task, levels = populate(n_outputs=3), toy_task(3), (0.3, 0.5, 0.9)
    before = copy(population)
    found = [
        (level, copy(trained))
        for level, trained in iterative(population, task, RECIPE, levels, rewind_to=rewind_to, scope="network")
    ]
    early = train(copy(before), task, RECIPE.but(epochs=rewind_to))
    assert [level for level, _ in found] == [0.0, *levels]
    assert len(starts) == 2 + len(levels)
    assert torch.equal(starts[1].w_in, early.w_in)
    for start, (level, trained), (_, previous) in zip(starts[2:], found[1:], found, strict=False):
        ticket = prune(previous, level, scope="network")
        assert torch.equal(trained.mask_in, ticket.mask_in)
        assert torch.equal(start.w_in, early.w_in * ticket.mask_in)
        assert torch.equal(start.w_out, early.w_out * ticket.mask_out)
        assert torch.equal(start.b_in, early.b_in)
        assert [sum(gone(trained, i)) for i in range(4)] == [requested(w, 3, level, "network") for w in trained.widths]
        assert not trained.w_in[~trained.mask_in].any()
        if previous.mask_in is not None:
            assert not (trained.mask_in & ~previous.mask_in).any()
    assert all(torch.equal(a, b) for a, b in zip(population.parameters(), before.parameters(), strict=True))
    assert population.mask_in is None


def test_the_dense_network_of_iterative_pruning_is_the_plainly_trained_one() -> None:
    population, task = populate(), toy_task()
    ((level, dense),) = iterative(population, task, RECIPE, [], order_seed=4)
    plain = train(copy(population), task, RECIPE, order_seed=4)
    assert level == 0
    assert all(torch.equal(a, b) for a, b in zip(dense.parameters(), plain.parameters(), strict=True))


def test_iterative_pruning_keeps_the_masks_that_it_is_given() -> None:
    population = prune(populate(), 0.4, by="random")
    for level, trained in iterative(population, toy_task(), RECIPE, [0.2, 0.6]):
        assert not trained.w_in[~population.mask_in].any()
        assert gone(trained, 3) == ([36, 3] if level == 0.6 else [24, 2])


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (95, "; did you mean 0.95?"),
        (2, "; did you mean 0.02?"),
        (1.5, ""),
        (100, "; did you mean 1?"),
        (101, ""),
        (-0.1, ""),
        (float("nan"), ""),
        (float("inf"), ""),
        ("0.5", ""),
        (None, ""),
        (True, ""),
    ],
    ids=repr,
)
def test_a_sparsity_that_is_no_fraction_is_refused_with_the_likely_one(wrong: Any, hint: str) -> None:
    population, task = populate(), toy_task()
    attempts: dict[str, list[Callable[[], Any]]] = {
        "sparsity": [
            lambda: prune(population, wrong),
            lambda: one_shot(population, [0.5, wrong], **images()),
            lambda: gradual(population, task, RECIPE, wrong),
        ],
        "until": [lambda: gradual(population, task, RECIPE, 0.5, until=wrong)],
        "sparsities": [lambda: next(iterative(population, task, RECIPE, [0.5, wrong]))],
    }
    for name, calls in attempts.items():
        for call in calls:
            with pytest.raises(
                UserError, match=f"^`{name}` must be a fraction from 0 to 1; got {re.escape(repr(wrong) + hint)}$"
            ):
                call()
    assert all(torch.equal(a, b) for a, b in zip(population.parameters(), populate().parameters(), strict=True))


@pytest.mark.parametrize("right", [0, 1, 0.5, np.float32(0.5), np.int64(1), np.float64(0)])
def test_a_fraction_may_be_any_kind_of_number(right: Any) -> None:
    assert pruning.fraction("sparsity", right) == float(right)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"by": "l1"}, "`by` must be one of magnitude, random, activation, gradient, grasp, synflow; got 'l1'"),
        ({"by": None}, "`by` must be one of magnitude, random, activation, gradient, grasp, synflow; got None"),
        ({"scope": "global"}, "`scope` must be one of layer, first, network; got 'global'"),
        ({"by": "activation"}, "the score `activation` needs `x`"),
        ({"by": "gradient"}, "the score `gradient` needs `x`"),
        ({"by": "gradient", "x": torch.ones(1, 12)}, "the score `gradient` needs `y`"),
        ({"live": torch.ones(11).bool()}, "`live` must be bool of shape (12,); got torch.bool, (11,)"),
        ({"live": torch.ones(12)}, "`live` must be bool of shape (12,); got torch.float32, (12,)"),
    ],
)
def test_an_unknown_score_or_scope_or_one_without_its_images_is_refused(how: dict, message: str) -> None:
    attempts: list[Callable[[], Any]] = [
        lambda: prune(populate(), 0.5, **how),
        lambda: gradual(populate(), toy_task(), RECIPE, 0.5, **how),
        lambda: list(iterative(populate(), toy_task(), RECIPE.but(epochs=1), [0.5], **how)),
    ]
    for call in attempts:
        with pytest.raises(UserError, match=re.escape(message)):
            call()


@pytest.mark.parametrize("wrong", [-1, 5, 0.5, "0", None])
def test_rewinding_to_an_epoch_that_is_not_there_is_refused(wrong: Any) -> None:
    message = f"`rewind_to` must be a whole number from 0 to 4, an epoch before the last; got {re.escape(repr(wrong))}"
    with pytest.raises(UserError, match=message):
        next(iterative(populate(), toy_task(), RECIPE, [0.5], rewind_to=wrong))


def accuracy(population: Population, task: Task) -> float:
    return float(results(population, task.x_test, task.y_test).accuracy.mean())


def test_on_real_digits_small_weights_go_with_less_harm_than_random_ones() -> None:
    task = load_task((4, 9), dataset="digits")
    recipe = CONVERGED.but(epochs=60)
    start = Population.grid([4, 8], range(5), n_features=64)
    *_, (level, ticket) = iterative(start, task, recipe, [0.5, 0.8, 0.95], scope="network", live=task.live)
    random = train(prune(start, 0.95, by="random", scope="network", live=task.live), task, recipe)
    assert level == 0.95
    assert measure(ticket).kept.tolist() == measure(random).kept.tolist()
    assert accuracy(ticket, task) > accuracy(random, task) + 0.05
