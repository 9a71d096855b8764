"""Check the parameters of a chapter, wherever they come from: a notebook, papermill, or the command line.

Values are read as literals and never run as code. What is wrong is said once per parameter, on a line of its own:
the name, what is allowed, what came, and a value that works.
"""

import ast
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from lowcap.errors import UserError
from lowcap.notebook import claims, parameter_table
from lowcap.notebook.claim_box import show
from lowcap.notebook.parameter_table import table
from lowcap.notebook.parameter_types import Parameters, allowed
from lowcap.notebook.schemas import alone, chapters, did_you_mean, fast, schema
from lowcap.templates import render

__all__ = [
    "alone",
    "cell",
    "changed",
    "chapters",
    "check",
    "check_classes_exist",
    "fast",
    "parse_assignments",
    "schema",
    "table",
    "validate",
]  # fmt: skip

ADVICE = (
    "Numbers, figures, tables and verdicts below are those of this run. The words between them, and the descriptions "
    "of figures, were written for the book's own run: where they say more than the numbers do, believe the numbers."
)
INJECTED_FIRST_LINE = "# Parameters"  # the first line of the cell that papermill injects


def validate(chapter: str, raw: Mapping[str, Any]) -> Parameters:
    """The frozen parameters of `chapter`: its own values, with those in `raw` (text or values) in their place.

    Raises UserError with one line for each unknown name and each value that is not allowed.
    """
    fields = schema(chapter).model_fields
    unknown = [_unknown(chapter, name) for name in raw if name not in fields]
    known = {name: _coerce(value, fields[name]) for name, value in raw.items() if name in fields}
    try:
        model = schema(chapter)(**known)
    except ValidationError as error:
        first = {problem["loc"][0]: problem for problem in reversed(error.errors())}
        # A default may be wrong as well, beside a value that came.
        came = {name: raw.get(name, field.default) for name, field in fields.items()}
        wrong = [_refusal(str(name), fields[str(name)], came[str(name)], first[name]) for name in reversed(first)]
        raise UserError("\n".join(unknown + wrong)) from None
    if unknown:
        raise UserError("\n".join(unknown))
    return model


def check(chapter: str, namespace: Mapping[str, Any]) -> Parameters:
    """The parameters of `chapter` as the notebook whose `globals()` are given has set them.

    Names that papermill injected are checked too. Shows the table of the parameters, and which differ from the book's
    own, if any do, and tells `claims` what runs. Raises UserError as `validate` does, when the notebook leaves a
    parameter out, and when the dataset lacks a class that is asked for.
    """
    fields = schema(chapter).model_fields
    missing = [name for name in fields if name not in namespace]
    if missing:
        raise UserError(f"`{missing[0]}` is not set; run the notebook's first code cell, which sets every parameter")
    names = list(fields) + [name for name in _injected(namespace.get("In", ())) if name not in fields]
    model = validate(chapter, {name: namespace.get(name) for name in names})
    changes = changed(model)
    claims.begin(chapter, [name for name in changes if name != "dataset"], namespace["dataset"])
    check_classes_exist(model, claims.dataset())
    show({"text/html": parameter_table.as_html(chapter), "text/plain": parameter_table.as_text(chapter)})
    _show_changes(changes, claims.dataset())
    return model


def check_classes_exist(model: Parameters, dataset: str) -> None:
    """Raises UserError, one line per parameter, when the resolved `dataset` lacks a class that a parameter asks for."""
    from lowcap import tasks  # here, so that a wrong value is refused without torch

    wrong = []
    for name, field in type(model).model_fields.items():
        notes: Any = field.json_schema_extra
        if notes["unit"] not in ("class", "classes"):
            continue
        try:
            tasks.check_there(_flat(getattr(model, name)), dataset, name)
        except UserError as error:
            works = {"list[int]": [0, 1], "list[list[int]]": [[0, 1]]}.get(allowed(field).notebook_type, 0)
            wrong.append(f"{error}; such as {name}={works}")
    if wrong:
        raise UserError("\n".join(wrong))


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """`["lr=0.1", "pair=[3, 8]"]` as a dict of text, to be validated; UserError for anything not `name=value`."""
    parsed: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = (part.strip() for part in assignment.partition("="))
        if not (equals and name.isidentifier() and value):
            raise UserError(f"a parameter is given as name=value, such as lr=0.1; got {assignment!r}")
        if name in parsed:
            raise UserError(f"`{name}` is given twice, as {parsed[name]} and as {value}; give it once")
        parsed[name] = value
    return parsed


