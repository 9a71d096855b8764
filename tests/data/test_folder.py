"""A reader's own images: read as torchvision would, split reproducibly, refused by name when anything is wrong."""

import hashlib
import io
import os
import re
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import toyfolder
from PIL import Image
from torch import Tensor

from lowcap import tasks
from lowcap.data import folder, mnist_files
from lowcap.data.vision import torchvision
from lowcap.errors import DataError, UserError
from lowcap.notebook import parameters
from lowcap.pairs import pairs_in_order
from lowcap.tasks import load_task


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folders")
    toyfolder.folder(root / "three", 3, 48)
    toyfolder.folder(root / "split", 2, 40, parts=("train", "test"))
    return root


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The folder of three classes, to be damaged."""
    return shutil.copytree(made / "three", tmp_path / "three")


def spelt(path: Path) -> str:
    return f"folder:{path}"


def refusal(path: Path, kind: type[Exception] = DataError) -> str:
    with pytest.raises(kind) as refused:
        tasks.resolve(spelt(path))
    return str(refused.value)


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 400 million pixels."""
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def test_classes_are_those_of_torchvisions_folder_in_its_order(made: Path) -> None:
    theirs = torchvision.datasets.ImageFolder(str(made / "three"))
    own = folder.read(spelt(made / "three"))
    assert list(own.names) == theirs.classes
    labels = np.concatenate([own.arrays["y_train"], own.arrays["y_test"]])
    assert np.bincount(labels).tolist() == np.bincount(theirs.targets).tolist() == [48, 48, 48]


def test_pixels_are_grey_28_by_28_and_an_image_that_is_so_stays_as_it_is(copy: Path) -> None:
    rng = np.random.default_rng(0)
    exact = rng.integers(0, 256, (28, 28), dtype=np.uint8)
    for old in (copy / "apple").iterdir():
        old.unlink()
    for i in range(48):
        Image.fromarray(exact).save(copy / "apple" / f"{i}.png")
    task = load_task((0, 1), dataset=spelt(copy))
    assert task.n_features == 784
    apples = task.x_test[task.y_test == 0]
    assert torch.equal(apples[0], torch.from_numpy(exact.reshape(-1) / np.float32(255)).float())


def test_a_resized_image_is_that_of_pillow(made: Path) -> None:
    file = sorted((made / "three" / "book").iterdir())[0]
    with Image.open(file) as image:
        expected = np.asarray(image.convert("L").resize((28, 28), Image.Resampling.BILINEAR)).reshape(-1)
    np.testing.assert_array_equal(folder._pixels(file)[0], expected)


@pytest.mark.parametrize(
    ("mode", "value", "grey"),
    [("I;16", 257 * 200, 200), ("RGBA", (200, 200, 200, 255), 200), ("RGBA", (200, 200, 200, 0), 0), ("1", 1, 255),
     ("LA", (90, 255), 90), ("P", 5, 5), ("CMYK", (0, 0, 0, 55), 200)],
)  # fmt: skip
def test_every_kind_of_pixel_becomes_its_grey(mode: str, value: object, grey: int, tmp_path: Path) -> None:
    image = Image.new(mode, (40, 40), value)
    if mode == "P":
        image.putpalette([c for i in range(256) for c in (i, i, i)])
    file = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    image.save(file)
    np.testing.assert_allclose(folder._pixels(file)[0], grey, atol=1)


def test_a_photograph_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    pixels = np.zeros((28, 28), np.uint8)
    pixels[:5] = 250
    for turn, rows in ((1, slice(0, 5)), (3, slice(23, 28))):
        exif = Image.Exif()
        exif[0x0112] = turn
        Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
        shown = folder._pixels(tmp_path / "x.png")[0].reshape(28, 28)
        assert shown[rows].min() == 250
        assert shown.sum() == 5 * 28 * 250


def test_the_test_split_is_a_stratified_quarter_that_never_changes(made: Path) -> None:
    folder._read.cache_clear()
    one = load_task("all", dataset=spelt(made / "three"), split_seed=1)
    folder._read.cache_clear()
    other = load_task("all", dataset=spelt(made / "three"), split_seed=2)
    assert torch.equal(one.x_test, other.x_test)
    assert not torch.equal(one.x_train, other.x_train)
    assert torch.bincount(one.y_test).tolist() == [12, 12, 12]
    assert rows(one.x_train, one.x_val, one.x_test) == rows(other.x_train, other.x_val, other.x_test)


def rows(*parts: Tensor) -> list[bytes]:
    return sorted(row.numpy().tobytes() for part in parts for row in part)


def test_train_and_test_folders_are_the_splits(made: Path) -> None:
    task, about = load_task((1, 0), dataset=spelt(made / "split")), tasks.identity(spelt(made / "split"))
    assert (len(task.y_train) + len(task.y_val), len(task.y_test)) == (80, 80)
    assert rows(task.x_train, task.x_val) == rows(task.x_test)  # the same images were put into both
    assert (about["n_train"], about["n_test"]) == (80, 80)
    assert list(about["files"]) == ["train/apple", "train/book", "test/apple", "test/book"]


