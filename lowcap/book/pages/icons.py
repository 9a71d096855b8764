"""Icons: of the 1,400 that the theme's fonts and style sheet hold, a site keeps those that it shows."""

import re
from collections.abc import Iterable
from pathlib import Path

from fontTools import subset

FONTS = "_static/vendor/fontawesome/webfonts"
PURE = re.compile(r'([^{}]*)\{content:"\\(f[0-9a-f]+)"\}')  # a rule that is nothing but an icon
CODE = re.compile(r'content:\s*"\\(f[0-9a-f]{3})"')
NAME = re.compile(r"\bfa-([a-z0-9-]+)")


def thin(site: Path) -> None:
    """Cut the icon fonts of the site, and their rules in its style sheets, down to the icons in use."""
    sheets = {path: path.read_text("utf-8") for path in site.glob("_static/**/*.css")}
    texts = [path.read_text("utf-8") for path in (*site.rglob("*.html"), *site.glob("_static/**/*.js"))]
    names = {name for text in texts for name in NAME.findall(text)}
    codes: set[str] = set()
    for path, sheet in sheets.items():
        codes |= {code for rule, code in PURE.findall(sheet) if names & set(NAME.findall(rule))}
        codes |= set(CODE.findall(PURE.sub("", sheet)))
        path.write_text(_renamed(PURE.sub(lambda rule: _kept(rule, names), sheet)), encoding="utf-8")
    for font in (site / FONTS).glob("*.ttf"):
        _subset(font, (int(code, 16) for code in codes))
    for page in site.rglob("*.html"):
        page.write_text(_renamed(page.read_text("utf-8")), encoding="utf-8")
    for old in (site / FONTS).glob("*.woff2"):
        old.unlink()


def _kept(rule: re.Match[str], names: set[str]) -> str:
    found = set(NAME.findall(rule[1]))
    return rule[0] if not found or names & found else ""


def _renamed(text: str) -> str:
    """The text with its addresses of icon fonts in woff2, which only an encoder of Brotli could write, as woff."""
    text = re.sub(r'(fa-\w+-\d+\.woff)2([?\w=.]*)\)\s*format\("woff2"\)', r'\1\2) format("woff")', text)
    return re.sub(r"(fontawesome/webfonts/fa-\w+-\d+\.woff)2", r"\1", text).replace("font/woff2", "font/woff")


def _subset(font: Path, codes: Iterable[int]) -> None:
    options = subset.Options(flavor="woff", layout_features=[], notdef_outline=True)
    with subset.load_font(str(font), options) as small:
        known = set(small.getBestCmap())
        worker = subset.Subsetter(options)
        worker.populate(unicodes=(known & set(codes)) or {min(known)})  # browsers refuse a font without characters
        worker.subset(small)
        subset.save_font(small, str(font.with_suffix(".woff")), options)
