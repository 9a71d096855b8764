"""The gallery of a chapter's sweep: one page that needs nothing else, with a card per run."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from PIL import Image

from lowcap.notebook import ledger
from lowcap.sweep.chapters import ChapterRun, read_executed
from lowcap.sweep.store import explained, write
from lowcap.templates import render

THUMBNAIL = (480, 320)  # pixels, at most


def make(jobs: Sequence[ChapterRun], out: Path) -> Path:
    """Write `index.html` in the folder of the sweep; its path."""
    title = f"Chapter {jobs[0].chapter} over a grid of parameters"
    values = {name: {dict(job.given)[name] for job in jobs} for name, _ in jobs[0].given}
    varied = [name for name, found in values.items() if len(found) > 1] or list(values)
    same = _named({name: next(iter(found)) for name, found in values.items() if name not in varied})
    cards = [_card(job, varied, read_executed(job), out.resolve()) for job in jobs]
    page = render("sweep/templates/gallery.html", title=title, same=same, cards=cards, marks=ledger.MARKS)
    with explained(out):
        write(out / "index.html", page.encode())
    return out / "index.html"


def _named(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {text}" for name, text in values.items())


def _card(job: ChapterRun, varied: Sequence[str], notebook: NotebookNode, out: Path) -> dict[str, Any]:
    found = ledger.collect([notebook])
    return {
        "title": _named({name: text for name, text in job.given if name in varied}),
        "picture": _picture(notebook),
        "folder": os.path.relpath(job.folder, out),
        "notebook": job.executed.name,
        "claims": ledger.verdicts(found),
        "numbers": [item for item in found if "key" in item],
    }


def _picture(notebook: NotebookNode) -> dict[str, str] | None:
    """The first figure, small, with what it shows in words; None where there is none."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in (data := output.get("data", {})):
                return {"alt": _alt(cell.metadata), "png": _thumbnail(data["image/png"])}
    return None


def _alt(metadata: dict[str, Any]) -> str:
    return str(metadata.get("mystnb", {}).get("image", {}).get("alt", "First figure of the chapter."))


def _thumbnail(png: str) -> str:
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        image.thumbnail(THUMBNAIL)
        small = io.BytesIO()
        image.convert("RGB").save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()
