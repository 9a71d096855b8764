"""Tasks: the right images with the right labels, split reproducibly, and clear words for what cannot be had."""

import logging
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import toydata
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from toydata import Downloads, flip_last_byte, write_small

from lowcap import tasks
from lowcap.classes import ALL_PAIRS
from lowcap.data import mnist_files
from lowcap.errors import DataError, UserError
from lowcap.tasks import Task, load_task, with_label_noise, with_train_size

DIGITS = load_digits()
seeds = st.integers(0, 2**32 - 1)
unhurried = settings(deadline=None, max_examples=30)


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Downloads:
    return toydata.offline(monkeypatch, tmp_path)


def images(task: Task, *parts: str) -> Counter:
    """How often each image occurs with each label."""
    x = torch.cat([getattr(task, f"x_{part}") for part in parts])
    y = torch.cat([getattr(task, f"y_{part}") for part in parts])
    return Counter(zip(map(bytes, x.numpy()), y.tolist(), strict=True))


def counts(y: torch.Tensor) -> np.ndarray:
    return np.bincount(y.long())


@pytest.mark.mnist
def test_the_test_split_of_mnist_is_the_official_one_and_class_1_the_larger_label() -> None:
    task, official = load_task((4, 9), dataset="mnist"), mnist_files.read("mnist")
    wanted = np.isin(official["y_test"], (4, 9))
    np.testing.assert_array_equal(task.x_test, np.float32(official["x_test"][wanted]) / np.float32(255))
    np.testing.assert_array_equal(task.y_test, official["y_test"][wanted] == 9)


@pytest.mark.mnist
def test_train_and_validation_share_out_the_training_images_of_mnist() -> None:
    task, official = load_task((4, 9), dataset="mnist"), mnist_files.read("mnist")
    wanted = np.isin(official["y_train"], (4, 9))
    x, y = np.float32(official["x_train"][wanted]) / np.float32(255), official["y_train"][wanted] == 9
    assert images(task, "train", "val") == Counter(zip(map(bytes, x), map(float, y), strict=True))
    assert (len(task.y_train), len(task.y_val)) == (9432, 2359)


@pytest.mark.mnist
def test_all_45_pairs_of_mnist_can_be_had() -> None:
    total = sum(len(load_task(pair, dataset="mnist").y_test) for pair in ALL_PAIRS)
    assert len(ALL_PAIRS) == 45
    assert total == 9 * 10_000  # each of the ten classes is in nine pairs


@unhurried
@given(st.sampled_from(ALL_PAIRS), seeds)
def test_the_order_of_a_pair_does_not_matter(pair: tuple[int, int], seed: int) -> None:
    there, back = (load_task(p, dataset="digits", split_seed=seed) for p in (pair, pair[::-1]))
    assert there.name == back.name == f"{pair[0]}-{pair[1]}"
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(there, f"x_{part}"), getattr(back, f"x_{part}"))
        assert torch.equal(getattr(there, f"y_{part}"), getattr(back, f"y_{part}"))


@unhurried
@given(st.sets(st.integers(0, 9), min_size=2), seeds)
def test_every_image_of_the_classes_is_in_exactly_one_split(classes: set[int], seed: int) -> None:
    task, ordered = load_task([*classes], dataset="digits", split_seed=seed), sorted(classes)
    wanted = np.isin(DIGITS.target, ordered)
    labels = [float(ordered.index(label)) for label in DIGITS.target[wanted]]
    everything = Counter(zip(map(bytes, np.float32(DIGITS.data[wanted] / 16)), labels, strict=True))
    assert images(task, "train", "val", "test") == everything


@unhurried
@given(st.sampled_from(ALL_PAIRS), seeds, st.sampled_from([0.1, 0.2, 0.5]))
def test_splits_have_their_size_and_the_classes_in_proportion(pair: tuple, seed: int, share: float) -> None:
    task = load_task(pair, dataset="digits", split_seed=seed, val_fraction=share)
    held_out, every = counts(task.y_val), counts(task.y_train) + counts(task.y_val)
    assert held_out.sum() == np.ceil(share * every.sum())
    assert np.abs(held_out - share * every).max() <= 1


@unhurried
@given(seeds, seeds)
def test_a_split_seed_gives_its_own_split_again_and_leaves_the_test_split_alone(one: int, other: int) -> None:
    first, again, second = (load_task((3, 8), dataset="digits", split_seed=seed) for seed in (one, one, other))
    assert torch.equal(first.x_train, again.x_train)
    assert torch.equal(first.x_val, again.x_val)
    assert torch.equal(first.x_train, second.x_train) == (one == other)
    assert torch.equal(first.x_test, second.x_test)
    assert torch.equal(first.y_test, second.y_test)


