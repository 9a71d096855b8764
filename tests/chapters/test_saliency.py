"""Chapter 7's experiments: parts of an image, randomised layers, curves, and what tells a mistake."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import auc, roc_auc_score
from torch import Tensor

from lowcap import training
from lowcap.chapters.replay import experiments as replay
from lowcap.chapters.saliency import attribution, faithfulness
from lowcap.chapters.saliency import experiments as saliency
from lowcap.chapters.saliency.attribution import attribute
from lowcap.chapters.saliency.map_figure import gallery
from lowcap.errors import UserError
from lowcap.population import Population
from lowcap.pruning import prune
from lowcap.recipe import CONVERGED
from lowcap.tasks import Task, load_task


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task((4, 9), dataset="digits")


@pytest.fixture(scope="module")
def trained(task: Task) -> Population:
    return training.trained(task, [6], range(3), CONVERGED.but(epochs=30))


def square(*rows: str) -> Tensor:
    """A picture as a row of pixels: # is ink."""
    return torch.tensor([[float(c == "#") for row in rows for c in row]])


def test_the_parts_of_an_image_worked_out_by_hand() -> None:
    x = square(
        "....",
        ".#..",
        "....",
        "....",
    )
    live = torch.ones(16, dtype=torch.bool)
    live[[0, 5, 15]] = False  # a corner near the ink, the ink itself, a corner far away
    parts = saliency.regions(x, live)
    assert {name: part[0].nonzero()[:, 0].tolist() for name, part in parts.items()} == {
        "ink": [5],
        "near ink": [1, 2, 4, 6, 8, 9, 10],
        "elsewhere": [3, 7, 11, 12, 13, 14],
        "always zero": [0, 15],
    }


def test_near_ink_is_within_two_pixels_of_twenty_eight() -> None:
    x = torch.zeros(1, 784)
    x[0, 14 * 28 + 14] = 0.1
    near = saliency.regions(x, torch.ones(784, dtype=torch.bool))["near ink"].view(28, 28)
    assert near.sum() == 24
    assert near[12:17, 12:17].sum() == 24


def test_every_pixel_is_in_one_part(task: Task) -> None:
    parts = saliency.regions(task.x_test, task.live)
    assert torch.stack(list(parts.values())).sum(0).eq(1).all()


def test_shares_of_a_map_worked_out_by_hand() -> None:
    parts = {"left": torch.tensor([[True, True, False, False]]), "right": torch.tensor([[False, False, True, True]])}
    maps = torch.tensor([[[3.0, -1.0, 4.0, 0.0]], [[0.0, 0.0, -2.0, 0.0]]])
    rows = saliency.where(maps, parts).set_index(["member", "region"])
    assert rows["share"].to_dict() == {(0, "left"): 0.5, (1, "left"): 0.0, (0, "right"): 0.5, (1, "right"): 1.0}
    assert rows["area"].eq(0.5).all()


def test_together_is_each_of_them(trained: Population, task: Task) -> None:
    joined = saliency.together([trained.select([2]), trained.select([0, 1])])
    with torch.no_grad():
        assert torch.allclose(joined(task.x_test), trained(task.x_test)[:, [2, 0, 1]], atol=1e-6)
    assert joined.seeds == [2, 0, 1]


def test_the_studys_networks_are_those_of_its_replay() -> None:
    before, after = saliency.study((4, 9), 8, [42, 0], dataset="digits")
    rows = replay.run([42, 0], pairs=replay.PAIRS, widths=[2, 4, 6, 8], dataset="digits", percentages=[])
    known = rows.query("pair == '4-9' and width == 8").set_index("seed")
    for i, seed in enumerate((42, 0)):
        start = replay.starts(seed, n_features=64)[4, 9].select([replay.WIDTHS.index(8)])
        assert torch.equal(before.select([i]).w_in, start.w_in)
        assert after.select([i]).w_in.sum().item() == pytest.approx(known.loc[seed, "w1_sum"], abs=1e-9)
    assert after.seeds == before.seeds == [42, 0]
    assert after.w_in.dtype == torch.float64


@pytest.mark.parametrize("layers", saliency.LAYERS)
def test_only_the_named_layers_are_drawn_anew(trained: Population, layers: str) -> None:
    found = saliency.randomised(trained, layers)
    assert torch.equal(found.w_in, trained.w_in) == (layers == "read-out")
    assert torch.equal(found.b_in, trained.b_in) == (layers == "read-out")
    assert torch.equal(found.w_out, trained.w_out) == (layers == "hidden")
    assert torch.equal(found.b_out, trained.b_out) == (layers == "hidden")
    assert torch.equal(found.w_in, saliency.randomised(trained, layers).w_in)
    assert not torch.equal(saliency.randomised(trained, layers, seed=2).w_out, found.w_out) or layers == "hidden"
    alone = saliency.randomised(trained.select([1]), layers)
    assert torch.equal(alone.w_in, found.select([1]).w_in)


