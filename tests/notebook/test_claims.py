"""Claims: numbers are recorded once and plainly, verdicts are computed, and the ledger notices when they change."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import papermill
import pytest
import torch
from myst_nb.ext.glue import extract_glue_data_cell

from lowcap.book.pages import ledger_page
from lowcap.errors import BuildError, UserError
from lowcap.notebook import claims, ledger, parameters
from lowcap.notebook.claim_box import Verdict, as_html, as_text

CLAIM = claims.Claim("x", "Small is <enough>.", "Fig. 1 | 2", "F1 above 0.9", "02-capacity", "fig-x", "holds")


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[dict, dict]]]:
    """What a notebook would show, as (data, metadata); no data set is needed, and the record starts empty."""
    outputs: list[tuple[dict, dict]] = []
    monkeypatch.setattr(claims, "show", lambda data, metadata: outputs.append((data, metadata)))
    monkeypatch.setattr(claims, "_resolve", lambda dataset: dataset)
    monkeypatch.setattr(claims, "_run", claims.ChapterRecord())
    return outputs


@pytest.fixture
def one_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (claims, ledger):
        monkeypatch.setattr(module, "catalogue", lambda: {"x": CLAIM})


def executed(*metadata: dict[str, Any]) -> nbformat.NotebookNode:
    """A notebook whose one cell has an output for each `lowcap` metadata."""
    outputs = [nbformat.v4.new_output("display_data", metadata={"lowcap": item}) for item in metadata]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs)])


def run_of_x(*, verdict: str | None, dataset: str = "mnist", changed: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What `collect` would find after a run of the chapter of claim x."""
    own = dataset == "mnist" and not changed
    found: list[dict[str, Any]] = [{"run": {"chapter": "02-capacity", "own": own}}]
    fields = vars(CLAIM) | {"verdict": verdict, "numbers": {"n": "1"}, "own": own}
    return found + ([{"claim": fields}] if verdict else [])


@pytest.mark.parametrize(
    ("value", "fmt", "text"),
    [
        (0.98765, None, "0.988"),
        (0.98765, "{:.1%}", "98.8%"),
        (45, None, "45"),
        ("4 to 6", None, "4 to 6"),
        (np.float32(0.5), None, "0.500"),
        (np.int64(3), None, "3"),
        (np.array(0.25), "{:.2f}", "0.25"),
        (torch.tensor(2.0), "{:.0f}", "2"),
    ],
)
def test_a_number_is_shown_as_formatted_and_kept_plain(shown: list, value: Any, fmt: str | None, text: str) -> None:
    claims.record("a-key", value, fmt)
    data, metadata = shown[0]
    assert data == {"application/papermill.record/text/plain": repr(text)}
    assert metadata["scrapbook"] == {"name": "a-key", "mime_prefix": "application/papermill.record/"}
    assert metadata["lowcap"]["text"] == text
    assert type(metadata["lowcap"]["value"]) in (int, float, str)


def test_recording_the_same_again_shows_nothing_new(shown: list) -> None:
    claims.record("a-key", 0.5)
    claims.record("a-key", np.float64(0.5))
    assert len(shown) == 1


def test_numbers_recorded_together_share_their_format_and_keep_their_order(shown: list) -> None:
    claims.record_all({"b_key": 0.25, "a_key": 2}, "{:.1f}")
    assert [metadata["lowcap"]["key"] for _, metadata in shown] == ["b_key", "a_key"]
    assert [metadata["lowcap"]["text"] for _, metadata in shown] == ["0.2", "2.0"]


def test_a_second_value_under_one_key_is_refused() -> None:
    claims.record("a-key", 0.5)
    with pytest.raises(UserError, match=r"`a-key` is already recorded as 0\.500, now 0\.600"):
        claims.record("a-key", 0.6)


