"""What a chapter or an experiment follows from: the modules that its code imports, by what they mean, and their files.

It is read off the code and nothing is run, so that the answer is the same before a run, after it and on another
machine. Imports count wherever they stand, also inside functions. The gate makes sure that a chapter loads nothing else
(`lowcap.book.gate`): so what has changed runs again, and nothing else does.
"""

from __future__ import annotations

import ast
import hashlib
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

from lowcap.files import PACKAGE, beside

# Files beside the code whose content gets into numbers or outputs, by the module that reads them: the folder inside an
# installed package, the same in a checkout, and which files. They stand here and not in those modules because nothing
# is imported to find them; a test looks for modules that read files and are missing. `claims.toml` is not among them,
# since a chapter follows from its own claims and not from the whole file: see `Dependencies.claims`.
READS = {
    "lowcap.chapters.replay.experiments": ("published", "data/published", ("*.csv",)),
    "lowcap.explorables.elements": ("static", "book/static", ("explorables.css", "explorables/*.js")),
}
TEMPLATES = "lowcap.templates"  # whoever imports it fills templates from the folder `templates` beside itself
CLAIMS = "lowcap.notebook.ledger"  # reads claims.toml
ALL_CLAIMS = "catalogue"  # the function that hands out the claims of all chapters
# The one import by a computed name in a kernel: of the parameters of the chapter that runs, and of no other.
SCHEMAS = "lowcap.notebook.schemas"


@dataclass(frozen=True)
class Dependencies:
    """What some code follows from.

    Attributes:
        modules: file of each module of this package that the code imports, directly or through others.
        sources: the code itself, if it is not a module: one text per cell.
        chapter: the id of the chapter that it is, if it is one.
    """

    modules: Mapping[str, Path]
    sources: tuple[str, ...] = ()
    chapter: str = ""
    package: Path = PACKAGE

    def facts(self) -> dict[str, Any]:
        """Hashes of all of it but `sources`, by name, as JSON can hold them."""
        facts: dict[str, Any] = {name: _parsed(path.read_bytes()).meaning for name, path in self.modules.items()}
        facts |= {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in self._files()}
        return facts | ({"claims": digest(self.claims())} if CLAIMS in self.modules else {})

    def claims(self) -> list[Any]:
        """The entries of `claims.toml` that can show: a chapter's own, and all where it asks for those of others."""
        entries = tomllib.loads((self.package / "claims.toml").read_text("utf-8"))["claims"].items()
        return [entry for entry in entries if self._reads_all_claims() or entry[1].get("chapter") == self.chapter]

    def _reads_all_claims(self) -> bool:
        own = [path for name, path in self.modules.items() if not name.startswith("lowcap.notebook.")]
        texts = [*(text.encode() for text in self.sources), *(path.read_bytes() for path in own)]
        return any(ALL_CLAIMS in _parsed(text).names for text in texts)

    def _files(self) -> Iterator[tuple[str, Path]]:
        for module in sorted(READS.keys() & self.modules.keys()):
            installed, checkout, patterns = READS[module]
            folder = beside(installed, checkout, self.package)
            for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
                yield f"{installed}/{path.relative_to(folder).as_posix()}", path
        filling = [path for path in self.modules.values() if TEMPLATES in _parsed(path.read_bytes()).imports]
        for path in sorted(template for module in filling for template in module.parent.glob("templates/*")):
            yield path.relative_to(self.package).as_posix(), path


def of_modules(*names: str, package: Path = PACKAGE) -> Dependencies:
    """What these modules of the package follow from, themselves among it."""
    return Dependencies(_closure(names, "", package), package=package)


def of_chapter(notebook: Mapping[str, Any], chapter: str, package: Path = PACKAGE) -> Dependencies:
    """What a chapter's notebook, executed or not, follows from besides itself; `chapter` is its id, a file stem."""
    cells = (cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    sources = tuple(map(_as_python, cells))
    imports = [name for text in sources for name in _parsed(text.encode()).imports]
    return Dependencies(_closure(imports, chapter, package), sources, chapter, package)


def meaning(module: str, package: Path = PACKAGE) -> str:
    """A hash of one module alone, without what it imports: comments, docstrings and layout do not count."""
    path = _path(module, package)
    if path is None:
        raise LookupError(f"there is no module {module} in {package}")
    return _parsed(path.read_bytes()).meaning


def digest(value: Any) -> str:
    """A hash of what JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def _closure(names: Iterable[str], chapter: str, package: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    todo = list(names)
    while todo:
        name = todo.pop()
        path = _path(name, package)
        if name in found or path is None:  # known already, or no module: a function, say, or another package
            continue
        found[name] = path
        todo.append(name.rpartition(".")[0])  # Python runs the packages around a module first
        around = name if path.name == "__init__.py" else name.rpartition(".")[0]
        todo += [resolve_name(one, around) for one in _parsed(path.read_bytes()).imports]
        if name == SCHEMAS and chapter:
            todo.append(f"lowcap.chapters.{chapter[3:].replace('-', '_')}.parameters")
    return dict(sorted(found.items()))


def _path(module: str, package: Path) -> Path | None:
    """The file of a module of this package, by its full name."""
    first, *parts = module.split(".")
    place = package.joinpath(*parts)
    options = [place / "__init__.py", *([place.with_name(f"{place.name}.py")] if parts else [])]
    return next((path for path in options if first == "lowcap" and path.is_file()), None)


@dataclass(frozen=True)
class _Parsed:
    meaning: str
    imports: tuple[str, ...]  # modules, and names that may be modules; relative ones with their dots
    names: frozenset[str]  # all that it mentions


@lru_cache(maxsize=1024)
def _parsed(code: bytes) -> _Parsed:
    tree = ast.parse(code)
    imports, names = set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            imports.update([base, *(f"{base.removesuffix('.')}.{alias.name}" for alias in node.names)])
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    _drop_docstrings(tree)
    text = ast.dump(tree, annotate_fields=False)  # has no comments, no layout and no line numbers
    return _Parsed(hashlib.sha256(text.encode()).hexdigest(), tuple(sorted(imports)), frozenset(names))


def _drop_docstrings(tree: ast.Module) -> None:
    """Nothing that is computed or shown in a chapter may depend on `__doc__`; a test looks for it."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if ast.get_docstring(node, clean=False) is not None:
            del node.body[0]


def _as_python(cell: str) -> str:
    """A cell's code, IPython's own commands as Python; nothing for what is neither, which the kernel will refuse."""
    for text in (lambda: cell, lambda: _without_magic(cell)):
        try:
            ast.parse(text())
        except SyntaxError:
            continue
        return text()
    return ""


def _without_magic(cell: str) -> str:
    from IPython.core.inputtransformer2 import TransformerManager  # here, since few cells need it

    return TransformerManager().transform_cell(cell)
