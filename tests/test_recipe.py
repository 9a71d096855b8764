"""Recipes: their values are checked, they can be changed, and the converged one has converged."""

import math

import numpy as np
import pytest
from toydata import toy_task

from lowcap.errors import UserError
from lowcap.evaluation import evaluate
from lowcap.population import Population
from lowcap.recipe import CONVERGED, PUBLISHED, Recipe
from lowcap.tasks import load_task
from lowcap.training import train


@pytest.mark.parametrize(
    ("name", "allowed", "wrong"),
    [
        ("init", "one of published, he", ["zeros", None, ["he"]]),
        ("optimizer", "one of sgd, adam, adamw", ["SGD", "lbfgs", None]),
        ("lr", "a number above 0", [0, -0.1, math.nan, math.inf, "0.1", None, True]),
        ("momentum", "a number of at least 0 and below 1", [-0.1, 1, math.nan, "0.9", None]),
        ("weight_decay", "a number of at least 0", [-1e-4, math.inf, math.nan, "0", None]),
        ("batch_size", "a whole number of at least 1, or None for all images", [0, -1, 12.5, "128", True]),
        ("epochs", "a whole number of at least 0", [-1, 2.5, "20", None, math.inf]),
        ("schedule", "one of constant, cosine", ["step", None]),
    ],
)
def test_a_recipe_with_a_value_out_of_range_is_refused(name: str, allowed: str, wrong: list) -> None:
    for value in wrong:
        with pytest.raises(UserError) as error:
            Recipe(**{name: value})
        assert f"`{name}` of a recipe must be" in str(error.value)
        assert allowed in str(error.value)
        assert str(error.value).endswith(f"got {value!r}")


def test_a_recipe_can_be_changed_into_another_and_itself_stays() -> None:
    other = CONVERGED.but(lr=0.1, epochs=np.int64(3))
    assert (other.lr, other.epochs, other.momentum) == (0.1, 3, 0.9)
    assert CONVERGED.lr == 0.05
    with pytest.raises(UserError, match="lr"):
        CONVERGED.but(lr=-1)


def test_a_recipe_is_stretched_to_about_as_many_steps_on_few_images_as_on_a_pair_of_mnist() -> None:
    small, large = toy_task(n=960), toy_task(n=20_000)
    assert CONVERGED.stretched(small).steps(960) == pytest.approx(CONVERGED.steps(9_600), rel=0.1)
    assert CONVERGED.stretched(large) == CONVERGED
    assert PUBLISHED.stretched(small) == PUBLISHED


@pytest.mark.mnist
def test_the_converged_recipe_has_converged_on_4_and_9() -> None:
    task = load_task((4, 9), dataset="mnist")
    population = Population.grid([1, 64], range(10), init=CONVERGED.init)
    scores = evaluate(train(population, task, CONVERGED), task.x_test, task.y_test)
    median = scores.groupby("width").f1.median()
    assert median[1] >= 0.96
    assert median[64] >= 0.985
