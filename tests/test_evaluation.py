"""Scores: those of scikit-learn for every member at once, and intervals that mean what they say."""

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from torch import Tensor
from toydata import toy_task

from lowcap.errors import UserError
from lowcap.evaluation import evaluate, f1_score, macro_f1, roc_auc
from lowcap.population import Population
from lowcap.recipe import ADAM
from lowcap.training import train

unhurried = settings(deadline=None, max_examples=60)
few_values = st.sampled_from([-math.inf, -2.5, -1.0, 0.0, 1.0, 2.5, math.inf])  # many ties


@st.composite
def columns_and_labels(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Logits `(N, 3)` with ties and constants, and labels `(N,)` of both classes."""
    n = draw(st.integers(2, 12))
    logits = draw(st.lists(st.lists(few_values, min_size=3, max_size=3), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, 1), min_size=n, max_size=n).filter(lambda y: len(set(y)) == 2))
    return torch.tensor(logits), torch.tensor(labels, dtype=torch.float32)


@unhurried
@given(columns_and_labels())
def test_f1_and_auc_are_those_of_scikit_learn(case: tuple[Tensor, Tensor]) -> None:
    logits, y = case
    f1, auc = f1_score(logits > 0, y), roc_auc(logits, y)
    for column in range(3):
        scores = logits[:, column].clamp(-9, 9).numpy()  # scikit-learn takes no infinity
        assert f1[column] == pytest.approx(metrics.f1_score(y, scores > 0, zero_division=0), abs=1e-12)
        assert auc[column] == pytest.approx(metrics.roc_auc_score(y, scores), abs=1e-12)


@unhurried
@given(st.integers(2, 4), st.integers(1, 15), st.randoms(use_true_random=False))
def test_macro_f1_is_that_of_scikit_learn(n_classes: int, n: int, random: Any) -> None:
    y = torch.tensor([random.randrange(n_classes) for _ in range(n)])
    guess = torch.tensor([[random.randrange(n_classes) for _ in range(2)] for _ in range(n)])
    labels = list(range(n_classes))
    for ours, column in zip(macro_f1(guess, y, n_classes), guess.T, strict=True):
        expected = metrics.f1_score(y, column, average="macro", labels=labels, zero_division=0)
        assert ours == pytest.approx(expected, abs=1e-12)


def test_f1_without_any_right_answer_is_0_also_where_it_is_not_defined() -> None:
    guess = torch.tensor([[False, True], [False, True]])
    assert f1_score(guess, torch.zeros(2)).tolist() == [0, 0]
    assert f1_score(guess, torch.ones(2)).tolist() == [0, 1]


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_member_gets_the_scores_that_scikit_learn_gives_it_alone(n_classes: int, dtype: torch.dtype) -> None:
    task = toy_task(n_classes)
    population = Population([1, 2, 5], [0, 1, 2], n_features=12, n_outputs=task.n_outputs).to(dtype)
    frame = evaluate(train(population, task, ADAM.but(epochs=5)), task.x_test, task.y_test)
    for i, row in frame.iterrows():
        logits = population.to_module(i)(task.x_test.to(dtype)).detach()
        probability = torch.cat([1 - logits.sigmoid(), logits.sigmoid()], 1) if n_classes == 2 else logits.softmax(1)
        y, guess = task.y_test.long(), probability.argmax(1)
        assert row.f1 == pytest.approx(metrics.f1_score(y, guess, average="binary" if n_classes == 2 else "macro"))
        assert row.accuracy == pytest.approx(metrics.accuracy_score(y, guess))
        assert row.loss == pytest.approx(metrics.log_loss(y, probability.double() / probability.double().sum(1, True)))
        if n_classes == 2:
            assert row.auc == pytest.approx(metrics.roc_auc_score(y, logits[:, 0]))
    assert ("auc" in frame) == (n_classes == 2)
    assert frame[["width", "seed"]].to_numpy().tolist() == [[1, 0], [2, 1], [5, 2]]


def toy() -> Population:
    """Two features; of the first member's two units one never fires, of the second member's one neither."""
    population = Population([2, 1], [0, 1], n_features=2)
    population.w_in.data = torch.tensor([[1.0, -1.0, -1.0], [1.0, 0.0, -1.0]])
    population.w_out.data = torch.ones(3, 1)
    population.b_out.data = torch.tensor([[-0.5], [-0.5]])
    return population


def test_units_that_never_fire_are_counted_as_dead() -> None:
    x, y = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]]), torch.tensor([0.0, 1.0, 0.0])
    frame = evaluate(toy(), x, y)
    assert frame.dead.tolist() == [1, 1]
    assert frame.accuracy.tolist() == [2 / 3, 2 / 3]
    awake = toy()
    awake.b_in.data = torch.tensor([0.0, 0.0, 1.5])
    assert evaluate(awake, x, y).dead.tolist() == [1, 0]


def test_a_constant_answer_scores_what_chance_scores() -> None:
    x, y = torch.tensor([[-1.0, 0.0]] * 4), torch.tensor([0.0, 1.0, 1.0, 1.0])
    frame = evaluate(toy().select([1]), -x, y)
    assert frame.f1.item() == 0
    assert frame.auc.item() == 0.5
    assert frame.accuracy.item() == 0.25
    assert frame.loss.item() == pytest.approx(metrics.log_loss(y, [1 / (1 + math.exp(0.5))] * 4))


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_a_network_that_has_diverged_scores_nothing_and_has_no_loss(n_outputs: int) -> None:
    task = toy_task(max(n_outputs, 2))
    population = Population([2, 3], [0, 1], n_features=12, n_outputs=n_outputs)
    alone = evaluate(population.select([1]), task.x_test, task.y_test)
    population.w_in.data[:, 0] = math.nan
    frame = evaluate(population, task.x_test, task.y_test)
    assert math.isnan(frame.loss[0])
    if n_outputs == 1:
        assert (frame.f1[0], frame.auc[0]) == (0, 0.5)
    for score in {"f1", "auc", "accuracy", "loss"} & set(frame):
        assert frame[score][1] == pytest.approx(alone[score][0], abs=1e-6)


def test_images_without_one_of_the_classes_have_no_auc() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(roc_auc(torch.tensor([[1.0], [2.0]]), torch.ones(2))).all()


@pytest.mark.parametrize(("x", "n"), [((4, 2), 3), ((4, 3), 4), ((0, 2), 0), ((4,), 4)])
def test_images_and_labels_that_do_not_fit_are_refused(x: tuple, n: int) -> None:
    with pytest.raises(UserError) as error:
        evaluate(toy(), torch.zeros(x), torch.zeros(n))
    assert str(error.value) == f"need images of 2 features and as many labels; got images of shape {x} and {n} labels"
