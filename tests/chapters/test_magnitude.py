"""Chapter 3's experiments: the study's pruned networks, sweeps over sparsity, the largest that is good enough."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcap import pruning, training
from lowcap.chapters.magnitude import experiments as magnitude
from lowcap.chapters.replay import experiments as replay
from lowcap.chapters.replay import pruned_study
from lowcap.errors import UserError
from lowcap.recipe import CONVERGED, Recipe
from lowcap.tasks import Task, load_task
from lowcap.training import train

RECIPE = CONVERGED.but(epochs=3)
LEVELS = [0, 0.5, 0.9]


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task((4, 9), dataset="digits")


def rows_of(scores: dict[float, float]) -> pd.DataFrame:
    """One network's F1 by level."""
    return pd.DataFrame({"level": list(scores), "f1": list(scores.values()), "seed": 0})


def test_pruned_networks_of_the_study_are_those_of_its_replay() -> None:
    found = pruned_study.published([0.5, 0.95], seeds=[42], pairs=[(4, 9)], widths=[8], dataset="digits")
    rows = replay.run([42], dataset="digits", percentages=[50, 95])
    oracle = rows.set_index(["pair", "width"]).loc[("4-9", 8)]
    for kind in pruned_study.KINDS:
        for level in (0.5, 0.95):
            f1 = found.query("kind == @kind and level == @level")["f1"].item()
            assert f1 == pytest.approx(oracle[f"f1_pruned_{kind.replace(' ', '_')}_{100 * level:g}"], abs=1e-9)


def test_as_run_removes_a_hundredth_of_what_is_named() -> None:
    found = pruned_study.published([0.99], seeds=[0], pairs=[(0, 1)], widths=[24], dataset="digits").set_index("kind")
    assert found.loc["as run", "sparsity"] == pytest.approx(0.0099, abs=0.001)
    assert found.loc["true", "sparsity"] == pytest.approx(0.99, abs=0.001)


def test_a_width_that_is_not_of_the_study_leaves_those_of_the_study_alone() -> None:
    one = pruned_study.published([0.5], seeds=[0], pairs=[(4, 9)], widths=[8], dataset="digits")
    two = pruned_study.published([0.5], seeds=[0], pairs=[(4, 9)], widths=[5, 8], dataset="digits")
    assert two.query("width == 8")["f1"].tolist() == one["f1"].tolist()