def test_train_and_test_must_hold_the_same_classes(made: Path, tmp_path: Path) -> None:
    root = shutil.copytree(made / "split", tmp_path / "split")
    (root / "test" / "book").rename(root / "test" / "cup")
    assert "must hold the same classes; got apple, book and apple, cup" in refusal(root)


def test_classes_may_be_called_train_and_test(made: Path, tmp_path: Path) -> None:
    for name, other in (("train", "apple"), ("test", "book")):
        shutil.copytree(made / "three" / other, tmp_path / "vehicles" / name)
    assert folder.read(spelt(tmp_path / "vehicles")).names == ("test", "train")


def test_all_classes_of_a_folder_of_two_are_two_outputs_and_a_pair_is_one(made: Path) -> None:
    pair, both = (load_task(classes, dataset=spelt(made / "split")) for classes in ((0, 1), "all"))
    assert (pair.n_outputs, pair.y_train.dtype) == (1, torch.float32)
    assert (both.n_outputs, both.y_train.dtype, both.classes) == (2, torch.int64, (0, 1))
    assert tasks.with_label_noise(both, 0.2).y_train.dtype == torch.int64
    assert load_task("all", dataset="digits").n_outputs == 10


def test_identity_has_a_checksum_per_class_that_sees_every_byte_and_name(copy: Path) -> None:
    before = tasks.identity(spelt(copy))
    assert before["classes"] == ["apple", "book", "cup"]
    assert (before["n_train"], before["n_test"]) == (108, 36)
    file = copy / "book" / "0.jpg"
    file.write_bytes(file.read_bytes() + b"\0")
    (copy / "cup" / "1.png").rename(copy / "cup" / "one.png")
    folder._read.cache_clear()
    after = tasks.identity(spelt(copy))
    assert [before["files"][name] == after["files"][name] for name in ("apple", "book", "cup")] == [True, False, False]
    digest = hashlib.md5()
    for name in sorted(os.listdir(copy / "apple")):
        digest.update(f"{name}\0{hashlib.md5((copy / 'apple' / name).read_bytes()).hexdigest()}\n".encode())
    assert after["files"]["apple"] == digest.hexdigest()


def test_a_relative_path_starts_where_the_command_was_given(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    assert tasks.resolve("folder:three") == "folder:three"
    images = tasks.raw_training_images("folder:three")[0]
    monkeypatch.setenv("LOWCAP_FROM", str(made))
    monkeypatch.chdir(tmp_path)
    assert len(load_task("all", dataset="folder:three").classes) == 3
    monkeypatch.setenv("LOWCAP_FROM", str(made / "split"))
    assert len(tasks.raw_training_images("folder:train")[0]) == 60
    assert len(images) == 108


def test_nothing_is_written_into_the_folder(copy: Path) -> None:
    for path in [*copy.rglob("*"), copy]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in [copy, *copy.rglob("*")]}
    load_task((0, 2), dataset=spelt(copy))
    assert {path: path.stat().st_mtime_ns for path in [copy, *copy.rglob("*")]} == before
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755)


def test_hidden_files_and_what_is_no_image_are_passed_over(copy: Path) -> None:
    (copy / ".git").mkdir()
    (copy / "__MACOSX").mkdir()
    (copy / "README.txt").write_text("hello")
    for name in (".DS_Store", "._0.png", "Thumbs.db", "notes.txt"):
        (copy / "apple" / name).write_bytes(b"no image")
    assert tasks.identity(spelt(copy))["classes"] == ["apple", "book", "cup"]


@pytest.mark.parametrize("name", ["missing", "three/apple/0.jpg", "a\x01b", "x" * 300, "three/../missing"])
def test_a_folder_that_is_not_there_is_named(made: Path, name: str) -> None:
    said = refusal(made / name, UserError)
    assert "`dataset` must name a folder" in said
    assert repr(spelt(made / name)) in said


def test_too_few_or_too_many_classes_are_listed(made: Path, tmp_path: Path) -> None:
    said = refusal(made / "three" / "apple")
    assert "must hold from 2 to 10 folders, one per class, with images in them; got 0 (none)" in said
    shutil.copytree(made / "three" / "apple", tmp_path / "one" / "apple")
    assert "got 1 (apple); point `dataset` at the folder that holds the class folders" in refusal(tmp_path / "one")
    for i in range(11):
        (tmp_path / "many" / f"c{i:02}").mkdir(parents=True)
    assert "got 11 (c00, c01" in refusal(tmp_path / "many")


def test_empty_and_small_classes_are_named_with_how_many_are_needed(copy: Path) -> None:
    (copy / "dog").mkdir()
    for file in sorted((copy / "cup").iterdir())[:20]:
        file.unlink()
    assert "must hold at least 40 images of each class (.jpg, " in refusal(copy)
    assert "cup has 28, dog has 0; add images" in refusal(copy)


@pytest.mark.parametrize("target", ["apple/0.jpg", "apple", "."])
def test_an_image_that_links_lead_to_twice_is_named(copy: Path, target: str) -> None:
    (copy / "cup" / ("again.jpg" if "/" in target else "again")).symlink_to(copy / target)
    assert f"{copy} leads to {copy}" in refusal(copy)
    assert "more than once, by links" in refusal(copy)


