"""The cache key covers what a chapter depends on."""

import pytest
import toybook

from lowcap.book import cache

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
