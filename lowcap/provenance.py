"""Where numbers come from: versions, machine, commit."""

import platform
import re
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from lowcap.parallel import cores

# What every experiment uses, Pillow where the images are a reader's own.
COMPUTING = ("joblib", "numpy", "pandas", "pillow", "scikit-learn", "scipy", "torch", "torchvision")
# What draws, writes down and runs a chapter besides.
OF_CHAPTERS = ("captum", "ipykernel", "ipython", "Jinja2", "MarkupSafe", "matplotlib", "nbclient", "nbformat",
               "papermill", "pydantic", "safetensors", "seaborn", "threadpoolctl")  # fmt: skip
PACKAGES = tuple(sorted((*COMPUTING, *OF_CHAPTERS), key=str.lower))  # that can change an output of a chapter


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python and of the packages, by name."""
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


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
