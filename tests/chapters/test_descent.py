"""Closed forms against scikit-learn and NumPy, a peak where theory puts it, thresholds worked out by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge

from lowcap.chapters.descent import experiments as descent
from lowcap.chapters.descent import random_features
from lowcap.errors import UserError
from lowcap.recipe import ADAM
from lowcap.tasks import Task, load_task, with_label_noise, with_train_size


@pytest.fixture(scope="module")
def pair() -> Task:
    return load_task((4, 9), dataset="digits")


@pytest.fixture(scope="module")
def ten() -> Task:
    return load_task("all", dataset="digits")


@pytest.mark.parametrize("shape", [(40, 7), (13, 13), (7, 40)])
def test_ridge_is_scikit_learns_at_every_penalty_of_the_path(rng, shape) -> None:
    x, y = rng.standard_normal(shape), rng.standard_normal((shape[0], 3))
    penalties = (0.01, 1.0, 50.0)
    found = random_features.ridge(torch.from_numpy(x), torch.from_numpy(y), penalties)
    for weights, penalty in zip(found, penalties, strict=True):
        oracle = Ridge(alpha=penalty, fit_intercept=False, solver="svd").fit(x, y)
        assert np.allclose(weights.T, oracle.coef_, atol=1e-10)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (13, 13)])
def test_without_penalty_it_is_least_squares_of_smallest_norm(rng, shape) -> None:
    x, y = rng.standard_normal(shape), rng.standard_normal((shape[0], 2))
    x[:, -1] = x[:, 0]  # a rank that is not full
    found = random_features.ridge(torch.from_numpy(x), torch.from_numpy(y))[0]
    assert np.allclose(found, np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-9)


def test_a_wide_matrix_with_two_equal_rows_is_not_squared(rng) -> None:
    x, y = rng.standard_normal((7, 40)), rng.standard_normal((7, 2))
    x[1] = x[0]
    found = random_features.ridge(torch.from_numpy(x), torch.from_numpy(y))[0]
    assert np.allclose(found, np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-9)


def test_a_narrower_random_layer_is_the_start_of_a_wider_one() -> None:
    wide, narrow = random_features.random_layer(11, 9, 3), random_features.random_layer(11, 4, 3)
    assert torch.equal(wide[:, :4], narrow)
    assert not torch.equal(narrow, random_features.random_layer(11, 4, 4))


def gaussian(n: int = 60, d: int = 30) -> Task:
    """Two classes of Gaussian points, told apart by a plane, so that hardly any feature is always silent."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2 * n + 500, d), dtype=np.float32))
    y = (x[:, :3].sum(1) > 0).float()
    train, val, test = slice(n), slice(n, 2 * n), slice(2 * n, None)
    return Task("toy", (0, 1), 0, x[train], y[train], x[val], y[val], x[test], y[test], torch.ones(d).bool())


def test_the_peak_sits_where_features_equal_samples() -> None:
    rows = random_features.feature_curve(gaussian(), random_features.sizes_around(60, 8), range(5), n=60, noises=[0.1])
    marks = descent.landmarks(rows, y="test_loss")
    assert marks["at_peak"] == descent.threshold(rows, by="train_loss", at_most=1e-6) == 60
    assert marks["peak"] > 5 * max(marks["minimum"], marks["last"])


@pytest.mark.parametrize("task", ["pair", "ten"])
def test_a_curve_of_features_is_what_one_gets_by_hand(task, request) -> None:
    task = request.getfixturevalue(task)
    rows = random_features.feature_curve(task, [5, 30], [4], n=50, noises=[0.0, 0.3], penalties=[0.0, 2.0])
    noisy = with_label_noise(with_train_size(task, 50, 4), 0.3, 4)
    layer = random_features.random_layer(task.n_features, 30, 4)
    hidden, hidden_test = ((x @ layer).relu().double().numpy() for x in (noisy.x_train, task.x_test))
    targets = random_features.coded(noisy.y_train, task.n_outputs)
    model = Ridge(alpha=2.0, fit_intercept=False, solver="svd").fit(hidden, targets)
    outputs = model.predict(hidden_test).reshape(len(task.x_test), -1)
    guess = outputs.argmax(1) if task.n_outputs > 1 else outputs[:, 0] > 0
    row = rows.query("width == 30 and noise == 0.3 and penalty == 2").iloc[0]
    assert len(rows) == 8
    plain = random_features.feature_curve(task, [5, 30], [4], n=50, noises=[0.0, 0.3])
    shared = [column for column in plain if column in rows and column != "penalty"]
    free = rows[rows["penalty"] == 0].reset_index(drop=True)
    assert np.allclose(plain[shared], free[shared])
    assert "val_error" not in plain
    assert row["test_error"] == pytest.approx((guess != task.y_test.numpy()).mean())
    target = random_features.coded(task.y_test, task.n_outputs).numpy()
    assert row["test_loss"] == pytest.approx(((outputs - target) ** 2).sum(1).mean(), rel=1e-6)
    fitted = model.predict(hidden).reshape(50, -1)
    guess = fitted.argmax(1) if task.n_outputs > 1 else fitted[:, 0] > 0
    assert row["train_error"] == pytest.approx((guess != noisy.y_train.numpy()).mean())


