"""Explorables on the site: code and data, which notebooks carry in their outputs, go into files of their own."""

import re
from pathlib import Path

from nbformat import NotebookNode

STATIC = Path("book") / "static" / "explorables"
LIBRARY = re.compile(r"<(style|script) data-library>.*?</\1>", re.DOTALL)
BLOB = re.compile(r'<script type="text/plain" data-blob="(\w+)">([^<]*)</script>')


def move(notebook: NotebookNode, stage: Path) -> None:
    """Rewrite the explorables of an executed notebook for the site, in place.

    Code goes (every page loads it, as `_config.yml` says); each blob of data becomes a script in `book/static/`, which
    the page fetches when a reader comes near, and once however many elements show it. Elements meant for the front page
    are written as Markdown to include.
    """
    (stage / STATIC).mkdir(parents=True, exist_ok=True)
    for output in [output for cell in notebook.cells for output in cell.get("outputs", [])]:
        about = output.get("metadata", {}).get("lowcap", {})
        if "explorable" not in about:
            continue
        html = LIBRARY.sub("", output["data"]["text/html"])
        for name, text in BLOB.findall(html):
            (stage / STATIC / f"{name}.js").write_text(f'lowcap.put("{name}", "{text}");\n', encoding="utf-8")
        html = BLOB.sub("", html)
        output["data"]["text/html"] = html
        if about["front"]:
            made = stage / "book" / "_generated" / f"{about['explorable']}.md"
            made.write_text(f"```{{raw}} html\n{html}\n```\n", encoding="utf-8")
