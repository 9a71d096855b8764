"""Maps by Captum: closed forms, axioms, hand-made networks; nothing leaks, nothing random is left behind."""

from itertools import product

import numpy as np
import pytest
import torch
from captum.attr import GradientShap, InputXGradient, IntegratedGradients, NoiseTunnel, Occlusion, Saliency
from torch import Tensor

from lowcap.chapters.saliency.attribution import METHODS, UNSIGNED, Settings, attribute, maps
from lowcap.errors import UserError
from lowcap.population import Population

SIDE = 4
RANDOM = ("SmoothGrad", "gradient SHAP")


@pytest.fixture
def images() -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(7, SIDE**2, generator=generator) * (torch.rand(7, SIDE**2, generator=generator) < 0.6)


@pytest.fixture
def population() -> Population:
    made = Population([3, 5, 2], [0, 1, 2], n_features=SIDE**2, init="he")
    generator = torch.Generator().manual_seed(4)
    made.b_in.data = 0.3 * torch.randn(len(made.owner), generator=generator)
    made.b_out.data = torch.randn(3, 1, generator=generator)
    return made


@pytest.fixture
def settings(images: Tensor) -> Settings:
    return Settings(samples=6, steps=12, baselines=images[:3].flip(1))


def toy() -> Population:
    """Two pixels, two units: logit = relu(2a - b) - 3 relu(b - 1) + 1."""
    made = Population([2], [0], n_features=2)
    made.w_in.data = torch.tensor([[2.0, 0.0], [-1.0, 1.0]])
    made.b_in.data = torch.tensor([0.0, -1.0])
    made.w_out.data = torch.tensor([[1.0], [-3.0]])
    made.b_out.data = torch.tensor([[1.0]])
    return made


def test_the_gradient_is_the_weights_of_the_units_that_are_on(population: Population, images: Tensor) -> None:
    on = (population.hidden(images) > 0).float()
    for i in range(3):
        units = population.owner == i
        closed = (on[:, units] * population.w_out[units, 0]) @ population.w_in[:, units].T
        assert torch.allclose(attribute(population, images, i), closed, atol=1e-6)


def test_gradient_and_input_x_gradient_of_a_network_made_by_hand() -> None:
    x = torch.tensor([[1.0, 0.5], [0.25, 2.0]])  # first: the first unit is on; second: the second
    assert attribute(toy(), x).tolist() == [[2.0, -1.0], [0.0, -3.0]]
    assert attribute(toy(), x, method="input x gradient").tolist() == [[2.0, -0.5], [0.0, -6.0]]


@pytest.mark.parametrize("member", range(3))
def test_integrated_gradients_add_up_to_what_the_image_changed(
    population: Population, images: Tensor, member: int
) -> None:
    black, steps = torch.zeros(1, SIDE**2), 200
    units = population.owner == member
    slopes = (images @ population.w_in[:, units] * population.w_out[units, 0]).abs().sum(1).detach()
    # Where a unit switches on, the integrand jumps by its slope, and Gauss's rule misses by a node's weight at most.
    for bias, bound in ((1.0, slopes * torch.pi / 2 / steps + 1e-5), (0.0, 1e-5)):
        network = population.select([0, 1, 2])
        network.b_in.data *= bias
        found = attribute(network, images, member, "integrated gradients", Settings(steps=steps))
        with torch.no_grad():
            due = (network(images) - network(black))[:, member]
        assert ((found.sum(1) - due).abs() <= bound).all()


def test_occlusion_is_the_mean_fall_of_the_logit_over_the_patches_that_cover_a_pixel(
    population: Population, images: Tensor
) -> None:
    patch, stride = 2, 1
    with torch.no_grad():
        whole = population(images)[:, 1]
        total, count = torch.zeros(7, SIDE, SIDE), torch.zeros(SIDE, SIDE)
        for top, left in product(range(SIDE - patch + 1), repeat=2):
            hidden = images.clone().view(-1, SIDE, SIDE)
            hidden[:, top : top + patch, left : left + patch] = 0
            fall = whole - population(hidden.flatten(1))[:, 1]
            total[:, top : top + patch, left : left + patch] += fall[:, None, None]
            count[top : top + patch, left : left + patch] += 1
    found = attribute(population, images, 1, "occlusion", Settings(patch=patch, stride=stride))
    assert torch.allclose(found, (total / count).flatten(1), atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 14.0])  # also where the network is so sure that float32 would show steps
