"""Tickets: rewinding restores bits, masks nest, controls change what they should and nothing else."""

import numpy as np
import pandas as pd
import pytest
import torch
from toydata import toy_task

from lowcap import pruning
from lowcap.chapters.tickets import comparison, procedure
from lowcap.chapters.tickets import populations as tickets
from lowcap.chapters.tickets.populations import Populations
from lowcap.errors import UserError
from lowcap.evaluation import evaluate
from lowcap.population import Population
from lowcap.recipe import CONVERGED, Recipe
from lowcap.tasks import load_task
from lowcap.training import train

RECIPE = Recipe(init="he", lr=0.1, momentum=0.9, batch_size=16, epochs=4)
TASK = tickets.only_live(toy_task(n=96))


def start(widths=(4, 6), seeds=(0, 1)) -> Population:
    return tickets.start(TASK, widths, seeds, RECIPE)


@pytest.fixture(scope="module")
def trunk() -> tuple[Population, dict[int, Population]]:
    first = start()
    return first, procedure.find(Populations(first, TASK, RECIPE), range(1, 7))


def equal(a: Population, b: Population) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def kept(population: Population) -> np.ndarray:
    """How many weights of each layer each member keeps, `(2, P)`."""
    found = []
    for mask, dim in ((population.mask_in, 0), (population.mask_out, 1)):
        found.append(torch.zeros(len(population)).index_add_(0, population.owner, mask.sum(dim).float()).numpy())
    return np.array(found)


def test_only_live_pixels_are_left_and_nothing_else_changes() -> None:
    task = toy_task()
    small = tickets.only_live(task)
    assert small.n_features == 9
    assert small.live.all()
    for name in ("train", "val", "test"):
        assert torch.equal(getattr(small, f"x_{name}"), getattr(task, f"x_{name}")[:, task.live])
        assert torch.equal(getattr(small, f"y_{name}"), getattr(task, f"y_{name}"))


def test_each_round_removes_a_fifth_of_what_is_left() -> None:
    assert procedure.sparsity_after(0) == 0
    assert procedure.sparsity_after(3) == pytest.approx(1 - 0.512)
    assert procedure.sparsity_after(24) == pytest.approx(0.995, abs=5e-4)


def test_round_zero_is_the_unpruned_network_trained(trunk) -> None:
    first, found = trunk
    assert found[0].mask_in is None
    assert equal(found[0], train(first.copy(), TASK, RECIPE))


def test_masks_nest_and_hold_the_named_share(trunk) -> None:
    _, found = trunk
    for k in range(2, 7):
        assert not (found[k].mask_in & ~found[k - 1].mask_in).any()
        assert not (found[k].mask_out & ~found[k - 1].mask_out).any()
    sizes = np.array(found[6].widths) * (TASK.n_features + 1)
    assert kept(found[4]).sum(0).tolist() == [size - round(size * procedure.sparsity_after(4)) for size in sizes]


@pytest.mark.parametrize("rewind_to", [0, 2])
def test_rewinding_restores_the_early_weights_bit_by_bit(monkeypatch: pytest.MonkeyPatch, rewind_to: int) -> None:
    first, seen = start(), []

    def spy(population: Population, *args, **kwargs) -> Population:
        seen.append(population.copy())
        return train(population, *args, **kwargs)

    monkeypatch.setattr(tickets, "train", spy)
    found = procedure.find(Populations(first, TASK, RECIPE, rewind_to), [1, 2])
    back = train(first.copy(), TASK, RECIPE.but(epochs=rewind_to))
    for k, trained in enumerate(seen[2:], start=1):  # after the early part and the dense networks
        assert torch.equal(trained.w_in, back.w_in * found[k].mask_in)
        assert torch.equal(trained.w_out, back.w_out * found[k].mask_out)
        assert torch.equal(trained.b_in, back.b_in)
        assert torch.equal(trained.b_out, back.b_out)


def test_new_weights_share_the_mask_the_names_and_nothing_else(trunk) -> None:
    first, found = trunk
    new = tickets.reinitialised(found[3])
    assert torch.equal(new.mask_in, found[3].mask_in)
    assert torch.equal(new.mask_out, found[3].mask_out)
    pd.testing.assert_frame_equal(new.members, found[3].members)
    both = new.mask_in
    assert not (new.w_in[both] == first.w_in[both]).any()
    fresh = Population([4], [1 + procedure.NEW], n_features=9, init="he")
    own = new.owner == 1
    assert torch.equal(new.w_in[:, own], fresh.w_in * new.mask_in[:, own])


