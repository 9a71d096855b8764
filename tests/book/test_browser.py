"""The built book in a real browser: every page, wide and narrow, light and dark, over http and from the disk.

The book is built at fast settings on the bundled digits; LOWCAP_SITE names a finished site to look at instead.
Without a browser these tests are skipped, unless LOWCAP_REQUIRE_BROWSER=1.
"""

import functools
import gzip
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from browsing import keep_home

LOOKS = [  # width, colour scheme, where the pages come from; in the first look they are weighed
    (1280, "light", "http"),
    (390, "dark", "file"),
    (1280, "dark", "http"),
    (390, "light", "http"),
]
if not os.environ.get("LOWCAP_SITE"):
    LOOKS = LOOKS[:2]  # of a book that nobody will read, two are enough
HEAVIEST = 700_000  # bytes, compressed
BLIND = "main img:not([alt]), main img[alt=''], main img[alt*='_images/']"


@dataclass
class Visit:
    """What one page showed in one look; `where` names both."""

    page: str
    where: str
    console: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    overflow: int = 0
    blind: int = 0
    maths: int = 0
    bad_maths: int = 0
    axe: list[str] = field(default_factory=list)
    weight: tuple[int, int] | None = None


@pytest.fixture(scope="module")
def visits(browser, site, home):
    """Every page in every look."""
    from axe_playwright_python.sync_playwright import Axe

    axe, base = Axe(), {"http": home, "file": f"file://{site}/"}
    return [
        visit(browser, base[source], page, width, scheme, axe, weighed=number == 0)
        for number, (width, scheme, source) in enumerate(LOOKS)
        for page in pages(site)
    ]


def pages(site):
    """All pages but the one that only forwards to the first."""
    found = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html"))]
    return [page for page in found if not page.startswith("_") and page != "index.html"]


