"""What readers get around the text: the glossary and the links to it, reading time, the notebook to download."""

import re
from pathlib import Path

import nbformat
import pytest
import toybook
from nbformat.v4 import new_markdown_cell

from lowcap.book import source
from lowcap.book.pages import reading

TERMS = {"width": 0, "hidden unit": 1, "unit": 1, "F1": 2, "95 % interval": 3, "sparsity": 4, "mask": 5, "SGD": 6}
WORDS = ["task", "network", "width", "unit", "population", "member", "recipe", "protocol", "seed", "mask", "sparsity",
         "live weight", "ticket", "rewinding", "corruption", "severity", "attribution", "claim", "verdict"]  # fmt: skip
CHAPTERS = source.load(toybook.REAL).chapters


def linked(text, terms=TERMS):
    return reading.link_terms([text], terms)[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("The width counts.", "The {term}`width <width>` counts."),
        ("Width counts, width again.", "{term}`Width <width>` counts, width again."),
        ("All widths.", "All {term}`widths <width>`."),
        ("Two sparsities.", "Two {term}`sparsities <sparsity>`."),
        ("Many masks and a mask.", "Many {term}`masks <mask>` and a mask."),
        ("A hidden\nunit, then a unit.", "A {term}`hidden unit <hidden unit>`, then a unit."),
        ("an *F1*, **mask**", "an *{term}`F1 <F1>`*, **{term}`mask <mask>`**"),
        ("its 95 % interval", "its {term}`95 % interval <95 % interval>`"),
        ("- a width\n- a mask", "- a {term}`width <width>`\n- a {term}`mask <mask>`"),
    ],
)
def test_the_first_mention_is_linked_in_singular_or_plural(text, said):
    assert linked(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "# The width",
        "### Of widths and masks",
        "`width` and ``a mask``",
        "{numref}`fig-width` {glue:text}`mask` {doc}`width <mask>`",
        "$width + mask$ and $$\nwidth\n$$",
        "$a\nwidth$",
        "| width | mask |\n|---|---|\n| F1 | unit |",
        "```{admonition} The width\nA mask.\n```",
        "````{margin}\n```python\nwidth\n```\nmask\n````",
        ":::{note}\nThe width.\n:::",
        "```\nmask = 1\n```",
        "[the width](x.html) <a href='width'>the width</a> <b title='mask'>",
        "(mask)=",
        "bandwidth, unmasked, well-mask, mask-like, f1, community, sgd",
    ],
)
def test_nothing_but_prose_is_touched(text):
    assert linked(text) == text


def test_code_before_and_after_does_not_hide_the_prose_between():
    text = "```\nwidth\n```\n\nThe width.\n\n```\nwidth\n```"
    assert linked(text) == text.replace("The width", "The {term}`width <width>`")
    assert linked("It costs 5 $ and a mask.") == "It costs 5 $ and a {term}`mask <mask>`."


def test_a_chapter_links_each_entry_once_however_many_cells_it_has():
    assert reading.link_terms(["unit", "hidden unit, mask", "mask"], TERMS) == [
        "{term}`unit <unit>`",
        "hidden unit, {term}`mask <mask>`",
        "mask",
    ]


def test_without_a_glossary_nothing_is_linked(tmp_path):
    assert reading.glossary_terms(tmp_path) == {}
    assert linked("The width.", {}) == "The width."


def test_terms_are_read_from_the_glossary_synonyms_together(tmp_path):
    path = tmp_path / reading.GLOSSARY
    path.parent.mkdir()
    path.write_text("# G\n\n```{glossary}\n:sorted:\n\nwidth\n  It\n\n  counts.\nunit\nneuron\n  One.\n```\n\nwords\n")
    assert reading.glossary_terms(tmp_path) == {"width": 0, "unit": 1, "neuron": 1}


def test_reading_time_counts_words_and_captions_and_no_code():
    chapter = toybook.notebook(toybook.figure_cell(), title="# A\n\n" + "word " * 999)
    assert reading.minutes(chapter) == 5
    chapter.cells.append(new_markdown_cell("{cite:p}`a_b_c_d` " * 200))
    assert reading.minutes(chapter) == 6
    chapter.cells[1].source += "\n# " + "code " * 1000
    assert reading.minutes(chapter) == 6
    chapter.cells[1].metadata.mystnb["figure"]["caption"] = "word " * 200
    assert reading.minutes(chapter) == 7


@pytest.mark.parametrize("typed", ["", "**Reading time** 99 minutes. "])
def test_the_first_box_gets_the_reading_time_and_the_notebook(typed):
    box = f"```{{admonition}} In this chapter\n{typed}**Run time** short.\n**You need** nothing.\n```\n"
    chapter = toybook.notebook(title=f"# A\n\n{box}\nThe width.")
    reading.dress(chapter, "07-toy", TERMS)
    text = chapter.cells[0].source
    assert "**Reading time** 1 minute. **Run time** short." in text
    assert text.index("../_sources/book/07-toy.ipynb") < text.index("\n```\n")
    assert "The {term}`width <width>`." in text
    assert "99" not in text


def test_a_chapter_without_the_box_is_left_as_it_is():
    chapter = toybook.notebook("1")
    reading.dress(chapter, "07-toy", {})
    assert [cell.source for cell in chapter.cells] == ["# A chapter", "1"]


def test_the_glossary_has_the_words_of_the_design_and_says_each_once():
    terms = reading.glossary_terms(toybook.REAL)
    assert set(WORDS) <= set(terms)
    text = (toybook.REAL / reading.GLOSSARY).read_text()
    lines = [line for line in reading.ENTRIES.search(text)[1].splitlines() if line and not line.startswith(" ")]
    assert len(lines) == len(set(lines)) == len(terms)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_each_chapter_links_the_words_that_it_uses(chapter):
    terms, notebook = reading.glossary_terms(toybook.REAL), nbformat.read(CHAPTERS[chapter], as_version=4)
    reading.dress(notebook, chapter, terms)
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.findall(r"\{term\}`[^`]*<([^`]*)>`", text)
    assert len({terms[term] for term in found}) == len(found) >= 10
    assert "network" in found
    assert "**Reading time**" in text
    assert f"../_sources/book/{chapter}.ipynb" in text


def test_the_glossary_is_a_page_of_the_book():
    assert toybook.REAL / reading.GLOSSARY in source.load(toybook.REAL).documents
    assert Path("book/glossary.md") == reading.GLOSSARY
