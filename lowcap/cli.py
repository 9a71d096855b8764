"""The command line. A user's mistake ends with code 2, a failure with 1, Ctrl-C with 130; none with a traceback."""

import errno
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from lowcap.book.drift import TOLERANCE
from lowcap.errors import BuildError, DataError, UserError
from lowcap.files import remedy

INTERRUPTED = 130
KEPT = {"build": "; the last good book is still there", "run": "; what an earlier run left is still there"}

app = typer.Typer(
    name="lowcap",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Build, run and check the book Low-Capacity Networks.",
)

NAMES = (
    "auto, mnist, fashion-mnist, kmnist, digits, or folder:PATH with a folder of images per class "
    "(auto: MNIST if it can be had, else the bundled digits)."
)
Dataset = Annotated[str, typer.Option(help=NAMES, metavar="NAME")]
Limit = Annotated[float, typer.Option("--timeout", min=1, help="Seconds that one chapter may take.", metavar="SECONDS")]
Output = Annotated[Path, typer.Option(help="Build folder, relative to the book's root.", metavar="FOLDER")]


@app.command()
def build(
    dataset: Dataset = "auto",
    everything: Annotated[bool, typer.Option("--all", help="Execute every chapter again, unchanged ones too.")] = False,
    chapter: Annotated[list[str] | None, typer.Option(help="Execute it again (repeatable).", metavar="CHAPTER")] = None,
    output: Output = Path("_build"),
    fast: Annotated[bool, typer.Option("--fast", help="Few networks and seeds: a quick look only.")] = False,
    limit: Limit = 3600,
    at_once: Annotated[
        int | None,
        typer.Option(min=1, help="Chapters side by side.  [default: two]", metavar="N"),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Make lowcap.pdf too; needs Chromium or Chrome.")] = False,
    browser: Annotated[
        str | None, typer.Option(help="Prints it.  [default: LOWCAP_BROWSER, or one on the PATH]", metavar="PATH")
    ] = None,
) -> None:
    """Execute what has changed, check it, build the pages.

    The first page is _build/html/index.html.
    """
    from lowcap.book import build as book
    from lowcap.book.source import find_root

    again = ("*",) if everything else tuple(chapter or ())
    book.build(find_root(Path.cwd()), book.Options(dataset, again, output, fast, limit, at_once, pdf, browser))


@app.command()
def run(
    chapter: Annotated[str, typer.Argument(help="A chapter's id, such as 02-capacity.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("-p", "--parameter", metavar="NAME=VALUE", help='Such as -p pair="[3, 8]" (repeatable).'),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="For the notebook and its page.  [default: runs/CHAPTER]", metavar="FOLDER")
    ] = None,
    one_file: Annotated[bool, typer.Option("--html", help="The page as one file, CHAPTER.html.")] = False,
    limit: Limit = 3600,
) -> None:
    """Execute one chapter with your own parameters.

    What comes out is a notebook and a page of it.
    """
    from lowcap.book import run as runner
    from lowcap.book.source import find_root

    folder = out or Path("runs") / chapter
    runner.run(find_root(Path.cwd()), chapter, parameter or [], folder, limit, one_file=one_file)


@app.command()
def sweep(
    experiment: Annotated[
        str, typer.Argument(help="capacity, pruning, robustness, tracing, tickets, descent, or chapter:NN-name.")
    ],
    more: Annotated[list[str] | None, typer.Argument(help="More axes of the grid.", metavar="[AXIS=VALUES]...")] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(help="Such as pair=all width=1:64 seed=0:99 recipe=published,converged.", metavar="AXIS=VALUES"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="For rows and manifest.  [default: sweeps/EXPERIMENT]", metavar="FOLDER")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=4096, help="Processes on this machine.  [default: one per core]", metavar="N"),
    ] = None,
    backend: Annotated[str, typer.Option(help="loky (this machine) or dask.", metavar="NAME")] = "loky",
    scheduler: Annotated[
        str | None, typer.Option(help="Of a Dask cluster, such as tcp://10.0.0.1:8786.", metavar="ADDRESS")
    ] = None,
) -> None:
    """Run an experiment or a chapter over a grid.

    What comes out is a Parquet file, one row per network and condition. Given again, the command goes on where it was
    stopped.
    """
    from lowcap.sweep import command

    name = experiment.replace(":", "-")
    command.sweep(experiment, [*(grid or []), *(more or [])], out or Path("sweeps") / name, workers, backend, scheduler)


@app.command()
def replay(
    csv: Annotated[Path, typer.Option(help="File to write: one row per network.", metavar="PATH")],
    seeds: Annotated[
        list[int] | None,
        typer.Option(help="A seed (repeatable).  [default: the study's: 0, 42, 78]", min=0, metavar="SEED"),
    ] = None,
) -> None:
    """Replay the published study exactly as its code ran it.

    It ran on MNIST, and so does the replay: without MNIST there is none.
    """
    from lowcap.chapters.replay import experiments as study

    try:
        study.to_csv(csv, seeds or list(study.SEEDS), dataset="mnist")
    except OSError as error:
        if error.errno == errno.ENOSPC or error.filename not in (str(csv), f"{csv}.part"):
            raise
        raise UserError(f"--csv must be a file that can be written; got {csv}: {error.strerror}") from None
    print(f"Wrote {csv}")


