"""Structured pruning: exactly so many hidden units go, the right ones, and what is left is a really smaller network."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.nn.utils import prune as oracle
from toydata import toy_task

from lowcap.chapters.tracing.units import UNIT_SCORES, compact, prune_units, unit_scores
from lowcap.errors import UserError
from lowcap.evaluation import evaluate
from lowcap.population import Population
from lowcap.pruning import measure, prune, results
from lowcap.recipe import CONVERGED, Recipe
from lowcap.tasks import load_task
from lowcap.training import train

unhurried = settings(deadline=None, max_examples=40)
some_widths = st.lists(st.integers(1, 6), min_size=1, max_size=4)
outputs = st.sampled_from([1, 3])
fractions = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])
WIDTHS = (1, 2, 3, 6)
FEATURES = 12


def populate(widths: Any = WIDTHS, n_outputs: int = 1) -> Population:
    """A float64 population in which biases are not zero either."""
    population = Population(widths, range(len(widths)), n_features=FEATURES, n_outputs=n_outputs, init="he").double()
    generator = torch.Generator().manual_seed(1)
    for bias in (population.b_in, population.b_out):
        bias.data.normal_(generator=generator)
    return population


def images(n_outputs: int = 1) -> dict[str, Tensor]:
    task = toy_task(3 if n_outputs == 3 else 2)
    return {"x": task.x_train.double(), "y": task.y_train}


def units_left(population: Population) -> list[int]:
    """Units per member, of which not everything is masked."""
    kept = population.mask_in.any(0) | population.mask_out.any(1)
    return [int(kept[population.owner == i].sum()) for i in range(len(population))]


def loss(logits: Tensor, y: Tensor) -> Tensor:
    return (
        cross_entropy(logits, y) if logits.shape[1] > 1 else binary_cross_entropy_with_logits(logits[:, 0], y.double())
    )


@unhurried
@given(some_widths, outputs, fractions, st.sampled_from(UNIT_SCORES))
def test_exactly_the_requested_number_of_units_goes_with_all_its_weights(
    widths: list, n_outputs: int, sparsity: float, by: str
) -> None:
    population = populate(widths, n_outputs)
    pruned = prune_units(population, sparsity, by=by, **images(n_outputs))
    assert units_left(pruned) == [width - round(sparsity * width) for width in widths]
    assert torch.equal(pruned.mask_in.any(0), pruned.mask_in.all(0))
    assert torch.equal(pruned.mask_in.all(0), pruned.mask_out.all(1))
    assert torch.equal(pruned.w_in, population.w_in * pruned.mask_in)
    assert torch.equal(pruned.w_out, population.w_out * pruned.mask_out)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("again", UNIT_SCORES)
@pytest.mark.parametrize("by", UNIT_SCORES)
def test_pruning_again_counts_the_units_that_are_gone_and_brings_none_back(by: str, again: str, n_outputs: int) -> None:
    population, data = populate(n_outputs=n_outputs), images(n_outputs)
    once = prune_units(population, 0.5, by=by, seed=1, **data)
    twice = prune_units(once, 0.7, by=again, seed=2, **data)
    assert units_left(once) == [1, 1, 1, 3]
    assert units_left(twice) == [0, 1, 1, 2]
    assert not (twice.mask_in & ~once.mask_in).any()
    assert units_left(prune_units(once, 0.3, by=again, seed=2, **data)) == [1, 1, 1, 3]


@pytest.mark.parametrize("by", UNIT_SCORES)
def test_units_nest_over_levels_from_the_whole_network_to_nothing(by: str) -> None:
    population = populate()
    levels = [prune_units(population, s / 12, by=by, **images()) for s in range(13)]
    assert not any((more.mask_in & ~less.mask_in).any() for less, more in pairwise(levels))
    assert all(torch.equal(a, b) for a, b in zip(levels[0].parameters(), population.parameters(), strict=True))
    assert not levels[-1].w_in.any()
    assert not levels[-1].w_out.any()


def test_the_norm_is_that_of_the_weights_on_both_sides() -> None:
    population = Population([2, 1], [0, 0], n_features=2, n_outputs=3)
    population.w_in.data = torch.tensor([[3.0, 1.0, 0.0], [4.0, 0.0, 0.0]])
    population.w_out.data = torch.tensor([[2.0, 0, 0], [1.0, 2.0, 2.0], [9.0, 9.0, 9.0]])
    assert unit_scores(population, by="norm").tolist() == [10, 3, 0]
    assert prune_units(population, 0.5).w_in.tolist() == [[3, 0, 0], [4, 0, 0]]


def test_shifting_scale_from_one_side_of_a_unit_to_the_other_changes_no_norm() -> None:
    population, scale = populate(), torch.logspace(-2, 2, 12, dtype=torch.float64)
    before, answers = unit_scores(population, by="norm"), population(images()["x"])
    for weight, factor in ((population.w_in, scale), (population.b_in, scale), (population.w_out, 1 / scale[:, None])):
        weight.data.mul_(factor)
    torch.testing.assert_close(population(images()["x"]), answers)
    torch.testing.assert_close(unit_scores(population, by="norm"), before)


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.8, 1.0])
def test_with_outgoing_weights_of_equal_size_the_units_that_go_are_those_that_pytorch_takes(sparsity: float) -> None:
    population = populate()
    population.w_out.data.sign_()
    pruned = prune_units(population, sparsity)
    for i in range(len(population)):
        layer = population.to_module(i)[0]
        oracle.ln_structured(layer, "weight", amount=sparsity, n=2, dim=0)
        oracle.remove(layer, "weight")
        assert torch.equal(pruned.to_module(i)[0].weight, layer.weight)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_the_activation_of_a_unit_is_its_mean_in_the_module_alone(n_outputs: int) -> None:
    population, data = populate(n_outputs=n_outputs), images(n_outputs)
    scores = unit_scores(population, by="activation", **data)
    for i in range(len(population)):
        expected = population.to_module(i)[:2](data["x"]).mean(0).detach()
        torch.testing.assert_close(scores[population.owner == i], expected)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_the_ablation_of_a_unit_is_how_much_the_loss_rises_without_it(n_outputs: int) -> None:
    population, (x, y) = populate(n_outputs=n_outputs), images(n_outputs).values()
    scores = unit_scores(population, by="ablation", x=x, y=y)
    for i, width in enumerate(population.widths):
        rises = []
        for unit in range(width):
            module = population.to_module(i)
            whole = loss(module(x), y)
            module[2].weight.data[:, unit] = 0
            rises.append(loss(module(x), y) - whole)
        torch.testing.assert_close(scores[population.owner == i], torch.stack(rises).detach(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("by", UNIT_SCORES)
def test_a_member_loses_in_a_crowd_the_units_that_it_loses_alone(by: str, n_outputs: int) -> None:
    population, data = populate(n_outputs=n_outputs), images(n_outputs)
    crowd = prune_units(population, 0.5, by=by, seed=3, **data)
    for i in range(len(population)):
        alone = prune_units(population.select([i]), 0.5, by=by, seed=3, **data)
        assert torch.equal(crowd.select([i]).mask_in, alone.mask_in)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["w_in", "b_in", "w_out", "b_out"])
@pytest.mark.parametrize("by", UNIT_SCORES)
def test_a_member_that_has_diverged_loses_its_share_and_spoils_no_other(by: str, where: str, bad: float) -> None:
    healthy, sick = populate(), populate()
    tensor = getattr(sick, where).data
    (tensor.T if where == "w_in" else tensor)[2 if where == "b_out" else sick.owner == 2] = bad
    expected, pruned = (prune_units(p, 0.5, by=by, **images()) for p in (healthy, sick))
    assert units_left(pruned) == units_left(expected)
    assert torch.equal(pruned.select([0, 1, 3]).mask_in, expected.select([0, 1, 3]).mask_in)
    smaller = results(compact(pruned), **images()).drop(2)
    assert smaller.equals(results(compact(expected), **images()).drop(2))


@unhurried
@given(some_widths, outputs, fractions, st.sampled_from(UNIT_SCORES))
def test_a_compact_network_is_really_smaller_and_answers_alike(
    widths: list, n_outputs: int, sparsity: float, by: str
) -> None:
    data = images(n_outputs)
    masked = prune_units(populate(widths, n_outputs), sparsity, by=by, **data)
    smaller = compact(masked)
    torch.testing.assert_close(smaller(data["x"]), masked(data["x"]), rtol=0, atol=1e-12)
    assert smaller.widths == [max(1, width - round(sparsity * width)) for width in widths]
    assert smaller.w_in.shape == (FEATURES, sum(smaller.widths)) == smaller.mask_in.shape
    assert smaller.w_out.shape == (sum(smaller.widths), n_outputs) == smaller.mask_out.shape
    assert smaller.owner.tolist() == [i for i, width in enumerate(smaller.widths) for _ in range(width)]
    assert smaller.seeds == masked.seeds
    for i, left in enumerate(units_left(masked)):
        expected = sum(p.numel() for p in smaller.to_module(i).parameters())
        assert smaller.members.n_params[i] == (expected if left else 1 + n_outputs)  # a unit without weights
        torch.testing.assert_close(smaller.to_module(i)(data["x"]), masked.to_module(i)(data["x"]))


@unhurried
@given(some_widths, outputs, fractions, st.sampled_from(["layer", "first", "network"]))
def test_unstructured_masks_make_smaller_networks_where_they_cut_units_off(
    widths: list, n_outputs: int, sparsity: float, scope: str
) -> None:
    masked, x = prune(populate(widths, n_outputs), sparsity, scope=scope), images(n_outputs)["x"]
    before, smaller = [p.detach().clone() for p in masked.parameters()], compact(masked)
    torch.testing.assert_close(smaller(x), masked(x), rtol=0, atol=1e-12)
    assert smaller.widths == [max(1, n) for n in measure(masked).connected]
    assert not smaller.w_in[~smaller.mask_in].any()
    assert measure(smaller).connected.tolist() == measure(masked).connected.tolist()
    assert all(torch.equal(a, b) for a, b in zip(masked.parameters(), before, strict=True))


def test_cut_and_constant_units_go_as_by_hand() -> None:
    population = Population([4, 2], [0, 1], n_features=2)
    population.w_in.data = torch.tensor([[1.0, 0.0, 2.0, 0.0, 0.0, 3.0], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    population.b_in.data = torch.tensor([5.0, 2.0, -1.0, -7.0, 4.0, 1.0])
    population.w_out.data = torch.tensor([[0.0], [10.0], [3.0], [1.0], [0.5], [0.0]])
    population.b_out.data = torch.tensor([[1.0], [-1.0]])
    x = torch.tensor([[1.0, 1.0], [0.0, 4.0]])
    answers, smaller = population(x), compact(population)
    assert answers.tolist() == [[24, 1], [21, 1]]
    assert torch.equal(smaller(x), answers)
    assert (smaller.widths, smaller.owner.tolist()) == ([1, 1], [0, 1])
    assert smaller.b_out.tolist() == [[21], [1]]  # 1 + 10 * 2 + 1 * 0, and -1 + 0.5 * 4
    assert (smaller.w_in[:, 0].tolist(), smaller.w_out.flatten().tolist()) == ([2, 0], [3, 0])
    assert smaller.mask_in is None


def test_a_network_in_which_every_unit_does_something_stays_as_it_is() -> None:
    population = populate()
    same = compact(population)
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), population.parameters(), strict=True))
    assert (same.widths, same.members.to_dict()) == (population.widths, population.members.to_dict())
    assert compact(compact(prune_units(population, 0.5))).widths == compact(prune_units(population, 0.5)).widths


def test_a_network_without_any_unit_says_the_same_for_every_image() -> None:
    population = populate(n_outputs=3)
    nothing = compact(prune_units(population, 1))
    assert nothing.widths == [1] * 4
    assert torch.equal(nothing(images(3)["x"]), population.b_out.expand(96, 4, 3))


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(lr=0.1, momentum=0.9, weight_decay=0.01, batch_size=32, epochs=3),
        Recipe(optimizer="adamw", lr=0.02, weight_decay=0.1, batch_size=40, epochs=3),
    ],
    ids=["sgd", "adamw"],
)
def test_a_compact_network_trains_on_as_the_masked_one_does(recipe: Recipe, n_outputs: int) -> None:
    task = toy_task(3 if n_outputs == 3 else 2)
    masked = prune_units(prune(populate(n_outputs=n_outputs), 0.2, scope="first"), 0.5)
    smaller = compact(masked)
    train(masked, task, recipe)
    train(smaller, task, recipe)
    x = task.x_test.double()
    torch.testing.assert_close(smaller(x), masked(x), rtol=0, atol=1e-9)
    assert not smaller.w_in[~smaller.mask_in].any()


def test_a_compact_network_is_saved_and_selected_like_any_other(tmp_path: Path) -> None:
    smaller, x = compact(prune_units(prune(populate(n_outputs=3), 0.4), 0.5)), images(3)["x"]
    smaller.save(tmp_path / "smaller")
    loaded = Population.load(tmp_path / "smaller")
    assert (loaded.widths, loaded.members.to_dict()) == (smaller.widths, smaller.members.to_dict())
    assert torch.equal(loaded(x), smaller(x))
    assert torch.equal(loaded.mask_in, smaller.mask_in)
    torch.testing.assert_close(loaded.select([3, 1])(x), smaller(x)[:, [3, 1]])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"sparsity": 95}, "`sparsity` must be a fraction from 0 to 1; got 95; did you mean 0.95?"),
        ({"sparsity": -0.5}, "`sparsity` must be a fraction from 0 to 1; got -0.5"),
        ({"by": "magnitude"}, "`by` must be one of norm, activation, ablation, random; got 'magnitude'"),
        ({"by": "activation"}, "the score `activation` needs `x`"),
        ({"by": "ablation"}, "the score `ablation` needs `x`"),
        ({"by": "ablation", "x": torch.ones(1, 12)}, "the score `ablation` needs `y`"),
    ],
)
def test_bad_input_is_refused(how: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        prune_units(populate(), **({"sparsity": 0.5} | how))


def test_on_real_digits_half_of_the_units_go_with_less_harm_if_chosen_by_a_score_than_by_chance() -> None:
    task = load_task((4, 9), dataset="digits")
    population = train(Population.grid([8, 16], range(5), n_features=64), task, CONVERGED.but(epochs=60))
    data = {"x": task.x_train, "y": task.y_train}
    loss_by = {
        by: evaluate(compact(prune_units(population, 0.5, by=by, **data)), task.x_test, task.y_test).loss.median()
        for by in UNIT_SCORES
    }
    assert loss_by["random"] > 2 * max(loss_by[by] for by in ("norm", "activation", "ablation"))
