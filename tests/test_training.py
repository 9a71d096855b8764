"""Training: every network comes out as if it had been trained alone, by PyTorch's own optimisers, on all pixels."""

import math
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from toydata import toy_task

from lowcap import shard, training
from lowcap.errors import UserError
from lowcap.evaluation import evaluate
from lowcap.population import Population
from lowcap.recipe import ADAM, CONVERGED, PUBLISHED, Recipe
from lowcap.tasks import Task, load_task
from lowcap.training import train

BASE = Recipe(lr=0.1, batch_size=32, epochs=3)  # 96 images: three whole batches
RECIPES = {
    "published": PUBLISHED.but(epochs=5),
    "sgd": BASE,
    "batch larger than the data": BASE.but(momentum=0.5, batch_size=1000),
    "momentum": BASE.but(momentum=0.9),
    "ragged batches": BASE.but(momentum=0.9, batch_size=40),
    "decay": BASE.but(momentum=0.9, weight_decay=0.1),
    "cosine": BASE.but(momentum=0.5, schedule="cosine"),
    "he": BASE.but(init="he", epochs=2),
    "adam": BASE.but(optimizer="adam", lr=0.02),
    "adam with decay": BASE.but(optimizer="adam", lr=0.02, weight_decay=0.1, schedule="cosine"),
    "adamw": BASE.but(optimizer="adamw", lr=0.02, weight_decay=0.1, batch_size=None),
}
WIDTHS, SEEDS = (5, 2, 3, 2), (0, 1, 2, 3)


