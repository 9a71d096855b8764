"""Icons: what the pages show stays in the font, the rest goes."""

import shutil
from pathlib import Path

import pydata_sphinx_theme
import pytest
from fontTools.ttLib import TTFont

from lowcap.book.pages import icons

VENDOR = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static" / "vendor"
SHEET = (
    '@font-face{src:url(../vendor/fontawesome/webfonts/fa-solid-900.woff2) format("woff2")}'
    '.fa-list:before{content:"\\f03a"}.fa-moon:before,.fa-luna:before{content:"\\f186"}'
    '.fa-bomb:before{content:"\\f1e2"}.own:after{content:"\\f107";color:red}'
)


@pytest.fixture
def thinned(tmp_path):
    shutil.copytree(VENDOR / "fontawesome" / "webfonts", tmp_path / icons.FONTS)
    (tmp_path / "_static" / "styles").mkdir()
    (tmp_path / "_static" / "styles" / "theme.css").write_text(SHEET)
    link = '<link rel="preload" type="font/woff2" href="_static/vendor/fontawesome/webfonts/fa-solid-900.woff2">'
    (tmp_path / "index.html").write_text(f'{link}<i class="fa-solid fa-list"></i>')
    (tmp_path / "_static" / "theme.js").write_text('i.className = "fas fa-luna"')
    icons.thin(tmp_path)
    return tmp_path


def test_the_font_keeps_the_icons_of_pages_scripts_and_other_rules(thinned):
    with TTFont(thinned / icons.FONTS / "fa-solid-900.woff") as font:
        assert set(font.getBestCmap()) == {0xF03A, 0xF186, 0xF107}
    assert (thinned / icons.FONTS / "fa-solid-900.woff").stat().st_size < 5000


def test_a_font_of_which_nothing_is_used_stays_a_font(thinned):
    with TTFont(thinned / icons.FONTS / "fa-brands-400.woff") as font:
        assert len(font.getBestCmap()) == 1


def test_rules_of_other_icons_go(thinned):
    sheet = (thinned / "_static" / "styles" / "theme.css").read_text()
    assert "fa-list" in sheet
    assert "fa-moon" in sheet
    assert ".own" in sheet
    assert "bomb" not in sheet


def test_addresses_follow_the_font(thinned):
    sheet, page = (thinned / "_static" / "styles" / "theme.css").read_text(), (thinned / "index.html").read_text()
    assert 'fa-solid-900.woff) format("woff")' in sheet
    assert 'type="font/woff" href="_static/vendor/fontawesome/webfonts/fa-solid-900.woff"' in page
    assert not list(thinned.rglob("*.woff2"))
