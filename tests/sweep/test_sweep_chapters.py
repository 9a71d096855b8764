"""A chapter over a grid of its parameters: each run by the machinery of `lowcap run`, and a gallery of them."""

import base64
import io
import os
import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import toybook
from nbformat.v4 import new_output
from PIL import Image

from lowcap.errors import UserError
from lowcap.notebook import ledger, parameters
from lowcap.sweep import chapters, command, gallery

CLAIM = next(claim for claim in ledger.catalogue().values() if claim.chapter == "01-replay")
GRID = ["steps=5:15:5", "pairs=[[0, 1]],[[9, 4], [3, 8]]", "dataset=digits"]


def executed(steps):
    """What a run leaves: a notebook with a figure, two numbers and a verdict."""
    png = io.BytesIO()
    Image.new("RGB", (1600, 800), "white").save(png, "PNG")
    claim = {**vars(CLAIM), "verdict": "holds in part", "own": False}
    facts = [
        {"chapter": "01-replay", "key": "steps-taken", "value": steps, "text": f"{steps} <steps>"},
        {"chapter": "01-replay", "key": "who", "value": "text", "text": "text"},
        {"claim": claim},
    ]
    cell = toybook.figure_cell()
    cell.outputs = [new_output("display_data", {"image/png": base64.b64encode(png.getvalue()).decode()})]
    cell.outputs += [new_output("display_data", {}, metadata={"lowcap": fact}) for fact in facts]
    return toybook.notebook(cell)


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """A checkout, and the runs that were asked for, none of which starts a kernel."""
    monkeypatch.chdir(toybook.make(tmp_path / "root"))
    asked = []

    def run(root, chapter, assignments, out, limit):
        asked.append((root, chapter, list(assignments)))
        parameters.validate(chapter, parameters.parse_assignments(assignments))
        (out / "html").mkdir(parents=True, exist_ok=True)
        (out / "html" / "index.html").write_text("a page")
        nbformat.write(executed(int(dict(a.split("=") for a in assignments)["steps"])), out / f"{chapter}.ipynb")
        print("what a run says")

    monkeypatch.setattr("lowcap.book.run.run", run)
    return asked


def sweep(*grid, workers=1):
    return command.sweep("chapter:01-replay", grid, Path("out"), workers)


def test_each_combination_is_run_once_with_what_lowcap_run_takes(calls, tmp_path, capsys):
    assert sweep(*GRID) == Path("out/index.html")
    assert [assignments for _, _, assignments in calls] == [
        ["dataset=digits", f"pairs={pairs}", f"steps={steps}"]
        for pairs in ("[[0, 1]]", "[[4, 9], [3, 8]]")
        for steps in (5, 10, 15)
    ]
    assert {(root, chapter) for root, chapter, _ in calls} == {(tmp_path / "root", "01-replay")}
    assert "what a run says" not in capsys.readouterr().out


def test_rows_are_the_recorded_numbers_and_verdicts_beside_the_parameters(calls):
    sweep(*GRID)
    rows = pd.read_parquet("out/rows.parquet")
    assert list(rows) == ["dataset", "pairs", "steps", "kind", "name", "value", "text"]
    assert len(rows) == 6 * 3
    assert rows[rows["name"] == "steps-taken"]["value"].tolist() == [5, 10, 15, 5, 10, 15]
    assert rows[rows["kind"] == "claim"][["name", "text"]].drop_duplicates().values.tolist() == [
        [CLAIM.id, "holds in part"]
    ]


def test_a_finished_run_is_not_repeated_unless_its_page_is_gone(calls):
    sweep(*GRID)
    before = Path("out/rows.parquet").read_bytes()
    sweep(*GRID)
    assert len(calls) == 6
    next(Path("out/runs").glob("*/html/index.html")).unlink()
    sweep(*GRID)
    assert len(calls) == 7
    sweep("steps=5:20:5", *GRID[1:])
    assert len(calls) == 9
    assert Path("out/rows.parquet").read_bytes() != before


def test_the_books_own_value_is_the_same_run_whether_it_is_named_or_not(calls):
    plans = [
        chapters.plan("01-replay", grid, Path("out"), "loky") for grid in (["steps=100"], ["steps=100", "lr=0.03"])
    ]
    assert plans[0].key(plans[0].jobs[0]) == plans[1].key(plans[1].jobs[0])
    other = chapters.plan("01-replay", ["steps=100", "lr=0.05"], Path("elsewhere"), "loky")
    assert other.key(other.jobs[0]) != plans[0].key(plans[0].jobs[0])


def test_the_gallery_needs_nothing_else_and_links_to_what_is_there(calls):
    page = sweep(*GRID).read_text()
    assert page.count("<article>") == 6
    assert "6 runs, all with dataset = digits." in page
    assert "<h2>pairs = [[0, 1]], steps = 5</h2>" in page
    assert page.count(CLAIM.sentence) == 6
    assert page.count("<strong>holds in part</strong>") == 6
    assert "5 &lt;steps&gt;" in page
    assert "<script" not in page
    assert toybook.FIGURE["image"]["alt"] in page
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    inside = [link for link in links if not link.startswith("data:image/png;base64,")]
    assert len(links) - len(inside) == 6
    assert len(inside) == 13
    assert all((Path("out") / link).is_file() for link in inside)
    picture = next(link for link in links if link not in inside).partition(",")[2]
    with Image.open(io.BytesIO(base64.b64decode(picture))) as small:
        assert small.size == (480, 240)


def test_a_chapter_without_figures_has_a_card_without_a_picture():
    assert gallery._picture(toybook.notebook("1 + 1")) is None


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        (["step=5"], "no axis `step`; did you mean `steps`"),
        (["steps=0"], "axis `steps` must be a whole number from 1 to 2000, such as 100"),
        (["steps=0:5"], "`steps` must be"),
        (["pairs=[[4, 4]]"], "class 4 comes twice; name different ones"),
        (["pairs=[[4, 9]],[[9, 4]]"], "[[4, 9]] comes twice"),
        (["steps=1:1001"], "the grid has 1,001 runs of the chapter; 1,000 are the most"),
        ([], "name at least one parameter of 01-replay, such as --grid dataset=..."),
    ],
)
def test_a_wrong_grid_is_refused_before_anything_runs(calls, grid, told):
    with pytest.raises(UserError) as error:
        sweep(*grid)
    assert told in str(error.value)
    assert calls == []
    assert not Path("out").exists()


def test_values_that_do_not_go_together_are_refused_before_anything_runs(calls, monkeypatch):
    one = property(lambda book: {"08-robustness": book.documents[1]})
    monkeypatch.setattr("lowcap.book.source.Book.chapters", one)
    with pytest.raises(UserError, match="that is the width of `small` too"):
        command.sweep("chapter:08-robustness", ["small=8,24", "large=24"], Path("out"), 1)


def test_a_chapter_that_is_not_there_or_on_many_machines_is_refused(calls):
    with pytest.raises(UserError, match="there is no chapter `01-reply`; did you mean `01-replay`"):
        command.sweep("chapter:01-reply", ["steps=1"], Path("out"))
    with pytest.raises(UserError, match="not in this book's table of contents: 01-replay"):
        command.sweep("chapter:02-capacity", ["lr=1"], Path("out"))
    with pytest.raises(UserError, match="a chapter is swept on one machine"):
        command.sweep("chapter:01-replay", ["steps=1"], Path("out"), 1, "dask", "tcp://127.0.0.1:1")


def test_kernels_compute_on_one_thread_whoever_starts_them(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with chapters._one_thread():
        assert [os.environ[name] for name in chapters.THREADS] == ["1"] * 3
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ
