"""The experiments of a sweep are the package's own: the same numbers as its functions give, a row per condition."""

import numpy as np
import pandas as pd
import pytest
import torch

from lowcap import pruning
from lowcap.chapters.robustness import experiments as robustness
from lowcap.errors import UserError
from lowcap.evaluation import evaluate
from lowcap.parallel import on_cores, one_thread_each
from lowcap.recipe import CONVERGED
from lowcap.sweep import shards
from lowcap.sweep.command import planned
from lowcap.sweep.work import as_parquet, work
from lowcap.tasks import load_task
from lowcap.training import trained

FEW = ["dataset=digits", "pair=4-9", "width=2,3", "seed=0:1", "epochs=3"]


def rows_of(experiment, *more):
    """The rows of all shards of a small grid."""
    given = {text.split("=")[0]: text for text in (*FEW, *more)}
    plan = planned(experiment, list(given.values()))
    return pd.concat([job.rows() for job in plan.jobs], ignore_index=True)


@pytest.fixture(scope="module")
def task():
    return load_task((4, 9), dataset="digits")


@pytest.fixture(scope="module")
def population(task):
    return trained(task, (2, 3), (0, 1), CONVERGED.but(epochs=3))


def test_capacity_is_training_and_evaluation(task, population):
    rows = rows_of("capacity")
    expected = evaluate(population, task.x_test, task.y_test).drop(columns="member")
    pd.testing.assert_frame_equal(rows[expected.columns], expected, check_exact=True)
    about = rows[["dataset", "pair", "split", "recipe", "epochs"]].drop_duplicates()
    assert about.to_dict("records") == [
        {"dataset": "digits", "pair": "4-9", "split": 0, "recipe": "converged", "epochs": 3}
    ]


def test_every_combination_has_its_rows(monkeypatch):
    monkeypatch.setattr(shards, "UNITS", 5)  # a shard per seed
    rows = rows_of("capacity", "pair=4-9,0-1", "split=0,7", "recipe=published,adam", "epochs=1,2", "seed=0:2")
    keys = ["pair", "split", "recipe", "epochs", "width", "seed"]
    assert len(rows) == len(rows[keys].drop_duplicates()) == 2 * 2 * 2 * 2 * 2 * 3
    assert rows.groupby(["pair", "split", "recipe", "epochs"])["f1"].agg(tuple).nunique() > 12


def test_the_recipes_own_epochs_are_more_where_images_are_few(task):
    rows = rows_of("capacity", "epochs=own", "width=1", "seed=0")
    assert rows["epochs"].unique().tolist() == [CONVERGED.stretched(task).epochs]


def test_ten_classes_are_a_task_too():
    rows = rows_of("capacity", "pair=ten", "epochs=1")
    assert "auc" not in rows
    assert rows["n_params"].tolist() == [65 * w + 10 * w + 10 for w in (2, 2, 3, 3)]
    with pytest.raises(UserError, match="0 to 9"):
        rows_of("robustness", "pair=ten")


def test_pruning_is_one_shot_by_each_score(task, population):
    rows = rows_of("pruning", "level=0,0.9", "by=magnitude,gradient")
    assert len(rows) == 4 * 2 * 2
    ranking = pruning.rank(population, by="gradient", scope="first", x=task.x_train, y=task.y_train)
    expected = pruning.one_shot(population, [0.0, 0.9], task.x_test, task.y_test, ranking=ranking)
    found = rows[rows["by"] == "gradient"].reset_index(drop=True)
    pd.testing.assert_frame_equal(found[["f1", "kept", "level"]], expected[["f1", "kept", "level"]], check_exact=True)


def test_robustness_is_its_sweep_at_the_kinds_own_severities_or_those_given(task, population):
    rows = rows_of("robustness", "kind=occlusion,blur")
    expected = robustness.sweep(
        population, task.x_test, task.y_test, {"occlusion": (0, 3, 5, 7, 10, 14), "blur": (0, 0.5, 1, 1.5, 2, 3)}
    )
    assert rows["f1"].tolist() == expected["f1"].tolist()
    assert len(rows_of("robustness", "kind=gaussian", "severity=0,0.5")) == 4 * 2


