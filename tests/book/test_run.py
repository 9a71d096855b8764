"""One chapter with the reader's own parameters."""

import re
import shutil
from contextlib import closing

import nbformat
import pytest
import toybook
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell
from playwright.sync_api import sync_playwright

from lowcap.book.pages import single_file, site
from lowcap.book.run import put_back, run, swap
from lowcap.errors import BuildError
from lowcap.notebook import parameters

USE = "p = parameters.check('01-replay', globals())\nprint('steps', p.steps, 'pairs', p.pairs)"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    given = new_code_cell(parameters.cell("01-replay"), metadata={"tags": ["parameters", "remove-cell"]})
    cells = (given, "from lowcap.notebook import parameters", USE, toybook.figure_cell())
    return toybook.make(tmp_path_factory.mktemp("run") / "root", *cells)


@pytest.fixture(scope="module")
def page(root):
    return run(root, "01-replay", ["steps=7", "pairs=[[3, 8]]", "dataset=digits"], root / "mine")


def test_the_chapter_runs_with_the_altered_parameters(page, root):
    text = (root / "mine" / "html" / "book" / "01-replay.html").read_text()
    assert page == root / "mine" / "html" / "index.html"
    assert "steps 7" in text
    assert "not on MNIST" in text


def test_the_injected_cell_is_hidden_like_the_one_it_overrides(page, root):
    made = nbformat.read(root / "mine" / "01-replay.ipynb", as_version=4)
    injected = next(cell for cell in made.cells if "injected-parameters" in cell.metadata.get("tags", []))
    assert injected.metadata.tags == ["injected-parameters", "remove-cell"]
    assert "# Parameters" not in (root / "mine" / "html" / "book" / "01-replay.html").read_text()


def test_only_the_notebook_and_its_page_are_left(page, root):
    assert sorted(p.name for p in (root / "mine").iterdir() if not p.name.startswith(".")) == [
        "01-replay.ipynb",
        "html",
        "sphinx.log",
    ]


def test_the_earlier_page_goes_only_when_the_new_one_is_in_its_place(tmp_path):
    for name in ("html", "pages"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text(name)
    with pytest.raises(FileNotFoundError):
        swap(tmp_path / "missing", tmp_path / "html")
    assert (tmp_path / "html" / "index.html").read_text() == "html"
    swap(tmp_path / "pages", tmp_path / "html")
    assert [(path.name, path.read_text()) for path in tmp_path.glob("*/*")] == [("index.html", "pages")]


@pytest.mark.parametrize("at", ["html", ".html.before"])
def test_a_swap_that_was_killed_is_undone_by_the_next_run_and_a_finished_one_is_not(tmp_path, at):
    for name in {at, ".html.before"}:
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text(name)
    put_back(tmp_path / "html")
    assert (tmp_path / "html" / "index.html").read_text() == at


def test_a_run_that_fails_keeps_the_earlier_one(page, root):
    source = root / "book" / "01-replay.ipynb"
    good, before = source.read_text(), page.stat().st_mtime
    nbformat.write(toybook.notebook(parameters.cell("01-replay"), "raise OSError('gone')"), source)
    with pytest.raises(BuildError, match="raised OSError: gone"):
        run(root, "01-replay", [], root / "mine")
    source.write_text(good)
    assert page.stat().st_mtime == before
    assert (root / "mine" / "01-replay.ipynb").is_file()


@pytest.fixture(scope="module")
def one_file(root):
    return run(root, "01-replay", ["steps=8", "dataset=digits"], root / "single", one_file=True)


def test_one_file_and_its_notebook_are_all_that_is_left(one_file, root):
    left = sorted(p.name for p in (root / "single").iterdir() if not p.name.startswith("."))
    assert left == ["01-replay.html", "01-replay.ipynb", "sphinx.log"]
    assert one_file == root / "single" / "01-replay.html"


def test_the_one_file_holds_figure_style_and_what_was_changed_and_loads_nothing(one_file):
    text = one_file.read_text()
    soup = BeautifulSoup(text, "html.parser")
    assert "steps: 8 (book's own: 100)" in soup.select_one(".run-note").text
    assert soup.select_one("details.run-howto table")
    assert soup.select_one("figure img, .figure img, img.figure")["src"].startswith("data:image/webp;base64,")
    assert "--orange-mark" in "".join(style.text for style in soup.select("style"))
    assert not soup.select("link[rel=stylesheet], script[src], iframe, form")
    addresses = [tag.get("src") or tag.get("href") for tag in soup.select("[src], link[href]")]
    assert all(address.startswith("data:") for address in addresses)
    assert all(a["href"].startswith(("#", "http")) for a in soup.select("a[href]"))
    assert not re.search(
        r"@import|url\(\s*(?![\"']?(?:data:|#))", "".join(style.text for style in soup.select("style"))
    )


def test_the_one_file_opens_in_a_browser_without_a_request(one_file):
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium or Chrome on this machine")
    with (
        sync_playwright() as playwright,
        closing(playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])) as browser,
    ):
        page, asked, said = browser.new_page(), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(one_file.resolve().as_uri())
        page.wait_for_load_state("networkidle")
        assert page.evaluate("getComputedStyle(document.querySelector('.run-note')).borderLeftWidth") == "5px"
        assert page.evaluate("document.querySelector('main img').naturalWidth") > 100
    assert [url for url in asked if not url.startswith("data:")] == [one_file.resolve().as_uri()]
    assert said == []


