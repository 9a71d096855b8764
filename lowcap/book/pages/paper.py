"""The paper: all pages of a site as one document to print, with links that stay within it."""

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from lowcap.templates import render

ROOT, CONTENTS = "overview", "contents"
# What only a screen can use: code that is folded away, anchors, lists of other pages, controls.
LEFT_OUT = ".headerlink, .figure-code, details.hide, .toctree-wrapper, .d-print-none, script, style, button, dialog"
POINTING = ("id", "for", "headers", "aria-labelledby", "aria-describedby", "aria-controls")  # attributes with ids
SHEETS = ("lowcap.css", "explorables.css", "print.css")
INSTEAD = "On the page this is interactive. Here, what the run found stands in its place."
UNKNOWN = "000"  # stands for a page number before the first print


@dataclass(frozen=True)
class About:
    """What the title page says: title, authors, the day of the run, and a note (HTML) on what it ran on."""

    title: str
    author: str
    day: str
    note: str = ""


def compose(site: Path, documents: Sequence[str], about: About, numbers: Mapping[str, int] | None = None) -> str:
    """The HTML of the paper, to be placed in the folder `site`: title page, contents, and all documents in order.

    `documents` are pages without `.html`, relative to the site. `numbers` says on which page of print each target of a
    link lies; without it the contents have a number's room for each.
    """
    names = {f"{name}.html": _key(name, i) for i, name in enumerate(documents)}
    parts = [_part(site, page, names) for page in names]
    return render(
        "book/pages/templates/paper.html",
        about=about,
        sheets=SHEETS,
        headers="".join(_header(part, about.title) for part in parts),
        contents_id=CONTENTS,
        contents=[line for part in parts for line in _contents(part, numbers or {})],
        documents=parts,
    )


def _key(name: str, place: int) -> str:
    """What stands before the ids of a document, so that two documents may use the same."""
    return ROOT if place == 0 else "p-" + re.sub(r"[^\w-]", "-", posixpath.basename(name))


def _part(site: Path, page: str, names: Mapping[str, str]) -> Tag:
    """The text of one page, ready to stand beside those of the others."""
    soup = BeautifulSoup((site / page).read_text(encoding="utf-8"), "html.parser")
    article = soup.select_one("article") or soup.body or soup
    for gone in article.select(LEFT_OUT):
        gone.decompose()
    for cell in article.select("div.cell"):
        if not cell.get_text(strip=True) and not cell.find("img"):
            cell.decompose()
    for shown in article.select(".x-fallback"):
        shown.insert(0, BeautifulSoup(f"<p class='p-instead'>{INSTEAD}</p>", "html.parser"))
    for folded in article.select("details"):
        folded["open"] = ""
    for link in article.select("figure a:has(> img), .explorable a:has(> img)"):
        link.unwrap()
    _address(article, page, names)
    article.name, article["class"], article["id"] = "section", f"p-part p-{names[page]}", names[page]
    heading = article.find("h1")
    if heading and names[page] == ROOT:
        heading.string = "Overview"
    elif heading and (number := re.match(r"p-0*(\d+)-", names[page])):
        heading["data-chapter"] = number[1]
    return article


def _address(article: Tag, page: str, names: Mapping[str, str]) -> None:
    """Give ids and addresses of a page's elements the form that they need in the paper."""
    folder, key = posixpath.dirname(page), names[page]
    for element in article.find_all(True):
        for attribute in POINTING:
            if given := element.get(attribute):
                said = given if isinstance(given, list) else str(given).split()
                element[attribute] = " ".join(f"{key}--{one}" for one in said)
        if "src" in element.attrs and not urlsplit(str(element["src"])).scheme:
            element["src"] = posixpath.normpath(posixpath.join(folder, str(element["src"])))
        if element.name == "a" and "href" in element.attrs:
            _link(element, page, names)


def _link(link: Tag, page: str, names: Mapping[str, str]) -> None:
    """Lead a link to its place in the paper; one to a file that only the site has becomes text."""
    parts = urlsplit(str(link["href"]))
    if parts.scheme or parts.netloc:
        return
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path))) if parts.path else page
    if target in names:
        link["href"] = f"#{names[target]}--{parts.fragment}" if parts.fragment else f"#{names[target]}"
    else:
        del link["href"]


def _contents(part: Tag, numbers: Mapping[str, int]) -> list[dict[str, Any]]:
    """What the contents say of one part: its number and title, then its sections; nothing where it has no title."""
    title = part.find("h1")
    if title is None:
        return []
    sections = [(section.get("id"), section.find("h2", recursive=False)) for section in part.find_all("section")]
    lines = [_line(heading, str(key), numbers) for key, heading in sections if key and heading]
    own = _line(title, str(part["id"]), numbers)
    return [own | {"number": title.get("data-chapter", ""), "sections": lines}]


def _line(heading: Tag, key: str, numbers: Mapping[str, int]) -> dict[str, Any]:
    return {"key": key, "text": heading.get_text(), "page": numbers.get(key, UNKNOWN)}


def _header(part: Tag, title: str) -> str:
    """Style rules that put the part's title at the head of its pages."""
    heading, key = part.find("h1"), part["id"]
    said = _quoted(heading.get_text() if heading else title)
    return f".p-{key}{{page:{key}}}@page {key}{{@top-left{{content:{said}}}@top-right{{content:{_quoted(title)}}}}}"


def _quoted(text: str) -> str:
    """Text as a string of CSS inside HTML."""
    return '"' + re.sub(r'["\\<>&\n]', lambda m: f"\\{ord(m[0]):x} ", text.strip()) + '"'


def targets(documents: Iterable[str]) -> list[str]:
    """The ids at which the documents start in the paper, in order."""
    return [_key(name, i) for i, name in enumerate(documents)]
