"""Parameters: read as literals, refused with the name, what is allowed, what came and what to write."""

import contextlib
import json
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowcap.errors import UserError
from lowcap.notebook import claims, parameters
from lowcap.notebook.parameter_types import allowed

BOOK = Path(__file__).parents[2] / "book"
CHAPTERS = parameters.chapters()


@pytest.fixture(autouse=True)
def _no_data_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_resolve", lambda dataset: dataset)


def notebook(path: Path, source: str) -> Path:
    tagged = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[tagged], metadata=kernel), path)
    return path


def namespace(chapter: str, **changes: Any) -> dict[str, Any]:
    return {name: field.default for name, field in parameters.schema(chapter).model_fields.items()} | changes


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_papermill_lists_every_parameter_of_the_generated_cell(chapter: str, tmp_path: Path) -> None:
    seen = papermill.inspect_notebook(notebook(tmp_path / "n.ipynb", parameters.cell(chapter)))
    for name, field in parameters.schema(chapter).model_fields.items():
        assert json.loads(seen[name]["default"]) == field.default
        assert seen[name]["inferred_type_name"] == allowed(field).notebook_type
        assert seen[name]["help"] == field.description
    assert list(seen) == list(parameters.schema(chapter).model_fields)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_parameters_cell_of_the_chapter_is_the_generated_one(chapter: str) -> None:
    path = BOOK / f"{chapter}.ipynb"
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert code[0].source == parameters.cell(chapter)
    assert "parameters" in code[0].metadata.tags
    assert f'parameters.check("{chapter}", globals())' in code[1].source


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_parameter_says_what_it_means_and_costs(chapter: str) -> None:
    for field in parameters.schema(chapter).model_fields.values():
        notes: Any = field.json_schema_extra
        assert field.description
        assert notes["cost"]
        assert not set("=#'\"|") & set(field.description)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_fast_settings_are_allowed_and_differ_from_the_books_own(chapter: str) -> None:
    model = parameters.validate(chapter, parameters.fast(chapter))
    assert set(parameters.changed(model)) == set(parameters.fast(chapter))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ({"pair": "[3, 8]"}, (3, 8)),
        ({"pair": "8,3"}, (3, 8)),
        ({"pair": ["3", "8"]}, (3, 8)),
        ({"lr": "1e-3"}, 0.001),
        ({"lr": 1}, 1.0),
        ({"epochs": "7"}, 7),
        ({"epochs": 7.0}, 7),
        ({"widths": "[2, 4]"}, (2, 4)),
        ({"widths": ["1e0", 2.0]}, (1, 2)),
        ({"pairs": "[[9, 4], (3, 8)]"}, ((4, 9), (3, 8))),
        ({"dataset": "digits"}, "digits"),
    ],
)
def test_text_and_values_are_read_as_the_schema_asks(raw: dict[str, Any], value: Any) -> None:
    model = parameters.validate("02-capacity", raw)
    assert getattr(model, next(iter(raw))) == value
    assert type(getattr(model, next(iter(raw)))) is type(value)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"pair": 49}, "written [4, 9]; got 49 (one number is not a pair"),
        ({"pair": "4_9"}, "4_9 is read as the number 49; write [4, 9]"),
        ({"pair": [4, 4]}, "class 4 comes twice; name different ones"),
        ({"pair": "[3, 12]"}, "from 0 to 9"),
        ({"pair": "four-nine"}, "got 'four-nine'"),
        ({"pairs": [[3, 8], [8, 3]]}, "[3, 8] comes twice"),
        ({"pairs": [49]}, "one number is not a pair"),
        ({"widths": []}, "the list is empty"),
        ({"widths": [0, 2]}, "(0 does not fit)"),
        ({"widths": [2, 5000]}, "from 1 to 4096"),
        ({"widths": [4, 4]}, "4 comes twice"),
        ({"widths": 4}, "`widths` must be a list"),
        ({"epochs": 0}, "a whole number from 1 to 500; got 0; the book's own is epochs=20"),
        ({"epochs": "3.5"}, "got '3.5'"),
        ({"epochs": True}, "got True"),
        ({"epochs": "[" * 9999}, "`epochs` must be"),
        ({"lr": 0}, "`lr` must be a number"),
        ({"lr": "NaN"}, "got 'NaN'"),
        ({"lr": "Infinity"}, "got 'Infinity'"),
        ({"threshold": 95}, "from 0.0 to 1.0"),
        (
            {"dataset": "mnit"},
            "digits, or folder:PATH with a folder of images per class; got 'mnit' (did you mean mnist?)",
        ),
        ({"dataset": False}, "got False"),
    ],
)
def test_what_is_not_allowed_is_refused_by_name(raw: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as refusal:
        parameters.validate("02-capacity", raw)
    assert said in str(refusal.value)
    assert str(refusal.value).startswith(f"`{next(iter(raw))}`")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("raw", "came"), [({"small": 8, "large": "8"}, "'8'"), ({"small": 64}, "64"), ({"large": 24}, "24")]
)
def test_one_width_is_not_compared_with_itself(raw: dict[str, Any], came: str) -> None:
    with pytest.raises(UserError) as refusal:
        parameters.validate("08-robustness", raw)
    assert str(refusal.value) == (
        f"`large` must be a whole number from 1 to 1024; got {came} (that is the width of `small` too; name two "
        "different widths); the book's own is large=64"
    )
    model: Any = parameters.validate("08-robustness", {"small": 64, "large": 24})
    assert (model.small, model.large) == (64, 24)
    with pytest.raises(UserError, match=r"^`small` must be a whole number from 1 to 1024; got 0;[^\n]*$"):
        parameters.validate("08-robustness", {"small": 0, "large": 8})


