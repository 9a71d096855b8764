"""Thousands of made-up inputs: each is taken for what it says, or refused in one clear error of ours.

What is watched over all of them: no other exception, no default in place of what was given, nothing opened for writing
outside the folder of the test. LOWCAP_WEEKLY=1 tries four times as many, LOWCAP_MATRIX=1 forty times. Coverage-guided
fuzzing (atheris) would add little: parsers in C are torch's, Pillow's and safetensors', and ours are short enough to be
damaged byte by byte.
"""
# ruff: noqa: PT017 (an input may be refused or taken; what is said of it is looked at where it is refused)

import ast
import json
import math
import os
import random
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import toydata
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lowcap import tasks
from lowcap.data import folder, mnist_files
from lowcap.errors import DataError, UserError
from lowcap.notebook import parameters
from lowcap.notebook.parameter_types import NAMED_DATASETS as DATASETS
from lowcap.notebook.parameter_types import Parameters, allowed
from lowcap.population import Population

TIMES = 10 if os.environ.get("LOWCAP_MATRIX") == "1" else 0.25
KNOWN = (UserError, DataError)


def tried(n: int) -> Any:
    """`n` made-up inputs, the same in every run; a quarter of them, and ten times as many once a week."""
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much]
    return settings(
        max_examples=int(TIMES * n), deadline=None, derandomize=True, database=None, suppress_health_check=checks
    )


STARTED = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork")


