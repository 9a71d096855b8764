"""The paper as a PDF: printed by a real browser from a small book, and by browsers that fail."""

import os
import shutil
import stat
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pypdf
import pytest
import toybook
from browsing import or_fail
from nbformat.v4 import new_code_cell, new_markdown_cell

from lowcap import cli
from lowcap.book.build import Options, build
from lowcap.book.pages import paper, pdf, site
from lowcap.errors import BuildError, UserError

ABOUT = paper.About("Toys & <Nets>", "Ann Toy", "1 May 2026", "Computed on <code>digits</code>.")
DAY = datetime(2026, 5, 1, 12, tzinfo=UTC)
EXPLORABLE = """
from IPython.display import HTML
HTML('<toy-plot class="explorable"><script type="application/json">{"secret": 1}</script>'
     '<div class="x-fallback"><p>A table of widths.</p><table class="dataframe"><tr><td>0.987</td></tr></table></div>'
     '</toy-plot><script>document.title = "never run"</script>')
"""
CHAPTER = [
    new_markdown_cell("See [](fig-line) and [the references](references.md) and <https://example.org/paper>."),
    toybook.figure_cell(),
    new_code_cell("print('shown', 6 * 7)", metadata={"tags": ["hide-input"]}),
    new_code_cell(EXPLORABLE, metadata={"tags": ["hide-input"]}),
    new_markdown_cell("## A second section\n\n" + "Much text about nothing at all. " * 400),
]


@pytest.fixture(scope="module")
def browser():
    try:
        return pdf.find_browser()
    except UserError as error:
        or_fail(str(error))


def made_once(folder):
    """Jupyter Book, whose pages are kept in the folder; from then on a stand-in that gives them again."""
    make = site.make_pages

    def make_pages(stage, work, *, strict=True):
        if not folder.exists():
            shutil.copytree(make(stage, work, strict=strict), folder)
        shutil.rmtree(work / "pages", ignore_errors=True)
        return shutil.copytree(folder, work / "pages" / "_build" / "html")

    return make_pages


@pytest.fixture(scope="module")
def root(tmp_path_factory, browser):
    root = toybook.make(tmp_path_factory.mktemp("paper"), *CHAPTER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "make_pages", made_once(tmp_path_factory.mktemp("pages") / "html"))
        build(root, Options(dataset="digits", pdf=True))
        yield root


@pytest.fixture(scope="module")
def made(root):
    return pypdf.PdfReader(root / "_build" / "html" / pdf.NAME)


@pytest.fixture(scope="module")
def texts(made):
    return [" ".join(page.extract_text().split()) for page in made.pages]


