"""Downloaded chapters: a first cell that brings the package along, for Colab or a notebook in an empty folder."""

import copy

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

ID = "bootstrap"
CELL = """# Where lowcap is installed, this does nothing; elsewhere it installs the one that made this chapter.
import glob
import importlib.util
import subprocess
import sys

if importlib.util.find_spec("lowcap") is None:
    beside = sorted(glob.glob("lowcap-*.whl"))  # a wheel in the folder of this notebook comes first
    package = beside[-1] if beside else {address!r}
    if not package:
        raise RuntimeError("lowcap is missing: put lowcap-{version}-py3-none-any.whl into the notebook's folder")
    command = [sys.executable, "-m", "pip", "install", "--quiet", package]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{{package}} could not be installed: {{done.stderr}}")
    importlib.invalidate_caches()"""


def add(notebook: NotebookNode, repository: str | None, version: str) -> NotebookNode:
    """A copy of an executed chapter whose first code cell installs the package where it is missing.

    It comes from a wheel beside the notebook, or else from the `repository` (an address on the web) at the commit of
    the run, as the notebook's metadata tell it. `version` is that of the package.
    """
    made = copy.deepcopy(notebook)
    cell = new_code_cell(CELL.format(address=_address(notebook, repository), version=version), id=ID)
    first = next(i for i, cell in enumerate(made.cells) if cell.cell_type == "code")
    made.cells.insert(first, cell)
    return made


def _address(notebook: NotebookNode, repository: str | None) -> str | None:
    commit = notebook.metadata.get("lowcap", {}).get("commit")
    return f"{repository}/archive/{commit}.zip" if repository and commit else None