def test_unknown_layers_are_refused(trained: Population) -> None:
    with pytest.raises(UserError, match="`layers` must be one of read-out, hidden, both; got 'first'"):
        saliency.randomised(trained, "first")


def test_curves_are_those_of_each_member_alone_and_start_and_end_alike(trained: Population, task: Task) -> None:
    maps = {name: attribution.maps(trained, task.x_test, name) for name in ("gradient", "finite difference")}
    rows = saliency.curves(trained, task.x_test, maps)
    alone = saliency.curves(trained.select([2]), task.x_test, {name: one[[2]] for name, one in maps.items()})
    assert rows.query("member == 2")["probability"].tolist() == pytest.approx(alone["probability"].tolist(), abs=1e-6)
    ends = rows.pivot(index=["member", "method"], columns=["kind", "replaced"], values="probability")
    assert np.allclose(ends["deletion", 0.0], ends["insertion", 1.0])
    assert np.allclose(ends["deletion", 1.0], ends["insertion", 0.0])
    assert (ends["deletion", 0.0] > 0.5).all()


def test_areas_are_scikit_learns() -> None:
    shares, values = np.array([0.0, 0.1, 0.5, 1.0]), np.array([1.0, 0.7, 0.2, 0.1])
    rows = pd.DataFrame({"replaced": shares, "probability": values, "member": 0, "method": "m", "kind": "deletion"})
    found = saliency.areas(pd.concat([rows, rows.assign(kind="insertion", probability=values[::-1])]))
    assert found.loc[(0, "m"), "deletion"] == pytest.approx(auc(shares, values))
    assert found.loc[(0, "m"), "insertion"] == pytest.approx(auc(shares, values[::-1]))


def test_what_adds_up_is_known_to_and_the_rest_is_left_out(trained: Population, task: Task) -> None:
    maps = {name: attribution.maps(trained, task.x_test, name) for name in attribution.METHODS}
    rows = saliency.faithful(trained, task.x_test, maps, few=5)
    assert len(rows) == 3 * len(maps)
    known = rows.groupby("method")["incomplete"].mean()
    assert known["integrated gradients"] < 0.05
    assert known[["gradient", "SmoothGrad", "finite difference", "occlusion"]].isna().all()
    own = rows.query("member == 1").set_index("method")
    one, x = trained.select([1]), task.x_test
    for name in ("gradient", "occlusion"):
        missed = faithfulness.unexplained(one, x[:25], maps[name][1][:25], name).mean().item()
        assert 0.001 < missed < 0.9
        assert own.loc[name, "infidelity"] == pytest.approx(missed, abs=1e-6)
        moved = faithfulness.sensitivity(one, x[:5], name).mean().item()
        assert own.loc[name, "sensitivity"] == pytest.approx(moved, abs=1e-6)


