"""Run one chapter in a fresh kernel by papermill, and watch it: one time limit, peak memory, no kernel left behind."""

import ast
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import nbformat
import papermill
import psutil
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop
from nbclient.exceptions import DeadKernelError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.exceptions import PapermillExecutionError
from traitlets import default

from lowcap.book.gate import INJECTED, check_source
from lowcap.errors import BuildError

TIME_LIMIT = 3600.0
POLL_SECONDS = 0.2
OUT_OF_MEMORY = re.compile("MemoryError|can't allocate memory|Cannot allocate memory")
MORE_MEMORY = "shrink a parameter, or run it where there is more memory"
# Evaluated in the kernel: the modules of this package that the chapter has loaded. It needs no name but one that a
# chapter cannot have taken.
LOADED = "','.join(name for name in [*__import__('sys').modules] if name.partition('.')[0] == 'lowcap')"
ENGINE = "lowcap"
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Run:
    """An executed chapter, how long it took, and the most memory its kernel held (resident, sampled)."""

    notebook: nbformat.NotebookNode
    seconds: float
    peak_bytes: int


class OwnKernel(AsyncKernelManager):
    """Starts this very Python as the kernel, whatever other `python3` kernels the user has installed."""

    @default("kernel_spec_manager")
    def _only_our_own(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])

    @default("transport_encryption")
    def _encrypted_where_possible(self) -> str:
        return "auto"


class Client(PapermillNotebookClient):
    """Runs the cells as papermill does, then asks the kernel which modules of this package it has loaded.

    They are the list `metadata.lowcap.modules` of the notebook, for the gate. The question is silent: it is no cell,
    counts as none, and starts nothing that runs after each cell.
    """

    def papermill_execute_cells(self) -> None:
        super().papermill_execute_cells()
        asked = self.kc.execute("", silent=True, store_history=False, user_expressions={"loaded": LOADED})
        said = self.wait_for_reply(asked)["content"]["user_expressions"]["loaded"]
        if said["status"] != "ok":
            raise BuildError(f"the kernel cannot say which modules it has loaded: {said['ename']}: {said['evalue']}")
        names = ast.literal_eval(said["data"]["text/plain"])
        self.nb.metadata["lowcap"] = {"modules": sorted(filter(None, names.split(",")))}


class Engine(NBClientEngine):
    """papermill's own engine with `Client` in place of its client."""

    @classmethod
    def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, start_timeout: int = 60, **options: Any) -> Any:
        taken = {key: options[key] for key in ("kernel_manager_class", "shutdown_kernel", "on_cell_start")}
        log = logging.getLogger("papermill")
        return Client(nb_man, kernel_name=kernel_name, startup_timeout=start_timeout, log=log, **taken).execute()


papermill_engines.register(ENGINE, Engine)


def execute(
    source: Path,
    folder: Path,
    parameters: dict[str, Any],
    dataset: str,
    limit: float = TIME_LIMIT,
    report: Report | None = None,
) -> Run:
    """Execute the notebook `source` in `folder` with `parameters` injected (none: no cell is injected).

    `dataset` is what "auto" means to the kernel; `limit` is in seconds, for the whole chapter. `report`, called as each
    code cell starts with its number and how many there are, takes the place of papermill's own bar. Raises BuildError
    when a cell raises, the kernel dies or time is up; what ran until then is in `folder/NAME.failed.ipynb`.
    """
    import matplotlib.font_manager  # noqa: F401  (a first import builds the font cache, with a line on stderr)

    notebook = nbformat.read(source, as_version=4)
    check_source(source, notebook)
    failed = folder / f"{source.stem}.failed.ipynb"
    start = time.monotonic()
    with _environment(
        LOWCAP_DATASET=dataset,
        LOWCAP_FROM=os.environ.get("LOWCAP_FROM") or os.getcwd(),  # where the path of a folder of images starts
        IPYTHONDIR=str(folder / f".ipython-{source.stem}"),  # its own, since another chapter may run beside it
        PYTHONHASHSEED="0",
        MPLBACKEND="module://matplotlib_inline.backend_inline",
    ):
        work = partial(_papermill, notebook, failed, parameters, report)
        executed, peak = _named(source, failed, partial(_watched, work, limit))
    failed.unlink()
    return Run(_clean(executed), time.monotonic() - start, peak)


def _papermill(
    notebook: nbformat.NotebookNode, failed: Path, parameters: dict[str, Any], report: Report | None
) -> nbformat.NotebookNode:
    started, total = count(1), bool(parameters) + sum(c.cell_type == "code" for c in notebook.cells)

    def on_cell_start(cell: nbformat.NotebookNode, cell_index: int) -> None:
        if report and cell.cell_type == "code":
            report(next(started), total)

    with closing(ensure_event_loop()):  # the thread's own, which papermill would leave open
        return papermill.execute_notebook(
            notebook,
            _literal(failed),
            parameters=parameters,
            cwd=str(failed.parent),
            kernel_name="python3",
            engine_name=ENGINE,
            kernel_manager_class=OwnKernel,
            shutdown_kernel="immediate",  # the work is done; a polite end takes a second and complains on stderr
            progress_bar=report is None and sys.stderr.isatty(),
            on_cell_start=on_cell_start,
        )


def _named(source: Path, failed: Path, work: Callable[[], tuple[Any, int]]) -> tuple[Any, int]:
    """Do the work; say in one line which chapter failed and why."""
    try:
        return work()
    except PapermillExecutionError as error:
        reason = f"cell {error.cell_index + 1} raised {error.ename}: {' '.join(error.evalue.split())}"
        help = f"; {MORE_MEMORY}" if OUT_OF_MEMORY.search(reason) else ""
        raise BuildError(f"{source.name}: {reason} (traceback in {failed}){help}") from error
    except TimeoutError as error:
        raise BuildError(f"{source.name}: {error}") from error
    except DeadKernelError as error:
        usual = f"most often for want of memory (it held {error.args[-1]} MiB when last seen); {MORE_MEMORY}"
        raise BuildError(f"{source.name}: the kernel died, {usual}") from error
    except RuntimeError as error:
        raise BuildError(f"{source.name}: the kernel died ({' '.join(str(error).split())})") from error


def _watched(work: Callable[[], Any], limit: float) -> tuple[Any, int]:
    """Run `work` in a thread and return its result with the peak memory of the processes it started.

    On Ctrl-C, on any other exception and after `limit` seconds those processes are ended first.
    """
    before, peak, end = set(_children()), 0, time.monotonic() + limit
    log = logging.getLogger("papermill")
    try:
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(work)
            try:
                while not wait([future], timeout=POLL_SECONDS).done:
                    peak = max(peak, sum(map(_resident, set(_children()) - before)))
                    if time.monotonic() > end:
                        raise TimeoutError(f"took longer than {limit:g} s; shrink a parameter or raise --timeout")
            except BaseException:
                log.disabled = True  # it would complain that the kernel died
                _end(set(_children()) - before)
                raise
    finally:
        log.disabled = False
    try:
        return future.result(), peak
    except DeadKernelError as error:
        error.args = (*error.args, peak >> 20)
        raise


def _children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def _end(processes: set[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = os.environ.copy()
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _literal(path: Path) -> str:
    """A path for papermill, which takes braces for fields to fill in."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what papermill wrote in the metadata (paths, times); hide an injected cell as the one it overrides."""
    tags: list[str] = next((t for t in (c.metadata.get("tags", []) for c in notebook.cells) if "parameters" in t), [])
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if INJECTED in cell.metadata.get("tags", []):
            cell.metadata.tags = [INJECTED, *(tag for tag in tags if tag != "parameters")]
    return notebook
