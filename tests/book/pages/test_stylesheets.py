"""Style sheets and scripts: what a page can use stays, what none can goes."""

import pytest

from lowcap.book.pages import stylesheets

NAMES = {"used", "card", "w-1/2"}


@pytest.mark.parametrize(
    ("sheet", "left"),
    [
        (".used{a:b}.gone{a:b}", ".used{a:b}"),
        (".gone,.used:hover,.used .gone{a:b}", ".used:hover{a:b}"),
        ("@media print{.gone{a:b}}.used{c:d}", ".used{c:d}"),
        ("@media print{@supports (x:y){.gone{a:b}}}p{c:d}", "p{c:d}"),
        ("@media print{.gone{a:b}.card{c:d}}", "@media print{.card{c:d}}"),
        ("/* .used { */ .gone{a:b}/* } */p{c:d}", "p{c:d}"),
        (".used:not(.gone){a:b}", ".used:not(.gone){a:b}"),
        (":is(.used, .gone) p{a:b}", ":is(.used, .gone) p{a:b}"),
        ("p:is(.gone,.used:not(.gone)) b,.gone{a:b}", "p:is(.gone,.used:not(.gone)) b{a:b}"),
        ('[data-x=".gone"]{a:b}', '[data-x=".gone"]{a:b}'),
        (r".w-1\/2{a:b}.w-3\/4{a:b}", r".w-1\/2{a:b}"),
        ('@import url("x.css");.gone{a:b}', '@import url("x.css");'),
        ("@font-face{src:url(a.woff)}@page{margin:1cm}", "@font-face{src:url(a.woff)}@page{margin:1cm}"),
        ("@keyframes spin{from{a:b}50.5%{a:c}to{a:d}}", "@keyframes spin{from{a:b}50.5%{a:c}to{a:d}}"),
        (".bs-tooltip-top{a:b}.bs-popover-top{a:b}", ".bs-tooltip-top{a:b}"),
        (":root{--x:1;--y:url(a.svg)}", ":root{--x:1;--y:url(a.svg)}"),
    ],
)
def test_rules_for_classes_that_nothing_has_are_dropped(sheet, left):
    assert stylesheets.kept(sheet, NAMES, ("bs-tooltip-",)).strip() == left


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


LOADS = (
    '<script defer src="../_static/scripts/fontawesome.js?digest=1"></script>'
    '<link rel="stylesheet" type="text/css" href="../_static/sphinx-design.min.css?v=1" />'
    '<script data-sd-tabs-storage-prefix="x" src="../_static/design-tabs.js?v=2"></script>'
    '<script src="../_static/searchtools.js"></script><script src="../_static/language_data.js"></script>'
    '<script src="../searchindex.js"></script><script src="../_static/doctools.js"></script>'
)


def test_pages_load_the_search_only_where_it_searches(tmp_path):
    write(tmp_path, book__a_dot_html=LOADS + "<p class='used'>", search_dot_html=LOADS)
    stylesheets.thin(tmp_path)
    assert (
        tmp_path / "book/a.html"
    ).read_text() == '<script src="../_static/doctools.js"></script>' + "<p class='used'>"
    left = (tmp_path / "search.html").read_text()
    assert [name in left for name in ("searchtools", "language_data", "searchindex", "fontawesome")] == [True] * 3 + [
        False
    ]


def test_tabs_and_cards_bring_their_script_and_style_back(tmp_path):
    write(tmp_path, a_dot_html=LOADS, b_dot_html='<div class="sd-card used">')
    stylesheets.thin(tmp_path)
    assert "design-tabs.js" in (tmp_path / "a.html").read_text()
    assert "sphinx-design.min.css" in (tmp_path / "a.html").read_text()


def test_sheets_keep_what_pages_have_and_scripts_name_and_ours_stay_as_written(tmp_path):
    ours = "/* why */ .by-reader { color: red; }"
    write(
        tmp_path,
        a_dot_html='<p class="one two">three</p>',
        _static__x_dot_js='e.classList.add("four"); e.className = "side-" + name',
        _static__styles__theme_dot_css=".one{a:b}.three{a:b}.four{a:b}.side-left{a:b}.five{a:b}",
        _static__lowcap_dot_css=ours,
    )
    stylesheets.thin(tmp_path)
    assert (tmp_path / "_static/styles/theme.css").read_text() == ".one{a:b}.four{a:b}.side-left{a:b}"
    assert (tmp_path / "_static/lowcap.css").read_text() == ours
