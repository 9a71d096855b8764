"""Where a chapter's numbers come from: what its cache key covers, and what the status page shows."""

import hashlib
import json
import platform
import re
import subprocess
from collections import Counter
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

import lowcap
from lowcap.book.drift import TOLERANCE
from lowcap.book.execute import Run
from lowcap.training import cores

REPEATED = ("seeds", "starts", "splits", "draws")
PACKAGES = (
    "captum",
    "ipykernel",
    "matplotlib",
    "nbclient",
    "numpy",
    "pandas",
    "papermill",
    "pydantic",
    "safetensors",
    "scikit-learn",
    "scipy",
    "seaborn",
    "torch",
    "torchvision",
)
AGAIN = (
    "On the same machine, with these versions, every number comes out the same to its last digit, measured times "
    "apart. On another machine, or with another number of threads, it may move by "
    f"{TOLERANCE:g} (of 1, or of itself where it is larger); `lowcap drift` compares two builds."
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number or a figure."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def machine() -> dict[str, Any]:
    """What computes: the processor's name, its cores that may be used, memory in GiB, and the system."""
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.is_file() else None
    return {
        "processor": named[1] if named else platform.processor() or platform.machine(),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
    }


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


def commit_of(root: Path) -> tuple[str | None, bool]:
    """The checkout's commit and whether tracked files differ from it; `(None, False)` where there is no git."""
    commit = _git(root, "rev-parse", "HEAD")
    return commit, bool(commit and _git(root, "status", "--porcelain", "--untracked-files=no"))


def remote_of(root: Path) -> str | None:
    """The address of the checkout's remote `origin`, if it has one."""
    return _git(root, "config", "--get", "remote.origin.url")


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None


def status_page(chapters: dict[str, dict[str, Any]]) -> str:
    """Markdown for the status page: a row per chapter, then the data, the parameters and the versions."""
    rows = ["| chapter | executed (UTC) | run time | peak memory | commit |", "|---|---|--:|--:|---|"]
    rows += [
        f"| []({name}.ipynb) | {_when(entry)} | {entry['seconds']:.0f} s | {entry['peak_mib']} MiB | {_commit(entry)} |"
        for name, entry in chapters.items()
    ]
    return "\n".join([*rows, "", *_data(chapters), "", *_parameters(chapters), "", *_versions(chapters), AGAIN, ""])


def evidence(chapters: dict[str, dict[str, Any]], judged: Counter[str]) -> str:
    """Markdown for what the verdicts rest on: a row per chapter with the repetitions in it, its run time and memory.

    `judged` counts the claims of each chapter. What is repeated is told from the parameters' names.
    """
    rows = ["| chapter | claims | repetitions | run time | memory |", "|---|--:|---|--:|--:|"]
    rows += [
        f"| []({name}.ipynb) | {judged[name]} | {_repetitions(entry['parameters'])} | {entry['seconds']:.0f} s "
        f"| {entry['peak_mib'] / 1024:.1f} GiB |"
        for name, entry in chapters.items()
    ]
    total = sum(entry["seconds"] for entry in chapters.values())
    made = {
        f"{on['cores']} cores of {on['processor']} with {on['memory_gib']} GiB of memory under {on['system']}"
        for on in (entry.get("machine") for entry in chapters.values())
        if on
    }
    where = f" on {' and on '.join(sorted(made))}" if made else ""
    return "\n".join([*rows, "", f"Together the chapters ran for {total / 60:.0f} minutes{where}.", ""])


def _repetitions(parameters: dict[str, Any]) -> str:
    """`n_seeds` 10, `seeds` 3: the parameters that say how often something is repeated, a list by its length."""
    named = {key: value for key, value in parameters.items() if key.endswith(REPEATED)}
    counts = {key: len(value) if isinstance(value, list) else value for key, value in named.items()}
    return ", ".join(f"`{key}` {count}" for key, count in counts.items())


def _when(entry: dict[str, Any]) -> str:
    return str(entry["executed"])[:16].replace("T", " ")


def _commit(entry: dict[str, Any]) -> str:
    return f"`{entry['commit'][:10]}`{' + local changes' if entry['dirty'] else ''}" if entry["commit"] else "unknown"


def _data(chapters: dict[str, dict[str, Any]]) -> list[str]:
    lines = ["## Data", ""]
    for identity in {json.dumps(entry["data"], sort_keys=True): entry["data"] for entry in chapters.values()}.values():
        counts = f"{identity['n_train']:,} training and {identity['n_test']:,} test images"
        lines += [f"The dataset is {identity['name']} ({identity['source']}), with {counts}.", ""]
        files = identity.get("files") or {}
        lines += [f"- `{name}` has MD5 `{digest}`" for name, digest in files.items()]
    return lines


def _parameters(chapters: dict[str, dict[str, Any]]) -> list[str]:
    lines = ["## Parameters", ""]
    for name, entry in chapters.items():
        lines += [f"### {name}", "", "| parameter | value |", "|---|---|"]
        lines += [f"| `{key}` | {_shown(value)} |" for key, value in entry["parameters"].items()] + [""]
    return lines


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _versions(chapters: dict[str, dict[str, Any]]) -> list[str]:
    sets = {json.dumps(entry["versions"], sort_keys=True): entry["versions"] for entry in chapters.values()}
    lines = ["## Software", ""]
    for found in sets.values():
        lines += ["| package | version |", "|---|---|", *(f"| {name} | {value} |" for name, value in found.items()), ""]
    return lines