@pytest.mark.parametrize("within", tickets.WITHIN)
def test_a_shuffled_mask_keeps_the_sparsity_of_every_layer_of_every_member(trunk, within: str) -> None:
    first, found = trunk
    other = tickets.shuffled(found[3], first, within=within)
    np.testing.assert_array_equal(kept(other), kept(found[3]))
    assert not torch.equal(other.mask_in, found[3].mask_in)
    assert torch.equal(other.w_in, first.w_in * other.mask_in)
    assert torch.equal(other.w_out, first.w_out * other.mask_out)
    per_pixel = [
        torch.stack([m.mask_in[:, m.owner == i].sum(1) for i in range(len(m))]) for m in (other, found[3])
    ]  # fmt: skip
    assert torch.equal(*per_pixel) == (within == "pixel")
    assert torch.equal(other.mask_out, found[3].mask_out) == (within == "pixel")


def test_a_shuffled_member_does_not_depend_on_its_company(trunk) -> None:
    first, found = trunk
    alone = tickets.shuffled(found[3].select([2]), first.select([2]))
    assert torch.equal(alone.mask_in, tickets.shuffled(found[3], first).select([2]).mask_in)


def test_random_and_one_shot_masks_have_the_tickets_size(trunk) -> None:
    first, found = trunk
    for name in ("random mask", "one-shot"):
        one = procedure.control(Populations(first, TASK, RECIPE), name, found, 4)
        np.testing.assert_array_equal(kept(one).sum(0), kept(found[4]).sum(0))
        assert torch.equal(one.w_in, first.w_in * one.mask_in)
    dense, mask = found[0], procedure.control(Populations(first, TASK, RECIPE), "one-shot", found, 4)
    for i in range(len(dense)):
        own = dense.owner == i
        sizes = torch.cat([dense.w_in[:, own].flatten(), dense.w_out[own].flatten()]).abs()
        stay = torch.cat([mask.mask_in[:, own].flatten(), mask.mask_out[own].flatten()])
        assert sizes[stay].min() >= sizes[~stay].max()


def test_comparing_gives_a_row_per_network_round_and_method() -> None:
    kind = Populations(start([4, 6], [0, 1, 2]), TASK, RECIPE)
    found = procedure.find(kind, range(1, 4))
    rows = tickets.compare(kind, found, [2, 3])
    counts = rows.groupby("method")["round"].apply(lambda r: sorted(set(r))).to_dict()
    assert counts["ticket"] == [0, 1, 2, 3]
    assert all(counts[name] == [0, 2, 3] for name in procedure.CONTROLS)
    assert len(rows) == 6 * (4 + 4 * 3)
    alike = rows.query("round == 0").groupby(["width", "seed"])["accuracy"].nunique()
    assert (alike == 1).all()
    alone = tickets.scores({2: train(procedure.control(kind, "one-shot", found, 2), TASK, RECIPE)}, TASK)
    own = rows.query("method == 'one-shot' and round == 2").reset_index(drop=True)
    pd.testing.assert_frame_equal(own[alone.columns], alone)


def test_a_course_looks_after_each_reading_and_ends_where_training_does() -> None:
    tries = {"dense": start(), "half": pruning.prune(start(), 0.5)}
    again = {name: one.copy() for name, one in tries.items()}
    rows = tickets.course(tries, TASK, RECIPE, every=2)
    assert rows.groupby(["method", "epoch"]).size().to_dict() == {
        (name, epoch): 4 for name in ("dense", "half") for epoch in (0, 2, 4)
    }
    for name, one in again.items():
        now = evaluate(train(one, TASK, RECIPE), TASK.x_test, TASK.y_test)
        last = rows[(rows["method"] == name) & (rows["epoch"] == 4)].reset_index(drop=True)
        pd.testing.assert_series_equal(last["loss"], now["loss"])


def dense_control(first: Population, found: dict[int, Population]) -> Population:
    return procedure.control(Populations(first, TASK, RECIPE), "dense", found, 1)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda f, t: tickets.shuffled(f, f), "`ticket` must be a pruned population"),
        (lambda f, t: tickets.shuffled(t[1], f, within="row"), "`within` must be one of layer, pixel; got 'row'"),
        (dense_control, "`name` must be one of new weights, shuffled mask, random"),
        (lambda f, t: Populations(f, TASK, RECIPE, 4), "`rewind_to` must be a whole number from 0 to 3"),
    ],
)  # fmt: skip
def test_mistakes_are_named(trunk, call, said: str) -> None:
    with pytest.raises(UserError, match=said):
        call(*trunk)


@pytest.mark.mnist
def test_on_4_9_a_ticket_beats_new_weights_and_the_shuffled_mask() -> None:
    task = tickets.only_live(load_task((4, 9), dataset="mnist"))
    recipe = CONVERGED.but(init="he", epochs=2)
    kind = Populations(tickets.start(task, [24], range(4), recipe), task, recipe)
    found = procedure.find(kind, range(1, 8))
    rows = tickets.compare(kind, found, [7], controls=["new weights", "shuffled mask"])
    lead = comparison.between(rows, ["width"])
    assert (lead.xs(7, level="round")["low"] > 0).all()