def test_hints_are_those_of_each_image(trained: Population, task: Task) -> None:
    rows = saliency.hints(trained, task, ["input x gradient", "gradient", saliency.IMAGE])
    assert len(rows) == 3 * 3 * len(task.x_test)
    one = rows.query("member == 1 and method == 'gradient'").set_index("image")
    with torch.no_grad():
        logit = trained(task.x_test)[:, 1]
    assert one["wrong"].tolist() == ((logit > 0) != (task.y_test > 0)).tolist()
    assert one["certainty"].tolist() == pytest.approx(logit.abs().tolist(), abs=1e-5)
    own = attribute(trained, task.x_test[[3]], 1).abs()[0]
    assert one.loc[3, "mass on ink"] == pytest.approx(float(own[task.x_test[3] > 0].sum() / own.sum()), abs=1e-5)
    with torch.no_grad():
        same = (trained(task.x_train[:1000])[:, 1] > 0) == (logit[3] > 0)
    usual = attribute(trained, task.x_train[:1000], 1)[same].mean(0)
    cosine = torch.nn.functional.cosine_similarity(attribute(trained, task.x_test[[3]], 1)[0], usual, dim=0)
    assert one.loc[3, "likeness"] == pytest.approx(float(cosine), abs=1e-5)
    top = own[task.live].sort(descending=True).values[: int(task.live.sum()) // 10]
    assert one.loc[3, "concentration"] == pytest.approx(float(top.sum() / own.sum()), abs=1e-5)
    assert rows.query("method == 'input x gradient'")["mass on ink"].to_numpy() == pytest.approx(1, abs=1e-5)


def test_hints_of_an_unknown_map_are_refused(trained: Population, task: Task) -> None:
    with pytest.raises(
        UserError, match=r"`method` must be one of gradient, .*finite difference, the image itself; got"
    ):
        saliency.hints(trained, task, ["gradient", "lime"])


def test_one_hint_is_scored_as_it_is_and_less_of_it_means_a_mistake() -> None:
    rows = pd.DataFrame({"member": [0] * 4 + [1] * 4, "image": [*range(4)] * 2, "wrong": False})
    rows.loc[[0, 3], "wrong"] = True
    rows["likeness"] = [0.1, 0.5, 0.9, 0.6, 1, 2, 3, 4]
    found = saliency.foretold(rows, ["likeness"])
    assert found[0] == pytest.approx(roc_auc_score(rows["wrong"][:4], -rows["likeness"][:4])) == 0.75
    assert np.isnan(found[1])


def test_hints_are_weighed_on_other_images(rng: np.random.Generator) -> None:
    n = 300
    rows = pd.DataFrame({"member": 0, "image": range(n), "a": rng.normal(size=n), "b": rng.normal(size=n)})
    signal = rows.assign(wrong=rows["a"] + rows["b"] > 1.5)
    assert saliency.foretold(signal, ["a", "b"])[0] > 0.95
    chance = [
        saliency.foretold(rows.assign(wrong=rng.random(n) < 0.2, c=rng.normal(size=n)), ["a", "b", "c"])[0]
        for _ in range(8)
    ]
    assert np.mean(chance) < 0.55
    assert saliency.foretold(rows.assign(wrong=False), ["a", "b"]).isna().all()


def test_an_estimate_leaves_out_what_is_not_known() -> None:
    assert saliency.estimate([1.0, np.nan, 1.0]).tolist() == [1, 1, 1]
    assert saliency.estimate([np.nan]).isna().all()


def test_a_row_of_maps_shares_one_scale_and_signed_ones_are_centred() -> None:
    image = square("....", ".##.", ".##.", "....")[0]
    rows = {
        "signed": {"one": (torch.linspace(-1, 3, 16), image), "two": (torch.linspace(-9, 0, 16), image)},
        "plain": {"one": (torch.linspace(0, 1, 16), image), "two": (torch.zeros(16), 0 * image)},
    }
    fig = gallery(rows, unsigned=["plain"], classes=(4, 9))
    limits = [[im.get_clim() for im in ax.images] for ax in fig.axes[:4]]
    assert limits[0] == limits[1]
    assert limits[0][0][0] == -limits[0][0][1]
    assert 8 < limits[0][0][1] <= 9
    assert limits[2] == limits[3]
    assert limits[2][0][0] == 0
    assert [label.get_text() for label in fig.axes[4].get_xticklabels()] == ["for 4", "0", "for 9"]
    weak = {
        "strong": rows["signed"],
        "weak": {name: (found / 100, image) for name, (found, image) in rows["signed"].items()},
    }
    assert len({im.get_clim() for ax in gallery(weak, shared=True).axes for im in ax.images}) == 1
    assert len({im.get_clim() for ax in gallery(weak).axes for im in ax.images}) == 2


@pytest.mark.mnist
def test_on_mnist_the_studys_own_network_has_a_map_that_is_as_bright_off_the_ink_as_on_it() -> None:
    task = load_task((4, 9), dataset="mnist")
    _, study = saliency.study((4, 9), 24, [0], dataset="mnist")
    known = replay.reference().query("pair == '4-9' and width == 24")["w1_sum"].item()
    assert study.w_in.sum().item() == pytest.approx(known, abs=1e-6)
    x = task.x_test[:200]
    maps = attribution.maps(study, x, "finite difference")
    rows = saliency.where(maps, saliency.regions(x, task.live)).set_index("region")
    assert abs(rows.loc["ink", "share"] - rows.loc["ink", "area"]) < 0.06
    assert rows.loc["always zero", "share"] > 0.15


def test_pruned_maps_are_zero_where_nothing_is_left(trained: Population, task: Task) -> None:
    small = prune(trained, 0.9, scope="first")
    for i in range(3):
        gone = (small.w_in[:, small.owner == i] == 0).all(1)
        assert gone.any()
        assert (attribute(small, task.x_test, i)[:, gone] == 0).all()
        assert (attribute(small, task.x_test, i)[:, ~gone] != 0).any()
