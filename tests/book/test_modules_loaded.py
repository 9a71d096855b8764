"""A real kernel says which modules it has loaded, unseen, and the gate refuses one that the key does not cover."""

from pathlib import Path

import nbformat
import pytest
import toybook

from lowcap.book import gate
from lowcap.book.execute import execute
from lowcap.errors import BuildError

COUNT = """from pathlib import Path
get_ipython().events.register("post_run_cell", lambda *_: Path("ran").open("a").write("."))
sorted = filter = len = None"""
HIDDEN = "import importlib\nfound = importlib.import_module('lowcap.' + 'shard')"


def test_a_kernel_is_asked_unseen_and_a_module_that_it_hides_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "01-toy.ipynb"
    nbformat.write(toybook.notebook(COUNT, "import lowcap.errors", HIDDEN), source)
    made = execute(source, tmp_path, {}, "digits").notebook
    loaded = made.metadata["lowcap"]["modules"]
    assert {"lowcap", "lowcap.errors", "lowcap.shard"} <= set(loaded)
    assert not [name for name in loaded if name.startswith(("lowcap.book", "lowcap.notebook"))]
    cells = [cell for cell in made.cells if cell.cell_type == "code"]
    assert [(cell.execution_count, cell.outputs) for cell in cells] == [(1, []), (2, []), (3, [])]
    assert (tmp_path / "ran").read_text() == "..."  # after each cell, and not after the question
    with pytest.raises(BuildError, match=r"has loaded .*lowcap\.shard.*import statement"):
        gate.check_executed("01-toy", made)