@pytest.mark.parametrize("key", ["A", "a b", "", "é", "a\n"])
def test_a_key_that_glue_would_stumble_over_is_refused(key: str) -> None:
    with pytest.raises(UserError, match="a key is made of a-z"):
        claims.record(key, 1)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "is nan, which says nothing"),
        (np.float32("inf"), "is inf, which says nothing"),
        (np.zeros(2), "must be one number or a text; got ndarray"),
        (True, "got bool"),
        (None, "got NoneType"),
    ],
)
def test_what_is_not_one_finite_number_is_refused(value: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        claims.record("a-key", value)


@pytest.mark.parametrize("fmt", ["{:.3q}", "{:.3f} {}", "{x}", "{"])
def test_a_format_that_does_not_fit_is_refused_by_key(fmt: str) -> None:
    with pytest.raises(UserError, match="`a-key`: the format"):
        claims.record("a-key", 0.5, fmt)


@pytest.mark.parametrize(
    ("holds", "in_part", "verdict"),
    [
        (True, False, "holds"),
        (np.bool_(True), True, "holds"),
        (False, True, "holds in part"),
        (False, False, "does not hold"),
        (None, True, "not tested here"),
    ],
)
@pytest.mark.usefixtures("one_claim")
def test_the_verdict_follows_from_the_evidence(holds: bool | None, in_part: bool, verdict: str) -> None:
    assert claims.judge("x", holds, in_part).verdict == verdict


@pytest.mark.usefixtures("one_claim")
def test_a_verdict_carries_everything_in_its_output(shown: list) -> None:
    claims.begin("02-capacity", [], "mnist")
    claims.record("best_f1", 0.5)
    claims.judge("x", True, numbers=["best_f1"])
    expected = vars(CLAIM) | {
        "verdict": "holds", "numbers": {"best f1": "0.500"}, "own": True, "changed": [], "dataset": "mnist",
    }  # fmt: skip
    assert shown[-1][1] == {"lowcap": {"claim": expected}}
    assert set(shown[-1][0]) == {"text/html", "text/plain"}


@pytest.mark.usefixtures("one_claim")
def test_numbers_are_shown_under_labels_of_their_own(shown: list) -> None:
    claims.record("best_f1", 0.5)
    claims.judge("x", True, numbers={"best of all": "best_f1"})
    assert shown[-1][1]["lowcap"]["claim"]["numbers"] == {"best of all": "0.500"}


@pytest.mark.usefixtures("one_claim")
def test_unknown_claims_and_numbers_are_refused_with_the_nearest_name() -> None:
    claims.record("best-f1", 0.5)
    with pytest.raises(UserError, match="no recorded number `best_f1`; did you mean `best-f1`"):
        claims.judge("x", True, numbers=["best_f1"])
    with pytest.raises(UserError, match="no claim `xx`; did you mean `x`"):
        claims.judge("xx", True)


@pytest.mark.usefixtures("one_claim")
def test_a_claim_of_another_chapter_is_refused() -> None:
    claims.begin("01-replay", [], "mnist")
    with pytest.raises(UserError, match="belongs to chapter 02-capacity, not to 01-replay"):
        claims.judge("x", True)


def test_a_new_run_forgets_the_numbers_of_the_last() -> None:
    claims.begin("01-replay", [], "mnist")
    claims.record("a-key", 1)
    claims.begin("01-replay", ["lr"], "mnist")
    claims.record("a-key", 2)
    assert claims._run.numbers == {"a-key": (2, "2")}


@pytest.mark.parametrize(
    ("changed", "dataset", "own"),
    [([], "mnist", True), (["lr"], "mnist", False), ([], "digits", False), (["lr"], "digits", False)],
)
def test_a_run_is_the_books_own_only_unchanged_and_on_mnist(
    shown: list, changed: list[str], dataset: str, own: bool
) -> None:
    claims.begin("01-replay", changed, dataset)
    run = {"chapter": "01-replay", "changed": changed, "dataset": dataset, "own": own}
    assert shown[0][1]["lowcap"] == {"run": run}
    assert shown[0][1]["scrapbook"]["mime_prefix"] == "application/papermill.record/"
    assert set(shown[0][0]) == {"application/papermill.record/text/plain"}


@pytest.mark.parametrize(
    ("changed", "dataset", "said"),
    [
        ([], "mnist", ""),
        (["lr", "pair"], "mnist", "with other parameters than the book's (lr, pair)."),
        ([], "digits", "on digits instead of MNIST."),
        (["lr"], "digits", "(lr) and on digits instead of MNIST."),
    ],
)
def test_a_verdict_off_the_books_own_settings_says_so(changed: list[str], dataset: str, said: str) -> None:
    verdict = Verdict(CLAIM, "holds", {}, not said, changed, dataset)
    assert ("verdict of this run" in as_text(verdict)) == bool(said)
    assert as_text(verdict).endswith(said or "Verdict: holds")
    assert ("claim__note" in as_html(verdict)) == bool(said)


def test_the_box_escapes_its_text_and_tells_the_verdict_without_colour() -> None:
    box = as_html(Verdict(CLAIM, "does not hold", {"a": "<b>"}, True, [], "mnist"))
    assert 'class="claim claim--does-not-hold"' in box
    assert "Small is &lt;enough&gt;." in box
    assert "<li>a: &lt;b&gt;</li>" in box
    assert "✗" in box
    assert "<strong>does not hold</strong>" in box


def test_the_committed_claims_name_real_chapters_and_figures() -> None:
    assert claims.catalogue()
    for claim in claims.catalogue().values():
        assert claim.chapter in parameters.chapters()
        assert claim.figure.startswith("fig-")


@pytest.mark.parametrize(
    ("entry", "said"),
    [({"sentence": "s"}, "exactly the fields"), ({**vars(CLAIM), "expected": "yes"}, "a verdict is one of")],
)
def test_a_malformed_entry_is_refused_by_name(entry: dict[str, str], said: str) -> None:
    with pytest.raises(BuildError, match=f"claims.toml: `x`.*{said}"):
        ledger.read_claim("x", {key: text for key, text in entry.items() if key != "id"})


def test_what_was_recorded_is_read_back_in_order(tmp_path: Path) -> None:
    plain = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("no outputs")])
    book = executed({"run": {"chapter": "02-capacity"}}, {"key": "n", "value": 3})
    nbformat.write(book, tmp_path / "02-capacity.ipynb")
    found = claims.collect([plain, tmp_path / "02-capacity.ipynb"])
    assert found == [{"run": {"chapter": "02-capacity"}}, {"key": "n", "value": 3}]


