"""The real chapters: the whole book at fast settings, and each chapter at settings of a reader's own."""

import html
import json
import re

import nbformat
import pytest
import toybook

from lowcap.book import gate, source
from lowcap.book.execute import execute
from lowcap.notebook import ledger, parameters

QUOTED = re.compile(r"{glue:text}`([a-z0-9_-]+)[:`]")  # from the same chapter

ALTERED = {
    "01-replay": {"pairs": [[3, 8]], "widths": [3, 5], "seeds": [7], "steps": 12, "lr": 0.1, "grid_pair": [2, 7]},
    "02-capacity": {"pair": [3, 8], "pairs": [[3, 8], [1, 7]], "widths": [2, 3], "all_widths": [1, 3], "n_pairs": 4},
    "03-magnitude": {
        "pair": [3, 8],
        "pairs": [[3, 8]],
        "width": 3,
        "seeds": [7],
        "widths": [2],
        "sparsity": 0.6,
        "n_pairs": 2,
    },
    "04-threshold": {"n_seeds": 3, "widths": [3], "tau": 0.05, "ramp_tau": 0.05, "percentile": 0.0, "over": 0.0},
    "05-tracing": {"width": 13, "widths": [4], "n_seeds": 1, "target": 1.0, "loss": 0.0, "shares": [0.3], "digit": 7},
    "06-geometry": {
        "pair": [3, 8],
        "width": 3,
        "seeds": [7],
        "n_seeds": 2,
        "sparsity": 0.6,
        "perplexities": [7.0],
        "k": 100,
    },
    "07-saliency": {
        "pair": [3, 8],
        "study_width": 4,
        "seeds": [7],
        "width": 3,
        "n_seeds": 2,
        "sparsity": 0.6,
        "sparsities": [0.7],
        "top": 0.3,
    },
    "08-robustness": {
        "pair": [3, 8],
        "small": 3,
        "large": 5,
        "widths": [1],
        "seeds": [7],
        "n_splits": 1,
        "n_starts": 2,
        "sigma": 0.2,
        "patch": 5,
        "n_pairs": 2,
        "sparsities": [0.6],
    },
    "11-held-up": {
        "pair": [3, 8],
        "pairs": [[3, 8]],
        "n_pairs": 2,
        "widths": [2, 3],
        "width": 3,
        "other_width": 5,
        "seeds": [7],
        "traced_widths": [9],
        "n_splits": 1,
        "reach": 4,
        "n_draws": 1,
    },
    "09-tickets": {
        "pair": [3, 8],
        "widths": [5],
        "n_seeds": 2,
        "close": 4,
        "rewind_to": 5,
        "noise": 0.0,
        "n_draws": 3,
        "init": "published",
        "large_hidden": [8],
        "blocks": 2,
    },
    "10-descent": {
        "pair": [3, 8],
        "noises": [0.3],
        "penalties": [5.0],
        "widths": [3],
        "wide": [3],
        "trained_seeds": 1,
        "reach": 2,
        "kernel_widths": [5],
        "kernel_seeds": 1,
        "patch_widths": [6],
        "sizes": [40],
    },
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return toybook.fast_book(tmp_path_factory)


def test_the_book_builds_at_fast_settings_with_a_verdict_on_every_claim(site):
    found = json.loads((site / "results.json").read_text())
    assert {claim["id"] for claim in found["claims"]} == set(ledger.catalogue())
    assert set(found["results"]) == set(source.load(toybook.REAL).chapters)


def test_every_page_says_that_it_does_not_show_the_books_own_numbers(site):
    pages = {document.with_suffix(".html").name for document in source.load(toybook.REAL).documents}
    assert pages <= {page.name for page in (site / "book").glob("*.html")}
    for page in (site / "book").glob("*.html"):
        assert "not on MNIST" in page.read_text(), page.name
        assert "Fast settings" in page.read_text(), page.name


def test_the_ledger_and_the_origin_of_the_numbers_are_on_their_pages(site):
    index, last, status = ((site / "book" / f"{n}.html").read_text() for n in ("index", "11-held-up", "status"))
    said = html.unescape(last).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    assert all(claim.criterion[:30] in said for claim in ledger.catalogue().values())
    assert all(claim.source.split(",")[0] in index for claim in ledger.catalogue().values())
    assert all(name in status for name in source.load(toybook.REAL).chapters)


def test_every_chapter_is_tried_at_other_settings_too():
    assert sorted(ALTERED) == parameters.chapters()


@pytest.mark.slow
@pytest.mark.parametrize("chapter", ALTERED)
def test_a_chapter_runs_at_a_readers_own_settings(chapter, tmp_path):
    settings = parameters.fast(chapter) | ALTERED[chapter] | {"dataset": "digits"}
    checked = parameters.validate(chapter, settings).model_dump(mode="json")
    made = execute(toybook.REAL / "book" / f"{chapter}.ipynb", tmp_path, checked, "digits").notebook
    gate.check_executed(chapter, made, injected=True)
    outputs = [output for cell in made.cells for output in cell.get("outputs", [])]
    recorded = {output.metadata["scrapbook"]["name"] for output in outputs if "scrapbook" in output.get("metadata", {})}
    quoted = {key for cell in made.cells for key in QUOTED.findall(cell.source)}
    assert quoted
    assert quoted <= recorded
    assert not list(toybook.empty_tables(made))
    assert all(not claim["own"] for claim in ledger.verdicts(ledger.collect([made])))


@pytest.mark.parametrize("chapter", sorted(ALTERED))
def test_what_is_said_in_words_is_said_of_the_books_own_run_and_there_are_asides(chapter):
    cells = nbformat.read(toybook.REAL / "book" / f"{chapter}.ipynb", as_version=4).cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert "## Verdict\n\nWhat the book's own run shows:\n\n- " in prose
    assert prose.count("```{margin}") >= 3
