"""Generalisation: the gap by hand, the labels as noisy as they were, draws apart."""

import numpy as np
import pytest
import torch
from toydata import toy_task

from lowcap.chapters.tickets import generalisation
from lowcap.chapters.tickets import populations as tickets
from lowcap.chapters.tickets.generalisation import Setting
from lowcap.evaluation import evaluate
from lowcap.population import Population
from lowcap.recipe import Recipe
from lowcap.tasks import with_label_noise
from lowcap.training import train

RECIPE = Recipe(init="he", lr=0.1, momentum=0.9, batch_size=16, epochs=4)
TASK = tickets.only_live(toy_task(n=96))


def test_a_perfect_network_and_a_wrong_one_on_noisy_labels() -> None:
    assert generalisation.noisy_accuracy(1.0, 0.2, 2) == pytest.approx(0.8)
    assert generalisation.noisy_accuracy(0.0, 0.2, 2) == pytest.approx(0.2)
    assert generalisation.noisy_accuracy(0.0, 0.2, 5) == pytest.approx(0.05)
    task = with_label_noise(toy_task(5, n=1000), 0.3)
    clean = toy_task(5, n=1000).y_train
    guess = torch.where(torch.arange(1000) < 700, clean, (clean + 1) % 5)  # 70 % right
    expected = generalisation.noisy_accuracy(0.7, 0.3, 5)
    assert float((guess == task.y_train).double().mean()) == pytest.approx(expected, abs=0.045)


def test_the_gap_compares_with_labels_as_noisy_as_the_training_labels() -> None:
    noisy = Setting(lambda draw: with_label_noise(TASK, 0.2, draw), 0.2)
    settings = {"clean": Setting(lambda draw: TASK), "noisy": noisy}
    once = RECIPE.but(batch_size=None)  # which is not stretched for small sets
    rows = generalisation.generalisation(settings, 4, [0, 1], once, [3, 1], draws=2)
    assert rows.groupby(["setting", "method", "draw", "round"]).size().to_dict() == {
        (setting, method, draw, k): 2
        for setting in settings for method in ("ticket", "shuffled mask") for draw in (0, 1) for k in (0, 1, 3)
    }  # fmt: skip
    assert rows.groupby("draw")["seed"].unique().map(sorted).to_dict() == {0: [0, 1], 1: [2, 3]}
    for setting, (_, share) in settings.items():
        own = rows[rows["setting"] == setting]
        noisy = (1 - share) * own["accuracy"] + share * (1 - own["accuracy"])
        np.testing.assert_allclose(own["gap"], own["train_accuracy"] - noisy)
    np.testing.assert_allclose(rows["error"], 1 - rows["accuracy"])
    task = settings["noisy"].task(1)
    start = Population([4, 4], [2, 3], n_features=TASK.n_features, init="he")
    dense = evaluate(train(start, task, once), task.x_train, task.y_train)["accuracy"]
    found = rows.query("setting == 'noisy' and method == 'shuffled mask' and draw == 1 and round == 0")
    np.testing.assert_array_equal(found["train_accuracy"], dense)
