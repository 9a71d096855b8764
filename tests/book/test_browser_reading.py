"""What makes the pages a book, in a real browser: code behind figures, words, notes, downloads, search, phones."""

import json
from contextlib import contextmanager

import nbformat
import pytest

from lowcap.book import source
from lowcap.book.pages import bootstrap, reading

CHAPTER, FIGURE = "02-capacity", "fig-convergence"
PHONE = {"viewport": {"width": 390, "height": 800}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}
WIDE = {"viewport": {"width": 1280, "height": 900}}


@contextmanager
def opened(browser, address, **look):
    """The page at the address, quiet: nothing on the console but what the theme tells of itself."""
    said = []
    with browser.new_context(reduced_motion="reduce", **look) as context:
        tab = context.new_page()
        tab.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(address)
        yield tab
    assert said == []


@pytest.fixture(scope="module", params=["http", "file"])
def base(request, site, home):
    """The address of the book's folder, over http and from the disk."""
    return f"{home}book/" if request.param == "http" else f"file://{site}/book/"


def in_view(tab, selector):
    box = tab.locator(selector).bounding_box()
    return box["y"] + box["height"] > 0 and box["y"] < tab.viewport_size["height"]


@pytest.mark.parametrize("script", [True, False])
def test_a_figure_leads_to_its_code_by_keyboard_and_without_javascript(browser, base, script):
    with opened(browser, f"{base}{CHAPTER}.html", java_script_enabled=script) as tab:
        link = tab.locator(f"#{FIGURE} a.figure-code")
        assert link.get_attribute("aria-label").startswith("Code of Fig. ")
        fold = tab.locator(f"details:has(#code-{FIGURE})")
        assert fold.get_attribute("open") is None
        link.focus()
        tab.keyboard.press("Enter")
        fold.locator(".cell_input").wait_for(state="visible")
        assert tab.url.endswith(f"#code-{FIGURE}")
        assert "plt.show()" in fold.inner_text()
        if script:
            tab.wait_for_timeout(300)
            assert in_view(tab, f"details:has(#code-{FIGURE}) > summary")
            assert tab.evaluate("document.activeElement.localName") == "summary"
            tab.keyboard.press("Enter")  # closes it; the same link opens it again
            assert fold.get_attribute("open") is None
            link.click()
            assert fold.get_attribute("open") is not None


def test_the_code_opens_where_the_browser_would_not_do_so(browser, home):
    with opened(browser, f"{home}book/{CHAPTER}.html#code-{FIGURE}") as tab:
        fold = tab.locator(f"details:has(#code-{FIGURE})")
        fold.evaluate("e => { e.open = false }")
        tab.evaluate("openCode()")
        assert fold.get_attribute("open") is not None
        tab.evaluate("location.hash = '#code-no-such'")  # and an address without a place does no harm


def test_every_figure_leads_to_code(browser, site, home):
    chapters = source.load(reading_root()).chapters
    assert chapters
    for page in (site / "book" / f"{chapter}.html" for chapter in chapters):
        with opened(browser, f"{home}book/{page.name}") as tab:
            figures = tab.locator("figure:has(figcaption .caption-number)").count()
            assert figures > 0
            assert tab.locator("figure .figure-code").count() == figures, page.name


def test_words_lead_to_the_glossary_and_look_like_words(browser, base):
    with opened(browser, f"{base}{CHAPTER}.html", **WIDE) as tab:
        link = tab.locator("article a:has(> .std-term)").first
        assert link.evaluate("e => getComputedStyle(e).color") == tab.locator("article p").nth(3).evaluate(
            "e => getComputedStyle(e).color"
        )
        link.click()
        tab.wait_for_url("**/glossary.html#term-*")
        assert tab.locator("dt:target").is_visible()


def test_the_download_is_the_executed_chapter(browser, home):
    with opened(browser, f"{home}book/{CHAPTER}.html") as tab:
        address = tab.locator(".overview a[download]").evaluate("e => e.href")
        assert address == tab.locator(".btn-download-source-button").evaluate("e => e.href")
    with browser.new_context(accept_downloads=True) as context:
        tab = context.new_page()
        tab.goto(f"{home}book/{CHAPTER}.html")
        with tab.expect_download() as waiting:
            tab.locator(".overview a[download]").click()
        chapter = nbformat.read(waiting.value.path(), as_version=4)
    text = json.dumps(chapter)
    assert "{term}" not in text
    assert "data-library" in text  # explorables with their code: they work in JupyterLab
    executed = [cell for cell in chapter.cells if cell.cell_type == "code" and cell.id != bootstrap.ID]
    assert all(cell.get("execution_count") for cell in executed)
    assert any("image/png" in out.get("data", {}) for cell in chapter.cells for out in cell.get("outputs", []))


