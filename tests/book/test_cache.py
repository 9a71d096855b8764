"""What numbers rest on: the cache key covers what a chapter depends on; commit, repetitions and machine are told."""

import subprocess
from collections import Counter

import pytest
import toybook

from lowcap import provenance
from lowcap.book import cache
from lowcap.book.pages import status_page

IDENTITY = {"name": "digits", "files": {}}


@pytest.fixture
def chapter(tmp_path):
    return toybook.make(tmp_path / "root") / "book" / "01-replay.ipynb"


def key(chapter, parameters=(("steps", 1),), identity=IDENTITY):
    return cache.cache_key(chapter, dict(parameters), identity)


def test_the_same_chapter_has_the_same_key_wherever_it_lies(chapter):
    first = key(chapter)
    moved = chapter.rename(chapter.parent.parent / chapter.name)
    assert key(moved) == first


def test_text_parameters_and_data_each_change_the_key(chapter):
    keys = {key(chapter), key(chapter, [("steps", 2)]), key(chapter, identity={"name": "mnist", "files": {"a": "1"}})}
    chapter.write_text(chapter.read_text().replace("A line", "The line"))
    assert len(keys | {key(chapter)}) == 4


def test_a_changed_package_version_or_published_number_changes_the_key(chapter, tmp_path, monkeypatch):
    first = key(chapter)
    monkeypatch.setattr(cache, "versions", lambda: {"torch": "0"})
    assert key(chapter) != first
    monkeypatch.undo()
    package = tmp_path / "package"
    (package / "book").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "book" / "execute.py").touch()
    monkeypatch.setattr(cache.lowcap, "__file__", str(package / "__init__.py"))
    other = key(chapter)
    (package / "training.py").write_text("lr = 0.1")
    changed = key(chapter)
    (tmp_path / "data" / "published").mkdir(parents=True)
    (tmp_path / "data" / "published" / "numbers.csv").write_text("f1\n0.9\n")
    assert len({first, other, changed, key(chapter)}) == 4


def git(folder, *arguments):
    names = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_commit_and_local_changes_are_told(chapter):
    root = chapter.parent.parent
    assert provenance.commit_of(root) == (None, False)
    git(root, "init")
    git(root, "add", ".")
    git(root, "commit", "-m", "first")
    commit, dirty = provenance.commit_of(root)
    assert len(commit) == 40
    assert not dirty
    chapter.write_text("{}")
    assert provenance.commit_of(root) == (commit, True)
    assert provenance.remote_of(root) is None
    git(root, "remote", "add", "origin", "git@github.com:ann/book.git")
    assert provenance.remote_of(root) == "git@github.com:ann/book.git"


def test_repetitions_time_memory_and_machine_of_each_chapter_are_told():
    machine = {"processor": "Abacus", "cores": 2, "memory_gib": 1, "system": "Wood"}
    entry = {"parameters": {"n_seeds": 3, "seeds": [0, 42], "lr": 0.1}, "seconds": 61.2, "peak_mib": 1536}
    chapters = {"01-a": entry | {"machine": machine}, "02-b": entry | {"parameters": {}}}
    lines = status_page.evidence(chapters, Counter({"01-a": 2})).splitlines()
    assert lines[2:4] == [
        "| [](01-a.ipynb) | 2 | `n_seeds` 3, `seeds` 2 | 61 s | 1.5 GiB |",
        "| [](02-b.ipynb) | 0 |  | 61 s | 1.5 GiB |",
    ]
    assert lines[5] == "Together the chapters ran for 2 minutes on 2 cores of Abacus with 1 GiB of memory under Wood."
    assert set(provenance.machine()) == set(machine)
    assert provenance.machine()["cores"] >= 1