class Watch:
    """Notes every file that this process opens for writing, makes, moves or deletes, outside `inside`, and every other
    program that it starts."""

    def __init__(self) -> None:
        self.inside: Path | None = None
        self.outside: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple) -> None:
        if self.inside is None:
            return
        if event == "open":
            name, mode, flags = arguments
            writes = any(c in (mode or "") for c in "wax+") or bool(
                (flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
        elif event in ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.truncate"):
            name, writes = arguments[-1 if event in ("os.rename", "os.symlink", "os.link") else 0], True
            name = arguments[1] if event in ("os.rename", "os.symlink", "os.link") else arguments[0]
        elif event in (
            "os.system",
            "subprocess.Popen",
            "os.exec",
            "os.posix_spawn",
            "compile",
            "exec",
            "pickle.find_class",
        ):
            name, writes = f"{event} {str(arguments)[:200]}", event not in ("compile", "exec")
        else:
            return
        path = os.path.abspath(os.fsdecode(name)) if isinstance(name, str | bytes | os.PathLike) else "/dev/null"
        own = ".hypothesis" in path  # what makes the inputs up keeps tables of its own
        if writes and not own and not Path(path).is_relative_to(self.inside) and path != "/dev/null":
            self.outside.append(f"{event}: {path}")


WATCH = Watch()


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is empty and the working directory; the test fails if anything is written elsewhere."""
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    WATCH.inside, WATCH.outside = inside, []
    yield inside
    WATCH.inside = None
    assert WATCH.outside == []


def test_the_watch_sees_what_is_written_outside(tmp_path: Path) -> None:
    WATCH.inside, WATCH.outside = tmp_path / "inside", []
    (tmp_path / "outside.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "outside.txt").rename(tmp_path / "moved.txt")
    (tmp_path / "moved.txt").read_text()
    WATCH.inside = None
    assert [line.split(":")[0] for line in WATCH.outside] == ["open", "os.mkdir", "os.rename"]


# Parameters

odd = st.sampled_from([None, True, False, math.nan, math.inf, -math.inf, 0, -1, 2**63, 1e308, 1e-320, "", " ", "nan",
                       "inf", "None", "true", "False", "4_9", "1e-3", "0x10", "010", "[3, 8]", "[[3, 8]]", "'digits'",
                       '"mnist"', "auto", "folder:", "folder:/etc/passwd", "folder:\0", "__import__('os')", "{}", "()",
                       "[", "1,2", "[1e400]", "3;4", "../x", "\ud800", "４９", b"x", {"a": 1}, {1, 2}])  # fmt: skip
numbers = st.one_of(st.integers(), st.integers(0, 120), st.floats(), st.floats(0, 1))
lists = st.lists(st.one_of(numbers, st.lists(st.integers(-2, 11), max_size=3), odd), max_size=5)
values = st.one_of(odd, numbers, lists, st.text(max_size=12), numbers.map(repr), lists.map(repr), numbers.map(str))


@st.composite
def near(draw: st.DrawFn, field: Any) -> Any:
    """A value of the kind that the field takes, in or just out of its range, in one of several spellings."""
    kind = allowed(field).notebook_type
    number = st.one_of(st.integers(0, 9), st.integers(-1, 5000), st.floats(0, 2), st.floats(0.001, 0.999))
    pair = st.lists(st.integers(0, 9), min_size=2, max_size=2)
    of = {
        "str": st.sampled_from([*DATASETS, "he", "published", "Digits", "MNIST ", "folder:here", "fashion_mnist"]),
        "list[int]": st.one_of(pair, st.lists(st.integers(0, 70), max_size=6)),
        "list[list[int]]": st.lists(pair, max_size=4),
        "list[float]": st.lists(st.floats(0, 1.1), max_size=5),
    }
    value = draw(of.get(kind, number))
    return draw(
        st.sampled_from([value, str(value), json.dumps(value), tuple(value) if isinstance(value, list) else value])
    )


@st.composite
def asked(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    chapter = draw(st.sampled_from(parameters.chapters()))
    fields = parameters.schema(chapter).model_fields
    names = draw(st.lists(st.sampled_from(list(fields)), max_size=3, unique=True))
    raw = {name: draw(st.one_of(near(fields[name]), near(fields[name]), values)) for name in names}
    if draw(st.integers(0, 9)) == 0:
        raw[
            draw(
                st.one_of(
                    st.text(max_size=8), st.sampled_from(["widht", "n_seed", "Pair", "__class__", "model_config"])
                )
            )
        ] = 1
    return chapter, raw


def meant(value: Any) -> Any:
    """What a value says, by other means than the package's: literals read, lists as tuples, 1.0 as 1."""
    if isinstance(value, str):
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(value.strip())
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            return value if isinstance(found, str) else meant(found)
        return value
    return tuple(meant(item) for item in value) if isinstance(value, list | tuple) else value


def same(now: Any, came: Any) -> bool:
    """Whether an accepted value is the one that came; pairs may have been put in rising order."""
    if isinstance(now, tuple) and isinstance(came, tuple):
        straight = len(now) == len(came) and all(same(a, b) for a, b in zip(now, came, strict=True))
        return straight or (len(now) == 2 and now == tuple(sorted(came)))
    return now == came and not isinstance(came, bool)


@tried(6500)
@given(asked())
def test_parameters_are_taken_as_given_or_refused(watched: Path, given_: tuple[str, dict[str, Any]]) -> None:
    chapter, raw = given_
    try:
        model = parameters.validate(chapter, raw)
    except UserError as refusal:
        lines = str(refusal).splitlines()
        assert len(lines) <= len(raw)
        assert all(line.startswith("`") for line in lines)
        return
    own = type(model)()
    for name, now in model:
        text = isinstance(raw.get(name), str) and isinstance(now, str)
        assert same(now, raw[name] if text else meant(raw[name])) if name in raw else now == getattr(own, name)
    assert isinstance(model, Parameters)


@tried(600)
@given(
    st.lists(
        st.one_of(st.text(max_size=20), st.sampled_from(["lr=1", "pair=[3, 8]", "=", "a=b=c", "x", "lr=2"])), max_size=4
    )
)
def test_assignments_are_split_or_refused(watched: Path, given_: list[str]) -> None:
    try:
        parsed = parameters.parse_assignments(given_)
    except UserError:
        return
    assert len(parsed) == len(given_)
    assert all(name.isidentifier() and value for name, value in parsed.items())


# Tasks and datasets

strange = ["all", "ALL", (4, 9), (9, 4.0), (True, 2), 49, None, "49", [4, None], {4, 9}, {4: 1, 9: 2}, b"49", [[4, 9]]]
few = st.lists(st.integers(0, 9), min_size=2, max_size=4)
classes = st.one_of(few, st.lists(st.integers(-2, 11), max_size=5), st.text(max_size=3), st.sampled_from(strange))
seeds = st.one_of(st.integers(0, 2**32 - 1), st.integers(), st.floats(), odd)
shares = st.one_of(st.floats(0.01, 0.99), st.floats(), odd)


@tried(1200)
@given(classes, seeds, shares)
def test_tasks_are_as_asked_or_refused(watched: Path, which: Any, seed: Any, share: Any) -> None:
    try:
        task = tasks.load_task(which, dataset="digits", split_seed=seed, val_fraction=share)
    except KNOWN as refusal:
        assert "\n" not in str(refusal)
        return
    assert task.classes == tuple(range(10) if isinstance(which, str) else sorted(which))
    assert task.split_seed == seed
    held = len(task.y_val) / (len(task.y_val) + len(task.y_train))
    assert abs(held - share) <= 1 / (len(task.y_val) + len(task.y_train)) + 1e-9


@tried(500)
@given(shares, seeds, st.one_of(st.integers(0, 300), odd))
def test_noise_and_sizes_are_as_asked_or_refused(watched: Path, share: Any, seed: Any, n: Any) -> None:
    task = toydata.toy_task(3, n=60)
    try:
        noisy = tasks.with_label_noise(task, share, seed)
        assert int((noisy.y_train != task.y_train).sum()) == round(share * 60)
        smaller = tasks.with_train_size(task, n, seed)
        assert len(smaller.y_train) == (n if n <= 57 else 60)
    except KNOWN as refusal:
        assert "\n" not in str(refusal)


@tried(800)
@given(st.one_of(odd, st.text(max_size=12), st.text(max_size=12).map("folder:{}".format), st.sampled_from(DATASETS)))
def test_a_dataset_is_the_one_that_is_named_or_refused(watched: Path, name: Any) -> None:
    if name in ("auto", "mnist", "fashion-mnist", "kmnist"):
        return
    try:
        found = tasks.resolve(name)
    except KNOWN as refusal:
        assert "\n" not in str(refusal)
        return
    assert found == name == "digits"


# Damaged files


def damaged(content: bytes, seed: int) -> bytes:
    """The content cut, or with bytes changed, put in, or doubled: most often in its first hundred bytes."""
    rng, data = random.Random(seed), bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(min(len(data), 100) if rng.random() < 0.7 and data else len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0:
            del data[at:]
        elif kind == 1 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 3 and len(data) >= at + 8:
            data[at : at + 4] = struct.pack(rng.choice([">I", "<I"]), rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 70]))
        else:
            data[at : at + rng.randrange(20)] = b""
    return bytes(data)


@tried(600)
@given(st.integers(0, 2**32), st.sampled_from(list(mnist_files.SIZES)), st.booleans())
def test_damaged_files_of_images_and_labels_are_named(
    watched: Path, monkeypatch: pytest.MonkeyPatch, seed: int, name: str, same_size: bool
) -> None:
    with tempfile.TemporaryDirectory(dir=watched) as place, monkeypatch.context() as patch:
        toydata.offline(patch, Path(place))
        raw = toydata.write_small(Path(place) / "cache" / "KMNIST" / "raw")
        whole = (raw / name).read_bytes()
        content = damaged(whole, seed)
        (raw / name).write_bytes((content + bytes(len(whole)))[: len(whole)] if same_size else content)
        try:
            arrays = mnist_files.read("kmnist")
        except DataError as refusal:
            assert str(raw / name) in str(refusal)
            return
        assert arrays["x_train"].shape == (60, 784)
        assert arrays["y_test"].shape == (40,)
        assert arrays["y_train"].max() <= 9


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("saved") / "whole.safetensors"
    one = Population([2, 3], [0, 1], n_features=5)
    one.masked(torch.ones_like(one.w_in, dtype=torch.bool)).save(path)
    return path.read_bytes()


@tried(700)
@given(st.integers(0, 2**32))
def test_damaged_networks_are_refused_or_whole(watched: Path, saved: bytes, seed: int) -> None:
    (watched / "net").write_bytes(damaged(saved, seed))
    check_network(watched / "net")


about = st.fixed_dictionaries(
    {},
    optional={
        "widths": st.one_of(st.just([2, 3]), st.lists(st.integers(-1, 2**40), max_size=3), values),
        "seeds": st.one_of(st.just([0, 1]), st.lists(st.integers(-1, 2**70), max_size=3), values),
        "n_features": st.one_of(st.just(5), st.integers(-1, 2**60), values),
        "n_outputs": st.one_of(st.just(1), st.integers(-1, 2**60), values),
        "init": st.one_of(st.sampled_from(["he", "published", "__class__"]), values),
        "more": values,
    },
)


@tried(700)
@given(st.one_of(about, st.just({"widths": [2, 3], "seeds": [0, 1], "n_features": 5, "n_outputs": 1}), values))
def test_networks_with_other_names_are_refused_or_whole(watched: Path, saved: bytes, facts: Any) -> None:
    length = struct.unpack("<Q", saved[:8])[0]
    header = json.loads(saved[8 : 8 + length])
    header["__metadata__"]["lowcap"] = json.dumps(facts, default=str)
    text = json.dumps(header, ensure_ascii=True).encode()
    (watched / "net").write_bytes(struct.pack("<Q", len(text)) + text + saved[8 + length :])
    check_network(watched / "net")


def check_network(path: Path) -> None:
    try:
        found = Population.load(path)
    except DataError as refusal:
        assert str(path) in str(refusal)
        return
    assert (len(found), found.w_in.shape, len(found.owner)) == (2, (5, 5), 5)
    assert found.mask_in is None or found.mask_in.dtype == torch.bool
    assert found(torch.zeros(3, 5)).shape == (3, 2)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root, found = tmp_path_factory.mktemp("pictures"), {}
    picture = Image.radial_gradient("L").resize((30, 26))
    for name in ("a.png", "a.jpg", "a.bmp", "a.pgm", "a.tif", "a.webp", "a.ppm"):
        (picture.convert("RGB") if name == "a.ppm" else picture).save(root / name)
        found[name] = (root / name).read_bytes()
    return found


@tried(1000)
@given(st.integers(0, 2**32), st.sampled_from(["a.png", "a.jpg", "a.bmp", "a.pgm", "a.tif", "a.webp", "a.ppm"]))
def test_damaged_images_are_refused_or_read(watched: Path, pictures: dict[str, bytes], seed: int, name: str) -> None:
    file = watched / name
    file.write_bytes(damaged(pictures[name], seed))
    try:
        pixels, _ = folder._pixels(file)
    except DataError as refusal:
        assert str(refusal).startswith(str(file))
        assert "\n" not in str(refusal)
        return
    assert pixels.shape == (784,)
    assert pixels.dtype.name == "uint8"