@pytest.mark.usefixtures("one_claim")
def test_a_verdict_other_than_expected_is_a_problem() -> None:
    assert claims.check_expected(run_of_x(verdict="holds")) == []
    (problem,) = claims.check_expected(run_of_x(verdict="holds in part"))
    assert "`x` was expected to come out as 'holds', but the run says 'holds in part'" in problem


@pytest.mark.usefixtures("one_claim")
def test_a_claim_that_was_never_judged_is_a_problem() -> None:
    (problem,) = claims.check_expected(run_of_x(verdict=None))
    assert "`x` was expected to come out as 'holds', but was not judged" in problem
    assert claims.check_expected([{"run": {"chapter": "01-replay", "own": True}}]) == []


@pytest.mark.usefixtures("one_claim")
def test_runs_with_other_parameters_or_data_are_not_held_to_the_books_verdicts() -> None:
    assert claims.check_expected(run_of_x(verdict="does not hold", changed=("lr",))) == []
    assert claims.check_expected(run_of_x(verdict="does not hold", dataset="digits")) == []


def test_the_ledger_has_a_row_for_each_judged_claim() -> None:
    rows = ledger_page.ledger_table(run_of_x(verdict="holds") + run_of_x(verdict="does not hold", dataset="digits"))
    found = [line for line in rows.splitlines() if line.startswith("| ")][1:]
    assert [line.split("</details> | ")[1] for line in found] == [
        "Fig. 1 \\| 2 | ✓ holds | {numref}`fig-x` |",
        "Fig. 1 \\| 2 | ✗ does not hold (this run) | {numref}`fig-x` |",
    ]
    assert all('#claim-x">Small is &lt;enough&gt;.</a><details>' in line for line in found)
    assert rows.count("<claim-ledger") == rows.count("</claim-ledger>") == 1
    assert '<option value="Fig. 1 | 2">' in rows


def test_the_score_counts_verdicts_by_source() -> None:
    judged = [("Kumar (2025), Fig. 4", "holds"), ("This book", "holds"), ("Kumar (2025), abstract", "does not hold")]
    found = [{"claim": {"source": source, "verdict": verdict}} for source, verdict in judged]
    assert ledger_page.score_table(found).splitlines() == [
        "| Claims of | ✓ holds | ✗ does not hold |",
        "|---|--:|--:|",
        "| Kumar (2025) | 1 | 1 |",
        "| This book | 1 | 0 |",
        "| **all** | 2 | 1 |",
    ]


def test_a_real_kernel_leaves_numbers_and_verdicts_in_the_notebook(tmp_path: Path) -> None:
    sources = [
        'dataset: str = "digits"\nfrom lowcap.notebook import claims\nclaims.begin("02-capacity", ["lr"], dataset)',
        'claims.record("f1", 0.5)\n_ = claims.judge("capacity-difficulty", None, numbers=["f1"])',
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "in.ipynb")
    papermill.execute_notebook(str(tmp_path / "in.ipynb"), str(tmp_path / "out.ipynb"), progress_bar=False)
    run, number, judged = claims.collect([tmp_path / "out.ipynb"])
    assert run["run"] == {"chapter": "02-capacity", "changed": ["lr"], "dataset": "digits", "own": False}
    assert number == {"chapter": "02-capacity", "key": "f1", "value": 0.5, "text": "0.500"}
    assert judged["claim"]["verdict"] == "not tested here"
    assert judged["claim"]["numbers"] == {"f1": "0.500"}


def test_a_bare_notebook_tells_below_each_cell_what_it_recorded_and_a_page_does_not(tmp_path: Path) -> None:
    """`{glue:text}` shows as its key in JupyterLab; myst-nb leaves out of the page what is marked as a number."""
    cells = [
        "from lowcap.notebook import claims\nclaims.begin('01-replay', [], 'digits')",
        "claims.record('f1', 0.98765)\nclaims.record('pair', '<4-9>')",
        "claims.begin('01-replay', [], 'digits')\nclaims.record('f1', 0.5)\n1",
        "claims.record('f1', 0.5)",
    ]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(made, tmp_path / "in.ipynb")
    done = papermill.execute_notebook(
        tmp_path / "in.ipynb", tmp_path / "out.ipynb", kernel_name="python3", progress_bar=False
    )
    shown = [[o.data for o in cell.outputs if "text/html" in o.data] for cell in done.cells]
    assert [len(outputs) for outputs in shown] == [0, 1, 1, 0]
    assert shown[1][0]["text/html"].endswith("<code>f1</code> 0.988 · <code>pair</code> &lt;4-9&gt;</small>")
    assert shown[2][0]["text/plain"].endswith(": f1 = 0.500")
    for cell in done.cells:
        extract_glue_data_cell(cell)
    assert [[o.output_type for o in cell.outputs] for cell in done.cells] == [[], [], ["execute_result"], []]