def test_targets_of_a_pair_and_of_more_classes() -> None:
    assert random_features.coded(torch.tensor([0.0, 1.0]), 1).tolist() == [[-1.0], [1.0]]
    assert torch.allclose(
        random_features.coded(torch.tensor([2]), 4), torch.tensor([[-0.25, -0.25, 0.75, -0.25]]).double()
    )


def curve(values: dict[int, float], column: str, seeds: int = 2) -> pd.DataFrame:
    rows = [(width, seed, value) for width, value in values.items() for seed in range(seeds)]
    return pd.DataFrame(rows, columns=["width", "seed", column])


def test_the_measured_threshold_is_the_first_width_that_stays_at_zero() -> None:
    rows = curve({2: 0.4, 4: 0.0, 8: 0.1, 16: 0.0, 32: 0.0}, "train_error")
    assert descent.threshold(rows) == 16
    assert descent.threshold(rows, at_most=0.1) == 4
    assert np.isnan(descent.threshold(curve({2: 0.4, 4: 0.3}, "train_error")))
    fitted = rows.rename(columns={"width": "n"}).assign(train_error=[0, 0, 0, 0, 0.2, 0.2, 0, 0, 0.1, 0.1])
    assert descent.threshold(fitted, x="n", from_above=False) == 4


def test_rise_and_fall_of_each_seed_are_taken_between_the_landmarks_of_the_mean() -> None:
    errors = {2: (0.5, 0.5), 4: (0.1, 0.3), 8: (0.6, 0.4), 16: (0.2, 0.2), 32: (0.3, None)}
    rows = [{"width": w, "seed": i, "test_error": e} for w, each in errors.items() for i, e in enumerate(each)]
    found = descent.per_seed(pd.DataFrame(rows).dropna())
    assert np.allclose(found["rise"], [0.5, 0.1])
    assert np.allclose(found["ratio"], [6, 4 / 3])
    assert np.allclose(found["fall"], [0.4, 0.2])
    assert found["rise"].min() == descent.landmarks(pd.DataFrame(rows).dropna())["sure"]


def test_the_landmarks_of_a_hand_made_curve() -> None:
    rows = curve({2: 0.9, 4: 0.2, 8: 0.3, 16: 0.5, 32: 0.25, 64: 0.26, 128: 0.1}, "test_error")
    rows.loc[rows["width"].eq(16), "test_error"] += [0.1, -0.1]
    marks = descent.landmarks(rows)
    assert marks.round(6).to_dict() == {
        "at_minimum": 4, "minimum": 0.2, "at_peak": 16, "peak": 0.5, "first": 0.7, "rise": 0.3, "ratio": 2.5,
        "sure": 0.2, "fall": 0.4, "at_last": 128, "last": 0.1, "best": 128,
    }  # fmt: skip


def test_the_survey_sets_each_curve_against_its_own_threshold() -> None:
    near = curve({2: 0.9, 4: 0.2, 8: 0.5, 16: 0.1, 32: 0.13}, "test_error")
    near["train_error"] = [0.5, 0.5, 0.2, 0.2, 0.1, 0.1, 0, 0, 0, 0]
    never = near.assign(train_error=0.3, test_error=near["test_error"].cummin())
    rows = pd.concat([near.assign(task="a", noise=0.1), never.assign(task="b", noise=0.1)])
    first, second = (row for _, row in descent.survey(rows, ["task", "noise"], fit="train_error", at_most=0).iterrows())
    assert first[["task", "zero", "away", "times"]].tolist() == ["a", 16, 1, 2]
    assert first[["at_zero", "past", "first", "best"]].astype(float).round(6).tolist() == [0.1, 0.03, 0.7, 16]
    assert second[["zero", "away", "times", "at_zero", "past"]].isna().all()
    assert second["rise"] == 0


