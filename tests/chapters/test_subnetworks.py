"""Subnetworks compared, specialists, committee, and how fast pruned networks are."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score, recall_score
from torch import nn
from toydata import toy_task

from lowcap.chapters.tracing import activations, specialists, subnetworks, timing
from lowcap.errors import UserError
from lowcap.population import Population
from lowcap.pruning import prune
from lowcap.recipe import ADAM
from lowcap.training import train

TASK = toy_task(4, n=240)
RECIPE = ADAM.but(epochs=15, lr=0.01, init="he")


@pytest.fixture(scope="module")
def population() -> Population:
    return train(Population.grid([12], [0, 1], n_outputs=4, n_features=12, init="he"), TASK, RECIPE)


@pytest.fixture(scope="module")
def networks(population) -> list[subnetworks.Traced]:
    return subnetworks.members(population, TASK)


def test_the_comparison_starts_with_the_whole_network_and_shrinks_by_one(population, networks) -> None:
    rows = subnetworks.compare(networks, TASK)
    assert len(rows) == 2 * 4 * 3 * 12
    plain = rows.query("read_out == 'plain' and removed == 0")
    whole = (population(TASK.x_test).argmax(2) == TASK.y_test[:, None]).double().mean(0)
    assert plain.groupby("network")["test"].agg(["min", "max"]).to_numpy() == pytest.approx(
        whole.numpy()[:, None] * [1, 1]
    )
    some = rows.query("network == 1 and by == 'firing' and read_out == 'folded' and removed == 5")
    model, found = networks[1]
    keep = activations.kept(activations.quiet_first(activations.scores(found, "firing")), 5)
    small = activations.subnetwork(model, found, keep, read_out="folded")
    assert some["val"].item() == pytest.approx(
        float((small(TASK.x_val).argmax(1) == TASK.y_val).double().mean()), abs=0.01
    )


def test_what_can_go_is_chosen_on_validation_and_reported_on_test() -> None:
    names = {"width": 4, "network": 0, "by": "firing", "read_out": "plain"}
    rows = activations.sizes(4).assign(val=[0.9, 0.8, 0.9, 0.1], test=[0.7, 0.99, 0.6, 0.2], **names)
    found = subnetworks.removable(rows).iloc[0]
    assert (found["removed"], found["share"], found["test"], found["dense"], found["before"]) == (2, 0.5, 0.6, 0.7, 0)
    assert subnetworks.removable(rows, target=0.95)["share"].isna().all()
    assert subnetworks.mean_and_range(pd.Series([0.1, 0.3])) == "20 (10 to 30)"
    assert subnetworks.mean_and_range(pd.Series([0.1, np.nan])) == "–"


def test_a_shrunk_population_is_its_members_subnetworks(population, networks) -> None:
    small = subnetworks.shrunk(population, networks, 0.5, "weighted")
    assert small.widths == [6, 6]
    for i, (model, found) in enumerate(networks):
        keep = activations.kept(activations.quiet_first(activations.scores(found, "weighted")), 6)
        alone = activations.subnetwork(model, found, keep)
        assert torch.allclose(small(TASK.x_test)[:, i], alone(TASK.x_test), atol=1e-5)


def test_retraining_has_a_row_for_every_score_share_and_member(population, networks) -> None:
    rows = subnetworks.retrained(population, networks, TASK, RECIPE.but(epochs=2), [0.5])
    assert rows.groupby("by")["width"].agg(["size", "max"]).to_dict("index") == {
        by: {"size": 2, "max": 12 if by == "whole" else 6} for by in ("whole", *activations.SCORES)
    }


def test_single_weights_are_removed_down_to_the_same_number_of_parameters(population) -> None:
    small = subnetworks.without_units(population, torch.arange(24) % 12 < 9)
    sparse = subnetworks.as_small_as(population, small)
    assert sparse.members["n_params"].tolist() == small.members["n_params"].tolist() == [9 * 17 + 4] * 2
    assert sparse.widths == [12, 12]


def test_one_against_the_rest_agrees_with_scikit_learn(rng) -> None:
    truth, yes = rng.random(50) < 0.3, rng.random((4, 50)) < 0.5
    rows = specialists.one_vs_rest(torch.from_numpy(yes), torch.from_numpy(truth))
    oracles = {"precision": precision_score, "recall": recall_score, "f1": f1_score,
               "balanced_accuracy": balanced_accuracy_score, "accuracy": accuracy_score}  # fmt: skip
    for name, oracle in oracles.items():
        assert rows[name].tolist() == pytest.approx([oracle(truth, row) for row in yes]), name


def test_always_no_is_accurate_and_worthless() -> None:
    truth = torch.arange(100) < 10
    row = specialists.one_vs_rest(torch.zeros(1, 100, dtype=torch.bool), truth).iloc[0]
    assert (row["accuracy"], row["balanced_accuracy"], row["precision"], row["recall"]) == (0.9, 0.5, 0, 0)


def test_specialists_reach_their_goal_on_validation_and_no_smaller_one_does(networks) -> None:
    keeps = specialists.specialists(networks[0], TASK, "activation", loss=0.05)
    opinions = specialists.opinions(networks[0], keeps, TASK.x_val)
    found = specialists.judged(opinions, keeps, TASK.y_val)
    for digit, row in found.iterrows():
        _, rows = specialists.specialist(networks[0], digit, TASK, "activation")
        fine = rows["balanced_accuracy"] >= rows["balanced_accuracy"][0] - 0.05
        assert row["kept"] == rows["kept"][fine].min()
        assert row["balanced_accuracy"] == pytest.approx(rows["balanced_accuracy"][fine].iloc[-1], abs=0.01)


def test_a_committee_of_whole_networks_is_the_network(networks) -> None:
    keeps = torch.ones(4, 12, dtype=torch.bool)
    opinions = specialists.opinions(networks[0], keeps, TASK.x_test)
    assert torch.equal(specialists.committee(opinions), networks[0][0](TASK.x_test).argmax(1))
    opinions[2, :, 2] = 0  # the third is sure of its class
    assert (specialists.committee(opinions) == 2).all()


def test_overlap_by_hand() -> None:
    keeps = torch.tensor([[True, True, False, False], [True, False, True, False]])
    assert specialists.overlap(keeps).to_numpy() == pytest.approx(np.array([[1, 1 / 3], [1 / 3, 1]]))
    assert specialists.overlap_by_chance(keeps).to_numpy()[0, 1] == pytest.approx(0.25 / 0.75)


@pytest.mark.parametrize("library", ["scipy", "torch"])
def test_a_sparse_network_answers_as_its_module_does(population, library) -> None:
    model = prune(population, 0.9, scope="first").to_module(0)
    sparse = timing.Sparse(model, library)
    for n in (1, 7):
        assert torch.allclose(sparse(TASK.x_test[:n]), model(TASK.x_test[:n]), atol=1e-5)
    kept = int((model[0].weight != 0).sum() + (model[2].weight != 0).sum())
    assert sum(len(v) for k, v in sparse.tensors().items() if k.startswith("values")) == kept
    assert load(torch_bytes := timing.save(sparse.tensors())).keys() == sparse.tensors().keys()
    assert len(torch_bytes) == timing.sizes({"sparse": sparse})["bytes"].item()


def test_sizes_count_what_is_stored(networks) -> None:
    model, found = networks[0]
    small = activations.subnetwork(model, found, torch.arange(12) < 3)
    rows = timing.sizes({"dense": model, "small": small}).set_index("form")
    assert rows["parameters"].to_dict() == {"dense": 12 * 17 + 4, "small": 3 * 17 + 4}
    assert rows["bytes"]["dense"] - rows["bytes"]["small"] >= 4 * 9 * 17 - 16  # headers aside


def test_timings_are_taken_on_one_thread_and_compared_with_the_first(networks) -> None:
    threads, seen = torch.get_num_threads(), []

    class Spy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append((torch.get_num_threads(), len(x)))
            return x

    rows = timing.timings({"dense": networks[0][0], "spy": Spy()}, TASK.x_test, (1, 50), rounds=3)
    assert {n for n, _ in seen} == {1}
    assert torch.get_num_threads() == threads
    assert rows.groupby("batch")["ratio"].first().tolist() == [1, 1]
    assert (rows["low"] <= rows["seconds"]).all()
    assert (rows["seconds"] <= rows["high"]).all()
    assert rows["per_second"].tolist() == pytest.approx((rows["batch"] / rows["seconds"]).tolist())


def test_only_known_shapes_and_libraries_are_made_sparse(networks) -> None:
    with pytest.raises(UserError, match="`model` must be linear, ReLU, linear"):
        timing.Sparse(nn.Sequential(nn.Linear(3, 2)))
    with pytest.raises(UserError, match="`library` must be one of scipy, torch; got 'mkl'"):
        timing.Sparse(networks[0][0], "mkl")
