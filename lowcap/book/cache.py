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

import lowcap
from lowcap import files
from lowcap.book.execute import Run
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


def cache_key(source: Path, parameters: dict[str, Any], identity: dict[str, Any]) -> str:
    """Hash of all that an executed chapter depends on: its notebook, this package and the published numbers that it
    reads, parameters, data and versions."""
    package = Path(lowcap.__file__).parent
    files = [source, *sorted(package.glob("*.py")), *sorted(package.glob("*.toml")), package / "book" / "execute.py"]
    files += sorted(package.parent.glob("data/published/*.csv"))
    facts = {
        "files": [(file.name, hashlib.sha256(file.read_bytes()).hexdigest()) for file in files],
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
