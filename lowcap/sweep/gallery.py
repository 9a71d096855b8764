"""The gallery of a chapter's sweep: one page that needs nothing else, with a card per run."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from PIL import Image

from lowcap.notebook import ledger
from lowcap.sweep.chapters import ChapterRun, read_executed
from lowcap.sweep.store import explained, write

THUMBNAIL = (480, 320)  # pixels, at most
STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 75rem; padding: 1rem; color: #1b1b1b;
  background: #fff; }
main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); }
article { border: 1px solid #767676; border-radius: .4rem; padding: 1rem; min-width: 0; }
article h2 { font-size: 1.1rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
img { width: 100%; height: auto; background: #fff; }
ul { padding-left: 1.2rem; } li { overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
td, th { text-align: left; border-bottom: 1px solid #ccc; padding: .1rem .3rem; overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) { body { color: #eee; background: #161616; } a { color: #8cb4ff; } }
"""


def make(jobs: Sequence[ChapterRun], out: Path) -> Path:
    """Write `index.html` in the folder of the sweep; its path."""
    title = f"Chapter {jobs[0].chapter} over a grid of parameters"
    values = {name: {dict(job.given)[name] for job in jobs} for name, _ in jobs[0].given}
    varied = [name for name, found in values.items() if len(found) > 1] or list(values)
    same = _named({name: next(iter(found)) for name, found in values.items() if name not in varied})
    same = same and f", all with {same}"
    cards = "".join(_card(job, varied, read_executed(job), out.resolve()) for job in jobs)
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>\n'
        f"<body><h1>{escape(title)}</h1><p>{len(jobs)} runs{escape(same)}. "
        f'Their numbers are in <a href="rows.parquet">rows.parquet</a>, a row each.</p>\n'
        f"<main>{cards}</main></body></html>\n"
    )
    with explained(out):
        write(out / "index.html", page.encode())
    return out / "index.html"


def _named(values: Mapping[str, str]) -> str:
    return ", ".join(f"{name} = {text}" for name, text in values.items())


def _card(job: ChapterRun, varied: Sequence[str], notebook: NotebookNode, out: Path) -> str:
    found = ledger.collect([notebook])
    title = _named({name: text for name, text in job.given if name in varied})
    folder = os.path.relpath(job.folder, out)
    verdicts = "".join(
        f'<li><span aria-hidden="true">{ledger.MARKS[claim["verdict"]]}</span> {escape(claim["sentence"])} '
        f"<strong>{escape(claim['verdict'])}</strong></li>"
        for claim in ledger.verdicts(found)
    )
    numbers = "".join(
        f"<tr><th scope='row'>{escape(item['key'])}</th><td>{escape(item['text'])}</td></tr>"
        for item in found
        if "key" in item
    )
    return (
        f"<article><h2>{escape(title)}</h2>{_picture(notebook, title)}"
        f'<p><a href="{escape(folder)}/html/index.html">Page</a> · '
        f'<a href="{escape(folder)}/{escape(job.executed.name)}">notebook</a></p>'
        f"<ul>{verdicts}</ul><details><summary>Recorded numbers</summary><table>{numbers}</table></details></article>\n"
    )


def _picture(notebook: NotebookNode, title: str) -> str:
    """The first figure, small, as part of the page; nothing where there is none."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in (data := output.get("data", {})):
                alt = f"{_alt(cell.metadata)} (with {title})"
                return f'<img alt="{escape(alt)}" src="data:image/png;base64,{_thumbnail(data["image/png"])}">'
    return ""


def _alt(metadata: dict[str, Any]) -> str:
    return str(metadata.get("mystnb", {}).get("image", {}).get("alt", "First figure of the chapter."))


def _thumbnail(png: str) -> str:
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        image.thumbnail(THUMBNAIL)
        small = io.BytesIO()
        image.convert("RGB").save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()