def test_every_problem_gets_its_own_line() -> None:
    with pytest.raises(UserError) as refusal:
        parameters.validate("02-capacity", {"lr": -1, "widht": "[2]", "epochs": 0})
    lines = str(refusal.value).splitlines()
    assert [line.split("`")[1] for line in lines] == ["widht", "epochs", "lr"]
    assert "did you mean `widths`?" in lines[0]


def test_unknown_chapter_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="no chapter `02-capasity`; did you mean `02-capacity`"):
        parameters.validate("02-capasity", {})


@given(st.sampled_from(["pair", "pairs", "widths", "lr", "epochs"]), st.text(max_size=40))
def test_no_text_does_anything_but_parse_or_be_refused(name: str, text: str) -> None:
    with contextlib.suppress(UserError):
        model = parameters.validate("02-capacity", {name: text})
        assert parameters.validate("02-capacity", model.model_dump()) == model


def test_text_is_never_run_as_code(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        parameters.validate("02-capacity", {"epochs": f"__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()"})
    assert not list(tmp_path.iterdir())


@given(st.integers(1, 500), st.floats(1e-6, 100), st.lists(st.integers(1, 4096), min_size=1, unique=True))
def test_what_is_written_as_text_comes_back_as_the_same_value(epochs: int, lr: float, widths: list[int]) -> None:
    written = {"epochs": str(epochs), "lr": str(lr), "widths": json.dumps(widths)}
    model = parameters.validate("02-capacity", written)
    assert model.model_dump(include={"epochs", "lr", "widths"}) == {
        "epochs": epochs,
        "lr": lr,
        "widths": tuple(widths),
    }


def test_parameters_cannot_be_changed_once_checked() -> None:
    model = parameters.validate("02-capacity", {})
    with pytest.raises(ValueError, match="frozen"):
        model.lr = 0.1


def test_changes_are_told_as_own_value_and_value_now() -> None:
    model = parameters.validate("02-capacity", {"lr": 0.1, "pair": [9, 4], "epochs": 20})
    assert parameters.changed(model) == {"lr": (0.05, 0.1)}


def test_assignments_are_split_at_the_first_equals_sign() -> None:
    assert parameters.parse_assignments(["lr=0.1", " pair = [3, 8] "]) == {"lr": "0.1", "pair": "[3, 8]"}


@pytest.mark.parametrize("text", ["lr", "=3", "lr=", "2x=3", "lr 0.1", ""])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="given as name=value"):
        parameters.parse_assignments([text])


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(UserError, match="`lr` is given twice"):
        parameters.parse_assignments(["lr=1", "lr=2"])


def test_check_reads_the_notebooks_names_and_only_those() -> None:
    model = parameters.check("02-capacity", namespace("02-capacity", lr="1e-2", unrelated=3, In=["unrelated = 3"]))
    assert parameters.changed(model) == {"lr": (0.05, 0.01)}


def test_check_refuses_an_unknown_name_that_papermill_injected() -> None:
    history = ["", "# Parameters\nn_seed = 3\nlr = 0.1\n"]
    with pytest.raises(UserError, match="`n_seed` is not a parameter of chapter 02-capacity; did you mean `n_seeds`"):
        parameters.check("02-capacity", namespace("02-capacity", In=history, n_seed=3))


def test_check_bears_with_the_readers_own_cells() -> None:
    history = ["# Parameters to try\n%timeit 1", "# Parameters\nlr = 0.1", "%matplotlib inline"]
    assert parameters.check("02-capacity", namespace("02-capacity", In=history, lr=0.1)).model_dump()["lr"] == 0.1


