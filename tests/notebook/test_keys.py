"""Every number that the book quotes has one home: a cell of its chapter in which its key is written out.

Only the sources are read, nothing runs. So a search for a key that the text quotes finds the cell that records it.
"""

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Formatter

import nbformat
import pytest

from lowcap.book.publish import readme
from lowcap.notebook import ledger

BOOK = Path(__file__).resolve().parents[2] / "book"
CHAPTERS = sorted(path.stem for path in BOOK.glob("*.ipynb"))
SHORT = {
    "01-replay": "rep_",
    "02-capacity": "cap_",
    "03-magnitude": "mag_",
    "04-threshold": "thr_",
    "05-tracing": "trace_",
    "06-geometry": "geo_",
    "07-saliency": "sal_",
    "08-robustness": "rob_",
    "09-tickets": "tic_",
    "10-descent": "dd_",
    "11-held-up": "hu_",
}
PREFIXES = {chapter: SHORT.get(chapter, f"{chapter[3:].replace('-', '_')}_") for chapter in CHAPTERS}
ROLE = re.compile(r"{glue:[a-z]*}`([^`]*)`")
COMPUTED = "(computed)"  # stands for a key that is put together while the cell runs


@cache
def cells(chapter: str) -> list[nbformat.NotebookNode]:
    return nbformat.read(BOOK / f"{chapter}.ipynb", as_version=4).cells


@cache
def code(chapter: str) -> list[ast.Module]:
    return [ast.parse(cell.source) for cell in cells(chapter) if cell.cell_type == "code"]


def calls(tree: ast.AST, *names: str) -> list[ast.Call]:
    """The calls of `claims.NAME` below `tree`."""
    wanted = {f"claims.{name}" for name in names}
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) in wanted]


@cache
def homes(chapter: str) -> Counter[str]:
    """For each key with the chapter's prefix, the number of cells that record numbers and write the key out.

    What stands in the call that judges a claim is a quotation, and a piece of an f-string is no key.
    """
    found: Counter[str] = Counter()
    for tree in code(chapter):
        if calls(tree, "record", "record_all"):
            apart = [*calls(tree, "judge"), *(node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr))]
            quoted = {id(node) for one in apart for node in ast.walk(one)}
            texts = {text(node) for node in ast.walk(tree) if id(node) not in quoted}
            found.update(filter(re.compile(rf"{PREFIXES[chapter]}[a-z0-9_]+").fullmatch, texts))
    return found


def text(node: ast.AST) -> str:
    """The text that a node spells out, empty where it is something else."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def roles(page: str, written: str) -> Iterator[tuple[str, str]]:
    """The chapter and the key of each glue role in what is `written` on `page`."""
    for body in ROLE.findall(written):
        document, _, key = body.rpartition("::")
        yield document.removesuffix(".ipynb") or page, key.split(":")[0]


def boxes(chapter: str) -> Iterator[tuple[str, str]]:
    """The label and the key of each number that the boxes of a chapter's claims show."""
    for tree in code(chapter):
        values = {ast.unparse(node.targets[0]): node.value for node in ast.walk(tree) if isinstance(node, ast.Assign)}
        for call in calls(tree, "judge"):
            numbers = [keyword.value for keyword in call.keywords if keyword.arg == "numbers"] + call.args[3:]
            for shown in (values.get(ast.unparse(one), one) for one in numbers):
                yield from labelled(shown)


def labelled(shown: ast.expr) -> Iterator[tuple[str, str]]:
    """The labels and keys of an argument `numbers`: a bare key has no label, a loop over names of keys has neither."""
    for node in ast.walk(shown):
        if isinstance(node, ast.Dict):
            for label, key in zip(node.keys, node.values, strict=True):
                if not isinstance(key, ast.Dict | ast.Name):
                    yield text(label) if isinstance(label, ast.Constant) else COMPUTED, text(key) or COMPUTED
        elif isinstance(node, ast.DictComp) and isinstance(node.value, ast.JoinedStr):
            yield COMPUTED, COMPUTED
    if isinstance(shown, ast.List | ast.Tuple):
        yield from (("", text(key) or COMPUTED) for key in shown.elts)


