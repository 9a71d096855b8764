"""Sphinx extension: mathematics as MathML, made at build time by `latex2mathml`; the page loads nothing for it.

The library is lenient: it drops what it does not know. So what it cannot do is a warning here, and the book's build
turns warnings into failures.
"""

import html
import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html import HTML5Translator

logger = logging.getLogger(__name__)

ALIGNED = re.compile(r"\\(begin|end)\{(?:aligned|split|align|gather|gathered|equation\*?)\*?\}")
ENVIRONMENTS = {"align*", "cases", "matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "array"}
WORD_OPERATOR = re.compile(r"<mo>([A-Za-z]{2,})</mo>")


def to_mathml(tex: str, display: bool = False) -> str:
    """Turn TeX (without dollar signs) into one `<math>` element; raises ValueError for TeX that would be mangled."""
    tex = ALIGNED.sub(r"\\\1{align*}", tex.strip())
    _refuse_unbalanced(tex)
    unknown = set(re.findall(r"\\begin\{([^}]*)\}", tex)) - ENVIRONMENTS
    if unknown:
        raise ValueError(f"environment {', '.join(sorted(unknown))} is not one of {', '.join(sorted(ENVIRONMENTS))}")
    markup = convert(tex, display="block" if display else "inline")
    strange = re.search(r"\\[A-Za-z]+", html.unescape(markup))
    if strange:
        raise ValueError(f"command {strange.group()} is not known to latex2mathml")
    return WORD_OPERATOR.sub(r"<mi>\1</mi>", markup)


def _refuse_unbalanced(tex: str) -> None:
    bare = re.sub(r"\\.", "", tex)
    if bare.count("{") != bare.count("}"):
        raise ValueError(f"{bare.count('{')} opening but {bare.count('}')} closing braces")


def _markup(node: nodes.Element, display: bool) -> str:
    try:
        return to_mathml(node.astext(), display)
    except Exception as error:
        logger.warning("cannot set %r as mathematics: %s", node.astext(), error, location=node)
        return f'<code class="math-error">{html.escape(node.astext())}</code>'


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    """Write inline mathematics."""
    self.body.append(f'<span class="math notranslate nohighlight">{_markup(node, False)}</span>')
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    """Write a displayed equation, with its number and permalink; a wide one scrolls, so it can take the focus."""
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight", tabindex="0"))
    self.body.append(_markup(node, True))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, "Link to this equation")
        self.body.append("</span>")
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, object]:
    """Register the renderer under the name `mathml` (for `html_math_renderer`)."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