def executable(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def page(folder, name, body):
    (folder / name).write_text(f"<html><body><nav>menu</nav><article>{body}</article></body></html>")


def test_the_pdf_says_who_made_it_when_and_in_which_language(made, root):
    facts = made.metadata
    assert (facts.title, facts.author) == ("Low-Capacity Networks", "The Low-Capacity Networks authors")
    assert facts.creation_date.tzinfo is not None
    catalogue = made.root_object
    assert catalogue["/Lang"] == "en"
    assert catalogue["/MarkInfo"]["/Marked"]
    assert "/StructTreeRoot" in catalogue
    assert str(root) not in (root / "_build/html" / pdf.NAME).read_bytes().decode("latin1")


def test_the_pdf_has_title_contents_and_every_document_in_order(texts):
    assert "Low-Capacity Networks" in texts[0]
    assert "not on MNIST" in texts[0]
    assert "Contents" in texts[1]
    order = ["Overview", "A chapter", "How this copy was made", "References"]
    places = [next(i for i, text in enumerate(texts) if text.startswith(f"{name} Low-Cap")) for name in order]
    assert places == sorted(places)
    assert len(set(places)) == 4


def test_contents_give_the_page_on_which_each_part_starts(texts):
    start = next(i for i, text in enumerate(texts, 1) if "See A line." in text)
    assert f"1 A chapter {start} A second section" in texts[1]
    assert paper.UNKNOWN not in texts[1]
    assert all(f"Low-Capacity Networks {number} " in text for number, text in enumerate(texts, 1) if number > 2)


def test_the_outline_names_parts_and_sections(made):
    def titles(items):
        return [titles(item) if isinstance(item, list) else item.title for item in items]

    flat = str(titles(made.outline))
    for title in ("Contents", "Overview", "A chapter", "A second section", "References"):
        assert f"'{title}'" in flat


def test_links_lead_to_their_places_within_the_pdf_and_to_the_web(made):
    notes = [note.get_object() for page in made.pages for note in page.get("/Annots", [])]
    within = {str(note["/Dest"]).lstrip("/") for note in notes if "/Dest" in note}
    outside = {note["/A"]["/URI"] for note in notes if "/A" in note and "/URI" in note["/A"]}
    assert {"p-01-replay--fig-line", "p-references", "p-01-replay", "overview"} <= within
    assert within <= {name.lstrip("/") for name in made.named_destinations}
    assert "https://example.org/paper" in outside
    assert not [address for address in outside if not address.startswith("https://")]


def test_figures_and_output_are_there_and_hidden_code_is_not(made, texts):
    chapter = " ".join(texts)
    assert "Fig. 1 A line." in chapter
    assert "shown 42" in chapter
    for hidden in ("plt.plot", "6 * 7", "Show code", "Hide code", "secret", "never run"):
        assert hidden not in chapter
    sizes = [image.image.size for page in made.pages for image in page.images]
    assert len(sizes) == 1
    assert min(sizes[0]) > 400


def test_explorables_give_way_to_what_the_run_found(texts):
    (where,) = [text for text in texts if "A table of widths" in text]
    assert paper.INSTEAD in where
    assert "0.987" in where


def test_figures_keep_the_weight_that_they_have_on_the_page(made, root):
    (image,) = [image for page in made.pages for image in page["/Resources"].get("/XObject", {}).values()]
    assert image.get_object()["/ColorSpace"][0] == "/Indexed"
    html = root / "_build" / "html"
    (figure,) = [path for path in (html / "_images").iterdir() if path.suffix in {".png", ".webp"}]
    assert len(image.get_object()._data) < 3 * figure.stat().st_size
    assert (html / pdf.NAME).stat().st_size < 400_000


def test_all_fonts_are_embedded(made):
    fonts = [one.get_object() for page in made.pages for one in page["/Resources"].get("/Font", {}).values()]
    inner = [font["/DescendantFonts"][0].get_object() if "/DescendantFonts" in font else font for font in fonts]
    assert inner
    for font in inner:
        assert font["/Subtype"] == "/Type3" or {"/FontFile2", "/FontFile3"} & set(font["/FontDescriptor"])


def test_the_front_page_and_every_sidebar_link_the_pdf(root):
    html = root / "_build" / "html"
    front, chapter = ((html / "book" / f"{name}.html").read_text() for name in ("index", "01-replay"))
    assert front.count('href="../lowcap.pdf"') == 2
    assert chapter.count('href="../lowcap.pdf"') == 1
    assert 'href="lowcap.pdf"' in (html / "search.html").read_text()
    assert not (html / "paper.html").exists()


def test_the_same_pages_give_the_same_bytes(root, browser, tmp_path):
    shutil.copytree(root / "_build" / "html", tmp_path / "site")
    names = [f"book/{name}" for name in ("index", "01-replay")]
    made = [pdf.make(tmp_path / "site", names, ABOUT, DAY, browser).read_bytes() for _ in range(2)]
    assert made[0] == made[1]
    assert pypdf.PdfReader(tmp_path / "site" / pdf.NAME).metadata.creation_date == DAY


def test_a_browser_that_fails_leaves_the_last_good_book(root, tmp_path):
    before = toybook.published(root)
    broken = executable(tmp_path / "broken", "echo 'no display' >&2; exit 3")
    with pytest.raises(BuildError, match=r"PDF was not made: .*broken ended with code 3: no display"):
        build(root, Options(dataset="digits", pdf=True, browser=broken))
    assert toybook.published(root) == before
    assert (root / "_build" / "html" / pdf.NAME).is_file()


def test_without_the_option_there_is_neither_pdf_nor_link(root):
    build(root, Options(dataset="digits"))
    html = root / "_build" / "html"
    assert not (html / pdf.NAME).exists()
    assert not [page for page in html.rglob("*.html") if "lowcap.pdf" in page.read_text()]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exit 0", "ended with code 0: it said nothing"),
        ('for a; do case $a in --print-to-pdf=*) echo hello > "${a#*=}";; esac; done', "ended with code 0"),
        ('for a; do case $a in --print-to-pdf=*) echo %PDF-1.4 > "${a#*=}";; esac; done', "the browser wrote is none"),
    ],
)
def test_a_browser_that_prints_nothing_is_told(tmp_path, script, told):
    page(tmp_path, "index.html", "<h1>T</h1>")
    with pytest.raises(BuildError, match=told):
        pdf.make(tmp_path, ["index"], ABOUT, DAY, executable(tmp_path / "fake", script))
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "fake"}


