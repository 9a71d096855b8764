"""Templates: whatever is put into one comes out as text, what is missing is an error, and no line end shows."""

import ast
import json
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from jinja2 import TemplateSyntaxError, UndefinedError

from lowcap import templates
from lowcap.explorables.blob import Blob
from lowcap.explorables.charts import SCORE, Chart, Curve, Scale

PACKAGE = templates.PACKAGE
ALL = {path.relative_to(PACKAGE).as_posix(): path.read_text("utf-8") for path in PACKAGE.rglob("*.html")}
HARMLESS = "x"
HOSTILE = """"'></p></script></template></style><img src=x onerror="alert(1)"><b>&lt;{{ 777 * 777 }}{% raw %}|"""


def chart(text):
    x = Scale(0, 1, {0.5: text}, text)
    return Chart(text, text, x, SCORE, [Curve([(0, 1), (1, 0)], text, text)], {0.5: text})


def values(text):
    """What each template needs, with `text` wherever text can come."""
    line = {"key": text, "text": text, "page": text}
    claim = {"id": text, "sentence": text, "criterion": text, "source": text, "verdict": text}
    card = {
        "title": text,
        "folder": text,
        "notebook": text,
        "claims": [claim],
        "numbers": [{"key": text, "text": text}],
    }
    return {
        "book/pages/templates/ledger_sentence.html": claim | {"chapter": text, "numbers": {text: text}},
        "book/pages/templates/ledger_start.html": {"data": {text: text}, "form": "<form></form>"},
        "book/pages/templates/paper.html": {
            "about": {"title": text, "author": text, "day": text, "note": "<i>HTML</i>"},
            "sheets": [text],
            "headers": "p {}",
            "contents_id": text,
            "contents": [line | {"number": text, "sections": [line]}],
            "documents": ["<section></section>"],
        },
        "chapters/held_up/templates/choices.html": {"choices": {text: {text: 1, text + "2": 2}}},
        "explorables/templates/corrupt.html": {
            "pair": [text, text], "widths": [1, 2], "n": text, "noises": {1: text}, "sides": {1: text},
            "charts": [chart(text)],
        },
        "explorables/templates/draw.html": {"pair": [text, text], "widths": [1, 2]},
        "explorables/templates/element.html": {
            "element": "draw-digit", "data": {"fallback": text, text: text}, "form": "<form></form>",
            "table": "<table></table>", "blobs": [Blob(text, text, {})], "style": "", "code": "",
        },
        "explorables/templates/ledger.html": {"sources": [text], "verdicts": [text]},
        "explorables/templates/morph.html": {
            "pair": [text, text + "2"], "ways": {text: text}, "stops": {1: text}, "n": text, "k": 2, "height": 1.0,
        },
        "explorables/templates/prune.html": {
            "stops": {1: text}, "as_run": 0.1, "as_meant": 0.9, "jumps": {text: text}, "methods": {text: text},
            "curve": chart(text), "histogram": chart(text),
        },
        "explorables/templates/train.html": {
            "widths": {text: text}, "batches": {text: text}, "rates": {1: text}, "steps": {1: text},
            "paper": {"steps": text}, "charts": {text: chart(text)}, "starts": text,
        },
        "notebook/templates/changes.html": {"title": text, "lines": [text], "advice": text},
        "notebook/templates/claim_box.html": {
            "claim": claim, "verdict": text, "mark": text, "numbers": {text: text}, "note": text,
        },
        "notebook/templates/numbers.html": {"heading": text, "numbers": {text: text}},
        "notebook/templates/parameter_table.html": {
            "headings": [text], "rows": [[text] * 6], "commands": {text: text},
        },
        "sweep/templates/gallery.html": {
            "title": text, "same": text, "marks": {text: text},
            "cards": [card | {"picture": {"alt": text, "png": ""}}, card | {"picture": None}],
        },
    }  # fmt: skip


TAKEN_FOR_HTML = {
    "book/pages/templates/ledger_start.html": {"form"},
    "book/pages/templates/paper.html": {"about.note", "document", "headers"},  # from pages that are made already
    "explorables/templates/element.html": {"code", "form", "style", "table"},  # our own, and what pandas has escaped
}
NAMES = sorted(values(HARMLESS))


def skeleton(html):
    """Elements of a page with the names of their attributes: all that text must leave as it is."""
    return [(element.name, sorted(element.attrs)) for element in BeautifulSoup(html, "html.parser").find_all(True)]