def test_previous_and_next_walk_through_the_whole_book(browser, base, site):
    pages = [f"{path.stem}.html" for path in source.load(reading_root()).documents]
    with opened(browser, f"{base}index.html") as tab:
        for page in pages[1:]:
            tab.locator("a.right-next").click()
            tab.wait_for_url(f"**/{page}")
        tab.locator("a.left-prev").click()
        tab.wait_for_url(f"**/{pages[-2]}")


def reading_root():
    return source.find_root(source.Path(__file__).parent)


def test_search_finds_a_chapter(browser, base):
    with opened(browser, f"{base}../search.html?q=perceptron") as tab:
        tab.locator("#search-results li a", has_text="Capacity").wait_for(timeout=15000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_on_a_phone_have_readable_text_and_scroll_in_their_frame(browser, home, scheme):
    with opened(browser, f"{home}book/{CHAPTER}.html", color_scheme=scheme, **PHONE) as tab:
        for number in range(tab.locator("figure img").count()):
            picture = tab.locator("figure img").nth(number)
            assert (
                picture.evaluate("e => e.clientWidth") >= 8 * 70
            )  # figures are 8 inches wide: text of 11 pt is 10.7 px
            frame = picture.locator("xpath=..")
            assert frame.evaluate("e => e.scrollWidth - e.clientWidth") > 150
            assert frame.evaluate("e => e.href.endsWith('.webp')")
        frame.focus()
        tab.keyboard.press("ArrowRight")
        tab.wait_for_function("e => e.scrollLeft > 0", arg=frame.element_handle())
        assert tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        hint = "getComputedStyle(e, '::before').content"
        assert "swipe" in tab.locator("figure > a + figcaption").first.evaluate(f"e => {hint}")
    with opened(browser, f"{home}book/{CHAPTER}.html", **WIDE) as tab:
        assert "swipe" not in tab.locator("figure > a + figcaption").first.evaluate(f"e => {hint}")


def test_margin_notes_stand_beside_the_text_or_on_a_phone_within_it(browser, home):
    with opened(browser, f"{home}book/{CHAPTER}.html", **WIDE) as tab:
        notes, text = tab.locator("aside.margin"), tab.locator("article section > p").first.bounding_box()
        assert notes.count() >= 2
        for number in range(notes.count()):
            box = notes.nth(number).bounding_box()
            assert box["x"] >= text["x"] + text["width"]
            assert box["x"] + box["width"] <= 1280
    with opened(browser, f"{home}book/{CHAPTER}.html", **PHONE) as tab:
        notes = tab.locator("aside.margin")
        for number in range(notes.count()):
            box = notes.nth(number).bounding_box()
            assert 250 < box["width"] <= 390 - 2 * box["x"] + 1


def test_the_front_page_has_findings_to_scan_and_a_citation_to_copy(browser, base):
    with opened(browser, f"{base}index.html", permissions=["clipboard-read", "clipboard-write"], **WIDE) as tab:
        findings = tab.locator(".finding")
        assert findings.count() >= 10
        for number in range(findings.count()):
            finding = findings.nth(number)
            assert finding.locator(".finding-number strong").inner_text()
            assert finding.locator(".finding-text > p > strong:first-child").inner_text()
            assert finding.locator("a", has_text="Chapter").count() == 1
        block = tab.locator(".highlight-bibtex")
        assert block.locator("pre").inner_text().startswith("@misc{")
        block.hover()
        block.locator("button.copybtn").click()
        tab.locator(".highlight-bibtex button.success").wait_for()


def test_glossary_and_stylesheets_are_small_and_the_script_too(site):
    assert (site / "_static" / "reading.js").stat().st_size < 2000
    assert (site / "book" / "glossary.html").stat().st_size < 120_000
    assert reading.glossary_terms(reading_root())
