"""Executed chapters, kept until something that they depend on changes. One that was damaged since is never used.

A file is named `KEY.CHECKSUM.ipynb`: the key is a hash of all that the chapter depends on, the checksum one of its
content, so that the folder alone tells what is whole.
"""

import hashlib
import json
import platform
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nbformat

from lowcap import dependencies, files
from lowcap.book.execute import Run
from lowcap.files import PACKAGE
from lowcap.provenance import commit_of, machine, versions

KEPT = 24  # executed chapters that stay beside those of the last book


def keep(folder: Path, key: str, notebook: nbformat.NotebookNode) -> Path:
    """Write an executed chapter to the cache, in place of an earlier one with this key; its path."""
    folder.mkdir(exist_ok=True)
    content = nbformat.writes(notebook).encode()
    path = folder / f"{key}.{_checksum(content)}.ipynb"
    files.write(path, content)
    for old in set(folder.glob(f"{key}.*")) - {path}:
        old.unlink()
    return path


def find(folder: Path, key: str) -> Path | None:
    """The executed chapter with this key, if there is one; one that is damaged is deleted, and that is said."""
    for path in folder.glob(f"{key}.*ipynb"):
        if path.name.split(".")[1] == _checksum(path.read_bytes()):
            path.touch()
            return path
        path.unlink()
        print(f"{path} was damaged and is deleted; its chapter must be executed again", file=sys.stderr)
    return None


def tidy(folder: Path, used: Collection[Path]) -> None:
    """Delete what was left half written, and all but some chapters beside those `used` by the last book.

    Files' times decide only which of the others stay, since clocks may be wrong.
    """
    for left in folder.glob(".*.new"):
        left.unlink()
    others = sorted(set(folder.glob("*.ipynb")) - set(used), key=lambda path: path.stat().st_mtime)
    for old in others[: max(len(others) - KEPT, 0)]:
        old.unlink()


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def cache_key(source: Path, parameters: dict[str, Any], identity: dict[str, Any], package: Path = PACKAGE) -> str:
    """Hash of all that an executed chapter depends on: its notebook, what of this package it follows from (code,
    published numbers, claims: see `dependencies`), how it is executed, parameters, data and versions."""
    notebook = nbformat.read(source, as_version=4)
    facts = {
        "notebook": _checksum(source.read_bytes()),
        "code": dependencies.of_chapter(notebook, source.stem, package).facts(),
        "execution": dependencies.meaning("lowcap.book.execute", package),  # alone: the gate looks at every build again
        "parameters": parameters,
        "data": identity,
        "versions": versions(),
        "machine": platform.machine(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def record(run: Run, parameters: dict[str, Any], identity: dict[str, Any], root: Path) -> dict[str, Any]:
    """What is kept about one execution: inside the executed notebook, and in the site's `provenance.json`."""
    commit, dirty = commit_of(root)
    return {
        **run.notebook.metadata.get("lowcap", {}),
        "executed": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(run.seconds, 1),
        "peak_mib": round(run.peak_bytes / 2**20),
        "commit": commit,
        "dirty": dirty,
        "data": identity,
        "parameters": parameters,
        "versions": versions(),
        "machine": machine(),
    }