def whole() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(900, dtype=np.uint16).astype(np.uint8).reshape(30, 30)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be read as an image"),
        (b"this is text", "cannot be read as an image (cannot identify image file"),
        (whole()[:-40], "cannot be read as an image ("),
        (whole()[:50] + bytes(9) + whole()[59:], "cannot be read as an image ("),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n", "cannot be read as an image ("),
        (bomb(), "too many pixels; images have sides of 4 or more and at most 50,000,000 pixels in all"),
    ],
    ids=["empty", "text", "truncated", "damaged", "postscript", "bomb"],
)
def test_a_file_that_holds_no_image_is_named(copy: Path, content: bytes, said: str) -> None:
    (copy / "book" / "7.jpg").write_bytes(content)
    assert f"{copy / 'book' / '7.jpg'} " in refusal(copy)
    assert said in refusal(copy)
    assert "\n" not in refusal(copy)


@pytest.mark.parametrize(("size", "said"), [((3, 30), "is 3 x 30 pixels"), ((30, 1), "is 30 x 1 pixels")])
def test_an_image_of_the_wrong_size_is_named(copy: Path, size: tuple[int, int], said: str) -> None:
    Image.new("L", size, 9).save(copy / "book" / "7.png")
    assert f"{said}; images have sides of 4 or more" in refusal(copy)


def test_a_large_image_is_refused_before_it_is_unpacked(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "LARGEST", 500)
    monkeypatch.setattr(folder, "_grey", lambda image: pytest.fail("it was unpacked") if image.size[0] > 50 else 0)
    Image.new("L", (60, 60), 9).save(copy / "apple" / "0.jpg")
    assert "is 60 x 60 pixels; images have sides of 4 or more and at most 500 pixels" in refusal(copy)


def test_a_class_of_blank_images_is_named(copy: Path) -> None:
    for file in (copy / "cup").iterdir():
        Image.new("RGBA", (30, 30), (0, 0, 0, 0)).save(copy / "cup" / f"{file.stem}.png")
        if file.suffix == ".jpg":
            file.unlink()
    assert f"every image in {copy / 'cup'} is one even shade" in refusal(copy)


def test_a_class_that_is_not_there_is_refused_with_those_that_are(made: Path) -> None:
    dataset = spelt(made / "three")
    with pytest.raises(UserError, match=re.escape("has only 0 (apple), 1 (book), 2 (cup)")):
        load_task((0, 7), dataset=dataset)
    with pytest.raises(UserError) as refused:
        parameters.check_classes_exist(parameters.validate("01-replay", {"pairs": [[0, 1], [4, 9]]}), dataset)
    lines = str(refused.value).splitlines()
    assert lines[0].startswith("`pairs` asks for class 4, 9; ")
    assert lines[0].endswith("has only 0 (apple), 1 (book), 2 (cup); such as pairs=[[0, 1]]")
    assert lines[1].startswith("`grid_pair` asks for class 4, 9; ")
    with pytest.raises(UserError, match=r"`digit` asks for class 3; .*; such as digit=0"):
        parameters.check_classes_exist(parameters.validate("05-tracing", {}), dataset)
    parameters.check_classes_exist(parameters.validate("02-capacity", {"pair": [0, 2], "pairs": [[1, 2]]}), dataset)


def test_pairs_are_those_of_the_classes_that_are_there(made: Path) -> None:
    assert pairs_in_order(45, spelt(made / "three")) == [(0, 1), (0, 2), (1, 2)]
    assert pairs_in_order(45, spelt(made / "split")) == [(0, 1)]
    assert len(pairs_in_order(45, "digits")) == 45


def test_classes_of_the_relatives_of_mnist_have_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist_files, "fetch", lambda _: pytest.fail("no data are needed for names"))
    assert tasks.class_names("fashion-mnist")[:2] == ("T-shirt/top", "Trouser")
    assert tasks.class_names("kmnist")[0] == "o"
    assert tasks.class_names("mnist") == tasks.class_names("digits") == tuple("0123456789")


@pytest.mark.parametrize("dataset", ["fashion-mnist", "kmnist"])
def test_files_of_torchvisions_layout_are_read_with_their_pixels_and_labels(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOWCAP_DATA", str(toyfolder.relative(tmp_path, dataset)))
    for name, cached in (("_fixed", tasks._fixed), ("_raw_training_images", tasks._raw_training_images)):
        monkeypatch.setattr(tasks, name, cached.__wrapped__)
    task = load_task((3, 8), dataset=dataset)
    theirs = getattr(torchvision.datasets, mnist_files.CLASSES[dataset])(str(tmp_path), train=False)
    wanted = (theirs.targets == 3) | (theirs.targets == 8)
    assert torch.equal(task.x_test, theirs.data[wanted].view(-1, 784).float() / 255)
    assert torch.equal(task.y_test == 1, theirs.targets[wanted] == 8)
    assert (len(task.y_train), len(task.y_val), len(task.y_test)) == (9600, 2400, 2000)
    assert tasks.identity(dataset)["n_train"] == 60_000
