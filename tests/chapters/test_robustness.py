"""Chapter 8's experiments: sweeps, places, attacks and what width gains, against other ways to compute them."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, f1_score

from lowcap.chapters.replay import experiments as replay
from lowcap.chapters.robustness import attacks, effects
from lowcap.chapters.robustness import experiments as robustness
from lowcap.chapters.robustness.corruption import CORRUPTIONS, corrupt
from lowcap.errors import UserError
from lowcap.evaluation import evaluate
from lowcap.population import Population
from lowcap.recipe import ADAM, CONVERGED
from lowcap.tasks import Task, load_task
from lowcap.training import train

RECIPE = CONVERGED.but(epochs=3)
SOME = {"gaussian": [0, 0.3], "occlusion": [0, 7]}


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task((4, 9), dataset="digits")


@pytest.fixture(scope="module")
def population(task: Task) -> Population:
    return train(Population.grid([1, 3, 8], [0, 1], n_features=64), task, RECIPE.stretched(task))


@pytest.fixture(scope="module")
def networks() -> robustness.Networks:
    tasks = [load_task((4, 9), dataset="digits", split_seed=i) for i in range(2)]
    return robustness.trained(tasks, RECIPE, [2, 4], 3)


# Sweeps


def test_a_sweep_is_each_network_alone_on_the_same_images(population: Population, task: Task) -> None:
    rows = robustness.sweep(population, task.x_test, task.y_test)
    assert set(rows["kind"]) == set(CORRUPTIONS)
    assert rows.groupby(["kind", "severity"]).size().eq(len(population)).all()
    for kind in CORRUPTIONS:
        severity = CORRUPTIONS[kind].levels[4]
        x = corrupt(task.x_test, kind, severity)
        module = population.to_module(4)
        guess = (module(x)[:, 0] > 0).float()
        found = rows.query("kind == @kind and severity == @severity and member == 4")
        assert found["f1"].item() == pytest.approx(f1_score(task.y_test, guess, zero_division=0))
        assert found["accuracy"].item() == pytest.approx(accuracy_score(task.y_test, guess))


def test_noise_does_not_depend_on_who_else_is_looked_at(population: Population, task: Task) -> None:
    together = robustness.sweep(population, task.x_test, task.y_test, SOME, noise_seed=3)
    for i in range(len(population)):
        alone = robustness.sweep(population.select([i]), task.x_test, task.y_test, SOME, noise_seed=3)
        mine = together[together["member"] == i].reset_index(drop=True)
        pd.testing.assert_frame_equal(mine.drop(columns="member"), alone.drop(columns="member"))


def test_another_noise_seed_gives_other_scores_and_severity_zero_the_clean_ones(
    population: Population, task: Task
) -> None:
    first, other = (robustness.sweep(population, task.x_test, task.y_test, SOME, noise_seed=s) for s in (0, 1))
    assert (first["f1"] != other["f1"]).any()
    clean = evaluate(population, task.x_test, task.y_test)
    for kind in SOME:
        at_zero = first[(first["kind"] == kind) & (first["severity"] == 0)]
        assert at_zero["f1"].tolist() == clean["f1"].tolist()
        assert at_zero["accuracy"].tolist() == clean["accuracy"].tolist()


@pytest.mark.parametrize("size", [7, 14])
def test_the_map_of_places_is_what_brute_force_finds(size: int, population: Population, task: Task) -> None:
    found = robustness.occlusion_map(population, task.x_test, task.y_test, size).set_index(["top", "left", "member"])
    side = size * 8 // 28
    assert len(found) == (9 - side) ** 2 * len(population)
    for top in range(9 - side):
        for left in range(9 - side):
            x = task.x_test.clone().view(-1, 8, 8)
            x[:, top : top + side, left : left + side] = 0
            oracle = evaluate(population, x.flatten(1), task.y_test)
            assert np.allclose(found.loc[(top, left), "f1"], oracle["f1"], atol=1e-9)
            assert np.allclose(found.loc[(top, left), "accuracy"], oracle["accuracy"], atol=1e-9)


def test_a_patch_of_no_size_hides_nothing(population: Population, task: Task) -> None:
    found = robustness.occlusion_map(population, task.x_test, task.y_test, 0)
    clean = evaluate(population, task.x_test, task.y_test)["f1"].tolist()
    assert all(place["f1"].tolist() == clean for _, place in found.groupby(["top", "left"]))


def test_the_study_is_corrupted_on_its_own_images_by_its_own_networks() -> None:
    rows = robustness.published(SOME, seeds=[0, 42], pair=(4, 9), widths=[4, 8], dataset="digits")
    assert rows.groupby(["kind", "severity", "width"]).size().eq(2).all()
    oracle = replay.run([42], pairs=replay.PAIRS, widths=replay.WIDTHS, dataset="digits", percentages=[])
    oracle = oracle.query("pair == '4-9' and width == 8")["test_f1"].item()
    clean = rows.query("seed == 42 and width == 8 and severity == 0")["f1"]
    assert np.allclose(clean, oracle, atol=1e-9)
    for seed, (population, data) in zip([0, 42], replay.each(
        lambda population, data: (population, data), seeds=[0, 42], pairs=[(4, 9)], widths=[4, 8], dataset="digits"
    ), strict=True):  # fmt: skip
        for kind, severity in (("gaussian", 0.3), ("occlusion", 7)):
            logits = population.to_module(1)(corrupt(data.x_test, kind, severity, noise_seed=seed))[:, 0]
            oracle = f1_score(data.y_test, logits.detach() >= 0)
            found = rows.query("seed == @seed and width == 8 and kind == @kind and severity > 0")["f1"].item()
            assert found == pytest.approx(oracle, abs=1e-12)


def test_a_probability_of_exactly_a_half_counts_for_the_larger_label_as_in_the_study(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    silent = Population([4], [0], n_features=64)
    for weights in (silent.w_in, silent.b_in, silent.w_out, silent.b_out):
        weights.data.zero_()
    data = replay.split((4, 9), 0, dataset="digits")
    monkeypatch.setattr(replay, "each", lambda look, **_: [look(silent, data)])
    found = robustness.published(SOME)["f1"]
    assert np.allclose(found, f1_score(data.y_test, np.ones(len(data.y_test))))


# Splits, starts, pixels


def test_no_two_networks_share_a_start_and_each_is_trained_on_its_split(networks: robustness.Networks) -> None:
    assert [task.split_seed for task, _ in networks] == [0, 1]
    assert [population.seeds for _, population in networks] == [[0, 1, 2] * 2, [3, 4, 5] * 2]
    task, population = networks[1]
    alone = Population([4], [4], n_features=64, init=RECIPE.init)
    train(alone, task, RECIPE.stretched(task), order_seed=1)
    assert torch.allclose(alone.w_in, population.select([4]).w_in, atol=1e-5)
    rows = robustness.over_splits(networks, SOME)
    assert rows.groupby(["split", "kind", "severity"]).size().eq(6).all()


def test_populations_of_different_images_are_each_corrupted_on_their_own(networks: robustness.Networks) -> None:
    other = load_task((3, 8), dataset="digits", split_seed=7)
    jobs = [*networks, (other, networks[0][1]), networks[0]]
    rows = robustness.over_splits(jobs, SOME)
    for task, population in jobs[1:]:
        alone = robustness.sweep(population, task.x_test, task.y_test, SOME)
        mine = rows[rows["split"] == task.split_seed].drop_duplicates(["kind", "severity", "width", "seed"])
        assert mine["f1"].tolist() == alone["f1"].tolist()


def test_weights_that_are_never_fed_can_be_zeroed_before_or_after_training(networks: robustness.Networks) -> None:
    tasks = [task for task, _ in networks]
    dead = [~task.live for task in tasks]
    assert any(pixels.any() for pixels in dead)
    before = robustness.trained(tasks, RECIPE, [2, 4], 3, blank=lambda task: ~task.live)
    after = robustness.without(networks, lambda task: ~task.live)
    for (_, one), (_, other), pixels in zip(before, after, dead, strict=True):
        assert torch.equal(one.w_in, other.w_in)
        assert torch.equal(one.w_out, other.w_out)
        assert (one.w_in[pixels] == 0).all()


def test_without_takes_the_named_pixels_and_nothing_else(networks: robustness.Networks) -> None:
    for (task, old), (_, new) in zip(networks, robustness.without(networks, robustness.seldom_lit), strict=True):
        pixels = robustness.seldom_lit(task)
        assert (new.w_in[pixels] == 0).all()
        assert torch.equal(new.w_in[~pixels], old.w_in[~pixels])
        assert (old.w_in[pixels] != 0).any()


def test_seldom_lit_pixels_are_counted_on_training_images(task: Task) -> None:
    share = (task.x_train > 0).double().mean(0)
    assert torch.equal(robustness.seldom_lit(task, 0), ~task.live)
    assert torch.equal(robustness.seldom_lit(task, 0.2), share < 0.2)
    assert robustness.seldom_lit(task, 0.2).sum() > (~task.live).sum()
    with pytest.raises(UserError, match="`below` must be a fraction"):
        robustness.seldom_lit(task, 1.5)


def test_pruning_takes_the_first_layer_only_and_to_the_level(networks: robustness.Networks) -> None:
    steps = list(robustness.pruned(networks, [0, 0.9], RECIPE))
    assert [(method, level) for method, level, _ in steps] == [
        ("one-shot", 0), ("fine-tuned", 0), ("one-shot", 0.9), ("fine-tuned", 0.9),
    ]  # fmt: skip
    for _, level, found in steps:
        for _, one in found:
            assert (one.w_in == 0).double().mean() == pytest.approx(level, abs=0.01)
            assert (one.w_out != 0).all()
    assert torch.equal(steps[0][2][0][1].w_in, networks[0][1].w_in)


def test_pairs_are_trained_one_by_one() -> None:
    rows = robustness.across_pairs([(0, 1), (4, 9)], RECIPE, [2, 4], 2, SOME, dataset="digits")
    assert rows.groupby(["pair", "kind", "severity"]).size().eq(4).all()
    tasks = [load_task((4, 9), dataset="digits")]
    alone = robustness.over_splits(robustness.trained(tasks, RECIPE, [2, 4], 2), SOME)
    assert rows.query("pair == '4-9'")["f1"].tolist() == alone["f1"].tolist()


def test_a_width_that_was_not_trained_is_one_error_that_lists_those_that_were(networks: robustness.Networks) -> None:
    assert [p.widths for _, p in robustness.of_widths(networks, [4])] == [[4] * 3] * 2
    with pytest.raises(UserError, match=r"`widths` must be among those trained, \[2, 4\]; got 64"):
        robustness.of_widths(networks, [4, 64])
    rows = robustness.over_splits(networks, SOME)
    with pytest.raises(UserError, match="`width` must be one of 2, 4; got 64"):
        effects.paired(rows, "gaussian", 0.3, 2, 64)
    with pytest.raises(UserError, match=r"`severity` must be one of 0, 0\.3; got 0\.5"):
        effects.paired(rows, "gaussian", 0.5, 2, 4)
    with pytest.raises(UserError, match="`kind` must be one of gaussian, occlusion; got 'blur'"):
        effects.paired(rows, "blur", 0.3, 2, 4)


# Attacks


@pytest.mark.parametrize("member", range(6))
def test_the_fast_gradient_sign_is_that_of_autograd(member: int, population: Population, task: Task) -> None:
    # In the middle of the range, so that nothing is clipped; in float64, where the loss does not saturate.
    x, y = (0.3 + 0.4 * task.x_test[:40]).double().requires_grad_(), task.y_test[:40].double()
    module, double = population.to_module(member).double(), population.select([member]).double()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(module(x)[:, 0], y, reduction="sum")
    oracle = x + 0.1 * torch.autograd.grad(loss, x)[0].sign()
    found = attacks.fgsm(double, 0, x.detach(), y, 0.1)
    assert torch.allclose(found, oracle, atol=1e-9)
    assert torch.allclose(attacks.gradient(double, 0, x.detach())[0], module(x)[:, 0], atol=1e-9)


@pytest.mark.parametrize("epsilon", [0.02, 0.2, 1])
def test_attacks_stay_within_epsilon_and_the_range(epsilon: float, population: Population, task: Task) -> None:
    x, y = task.x_test, task.y_test
    for changed in (
        attacks.fgsm(population, 5, x, y, epsilon),
        attacks.pgd(population, 5, x, y, epsilon),
        attacks.random_signs(x, epsilon),
    ):
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert (changed - x).abs().max() <= epsilon + 1e-6
        assert (changed - x).abs().max() > 0.9 * epsilon


def test_gradient_descent_is_stronger_than_one_step_and_that_than_chance(population: Population, task: Task) -> None:
    rows = attacks.attacked(population, task.x_test, task.y_test, [0, 0.1, 0.2])
    mean = rows.groupby(["epsilon", "attack"])["accuracy"].mean().unstack()
    blind, fgsm, pgd = (mean[name] for name in attacks.ATTACKS)
    assert (mean.loc[0] == mean.loc[0].iloc[0]).all()
    assert pgd[0.1] <= fgsm[0.1] < blind[0.1] - 0.02
    assert pgd[0.2] < fgsm[0.2] < blind[0.2] - 0.05


def test_each_member_is_attacked_for_itself(population: Population, task: Task) -> None:
    together = attacks.attacked(population, task.x_test, task.y_test, [0.08], steps=3)
    alone = attacks.attacked(population.select([4]), task.x_test, task.y_test, [0.08], steps=3)
    assert together.query("member == 4")["accuracy"].tolist() == alone["accuracy"].tolist()
    one, other = (attacks.pgd(population, i, task.x_test, task.y_test, 0.08) for i in (4, 5))
    assert (one != other).any()


def test_an_attack_says_what_it_needs(population: Population, task: Task) -> None:
    x, y = task.x_test, task.y_test
    for member in (6, -1, 0.5, True):
        with pytest.raises(UserError, match="`member` must be a whole number from 0 to 5"):
            attacks.fgsm(population, member, x, y, 0.1)
    with pytest.raises(UserError, match="`epsilon` must be a fraction from 0 to 1"):
        attacks.pgd(population, 0, x, y, 8)
    with pytest.raises(UserError, match="`steps` must be a whole number of at least 1; got 0"):
        attacks.pgd(population, 0, x, y, 0.1, steps=0)
    with pytest.raises(UserError, match="pair of classes"):
        attacks.fgsm(Population([2], [0], n_features=64, n_outputs=10), 0, x, y, 0.1)


# Effects


def toy(n_splits: int = 3, n: int = 4, *, slope: float = 2.0, gain: float = 0.05) -> pd.DataFrame:
    """Paired networks whose F1 under corruption lies exactly on two parallel lines, `gain` apart."""
    rng = np.random.default_rng(0)
    index = pd.MultiIndex.from_product([range(n_splits), range(n)], names=["split", "seed"])
    clean_s, clean_l = 0.9 + 0.02 * rng.standard_normal((2, len(index)))
    frame = {"clean_small": clean_s, "clean_large": clean_l + 0.03,
             "hurt_small": slope * clean_s - 1, "hurt_large": slope * (clean_l + 0.03) - 1 + gain}  # fmt: skip
    return pd.DataFrame(frame, index=index)


def test_a_gain_at_equal_clean_scores_is_found_whatever_the_clean_scores() -> None:
    for gain in (0, 0.05):
        row = effects.effects(toy(gain=gain)).loc["matched"]
        assert row[["estimate", "low", "high"]].tolist() == pytest.approx([gain] * 3, abs=1e-9)


def test_the_matched_gain_is_that_of_a_regression_with_a_dummy_for_width(rng: np.random.Generator) -> None:
    table = toy() + 0.01 * rng.standard_normal((12, 4))
    clean = np.concatenate([table["clean_small"], table["clean_large"]])
    design = np.stack([clean, np.repeat([0, 1], len(table))], axis=1)
    oracle = LinearRegression().fit(design, np.concatenate([table["hurt_small"], table["hurt_large"]])).coef_[1]
    assert effects.effects(table).loc["matched", "estimate"] == pytest.approx(oracle)


def test_the_slope_is_that_of_a_regression_with_a_dummy_for_width(rng: np.random.Generator) -> None:
    assert effects.slope(toy(slope=-3)) == pytest.approx(-3)
    table = toy() + 0.01 * rng.standard_normal((12, 4))
    clean = np.concatenate([table["clean_small"], table["clean_large"]])
    design = np.stack([clean, np.repeat([0, 1], len(table))], axis=1)
    oracle = LinearRegression().fit(design, np.concatenate([table["hurt_small"], table["hurt_large"]])).coef_[0]
    assert effects.slope(table) == pytest.approx(oracle)
    flat = table.assign(clean_small=0.9, clean_large=0.9)
    assert effects.slope(flat) == 0
    mean = table.mean()
    assert effects.effects(flat).loc["matched", "estimate"] == pytest.approx(mean["hurt_large"] - mean["hurt_small"])


def test_effects_worked_out_by_hand() -> None:
    index = pd.MultiIndex.from_tuples([(0, 0), (0, 1)], names=["split", "seed"])
    table = pd.DataFrame({"clean_small": [0.8, 0.9], "clean_large": [1.0, 1.0],
                          "hurt_small": [0.4, 0.6], "hurt_large": [0.5, 0.9]}, index=index)  # fmt: skip
    found = effects.effects(table)
    assert found["estimate"][["clean", "hurt", "drop"]].tolist() == pytest.approx([0.15, 0.2, 0.05])
    assert found.loc["relative", "estimate"] == pytest.approx((0.5 + 0.9) / 2 - (0.5 + 2 / 3) / 2)
    assert found["wins"][["clean", "hurt", "drop"]].tolist() == pytest.approx([1, 0.75, 0.5])
    assert found.loc["hurt", "d"] == pytest.approx(0.2 / np.sqrt((0.02 + 0.08) / 2))
    assert np.isnan(found.loc["matched", "d"])


def test_intervals_hold_the_estimate_and_know_of_splits(rng: np.random.Generator) -> None:
    table = toy(5, 8)
    table["hurt_large"] += np.repeat(0.05 * rng.standard_normal(5), 8)  # a luck that all networks of a split share
    found = effects.effects(table)
    assert (found["low"] <= found["estimate"]).all()
    assert (found["estimate"] <= found["high"]).all()
    flat = table.reset_index(drop=True)
    flat.index = pd.MultiIndex.from_product([[0], range(40)], names=["split", "seed"])
    narrow = effects.effects(flat)
    assert (found["high"] - found["low"])["drop"] > 1.3 * (narrow["high"] - narrow["low"])["drop"]


def test_pairs_are_of_the_same_split_and_seed(networks: robustness.Networks) -> None:
    rows = robustness.over_splits(networks, SOME)
    table = effects.paired(rows.sample(frac=1, random_state=0), "gaussian", 0.3, 2, 4)
    assert table.index.tolist() == [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (1, 5)]
    one = rows.query("kind == 'gaussian' and split == 1 and seed == 4").set_index(["severity", "width"])["f1"]
    assert table.loc[(1, 4)].tolist() == [one[0, 2], one[0, 4], one[0.3, 2], one[0.3, 4]]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "+0.012"), (-0.0123, "−0.012"), (-0.0004, "−0.0004"), (0.00502, "+0.0050"), (0.0, "0.000"),
     (-0.00002, "0.000")],
)  # fmt: skip
def test_numbers_show_their_sign_and_on_which_side_they_lie(value: float, text: str) -> None:
    assert effects.signed(value, beside=(0, 0.005)) == text
    assert effects.span({"low": -1, "high": value}, beside=(0, 0.005)) == f"−1.000 to {text}"


def test_neighbours_are_within_reach() -> None:
    table = pd.DataFrame({"clean_small": [0.9, 0.5], "clean_large": [0.901, 0.95],
                          "hurt_small": [0.6, 0.4], "hurt_large": [0.7, 0.9]})  # fmt: skip
    gain, n = effects.neighbours(table, 0.002)
    assert (gain, n) == (pytest.approx(0.1), 1)
    assert effects.neighbours(table, 0)[1] == 0
    assert np.isnan(effects.neighbours(table, 0)[0])


def test_a_few_networks_find_on_average_what_all_find() -> None:
    table = toy()
    few = effects.of_a_few(table, 3)
    whole = effects.effects(table)["estimate"]
    assert few.mean().tolist() == pytest.approx([whole["hurt"], whole["drop"]], abs=0.003)
    assert few["hurt"].std() > effects.of_a_few(table, 30)["hurt"].std()


def test_the_share_that_is_won_back() -> None:
    index = pd.MultiIndex.from_product([[0, 1], [0, 1]], names=["split", "seed"])
    clean, hurt = pd.Series([0.9, 0.8, 1, 1], index), pd.Series([0.5, 0.6, 0.8, 0.8], index)
    assert effects.regained(clean, hurt, hurt + (clean - hurt) / 4).tolist() == pytest.approx([0.25] * 3)
    assert effects.regained(clean, hurt, clean.sample(frac=1, random_state=1)).tolist() == pytest.approx([1] * 3)
    assert effects.regained(clean, clean, hurt).isna().all()


@pytest.mark.mnist
def test_on_mnist_clipped_noise_comes_in_through_pixels_that_are_seldom_lit() -> None:
    task = load_task((4, 9), dataset="mnist")
    networks = robustness.trained([task], ADAM.but(epochs=6), [24], 4)
    noise = {"gaussian": [0, 0.3]}
    before = robustness.over_splits(networks, noise).set_index(["severity", "seed"])["f1"]
    changed = robustness.without(networks, robustness.seldom_lit)
    after = robustness.over_splits(changed, noise).set_index(["severity", "seed"])["f1"]
    assert before[0].mean() > 0.97
    assert before[0.3].mean() < before[0].mean() - 0.02
    assert after[0.3].mean() > before[0.3].mean() + 0.003
    assert (after[0] - before[0]).abs().max() < 0.003
