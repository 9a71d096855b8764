"""Populations: many networks as one, of which none notices the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import Saliency
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from lowcap.errors import DataError, UserError
from lowcap.population import Population

unhurried = settings(deadline=None, max_examples=30)
members = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 99)), min_size=1, max_size=5)
outputs = st.sampled_from([1, 3])
BATCH, FEATURES = 7, 11


def populate(pairs: Any, n_outputs: int = 1, **kwargs: Any) -> Population:
    """A float64 population in which biases are not zero either."""
    widths, seeds = zip(*pairs, strict=True)
    population = Population(widths, seeds, n_features=FEATURES, n_outputs=n_outputs, **kwargs).double()
    generator = torch.Generator().manual_seed(1)
    for bias in (population.b_in, population.b_out):
        bias.data.normal_(generator=generator)
    return population


def images() -> Tensor:
    return torch.rand(BATCH, FEATURES, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def some_mask(tensor: Tensor) -> Tensor:
    return torch.rand(tensor.shape, generator=torch.Generator().manual_seed(3)) < 0.5


def masked(population: Population) -> Population:
    return population.masked(some_mask(population.w_in), some_mask(population.w_out))


@unhurried
@given(members, outputs)
def test_every_member_answers_like_an_ordinary_module(pairs: list, n_outputs: int) -> None:
    population, x = populate(pairs, n_outputs), images()
    for i, (width, _) in enumerate(pairs):
        module = population.to_module(i)
        assert [tuple(p.shape) for p in module.parameters()] == [
            (width, FEATURES),
            (width,),
            (n_outputs, width),
            (n_outputs,),
        ]
        expected = module(x)[:, 0] if n_outputs == 1 else module(x)
        torch.testing.assert_close(population(x)[:, i], expected, rtol=0, atol=1e-12)


def test_a_network_small_enough_to_check_by_hand_answers_as_computed_by_hand() -> None:
    population = Population([2, 1], [0, 0], n_features=2)
    population.w_in.data = torch.tensor([[1.0, -1.0, 2.0], [2.0, 1.0, 0.0]])
    population.b_in.data = torch.tensor([0.0, -1.0, -3.0])
    population.w_out.data = torch.tensor([[3.0], [-2.0], [5.0]])
    population.b_out.data = torch.tensor([[0.5], [-1.0]])
    x = torch.tensor([[1.0, 1.0], [-1.0, 3.0], [2.0, 0.0]])
    assert population.hidden(x).tolist() == [[3, 0, 0], [5, 3, 0], [2, 0, 1]]
    assert population(x).tolist() == [[9.5, -1], [9.5, -1], [6.5, 4]]


@unhurried
@given(members, outputs, st.data())
def test_selecting_and_permuting_members_selects_and_permutes_their_answers(
    pairs: list, n_outputs: int, data: st.DataObject
) -> None:
    population, x = masked(populate(pairs, n_outputs)), images()
    order = data.draw(st.lists(st.integers(0, len(pairs) - 1), min_size=1, max_size=5))
    part = population.select(order)
    torch.testing.assert_close(part(x), population(x)[:, order], rtol=0, atol=1e-12)
    pd_columns = ["width", "seed", "n_params"]
    assert part.members[pd_columns].to_numpy().tolist() == population.members[pd_columns].to_numpy()[order].tolist()


def test_members_can_be_selected_by_one_bool_each() -> None:
    population = populate([(2, 0), (3, 1), (5, 2)])
    assert population.select(np.array(population.members.width > 2)).widths == [3, 5]
    assert population.select(torch.tensor([True, False, True])).seeds == [0, 2]


def test_a_selection_shares_no_memory_with_the_population() -> None:
    population = masked(populate([(2, 0), (3, 1)]))
    before = population(images())
    other = population.select([0, 1])
    for tensor in (*other.parameters(), other.mask_in, other.mask_out):
        tensor.data.fill_(0)
    assert torch.equal(population(images()), before)
    assert population.mask_in.any()


@pytest.mark.parametrize("wrong", [[], [False, False], [2], [True], 0, [0.0], "a", [[0]]], ids=repr)
def test_a_selection_of_nothing_or_of_nobody_is_refused(wrong: Any) -> None:
    with pytest.raises(UserError, match="`members` must be one or more positions from 0 to 1, or one bool per member"):
        populate([(2, 0), (3, 1)]).select(wrong)


@unhurried
@given(members, outputs, st.sampled_from(["published", "he"]))
@example([(2, 0), (3, 0), (2, 1)], 1, "published")
def test_a_start_depends_on_the_width_and_seed_of_the_member_alone(pairs: list, n_outputs: int, init: str) -> None:
    widths, seeds = zip(*pairs, strict=True)
    kwargs: dict[str, Any] = {"n_features": FEATURES, "n_outputs": n_outputs, "init": init}
    crowd = Population(widths, seeds, **kwargs)
    for i, (width, seed) in enumerate(pairs):
        alone = Population([width], [seed], **kwargs)
        assert torch.equal(crowd.select([i]).w_in, alone.w_in)
        assert torch.equal(crowd.select([i]).w_out, alone.w_out)
    distinct = {bytes(crowd.select([i]).w_in.flatten()[:FEATURES].detach().numpy()) for i in range(len(pairs))}
    assert len(distinct) == len(set(pairs))


@pytest.mark.parametrize(("init", "spread"), [("published", (0.1, 0.1)), ("he", ((2 / 784) ** 0.5, (2 / 2000) ** 0.5))])
def test_first_weights_are_normal_with_the_spread_of_the_initialisation(init: str, spread: tuple) -> None:
    population = Population([2000], [0], init=init)
    for weight, sigma in zip((population.w_in, population.w_out), spread, strict=True):
        scaled = weight.detach().flatten() / sigma
        assert abs(scaled.mean()) < 4 / len(scaled) ** 0.5
        assert abs(scaled.std() - 1) < 4 / (2 * len(scaled)) ** 0.5
        assert abs((scaled.abs() < 1).float().mean() - 0.6827) < 4 * (0.68 * 0.32 / len(scaled)) ** 0.5
    assert not population.b_in.any()
    assert not population.b_out.any()


def test_a_grid_holds_every_width_with_every_seed() -> None:
    population = Population.grid([2, 5], range(3), n_features=3)
    expected = [(0, 2, 0), (1, 2, 1), (2, 2, 2), (3, 5, 0), (4, 5, 1), (5, 5, 2)]
    assert [tuple(row) for row in population.members[["member", "width", "seed"]].to_numpy()] == expected
    assert population.members.n_params.tolist() == [11] * 3 + [26] * 3  # 3w + w + w + 1


def test_parameters_are_counted_without_masked_weights() -> None:
    population = populate([(2, 0), (3, 1)], 3)
    assert population.members.n_params.tolist() == [
        sum(p.numel() for p in population.to_module(i).parameters()) for i in (0, 1)
    ]
    mask = torch.ones_like(population.w_in, dtype=torch.bool)
    mask[0, 0] = mask[1, 2] = mask[2, 2] = False
    assert (population.members.n_params - population.masked(mask).members.n_params).tolist() == [1, 2]


@unhurried
@given(members, outputs)
def test_masked_weights_are_zero_and_the_others_untouched(pairs: list, n_outputs: int) -> None:
    population = populate(pairs, n_outputs)
    original = population.w_in.detach().clone()
    other = masked(population)
    assert torch.equal(other.w_in, population.w_in * some_mask(population.w_in))
    assert torch.equal(other.w_out, population.w_out * some_mask(population.w_out))
    assert torch.equal(population.w_in, original)
    assert population.mask_in is None


def test_one_layer_can_be_masked_after_the_other() -> None:
    population = populate([(2, 0), (3, 1)])
    both, one = masked(population), population.masked(mask_in=some_mask(population.w_in))
    assert torch.equal(one.masked(mask_out=some_mask(population.w_out))(images()), both(images()))
    assert one.mask_out is None


def test_a_mask_on_top_of_another_leaves_what_both_leave() -> None:
    population = masked(populate([(2, 0), (3, 1)], 3))
    first, before = population.mask_in, population.w_in.detach().clone()
    second_in, second_out = ~some_mask(population.w_in.T).T, torch.ones_like(population.w_out, dtype=torch.bool)
    both = population.masked(second_in, second_out)
    assert torch.equal(both.mask_in, first & second_in)
    assert torch.equal(both.mask_out, population.mask_out)
    assert torch.equal(both.w_in, before * second_in)
    assert both.members.n_params.sum() == both.mask_in.sum() + both.mask_out.sum() + 5 + 2 * 3
    assert torch.equal(both.masked().mask_in, both.mask_in)
    for mask in (second_in, both.mask_in):  # the two populations and the mask are three things
        mask.fill_(False)
    assert torch.equal(population.mask_in, some_mask(population.w_in))
    assert torch.equal(population.w_in, before)


@pytest.mark.parametrize("wrong", [torch.ones(11, 4).bool(), torch.ones(5, 11).bool(), torch.ones(11, 5)])
def test_a_mask_of_another_shape_or_type_is_refused(wrong: Tensor) -> None:
    with pytest.raises(UserError, match=r"`mask_in` must be bool of shape \(11, 5\); got torch\.\w+, \("):
        populate([(2, 0), (3, 1)]).masked(mask_in=wrong)


@pytest.mark.parametrize("member", [-1, 2, "0", 0.5, None])
def test_a_module_of_a_member_that_is_not_there_is_refused(member: Any) -> None:
    with pytest.raises(UserError, match=f"`member` must be a whole number from 0 to 1; got {member!r}"):
        populate([(2, 0), (3, 1)]).to_module(member)


@unhurried
@given(pairs=members, n_outputs=outputs, single=st.booleans(), with_masks=st.booleans())
def test_saving_and_loading_changes_no_bit(
    tmp_path_factory: pytest.TempPathFactory, pairs: list, n_outputs: int, single: bool, with_masks: bool
) -> None:
    population, path = populate(pairs, n_outputs, init="he"), tmp_path_factory.mktemp("saved") / "population"
    population = masked(population) if with_masks else population
    population = population.float() if single else population
    population.save(path)
    loaded, about = Population.load(path), ("widths", "seeds", "n_features", "n_outputs", "init")
    assert [getattr(loaded, name) for name in about] == [getattr(population, name) for name in about]
    assert loaded.state_dict().keys() == population.state_dict().keys()
    assert loaded.w_in.dtype == population.w_in.dtype
    for name, tensor in population.state_dict().items():
        assert loaded.state_dict()[name].numpy().tobytes() == tensor.numpy().tobytes()


def foreign(path: Path, metadata: dict | None) -> None:
    save_file({"w_in": torch.zeros(2, 2)}, path, metadata)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:20]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no population at all"),
        lambda path: foreign(path, None),
        lambda path: foreign(path, {"lowcap": "[]"}),
        lambda path: foreign(path, {"lowcap": '{"widths": [0], "seeds": [0]}'}),
        lambda path: foreign(path, {"lowcap": '{"widths": [2], "seeds": [0], "n_features": 2}'}),
        lambda path: path.write_bytes(path.read_bytes().replace(b"[2, 3]", b"[3, 3]")),
    ],
)
def test_a_file_that_is_not_a_whole_population_is_named(damage: Any, tmp_path: Path) -> None:
    path = tmp_path / "population"
    populate([(2, 0), (3, 1)]).save(path)
    damage(path)
    with pytest.raises(DataError, match=f"^{path} is not a population saved by `Population.save`"):
        Population.load(path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path / 'no' / 'such'} cannot be written"):
        populate([(2, 0)]).save(tmp_path / "no" / "such")


def test_saliency_of_a_target_is_that_of_the_member_alone_and_touches_no_other() -> None:
    population, x = populate([(2, 0), (3, 1), (5, 2)]), images().requires_grad_()
    for i in range(3):
        in_crowd = Saliency(population).attribute(x, target=i, abs=False)
        alone = Saliency(population.to_module(i)).attribute(x, target=0, abs=False)
        torch.testing.assert_close(in_crowd, alone, rtol=0, atol=1e-12)
    population(x)[:, 1].sum().backward()
    others = population.owner != 1
    assert population.w_in.grad[:, ~others].any()
    assert not population.w_in.grad[:, others].any()
    assert not population.w_out.grad[others].any()


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize("where", ["w_in", "b_in", "w_out"])
def test_a_member_that_has_diverged_answers_nan_and_spoils_no_other(where: str, bad: float) -> None:
    population, x = populate([(2, 0), (3, 1), (5, 2)]), images()
    expected = population(x)[:, [0, 2]]
    tensor = getattr(population, where).data
    (tensor.T if where == "w_in" else tensor)[population.owner == 1] = bad
    answers = population(x)
    assert torch.equal(answers[:, [0, 2]], expected)
    assert not answers[:, 1].isfinite().any()


@pytest.mark.parametrize("name", ["widths", "seeds"])
@pytest.mark.parametrize("wrong", [-1, 1.0, True, "2", None, float("nan")], ids=repr)
def test_a_width_or_seed_that_is_no_whole_number_in_range_is_refused(name: str, wrong: Any) -> None:
    lists = {"widths": [2, 3], "seeds": [0, 1]} | {name: [2, wrong]}
    with pytest.raises(UserError, match=rf"`{name}` must be whole numbers of at least [01]; got {wrong!r}"):
        Population(**lists)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"widths": [0], "seeds": [0]}, "`widths` must be whole numbers of at least 1; got 0"),
        ({"widths": 2, "seeds": [0]}, "`widths` must be a list of whole numbers of at least 1; got 2"),
        ({"widths": [2, 3], "seeds": [0]}, "one seed per width; got 2 widths and 1 seeds"),
        ({"widths": [], "seeds": []}, "one seed per width; got 0 widths"),
        ({"widths": [2], "seeds": [0], "init": "zeros"}, "`init` must be one of published, he; got 'zeros'"),
        ({"widths": [2], "seeds": [0], "n_features": 0}, "`n_features` must be a whole number of at least 1; got 0"),
        ({"widths": [2], "seeds": [0], "n_outputs": 2.0}, "`n_outputs` must be a whole number of at least 1; got 2.0"),
    ],
)
def test_a_population_that_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Population(**arguments)


def test_widths_and_seeds_may_come_from_numpy_and_generators(tmp_path: Path) -> None:
    population = Population((int(w) for w in (2, 3)), np.array([0, 1]), n_features=FEATURES)
    assert (population.widths, population.seeds) == ([2, 3], [0, 1])
    population.save(tmp_path / "population")  # as JSON knows them: NumPy's would be refused