@pytest.mark.parametrize(
    ("zero", "needed"),
    [(2, []), (4, []), (5, [128]), (8, [128]), (9, [128, 256]), (60, [128, 256]), (np.nan, [128, 256])],
)
def test_very_wide_networks_are_those_it_takes_to_reach_sixteen_thresholds(zero, needed) -> None:
    assert descent.very_wide([256, 128, 32], [2, 64], zero) == needed


def test_a_curve_that_only_falls_has_no_peak() -> None:
    marks = descent.landmarks(curve({2: 0.9, 4: 0.5, 8: 0.4}, "test_error"))
    assert (marks["rise"], marks["at_peak"], marks["fall"]) == (0, 8, 0)


def test_steps_are_close_together_at_first_and_end_with_the_last() -> None:
    assert descent.log_spaced(7, 1) == [7]
    assert descent.log_spaced(100, 3) == [1, 10, 100]
    assert descent.log_spaced(3, 50) == [1, 2, 3]


def test_choosing_on_validation_images_takes_the_first_of_the_best() -> None:
    rows = pd.DataFrame({"width": 3, "seed": 0, "epoch": [1, 2, 5, 9], "val_error": [0.5, 0.2, 0.2, 0.3]})
    assert descent.chosen(pd.concat([rows[::-1], rows.assign(seed=1)]), "epoch")["epoch"].tolist() == [2, 2]


def test_the_course_of_training_ends_with_the_trained_networks(ten) -> None:
    recipe = ADAM.but(init="he", epochs=20)
    rows = descent.trained(ten, [3, 5], [0, 1], recipe, n=200, noise=0.2, looks=3)
    assert sorted(set(rows["epoch"])) == descent.log_spaced(20, 3) == [1, 4, 20]
    alone = descent.trained(ten, [5], [1], recipe, n=200, noise=0.2)
    assert alone["epoch"].tolist() == [20]
    both = rows.query("width == 5 and seed == 1 and epoch == 20").iloc[0]
    assert both["test_error"] == pytest.approx(alone["test_error"].iloc[-1], abs=0.01)
    second = descent.trained(ten, [3, 5], [1], recipe, n=200, noise=0.2, looks=3)
    pd.testing.assert_frame_equal(rows[rows["seed"] == 1].reset_index(drop=True), second)
    course = rows.pivot(index=["width", "seed"], columns="epoch", values="train_loss")
    assert (course[1] > course[20]).all()


def test_transformers_are_scored_as_networks_are(ten) -> None:
    recipe = ADAM.but(epochs=1)
    rows = descent.transformers(ten, [4, 8], [0], recipe, n=100, noise=0.1)
    own = descent.trained(ten, [4], [0], recipe, n=100)
    assert set(own.columns) == set(rows.columns)
    assert rows["n_params"].is_monotonic_increasing
    assert rows["test_error"].between(0, 1).all()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda t: random_features.feature_curve(t, [], [0], n=50), "`widths` must be one or more whole numbers"),
        (lambda t: random_features.feature_curve(t, [2.5], [0], n=50), "at least 1; got 2.5"),
        (
            lambda t: random_features.feature_curve(t, [4], [0], n=1),
            "`n` must be a whole number of at least 2",
        ),
        (lambda t: random_features.feature_curve(t, [4], [0], n=50, noises=[20]), "did you mean 0.2?"),
        (
            lambda t: random_features.feature_curve(t, [4], [0], n=50, penalties=[-1]),
            "`penalties` (each) must be a number of at least 0",
        ),
        (
            lambda t: descent.trained(t, [4], [0], ADAM, n=50, looks=0),
            "`looks` must be a whole number of at least 1",
        ),
        (lambda t: random_features.ridge(torch.ones(3, 2), torch.ones(4, 1)), "a row per image; got (3, 2) and (4, 1)"),
        (lambda t: descent.landmarks(pd.DataFrame({"width": [1]})), "no column ['test_error']; they have width"),
        (lambda t: descent.threshold(pd.DataFrame({"width": [], "train_error": []})), "there are none"),
    ],
)
def test_bad_input_is_one_clear_line(pair, call, told) -> None:
    with pytest.raises(UserError) as caught:
        call(pair)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_random_features_on_mnist_peak_at_the_threshold(mnist) -> None:
    task, widths = load_task((4, 9), dataset=mnist), random_features.sizes_around(100)
    rows = random_features.feature_curve(task, widths, range(4), n=100, noises=[0.0, 0.2])
    for _, group in rows.groupby("noise"):
        marks = descent.landmarks(group)
        zero = descent.threshold(group, by="train_loss", at_most=1e-6)
        assert abs(widths.index(marks["at_peak"]) - widths.index(zero)) <= 1
        assert marks["ratio"] > 1.3
        assert marks["last"] < 0.7 * marks["peak"]