def test_pixels_are_float32_from_0_to_1_and_live_where_training_ever_lights_them() -> None:
    task = load_task((0, 1), dataset="digits", val_fraction=0.8)
    assert task.x_train.dtype == task.x_val.dtype == task.x_test.dtype == task.y_train.dtype == torch.float32
    assert (task.x_train.min(), task.x_train.max()) == (0, 1)
    assert task.live.tolist() == [bool(column.any()) for column in task.x_train.T.numpy()]
    assert (task.x_val[:, ~task.live] > 0).any()  # pixels that only validation lights
    assert (task.n_features, task.n_outputs, task.image_shape) == (64, 1, (8, 8))


@pytest.mark.parametrize("classes", ["all", range(10), list(range(9, -1, -1)), np.arange(10)])
def test_ten_classes_are_numbered_as_they_are_and_have_an_output_each(classes: object) -> None:
    task = load_task(classes, dataset="digits")
    assert task.classes == tuple(range(10))
    assert task.n_outputs == 10
    assert task.y_train.dtype == torch.int64
    assert set(task.y_test.tolist()) == set(range(10))


def test_three_classes_are_numbered_in_ascending_order() -> None:
    task = load_task((8, 2, 5), dataset="digits")
    assert (task.name, task.n_outputs) == ("2-5-8", 3)
    assert counts(task.y_test).tolist() == [44, 46, 43]


@pytest.mark.parametrize(
    "classes",
    [
        (4, 4),
        (3, 12),
        (-1, 3),
        (7,),
        (),
        "49",
        "4-9",
        ("4", "9"),
        (4, 9.0),
        (True, 4),
        (None, 1),
        49,
        None,
        {4: 9},
        [[4, 9]],
        np.array([4.0, 9.0]),
    ],
    ids=repr,
)
def test_classes_that_make_no_task_are_refused_with_what_is_allowed_and_what_came(classes: object) -> None:
    with pytest.raises(UserError) as error:
        load_task(classes, dataset="digits")
    assert "two (or more) different digits from 0 to 9 such as (4, 9)" in str(error.value)
    assert str(error.value).endswith(f"got {classes!r}")


@pytest.mark.parametrize("dataset", ["cifar", "MNIST", "", None, 3])
def test_an_unknown_dataset_is_refused_with_the_list_of_the_known(dataset: object) -> None:
    with pytest.raises(
        UserError, match="`dataset` must be one of auto, mnist, fashion-mnist, kmnist, digits, folder:PATH; got "
    ):
        load_task((4, 9), dataset=dataset)


@pytest.mark.parametrize(
    ("name", "value"),
    [("split_seed", bad) for bad in (-1, 2**32, 1.5, "0", None, True)]
    + [("val_fraction", bad) for bad in (0, 1, 0.0, 1.0, -0.2, 20, "0.2", None, float("nan"))],
)
def test_a_seed_or_share_out_of_range_is_refused(name: str, value: object) -> None:
    with pytest.raises(UserError, match=f"`{name}` must .*; got {value!r}"):
        load_task((4, 9), dataset="digits", **{name: value})


