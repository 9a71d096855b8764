"""Rules, one-shot pruning, histograms, the small CNN and its training loop, and networks at their stages."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune as torch_prune
from toydata import toy_task

from lowcap import modules, pruning
from lowcap.chapters.threshold import rules as threshold
from lowcap.chapters.threshold import stages
from lowcap.errors import UserError
from lowcap.modules import LAYERS
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import load_task, with_train_size
from lowcap.training import train

ADAMW = Recipe(optimizer="adamw", lr=5e-3, weight_decay=0.01, batch_size=16, epochs=2, init="he")


def mlp(seed: int = 0, *, n_outputs: int = 3) -> nn.Sequential:
    population = Population([5], [seed], n_features=12, n_outputs=n_outputs, init="he")
    return stages.members(population, "", 5)["", seed]


def zeros(module: nn.Module) -> dict[str, int]:
    return {name: int((weight == 0).sum()) for name, weight in modules.layers_of(module).items()}


# Rules


def test_rules_on_weights_worked_out_by_hand() -> None:
    weight = torch.tensor([[0.05, -0.2], [0.1, -0.01]])
    assert threshold.Fixed(0.1).keep(0.0, weight).tolist() == [[False, True], [True, False]]
    assert threshold.Percentile(0.5).keep(0.0, weight).tolist() == [[False, True], [True, False]]
    ramp = threshold.Ramp(0.2, over=0.5)
    assert ramp.keep(0.1, weight).tolist() == [[True, True], [True, False]]  # at 0.04
    assert torch.equal(ramp.keep(0.5, weight), threshold.Fixed(0.2).keep(0.0, weight))
    assert torch.equal(ramp.keep(1.0, weight), ramp.keep(0.5, weight))
    assert torch.equal(threshold.Ramp(0.1, over=0.0).keep(0.01, weight), threshold.Fixed(0.1).keep(0.0, weight))


@given(st.floats(0, 1), st.integers(1, 60))
def test_a_percentile_removes_its_share_to_the_weight(q: float, n: int) -> None:
    weight = torch.randn(n, generator=torch.Generator().manual_seed(n))
    assert int((~threshold.Percentile(q).keep(0.5, weight)).sum()) == round(q * n)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: threshold.Fixed(-0.1), "`tau` must be a number of at least 0.*got -0.1"),
        (lambda: threshold.Fixed(float("nan")), "`tau`.*got nan"),
        (lambda: threshold.Ramp("0.4"), "`tau`.*got '0.4'"),
        (lambda: threshold.Ramp(0.4, over=80), "`over`.*did you mean 0.8"),
        (lambda: threshold.Percentile(20), "`q` must be a fraction.*got 20; did you mean 0.2"),
        (lambda: threshold.Percentile(-0.2), "`q`.*got -0.2"),
        (lambda: threshold.prune_below(mlp(), -1), "`tau`.*got -1"),
        (lambda: threshold.prune_below(mlp(), 0.1, ["fnn"]), "among ffnn, head; got 'fnn'; did you mean ffnn"),
        (lambda: threshold.prune_below(mlp(), 0.1, []), "`layers` must name at least one"),
        (lambda: threshold.prune_below(nn.Sequential(nn.ReLU()), 0.1), "linear or convolutional layers"),
        (lambda: threshold.prune_share(mlp(), {"head": 40}), r"`shares\[head\]`.*did you mean 0.4"),
        (lambda: threshold.common_tau(mlp(), 1.5), "`share`"),
        (lambda: threshold.histogram(mlp(), [0.1, 0.0]), "`edges` must be two or more rising numbers"),
        (lambda: stages.in_population(threshold.Percentile(0.2)), "`rule` must be Fixed or Ramp"),
        (lambda: modules.cnn((28, 20), 10), "`image_shape` must be square.*got 28 x 20"),
        (lambda: modules.cnn((6, 6), 10), "at least 7 pixels"),
    ],
)  # fmt: skip
def test_mistakes_are_named(make, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()


# One-shot pruning


def test_weights_below_the_threshold_go_and_the_others_stay_as_they_are() -> None:
    module = mlp()
    pruned = threshold.prune_below(module, 0.3, ["ffnn"])
    before, after = module.ffnn.weight, pruned.ffnn.weight
    assert torch.equal(after, torch.where(before.abs() >= 0.3, before, 0))
    assert torch.equal(pruned.head.weight, module.head.weight)
    assert zeros(module) == {"ffnn": 0, "head": 0}  # the original is left alone
    each = threshold.prune_below(module, {"ffnn": 0.3, "head": 0.0})
    assert torch.equal(each.ffnn.weight, after)
    assert zeros(each)["head"] == 0


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.93, 1.0])
def test_pruning_a_share_agrees_with_torch(share: float) -> None:
    module, oracle = mlp(), mlp()
    torch_prune.l1_unstructured(oracle.ffnn, "weight", amount=share)
    assert torch.equal(threshold.prune_share(module, {"ffnn": share}).ffnn.weight, oracle.ffnn.weight)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_a_common_threshold_removes_exactly_its_share_of_all_layers(share: float) -> None:
    module, oracle = mlp(), mlp()
    pairs = [(oracle.ffnn, "weight"), (oracle.head, "weight")]
    torch_prune.global_unstructured(pairs, torch_prune.L1Unstructured, amount=share)
    pruned = threshold.prune_below(module, threshold.common_tau(module, share))
    assert sum(zeros(pruned).values()) == round(share * 75)
    assert torch.equal(pruned.head.weight, oracle.head.weight)


def test_any_module_with_linear_or_convolutional_layers_can_be_pruned() -> None:
    module = nn.Sequential(nn.Conv1d(2, 3, 2), nn.Flatten(), nn.Linear(6, 2))
    assert modules.sparsities(threshold.prune_below(module, 10.0)) == {"0": 1.0, "2": 1.0}


# What is left


def test_a_histogram_counts_every_weight_once_and_the_zeros_apart() -> None:
    module = nn.Sequential(nn.Linear(4, 2, bias=False))
    module[0].weight.data = torch.tensor([[0.0, 0.0, 0.0, 0.05], [-0.15, 0.15, -9.0, 9.0]])
    rows = threshold.histogram(module, [-0.2, -0.1, 0.0, 0.1, 0.2])
    assert rows["left"].tolist() == [0, -0.2, -0.1, 0.0, 0.1]
    assert (8 * rows["share"]).tolist() == [3, 2, 0, 1, 2]  # -9 and 9 in the outermost bins
    assert set(rows["layer"]) == {"0"}


@given(st.floats(0, 1))
@settings(max_examples=20)
def test_shares_of_a_histogram_add_up_whatever_is_pruned(share: float) -> None:
    pruned = threshold.prune_share(mlp(), {"ffnn": share, "head": share})
    rows = threshold.histogram(pruned, np.linspace(-0.3, 0.3, 8))
    assert rows.groupby("layer")["share"].sum().tolist() == pytest.approx([1, 1])
    first = rows.query("left == right").set_index("layer")["share"].to_dict()
    assert first == pytest.approx(modules.sparsities(pruned))


def test_sizes_agree_with_numpy() -> None:
    module = mlp()
    row = threshold.sizes(module, ["ffnn"]).iloc[0]
    values = module.ffnn.weight.detach().double().numpy()
    found = [np.median(abs(values)), np.quantile(abs(values), 0.99), abs(values).max(), values.std()]
    assert row[["median", "p99", "largest", "sd"]].tolist() == pytest.approx(found)


def test_a_sweep_agrees_with_pruning_and_scoring_each_network_whole() -> None:
    task = load_task("all", dataset="digits")
    starts = {0: modules.cnn(task.image_shape, 10, width=16)}
    network = stages.train_all(starts, task, ADAMW.but(epochs=1), {"trained": None})[0]["trained", 0]
    rows = threshold.sweep(network, [0.0, 0.1, 9.0], task.x_test, task.y_test)
    for row in rows.itertuples():
        layers = LAYERS if row.pruned == "both" else [row.pruned]
        other = threshold.prune_below(network, row.tau, layers)
        assert row.accuracy == modules.accuracy(other, task.x_test, task.y_test)
        assert (row.ffnn, row.head) == tuple(modules.sparsities(other, LAYERS).values())
        n_ffnn, n_head = other.ffnn.weight.numel(), other.head.weight.numel()
        assert row.removed == pytest.approx((row.ffnn * n_ffnn + row.head * n_head) / (n_ffnn + n_head))


# The network and its training


def test_the_cnn_has_the_shape_of_the_source_and_starts_as_torch_does() -> None:
    network = modules.cnn((28, 28), 10, seed=1)
    shapes = {name: tuple(weight.shape) for name, weight in modules.layers_of(network).items()}
    assert shapes == {"conv1": (32, 1, 7, 7), "conv2": (48, 32, 3, 3), "ffnn": (256, 768), "head": (10, 256)}
    assert sum(parameter.numel() for parameter in network.parameters()) == 215_418  # 0.21542 million, says the source
    assert network(torch.rand(3, 784)).shape == (3, 10)
    for name, weight in modules.layers_of(network).items():
        bound = weight[0].numel() ** -0.5
        assert 0.98 * bound < weight.abs().max() <= bound, name
    again, other = modules.cnn((28, 28), 10, seed=1), modules.cnn((28, 28), 10, seed=2)
    assert torch.equal(network.ffnn.weight, again.ffnn.weight)
    assert not torch.equal(network.ffnn.weight, other.ffnn.weight)


@pytest.mark.parametrize("side", [7, 8, 12, 16, 28, 32])
def test_the_cnn_fits_images_of_any_side(side: int) -> None:
    assert modules.cnn((side, side), 4, width=6)(torch.rand(2, side * side)).shape == (2, 4)


@pytest.mark.parametrize(("n_classes", "optimizer"), [(2, "sgd"), (3, "adamw")])
def test_training_agrees_with_a_population_of_one(n_classes: int, optimizer: str) -> None:
    task = toy_task(n_classes)
    recipe = ADAMW.but(optimizer=optimizer, momentum=0.5 if optimizer == "sgd" else 0.0, schedule="cosine", epochs=3)
    population = Population([5], [0], n_features=12, n_outputs=task.n_outputs, init="he")
    module = stages.members(population, "", 5)["", 0]
    modules.fit(module, task, recipe, rule=threshold.Ramp(0.2), order_seed=3)
    train(population, task, recipe, order_seed=3, after_step=stages.in_population(threshold.Ramp(0.2)))
    expected = stages.members(population, "", 5)["", 0]
    assert zeros(module) == zeros(expected)
    assert zeros(module)["ffnn"] > 0
    for own, other in zip(module.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(own, other, atol=2e-4 if optimizer == "sgd" else 1e-3, rtol=1e-3)
    right = modules.accuracy(module, task.x_test, task.y_test)
    assert right == pytest.approx(pruning.results(population, task.x_test, task.y_test)["accuracy"].item(), abs=0.02)


def test_a_fixed_threshold_above_the_first_weights_kills_a_layer_and_a_ramp_does_not() -> None:
    task = toy_task(3)
    module, ramped = mlp(), mlp()
    for weight in (*modules.layers_of(module).values(), *modules.layers_of(ramped).values()):
        weight.data /= 10
    largest = max(weight.abs().max().item() for weight in modules.layers_of(module).values())
    course = modules.fit(module, task, ADAMW, rule=threshold.Fixed(largest + 0.02))
    assert course["step"].min() == 1
    assert (course["sparsity"] == 1).all()
    assert zeros(module) == {"ffnn": 60, "head": 15}
    course = modules.fit(ramped, task, ADAMW.but(epochs=30), rule=threshold.Ramp(largest + 0.02))
    assert (course.groupby("layer")["sparsity"].last() < 1).all()
    assert course.query("layer == 'ffnn'")["progress"].is_monotonic_increasing


def test_only_the_named_layers_are_pruned_in_the_loop() -> None:
    module = mlp()
    course = modules.fit(module, toy_task(3), ADAMW, rule=threshold.Percentile(0.5), layers=["ffnn"])
    assert zeros(module) == {"ffnn": 30, "head": 0}
    assert set(course["layer"]) == {"ffnn"}


def test_fine_tuning_keeps_removed_weights_at_zero_and_moves_the_others() -> None:
    pruned = threshold.prune_below(mlp(), 0.3)
    tuned = stages.fine_tuned({("x", 0): pruned}, toy_task(3), ADAMW)["x", 0]
    for name, before in modules.layers_of(pruned).items():
        after = modules.layers_of(tuned)[name]
        assert torch.equal(after == 0, before == 0)
        assert not torch.equal(after, before)


# Stages


def test_after_is_pruned_to_exactly_the_sparsities_of_during_in_each_layer() -> None:
    task = toy_task(3)
    rules = {"trained": None, "ramp": threshold.Ramp(0.3), "q": threshold.Percentile(0.4)}
    networks, course = stages.train_all({0: mlp(0), 7: mlp(7)}, task, ADAMW, rules)
    assert len(course[["stage", "seed", "layer"]].drop_duplicates()) == 3 * 2 * 2
    pruned, dense = stages.pick(networks, ["q", "ramp"]), stages.at(networks, "trained")
    assert list(pruned) == [("q", 0), ("q", 7), ("ramp", 0), ("ramp", 7)]
    for key, network in stages.matched(pruned, dense).items():
        assert zeros(network) == zeros(pruned[key])
        kept = network.ffnn.weight != 0
        assert torch.equal(network.ffnn.weight[kept], dense[key[1]].ffnn.weight[kept])
    rows = stages.during_and_after(pruned, dense, task, ADAMW.but(epochs=1))
    assert rows.groupby(["when", "tuned"]).size().tolist() == [4, 4, 4, 4]
    assert (rows.groupby(["stage", "seed"])[["ffnn", "head"]].nunique() == 1).all(axis=None)


def test_results_do_not_depend_on_what_is_trained_beside() -> None:
    task, rules = toy_task(3), {"trained": None, "low": threshold.Percentile(0.2)}
    both, _ = stages.train_all({0: mlp(0), 7: mlp(7)}, task, ADAMW, rules)
    alone, _ = stages.train_all({7: mlp(7)}, task, ADAMW, {"low": rules["low"]})
    assert torch.equal(both["low", 7].ffnn.weight, alone["low", 7].ffnn.weight)


def test_a_member_as_a_module_gives_the_members_answers() -> None:
    population = Population.grid([3, 5], [0, 4], n_features=12, n_outputs=3)
    found = stages.members(population, "start", 5)
    assert list(found) == [("start", 0), ("start", 4)]
    x = torch.rand(6, 12)
    torch.testing.assert_close(found["start", 4](x), population(x)[:, 3])


def test_levels_and_summary_report_what_was_measured() -> None:
    task = toy_task(3)
    dense = {0: mlp(0), 7: mlp(7)}
    rows = stages.levels(dense, [0.0, 1.0], task.x_test, task.y_test)
    scores = stages.score({("start", seed): net for seed, net in dense.items()}, task.x_test, task.y_test)
    assert rows.query("share == 0")["accuracy"].tolist() == scores["accuracy"].tolist()
    assert rows.query("share == 1")["accuracy"].nunique() == 1  # one answer for every image
    low, high = sorted(100 * scores["accuracy"])
    text = stages.summary(scores)["accuracy, % (range)"].item()
    assert text == f"{(low + high) / 2:.1f} ({low:.1f}–{high:.1f})"
    assert stages.sweeps(dense, [0.1], task.x_test, task.y_test)["seed"].unique().tolist() == [0, 7]


@pytest.mark.mnist
def test_the_cnn_learns_mnist_with_most_weights_gone() -> None:
    task = with_train_size(load_task("all", dataset="mnist"), 1000)
    rules = {"ramp": threshold.Ramp(0.06)}
    recipe = ADAMW.but(batch_size=32, epochs=2)
    networks, _ = stages.train_all({0: modules.cnn(task.image_shape, 10)}, task, recipe, rules)
    networks |= stages.pruned_below(stages.at(networks, "ramp"), "after", 0.4)
    during, after = stages.score(networks, task.x_test[:2000], task.y_test[:2000]).itertuples()
    assert during.ffnn > 0.8
    assert during.accuracy > 0.8
    assert after.accuracy < 0.5