def visit(browser, home, page, width, scheme, axe, *, weighed):
    seen, phone, responses = Visit(page, f"{page} {width} {scheme} {home[:4]}"), width < 500, {}
    looks = {"color_scheme": scheme, "reduced_motion": "reduce", "has_touch": phone, "is_mobile": phone}
    context = browser.new_context(viewport={"width": width, "height": 850}, **looks)
    tab = context.new_page()
    tab.on("console", lambda m: seen.console.append(m.text) if m.type in ("error", "warning") else None)
    tab.on("response", lambda r: seen.console.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    tab.on("response", lambda r: responses.update({r.url.split("?")[0]: r}))
    tab.on("pageerror", lambda error: seen.console.append(str(error)))
    tab.route("**/*", functools.partial(keep_home, home, seen.foreign))
    tab.goto(home + page, wait_until="load")
    wake_explorables(tab)
    if weighed:
        seen.weight = weigh(tab, responses)
    tab.wait_for_timeout(200)  # for what scripts do after loading
    seen.overflow = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    seen.blind = tab.locator(BLIND).count()
    seen.maths = tab.locator("article math").count()
    seen.bad_maths = tab.locator(".math-error, merror").count()
    seen.axe = violations(axe.run(tab, options={"preload": False}).response)
    context.close()
    return seen


def wake_explorables(tab):
    """Go to each explorable, since they fetch their data when the reader comes near, and back to the top."""
    for number in range(tab.locator(".explorable").count()):
        tab.locator(".explorable").nth(number).scroll_into_view_if_needed()
        tab.locator(".explorable").nth(number).and_(tab.locator(".x-live")).wait_for()
    tab.evaluate("scrollTo(0, 0)")


def violations(response):
    """Serious findings of axe, one line each: rule, number of places, the first of them."""
    serious = [found for found in response["violations"] if found["impact"] in ("serious", "critical")]
    return [f"{v['id']} x{len(v['nodes'])}: {v['nodes'][0]['html'][:160]}" for v in serious]


def weigh(tab, responses):
    """Bytes, compressed as hosts send them, of all that a page loads for a reader who scrolls to its end.

    Two numbers: the page, and the data of its explorables, which come only as the reader comes near them.
    """
    tab.evaluate("scrollTo(0, document.body.scrollHeight)")
    tab.wait_for_load_state("networkidle")
    tab.evaluate("scrollTo(0, 0)")
    seen = list(responses.items())  # while bodies are asked for, more may come
    bodies = {url: (response.headers.get("content-type", ""), response.body()) for url, response in seen}
    data = {url for url, (_, body) in bodies.items() if body.startswith(b"lowcap.put(")}
    packed = {
        url: len(body) if kind.startswith(("image/png", "image/webp", "font/")) else len(gzip.compress(body, 9))
        for url, (kind, body) in bodies.items()
    }
    return sum(packed[url] for url in packed.keys() - data), sum(packed[url] for url in data)


def told(visits, name):
    """Where a kind of trouble was seen, and what it was."""
    return [f"{visit.where}: {getattr(visit, name)}" for visit in visits if getattr(visit, name)]


def test_every_page_was_visited_in_every_look(visits, site):
    assert "book/index.html" in pages(site)
    assert len(visits) == len(LOOKS) * len(pages(site))


def test_the_address_of_the_site_leads_to_the_front_page(browser, home):
    with browser.new_context() as context:
        tab = context.new_page()
        tab.goto(home)
        tab.wait_for_url("**/book/index.html")
        assert tab.locator("article h1").is_visible()


def test_no_page_complains_on_the_console(visits):
    assert told(visits, "console") == []


def test_no_page_asks_another_host_for_anything(visits):
    assert told(visits, "foreign") == []


def test_no_page_scrolls_sideways(visits):
    assert told(visits, "overflow") == []


def test_every_image_has_alternative_text(visits):
    assert told(visits, "blind") == []


def has_maths(site, page):
    """Whether the source of a page has $...$ in its text."""
    for path in (site / "_sources" / page).parent.glob(f"{Path(page).stem}.*"):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = json.loads(text)["cells"]
            text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        if re.search(r"(?<![\\$])\$[^$]+\$|\$\$[^$]+\$\$", text):
            return True
    return False


def test_all_mathematics_is_set(visits, site):
    assert told(visits, "bad_maths") == []
    expected = [visit for visit in visits if has_maths(site, visit.page)]
    assert expected
    assert [visit.where for visit in expected if not visit.maths] == []


def test_no_page_is_heavy(visits, site):
    weights = {visit.page: visit.weight for visit in visits if visit.weight}
    assert sorted(weights) == sorted(pages(site))
    assert {page: page_bytes for page, (page_bytes, _) in weights.items() if page_bytes > HEAVIEST} == {}
    assert {page: data for page, (_, data) in weights.items() if data > HEAVIEST} == {}
    assert any(data for _, data in weights.values())


def test_explorables_are_on_the_front_page_and_in_chapters(browser, site):
    for page, names in {
        "index": ["draw-digit"],
        "11-held-up": ["claim-ledger"],
        "02-capacity": ["train-yourself", "draw-digit"],
        "03-magnitude": ["prune-yourself"],
        "06-geometry": ["morph-map"],
        "08-robustness": ["corrupt-it"],
    }.items():
        with browser.new_context(reduced_motion="reduce") as context:
            tab = context.new_page()
            tab.goto(f"file://{site}/book/{page}.html")
            wake_explorables(tab)
            assert [tab.locator(name).count() for name in names] == [1] * len(names)


def test_axe_finds_nothing_serious(visits):
    assert told(visits, "axe") == []


def test_buttons_of_the_theme_work_under_the_policy(browser, home):
    with browser.new_context() as context:
        tab = context.new_page()
        tab.goto(f"{home}book/01-replay.html")
        tab.evaluate("() => { window.print = () => { window.printed = true; } }")
        tab.locator(".btn-download-pdf-button").last.evaluate("button => button.click()")
        assert tab.evaluate("window.printed")
        tab.goto(f"{home}search.html?q=pruning")
        tab.locator("#search-results li").first.wait_for()


def test_training_in_a_worker_runs_under_the_policy(browser, home):
    with browser.new_context() as context:
        tab = context.new_page()
        tab.goto(f"{home}book/02-capacity.html")
        wake_explorables(tab)
        training = tab.locator("train-yourself")
        training.get_by_role("button", name="Train", exact=True).click()
        training.get_by_text(re.compile(r"after \d+ steps F1")).wait_for(state="attached")


def test_a_script_that_stands_in_a_page_does_not_run(browser, home):
    with browser.new_context() as context:
        tab, told = context.new_page(), []
        tab.on("console", lambda message: told.append(message.text))
        tab.goto(f"{home}book/01-replay.html")
        tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\">')")
        tab.wait_for_timeout(300)
        assert tab.evaluate("window.ran") is None
        assert any("Content Security Policy" in text for text in told)


def test_a_reader_without_javascript_gets_text_and_mathematics(browser, site, home):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(f"{home}book/01-replay.html")
    assert tab.locator("article h1").is_visible()
    assert tab.locator("article math").first.is_visible()
    context.close()
