"""Corruptions: nothing at severity 0, the stated amount above it, the same for an image in whatever batch it comes."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from torch import Tensor

from lowcap.chapters.robustness.corruption import BLOCK, CORRUPTIONS, corrupt, expected, patch_side
from lowcap.errors import UserError

KINDS = list(CORRUPTIONS)
CHANCE = ["gaussian", "unclipped", "speckle", "salt_pepper", "dropout", "rotation", "shift", "occlusion"]


@pytest.fixture(scope="module")
def x() -> Tensor:
    """Images of 28 x 28: grey levels everywhere, so that every change shows."""
    return 0.2 + 0.6 * torch.rand(BLOCK + 44, 784, generator=torch.Generator().manual_seed(1))


def strong(kind: str) -> float:
    return CORRUPTIONS[kind].levels[3]


@pytest.mark.parametrize("kind", KINDS)
def test_severity_zero_is_the_image_itself_bit_for_bit(kind: str, x: Tensor) -> None:
    same = corrupt(x, kind, 0)
    assert torch.equal(same, x)
    assert same.data_ptr() != x.data_ptr()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_level_changes_images_and_keeps_range_shape_and_type(kind: str, dtype: torch.dtype, x: Tensor) -> None:
    images, before = x.to(dtype), x.to(dtype).clone()
    for severity in CORRUPTIONS[kind].levels[1:]:
        changed = corrupt(images, kind, severity)
        assert changed.shape == x.shape
        assert changed.dtype == dtype
        assert (changed != images).any(1).all()  # every image
        assert (changed.min() >= 0 and changed.max() <= 1) == (kind != "unclipped" or severity < 0.1)
    assert torch.equal(images, before)


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_severity_and_the_small_digits_work(kind: str) -> None:
    small = torch.rand(5, 64, generator=torch.Generator().manual_seed(0))
    for severity in (*CORRUPTIONS[kind].levels, CORRUPTIONS[kind].largest):
        changed = corrupt(small, kind, severity)
        assert changed.isfinite().all()
        # A blur of half a pixel of 28 is a seventh of a pixel of 8, which changes nothing that a float can hold.
        assert (severity < 1 and kind == "blur") or torch.equal(changed, small) == (severity == 0)


@pytest.mark.parametrize("kind", KINDS)
def test_six_levels_that_rise_from_zero_to_no_more_than_the_largest(kind: str) -> None:
    levels = CORRUPTIONS[kind].levels
    assert len(levels) == 6
    assert levels[0] == 0
    assert list(levels) == sorted(set(levels))
    assert levels[-1] <= CORRUPTIONS[kind].largest


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_and_another_seed_another_result(kind: str, x: Tensor) -> None:
    first, again, other = (corrupt(x, kind, strong(kind), noise_seed=seed) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (kind not in CHANCE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("parts", [[1], [7, 100], [BLOCK], [BLOCK - 1, BLOCK + 1]])
def test_a_batch_is_corrupted_as_it_is_within_the_whole(kind: str, parts: list[int], x: Tensor) -> None:
    whole, edges = corrupt(x, kind, strong(kind)), [0, *parts, len(x)]
    for start, stop in pairwise(edges):
        batch = corrupt(x[start:stop], kind, strong(kind), first=start)
        assert torch.allclose(batch, whole[start:stop], atol=1e-6, rtol=0)


def test_no_two_images_share_their_noise_and_no_two_seeds_either() -> None:
    grey = torch.full((3 * BLOCK, 64), 0.5)
    noise = [corrupt(grey, "unclipped", 1, noise_seed=seed) for seed in (0, 1)]
    assert len({tuple(row) for field in noise for row in field.tolist()}) == 6 * BLOCK


def test_the_global_generators_are_neither_read_nor_moved(x: Tensor) -> None:
    torch.manual_seed(0)
    state, before = torch.get_rng_state(), corrupt(x, "gaussian", 0.3)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(corrupt(x, "gaussian", 0.3), before)


def test_gaussian_noise_has_the_stated_size_and_a_stronger_one_is_the_same_noise_multiplied(x: Tensor) -> None:
    weak, double = (corrupt(x, "unclipped", sigma) - x for sigma in (0.15, 0.3))
    assert torch.allclose(2 * weak, double, atol=1e-6)
    assert stats.kstest((double / 0.3).flatten()[::10].numpy(), "norm").pvalue > 1e-3
    assert torch.equal(corrupt(x, "gaussian", 0.3), corrupt(x, "unclipped", 0.3).clamp(0, 1))


def test_the_average_of_clipped_noise_is_that_of_many_draws_and_of_scipys_censored_normal() -> None:
    levels, sigma = torch.tensor([[0.0, 0.1, 0.5, 1.0]]), 0.3
    mean = expected(levels, sigma)[0]
    for x, found in zip(levels[0].tolist(), mean.tolist(), strict=True):
        exact = stats.norm(x, sigma).expect(lambda v: np.clip(v, 0, 1), lb=-3, ub=4)
        assert found == pytest.approx(exact, abs=1e-5)
    many = corrupt(levels.repeat(40_000, 1), "gaussian", sigma).mean(0)
    assert torch.allclose(many, mean, atol=0.005)


def test_speckle_leaves_black_pixels_black() -> None:
    x = torch.tensor([[0.0, 0.5, 0.0, 1.0]])
    assert corrupt(x, "speckle", 1)[0, [0, 2]].tolist() == [0, 0]


@pytest.mark.parametrize("kind", ["salt_pepper", "dropout"])
@pytest.mark.parametrize("share", [0.1, 0.5, 1])
def test_the_stated_share_of_pixels_is_set(kind: str, share: float, x: Tensor) -> None:
    changed = corrupt(x, kind, share)
    hit = changed != x
    assert hit.double().mean() == pytest.approx(share, abs=0.005)
    white = (changed[hit] == 1).double().mean()
    assert white == pytest.approx(0.5 if kind == "salt_pepper" else 0, abs=0.01)
    assert ((changed[hit] == 0) | (changed[hit] == 1)).all()
    assert (hit >= (corrupt(x, kind, share / 2) != x)).all()  # more of the same pixels


@given(size=st.integers(1, 28), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_occlusion_blackens_exactly_one_square(size: int, seed: int) -> None:
    changed = corrupt(torch.ones(6, 784), "occlusion", size, noise_seed=seed).view(-1, 28, 28)
    for image in changed:
        rows, columns = torch.where(image == 0)
        assert len(rows) == size**2
        assert rows.max() - rows.min() == columns.max() - columns.min() == size - 1


def test_the_patch_lies_uniformly_at_every_place_where_it_fits() -> None:
    changed = corrupt(torch.ones(20_000, 64), "occlusion", 21).view(-1, 8, 8)  # 6 of 8 pixels: nine places
    first = [(changed == 0).any(axis).long().argmax(1) for axis in (2, 1)]
    counts = torch.bincount(3 * first[0] + first[1], minlength=9)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("size", "features", "side"), [(7, 784, 7), (7, 64, 2), (1, 64, 1), (28, 64, 8), (0, 64, 0)])
def test_a_patch_scales_with_the_image(size: int, features: int, side: int) -> None:
    assert patch_side(size, features) == side


@pytest.mark.parametrize("sigma", [0.5, 1, 2])
def test_blur_is_scipys_gaussian_filter(sigma: float, x: Tensor) -> None:
    ours = corrupt(x[:3].double(), "blur", sigma).view(-1, 28, 28).numpy()
    reach = int(np.ceil(3 * sigma))
    for image, blurred in zip(x[:3].double().view(-1, 28, 28).numpy(), ours, strict=True):
        oracle = ndimage.gaussian_filter(image, sigma, mode="mirror", radius=reach)
        assert np.allclose(blurred, oracle, atol=1e-6)


def test_rotation_turns_by_the_angle_one_way_or_the_other() -> None:
    line = torch.zeros(40, 28, 28)
    line[:, 13:15, 4:24] = 1  # a bar that lies flat
    turned = corrupt(line.view(40, -1), "rotation", 30).view(40, 28, 28).numpy()
    ways = set()
    for image in turned:
        oracles = [ndimage.rotate(line[0].numpy(), angle, reshape=False, order=1) for angle in (30, -30)]
        apart = [np.abs(image - oracle).max() for oracle in oracles]
        assert min(apart) < 1e-3
        ways.add(int(np.argmin(apart)))
    assert ways == {0, 1}


def test_a_quarter_turn_moves_pixels_without_changing_them(x: Tensor) -> None:
    turned = corrupt(x[:8], "rotation", 90).view(-1, 28, 28)
    for image, found in zip(x[:8].view(-1, 28, 28), turned, strict=True):
        assert any(torch.allclose(found, torch.rot90(image, k), atol=1e-4) for k in (1, 3))


def test_a_shift_moves_the_image_in_one_of_four_directions_and_leaves_black_behind(x: Tensor) -> None:
    changed, ways = corrupt(x[:60], "shift", 3).view(-1, 28, 28), set()
    for image, found in zip(x[:60].view(-1, 28, 28).numpy(), changed.numpy(), strict=True):
        oracles = [ndimage.shift(image, by, order=0) for by in ((3, 0), (-3, 0), (0, 3), (0, -3))]
        [way] = [k for k, oracle in enumerate(oracles) if np.array_equal(oracle, found)]
        ways.add(way)
    assert ways == {0, 1, 2, 3}


def test_contrast_brightness_and_veil_worked_out_by_hand() -> None:
    x = torch.tensor([[0.0, 1.0, 0.5, 0.5], [0.0, 0.0, 0.0, 0.4]])
    assert torch.allclose(corrupt(x, "contrast", 0.5), (x + x.mean(1, keepdim=True)) / 2)
    assert torch.allclose(corrupt(x, "brightness", 0.25), 0.75 * x)
    assert torch.allclose(corrupt(x, "veil", 0.2), 0.2 + 0.8 * x)


@pytest.mark.parametrize("kind", ["fog", "", "Gaussian", None])
def test_an_unknown_kind_is_one_error_that_lists_all(kind: str) -> None:
    with pytest.raises(UserError) as error:
        corrupt(torch.zeros(1, 784), kind, 0.1)
    assert all(name in str(error.value) for name in KINDS)
    assert repr(kind) in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("severity", [-0.1, 1e9, float("nan"), "0.1", True, None])
def test_a_severity_out_of_range_is_one_error_that_says_the_range(kind: str, severity: object, x: Tensor) -> None:
    with pytest.raises(UserError, match=rf"`severity` of {kind} .* from 0 to {CORRUPTIONS[kind].largest:g}"):
        corrupt(x, kind, severity)


@pytest.mark.parametrize("shape", [(784,), (2, 28, 28), ()])
@pytest.mark.parametrize("severity", [0, 0.1])
def test_images_come_flat_and_in_rows(shape: tuple[int, ...], severity: float) -> None:
    with pytest.raises(UserError, match=r"`x` must hold flat images in rows, \(N, D\).*got \("):
        corrupt(torch.zeros(shape), "gaussian", severity)


def test_images_must_be_square_and_seeds_whole() -> None:
    with pytest.raises(UserError, match=r"square.*got 783 features"):
        corrupt(torch.zeros(1, 783), "blur", 0)
    for seed in (-1, 0.5, True):
        with pytest.raises(UserError, match="noise_seed"):
            corrupt(torch.zeros(1, 784), "blur", 0, noise_seed=seed)
    with pytest.raises(UserError, match="first"):
        corrupt(torch.zeros(1, 784), "blur", 0, first=-1)
    assert corrupt(torch.zeros(0, 784), "gaussian", 0.1).shape == (0, 784)