def test_auto_takes_mnist_from_the_folder_of_the_user_then_from_the_cache_then_from_the_network(
    downloads: Downloads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOWCAP_DATA", str(tmp_path / "whole"))
    assert tasks.resolve() == "mnist"
    assert downloads.calls == []
    monkeypatch.delenv("LOWCAP_DATA")
    assert tasks.resolve() == "mnist"
    assert downloads.calls == ["MNIST"]
    tasks._mnist_or_digits.cache_clear()
    assert tasks.resolve() == "mnist"
    assert downloads.calls == ["MNIST"]


def test_auto_falls_back_on_the_digits_once_and_says_why(
    downloads: Downloads, caplog: pytest.LogCaptureFixture
) -> None:
    downloads.fail = OSError("no network")
    assert [load_task((4, 9)).dataset for _ in range(3)] == ["digits"] * 3
    assert downloads.calls == ["MNIST"]
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert "8x8 digits" in caplog.text
    assert "no network" in caplog.text


def test_auto_means_what_the_environment_says(downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWCAP_DATASET", "digits")
    assert tasks.resolve("auto") == "digits"
    assert tasks.resolve("kmnist") == "kmnist"
    monkeypatch.setenv("LOWCAP_DATASET", "fashion-mnist")
    assert tasks.resolve("auto") == "fashion-mnist"
    assert downloads.calls == ["KMNIST", "FashionMNIST"]
    monkeypatch.setenv("LOWCAP_DATASET", "")
    assert tasks.resolve("auto") == "mnist"
    monkeypatch.setenv("LOWCAP_DATASET", "letters")
    with pytest.raises(UserError, match=r"`LOWCAP_DATASET` must be one of .* got 'letters'"):
        tasks.resolve("auto")


def test_mnist_that_is_asked_for_by_name_is_never_replaced(downloads: Downloads) -> None:
    downloads.fail = OSError("no network")
    with pytest.raises(
        mnist_files.Unavailable, match=r"mnist is not in .* set LOWCAP_DATA to a folder that holds MNIST/raw"
    ):
        load_task((4, 9), dataset="mnist")


@pytest.mark.parametrize("dataset", ["auto", "mnist"])
def test_a_damaged_file_is_an_error_and_never_replaced(dataset: str, downloads: Downloads, tmp_path: Path) -> None:
    flip_last_byte(write_small(tmp_path / "cache" / "MNIST" / "raw") / "train-images-idx3-ubyte")
    with pytest.raises(DataError, match="train-images-idx3-ubyte is damaged"):
        load_task((4, 9), dataset=dataset)
    assert downloads.calls == []


def test_a_dataset_without_one_of_the_classes_is_an_error(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"x_train": np.zeros((4, 784)), "y_train": np.array([0, 1, 0, 1])}
    monkeypatch.setattr(mnist_files, "read", lambda dataset: few | {"x_test": few["x_train"], "y_test": few["y_train"]})
    with pytest.raises(DataError, match=r"no images of class \[9\]"):
        load_task((0, 9), dataset="kmnist")


def test_identity_says_which_files_were_read(downloads: Downloads, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {
        "name": "mnist",
        "source": "torchvision's files",
        "files": mnist_files.MNIST_MD5,
        "n_train": 60,
        "n_test": 40,
    }
    assert tasks.identity("mnist") == expected
    digits = tasks.identity("digits")
    assert (digits["name"], digits["n_train"] + digits["n_test"], digits["files"]) == ("digits", 1797, {})
    assert digits["source"].startswith("scikit-learn ")


def test_raw_training_images_keep_the_order_of_the_file(downloads: Downloads) -> None:
    x, y = tasks.raw_training_images("mnist")
    raw = (mnist_files.fetch("mnist")[0] / "train-images-idx3-ubyte").read_bytes()[16:]
    assert (np.rint(x * 255).astype(np.uint8).tobytes(), y.tolist()) == (raw, [i % 10 for i in range(60)])


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("share", [0, 0.1, 0.2, 1])
def test_label_noise_changes_exactly_the_asked_share_of_training_labels(n_classes: int, share: float) -> None:
    task = toydata.toy_task(n_classes, n=210)
    noisy = with_label_noise(task, share, noise_seed=3)
    assert int((noisy.y_train != task.y_train).sum()) == round(share * 210)
    assert noisy.y_train.dtype == task.y_train.dtype
    assert set(noisy.y_train.unique().tolist()) == set(range(n_classes))
    for same in ("x_train", "x_val", "y_val", "x_test", "y_test", "live"):
        assert torch.equal(getattr(noisy, same), getattr(task, same)), same


def test_label_noise_nests_and_depends_on_its_seed_alone() -> None:
    task = toydata.toy_task(10, n=200)
    some, more = with_label_noise(task, 0.1, 3), with_label_noise(task, 0.3, 3)
    wrong = some.y_train != task.y_train
    assert torch.equal(some.y_train[wrong], more.y_train[wrong])
    assert torch.equal(more.y_train, with_label_noise(task, 0.3, 3).y_train)
    assert not torch.equal(more.y_train, with_label_noise(task, 0.3, 4).y_train)


def test_wrong_labels_are_spread_over_the_other_classes() -> None:
    task = toydata.toy_task(3, n=3000)
    noisy = with_label_noise(task, 1.0).y_train
    for own in range(3):
        found = np.bincount(noisy[task.y_train == own], minlength=3) / 1000
        others = [c for c in range(3) if c != own]
        assert found[own] == 0
        assert np.all(np.abs(found[others] - 0.5) < 0.06)  # nearly four standard deviations


def test_a_subset_keeps_the_classes_in_proportion_and_the_other_splits() -> None:
    task = load_task("all", dataset="digits")
    some = with_train_size(task, 200, seed=1)
    counts, whole = (torch.bincount(t.y_train) / len(t.y_train) for t in (some, task))
    assert len(some.x_train) == 200
    assert torch.allclose(counts, whole, atol=0.006)
    assert some.x_test is task.x_test
    assert torch.equal(some.live, (some.x_train != 0).any(0))
    assert images(some, "train") <= images(task, "train")
    assert not torch.equal(some.x_train, with_train_size(task, 200, seed=2).x_train)
    assert with_train_size(task, 10_000) is task


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda task: with_label_noise(task, 20), "fraction from 0 to 1; got 20; did you mean 0.2?"),
        (lambda task: with_label_noise(task, -0.1), "`share` must be a fraction from 0 to 1; got -0.1"),
        (lambda task: with_label_noise(task, True), "`share` must be a fraction from 0 to 1; got True"),
        (lambda task: with_label_noise(task, 0.2, -1), "`noise_seed` must be a whole number from 0"),
        (
            lambda task: with_train_size(task, 1.5),
            "`n` must be a whole number of at least 2, an image of each class",
        ),
    ],
)
def test_noise_and_sizes_that_cannot_be_had_are_named(call: object, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        call(toydata.toy_task())  # type: ignore[operator]
