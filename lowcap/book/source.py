"""The book as it lies in the checkout: its configuration, its table of contents, its chapters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lowcap.errors import UserError

CONFIG, TOC = "_config.yml", "_toc.yml"


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice; the plain loader silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {str(key) for key in keys if keys.count(key) > 1}
        if twice:
            problem = f"key given twice: {', '.join(sorted(twice))}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class Book:
    """A checkout's book: root folder, parsed `_config.yml` and `_toc.yml`, and its documents in reading order."""

    root: Path
    config: dict[str, Any]
    toc: dict[str, Any]
    documents: tuple[Path, ...]

    @property
    def chapters(self) -> dict[str, Path]:
        """The notebooks among the documents, by chapter id (the file's stem)."""
        return {path.stem: path for path in self.documents if path.suffix == ".ipynb"}


def find_root(start: Path) -> Path:
    """The nearest folder at or above `start` that holds a book; raises UserError where there is none."""
    for folder in (start, *start.parents):
        if (folder / CONFIG).is_file() and (folder / TOC).is_file():
            return folder
    raise UserError(f"no {CONFIG} and {TOC} in {start} or above it; run this inside a checkout of the book")


def load(root: Path) -> Book:
    """Read the book under `root`; raises UserError for a broken or incomplete `_config.yml` or `_toc.yml`."""
    config, toc = _mapping(root / CONFIG), _mapping(root / TOC)
    names = _entries(toc)
    if not names:
        raise UserError(f"{root / TOC} lists no page; it needs `root:` and `chapters:` with `- file:` entries")
    documents = tuple(_document(root, name) for name in names)
    twice = sorted({str(d.relative_to(root)) for d in documents if documents.count(d) > 1})
    if twice:
        raise UserError(f"{root / TOC} lists a page twice: {', '.join(twice)}; remove one of the entries")
    return Book(root, config, toc, documents)


def _mapping(path: Path) -> dict[str, Any]:
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; restore it from the repository") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold `key: value` lines, got {type(value).__name__}")
    return value


def _entries(node: Any) -> list[str]:
    """Every `root:` and `file:` of a table of contents, in reading order."""
    if isinstance(node, list):
        return [name for item in node for name in _entries(item)]
    if not isinstance(node, dict):
        return []
    own = [str(node[key]) for key in ("root", "file") if key in node]
    return own + [name for value in node.values() for name in _entries(value)]


def _document(root: Path, name: str) -> Path:
    path = root / name
    if not path.resolve().is_relative_to((root / "book").resolve()):
        raise UserError(f"{root / TOC} lists {name!r}; every page must lie in the folder book")
    options = [path] if path.suffix in {".md", ".ipynb"} else [root / f"{name}.ipynb", root / f"{name}.md"]
    for option in options:
        if option.is_file():
            return option
    raise UserError(
        f"{root / TOC} lists {name!r}, but there is no {' or '.join(str(o.name) for o in options)} "
        f"in {path.parent}; add the file or remove the entry"
    )
