"""The bibliography: one, complete, and each work cited somewhere; and one palette over figures and pages."""

import re

import nbformat
import pytest
import toybook

from lowcap.book import source
from lowcap.notebook import figures

BOOK = toybook.REAL / "book"
ENTRIES = dict(re.findall(r"^@\w+\{(\w+),\n(.*?)^\}", (BOOK / "references.bib").read_text(), re.MULTILINE | re.DOTALL))


def cited():
    texts = [path.read_text() for path in BOOK.glob("*.md")]
    for path in source.load(toybook.REAL).chapters.values():
        cells = nbformat.read(path, as_version=4).cells
        texts += [cell.source for cell in cells if cell.cell_type == "markdown"]
    lists = re.findall(r"\{cite:?\w*\}`([^`]+)`", "\n".join(texts))
    return {key.strip() for keys in lists for key in keys.split(",")}


def test_there_is_one_bibliography():
    assert [path.name for path in BOOK.glob("**/*.bib")] == ["references.bib"]
    assert [path.name for path in BOOK.glob("*.md") if "{bibliography}" in path.read_text()] == ["references.md"]
    assert len(ENTRIES) == (BOOK / "references.bib").read_text().count("\n@") + 1


def test_every_work_is_cited_and_every_citation_is_a_work():
    assert set(ENTRIES) == cited()


@pytest.mark.parametrize("key", ENTRIES)
def test_every_entry_is_complete_and_leads_to_the_work(key):
    fields = dict(re.findall(r"^  (\w+) = \{(.*?)\},?$", ENTRIES[key], re.MULTILINE | re.DOTALL))
    assert {"author", "title", "year"} <= set(fields)
    assert fields["year"] in key or fields["year"][2:] in key
    assert re.fullmatch(r"10\.\d{4,}/\S+", fields.get("doi", "")) or fields.get("url", "").startswith("https://")


def test_no_work_is_listed_twice():
    for field in ("title", "doi", "url"):
        values = re.findall(rf"^  {field} = \{{(.*?)\}},?$", "\n".join(ENTRIES.values()), re.MULTILINE)
        assert sorted({v.lower() for v in values if [w.lower() for w in values].count(v.lower()) > 1}) == []


def test_figures_and_pages_share_one_palette():
    okabe_ito = {figures.BLUE, figures.SKY, figures.GREEN, figures.ORANGE, figures.RED, figures.PINK, figures.INK}
    others = {c for c in figures.COLOURS.values() if c not in okabe_ito}
    assert others <= {"#777777", "#999999", "#8e3f72"}  # controls are grey; a darker pink
    css = (BOOK / "static" / "lowcap.css").read_text()
    light, dark = css.split('html[data-theme="dark"] {')[:2]
    for theme, blue, orange in ((light, figures.BLUE, figures.RED), (dark.split("}")[0], figures.SKY, None)):
        assert f"--blue-mark: {blue.lower()}" in theme
        assert orange is None or f"--orange-mark: {orange.lower()}" in theme
    scripts = "".join(path.read_text() for path in (BOOK / "static" / "explorables").glob("*.js"))
    scripts += (BOOK / "static" / "explorables.css").read_text()
    used = {c.lower() for c in re.findall(r"#[0-9a-fA-F]{6}\b", scripts)}
    assert {figures.BLUE.lower(), figures.RED.lower()} <= used