def test_the_finite_difference_is_the_studys_loop_over_pixels(
    population: Population, images: Tensor, offset: float
) -> None:
    epsilon, expected = 0.1, torch.zeros_like(images).double()
    population.b_out.data += offset
    exact = population.select([2]).double()
    with torch.no_grad():
        for i, d in product(range(len(images)), range(SIDE**2)):
            raised = images[[i]].double()
            raised[0, d] += epsilon
            before, after = (exact(x)[0, 0].sigmoid() for x in (images[[i]].double(), raised))
            expected[i, d] = (after - before).abs()
    low, high = expected.amin(1, keepdim=True), expected.amax(1, keepdim=True)
    some = (high > low)[:, 0]
    found = attribute(population, images, 2, "finite difference", Settings(epsilon=epsilon))
    assert torch.allclose(found[some].double(), ((expected - low) / (high - low))[some], atol=1e-5)
    assert some.sum() >= 5
    assert (found.amin(1) == 0).all()
    assert (found.amax(1) == some).all()


def test_captum_on_the_population_with_the_member_as_target_gives_the_same(
    population: Population, images: Tensor, settings: Settings
) -> None:
    x = images.clone().requires_grad_()
    for i in range(3):
        oracle = {
            "gradient": Saliency(population).attribute(x, target=i, abs=False),
            "input x gradient": InputXGradient(population).attribute(x, target=i),
            "integrated gradients": IntegratedGradients(population).attribute(
                x, target=i, n_steps=12, method="gausslegendre"
            ),
            "occlusion": Occlusion(lambda z: population(z.flatten(1))).attribute(
                images.view(-1, SIDE, SIDE), (2, 2), strides=1, target=i
            ),
        }
        for method, found in oracle.items():
            assert torch.allclose(attribute(population, images, i, method, settings), found.flatten(1), atol=1e-5)


def test_smoothgrad_and_gradient_shap_come_near_captums_own_draws(population: Population, images: Tensor) -> None:
    many = Settings(samples=4000, noise=0.3, baselines=images[:3].flip(1))
    x = images.clone().requires_grad_()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        smooth = NoiseTunnel(Saliency(population)).attribute(x, nt_samples=4000, stdevs=0.3, target=1, abs=False)
    state = np.random.get_state()
    np.random.seed(11)
    shap = GradientShap(population).attribute(x, many.baselines, n_samples=4000, stdevs=0.0, target=1)
    np.random.set_state(state)
    for method, oracle in (("SmoothGrad", smooth), ("gradient SHAP", shap)):
        found = attribute(population, images, 1, method, many)
        assert (found - oracle).abs().max() < 0.06 * oracle.abs().max()