def quotations() -> Iterator[tuple[str, str, str]]:
    """All that the book quotes: where, of which chapter, which key."""
    for chapter in CHAPTERS:
        for cell in cells(chapter):
            written = cell.source if cell.cell_type == "markdown" else json.dumps(cell.metadata, ensure_ascii=False)
            yield from ((f"{chapter}, text", *role) for role in roles(chapter, written))
        yield from ((f"{chapter}, claim", chapter, key) for _, key in boxes(chapter))
    for page in sorted(BOOK.glob("*.md")):
        yield from ((page.name, *role) for role in roles("", page.read_text(encoding="utf-8")))
    for line in readme.templates():
        for _, field, _, _ in Formatter().parse(line):
            if field and field not in ledger.catalogue():
                owner = next((chapter for chapter, prefix in PREFIXES.items() if field.startswith(prefix)), "")
                yield "README", owner, field


def test_every_chapter_has_a_prefix_of_its_own():
    assert set(SHORT) <= set(CHAPTERS)
    assert all(re.fullmatch(r"[a-z][a-z_]*_", prefix) for prefix in PREFIXES.values())
    assert not [one for one in PREFIXES.values() if sum(other.startswith(one) for other in PREFIXES.values()) > 1]


def test_every_number_that_is_quoted_is_recorded_under_its_name_in_one_cell_of_its_chapter():
    found = sorted(set(quotations()))
    assert {where.split(",")[0] for where, _, _ in found} >= {*CHAPTERS, "index.md", "README"}
    lost = [f"{where}: {key} of {of or 'no chapter'}" for where, of, key in found if of not in PREFIXES]
    lost += [
        f"{where}: {key}, written out in {homes(of)[key]} cells of {of}"
        for where, of, key in found
        if of in PREFIXES and homes(of)[key] != 1
    ]
    assert not lost, "quoted, but not recorded in one cell by a key that is written out:\n" + "\n".join(lost)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_key_has_the_prefix_of_its_chapter_and_is_a_name(chapter):
    keys = [call.args[0] for tree in code(chapter) for call in calls(tree, "record")]
    groups = [call.args[0] for tree in code(chapter) for call in calls(tree, "record_all")]
    keys += [key for group in groups if isinstance(group, ast.Dict) for key in group.keys if key]
    starts = {text(key.values[0]) if isinstance(key, ast.JoinedStr) else text(key) for key in keys} - {""}
    assert homes(chapter)
    assert not [start for start in starts if not re.match(PREFIXES[chapter], start)]
    assert not [text(key) for key in keys if text(key) and not text(key).isidentifier()]


def test_no_key_is_recorded_in_two_cells_or_chapters():
    assert {key: count for chapter in CHAPTERS for key, count in homes(chapter).items() if count > 1} == {}
    literal = Counter(key for chapter in CHAPTERS for key in set(literals(chapter)))
    assert literal
    assert not [key for key, count in literal.items() if count > 1]


def literals(chapter: str) -> Iterator[str]:
    """The keys that calls of `record` spell out, whatever they begin with."""
    yield from filter(None, (text(call.args[0]) for tree in code(chapter) for call in calls(tree, "record")))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_no_box_of_a_claim_shows_a_prefix(chapter):
    start = PREFIXES[chapter].replace("_", " ")
    assert not [key for label, key in boxes(chapter) if not label or label.startswith(start)]


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('claims.record("rep_a", 1)', 1),
        ('claims.record_all({"rep_a": 1})', 1),
        ('for key, value in (("rep_a", 1), ("rep_b", 2)):\n    claims.record(key, value)', 1),
        ('claims.record(f"rep_{name}", 1)', 0),
        ('claims.record("rep_b", 1)\nclaims.judge("x", True, numbers={"a": "rep_a"})', 0),
        ('print("rep_a")', 0),
    ],
)
def test_a_key_is_at_home_where_it_is_written_out_and_recorded(monkeypatch, source, count):
    monkeypatch.setitem(globals(), "code", lambda chapter: [ast.parse(source)])
    assert homes.__wrapped__("01-replay")["rep_a"] == count


@pytest.mark.parametrize(
    ("numbers", "keys"),
    [
        ('{"a": "rep_a", "b": "rep_b"}', ["rep_a", "rep_b"]),
        ('{"a": "rep_a"} | {"b": f"rep_{x}"}', ["rep_a", COMPUTED]),
        ('{label: f"rep_{label}" for label in "ab"}', [COMPUTED]),
        ('{label: key for label, key in keys.items()}', []),
        ('["rep_a"]', ["rep_a"]),
    ],
)  # fmt: skip
def test_the_numbers_of_a_box_are_read_as_they_are_written(numbers, keys):
    assert [key for _, key in labelled(ast.parse(numbers, mode="eval").body)] == keys