def test_a_browser_that_hangs_is_ended_with_its_children(tmp_path):
    script = f"sleep 300 & echo $! > {tmp_path}/child; wait"
    start = time.monotonic()
    with pytest.raises(BuildError, match="took longer than 1 s"):
        pdf.print_page(executable(tmp_path / "slow", script), tmp_path / "x", tmp_path / "y", tmp_path / "z", seconds=1)
    assert time.monotonic() - start < 30
    child = int((tmp_path / "child").read_text())
    for _ in range(50):
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the child is still alive")


def test_a_pdf_that_is_too_large_is_refused(tmp_path, browser, monkeypatch):
    page(tmp_path, "index.html", "<h1>T</h1>")
    monkeypatch.setattr(pdf, "LIMIT", 1000)
    with pytest.raises(BuildError, match=r"the PDF has 0\.0 MB, 0\.001 at most"):
        pdf.make(tmp_path, ["index"], ABOUT, DAY, browser)
    assert not (tmp_path / pdf.NAME).exists()


def test_a_missing_browser_is_the_users_mistake_and_told_before_anything_runs(tmp_path, monkeypatch):
    root = toybook.make(tmp_path / "book", "raise SystemExit")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("LOWCAP_BROWSER", raising=False)
    with pytest.raises(UserError, match=r"--pdf needs a browser.*chromium, .*--browser PATH or in LOWCAP_BROWSER"):
        build(root, Options(dataset="digits", pdf=True))
    assert not (root / "_build").exists()
    for given in ("no-such-browser", str(tmp_path)):
        with pytest.raises(UserError, match=rf"must be a program that can be run; got '{given}'"):
            pdf.find_browser(given)


def test_the_browser_may_be_named_by_option_or_in_the_environment(tmp_path, monkeypatch):
    one, two = (executable(tmp_path / name, "exit 0") for name in ("one", "two"))
    monkeypatch.setenv("LOWCAP_BROWSER", one)
    assert pdf.find_browser() == one
    assert pdf.find_browser(two) == two
    monkeypatch.delenv("LOWCAP_BROWSER")
    monkeypatch.setenv("PATH", str(tmp_path))
    os.link(one, tmp_path / "google-chrome")
    assert pdf.find_browser() == str(tmp_path / "google-chrome")


def test_the_command_line_hands_both_options_on(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr("lowcap.book.build.build", lambda root, options: seen.append((options.pdf, options.browser)))
    monkeypatch.chdir(toybook.make(tmp_path / "book", "1"))
    cli.app(["build", "--pdf", "--browser", "/x/chrome"], standalone_mode=False)
    cli.app(["build"], standalone_mode=False)
    assert seen == [(True, "/x/chrome"), (False, None)]


def test_documents_with_the_same_ids_stay_apart(tmp_path):
    (tmp_path / "book").mkdir()
    same = '<section id="a"><h1>{0}</h1><h2 id="b">S</h2><a href="{1}">go</a> <a href="#b">down</a></section>'
    page(tmp_path, "book/one.html", same.format("One", "02-two.html#b") + '<a href="../results.json">numbers</a>')
    page(tmp_path, "book/02-two.html", same.format("Two <i>&amp;</i> more", "one.html"))
    html = paper.compose(tmp_path, ["book/one", "book/02-two"], ABOUT, {"overview": 7})
    for part in (
        'id="overview--b"',
        'id="p-02-two--b"',
        'href="#p-02-two--b"',
        'href="#overview"',
        'href="#overview--b"',
    ):
        assert html.count(part) >= 1
    assert "results.json" not in html
    assert "numbers" in html
    assert "menu" not in html
    assert "Toys &amp; &lt;Nets&gt;" in html
    assert "<span>7</span>" in html
    assert "<span><b>2</b>Two &amp; more</span>" in html
    assert paper.targets(["book/one", "book/02-two"]) == ["overview", "p-02-two"]


def test_pictures_are_found_from_where_the_paper_lies(tmp_path):
    (tmp_path / "book").mkdir()
    page(tmp_path, "book/one.html", '<figure><a href="../_images/a.png"><img src="../_images/a.png"></a></figure>')
    html = paper.compose(tmp_path, ["book/one"], ABOUT)
    assert 'src="_images/a.png"' in html
    assert "<a><img" not in html
    assert not Path(tmp_path / "paper.html").exists()


def test_what_is_folded_on_a_page_is_open_on_paper_unless_it_is_code(tmp_path):
    (tmp_path / "book").mkdir()
    folded = "<details{}><summary>{}</summary>text</details>"
    page(tmp_path, "book/one.html", folded.format("", "Criterion") + folded.format(' class="hide"', "Show source"))
    html = paper.compose(tmp_path, ["book/one"], ABOUT)
    assert '<details open=""><summary>Criterion</summary>' in html
    assert "Show source" not in html
