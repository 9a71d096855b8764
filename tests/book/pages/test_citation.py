"""How to cite: one source, from which text and BibTeX are made."""

import re
import shutil

import pytest
import toybook
import yaml

from lowcap.book.pages import citation
from lowcap.errors import UserError

FACTS = yaml.safe_load("""
title: Toys
authors: [{family-names: Toy, given-names: Ann}, {name: The Toy Club}]
version: 1.2.0
date-released: 2026-03-04
references: [{title: Older toys, authors: [{family-names: Ball, given-names: Bob}], year: 2001, doi: 10.1/x, url: u}]
""")


def test_text_and_bibtex_say_the_same_of_both_works():
    box = citation.box(FACTS, "https://github.com/ann/toys")
    assert "Toy, Ann and The Toy Club (2026). Toys. Version 1.2.0. https://github.com/ann/toys" in box
    assert "Ball, Bob (2001). Older toys. https://doi.org/10.1/x" in box
    assert "@misc{toy2026,\n  author = {Toy, Ann and {The Toy Club}},\n  title = {Toys},\n  year = {2026}," in box
    assert "  doi = {10.1/x},\n  url = {u},\n}" in box


def test_the_books_own_citation_is_complete_and_in_step_with_the_package():
    facts = citation.read(toybook.REAL)
    assert facts["cff-version"] == "1.2.0"
    assert facts["type"] in {"software", "dataset"}
    project = (toybook.REAL / "pyproject.toml").read_text()
    assert facts["version"] == re.search(r'^version = "(.*)"', project, re.MULTILINE)[1]
    assert facts["license"] == re.search(r'^license = "(.*)"', project, re.MULTILINE)[1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", str(facts["date-released"]))
    paper = facts["references"][0]
    bib = (toybook.REAL / "book" / "references.bib").read_text()
    entry = bib[bib.index("{kumar2025") :].split("\n}")[0]
    assert all(str(value) in entry for value in (paper["title"], paper["doi"], paper["year"], paper["url"]))
    box = citation.box(facts, None)
    assert box.count("@misc{") == 2
    assert box.count("{") == box.count("}")


@pytest.mark.parametrize(
    ("text", "told"), [("[", "not valid YAML"), ("title: Toys", "lacks cff-version, message"), ("- 1", "lacks")]
)
def test_a_broken_file_is_one_clear_line(tmp_path, text, told):
    (tmp_path / citation.FILE).write_text(text)
    with pytest.raises(UserError, match=told) as caught:
        citation.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_box_is_written_where_there_is_a_file(tmp_path):
    (tmp_path / citation.BOX).parent.mkdir(parents=True)
    citation.write(tmp_path, tmp_path, None)
    assert not (tmp_path / citation.BOX).exists()
    shutil.copy(toybook.REAL / citation.FILE, tmp_path)
    citation.write(tmp_path, tmp_path, None)
    assert "bibtex" in (tmp_path / citation.BOX).read_text()