@pytest.mark.parametrize("method", METHODS)
def test_a_member_in_the_crowd_has_the_maps_of_the_member_alone(
    population: Population, images: Tensor, settings: Settings, method: str
) -> None:
    together = maps(population, images, method, settings)
    assert together.shape == (3, 7, SIDE**2)
    for i in range(3):
        in_place = attribute(population, images, i, method, settings)
        alone, module = population.select([i]), population.to_module(i)
        assert torch.allclose(together[i], in_place, atol=1e-6)
        assert torch.allclose(together[i], attribute(alone, images, 0, method, settings), atol=1e-6)
        if method == "gradient":
            oracle = Saliency(module).attribute(images.clone().requires_grad_(), target=0, abs=False)
            assert torch.allclose(in_place, oracle, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_no_other_member_reaches_a_map_not_even_one_that_has_diverged(
    population: Population, images: Tensor, settings: Settings, method: str
) -> None:
    before = maps(population, images, method, settings)
    in_place = attribute(population, images, 1, method, settings)
    spoiled = population.select([0, 1, 2])
    spoiled.w_in.data[:, spoiled.owner != 1] = 17.0
    spoiled.w_out.data[spoiled.owner != 1] = -5.0
    assert torch.equal(attribute(spoiled, images, 1, method, settings), in_place)
    spoiled.w_in.data[:, spoiled.owner == 0] = float("inf")
    assert torch.equal(maps(spoiled, images, method, settings)[1], before[1])


@pytest.mark.parametrize("method", METHODS)
def test_the_other_images_of_a_batch_change_nothing(
    population: Population, images: Tensor, settings: Settings, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = attribute(population, images, 1, method, settings)
    parts = [attribute(population, images[some], 1, method, settings) for some in (slice(0, 2), slice(2, 7))]
    assert torch.allclose(torch.cat(parts), whole, atol=1e-6)
    backwards = attribute(population, images.flip(0), 1, method, settings).flip(0)
    assert torch.allclose(backwards, whole, atol=1e-6)
    monkeypatch.setattr("lowcap.chapters.saliency.attribution.BATCH", 3)
    assert torch.allclose(attribute(population, images, 1, method, settings), whole, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_no_trace_is_left_on_the_callers_numbers(
    population: Population, images: Tensor, settings: Settings, method: str
) -> None:
    np.random.set_state(np.random.RandomState(99).get_state())  # one that no code would leave behind by chance
    torch_state, copy = torch.get_rng_state(), images.clone()
    with torch.no_grad():
        first = attribute(population, images, 0, method, settings)
    torch.rand(3)
    second = attribute(population, images, 0, method, settings)
    assert torch.equal(first, second)
    torch.set_rng_state(torch_state)
    maps(population, images, method, settings)
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.random.random() == np.random.RandomState(99).random()
    assert torch.equal(images, copy)
    assert not images.requires_grad
    assert images.grad is None
    assert all(parameter.grad is None for parameter in population.parameters())
    assert not second.requires_grad


@pytest.mark.parametrize("method", RANDOM)
def test_a_seed_decides_what_is_drawn(population: Population, images: Tensor, settings: Settings, method: str) -> None:
    other = Settings(samples=6, seed=1, baselines=settings.baselines)
    assert not torch.equal(
        attribute(population, images, 0, method, settings), attribute(population, images, 0, method, other)
    )


def test_only_the_finite_difference_has_no_sign(population: Population, images: Tensor, settings: Settings) -> None:
    for method in METHODS:
        assert bool((maps(population, images, method, settings) < 0).any()) == (method not in UNSIGNED)


def test_patches_fit_the_image() -> None:
    assert Settings().window(28) == (5, 2)
    assert Settings().window(8) == (2, 1)
    assert Settings(patch=40, stride=3).window(28) == (28, 3)
    assert Settings(patch=40, stride=30).window(28) == (28, 28)
    assert Settings(stride=30).window(28) == (5, 5)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"steps": 0}, "`steps` must be a whole number of at least 1; got 0"),
        ({"steps": 2.5}, "`steps` must be a whole number of at least 1; got 2.5"),
        ({"samples": 0}, "`samples` must be a whole number of at least 1; got 0"),
        ({"samples": True}, "`samples` must be a whole number of at least 1; got True"),
        ({"patch": -1}, "`patch` must be a whole number of at least 1, or None; got -1"),
        ({"stride": 0}, "`stride` must be a whole number of at least 1, or None; got 0"),
        ({"patch": 2, "stride": 3}, "`stride` must be from 1 to the patch's 2 pixels; got 3"),
        ({"noise": -1}, "`noise` must be a number of at least 0; got -1"),
        ({"noise": float("nan")}, "`noise` must be a number of at least 0; got nan"),
        ({"epsilon": 0.0}, "`epsilon` must be a number above 0; got 0.0"),
        ({"epsilon": "0.1"}, "`epsilon` must be a number above 0; got '0.1'"),
    ],
)
def test_settings_outside_their_range_are_refused(how: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Settings(**how)


def test_settings_at_the_ends_of_their_ranges_give_maps(population: Population, images: Tensor) -> None:
    least = Settings(steps=1, samples=1, noise=0, epsilon=1e-4, patch=1, stride=1)
    found = {method: attribute(population, images, 0, method, least) for method in METHODS}
    assert all(one.isfinite().all() for one in found.values())
    assert torch.allclose(found["SmoothGrad"], found["gradient"], atol=1e-6)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"method": "gradients"}, "one of gradient, SmoothGrad, input x gradient, integrated gradients, gradient SHAP"),
        ({"member": 3}, "`member` must be a whole number from 0 to 2; got 3"),
        ({"member": -1}, "`member` must be a whole number from 0 to 2; got -1"),
        ({"x": torch.zeros(2, 9)}, r"images of 16 pixels, shape \(N, 16\); got shape \(2, 9\)"),
        ({"x": torch.zeros(16)}, r"got shape \(16,\)"),
    ],
)
def test_what_cannot_be_mapped_is_refused(population: Population, images: Tensor, how: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        attribute(**{"population": population, "x": images, **how})


def test_maps_of_an_unknown_method_are_refused(population: Population, images: Tensor) -> None:
    with pytest.raises(UserError, match=r"`method` must be one of gradient, .*finite difference; got 'lime'"):
        maps(population, images, "lime")


def test_networks_of_ten_classes_are_refused(images: Tensor) -> None:
    with pytest.raises(UserError, match="one logit"):
        attribute(Population([2], [0], n_features=SIDE**2, n_outputs=10), images)


def test_occlusion_needs_square_images() -> None:
    with pytest.raises(UserError, match=r"square images.* got 6 pixels"):
        attribute(Population([2], [0], n_features=6), torch.zeros(1, 6), method="occlusion")