def test_every_template_is_filled_below():
    filled = {path.relative_to(PACKAGE).as_posix() for name in NAMES for path in templates.files(name)}
    assert filled == set(ALL)


@pytest.mark.parametrize("name", NAMES)
def test_hostile_text_stays_text(name):
    harmless, hostile = (templates.render(name, **values(text)[name]) for text in (HARMLESS, HOSTILE))
    assert skeleton(hostile) == skeleton(harmless)
    assert "<img src=x" not in hostile
    assert str(777 * 777) not in hostile
    soup = BeautifulSoup(hostile, "html.parser")
    told = ["".join(soup.find_all(string=True))]
    told += [str(value) for element in soup.find_all(True) for value in element.attrs.values()]
    told += [key for script in soup.select('script[type="application/json"]') for key in json.loads(script.string)]
    assert any(HOSTILE in text for text in told)


@pytest.mark.parametrize("name", NAMES)
def test_a_value_that_is_missing_is_an_error(name):
    given = values(HARMLESS)[name]
    for left_out in given:
        if left_out not in ("source", "verdict") or "claim" in given:  # a claim comes with more than a sentence shows
            with pytest.raises((UndefinedError, TypeError), match=f"{left_out}|Undefined"):
                templates.render(name, **{key: value for key, value in given.items() if key != left_out})


def test_a_field_that_is_missing_is_an_error():
    about = {"title": "", "author": "", "day": ""}
    given = values(HARMLESS)["book/pages/templates/paper.html"] | {"about": about}
    with pytest.raises(UndefinedError, match="note"):
        templates.render("book/pages/templates/paper.html", **given)


@pytest.mark.parametrize("name", sorted(ALL))
def test_json_stands_in_scripts_and_in_single_quotes_and_nothing_runs_that_stands_in_a_tag(name):
    for before in re.findall(r"(\S*){{[^{}]*\|\s*tojson\b", ALL[name]):
        assert before.endswith(("='", 'type="application/json">'))
    assert not re.search(r"\son\w+\s*=", ALL[name])


def test_only_html_of_our_own_making_is_taken_for_html():
    marked = {name: set(re.findall(r"([\w.]+)\s*\|\s*safe\b", text)) for name, text in ALL.items()}
    assert {name: values for name, values in marked.items() if values} == TAKEN_FOR_HTML
    assert not [name for name, text in ALL.items() if re.search(r"{%-?\s*autoescape", text)]


def test_json_keeps_its_order_and_its_letters():
    data = {"b": "–", "a": [1, True, None]}
    made = templates.render("book/pages/templates/ledger_start.html", data=data, form="")
    assert '>{"b":"–","a":[1,true,null]}</script>' in made


def test_line_ends_between_tags_do_not_show_and_still_count():
    made = templates.environment().from_string("<p>\n  <b>a</b>\n\n  {{ x }}\n</p>\n<i>b\nc</i> <i>d</i>")
    assert made.render(x="<\n>") == "<p><b>a</b>&lt;\n&gt;</p><i>b\nc</i> <i>d</i>"
    with pytest.raises(TemplateSyntaxError) as wrong:
        templates.environment().from_string("{# <a>\n<b> #}\n<p>\n\n  <b>\n{% nonsense %}")
    assert wrong.value.lineno == 6
    assert templates.environment().from_string("{# <a>\n<b> #}\n<p>").render() == "<p>"


def test_a_module_finds_its_templates_in_the_folder_beside_it_and_each_is_used():
    used = set()
    for module in PACKAGE.rglob("*.py"):
        names = [node.args[0] for node in ast.walk(ast.parse(module.read_text("utf-8"))) if called(node)]
        assert all(isinstance(name, ast.Constant) for name in names), module
        assert {Path(name.value).parent for name in names} <= {module.parent.relative_to(PACKAGE) / "templates"}
        used |= {path.relative_to(PACKAGE).as_posix() for name in names for path in templates.files(name.value)}
    assert used == set(ALL)


def called(node):
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "render"


def test_a_template_depends_on_what_it_extends_and_imports():
    names = [path.name for path in templates.files("explorables/templates/draw.html")]
    assert names == ["controls.html", "draw.html", "form.html"]
    assert [path.name for path in templates.files("notebook/templates/claim_box.html")] == ["claim_box.html"]
