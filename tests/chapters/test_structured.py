"""A population without the hidden units that do nothing: really smaller, with the same outputs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toydata import toy_task

from lowcap.chapters.tracing.units import compact
from lowcap.population import Population
from lowcap.pruning import measure, prune, results
from lowcap.recipe import Recipe
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


def without_units(population: Population, share: float, seed: int = 0) -> Population:
    """A copy in which this share of each member's units, drawn by the seed, is masked."""
    generator, keep = torch.Generator().manual_seed(seed), torch.ones(len(population.owner), dtype=torch.bool)
    for i, width in enumerate(population.widths):
        units = torch.where(population.owner == i)[0]
        keep[units[torch.randperm(width, generator=generator)[: round(share * width)]]] = False
    return population.masked(keep.expand_as(population.w_in), keep[:, None].expand_as(population.w_out))


def units_left(population: Population) -> list[int]:
    """Units per member, of which not everything is masked."""
    kept = population.mask_in.any(0) | population.mask_out.any(1)
    return [int(kept[population.owner == i].sum()) for i in range(len(population))]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["w_in", "b_in", "w_out", "b_out"])
def test_a_member_that_has_diverged_spoils_no_other(where: str, bad: float) -> None:
    healthy, sick = populate(), populate()
    tensor = getattr(sick, where).data
    (tensor.T if where == "w_in" else tensor)[2 if where == "b_out" else sick.owner == 2] = bad
    expected, found = (compact(without_units(p, 0.5)) for p in (healthy, sick))
    kept = [0, 1, 3]
    assert [found.widths[i] for i in kept] == [expected.widths[i] for i in kept]
    assert results(found, **images()).drop(2).equals(results(expected, **images()).drop(2))


@unhurried
@given(some_widths, outputs, fractions, st.integers(0, 99))
def test_a_compact_network_is_really_smaller_and_answers_alike(
    widths: list, n_outputs: int, sparsity: float, seed: int
) -> None:
    data = images(n_outputs)
    masked = without_units(populate(widths, n_outputs), sparsity, seed)
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
    assert compact(compact(without_units(population, 0.5))).widths == compact(without_units(population, 0.5)).widths


def test_a_network_without_any_unit_says_the_same_for_every_image() -> None:
    population = populate(n_outputs=3)
    nothing = compact(without_units(population, 1))
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
    masked = without_units(prune(populate(n_outputs=n_outputs), 0.2, scope="first"), 0.5)
    smaller = compact(masked)
    train(masked, task, recipe)
    train(smaller, task, recipe)
    x = task.x_test.double()
    torch.testing.assert_close(smaller(x), masked(x), rtol=0, atol=1e-9)
    assert not smaller.w_in[~smaller.mask_in].any()


def test_a_compact_network_is_saved_and_selected_like_any_other(tmp_path: Path) -> None:
    smaller, x = compact(without_units(prune(populate(n_outputs=3), 0.4), 0.5)), images(3)["x"]
    smaller.save(tmp_path / "smaller")
    loaded = Population.load(tmp_path / "smaller")
    assert (loaded.widths, loaded.members.to_dict()) == (smaller.widths, smaller.members.to_dict())
    assert torch.equal(loaded(x), smaller(x))
    assert torch.equal(loaded.mask_in, smaller.mask_in)
    torch.testing.assert_close(loaded.select([3, 1])(x), smaller(x)[:, [3, 1]])