def test_scores_are_compared_with_the_reference_level_by_level(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [f"f1_pruned_{kind}_{q}" for kind in ("as_run", "true") for q in replay.PERCENTAGES]
    known = pd.DataFrame({"pair": "4-9", "width": 24, "seed": 0, **{c: [i / 100] for i, c in enumerate(columns)}})
    monkeypatch.setattr(pruned_study, "reference", lambda: known)
    rows = pd.DataFrame({"pair": "4-9", "width": 24, "seed": 0, "kind": ["as run", "true", "true", "true"],
                         "level": [0.1, 0.99, 0.95, 0.42], "f1": [0.0, 0.19, 0.5, 0.0]})  # fmt: skip
    assert pruned_study.against_reference(rows) == (3, 2)


@pytest.mark.mnist
def test_the_studys_networks_agree_with_its_own_code_at_all_ten_levels_as_run_and_true() -> None:
    levels = [q / 100 for q in replay.PERCENTAGES]
    found = pruned_study.published(levels, seeds=[0], pairs=[(0, 1), (5, 6)], widths=[24], dataset="mnist")
    assert pruned_study.against_reference(found) == (40, 40)


def test_five_ways_reach_the_same_sparsity(task: Task) -> None:
    rows = magnitude.methods(task, [4, 8], range(2), RECIPE, LEVELS, RECIPE)
    assert set(rows["method"]) == {"one-shot", "fine-tuned", "gradual", "iterative", "random"}
    assert rows.groupby(["method", "level"]).size().eq(4).all()
    assert np.allclose(rows["sparsity_in"], rows["level"], atol=0.002)
    assert (rows["sparsity_out"] == 0).all()


def test_fine_tuning_starts_from_the_pruned_network_and_dense_ones_train_on_too(task: Task) -> None:
    dense = training.trained(task, [8], [0, 1], RECIPE)
    rows = magnitude.fine_tuned(dense, task, [0, 0.9], RECIPE, scope="first")
    for level in (0, 0.9):
        alone = train(pruning.prune(dense, level, scope="first"), task, RECIPE, order_seed=1)
        assert rows.query("level == @level")["loss"].tolist() == pytest.approx(
            pruning.results(alone, task.x_test, task.y_test)["loss"].tolist()
        )


def test_a_sweep_prunes_each_pair_with_a_training_of_its_own(task: Task) -> None:
    rows = magnitude.sweep([(0, 1), (4, 9)], [4], [0], RECIPE, LEVELS, tune=RECIPE, tune_levels=[0.9], dataset="digits")
    assert rows.groupby(["pair", "method"]).size().to_dict() == {
        ("0-1", "one-shot"): 3, ("0-1", "fine-tuned"): 1, ("4-9", "one-shot"): 3, ("4-9", "fine-tuned"): 1,
    }  # fmt: skip
    alone = training.trained(task, [4], [0], RECIPE.stretched(task))
    oracle = pruning.one_shot(alone, LEVELS, task.x_test, task.y_test, ranking=pruning.rank(alone, scope="first"))
    assert rows.query("pair == '4-9' and method == 'one-shot'")["loss"].tolist() == oracle["loss"].tolist()


@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        ({"least": 0.9}, 0.8),
        ({"within": 0.03}, 0.5),
        ({"factor": 2.0}, 0.5),
        ({"factor": 4.0}, 0.8),
        ({"least": 1.0}, np.nan),
    ],
)
def test_the_largest_sparsity_by_each_bar_worked_out_by_hand(bar: dict[str, float], expected: float) -> None:
    rows = rows_of({0.0: 0.97, 0.5: 0.95, 0.8: 0.9, 0.9: 0.8, 0.95: 0.96})  # the recovery at 0.95 does not count
    assert pruning.largest_sparsity(rows, by=["seed"], **bar).item() == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 1))
def test_up_to_the_largest_sparsity_every_level_is_good_enough(scores: list[float], least: float) -> None:
    levels = [i / 10 for i in range(len(scores))]
    found = pruning.largest_sparsity(rows_of(dict(zip(levels, scores, strict=True))), by=["seed"], least=least).item()
    fine = [s >= least for s in scores]
    if np.isnan(found):
        assert not fine[0]
    else:
        k = levels.index(found)
        assert all(fine[: k + 1])
        assert k + 1 == len(fine) or not fine[k + 1]


def test_a_recipe_decides_the_first_weights(task: Task) -> None:
    plain, he = (training.start(task, [4], [0], Recipe(init=init)) for init in ("published", "he"))
    assert plain.init == "published"
    assert he.init == "he"
    assert (plain.w_in != he.w_in).any()


def test_one_level_of_several_pairs_is_that_of_each_alone(task: Task) -> None:
    rows = magnitude.at_one_level([(0, 1), (4, 9)], [4], [0, 1], RECIPE, [0.5, 0.9], dataset="digits")
    assert rows.groupby(["pair", "method"]).size().eq(2).all()
    recipe = RECIPE.stretched(task)
    *_, (level, last) = pruning.iterative(
        training.start(task, [4], [0, 1], recipe), task, recipe, [0.5, 0.9], scope="first"
    )
    alone = pruning.results(last, task.x_test, task.y_test)
    assert level == 0.9
    assert rows.query("pair == '4-9' and method == 'iterative'")["loss"].tolist() == alone["loss"].tolist()
    assert np.allclose(rows.query("method != 'dense'")["sparsity_in"], 0.9, atol=0.002)


@pytest.mark.parametrize("bars", [{}, {"least": 0.9, "within": 0.1}])
def test_a_largest_sparsity_needs_one_bar(bars: dict[str, float]) -> None:
    with pytest.raises(UserError, match="give one of `least`, `within` and `factor`"):
        pruning.largest_sparsity(rows_of({0.0: 1.0}), by=["seed"], **bars)


def test_a_largest_sparsity_needs_the_dense_networks() -> None:
    with pytest.raises(UserError, match="must hold level 0"):
        pruning.largest_sparsity(rows_of({0.5: 1.0}), by=["seed"], least=0.9)