@pytest.fixture(autouse=True)
def _many_small_parts(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Toys are divided as large populations are: several shards, blocks of heads, blocks of images."""
    if not request.node.get_closest_marker("mnist"):
        monkeypatch.setattr(training, "SHARD_UNITS", 4)
        monkeypatch.setattr(shard, "HEAD_CELLS", 8)
        monkeypatch.setattr(shard, "BLOCK_ROWS", 7)


def populate(task: Task, recipe: Recipe, widths: Any = WIDTHS, seeds: Any = SEEDS) -> Population:
    return Population(widths, seeds, n_features=task.n_features, n_outputs=task.n_outputs, init=recipe.init)


def weights(population: Population) -> list[Tensor]:
    return [parameter.detach() for parameter in population.parameters()]


def assert_same(one: Population, other: Population, tolerance: float) -> None:
    for a, b in zip(weights(one), weights(other), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def batches(task: Task, recipe: Recipe, order_seed: int) -> Iterator[Tensor]:
    """Positions of the images of each step, and nothing clever."""
    n = len(task.x_train)
    generator = torch.Generator().manual_seed(order_seed)
    for _ in range(recipe.epochs):
        if recipe.batch_size is None:
            yield torch.arange(n)
        else:
            yield from torch.randperm(n, generator=generator).split(recipe.batch_size)


def train_plainly(
    module: nn.Module, task: Task, recipe: Recipe, order_seed: int = 0, masks: tuple[Tensor, ...] = ()
) -> nn.Module:
    """The ordinary loop: autograd, torch.optim, every pixel. Masks are for the parameters of two dimensions."""
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    momentum = {"momentum": recipe.momentum} if recipe.optimizer == "sgd" else {}
    optimizer = kind(module.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, **momentum)
    order, dtype = list(batches(task, recipe, order_seed)), next(module.parameters()).dtype
    for step, index in enumerate(order):
        if recipe.schedule == "cosine":
            optimizer.param_groups[0]["lr"] = recipe.lr * (1 + math.cos(math.pi * step / len(order))) / 2
        optimizer.zero_grad()
        logits, y = module(task.x_train[index].to(dtype)), task.y_train[index]
        if task.n_outputs == 1:
            binary_cross_entropy_with_logits(logits[:, 0], y.to(dtype)).backward()
        else:
            cross_entropy(logits, y).backward()
        optimizer.step()
        for parameter, mask in zip((p for p in module.parameters() if p.ndim == 2), masks, strict=False):
            parameter.data *= mask
    return module


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_member_trains_as_an_ordinary_module_does_in_the_ordinary_loop(recipe: Recipe, n_classes: int) -> None:
    task = toy_task(n_classes)
    population = populate(task, recipe).double()
    modules = [train_plainly(population.to_module(i), task, recipe, 5) for i in range(len(population))]
    train(population, task, recipe, order_seed=5)
    for i, module in enumerate(modules):
        for ours, theirs in zip(population.to_module(i).parameters(), module.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_member_trains_in_a_crowd_as_if_alone(
    recipe: Recipe, n_classes: int, dtype: torch.dtype, tolerance: float
) -> None:
    task = toy_task(n_classes)
    crowd = train(populate(task, recipe).to(dtype), task, recipe)
    for i, (width, seed) in enumerate(zip(WIDTHS, SEEDS, strict=True)):
        alone = train(populate(task, recipe, [width], [seed]).to(dtype), task, recipe)
        assert_same(crowd.select([i]), alone, tolerance)


@pytest.mark.mnist
@pytest.mark.parametrize(
    "recipe", [PUBLISHED.but(epochs=10), CONVERGED.but(epochs=1), ADAM.but(epochs=1)], ids=lambda r: r.name
)
@pytest.mark.parametrize("classes", [(4, 9), "all"])
def test_a_member_trains_on_mnist_in_a_crowd_as_if_alone(recipe: Recipe, classes: Any) -> None:
    task = few_images(load_task(classes, dataset="mnist"), 3000)
    crowd = train(populate(task, recipe, [1, 2, 64, 16] * 5, range(20)), task, recipe)
    for i in (0, 1, 2, 19):
        alone = train(populate(task, recipe, [crowd.widths[i]], [i]), task, recipe)
        assert_same(crowd.select([i]), alone, 1e-5)


def few_images(task: Task, n: int) -> Task:
    x, y = task.x_train[:n], task.y_train[:n]
    return Task(**{**vars(task), "x_train": x, "y_train": y, "live": (x != 0).any(0)})


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("order", [[3, 2, 1, 0], [1, 3, 0, 2]])
def test_permuting_members_permutes_results(order: list[int], n_classes: int) -> None:
    task, recipe = toy_task(n_classes), RECIPES["momentum"]
    straight = train(populate(task, recipe).double(), task, recipe)
    permuted = train(populate(task, recipe).double().select(order), task, recipe)
    assert_same(permuted, straight.select(order), 1e-12)


@pytest.mark.mnist
def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    task, recipe = few_images(load_task((4, 9), dataset="mnist"), 2000), CONVERGED.but(epochs=1)
    threads, results = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=n: set(range(n)), raising=False)
            results.append(weights(train(populate(task, recipe, [64, 3] * 12, range(24)), task, recipe)))
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(threads)
    assert len(training.shares([64, 3] * 12)) > 1
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("widths", [[3], [64] * 70, [1, 4096], [2] * 500, list(range(1, 65))])
def test_shards_share_out_every_member_once_and_evenly(monkeypatch: pytest.MonkeyPatch, widths: list[int]) -> None:
    monkeypatch.setattr(training, "SHARD_UNITS", 600)
    shards = training.shares(widths)
    assert sorted(i for members in shards for i in members) == list(range(len(widths)))
    sizes = [sum(widths[i] for i in members) for members in shards]
    assert max(sizes) <= sum(widths) / len(shards) + max(widths)


@pytest.mark.parametrize("name", ["momentum", "adam", "cosine"])
@pytest.mark.parametrize("every", [1, 2, 5])
def test_looking_at_the_population_on_the_way_changes_no_bit(name: str, every: int) -> None:
    task, recipe, seen = toy_task(), RECIPES[name], []
    watched = train(populate(task, recipe), task, recipe, on_epoch=lambda *at: seen.append(at), every=every)
    unwatched = train(populate(task, recipe), task, recipe)
    assert_same(watched, unwatched, 0)
    assert [epoch for epoch, _ in seen] == {1: [0, 1, 2, 3], 2: [0, 2, 3], 5: [0, 3]}[every]
    assert all(population is watched for _, population in seen)


def test_what_is_seen_on_the_way_is_what_shorter_training_gives() -> None:
    task, recipe, seen = toy_task(), RECIPES["momentum"], {}
    train(populate(task, recipe), task, recipe, on_epoch=lambda epoch, p: seen.update({epoch: p.select([0, 1, 2, 3])}))
    for epoch, population in seen.items():
        assert_same(population, train(populate(task, recipe), task, recipe.but(epochs=epoch)), 0)


def test_the_order_seed_decides_the_batches_and_nothing_else_does() -> None:
    task, recipe = toy_task(), RECIPES["sgd"]
    torch.manual_seed(1)
    one = train(populate(task, recipe), task, recipe, order_seed=1)
    torch.manual_seed(2)
    assert_same(one, train(populate(task, recipe), task, recipe, order_seed=1), 0)
    other = train(populate(task, recipe), task, recipe, order_seed=2)
    assert not torch.equal(one.w_in, other.w_in)


@pytest.mark.parametrize("name", ["momentum", "decay", "adam", "adam with decay"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_masked_weights_are_zero_at_all_times_and_the_others_train_around_them(name: str, n_classes: int) -> None:
    task, recipe, leaks = toy_task(n_classes), RECIPES[name], []
    start = populate(task, recipe).double()
    m_in, m_out = (torch.rand(w.shape, generator=torch.Generator().manual_seed(4)) < 0.6 for w in weights(start)[:2])
    population, member = start.masked(m_in, m_out), start.owner == 2
    module = population.to_module(2)
    train(population, task, recipe, on_epoch=lambda _, p: leaks.extend([p.w_in[~m_in].any(), p.w_out[~m_out].any()]))
    assert len(leaks) == 8
    assert not any(leaks)
    train_plainly(module, task, recipe, masks=(m_in[:, member].T, m_out[member].T))
    for ours, theirs in zip(population.to_module(2).parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_a_member_that_diverges_spoils_no_other(name: str, n_classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SHARD_UNITS", 600)  # all in one shard and one block
    monkeypatch.setattr(shard, "HEAD_CELLS", 4096)
    task, recipe = toy_task(n_classes), RECIPES[name]
    healthy, sick = populate(task, recipe).double(), populate(task, recipe).double()
    sick.w_in.data[:, sick.owner == 1] = math.inf
    train(healthy, task, recipe)
    train(sick, task, recipe)
    assert_same(sick.select([0, 2, 3]), healthy.select([0, 2, 3]), 1e-12)
    assert evaluate(sick, task.x_test, task.y_test).loss.isna().tolist() == [False, True, False, False]


def copy(population: Population) -> Population:
    return population.select(range(len(population)))


@pytest.mark.parametrize("name", ["momentum", "adam", "ragged batches", "decay"])
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("again", [lambda _, now: now, lambda _, now: copy(now)], ids=["itself", "a copy"])
def test_returning_the_population_as_it_is_changes_no_bit(name: str, every: int, again: Any) -> None:
    task, recipe = toy_task(3), RECIPES[name]
    start = populate(task, recipe)
    start = start.masked(start.w_in > -0.1)
    revised, plain = (
        train(copy(start), task, recipe, on_epoch=hook, every=every) for hook in (again, lambda *at: None)
    )
    assert_same(revised, plain, 0)
    assert torch.equal(revised.mask_in, start.mask_in)
    assert revised.mask_out is None


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("at", [0, 2, 5])
def test_training_goes_on_with_the_weights_and_masks_of_the_population_that_is_returned(
    at: int, n_classes: int
) -> None:
    task, recipe = toy_task(n_classes), RECIPES["published"]  # neither momentum nor an order to remember
    population = populate(task, recipe).double()
    m_in, m_out = (
        torch.rand(w.shape, generator=torch.Generator().manual_seed(4)) < 0.6 for w in weights(population)[:2]
    )
    expected = train(copy(population), task, recipe.but(epochs=at)).masked(m_in, m_out)
    train(expected, task, recipe.but(epochs=5 - at))
    revised = train(
        population, task, recipe, on_epoch=lambda epoch, now: now.masked(m_in, m_out) if epoch == at else None
    )
    assert revised is population
    assert_same(revised, expected, 1e-12)
    assert torch.equal(revised.mask_in, m_in)
    assert torch.equal(revised.mask_out, m_out)
    assert not revised.w_in[~m_in].any()
    assert not revised.w_out[~m_out].any()


def test_a_population_can_be_rewound_on_the_way_and_its_masks_lifted() -> None:
    task, recipe = toy_task(), RECIPES["published"]
    start = populate(task, recipe).double()
    masked = start.masked(start.w_in > 0, start.w_out > 0)
    train(masked, task, recipe, on_epoch=lambda epoch, _: start if epoch == 2 else None)
    assert_same(masked, train(copy(start), task, recipe.but(epochs=3)), 1e-12)
    assert masked.mask_in is None
    assert_same(start, populate(task, recipe).double(), 0)


@pytest.mark.parametrize("widths", [(5, 2, 3), (2, 5, 3, 2), (5, 2, 3, 2, 1)])
def test_networks_of_other_widths_in_place_of_those_in_training_are_refused(widths: tuple[int, ...]) -> None:
    task = toy_task()
    others = populate(task, BASE, widths, range(len(widths)))
    with pytest.raises(UserError, match="`on_epoch` must return None or networks of the same widths; got Population"):
        train(populate(task, BASE), task, BASE, on_epoch=lambda *at: others)


@pytest.mark.parametrize("name", ["published", "sgd", "ragged batches", "batch larger than the data", "adam"])
@pytest.mark.parametrize("every", [1, 2])
def test_after_each_step_progress_rises_evenly_to_exactly_1(name: str, every: int) -> None:
    task, recipe, seen, shapes = toy_task(3), RECIPES[name], [], set()

    def note(progress: float, w_in: Tensor, w_out: Tensor) -> None:
        seen.append(progress)
        shapes.add((tuple(w_in.shape), tuple(w_out.shape)))

    train(populate(task, recipe, [5], [0]), task, recipe, after_step=note, on_epoch=lambda *at: None, every=every)
    assert len(seen) == recipe.steps(96)
    assert seen == sorted(set(seen))
    assert seen[-1] == 1.0
    per_epoch = len(seen) // recipe.epochs
    assert seen[per_epoch - 1 :: per_epoch] == [(epoch + 1) / recipe.epochs for epoch in range(recipe.epochs)]
    assert seen[0] == pytest.approx(min((recipe.batch_size or 96) / 96, 1) / recipe.epochs)
    assert shapes == {((12, 5), (3, 5))}


def test_after_each_step_every_unit_passes_by_once() -> None:
    task, units = toy_task(), []
    train(populate(task, BASE), task, BASE.but(epochs=1), after_step=lambda _, w_in, w_out: units.append(w_in.shape[1]))
    assert sum(units) == 3 * sum(WIDTHS)


@pytest.mark.parametrize("name", ["momentum", "decay", "adam", "published"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_step_that_is_followed_by_nothing_new_is_the_step_alone(name: str, n_classes: int) -> None:
    task, recipe = toy_task(n_classes), RECIPES[name]
    followed, plain = (
        train(populate(task, recipe).double(), task, recipe, after_step=hook) for hook in (lambda *at: None, None)
    )
    assert_same(followed, plain, 1e-12)


def shrink(progress: float, w_in: Tensor, w_out: Tensor) -> None:
    w_in.mul_(0.9)
    w_out.mul_(0.8)


@pytest.mark.parametrize("name", ["momentum", "decay", "adam", "published"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_weights_changed_after_each_step_are_those_of_the_ordinary_loop_that_does_it(name: str, n_classes: int) -> None:
    task, recipe = toy_task(n_classes), RECIPES[name]
    population = populate(task, recipe).double()
    factors = tuple(torch.tensor([0.9, 0.8], dtype=torch.float64))
    modules = [train_plainly(population.to_module(i), task, recipe, masks=factors) for i in range(len(population))]
    train(population, task, recipe, after_step=shrink)
    for i, module in enumerate(modules):
        for ours, theirs in zip(population.to_module(i).parameters(), module.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def cut_small(progress: float, w_in: Tensor, w_out: Tensor) -> None:
    w_in[w_in.abs() < 0.05 * progress] = 0


def test_weights_cut_after_each_step_are_zero_also_those_of_inputs_that_never_vary() -> None:
    task = toy_task()
    population = populate(task, BASE)
    small = population.w_in.detach().abs() < 0.05
    train(population, task, BASE, after_step=cut_small)
    assert not ((population.w_in != 0) & (population.w_in.abs() < 0.05)).any()
    assert small[~task.live].any()
    assert not population.w_in[~task.live][small[~task.live]].any()
    assert population.w_in[~task.live][~small[~task.live]].all()


def test_no_epochs_change_nothing() -> None:
    task = toy_task()
    population = populate(task, BASE)
    before = [weight.clone() for weight in weights(population)]
    assert train(population, task, BASE.but(epochs=0)) is population
    assert all(torch.equal(a, b) for a, b in zip(weights(population), before, strict=True))


@pytest.mark.parametrize(("n_features", "n_outputs"), [(11, 1), (12, 3), (12, 2)])
def test_a_population_of_other_features_or_classes_than_the_task_is_refused(n_features: int, n_outputs: int) -> None:
    population = Population([2], [0], n_features=n_features, n_outputs=n_outputs)
    with pytest.raises(
        UserError, match=rf"{n_features} features and {n_outputs} outputs, task 0-1 of toy needs 12 and 1"
    ):
        train(population, toy_task(), BASE)


def test_looking_less_often_than_never_is_refused() -> None:
    with pytest.raises(UserError, match="`every` must be a whole number of at least 1; got 0"):
        train(populate(toy_task(), BASE), toy_task(), BASE, on_epoch=lambda *at: None, every=0)


@pytest.mark.parametrize("name", ["published", "sgd", "ragged batches", "batch larger than the data"])
def test_a_recipe_knows_its_number_of_steps(name: str) -> None:
    task, recipe = toy_task(), RECIPES[name]
    assert recipe.steps(len(task.x_train)) == len(list(batches(task, recipe, 0)))
