"""What a chapter says of its own parameters: a table from the schema, and the commands that run it with others."""

import json
import shlex
from typing import Any

from lowcap.notebook.parameter_types import allowed
from lowcap.notebook.schemas import fast, schema
from lowcap.templates import render

HEADINGS = ("parameter", "book's own", "allowed", "unit", "cost of more", "meaning")
EXAMPLES: dict[str, Any] = {"pair": [3, 8], "pairs": [[3, 8]]}  # what is changed in the example, where it is there


def rows(chapter: str) -> list[list[str]]:
    """A row of plain texts per parameter of the chapter, in the order of `HEADINGS`."""
    found = []
    for name, field in schema(chapter).model_fields.items():
        notes: Any = field.json_schema_extra
        texts = [name, literal(field.default), allowed(field).words, notes["unit"] or "–", notes["cost"]]
        found.append([*texts, str(field.description)])
    return found


def table(chapter: str) -> str:
    """A Markdown table of the chapter's parameters: name, the book's own value, allowed, unit, cost, meaning."""
    lines = [f"| {' | '.join(HEADINGS)} |", "|---|---|---|---|---|---|"]
    for name, own, *others in rows(chapter):
        lines.append(f"| {' | '.join([f'`{name}`', f'`{own}`', *others])} |")
    return "\n".join(lines)


def commands(chapter: str) -> dict[str, str]:
    """How to run the chapter with one parameter changed, exactly as typed: by `lowcap run`, and by plain papermill."""
    name, value = example(chapter)
    return {
        "In a checkout of the book, with an executed notebook and a page of it as the result": shlex.join(
            ["lowcap", "run", chapter, "-p", f"{name}={value}"]
        ),
        "The same as one file that opens without the rest of the book": shlex.join(
            ["lowcap", "run", chapter, "-p", f"{name}={value}", "--html"]
        ),
        "With plain papermill, where the notebook lies": shlex.join(
            ["papermill", f"{chapter}.ipynb", "out.ipynb", "-p", name, value]
        ),
    }


def example(chapter: str) -> tuple[str, str]:
    """A parameter of the chapter and another value than the book's own, as text."""
    fields = schema(chapter).model_fields
    known = [(name, value) for name, value in EXAMPLES.items() if name in fields]
    numbers = [(name, value) for name, value in fast(chapter).items() if isinstance(value, int | float)]
    name, value = [*known, *numbers][0]
    return name, literal(value)


def as_html(chapter: str) -> str:
    """Table and commands, folded away until a reader opens them."""
    return render(
        "notebook/templates/parameter_table.html",
        headings=HEADINGS[:-1],
        rows=rows(chapter),
        commands=commands(chapter),
    )


def as_text(chapter: str) -> str:
    """The same for terminals, and for viewers of notebooks without HTML."""
    return "\n\n".join([table(chapter), *(f"{why}:\n{line}" for why, line in commands(chapter).items())])


def literal(value: Any) -> str:
    """A value as one types it: text bare, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)
