"""What the stage adds to the sources: the banner, the launch buttons."""

import pytest
import toybook
import yaml

from lowcap.book import source, stage


@pytest.fixture
def staged(tmp_path):
    book, folder = source.load(toybook.make(tmp_path / "root")), tmp_path / "stage"
    stage.prepare(book, folder)

    def configured(**options):
        stage.configure(book, folder, **{"banner": "", "repository": None} | options)
        return yaml.safe_load((folder / "_config.yml").read_text())

    return configured


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@github.com:ann/book.git", "https://github.com/ann/book"),
        ("https://ann:secret@github.com/ann/book.git", "https://github.com/ann/book"),
        ("ssh://git@github.com:22/ann/book", "https://github.com/ann/book"),
        ("https://gitlab.com/ann/sub/book/", "https://gitlab.com/ann/sub/book"),
        ("/srv/git/book.git", None),
        ("https://example.org/ann/book", None),
        ("", None),
        (None, None),
    ],
)
def test_only_an_address_on_the_web_and_without_secrets_is_used(remote, address):
    assert stage.web_address(remote) == address


def test_launch_buttons_point_to_the_sources_and_only_with_a_repository(staged):
    config = staged(repository="https://github.com/ann/book")
    assert config["repository"] == {"path_to_book": "", "branch": "main", "url": "https://github.com/ann/book"}
    assert config["launch_buttons"]["binderhub_url"] == "https://mybinder.org"
    assert "launch_buttons" not in staged()


def test_the_banner_says_what_is_not_the_books_own():
    assert stage.banner("mnist", False) == ""
    assert "not on MNIST" in stage.banner("digits", False)
    assert "LOWCAP_DATA" in stage.banner("digits", False)
    assert "kmnist" in stage.banner("kmnist", False)
    assert "Fast settings" in stage.banner("mnist", True)
    own = stage.banner("folder:<b>me & you", False, ["a<b", "c"])
    assert "Computed on folder:&lt;b&gt;me &amp; you, not on MNIST" in own
    assert "Its classes: 0 is a&lt;b, 1 is c." in own


def test_the_banner_joins_the_other_theme_options(staged):
    options = staged(banner="Look out")["sphinx"]["config"]["html_theme_options"]
    assert options["announcement"] == "Look out"
    assert "navbar_persistent" in options


def test_a_book_of_one_chapter_keeps_the_references(staged, tmp_path):
    staged(chapter="01-replay")
    toc = yaml.safe_load((tmp_path / "stage" / "_toc.yml").read_text())
    assert toc == {"format": "jb-book", "root": "book/01-replay", "chapters": [{"file": "book/references"}]}
    staged(chapter="01-replay", one_file=True)
    toc = yaml.safe_load((tmp_path / "stage" / "_toc.yml").read_text())
    assert toc == {"format": "jb-book", "root": "book/01-replay"}


def test_a_book_of_one_chapter_keeps_the_glossary_that_its_words_lead_to():
    toc = stage._single(source.load(toybook.REAL), "03-magnitude", one_file=False)
    assert toc["root"] == "book/03-magnitude"
    assert toc["chapters"] == [{"file": "book/glossary"}, {"file": "book/references"}]


def test_a_stage_starts_from_nothing(tmp_path):
    book, folder = source.load(toybook.make(tmp_path / "root")), tmp_path / "stage"
    folder.mkdir()
    (folder / "old.html").touch()
    stage.prepare(book, folder)
    assert not (folder / "old.html").exists()
