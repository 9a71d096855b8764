"""Files of MNIST and its relatives: whole or refused, fetched once, never half there."""

import hashlib
import multiprocessing
import os
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toydata
from toydata import Downloads, flip_last_byte, write_small

from lowcap.data import mnist_files
from lowcap.errors import DataError

PUBLISHED = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Downloads:
    return toydata.offline(monkeypatch, tmp_path)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.mark.mnist
def test_the_four_files_of_mnist_are_the_published_ones() -> None:
    raw, sums = mnist_files.fetch("mnist")
    assert sums == PUBLISHED
    assert {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in map(raw.joinpath, PUBLISHED)} == PUBLISHED


@pytest.mark.mnist
def test_mnist_is_read_as_its_own_header_says() -> None:
    arrays = mnist_files.read("mnist")
    assert {name: array.shape for name, array in arrays.items()} == {
        "x_train": (60_000, 784),
        "y_train": (60_000,),
        "x_test": (10_000, 784),
        "y_test": (10_000,),
    }
    assert np.bincount(arrays["y_test"]).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    raw = (mnist_files.fetch("mnist")[0] / "t10k-images-idx3-ubyte").read_bytes()
    assert arrays["x_test"][9_999].tobytes() == raw[-784:]


@pytest.mark.mnist
@pytest.mark.parametrize("name", PUBLISHED)
def test_one_flipped_bit_of_mnist_is_found(name: str, tmp_path: Path) -> None:
    raw, _ = mnist_files.fetch("mnist")
    copy = tmp_path / "MNIST" / "raw"
    copy.mkdir(parents=True)
    for other in PUBLISHED:
        (copy / other).symlink_to(raw / other)
    (copy / name).unlink()
    (copy / name).write_bytes((raw / name).read_bytes())
    flip_last_byte(copy / name)
    with pytest.raises(
        DataError, match=f"{copy / name} is damaged: expected MD5 {PUBLISHED[name]}, found [0-9a-f]+; d"
    ):
        mnist_files.verify(copy, "mnist")


@pytest.mark.parametrize("name", mnist_files.SIZES)
def test_a_file_that_is_missing_short_or_long_is_named_with_what_was_expected_and_found(
    name: str, downloads: Downloads, cache: Path
) -> None:
    path = write_small(cache / "MNIST" / "raw") / name
    whole = path.read_bytes()
    for content, found in ((None, "missing"), (b"", "found 0"), (whole[:-1], "found"), (whole + b"\0", "found")):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(DataError) as error:
            mnist_files.read("mnist")
        message = str(error.value)
        assert str(path) in message
        assert found in message
        assert content is None or f"expected {len(whole):,} bytes, found {len(content):,}" in message
        assert f"delete the folder {cache / 'MNIST'} and run `lowcap data --dataset mnist`" in message
        assert not isinstance(error.value, mnist_files.Unavailable)


