"""Tickets of modules, and the small transformer: masks stay, rounds nest, controls keep what they should."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from toydata import toy_task

from lowcap import modules
from lowcap.chapters.tickets import multilayer, procedure
from lowcap.chapters.tickets.multilayer import Setup, SingleNetwork, kept_after, largest, masked, mlp
from lowcap.errors import UserError
from lowcap.modules import Transformer
from lowcap.recipe import Recipe
from lowcap.tasks import load_task, with_train_size

TASK = toy_task(3, n=60)
RECIPE = Recipe(optimizer="adam", lr=5e-3, batch_size=20, epochs=3)


def make(seed: int) -> nn.Module:
    return mlp(12, (10, 6), 3, seed=seed)


def setup(**changes) -> Setup:
    options = {"rounds": [2, 4, 6], "at": [4], "seeds": [0, 1], "rewind_to": 0} | changes
    return Setup("small", make, TASK, RECIPE, **options)


ONE = SingleNetwork(setup(), 0)


def test_an_mlp_has_the_named_layers_and_the_statistics_of_its_init() -> None:
    module = mlp(784, (300, 100), 10, seed=1)
    assert [tuple(w.shape) for w in modules.layers_of(module).values()] == [(300, 784), (100, 300), (10, 100)]
    assert sum(w.numel() for w in modules.layers_of(module).values()) == 266_200
    assert float(module.layer1.weight.detach().std()) == pytest.approx((2 / 784) ** 0.5, rel=0.02)
    assert torch.equal(module.layer1.weight, mlp(784, (300, 100), 10, seed=1).layer1.weight)
    assert not torch.equal(module.layer1.weight, mlp(784, (300, 100), 10, seed=2).layer1.weight)
    assert not module.head.bias.any()


def test_the_output_layer_loses_half_as_fast() -> None:
    weights = {"layer1": torch.ones(100, 10), "head": torch.ones(10, 10)}
    assert kept_after(weights, 0) == {"layer1": 1000, "head": 100}
    assert kept_after(weights, 2) == {"layer1": 640, "head": 81}


def test_the_largest_scores_stay_and_what_is_gone_stays_gone() -> None:
    score = {"a": torch.tensor([[3.0, -5.0, 1.0, 4.0]])}
    assert largest(score, {"a": 2})["a"].tolist() == [[False, True, False, True]]
    gone = {"a": torch.tensor([[True, False, True, True]])}
    assert largest(score, {"a": 2}, gone)["a"].tolist() == [[True, False, False, True]]


@pytest.mark.parametrize("rewind_to", [0, 1])
def test_rounds_nest_and_rewinding_restores_the_early_weights(monkeypatch: pytest.MonkeyPatch, rewind_to: int) -> None:
    seen, fit = [], multilayer.fit

    def spy(module: nn.Module, *args, **kwargs):
        seen.append({name: weight.detach().clone() for name, weight in modules.layers_of(module).items()})
        return fit(module, *args, **kwargs)

    monkeypatch.setattr(multilayer, "fit", spy)
    kind = SingleNetwork(setup(rewind_to=rewind_to), 0)
    tickets = procedure.find(kind, [6, 2, 4])
    rows = procedure.Found(kind, tickets, [], []).ticket_rows()
    assert rows["round"].tolist() == [0, 2, 4, 6]
    assert rows["sparsity"][0] == 0
    assert all((weight != 0).all() for weight in modules.layers_of(tickets[0].module).values())
    masks, pruned = {k: ticket.masks for k, ticket in tickets.items()}, seen[2:]  # after the early part and the dense
    first = modules.layers_of(kind.early().module)
    for k, before, trained in zip((2, 4, 6), (None, 2, 4), pruned, strict=True):
        for name, mask in masks[k].items():
            assert int(mask.sum()) == kept_after(first, k)[name]
            assert torch.equal(trained[name], first[name] * mask)
            assert before is None or not (mask & ~masks[before][name]).any()
    assert all(torch.equal(first[n], w) for n, w in modules.layers_of(make(0)).items()) == (rewind_to == 0)


@pytest.mark.parametrize("rounds", [0, 9, 30])
def test_what_nothing_leads_on_from_is_left_out_of_training_and_nothing_else_changes(rounds: int) -> None:
    full = make(0)
    weights = modules.layers_of(full)
    full = masked(full, largest(weights, kept_after(weights, rounds)))
    small, before = deepcopy(full), deepcopy(full.state_dict())
    modules.fit(full, TASK, RECIPE, frozen=True, order_seed=1)
    multilayer.fit(small, TASK, RECIPE, order_seed=1)
    for name, value in small.state_dict().items():
        torch.testing.assert_close(value, full.state_dict()[name], rtol=1e-4, atol=1e-5)
    idle = ~(full.head.weight != 0).any(0)
    assert bool(idle.any()) == (rounds > 0)
    assert torch.equal(small.layer2.weight[idle], before["layer2.weight"][idle])
    assert not torch.equal(small.head.bias, before["head.bias"])


def test_a_module_in_a_row_is_trained_with_its_used_inputs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(modules, "fit", lambda module, task, *args, **kwargs: seen.append((module, task)))
    module = make(0)
    module.layer1.weight.data[:, :5] = 0
    module.layer2.weight.data[:, 3] = 0
    multilayer.fit(module, TASK, RECIPE)
    multilayer.fit(module, TASK, RECIPE.but(weight_decay=0.1))
    assert [tuple(task.x_train.shape) for _, task in seen] == [(60, 7), (60, 12)]
    assert seen[0][0].layer1.weight.shape == (9, 7)


def test_controls_of_modules() -> None:
    kind = SingleNetwork(setup(), 0)
    tickets = procedure.find(kind, [2, 4, 6])
    ticket = tickets[4].masks

    def control(name: str) -> multilayer.Masks:
        return procedure.control(kind, name, tickets, 4).masks

    assert control("new weights") is ticket
    for name in ("shuffled mask", "one-shot"):
        assert [int(m.sum()) for m in control(name).values()] == [int(m.sum()) for m in ticket.values()]
        assert any(not torch.equal(a, b) for a, b in zip(control(name).values(), ticket.values(), strict=True))
    chance = control("random mask")
    assert sum(int(m.sum()) for m in chance.values()) == sum(int(m.sum()) for m in ticket.values())
    assert [int(m.sum()) for m in chance.values()] != [int(m.sum()) for m in ticket.values()]


@pytest.mark.parametrize("rewind_to", [0, 1])
def test_controls_start_where_the_tickets_do_and_new_weights_elsewhere(
    monkeypatch: pytest.MonkeyPatch, rewind_to: int
) -> None:
    kind, seen, fit = SingleNetwork(setup(rewind_to=rewind_to), 0), [], multilayer.fit
    tickets = procedure.find(kind, [2, 4, 6])
    found = procedure.Found(kind, tickets, [4])
    sources = {name: kind.early(procedure.NEW if name == "new weights" else 0) for name in procedure.CONTROLS}

    def spy(module: nn.Module, *args, **kwargs):
        seen.append({name: weight.detach().clone() for name, weight in modules.layers_of(module).items()})
        return fit(module, *args, **kwargs)

    monkeypatch.setattr(multilayer, "fit", spy)
    for name, source in sources.items():
        mask = procedure.control(kind, name, tickets, 4).masks
        found.control_rows(name, 4)
        for layer, weight in modules.layers_of(source.module).items():
            assert torch.equal(seen[-1][layer], weight * mask[layer])


def test_comparing_gives_a_row_per_network_round_and_method_and_removed_weights_stay_removed() -> None:
    later = setup(rewind_to=1, method="rewound", at=[])
    rows = multilayer.compare([setup(), later], ["new weights", "one-shot"])
    assert rows.groupby(["method", "round"]).size().to_dict() == {
        **{(name, k): 2 for name in ("ticket", "rewound") for k in (0, 2, 4, 6)},
        **{(name, k): 2 for name in ("new weights", "one-shot") for k in (0, 4)},
    }
    size = sum(w.numel() for w in modules.layers_of(make(0)).values())
    for k, group in rows.groupby("round"):
        kept = sum(kept_after(modules.layers_of(make(0)), k).values())
        assert set(group["kept"]) == {kept}
        assert set(group["n_params"]) == {kept + 10 + 6 + 3}
        assert group["sparsity"].to_numpy() == pytest.approx(1 - kept / size)


def test_a_transformer_reads_patches_and_nothing_else_of_the_order() -> None:
    module = Transformer((8, 8), 3, width=8, heads=2, blocks=2, seed=0)
    x = torch.rand(5, 64)
    assert module(x).shape == (5, 3)
    names = list(modules.layers_of(module))
    assert names[:3] == ["embed", "blocks.0.self_attn.in_proj", "blocks.0.self_attn.out_proj"]
    assert (names[-1], len(names)) == ("head", 2 + 2 * 4)
    module.positions.data.zero_()  # without positions the order of the patches cannot matter
    images = x.view(5, 4, 2, 4, 2)
    torch.testing.assert_close(module(images.flip(1, 3).reshape(5, 64)), module(x))
    inside = images.flip(2).reshape(5, 64)  # but that of the pixels within a patch does
    assert not torch.allclose(module(inside), module(x))


def test_a_transformers_weights_come_from_its_seed_alone() -> None:
    torch.manual_seed(1)
    one = Transformer((8, 8), 3, width=8, seed=5).state_dict()
    torch.manual_seed(2)
    two, other = (Transformer((8, 8), 3, width=8, seed=s).state_dict() for s in (5, 6))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["embed.weight"], other["embed.weight"])


def test_attention_is_pruned_and_stays_so_in_training() -> None:
    task = with_train_size(load_task("all", dataset="digits"), 100)
    module = Transformer((8, 8), 10, width=8, heads=2, seed=0)
    weights = modules.layers_of(module)
    small = masked(module, largest(weights, kept_after(weights, 5)))
    modules.fit(small, task, RECIPE, frozen=True)
    left = {name: int((w != 0).sum()) for name, w in modules.layers_of(small).items()}
    assert left == kept_after(weights, 5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: mlp(4, (), 2), "`hidden` must be one or more widths"),
        (lambda: mlp(4, (3,), 2, init="zero"), "`init` must be one of published, he; got 'zero'"),
        (
            lambda: procedure.control(SingleNetwork(setup(), 0), "same pixels", {}, 0),
            "`name` must be one of new weights",
        ),
        (lambda: setup(at=[3, 4]), r"`at` must name some of the rounds \[2, 4, 6\]; got \[3\] too"),
        (lambda: setup(rewind_to=3), "`rewind_to` must be a whole number from 0 to 2"),
        (lambda: Transformer((8, 6), 3), "`image_shape` must be square with a side that 4 divides; got 8 x 6"),
        (lambda: Transformer((10, 10), 3), "4 divides; got 10 x 10"),
        (lambda: Transformer((8, 8), 3, width=9), "`width` must be a multiple of the 4 heads; got 9"),
        (lambda: Transformer((8, 8), 3, blocks=0), "`blocks` must be a whole number of at least 1; got 0"),
    ],
)
def test_mistakes_are_named(call, said: str) -> None:
    with pytest.raises(UserError, match=said):
        call()
