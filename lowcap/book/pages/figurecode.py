"""Sphinx extension: under each figure a link to the folded code that drew it."""

from docutils import nodes
from sphinx.application import Sphinx

LINK = '<a class="figure-code" href="#{target}" aria-label="Code of {figure}">Code</a>'


def link_code(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Give the code of each cell that draws a figure an address, and the figure's caption a link to it.

    The address lies within the fold, so browsers open it by themselves; `reading.js` does so for those that do not.
    """
    numbers = app.env.toc_fignumbers.get(page, {}).get("figure", {})
    for figure in doctree.findall(nodes.figure):
        cell = _around(figure, "cell")
        code = next((part for part in cell.findall(nodes.container) if _is(part, "cell_input")), None) if cell else None
        caption = next(iter(figure.findall(nodes.caption)), None)
        if code is None or caption is None or not figure["ids"]:
            continue
        name = figure["ids"][0]
        label = f"Fig. {'.'.join(map(str, numbers[name]))}" if name in numbers else "this figure"
        code["ids"].append(f"code-{name}")
        link = LINK.format(target=f"code-{name}", figure=label)
        caption += [nodes.Text(" "), nodes.raw("", link, format="html")]


def _around(node: nodes.Node, kind: str) -> nodes.Element | None:
    while node.parent is not None and not _is(node.parent, kind):
        node = node.parent
    return node.parent


def _is(node: nodes.Node, kind: str) -> bool:
    return isinstance(node, nodes.container) and kind in node["classes"]


def setup(app: Sphinx) -> dict[str, object]:
    """Register the links; they come last, when cells are folded and figures numbered."""
    app.connect("doctree-resolved", link_code, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