def test_tracing_has_a_row_per_number_of_removed_units():
    rows = rows_of("tracing", "by=weighted,random", "read_out=plain,refit")
    assert len(rows) == (2 + 2 + 3 + 3) * 2 * 2
    assert rows.groupby(["width", "seed"]).size().to_dict() == {(2, 0): 8, (2, 1): 8, (3, 0): 12, (3, 1): 12}


def test_tickets_have_their_controls():
    rows = rows_of("tickets", "round=1,3", "control=new weights,random mask", "epochs=2", "seed=0")
    found = rows.groupby("method")["round"].agg(lambda k: sorted(set(k))).to_dict()
    assert found == {name: [0, 1, 3] for name in ("ticket", "new weights", "random mask")}
    dense = rows[rows["round"] == 0].groupby("width")["f1"].nunique()
    assert (dense == 1).all()


def test_descent_takes_few_images_and_wrong_labels():
    rows = rows_of("descent", "n=20,40", "noise=0,0.3")
    assert rows.groupby(["n", "noise"]).size().to_dict() == {(n, s): 4 for n in (20, 40) for s in (0, 0.3)}
    assert rows["epochs"].unique().tolist() == [3]


@pytest.mark.parametrize("name", shards.NAMES)
def test_rows_are_tidy_and_the_same_each_time(name):
    small = {
        "tickets": ["round=1"],
        "descent": ["n=20"],
        "tracing": [],
        "pruning": [],
        "robustness": [],
        "capacity": [],
    }
    plan = planned(name, [*FEW[:-1], "epochs=1", *small[name]])
    first, second = (work(plan.jobs[0], plan.origin) for _ in range(2))
    assert first.payload == second.payload
    rows = plan.jobs[0].rows()
    assert not rows.isna().any().any()
    assert "member" not in rows
    assert rows.columns.is_unique
    kinds = {"dataset", "pair", "recipe", "by", "scope", "kind", "read_out", "method"}
    assert {name for name, column in rows.items() if not pd.api.types.is_numeric_dtype(column)} <= kinds
    keys = [
        c
        for c in rows
        if c in (*kinds, "split", "epochs", "width", "seed", "level", "severity", "removed", "round", "n", "noise")
    ]
    assert not rows.duplicated(keys).any()


def test_a_shards_key_depends_on_all_that_its_rows_do():
    plan = planned("pruning", FEW)
    other = [planned("pruning", [*FEW[:1], *FEW[2:], text]) for text in ("pair=3-8", "pair=4-9")]
    assert plan.key(plan.jobs[0]) == other[1].key(other[1].jobs[0])
    different = {plan.key(plan.jobs[0]), other[0].key(other[0].jobs[0])}
    for text in ("level=0,0.5", "by=random", "scope=layer", "split=1", "recipe=adam"):
        one = planned("pruning", [*FEW, text])
        different.add(one.key(one.jobs[0]))
    for field, value in (("code", "x"), ("machine", "x"), ("versions", {})):
        object.__setattr__(one := planned("pruning", FEW), "origin", {**plan.origin, field: value})
        different.add(one.key(one.jobs[0]))
    assert len(different) == 2 + 5 + 3


def test_on_one_core_there_is_one_thread_and_the_networks_are_the_same(task, population):
    with on_cores(1):
        with one_thread_each() as pool:
            assert pool._max_workers == 1
        again = trained(task, (2, 3), (0, 1), CONVERGED.but(epochs=3))
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), population.parameters(), strict=True))
    with on_cores(3), one_thread_each() as pool:
        assert pool._max_workers == 3


def test_parquet_bytes_follow_from_the_values_alone():
    frame = pd.DataFrame({"a": ["x", "y"], "b": np.float32([1, 2])})
    assert as_parquet(frame) == as_parquet(frame.set_axis([7, 9]))
    assert as_parquet(frame)[0] != as_parquet(frame.assign(a=["x", "z"]))[0]