def test_scripts_and_styles_with_awkward_text_survive(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "page.css").write_text('@import "sub/more.css"; p { background: url(sub/dot.png) } /* <b> & */')
    (tmp_path / "sub" / "more.css").write_text("@font-face { src: url('font.woff2?v=1') format('woff2') }")
    (tmp_path / "sub" / "dot.png").write_bytes(b"dot")
    (tmp_path / "sub" / "font.woff2").write_bytes(b"font")
    (tmp_path / "late.js").write_text('const tag = "</script>"; if (1 < 2 && 3 > 2) document.title = tag;')
    (tmp_path / "page.html").write_text(
        '<!DOCTYPE html><html><head><link rel="stylesheet" href="page.css"/><link rel="next" href="x.html"/>'
        '<script defer src="late.js"></script></head><body><svg viewBox="0 0 1 1"></svg><p>é &lt; ü</p>'
        '<a href="../other.html#x">other</a><a href="#here">here</a></body></html>'
    )
    text = single_file.write(tmp_path, tmp_path / "page.html", tmp_path / "one.html").read_text()
    assert "@import" not in text
    assert text.count("data:image/png;base64,ZG90") == text.count("data:font/woff2;base64,Zm9udA==") == 1
    assert '"<\\/script>"; if (1 < 2 && 3 > 2)' in text
    assert text.index("<p>é &lt; ü</p>") < text.index("const tag")
    assert '<a>other</a><a href="#here">here</a>' in text
    assert "/* <b> & */" in text


def test_what_would_still_be_loaded_is_an_error_and_leaves_the_earlier_file(tmp_path):
    (tmp_path / "page.html").write_text('<html><body><iframe src="https://example.org"></iframe></body></html>')
    (tmp_path / "one.html").write_text("earlier")
    with pytest.raises(BuildError, match=r"one.html would load .*example.org"):
        single_file.write(tmp_path, tmp_path / "page.html", tmp_path / "one.html")
    assert (tmp_path / "one.html").read_text() == "earlier"


def test_a_warning_on_a_readers_own_data_is_told_and_does_not_lose_the_run(root, capsys, monkeypatch):
    monkeypatch.setattr(site, "make_pages", toybook.quick_pages)
    source = root / "book" / "01-replay.ipynb"
    good = source.read_text()
    warn = "import warnings\nwarnings.warn('no ' + 'positive values')"
    nbformat.write(toybook.notebook(parameters.cell("01-replay"), warn, toybook.figure_cell()), source)
    run(root, "01-replay", ["dataset=digits"], root / "warned")
    source.write_text(good)
    assert "01-replay: code cell 3 warned: " in capsys.readouterr().err
    assert "no positive values" not in (root / "warned" / "html" / "book" / "01-replay.html").read_text()