def test_files_in_the_folder_of_the_user_come_before_the_cache(
    downloads: Downloads, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_small(cache / "MNIST" / "raw")
    assert mnist_files.fetch("mnist")[0] == cache / "MNIST" / "raw"
    monkeypatch.setenv("LOWCAP_DATA", str(tmp_path / "whole"))
    assert mnist_files.fetch("mnist")[0] == tmp_path / "whole" / "MNIST" / "raw"
    assert downloads.calls == []


@pytest.mark.parametrize("folder", ["empty", "not-there"])
def test_a_folder_of_the_user_without_the_files_is_named_when_nothing_else_helps(
    folder: str, downloads: Downloads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("LOWCAP_DATA", str(tmp_path / folder))
    downloads.fail = OSError("no route to host")
    with pytest.raises(mnist_files.Unavailable, match=r"could not be downloaded \(no route to host\)") as error:
        mnist_files.fetch("mnist")
    assert str(tmp_path / folder / "MNIST" / "raw") in str(error.value)
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_download_is_verified_and_read_back(downloads: Downloads, cache: Path) -> None:
    arrays = mnist_files.read("mnist")
    assert mnist_files.fetch("mnist")[0] == cache / "MNIST" / "raw"
    assert downloads.calls == ["MNIST"]
    assert arrays["x_train"].shape == (60, 784)
    assert arrays["y_test"].tolist() == [i % 10 for i in range(40)]


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError("Error downloading t10k-labels:\nTried one:\n<urlopen error timed out>"),
        TimeoutError(),
        IncompleteRead(b"half"),
        KeyboardInterrupt(),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_an_interrupted_download_leaves_nothing_and_can_be_repeated(
    failure: BaseException, downloads: Downloads, cache: Path
) -> None:
    downloads.fail = failure
    expected = mnist_files.Unavailable if isinstance(failure, Exception) else type(failure)
    with pytest.raises(expected) as error:
        mnist_files.fetch("mnist")
    assert [path for path in cache.rglob("*") if not path.name.endswith(".lock")] == []
    assert "\n" not in str(error.value)
    downloads.fail = None
    assert mnist_files.fetch("mnist")[1] == mnist_files.MNIST_MD5


def test_a_download_that_ends_early_without_saying_so_is_refused(downloads: Downloads, cache: Path) -> None:
    downloads.truncate = True
    with pytest.raises(mnist_files.Unavailable, match=r"expected 31,376 bytes, found 4\); connect to the network"):
        mnist_files.fetch("mnist")
    assert not (cache / "MNIST").exists()


def test_a_cache_that_cannot_be_written_is_named(downloads: Downloads, cache: Path) -> None:
    cache.write_text("a file where a folder should be")
    with pytest.raises(mnist_files.Unavailable, match=str(cache)):
        mnist_files.fetch("mnist")


def test_connections_get_a_time_limit_only_while_downloading(
    downloads: Downloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = []
    whole = mnist_files.torchvision.datasets.MNIST

    def watched(root: str, *, download: bool) -> None:
        limits.append(mnist_files.socket.getdefaulttimeout())
        whole(root, download=download)

    monkeypatch.setattr(mnist_files.torchvision.datasets, "MNIST", watched)
    mnist_files.fetch("mnist")
    assert limits == [mnist_files.TIMEOUT]
    assert mnist_files.socket.getdefaulttimeout() is None


def fetch_slowly(folder: Path, barrier: Any, answers: Any) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        downloads = toydata.offline(monkeypatch, folder / str(os.getpid()))
        monkeypatch.setattr(mnist_files, "cache_dir", lambda: folder / "cache")
        downloads.pause = 0.5
        barrier.wait()
        answers.put((downloads.calls, mnist_files.fetch("mnist")[1] == mnist_files.MNIST_MD5))


def test_two_processes_that_fetch_at_once_share_one_download(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [context.Process(target=fetch_slowly, args=(tmp_path, barrier, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    answered = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(10)
    assert sorted(answered) == [([], True), (["MNIST"], True)]


def test_files_without_published_sums_are_held_to_those_of_their_download(downloads: Downloads, cache: Path) -> None:
    sums = mnist_files.fetch("fashion-mnist")[1]
    path = cache / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    flip_last_byte(path)
    with pytest.raises(DataError, match=f"{path} is damaged: expected MD5 {sums[path.name]}.*--dataset fashion-mnist"):
        mnist_files.fetch("fashion-mnist")


def test_files_that_somebody_else_has_downloaded_need_no_manifest(downloads: Downloads, cache: Path) -> None:
    write_small(cache / "KMNIST" / "raw")
    assert mnist_files.read("kmnist")["x_train"].shape == (60, 784)
    assert downloads.calls == []


@pytest.mark.parametrize("content", ["", "{", "[1]", "null"])
def test_a_damaged_manifest_is_named(content: str, downloads: Downloads, cache: Path) -> None:
    mnist_files.fetch("kmnist")
    manifest = cache / "KMNIST" / "raw" / mnist_files.MANIFEST
    manifest.write_text(content)
    with pytest.raises(DataError, match=f"{manifest} is damaged; delete the folder"):
        mnist_files.fetch("kmnist")


def test_a_file_of_the_right_size_that_holds_something_else_is_named(downloads: Downloads, cache: Path) -> None:
    path = write_small(cache / "KMNIST" / "raw") / "t10k-images-idx3-ubyte"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(DataError, match=f"{path} does not hold images or labels"):
        mnist_files.read("kmnist")


def test_an_old_processed_copy_is_not_read_instead_of_the_verified_files(downloads: Downloads, cache: Path) -> None:
    write_small(cache / "MNIST" / "raw")
    processed = cache / "MNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(3, 28, 28), torch.zeros(3)), processed / name)
    assert len(mnist_files.read("mnist")["x_train"]) == 60
