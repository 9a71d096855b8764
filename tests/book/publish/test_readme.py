"""The README's results are written from a build, and only between its marks."""

import json

import pytest

from lowcap.book.publish import readme
from lowcap.errors import BuildError, UserError
from lowcap.notebook.ledger import Claim, catalogue

TEXT = f"# Title\n\n{readme.START}\nold\n{readme.END}\n\nMore.\n"
CLAIM = {"id": "rate", "verdict": "holds", "own": True}
LINKED = "[holds](_build/html/book/01-replay.html#fig-rate)"
CLAIMS = {
    name: Claim(name, "A sentence.", "A source", "A criterion.", chapter, f"fig-{name}", "holds")
    for name, chapter in (("rate", "01-replay"), ("gain", "02-capacity"))
}
FOUND = {"results": {"01-replay": {"f1-4_9": 0.98765}}, "claims": [CLAIM]}


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(readme, "catalogue", lambda: CLAIMS)
    (tmp_path / "results.json").write_text(json.dumps(FOUND))
    (tmp_path / "README.md").write_text(TEXT)
    return tmp_path / "README.md", tmp_path / "results.json"


def test_lines_are_filled_with_numbers_and_verdicts_between_the_marks(files):
    readme.update(*files, ["F1 is {f1-4_9:.2f}: *{rate}*.", "The claim {rate}."])
    chapter = "- [Chapter 1](book/01-replay.ipynb):"
    filled = f"{chapter} F1 is 0.99: *{LINKED}*.\n{chapter} The claim {LINKED}."
    assert files[0].read_text() == TEXT.replace("old", filled)


def test_filling_in_twice_changes_nothing_more(files):
    readme.update(*files, ["F1 is {f1-4_9:.2f}: {rate}."])
    once = files[0].read_text()
    readme.update(*files, ["F1 is {f1-4_9:.2f}: {rate}."])
    assert files[0].read_text() == once


def test_a_number_that_was_not_recorded_is_named(files):
    with pytest.raises(BuildError, match="f1_typo"):
        readme.update(*files, ["{f1_typo} {rate}"])
    assert files[0].read_text() == TEXT


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"claims": [CLAIM | {"own": False}]}, "not of the book's own run .*: rate"),
        ({"claims": []}, "no claim was judged"),
        ({"results": FOUND["results"] | {"02-capacity": {"f1-4_9": 1.0}}}, "more than one value for f1-4_9"),
        ({"results": {"01-replay": {"rate": 1.0}}}, "more than one value for rate"),
    ],
)
def test_another_run_and_a_key_with_two_values_are_refused(files, change, told):
    files[1].write_text(json.dumps(FOUND | change))
    with pytest.raises(BuildError, match=told):
        readme.update(*files, ["x"])
    assert files[0].read_text() == TEXT


@pytest.mark.parametrize(
    "text", ["no marks", readme.START, readme.START + TEXT, f"{readme.END}{readme.START}", TEXT + TEXT]
)
def test_missing_or_doubled_marks_are_refused(files, text):
    files[0].write_text(text)
    with pytest.raises(UserError, match="results:start"):
        readme.update(*files, ["x"])


def test_without_a_build_the_error_says_what_to_do(files):
    files[1].unlink()
    with pytest.raises(BuildError, match="make book"):
        readme.update(*files, ["x"])


def test_without_lines_the_error_says_where_they_go(files):
    with pytest.raises(UserError, match=r"\[readme\]"):
        readme.update(*files, [])


@pytest.mark.parametrize(("line", "told"), [("F1 is {f1-4_9}.", "names none"), ("{rate} {gain}", "01-replay, 02-cap")])
def test_a_line_is_about_claims_of_one_chapter(files, line, told):
    with pytest.raises(BuildError, match=told):
        readme.update(*files, [line])
    assert files[0].read_text() == TEXT


def test_every_line_of_the_book_is_about_claims_of_one_chapter_in_the_order_of_chapters():
    claims = catalogue()
    chapters = [
        {claim.chapter for name, claim in claims.items() if f"{{{name}}}" in line} for line in readme.templates()
    ]
    assert chapters
    assert all(len(found) == 1 for found in chapters)
    assert chapters == sorted(chapters, key=min)
