"""The paper as a PDF: printed by Chromium, then made smaller and given its title, authors and day."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf

from lowcap.book.pages import paper
from lowcap.errors import BuildError, UserError

NAME = "lowcap.pdf"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ("--headless", "--disable-gpu", "--disable-extensions", "--disable-background-networking", "--disable-sync",
         "--disable-component-update", "--no-first-run", "--no-default-browser-check", "--force-color-profile=srgb",
         "--no-pdf-header-footer", "--generate-pdf-document-outline")  # fmt: skip
SIDEBAR = re.compile(r'<nav class="bd-links.*?(?=</nav>)', re.DOTALL)
LEAD = re.compile(r'<h1>.*?</h1>(?:\s*<div class="lead\b.*?</div>)?', re.DOTALL)  # the front page's opening
SECONDS = 300.0  # that one print may take
LIMIT = 15_000_000  # bytes


def find_browser(given: str | None = None) -> str:
    """The path of the Chromium or Chrome that prints: `given`, else LOWCAP_BROWSER, else the first one on the PATH.

    Raises UserError where there is none.
    """
    asked = given or os.environ.get("LOWCAP_BROWSER")
    found = next(filter(None, map(shutil.which, [asked] if asked else BROWSERS)), None)
    if found:
        return found
    if asked:
        raise UserError(f"the browser for --pdf must be a program that can be run; got {asked!r}")
    raise UserError(
        f"--pdf needs a browser, and none is on the PATH (looked for {', '.join(BROWSERS)}); install Chromium, or name "
        "one with --browser PATH or in LOWCAP_BROWSER"
    )


def make(site: Path, documents: Sequence[str], about: paper.About, executed: datetime, browser: str) -> Path:
    """Write `lowcap.pdf` into the site, whole or not at all; its path.

    Printed twice: only the first print tells the page numbers for the contents. `executed` is the PDF's own date.
    Raises BuildError when the browser fails, or when the result lacks a document or exceeds `LIMIT` bytes.
    """
    draft = site / "paper.html"
    with tempfile.TemporaryDirectory(prefix="lowcap-pdf-") as folder:
        work = Path(folder)
        try:
            numbers: dict[str, int] = {}
            for name in ("first.pdf", "second.pdf"):
                draft.write_text(paper.compose(site, documents, about, numbers), encoding="utf-8")
                print_page(browser, draft, work / name, work / "profile")
                numbers = page_numbers(work / name)
        finally:
            draft.unlink(missing_ok=True)
        missing = [key for key in paper.targets(documents) if key not in numbers]
        if missing:
            raise BuildError(f"the PDF lacks {', '.join(missing)}; {browser} printed only a part of the paper")
        finish(work / "second.pdf", about, executed)
        size = (work / "second.pdf").stat().st_size
        if size > LIMIT:
            raise BuildError(
                f"the PDF has {size / 1e6:.1f} MB, {LIMIT / 1e6:g} at most are allowed; draw smaller figures"
            )
        shutil.copyfile(work / "second.pdf", site / NAME)
    return site / NAME


def offer(site: Path, made: Path, front: str) -> str:
    """Link the PDF from the front page and from the sidebar of every page; its size in words."""
    with pikepdf.open(made) as pdf:
        size = f"{len(pdf.pages)} pages, {max(made.stat().st_size / 1e6, 0.1):.1f} MB"
    for page in site.rglob("*.html"):
        text, up = page.read_text(encoding="utf-8"), "../" * (len(page.relative_to(site).parts) - 1)
        link = f'<p class="pdf-link"><a href="{up}{NAME}">The paper as a PDF</a> ({size})</p>'
        places = [SIDEBAR, LEAD] if page == site / f"{front}.html" else [SIDEBAR]
        for place in places:
            text = place.sub(rf"\g<0>{link}", text, count=1)
        page.write_text(text, encoding="utf-8")
    return size


def print_page(browser: str, page: Path, pdf: Path, profile: Path, seconds: float = SECONDS) -> None:
    """Have the browser print `page` to `pdf`; raises BuildError with its last words if it does not, or not in time."""
    command = [browser, *FLAGS, f"--user-data-dir={profile}", f"--print-to-pdf={pdf}", page.resolve().as_uri()]
    if os.geteuid() == 0:
        command.insert(1, "--no-sandbox")  # Chromium refuses to run as root with its sandbox
    none, pipe = subprocess.DEVNULL, subprocess.PIPE
    try:
        running = subprocess.Popen(command, stdin=none, stdout=none, stderr=pipe, start_new_session=True)
    except OSError as error:
        raise BuildError(f"the PDF was not made: {browser} cannot be run ({error.strerror})") from None
    with running:
        try:
            _, said = running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise BuildError(f"the PDF was not made: {browser} took longer than {seconds:g} s") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)  # and what it has started
    if running.returncode or not pdf.is_file() or pdf.read_bytes()[:5] != b"%PDF-":
        lines = [line for line in said.decode(errors="replace").splitlines() if line.strip() and "dbus" not in line]
        words = " | ".join(lines[-2:]) or "it said nothing"
        raise BuildError(f"the PDF was not made: {browser} ended with code {running.returncode}: {words}")


def page_numbers(path: Path) -> dict[str, int]:
    """On which page, counted from 1, each target of a link lies; raises BuildError for a file that is no PDF."""
    try:
        pdf = pikepdf.open(path)
    except pikepdf.PdfError as error:
        raise BuildError(f"the PDF was not made: what the browser wrote is none ({error})") from None
    with pdf:
        order = {page.obj.objgen: number for number, page in enumerate(pdf.pages, 1)}
        found = dict(pdf.Root.get("/Dests", {}).items())
        return {name.removeprefix("/"): order[target[0].objgen] for name, target in found.items()}


def finish(path: Path, about: paper.About, executed: datetime) -> None:
    """Give the PDF its title, authors, language and day, figures their palette back, and write it compactly."""
    with pikepdf.open(path, allow_overwriting_input=True) as pdf:
        for image in _images(pdf):
            _lighten(image)
        stamp = f"D:{executed.astimezone(UTC):%Y%m%d%H%M%S}+00'00'"
        own = {"/Title": about.title, "/Author": about.author, "/CreationDate": stamp, "/ModDate": stamp}
        producer = str(pdf.docinfo.get("/Producer", ""))
        for key in list(pdf.docinfo.keys()):
            del pdf.docinfo[key]
        for key, value in (own | {"/Producer": producer, "/Creator": "lowcap"}).items():
            pdf.docinfo[key] = value
        pdf.Root.Lang = pikepdf.String("en")
        pdf.Root.PageMode = pikepdf.Name.UseOutlines
        pdf.Root.ViewerPreferences = pikepdf.Dictionary(DisplayDocTitle=True)
        pdf.remove_unreferenced_resources()
        streams = pikepdf.ObjectStreamMode.generate
        pdf.save(path, deterministic_id=True, object_stream_mode=streams, recompress_flate=True)


def _images(pdf: pikepdf.Pdf) -> Iterator[Any]:
    return (item for item in pdf.objects if isinstance(item, pikepdf.Stream) and item.get("/Subtype") == "/Image")


def _lighten(image: Any) -> None:
    """Store an image of at most 256 colours as what it was before the browser unfolded it: a palette and places."""
    if image.get("/Filter") != "/FlateDecode" or image.get("/BitsPerComponent") != 8 or "/DecodeParms" in image:
        return
    data, size = image.read_bytes(), int(image.Width) * int(image.Height)
    if len(data) != 3 * size:
        return
    rgb = np.frombuffer(data, np.uint8).reshape(size, 3).astype(np.uint32)
    colours, places = np.unique(rgb[:, 0] << 16 | rgb[:, 1] << 8 | rgb[:, 2], return_inverse=True)
    if len(colours) > 256:
        return
    palette = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], 1).astype(np.uint8)
    packed = zlib.compress(places.astype(np.uint8).tobytes(), 9)
    if len(packed) < len(image.read_raw_bytes()):
        base, table = image.get("/ColorSpace", pikepdf.Name.DeviceRGB), pikepdf.String(palette.tobytes())
        image.ColorSpace = pikepdf.Array([pikepdf.Name.Indexed, base, len(colours) - 1, table])
        image.write(packed, filter=pikepdf.Name.FlateDecode)
