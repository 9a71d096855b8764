"""Chapter 6: hidden layers compared, their maps, and the units that a count of dead neurons does not see."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import procrustes as scipy_procrustes
from scipy.stats import ortho_group
from sklearn.linear_model import RidgeClassifier
from sklearn.manifold import trustworthiness
from sklearn.metrics import silhouette_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from lowcap import pruning
from lowcap.chapters.geometry import experiments as geometry
from lowcap.chapters.geometry import measures, tsne
from lowcap.chapters.geometry.experiments import DENSE
from lowcap.chapters.geometry.measures import Images, Layer
from lowcap.chapters.replay import experiments as replay
from lowcap.errors import UserError
from lowcap.notebook import figures
from lowcap.population import Population
from lowcap.recipe import CONVERGED
from lowcap.tasks import load_task

SHORT = CONVERGED.but(epochs=3)


@pytest.fixture
def cloud(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(60, 5)) @ np.diag([3, 2, 1, 1, 0.5])


@pytest.fixture(scope="module")
def few() -> Images:
    return Images.of(load_task((4, 9), dataset="digits"), 100, 60)


@pytest.fixture(scope="module")
def networks() -> geometry.Conditions:
    task = load_task((4, 9), dataset="digits")
    return geometry.trained(task, 6, [0, 1, 2], SHORT, [0.5, 0.9], (0.9, SHORT))


def moved(x: np.ndarray, seed: int = 0) -> np.ndarray:
    """The same shape elsewhere: rotated, mirrored, scaled and shifted."""
    return 2.5 * x @ ortho_group.rvs(x.shape[1], random_state=seed) + 7


def test_cka_is_the_alignment_of_centred_kernels(rng: np.random.Generator, cloud: np.ndarray) -> None:
    other = rng.normal(size=(60, 3)) + cloud[:, :3]
    centre = np.eye(60) - 1 / 60
    k, m = (centre @ (x @ x.T) @ centre for x in (cloud, other))
    hsic = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert measures.cka(cloud, other) == pytest.approx(hsic, rel=1e-12)
    assert 0 < hsic < 1


@given(st.integers(0, 50))
def test_cka_and_procrustes_see_no_rotation_reflection_scale_or_shift(seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(30, 4))
    y = np.random.default_rng(seed + 100).normal(size=(30, 4))
    assert measures.cka(x, moved(x, seed)) == pytest.approx(1)
    assert measures.procrustes(x, moved(x, seed)) == pytest.approx(0, abs=1e-9)
    assert measures.cka(x, moved(y, seed)) == pytest.approx(measures.cka(x, y))
    assert measures.procrustes(x, moved(y, seed)) == pytest.approx(measures.procrustes(y, x))


def test_a_stretched_axis_is_another_shape(cloud: np.ndarray) -> None:
    stretched = cloud * np.array([1, 1, 1, 1, 9])
    assert measures.cka(cloud, stretched) < 0.9
    assert measures.procrustes(cloud, stretched) > 0.1


def test_procrustes_is_the_disparity_of_scipy(rng: np.random.Generator, cloud: np.ndarray) -> None:
    other = cloud + rng.normal(size=cloud.shape)
    assert measures.procrustes(cloud, other) == pytest.approx(scipy_procrustes(cloud, other)[2], rel=1e-10)


def test_layers_of_different_widths_are_compared_as_if_the_missing_units_were_silent(cloud: np.ndarray) -> None:
    narrow, padded = cloud[:, :3], np.hstack([cloud[:, :3], np.zeros((60, 2))])
    assert measures.procrustes(cloud, narrow) == pytest.approx(scipy_procrustes(cloud, padded)[2])
    assert measures.cka(cloud, narrow) == pytest.approx(measures.cka(cloud, padded))


def test_a_layer_that_does_not_vary_has_nothing_in_common(cloud: np.ndarray) -> None:
    silent = np.zeros((60, 5))
    assert measures.cka(cloud, silent) == 0
    assert measures.procrustes(cloud, silent) == 1
    assert measures.WITHIN["silhouette"](Layer(silent, np.arange(60) % 2, silent, np.arange(60) % 2), 3) == 0


@pytest.mark.parametrize("value", [0.1, 1e-9, 1e9])
def test_a_constant_is_no_variation_however_its_mean_is_rounded(cloud: np.ndarray, value: float) -> None:
    constant = np.full((60, 3), value)
    assert measures.cka(cloud, constant) == 0
    assert measures.procrustes(cloud, constant) == 1
    beside = np.hstack([1e-9 * cloud, constant])  # what varies counts, however little of the whole it is
    assert measures.cka(cloud, beside) == pytest.approx(1)


def test_shared_neighbours_are_those_of_scikit_learn(rng: np.random.Generator, cloud: np.ndarray) -> None:
    other = cloud + rng.normal(size=cloud.shape)
    near = [NearestNeighbors(n_neighbors=7).fit(x).kneighbors(return_distance=False) for x in (cloud, other)]
    by_hand = np.mean([len({*a} & {*b}) / 7 for a, b in zip(*near, strict=True)])
    assert measures.shared_neighbours(cloud, other, 7) == pytest.approx(by_hand)
    assert measures.shared_neighbours(cloud, moved(cloud), 7) == 1


def test_what_a_layer_is_good_for_is_what_scikit_learn_says(rng: np.random.Generator) -> None:
    y_fit, y = rng.integers(0, 2, 80), rng.integers(0, 2, 50)
    fit, seen = (rng.normal(size=(len(t), 4)) + 0.8 * t[:, None] for t in (y_fit, y))
    layer = Layer(fit, y_fit, seen, y)
    for k in (3, 10):  # of ten, five may be a tie
        oracle = KNeighborsClassifier(k).fit(fit, y_fit).score(seen, y)
        assert measures.WITHIN["knn"](layer, k) == pytest.approx(oracle)
    assert measures.WITHIN["probe"](layer, 3) == RidgeClassifier().fit(fit, y_fit).score(seen, y)
    assert measures.WITHIN["silhouette"](layer, 3) == pytest.approx(silhouette_score(seen, y))


def test_pruning_nothing_changes_nothing(networks: geometry.Conditions, few: Images) -> None:
    dense = networks[DENSE]
    rows = geometry.compare({DENSE: dense, "0 %": pruning.prune(dense, 0)}, few, k=5)
    same = rows[rows["condition"] == "0 %"]
    assert same["cka"].tolist() == pytest.approx([1] * 3)
    assert same["procrustes"].tolist() == pytest.approx([0] * 3, abs=1e-6)
    assert (same["neighbours"] == 1).all()
    one, two = (rows[rows["condition"] == c].drop(columns="condition").reset_index(drop=True) for c in (DENSE, "0 %"))
    pd.testing.assert_frame_equal(one[["knn", "probe", "silhouette"]], two[["knn", "probe", "silhouette"]])


def test_each_member_is_compared_as_if_it_were_alone(networks: geometry.Conditions, few: Images) -> None:
    together = geometry.compare(networks, few, k=5)
    alone = geometry.compare({name: one.select([2]) for name, one in networks.items()}, few, k=5)
    rest = together[together["seed"] == 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, alone, rtol=1e-4)


def test_conditions_are_what_they_are_called(networks: geometry.Conditions) -> None:
    assert list(networks) == [DENSE, "as run", "50 %", "90 %", "90 % fine-tuned", "another seed", "untrained"]
    dense, half = networks[DENSE], pruning.measure(networks["50 %"])
    assert half["sparsity_in"].tolist() == pytest.approx([0.5] * 3)
    assert half["sparsity_out"].tolist() == [0] * 3
    assert pruning.measure(networks["as run"])["sparsity"].between(0.005, 0.0091).all()
    assert networks["another seed"].seeds == [1, 2, 0]
    start = Population.grid([6], [0, 1, 2], n_features=64, init=SHORT.init)
    assert torch.equal(networks["untrained"].w_in, start.w_in)
    tuned = networks["90 % fine-tuned"]
    assert torch.equal(tuned.w_in == 0, networks["90 %"].w_in == 0)
    assert not torch.equal(tuned.w_in, networks["90 %"].w_in)
    assert not torch.equal(dense.w_in, start.w_in)


def test_the_studys_networks_are_those_of_its_replay() -> None:
    ((conditions, images),) = geometry.published((4, 9), 8, [42], [0.5], 0.95, dataset="digits", n=50)
    oracle = replay.run([42], dataset="digits").set_index(["pair", "width"]).loc[("4-9", 8)]
    assert conditions[DENSE].w_in.sum().item() == pytest.approx(oracle["w1_sum"], abs=1e-4)
    start = replay.starts(42, n_features=64)[4, 9].select([replay.WIDTHS.index(8)])
    assert torch.equal(conditions["untrained"].w_in, start.w_in.float())
    assert pruning.measure(conditions["50 %"])[["sparsity_in", "sparsity_out"]].to_numpy() == pytest.approx(0.5)
    held_out = replay.split((4, 9), 42, dataset="digits").x_test
    assert len(images.x) == 50
    assert all((held_out == x).all(1).any() for x in images.x)


def test_another_seed_of_the_study_is_the_next_one() -> None:
    first, second = geometry.published((4, 9), 4, [0, 42], [0.5], 0.95, dataset="digits")
    assert torch.equal(first[0]["another seed"].w_in, second[0][DENSE].w_in)
    assert torch.equal(second[0]["another seed"].w_in, first[0][DENSE].w_in)


def test_images_are_drawn_at_random_and_the_same_ones_again() -> None:
    task = load_task((4, 9), dataset="digits")
    one, two, other = (Images.of(task, 20, 30, seed) for seed in (0, 0, 1))
    assert torch.equal(one.x, two.x)
    assert not torch.equal(one.x, other.x)
    assert (len(one.y_fit), len(one.y)) == (20, 30)
    assert len(Images.of(task, 10**6, 10**6).y) == len(task.y_test)
    assert len(one.x.unique(dim=0)) == 30


def test_units_that_never_or_always_fire_or_are_cut_off_counted_by_hand() -> None:
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    one = Population([5], [0], n_features=2)
    one.w_in.data = torch.tensor([[1.0, -1.0, 0.0, 0.0, 1.0], [1.0, -1.0, 0.0, 0.0, 0.0]])
    one.b_in.data = torch.tensor([0.0, 0.0, 2.0, 0.0, 0.0])
    one.w_out.data = torch.tensor([[1.0], [1.0], [1.0], [1.0], [0.0]])
    row = geometry.firing(one, Images(x, torch.tensor([0, 1, 1]), x, torch.tensor([0, 1, 1]))).iloc[0]
    assert row["always"] == 2  # the first, and the third by its bias alone
    assert row["dead"] == 2  # the second, whose weights are negative, and the fourth, which has none
    assert row["connected"] == 2  # not the third and fourth, cut off from the pixels, nor the last, which fires unread


def test_closer_is_the_paired_difference_with_the_sign_of_the_measure() -> None:
    values = {"cka": [0.9, 0.8], "procrustes": [0.1, 0.2], "neighbours": [0.5, 0.5]}
    mine = pd.DataFrame({**values, "condition": "95 %", "seed": [0, 1], "width": 4})
    other = pd.DataFrame({"cka": [0.6, 0.7], "procrustes": [0.3, 0.4], "neighbours": [0.6, 0.6],
                          "condition": "another seed", "seed": [1, 0], "width": 4})  # fmt: skip
    ahead = geometry.closer(pd.concat([mine, other]), "95 %")
    assert ahead["estimate"].tolist() == pytest.approx([0.2, 0.2, -0.1])
    assert ahead.loc["cka", "low"] == pytest.approx(0.2)  # each pair is 0.2 apart, though neither column is constant
    assert ahead.loc["procrustes", "low"] > 0 > ahead.loc["neighbours", "high"]
    back = geometry.closer(pd.concat([mine, other]), "another seed", than="95 %")
    assert back["estimate"].tolist() == pytest.approx((-ahead["estimate"]).tolist())


def test_a_map_from_the_dense_positions_stays_nearer_than_a_free_one(
    networks: geometry.Conditions, few: Images
) -> None:
    again = {DENSE: networks[DENSE], "same": networks[DENSE], "free": networks[DENSE]}
    found = tsne.maps(again, few, free=["free"], perplexity=10, max_iter=400)
    place = {name: rows[["x", "y"]].to_numpy() for name, rows in found.groupby("condition")}
    apart = {name: np.linalg.norm(place[name] - place[DENSE], axis=1).mean() for name in again}
    assert apart[DENSE] == 0
    assert apart["same"] < apart["free"] / 2
    assert (found["label"] == np.tile(few.y.numpy().astype(int), 3)).all()


def test_turning_a_map_changes_no_distance_and_undoes_a_rotation(rng: np.random.Generator) -> None:
    place, onto = rng.normal(size=(20, 2)), rng.normal(size=(20, 2))
    back = tsne.turned(place, onto)
    assert measures.distances(back, back).numpy() == pytest.approx(measures.distances(place, place).numpy())
    rotated = onto @ ortho_group.rvs(2, random_state=3) + 5
    assert tsne.turned(rotated, onto) == pytest.approx(onto)


def test_maps_are_the_same_again_and_by_however_many_workers(
    networks: geometry.Conditions, few: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = {name: networks[name] for name in (DENSE, "90 %")}
    once = tsne.quality(two, few, k=5, perplexity=10, max_iter=260)
    monkeypatch.setattr(measures, "cores", lambda: 3)
    pd.testing.assert_frame_equal(once, tsne.quality(two, few, k=5, perplexity=10, max_iter=260))
    first = once[once["condition"] == DENSE]
    assert (first["moved"].abs() < 1e-9).all()
    assert (first["kept"] == 1).all()


def test_each_map_is_judged_against_its_own_layer_and_the_first_map(networks: geometry.Conditions, few: Images) -> None:
    two = {name: networks[name] for name in (DENSE, "90 %")}
    how = {"perplexity": 10, "max_iter": 260}
    found = tsne.quality(two, few, k=5, **how).set_index(["condition", "seed"])
    place = {name: rows[["x", "y"]].to_numpy() for name, rows in tsne.maps(two, few, 0, **how).groupby("condition")}
    for name, population in two.items():
        with torch.no_grad():
            own = population.select([0]).hidden(few.x).numpy()
        trust = trustworthiness(own, place[name], n_neighbors=5)
        assert found.loc[(name, 0), "trust"] == pytest.approx(trust)
    near = [NearestNeighbors(n_neighbors=5).fit(x).kneighbors(return_distance=False) for x in place.values()]
    kept = np.mean([len({*a} & {*b}) / 5 for a, b in zip(*near, strict=True)])
    assert found.loc[("90 %", 0), "kept"] == pytest.approx(kept)
    assert found.loc[("90 %", 0), "moved"] == pytest.approx(scipy_procrustes(place[DENSE], place["90 %"])[2])
    assert 0 < kept < 1


def test_trust_is_scikit_learns_and_perfect_for_a_map_that_is_the_layer(cloud: np.ndarray) -> None:
    assert tsne.trust(cloud[:, :2], cloud[:, :2], 5) == 1
    assert tsne.trust(cloud, cloud[:, 3:], 5) == trustworthiness(cloud, cloud[:, 3:], n_neighbors=5)


def test_points_are_shaded_by_their_height_in_the_first_map() -> None:
    data = pd.DataFrame({"condition": ["a"] * 3 + ["b"] * 3, "image": [0, 1, 2] * 2, "label": 0,
                         "x": range(6), "y": [5.0, 1.0, 3.0, 0.0, 9.0, 4.0]})  # fmt: skip
    _, axes = figures.panels(2)
    figures.point_maps(data, axes)
    assert [ax.get_title() for ax in axes] == ["a", "b"]
    assert all(np.allclose(ax.collections[0].get_array(), [1, 1 / 3, 2 / 3]) for ax in axes)
    assert axes[0].get_xlim() == axes[1].get_xlim()


@pytest.mark.mnist
def test_a_true_95_percent_moves_a_layer_far_and_the_slip_hardly_at_all(mnist: str) -> None:
    ((conditions, images),) = geometry.published((4, 9), 24, [0], [0.95], 0.95, dataset=mnist)
    rows = geometry.compare(conditions, images, measures=["cka", "neighbours"]).set_index("condition")
    assert rows.loc["as run", "cka"] > 0.999
    assert rows.loc["95 %", "cka"] < 0.8
    assert rows.loc["95 %", "dead"] == 0
    assert rows.loc["95 %", "connected"] < 4


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda n, i: geometry.compare(n, i, measures=["cca"]), "`measures` must be one of cka, .*probe; got 'cca'"),
        (lambda n, i: geometry.compare({"50 %": n["50 %"]}, i), "must be one of 50 %; got 'dense'"),
        (lambda n, i: geometry.compare(n, i, k=60), "`k` must be a number above 0 and below 60"),
        (lambda n, i: tsne.maps(n, i, 3), "`members` must be .* from 0 to 2.*; got \\[3\\]"),
        (lambda n, i: tsne.maps(n, i, perplexity=60), "`perplexity` must be a number above 0 and below 60, .*; got 60"),
        (lambda n, i: tsne.trust(i.x.numpy(), i.x.numpy(), 30), "`k` must be a number above 0 and below 30"),
        (
            lambda n, i: geometry.closer(geometry.compare(n, i, k=5), "95 %"),
            "`condition` must be one of dense, .*'95 %'",
        ),
        (lambda n, i: geometry.closer(geometry.compare(n, i, k=5), DENSE, "x"), "`than` must be one of dense, .*'x'"),
        (lambda n, i: tsne.quality(n, i, k=30, max_iter=250), "`k` must be a number above 0 and below 30"),
        (lambda n, i: geometry.member(n[DENSE], 24, 0), "trained: width 6 and seed 0, 1, 2; got 24, 0"),
        (lambda n, i: geometry.member(n[DENSE], 6, 3), "trained: width 6 and seed 0, 1, 2; got 6, 3"),
    ],
)
def test_what_does_not_exist_is_one_clear_error(call, said, networks: geometry.Conditions, few: Images) -> None:
    with pytest.raises(UserError, match=said):
        call(networks, few)
