"""Each chapter at settings and on data that are not the book's own: edges of ranges, other datasets, a reader's images.

The whole matrix takes half an hour: LOWCAP_MATRIX=1 runs it (weekly). Otherwise a few cheap cells are run.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import toyfolder
from toybook import REAL, empty_tables

from lowcap import tasks
from lowcap.book import gate
from lowcap.book.execute import execute
from lowcap.notebook import ledger, parameters
from lowcap.notebook.parameter_types import LARGEST_SEED, allowed

PAIRS = {"digits": [2, 7], "fashion-mnist": [3, 8], "four": [1, 3], "two": [0, 1]}
ALWAYS = {("01-replay", "two"), ("04-threshold", "two")}
CASES = ("lowest", "highest", "fashion-mnist", "four", "two")


def cells() -> list[Any]:
    every = [(chapter, case) for chapter in parameters.chapters() for case in CASES]
    skipped = pytest.mark.skipif(os.environ.get("LOWCAP_MATRIX") != "1", reason="LOWCAP_MATRIX=1 runs the whole matrix")
    return [pytest.param(*one, marks=[pytest.mark.slow, *([] if one in ALWAYS else [skipped])]) for one in every]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`four's` and `two`: folders of images; the other files are made when a case asks for them."""
    root = tmp_path_factory.mktemp("data")
    toyfolder.folder(root / "my four's", 4, 90)
    toyfolder.folder(root / "two", 2, 60)
    return root


def settings(chapter: str, case: str) -> dict[str, Any]:
    """The fast settings with another pair; at an edge of every range, if the case says so."""
    fields = parameters.schema(chapter).model_fields
    pair = PAIRS.get(case, PAIRS["digits"])
    found = dict(parameters.fast(chapter))
    if case in ("lowest", "highest"):
        for name, field in fields.items():
            value = edge(field, case)
            found |= {} if value is None else {name: value}
    found |= {name: pair for name in ("pair", "grid_pair") if name in fields}
    found |= {"pairs": [pair]} if "pairs" in fields else {}
    found |= {"digit": pair[1]} if "digit" in fields else {}
    if case == "lowest":
        found |= {"seeds": [LARGEST_SEED]} if "seeds" in fields else {}
        found |= {"widths": [1]} if "widths" in fields else {}
        found |= {name: 2 for name in ("large", "other_width") if name in fields}  # another one than the narrower
        found |= {"batch_size": 32} if "batch_size" in fields else {}  # the least would take the longest
    return found


def edge(field: Any, case: str) -> Any:
    """The least value that a number may have; the largest, unless that costs time; None for what is not a number."""
    notes: Any = field.json_schema_extra
    if case == "highest" and notes["cost"] != "none":
        return None
    if allowed(field).words == "a fraction from 0 to 1":
        return float(case == "highest")
    attribute = "ge" if case == "lowest" else "le"
    found = [getattr(note, attribute) for note in field.metadata if hasattr(note, attribute)]
    return found[0] if found and field.annotation in (int, float) else None


@pytest.mark.parametrize(("chapter", "case"), cells())
def test_a_chapter_runs(chapter: str, case: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data)
    dataset = {"fashion-mnist": case, "four": "folder:my four's", "two": "folder:two"}.get(case, "digits")
    if case == "fashion-mnist":
        if not (data / "FashionMNIST").exists():
            toyfolder.relative(data, case)
        monkeypatch.setenv("LOWCAP_DATA", str(data))
    given = settings(chapter, case) | {"dataset": dataset}
    model = parameters.validate(chapter, given)
    parameters.check_classes_exist(model, tasks.resolve(dataset))
    done = execute(REAL / "book" / f"{chapter}.ipynb", tmp_path, model.model_dump(mode="json"), dataset)
    gate.check_executed(chapter, done.notebook, injected=True)
    assert not list(empty_tables(done.notebook))
    found = ledger.collect([done.notebook])
    judged = {claim["id"]: claim for claim in ledger.verdicts(found)}
    assert set(judged) == {claim.id for claim in ledger.catalogue().values() if claim.chapter == chapter}
    assert not any(claim["own"] for claim in judged.values())
    assert {claim["dataset"] for claim in judged.values()} == {dataset}