@app.command()
def data(dataset: Dataset = "auto") -> None:
    """Fetch and verify a dataset, and say what it is."""
    from lowcap import tasks

    identity = tasks.identity(tasks.resolve(dataset))
    for name, digest in identity.pop("files").items():
        print(f"{digest}  {name}")
    for key, value in identity.items():
        print(f"{key.replace('_', ' ')}: {value}")


@app.command()
def new(chapter: Annotated[str, typer.Argument(help="Its id, such as 12-mine.")]) -> None:
    """Begin a chapter, or bring its parameters cell up to date.

    Its folder is lowcap/chapters/WORD, its notebook book/CHAPTER.ipynb.
    """
    from lowcap.book import template
    from lowcap.book.source import find_root

    print(f"Wrote {template.new(find_root(Path.cwd()), chapter)}")


@app.command()
def check(
    chapter: Annotated[str, typer.Argument(help="A chapter's id, such as 12-mine.")],
    out: Annotated[Path | None, typer.Option(help="For its page.  [default: runs/CHAPTER]", metavar="FOLDER")] = None,
) -> None:
    """Check one chapter: its style, then a fast run."""
    from lowcap.book import style
    from lowcap.book.source import find_root

    style.check(find_root(Path.cwd()), chapter, out or Path("runs") / chapter)
    print(f"{chapter} is as a chapter should be")


@app.command()
def archive(
    out: Annotated[Path, typer.Option(help="The zip file to write.", metavar="FILE")] = Path("dist/book.zip"),
    output: Output = Path("_build"),
    check: Annotated[
        Path | None, typer.Option(help="Check this archive instead of making one.", metavar="FILE")
    ] = None,
) -> None:
    """Pack the last book into one file, with all that it was made from.

    What comes out is ready for a DOI.
    """
    from lowcap.book.publish import archive as packer
    from lowcap.book.source import find_root

    if check:
        print(f"{check}: {packer.check(check)} files, all as they were packed")
        return
    print(f"Wrote {packer.archive(find_root(Path.cwd()), output, out)}")


@app.command()
def drift(
    before: Annotated[str, typer.Argument(help="A results.json: a file or an https address.", metavar="BEFORE")],
    after: Annotated[str, typer.Argument(help="Another one.", metavar="AFTER")],
    tolerance: Annotated[float, typer.Option(min=0, help="How far a number may move.", metavar="NUMBER")] = TOLERANCE,
) -> None:
    """Compare the numbers and verdicts of two built books."""
    from lowcap.book import drift as comparing

    print(f"{comparing.check(before, after, tolerance)} numbers and verdicts agree")


@app.command()
def readme(output: Output = Path("_build")) -> None:
    """Write the results of the last build into README.md."""
    from lowcap.book.publish import readme as page
    from lowcap.book.source import find_root

    root = find_root(Path.cwd())
    page.update(root / "README.md", root / output / "html" / "results.json", page.templates())
    print(f"Wrote {root / 'README.md'}")


def main() -> None:
    """Run the command line and exit; LOWCAP_DEBUG=1 lets tracebacks through."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    arguments = sys.argv[1:] or ["--help"]
    if os.environ.get("LOWCAP_DEBUG") == "1":
        app(arguments)
    try:
        code = app(arguments, prog_name="lowcap", standalone_mode=False) or 0  # typer turns Ctrl-C into 130
    except Exception as error:
        _leave(*_explain(error))
    kept = KEPT.get(arguments[0], "")
    _leave(code, f"interrupted{kept}" if code == INTERRUPTED else "")


def _explain(error: Exception) -> tuple[int, str]:
    """Exit code and message for an error, with what to do where that is known whoever raised it."""
    code, message = _said(error)
    return code, message + remedy(message)


def _said(error: Exception) -> tuple[int, str]:
    if isinstance(error, typer.Abort):
        return INTERRUPTED, "interrupted"
    if hasattr(error, "format_message"):  # typer's own: a wrong option or command
        return 2, f"{error.format_message()} (lowcap --help, or lowcap COMMAND --help, tells more)"
    if isinstance(error, UserError):
        return 2, "; ".join(str(error).splitlines())
    if isinstance(error, OSError):
        one = error.args[0][0] if isinstance(error, shutil.Error) else None  # of many: (from, to, why)
        name, why = one[1:] if one else (error.filename or "a file", error.strerror or error)
        return 1, f"cannot read or write {name}: {why}"
    if isinstance(error, DataError | BuildError):
        return 1, str(error)
    return 1, f"{type(error).__name__}: {error} (a fault of lowcap; LOWCAP_DEBUG=1 shows where)"


def _leave(code: int, message: str) -> NoReturn:
    if message:
        print(f"lowcap: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
