"""HTML from Jinja2 templates, which lie in a folder `templates` beside the module that fills them.

A name is the path within this package, written out in full: `render("notebook/templates/claim_box.html", ...)`.
Values come out as text, whatever is in them; a template marks those that are HTML already as `safe`.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.ext import Extension
from jinja2.meta import find_referenced_templates

from lowcap.files import PACKAGE

COMMENT_OR_BREAK = re.compile(r"(?P<comment>{#.*?#})|(?<=[>}])[ \t]*\n\s*(?=[<{])", re.DOTALL)


class Joined(Extension):
    """Lines of a template that end and begin with tags are joined, so that its layout puts no white space on the page.

    White space between two tags shows: between buttons as a gap, in a table of Markdown as its end. Where it is
    wanted, it stands within a line.
    """

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """The template's source with such line ends inside comments, where they still count in line numbers."""
        return COMMENT_OR_BREAK.sub(lambda found: found[0] if found["comment"] else f"{{#{found[0]}#}}", source)


@cache
def environment() -> Environment:
    """The settings of all templates. A name that nothing defines is an error; `tojson` writes no more than it must,
    and goes into scripts or single quotes."""
    made = Environment(
        autoescape=True,
        extensions=[Joined],
        loader=FileSystemLoader(PACKAGE),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    return made


def render(name: str, /, **values: Any) -> str:
    """The template `name` filled with `values`.

    Raises:
        jinja2.TemplateNotFound: there is no such file in the package.
        jinja2.UndefinedError: the template uses a value that was not given.
    """
    return environment().get_template(name).render(values)


def files(name: str) -> list[Path]:
    """The file of a template and those of all that it extends, includes and imports: what its HTML depends on."""
    found, left = dict[str, None](), [name]
    while left:
        if (one := left.pop()) not in found:
            found[one] = None
            parsed = environment().parse((PACKAGE / one).read_text("utf-8"))
            left += [other for other in find_referenced_templates(parsed) if other]
    return [PACKAGE / one for one in sorted(found)]
