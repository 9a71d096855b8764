"""The book's sources: what is read from them, and the one line that says what is wrong."""

from importlib.resources import files

import pytest
import toybook
import yaml

from lowcap.book import source
from lowcap.errors import UserError


@pytest.fixture
def root(tmp_path):
    return toybook.make(tmp_path / "book root")


def test_documents_come_in_reading_order_and_chapters_by_id(root):
    book = source.load(root)
    assert [path.name for path in book.documents] == ["index.md", "01-replay.ipynb", "status.md", "references.md"]
    assert book.chapters == {"01-replay": root / "book" / "01-replay.ipynb"}


def test_parts_and_sections_are_read_too(root):
    chapter = {"file": "book/status", "sections": [{"file": "book/01-replay"}]}
    toc = {"root": "book/index", "parts": [{"chapters": [chapter]}]}
    (root / "_toc.yml").write_text(yaml.safe_dump(toc))
    assert [path.stem for path in source.load(root).documents] == ["index", "status", "01-replay"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("root: [", "not valid YAML"),
        ("root: book/index\nroot: book/status", "key given twice: root"),
        ("- book/index", "got list"),
        ("", "got NoneType"),
        ("format: jb-book", "lists no page"),
        ("root: book/index\nchapters:\n- file: book/index", "lists a page twice"),
        ("root: book/03-pruning", "'book/03-pruning', but there is no 03-pruning.ipynb or 03-pruning.md"),
    ],
)
def test_a_broken_table_of_contents_is_one_clear_line(root, text, told):
    (root / "_toc.yml").write_text(text)
    with pytest.raises(UserError) as caught:
        source.load(root)
    assert told in str(caught.value)
    assert "_toc.yml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_configuration_is_named(root):
    (root / "_config.yml").unlink()
    with pytest.raises(UserError, match=r"_config\.yml is missing"):
        source.load(root)


def test_the_root_is_found_from_a_folder_inside(root):
    assert source.find_root(root / "book" / "static") == root
    with pytest.raises(UserError, match="run this inside a checkout"):
        source.find_root(root.parent)


def test_the_real_configuration_has_only_keys_that_jupyter_book_knows():
    config = source.load(toybook.REAL).config
    known = yaml.safe_load((files("jupyter_book") / "default_config.yml").read_text()) | {"bibtex_bibfiles": []}
    for key, value in config.items():
        assert key in known
        if isinstance(value, dict):
            assert set(value) <= set(known[key]), key
