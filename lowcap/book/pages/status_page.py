"""The status page: which run made each chapter, on which data, with which parameters and versions."""

import json
from collections import Counter
from typing import Any

from lowcap.book.drift import TOLERANCE

REPEATED = ("seeds", "starts", "splits", "draws")
AGAIN = (
    "On the same machine, with these versions, every number comes out the same to its last digit, measured times "
    "apart. On another machine, or with another number of threads, it may move by "
    f"{TOLERANCE:g} (of 1, or of itself where it is larger); `lowcap drift` compares two builds."
)


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