def test_check_says_which_parameter_the_notebook_leaves_out() -> None:
    incomplete = namespace("02-capacity")
    del incomplete["epochs"]
    with pytest.raises(UserError, match="`epochs` is not set"):
        parameters.check("02-capacity", incomplete)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_table_has_a_row_of_six_cells_for_each_parameter(chapter: str) -> None:
    rows = parameters.table(chapter).splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == list(parameters.schema(chapter).model_fields)
    assert {row.count(" | ") for row in rows} == {5}


def test_plain_papermill_runs_are_checked_inside_the_notebook(tmp_path: Path) -> None:
    source = notebook(tmp_path / "in.ipynb", parameters.cell("02-capacity"))
    book = nbformat.read(source, as_version=4)
    check = 'from lowcap.notebook import claims, parameters\np = parameters.check("02-capacity", globals())'
    book.cells += [nbformat.v4.new_code_cell(check), nbformat.v4.new_code_cell("p.pair")]
    nbformat.write(book, source)
    run = {"kernel_name": "python3", "progress_bar": False, "cwd": str(tmp_path)}
    altered = {"pair": "[8, 3]", "dataset": "digits"}
    done = papermill.execute_notebook(str(source), str(tmp_path / "out.ipynb"), altered, **run)
    assert done.cells[-1].outputs[0].data["text/plain"] == "(3, 8)"
    assert "pair: [3, 8] (book's own: [4, 9])" in done.cells[-2].outputs[-1].data["text/plain"]
    with pytest.raises(papermill.PapermillExecutionError, match="`pairz` is not a parameter"):
        papermill.execute_notebook(str(source), str(tmp_path / "bad.ipynb"), {"pairz": 1, "dataset": "digits"}, **run)


def note(monkeypatch: pytest.MonkeyPatch, auto: str, **changes: Any) -> str:
    """What `check` shows last, on a dataset that `auto` stands for."""
    shown: list[str] = []
    monkeypatch.setattr(parameters, "show", lambda data: shown.append(data["text/plain"]))
    monkeypatch.setattr(claims, "_resolve", lambda asked: auto if asked == "auto" else asked)
    parameters.check("02-capacity", namespace("02-capacity", **changes))
    assert shown[0].startswith("| parameter |")
    return "\n".join(shown[1:])


def test_a_run_that_is_not_the_books_own_says_so_and_what_its_words_are_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    assert note(monkeypatch, "mnist") == ""
    assert "lr: 0.1 (book's own: 0.05)\nNumbers, figures" in note(monkeypatch, "mnist", lr=0.1)
    assert "data: digits (book's own: MNIST)" in note(monkeypatch, "digits")
    own = note(monkeypatch, "mnist", dataset="fashion-mnist")
    assert 'dataset: "fashion-mnist" (book\'s own: "auto")' in own
    assert "data:" not in own
    assert "classes of fashion-mnist: 0 is T-shirt/top, 1 is Trouser" in own
    assert "believe the numbers" in own


LISTS: dict[str, tuple[str, str, list[Any], list[Any]]] = {  # chapter, parameter, lists that are fine, and that are not
    "Pairs": ("02-capacity", "pairs", [[[4, 9], [3, 8]]], [[4, 9], [[4, 9], [9, 4]], [[1, 2, 3]]]),
    "Widths": ("02-capacity", "widths", [[1], [4096, 2]], [[0], [4097], [2.5], [8, 8]]),
    "Seeds": ("03-magnitude", "seeds", [[0, 2**32 - 1]], [[-1], [2**32], [True], [7, 7]]),
    "Rates": ("01-replay", "grid_lrs", [[1e-9, 100.0]], [[0.0], [100.5], [0.1, 0.1], [float("inf")]]),
    "Penalties": ("10-descent", "penalties", [[1e9, 0.5]], [[0.0], [2e9], [1.0, 1.0]]),
    "Shares": ("06-geometry", "sparsities", [[0.5, 0.25]], [[0.0], [1.0], [0.5, 0.5]]),
    "Hidden": ("09-tickets", "large_hidden", [[300, 300]], [[0], [4097], [2.5]]),
}


@pytest.mark.parametrize(("chapter", "name", "fine", "wrong"), LISTS.values(), ids=list(LISTS))
def test_lists_become_tuples_in_their_order_and_are_refused_when_empty_or_out_of_range(
    chapter: str, name: str, fine: list[Any], wrong: list[Any]
) -> None:
    for value in fine:
        found = getattr(parameters.validate(chapter, {name: value}), name)
        assert type(found) is tuple
        assert found == tuple(tuple(sorted(v)) if isinstance(v, list) else v for v in value)
    for value in [*wrong, [], 3, None, {1: 2}]:
        with pytest.raises(UserError, match=f"^`{name}` must be a list of .*; got .*; the book's own is {name}="):
            parameters.validate(chapter, {name: value})
