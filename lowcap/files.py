"""Files: written whole or not at all, in folders that one process holds; and where those of the package itself lie."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from lowcap.errors import BuildError, UserError

PACKAGE = Path(__file__).resolve().parent
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A path to write to beside `path`, which it replaces at the end, on the disk before that (a power cut leaves the
    old file or the new one); after an error nothing is left of it."""
    new = path.with_name(f".{path.name}.new")
    try:
        yield new
        with new.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(new, path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with aside(path) as new:
        new.write_bytes(content)


@contextmanager
def held(folder: Path, what: str, option: str = "--out") -> Iterator[None]:
    """Hold a folder, made if need be, for this process.

    Raises:
        UserError: nothing can be written there; `option` named it.
        BuildError: another process holds it for `what` ("build", "sweep").
        OSError: the disk is full.
    """
    import filelock  # here, for the command line's sake: it takes long to load

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if error.errno in FULL:
            raise
        raise UserError(f"`{option}` must be a folder that can be written; got {folder}: {error.strerror}") from None
    try:
        with filelock.FileLock(folder / ".lock", timeout=0):
            yield
    except filelock.Timeout:
        raise BuildError(f"another {what} is at work in {folder}; wait for it or give another {option}") from None


def remedy(message: str) -> str:
    """What to do about a failure whose message tells of a full disk, whoever met it; nothing for others."""
    full = any(os.strerror(number) in message for number in FULL)
    return "; make room on the disk and run the same command again" if full and "make room" not in message else ""


def beside(installed: str, checkout: str, package: Path = PACKAGE) -> Path:
    """The folder `installed` inside the package, as a wheel has it, or else `checkout` in the checkout around it."""
    inside = package / installed
    return inside if inside.is_dir() else package.parent / checkout
