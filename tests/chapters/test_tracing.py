"""Tracing, removal and search, on modules of our own and of others."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.nn import functional as F

from lowcap.chapters.tracing import activations, readout, surgery, wiring
from lowcap.data.vision import torchvision
from lowcap.errors import UserError


def toy(seed: int = 0, *, n: int = 60) -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    """A network of 5 inputs, 7 units and 3 classes, with images and labels of all classes."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    return model, torch.randn(n, 5), torch.arange(n) % 3


class Convolutional(nn.Module):
    """Written as people write them: normalised, pooled by a function, flattened by a view."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.drop = nn.Conv2d(4, 6, 3), nn.Dropout(0.5)
        self.third, self.flat_norm, self.last = nn.Linear(6 * 9, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.norm(self.first(x)), inplace=True)
        x = F.max_pool2d(torch.relu(self.second(x)), 2)
        x = self.drop(x).view(x.size(0), -1)
        return self.last(F.relu(self.flat_norm(self.third(x))))


def convolutional() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    model, x = Convolutional(), torch.randn(40, 1, 8, 8)
    model(x)  # gives the normalisations something to remember
    return model.eval(), x, torch.arange(40) % 3


CASES = [(toy, "0"), *((convolutional, layer) for layer in ("first", "second", "third"))]


def test_firing_and_strength_on_numbers_worked_out_by_hand() -> None:
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2))
    model[0].weight.data, model[0].bias.data = torch.tensor([[1.0], [-1.0]]), torch.tensor([0.0, 1.0])
    model[2].weight.data = torch.tensor([[3.0, 0.0], [4.0, 2.0]])
    found = activations.trace(model, torch.tensor([[-1.0], [2.0], [3.0], [0.5]]), torch.tensor([0, 0, 0, 1]))
    assert torch.allclose(found.firing, torch.tensor([[2 / 3, 1 / 3], [1.0, 1.0]]))
    assert torch.allclose(found.strength, torch.tensor([[5 / 3, 2 / 3], [0.5, 0.5]]))
    assert activations.scores(found, "firing").tolist() == pytest.approx([3 / 4, 2 / 4])
    assert activations.scores(found, "activation").tolist() == pytest.approx([5.5 / 4, 2.5 / 4])
    assert activations.scores(found, "weighted").tolist() == pytest.approx([5 * 5.5 / 4, 2 * 2.5 / 4])
    assert activations.scores(found, "weighted", of=0).tolist() == pytest.approx([3 * 5 / 3, 0.0])
    assert activations.scores(found, "random", seed=1).tolist() == activations.scores(found, "random", seed=1).tolist()


def test_a_channel_fires_on_a_share_of_its_positions() -> None:
    model, x, y = convolutional()
    found = activations.trace(model, x, y, "second")
    seen = torch.relu(model.second(torch.relu(model.norm(model.first(x)))))
    assert torch.allclose(found.firing[1], (seen[y == 1] > 0).float().mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(found.strength[2], seen[y == 2].mean((0, 2, 3)), atol=1e-6)


@pytest.mark.parametrize(("make", "layer"), CASES)
def test_compacted_is_smaller_and_equal_to_masked(make, layer) -> None:
    model, x, _ = make()
    n_units = wiring.find(model, layer).n_units
    keep = torch.arange(n_units) % 3 != 1
    before = {k: v.clone() for k, v in model.state_dict().items()}
    small, masked = surgery.compact(model, keep, layer), surgery.silenced(model, keep, layer)
    assert torch.allclose(small(x), masked(x), atol=1e-6)
    assert not torch.allclose(small(x), model(x), atol=1e-3)
    assert wiring.find(small, layer).n_units == keep.sum() == len(small.get_submodule(layer).weight)
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    small.train()(x).sum().backward()  # it can be trained on
    assert repr(small) != repr(model)


def test_masking_silences_what_the_reader_sees() -> None:
    model, x, _ = toy()
    keep = torch.tensor([True, False, True, True, False, True, True])
    by_hand = model[2](model[1](model[0](x)) * keep)
    assert torch.allclose(surgery.silenced(model, keep)(x), by_hand, atol=1e-6)


@pytest.mark.parametrize("read_out", activations.READ_OUTS)
@pytest.mark.parametrize(("make", "layer"), CASES)
def test_a_scan_agrees_with_the_subnetwork_of_every_size(make, layer, read_out) -> None:
    model, x, y = make()
    found = activations.trace(model, x, y, layer)
    order = activations.quiet_first(activations.scores(found, "random", seed=3))
    if layer == "first" and read_out == "refit":
        with pytest.raises(UserError, match="`read_out` can be refit for a linear layer"):
            activations.answers(model, found, order, x, read_out=read_out)
        return
    answers = activations.answers(model, found, order, x, read_out=read_out)
    for removed in range(len(order)):
        keep = activations.kept(order, removed)
        alone = activations.subnetwork(model, found, keep, read_out=read_out)(x).argmax(1)
        assert (answers[removed] == alone).float().mean() > 0.96, removed  # ties of rounding aside
        assert keep.sum() == len(order) - removed


def test_folding_keeps_the_mean_output() -> None:
    model, x, y = toy()
    found = activations.trace(model, x, y)
    small = activations.subnetwork(model, found, torch.arange(7) < 3, read_out="folded")
    assert torch.allclose(small(x).mean(0), model(x).mean(0), atol=1e-5)


def test_the_refit_is_ridge_regression_on_the_old_outputs() -> None:
    model, x, y = toy()
    found = activations.trace(model, x, y)
    keep = torch.tensor([True, False, True, True, False, True, False])
    hidden = model[1](model[0](x)).detach().double()
    penalty = readout.RIDGE * hidden.var(0, correction=0).mean() * len(x)
    oracle = Ridge(alpha=float(penalty)).fit(hidden[:, keep], model(x).detach().double())
    small = activations.subnetwork(model, found, keep, read_out="refit")
    assert np.allclose(small[2].weight.detach(), oracle.coef_, atol=1e-4)
    assert np.allclose(small[2].bias.detach(), oracle.intercept_, atol=1e-4)


def rows_of(scores: list[float]) -> pd.DataFrame:
    return activations.sizes(len(scores)).assign(accuracy=scores)


def test_where_accuracy_wiggles_the_full_scan_finds_what_bisection_misses() -> None:
    scores = [0.98, 0.97, 0.94, 0.93, 0.92, 0.91, 0.96, 0.90]  # fails at 2, is good again at 6
    found = activations.search(rows_of(scores), 0.95)
    assert (found.removed, found.kept, found.score) == (6, 2, 0.96)
    assert found.first_failure == 2
    assert found.bisection == 1  # looks at 4, 2 and 1


@given(st.lists(st.integers(0, 20), min_size=1, max_size=40), st.integers(0, 20))
def test_the_search_is_the_last_size_that_reaches_the_target(scores: list[int], target: int) -> None:
    values = [score / 20 for score in scores]
    if max(scores) < target:
        with pytest.raises(UserError, match="best within reach"):
            activations.search(rows_of(values), target / 20)
        return
    found = activations.search(rows_of(values).sample(frac=1, random_state=0), target / 20)
    assert scores[found.removed] >= target > max([-1, *scores[found.removed + 1 :]])
    until = len(scores) if found.first_failure is None else found.first_failure
    assert min(scores[:until], default=20) >= target
    if sorted(scores, reverse=True) == scores:  # where nothing wiggles, all agree
        assert found.bisection == found.removed == until - 1


def test_a_target_out_of_reach_says_the_best_within_it() -> None:
    with pytest.raises(UserError, match=r"0\.99 or more; the best within reach is 0\.9700, with 3 units"):
        activations.search(rows_of([0.96, 0.97, 0.95, 0.5]), 0.99)


@pytest.mark.parametrize("target", [1.5, -0.1, "0.9", True, float("nan")])
def test_a_target_is_a_score_from_0_to_1(target) -> None:
    with pytest.raises(UserError, match="`target` must be a number from 0 to 1, a score"):
        activations.search(rows_of([0.9, 0.8]), target)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(F.relu(self.first(x)) + x)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(F.relu(self.first(F.relu(self.first(x)))))


class Dynamic(Residual):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(x) if x.sum() > 0 else self.first(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Flatten(), nn.ReLU()), "must have linear or convolutional layers"),
        (Residual(), "'first': `add` follows, which may mix units; 'second': its output is the model's"),
        (Twice(), "used more than once"),
        (Dynamic(), "torch.fx cannot trace Dynamic"),
        (nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 3)), "`layernorm` follows"),
        (nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)), "no activation function follows"),
        (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.MaxPool1d(2), nn.Linear(2, 3)), "`maxpool1d` follows"),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2)), "grouped convolutions"),
        (nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Linear(4, 3)), "does not read whole units"),
        ("a path", "`model` must be a torch.nn.Module; got str"),
    ],
)
def test_a_layer_that_cannot_be_cut_is_one_clear_error(model, message) -> None:
    with pytest.raises(UserError, match=message) as caught:
        wiring.find(model, "0" if isinstance(model, nn.Sequential) and isinstance(model[0], nn.Conv2d) else None)
    assert "\n" not in str(caught.value)


def test_bad_input_is_one_clear_error() -> None:
    model, x, y = toy()
    found = activations.trace(model, x, y)
    order = torch.arange(7)
    for call, message in (
        (lambda: activations.trace(model, x, y.clamp(max=1)), r"needs images; there are none of \[2\]"),
        (lambda: activations.trace(model, x, y + 1), "labels must be classes from 0 to 2; got 1 to 3"),
        (lambda: activations.trace(model, x, y[:5]), "one label for each"),
        (lambda: activations.trace(model, x, y, "9"), "`layer` must be one of 0, 2; got '9'"),
        (lambda: activations.trace(model, x, y, "2"), "its output is the model's; layers where they can: 0"),
        (lambda: activations.scores(found, "loudest"), "`by` must be one of firing, activation, weighted, random"),
        (lambda: activations.scores(found, "firing", of=3), "`of` must be a whole number from 0 to 2, a class; got 3"),
        (lambda: activations.answers(model, found, order, x, read_out="magic"), "`read_out` must be one of plain"),
        (lambda: activations.answers(model, found, order[:3], x), "`order` must name each of the 7 units once"),
        (lambda: surgery.compact(model, torch.zeros(7, dtype=torch.bool)), "at least one of them True"),
        (lambda: surgery.silenced(model, torch.ones(6, dtype=torch.bool)), "one bool per unit, 7"),
    ):
        with pytest.raises(UserError, match=message):
            call()


def test_a_network_trained_by_scikit_learn_is_traced_searched_and_made_smaller() -> None:
    digits = load_digits()
    theirs = MLPClassifier((32,), max_iter=60, random_state=0, tol=1e-2).fit(
        digits.data[:1000] / 16, digits.target[:1000]
    )
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    with torch.no_grad():
        for layer, weight, bias in zip((model[0], model[2]), theirs.coefs_, theirs.intercepts_, strict=True):
            layer.weight.copy_(torch.from_numpy(weight.T))
            layer.bias.copy_(torch.from_numpy(bias))
    x, y = torch.from_numpy(digits.data).float() / 16, torch.from_numpy(digits.target)
    assert (model(x).argmax(1).numpy() == theirs.predict(digits.data / 16)).all()
    found = activations.trace(model, x[:1000], y[:1000])
    order = activations.quiet_first(activations.scores(found, "weighted"))
    rows = activations.scan(model, found, order, x[1000:1400], y[1000:1400], read_out="refit")
    best = activations.search(rows, rows["accuracy"][0] - 0.02)
    small = activations.subnetwork(model, found, activations.kept(order, best.removed), read_out="refit")
    assert best.kept == small[0].out_features < 32
    accuracy = (small(x[1000:1400]).argmax(1) == y[1000:1400]).double().mean()
    assert float(accuracy) == pytest.approx(best.score, abs=0.003)


def test_torchvisions_own_modules_are_understood() -> None:
    torch.manual_seed(0)
    mlp, x = torchvision.ops.MLP(6, [8, 9, 3], norm_layer=nn.BatchNorm1d).eval(), torch.randn(11, 6)
    assert wiring.hidden_layers(mlp) == ["0", "4"]
    keep = torch.arange(8) > 2
    assert torch.allclose(surgery.compact(mlp, keep, "0")(x), surgery.silenced(mlp, keep, "0")(x), atol=1e-6)
    found = wiring.hidden_layers(torchvision.models.SqueezeNet(num_classes=3))
    assert "features.3.expand1x1" not in found  # concatenated with another
    assert "features.0" in found  # pooled, then squeezed


def test_one_logit_is_a_pair_of_classes() -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 1)), torch.randn(50, 4)
    model[2].bias.data -= model(x).median()
    y = (model(x)[:, 0] > 0).float()
    found = activations.trace(model, x, y)
    rows = activations.scan(model, found, torch.arange(6), x, y)
    assert found.firing.shape == (2, 6)
    assert rows["accuracy"][0] == 1
