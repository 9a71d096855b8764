"""A page of the site as one file that opens anywhere: styles, fonts, scripts, figures and data inside it."""

import base64
import mimetypes
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import BeautifulSoup, Tag

from lowcap import files
from lowcap.errors import BuildError

URL = re.compile(r"""url\(\s*(["']?)(?!data:|#)([^)"']+)\1\s*\)""")
IMPORT = re.compile(r"""@import\s+(?:url\()?["']?([^"')]+)["']?\)?[^;]*;""")
BLOB = re.compile(r'lowcap\.put\("(\w+)", "([^"]*)"\);')  # as `lowcap.book.pages.assets` writes them
WITHOUT_SITE = ("searchtools.js", "language_data.js", "searchindex.js")  # there is nothing else to search
POLICY = (  # what stands in the file, and nothing else
    "default-src 'none'; script-src 'unsafe-inline' blob:; worker-src blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; font-src data:; base-uri 'none'"
)
KINDS = {".woff2": "font/woff2", ".svg": "image/svg+xml", ".ttf": "font/ttf", ".woff": "font/woff"}


def write(site: Path, page: Path, target: Path) -> Path:
    """Write `page` of the finished `site` as the one file `target`, whole or not at all; its path.

    Links to other pages of the site lose their address. Raises BuildError if something would still be loaded.
    """
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    for policy in soup.select('meta[http-equiv="Content-Security-Policy"]'):
        policy["content"] = POLICY
    _data(soup, site)
    for element in soup.select(".search-button, .search-button-field, .btn-download-source-button"):
        element.decompose()
    for element in soup.select("link, script[src], img[src], source[src], form, a[href]"):
        _inlined(element, page)
    left = [str(tag)[:80] for tag in soup.select("[src], link[href]") if not _inside(tag)]
    if left:
        raise BuildError(f"{target.name} would load {'; '.join(left[:5])}")
    files.write(target, str(soup).encode())
    return target


def _inside(tag: Tag) -> bool:
    return str(tag.get("src") or tag.get("href")).startswith("data:")


def _inlined(element: Tag, page: Path) -> None:
    """Put what the element points to in its place; take it out where it makes no sense without the site."""
    address = str(element.get("href") or element.get("src") or "")
    if element.name == "a":
        _unlink(element, address)
    elif element.name == "form" or Path(urlsplit(address).path).name in WITHOUT_SITE:
        element.decompose()
    elif element.name == "link":
        _link(element, address, page)
    elif element.name == "script":
        _script(element, _file(page, address))
    elif not address.startswith("data:"):
        element["src"] = _as_data(_file(page, address))


def _unlink(element: Tag, address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme in ("http", "https", "mailto") or not parts.path:
        return
    del element["href"]


def _link(element: Tag, address: str, page: Path) -> None:
    kinds = " ".join(element.get("rel") or [])
    if kinds == "stylesheet":
        sheet = _file(page, address)
        for name in list(element.attrs):
            del element[name]
        element.name, element.can_be_empty_element = "style", False
        element.string = _style(sheet)
    elif "icon" in kinds:
        element["href"] = _as_data(_file(page, address))
    else:  # preloads, and the pages before and after
        element.decompose()


def _script(element: Tag, file: Path) -> None:
    """The code itself; a script that was to wait for the page goes to its end."""
    deferred = element.has_attr("defer")
    for name in ("src", "defer", "async"):
        del element[name]
    element.string = re.sub(r"</(script)", r"<\\/\1", file.read_text(encoding="utf-8"), flags=re.IGNORECASE)
    if deferred:
        body = element.find_parents()[-1].select("body")[-1]
        body.append(element.extract())


def _style(file: Path) -> str:
    """A style sheet with the fonts and pictures that it names, and without the sheets that it would import."""
    text = file.read_text(encoding="utf-8")
    text = IMPORT.sub(lambda found: _style(_file(file, found[1])), text)
    return URL.sub(lambda found: f'url("{_as_data(_file(file, found[2]))}")', text)


def _data(soup: BeautifulSoup, site: Path) -> None:
    """The data of the explorables, which a page of the site fetches when a reader comes near; here as in a notebook."""
    body = soup.select("body")[-1]
    for file in sorted(site.glob("_static/explorables/*.js")):
        if found := BLOB.match(file.read_text(encoding="utf-8")):
            script = soup.new_tag("script", attrs={"type": "text/plain", "data-blob": found[1]})
            script.string = found[2]
            body.append(script)


def _file(page: Path, address: str) -> Path:
    return page.parent / unquote(urlsplit(address).path)


def _as_data(file: Path) -> str:
    """A file as a data address; an empty one where the theme names a file that it does not bring."""
    if not file.is_file():
        return "data:,"
    kind = KINDS.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