def changed(model: Parameters) -> dict[str, tuple[Any, Any]]:
    """Each parameter that differs from the book's own, as (own value, value now); lists as tuples."""
    both = zip(type(model)(), model, strict=True)
    return {name: (own, now) for (name, own), (_, now) in both if own != now}


def cell(chapter: str) -> str:
    """The source of the chapter's `parameters` cell: one literal per line, in the form that papermill can list."""
    return "\n".join(
        f"{name}: {allowed(field).notebook_type} = {field.default!r}  # {field.description}".replace("'", '"')
        for name, field in schema(chapter).model_fields.items()
    )


def _flat(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else [number for item in value for number in _flat(item)]


def _unknown(chapter: str, name: str) -> str:
    shown = name if name.isprintable() else repr(name)
    return f"`{shown}` is not a parameter of chapter {chapter}{did_you_mean(name, schema(chapter).model_fields)}"


def _refusal(name: str, field: FieldInfo, came: Any, problem: ErrorDetails) -> str:
    said = problem.get("ctx", {}).get("error")  # set when a validator of ours said what is wrong
    hint = f" ({said})" if said else f" ({problem['input']!r} does not fit)" if len(problem["loc"]) > 1 else ""
    shown = repr(came) if len(repr(came)) <= 80 else f"{repr(came)[:77]}..."
    return f"`{name}` must be {allowed(field).words}; got {shown}{hint}; the book's own is {name}={field.default}"


def _coerce(raw: Any, field: FieldInfo) -> Any:
    """Text as the literal it spells, also inside lists (YAML reads 1e-3 as text); 100.0 as 100 where that is asked."""
    wanted = allowed(field).notebook_type
    if wanted == "str":
        return raw
    if isinstance(raw, list | tuple):
        return [_coerce(item, field) for item in raw]
    if isinstance(raw, str):
        return _coerce_text(raw, field)
    if isinstance(raw, set | frozenset):
        return repr(raw)  # in no order, and so no list
    if isinstance(raw, float) and "int" in wanted and raw.is_integer():
        return int(raw)
    return raw


def _coerce_text(text: str, field: FieldInfo) -> Any:
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, str) else _coerce(value, field)
    return text


def _injected(history: Iterable[str]) -> list[str]:
    """The names that papermill's injected cells assign, in order; `history` holds the source of every cell run."""
    cells = [source for source in history if source.lstrip().startswith(INJECTED_FIRST_LINE)]
    nodes = [node for source in cells for node in ast.walk(_parsed(source)) if isinstance(node, ast.Name)]
    return list(dict.fromkeys(node.id for node in nodes if isinstance(node.ctx, ast.Store)))


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:  # a cell of the reader's own, with notebook magic in it
        return ast.Module(body=[], type_ignores=[])


def _show_changes(changes: Mapping[str, tuple[Any, Any]], dataset: str) -> None:
    from lowcap import tasks

    names = tasks.class_names(dataset)
    lines = [f"{name}: {json.dumps(now)} (book's own: {json.dumps(own)})" for name, (own, now) in changes.items()]
    if dataset not in ("mnist", changes.get("dataset", ("", ""))[1]):
        lines.append(f"data: {dataset} (book's own: MNIST)")
    if names != tuple(map(str, range(10))):
        lines.append(f"classes of {dataset}: " + ", ".join(f"{i} is {name}" for i, name in enumerate(names)))
    if not lines:
        return
    title = "This run differs from the book's own in these parameters:"
    page = render("notebook/templates/changes.html", title=title, lines=lines, advice=ADVICE)
    show({"text/html": page, "text/plain": "\n".join([title, *lines, ADVICE])})
