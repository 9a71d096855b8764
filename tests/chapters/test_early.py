"""Masks without full training: a share of the steps, one sparsity, distances by hand."""

import numpy as np
import pytest
import torch
from toydata import toy_task

from lowcap import pruning
from lowcap.chapters.tickets import early, procedure
from lowcap.chapters.tickets import populations as tickets
from lowcap.errors import UserError
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.training import train

RECIPE = Recipe(init="he", lr=0.1, momentum=0.9, batch_size=16, epochs=4)
TASK = tickets.only_live(toy_task(n=96))


def start() -> Population:
    return tickets.start(TASK, [4, 6], [0, 1], RECIPE)


def equal(a: Population, b: Population) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize(
    ("share", "steps", "images"), [(0, 0, 0), (0.1, 2, 32), (0.25, 6, 96), (0.6, 12, 192), (1, 24, 384)]
)
def test_a_share_of_the_training_is_that_share_of_its_steps(share: float, steps: int, images: int) -> None:
    first = start()
    trained, spent = early.partly_trained(first, TASK, RECIPE, share)
    assert spent == steps
    assert equal(trained, first) == (share == 0)
    if share == 1:
        assert equal(trained, train(first.copy(), TASK, RECIPE))
    assert spent * 16 == images


def test_the_cheap_masks_have_one_sparsity_and_own_new_and_shuffled_weights() -> None:
    rows = early.cheap(start(), TASK, RECIPE, 4, [0, 0.25])
    assert rows.groupby(["mask", "method"]).size().to_dict() == {
        (mask, method): 4
        for mask in ("SNIP", "GraSP", "SynFlow", "magnitude, 0 %", "magnitude, 25 %")
        for method in ("own weights", "new weights", "shuffled mask")
    }
    sizes = rows["width"] * (TASK.n_features + 1)
    assert (rows["kept"] == sizes - (procedure.sparsity_after(4) * sizes).round()).all()
    assert (rows["round"] == 4).all()
    assert set(rows.query("mask == 'magnitude, 25 %'")["steps"]) == {6}


def test_mask_distance_by_hand() -> None:
    first = Population([1, 1], [0, 1], n_features=4)
    a_in = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]]).bool()
    b_in = torch.tensor([[1, 0], [0, 1], [1, 0], [0, 1]]).bool()
    ones = torch.ones(2, 1, dtype=torch.bool)
    a, b = first.masked(a_in, ones), first.masked(b_in, ones)
    # 3 of 5 kept in all; member 0 differs in 2, member 1 in 4 of 5; chance: 2 * 0.6 * 0.4
    assert early.mask_distance(a, b).tolist() == pytest.approx([0.4 / 0.48, 0.8 / 0.48])
    assert early.mask_distance(a, a).tolist() == [0, 0]


def test_random_masks_are_at_a_distance_of_one() -> None:
    first = Population([50], [0], n_features=400)
    a, b = (pruning.prune(first, 0.9, by="random", scope="network", seed=s) for s in (0, 1))
    assert float(early.mask_distance(a, b)) == pytest.approx(1, abs=0.03)


def test_the_course_of_the_masks_ends_at_the_mask_of_the_trained_network() -> None:
    rows = early.mask_course(start(), TASK, RECIPE, 0.5)
    assert sorted(set(rows["epoch"])) == [0, 1, 2, 3, 4]
    assert (rows.query("epoch == 4")["rest"] == 0).all()
    assert rows.query("epoch == 0")["step"].isna().all()
    last = rows.query("epoch == 4")["step"].to_numpy()
    np.testing.assert_array_equal(last, rows.query("epoch == 3")["rest"])
    masks = [
        pruning.prune(train(start(), TASK, RECIPE.but(epochs=e)), 0.5, scope="network") for e in (1, 4)
    ]  # fmt: skip
    np.testing.assert_allclose(rows.query("epoch == 1")["rest"], early.mask_distance(*masks))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda f, m: early.partly_trained(f, TASK, RECIPE, 10), "`share` must be a fraction.*did you mean 0.1"),
        (lambda f, m: early.mask_distance(f, m), "both populations must be pruned"),
        (lambda f, m: early.mask_distance(m, m.select([0])), "must have the same widths"),
    ],
)
def test_mistakes_are_named(call, said: str) -> None:
    first = start()
    with pytest.raises(UserError, match=said):
        call(first, pruning.prune(first, 0.5))
