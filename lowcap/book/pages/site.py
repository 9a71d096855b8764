"""From the stage to the site: Jupyter Book with every warning an error, then lighter, checked, and swapped in."""

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from nbformat import NotebookNode
from PIL import Image

from lowcap.book.pages import bootstrap, icons, policy, stylesheets
from lowcap.errors import BuildError
from lowcap.parallel import cores

UNUSED = (
    "**/*.map",
    "_static/locales",
    "_static/vendor/**/*.ttf",
    "_static/sphinx-thebe.*",
    "_static/documentation_options.js.bak",
    ".buildinfo",
    "_static/design-tabs.js.map",
    "_static/*webpack-macros.html",
    "_sphinx_design_static/*.map",
)
EMPTIED = ("_static/scripts/fontawesome.js",)  # 1.5 MB; the icons are drawn from the web fonts
LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
}
LINKED_RELATIONS = {"stylesheet", "icon", "preload", "preconnect", "dns-prefetch", "modulepreload", "prefetch"}
START = """
import os, threading
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()  # with the build, if that is killed
from jupyter_book.cli.main import main  # by its module: the command may lie outside PATH
main()
"""


def make_pages(stage: Path, work: Path, *, strict: bool = True) -> Path:
    """Build the staged book from a clean folder with execution off; the folder of the finished pages.

    `strict` makes every warning an error, unresolved references too. Raises BuildError with the warnings; the full
    log is `work/sphinx.log`.
    """
    out = work / "pages"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-c", START, "build", str(stage), "--path-output", str(out)]
    with _lifeline() as alive:
        done = subprocess.run(
            [*command, *(["-W", "-n", "--keep-going"] if strict else [])],
            stdin=alive,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "ignore"},
        )
    said, log = re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr), work / "sphinx.log"
    log.write_text(said, encoding="utf-8")
    pages = out / "_build" / "html"
    if done.returncode or not (pages / "index.html").is_file():
        raise BuildError(f"the pages were not made: {_complaints(said, stage)} (log: {log})")
    return pages


@contextmanager
def _lifeline() -> Iterator[int]:
    """A file that ends when this process does, even if it is killed: a child that reads it can end then too."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def _complaints(log: str, stage: Path) -> str:
    lines = [line.replace(f"{stage}{os.sep}", "") for line in log.splitlines()]
    found = [line for line in lines if any(word in line for word in ("WARNING", "ERROR", "Error:"))]
    return " | ".join((found or lines[-3:])[:6])


def offer(site: Path, notebooks: Mapping[str, NotebookNode], repository: str | None) -> None:
    """Put the executed chapters in place of those that were made into pages: the ones that readers download.

    They run anywhere: the explorables carry their data, the text has no roles of the site, and the first cell installs
    `lowcap` where it is missing.
    """
    for name, notebook in notebooks.items():
        nbformat.write(
            bootstrap.add(notebook, repository, version("lowcap")), site / "_sources" / "book" / f"{name}.ipynb"
        )


def tidy(site: Path) -> None:
    """Leave out what no page needs, mend roles, and have GitHub Pages serve folders that start with an underscore."""
    icons.thin(site)
    for pattern in UNUSED:
        for path in list(site.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in EMPTIED:
        if (site / name).is_file():
            (site / name).write_text("", encoding="utf-8")
    stylesheets.thin(site)
    figures = list(site.glob("_images/*.png"))
    with ThreadPoolExecutor(cores()) as pool:  # packing pictures takes longest here, and Pillow does it beside Python
        renamed = {figure.name: light for figure, light in zip(figures, pool.map(_lighten, figures), strict=True)}
    for page in site.rglob("*.html"):
        page.write_text(_mended(page.read_text(encoding="utf-8"), renamed), encoding="utf-8")
    policy.apply(site)
    (site / ".nojekyll").touch()


def _lighten(figure: Path) -> str:
    """Give an opaque picture a palette of 256 colours, and a format that packs it well; the name of what is left.

    Together a quarter of its weight, unless that makes it heavier. All browsers of the last years read WebP.
    """
    with Image.open(figure) as picture:
        if picture.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            return figure.name
        palette, packed = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE), io.BytesIO()
    palette.convert("RGB").save(packed, "WEBP", lossless=True, quality=70, method=4)
    if packed.tell() >= figure.stat().st_size:
        return figure.name
    light = figure.with_suffix(".webp")
    light.write_bytes(packed.getvalue())
    figure.unlink()
    return light.name


def _mended(page: str, renamed: Mapping[str, str]) -> str:
    """Give pictures their new names, and entries of the bibliography the role that is expected inside a list."""
    page = re.sub(r"(?<=_images/)[^\"'/?#\s]+", lambda name: renamed.get(name[0], name[0]), page)
    return page.replace('role="doc-biblioentry"', 'role="listitem"')


def check_self_contained(site: Path) -> None:
    """Raise BuildError if a page would load anything from another host, or links to a file, or to a place on a page,
    that is not in the site."""
    pages = {path: _Page(site, path) for path in sorted(site.rglob("*.html"))}
    reasons = [reason for page in pages.values() for reason in page.reasons]
    for page in pages.values():
        reasons += [
            f"{page.name} points to {address}, but there is no such place on that page"
            for target, place, address in page.places
            if target in pages and place not in pages[target].ids
        ]
    if reasons:
        raise BuildError("the site is not self-contained: " + "; ".join(sorted(set(reasons))[:8]))


class _Page(HTMLParser):
    """Reads one page: `reasons` lists what it loads from elsewhere and which of its links lead nowhere.

    `ids` are its own places, `places` those that it links to, as (page, id, address).
    """

    def __init__(self, site: Path, page: Path) -> None:
        super().__init__()
        self.page, self.name = page, page.relative_to(site).as_posix()
        self.reasons, self.ids, self.places = list[str](), set[str](), list[tuple[Path, str, str]]()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        self.ids.add(values.get("id", ""))
        if tag == "a":
            self._check(values.get("href", ""), loads=False)
        elif tag == "link" and LINKED_RELATIONS & set(values.get("rel", "").split()):
            self._check(values.get("href", ""), loads=True)
        elif tag in LOADED:
            self._check(values.get(LOADED[tag], ""), loads=True)

    def _check(self, address: str, *, loads: bool) -> None:
        parts = urlsplit(address)
        if parts.scheme in {"http", "https"} or parts.netloc:
            if loads:
                self.reasons.append(f"{self.name} loads {address}")
            return
        if parts.scheme:
            return
        target = self.page.parent / unquote(parts.path) if parts.path else self.page
        if not target.exists():
            self.reasons.append(f"{self.name} points to {address}, which is not in the site")
        elif parts.fragment not in {"", "top"}:
            self.places.append((Path(os.path.normpath(target)), unquote(parts.fragment), address))


def publish(pages: Path, output: Path, name: str) -> Path:
    """Make `pages` the site at `output/html` in one move, and drop older sites; the address of its first page.

    `output/html` is a symbolic link to `output/sites/NAME`, so a reader sees the old site or the new one, never half.
    """
    sites, link, aside = output / "sites", output / "html", output / ".html.new"
    sites.mkdir(exist_ok=True)
    os.replace(pages, sites / name)
    aside.unlink(missing_ok=True)
    aside.symlink_to(Path("sites") / name, target_is_directory=True)
    if link.is_dir() and not link.is_symlink():
        os.replace(link, sites / "before")
    os.replace(aside, link)
    for old in sites.iterdir():
        if old.name != name:
            shutil.rmtree(old)
    return link / "index.html"
