"""The whole book in one file, ready for a DOI: site, executed notebooks, numbers, environment, package, RO-Crate.

The same book gives the same bytes. `SHA256SUMS` inside covers every other file, so that `sha256sum -c SHA256SUMS` or
`lowcap archive --check FILE` tells whether all is there and as it was.
"""

import hashlib
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat

from lowcap import files
from lowcap.book import cache, source
from lowcap.book.build import repository
from lowcap.book.pages import citation
from lowcap.book.publish import crate
from lowcap.errors import BuildError, UserError

SUMS = "SHA256SUMS"
BESIDE = ("CITATION.cff", "LICENSE", "README.md", "requirements.txt", ".ci/requirements.lock")
LEVEL = 9
AGAIN = "build the book first: make book"


@dataclass(frozen=True)
class Built:
    """The last book of a checkout: its sources, its build folder, what ran (chapter -> provenance), and the executed
    chapters (None for one whose sources have changed, or that ran again since)."""

    book: source.Book
    output: Path
    chapters: Mapping[str, Mapping[str, Any]]
    executed: Mapping[str, Path | None]

    @property
    def site(self) -> Path:
        return (self.output / "html").resolve()


def archive(root: Path, output: Path, out: Path) -> Path:
    """Pack the last book of the checkout `root`, built in `output`, into the zip file `out`; its path.

    Raises BuildError when there is no book, when sources have changed since it was built, or another build is at work;
    UserError when `out` cannot be written. `out` is replaced in one move.
    """
    if not (root / output / "html" / "index.html").is_file():
        raise BuildError(f"there is no book in {output}; {AGAIN}")
    with files.held((root / output).resolve(), "build", "--output"):
        built = read(root, (root / output).resolve())
        contents = {name: path.read_bytes() for name, path in members(built).items()}
        contents[crate.METADATA] = _crate(built, contents).encode()
        contents[SUMS] = "".join(f"{_digest(data)}  {name}\n" for name, data in sorted(contents.items())).encode()
        _write(out, contents)
    return out


def read(root: Path, output: Path) -> Built:
    """The last book, if it is that of the sources as they are now; BuildError otherwise."""
    book, path = source.load(root), output / "html" / "provenance.json"
    chapters = json.loads(path.read_text(encoding="utf-8"))
    both = [name for name in book.chapters if name in chapters]
    executed = {name: _executed(book.chapters[name], output, chapters[name]) for name in both}
    built = Built(book, output, chapters, executed)
    stale = sorted({*book.chapters} ^ {*chapters}) or [name for name, shown in executed.items() if shown is None]
    stale += [str(path.relative_to(root)) for path in _texts(book) if not _published(built, path)]
    if stale:
        raise BuildError(f"the book in {output} is not that of the sources: {', '.join(stale)} changed; {AGAIN}")
    return built


def _executed(chapter: Path, output: Path, entry: Mapping[str, Any]) -> Path | None:
    path = cache.find(output / "executed", cache.cache_key(chapter, entry["parameters"], entry["data"]))
    return path if path and nbformat.read(path, as_version=4).metadata["lowcap"] == entry else None


def _texts(book: source.Book) -> Iterator[Path]:
    yield from (path for path in book.documents if path.suffix == ".md")


def _published(built: Built, path: Path) -> bool:
    shown = built.site / "_sources" / path.relative_to(built.book.root)
    return shown.is_file() and shown.read_bytes() == path.read_bytes()


def members(built: Built) -> dict[str, Path]:
    """Name in the archive -> file, for all but the crate and the check sums."""
    root, pages = built.book.root, (path for path in built.site.rglob("*") if path.is_file())
    found = {f"site/{path.relative_to(built.site).as_posix()}": path for path in pages}
    found |= {f"notebooks/{name}.ipynb": path for name, path in built.executed.items() if path}
    found |= {Path(name).name: root / name for name in BESIDE if (root / name).is_file()}
    found["results.json"] = built.site / "results.json"
    found["provenance.json"] = built.site / "provenance.json"
    wheel = _wheel(root)
    return found | ({wheel.name: wheel} if wheel else {})


def _wheel(root: Path) -> Path | None:
    """The wheel in `dist/`, if one was built; BuildError when it holds other code than the checkout."""
    wheel = next(iter(sorted((root / "dist").glob(f"lowcap-{version('lowcap')}-*.whl"))), None)
    if wheel is None:
        return None
    with zipfile.ZipFile(wheel) as packed:
        inside = {name: packed.read(name) for name in packed.namelist() if re.fullmatch(r"lowcap/.*\.(py|toml)", name)}
    outside = [path for kind in ("py", "toml") for path in (root / "lowcap").rglob(f"*.{kind}")]
    if inside != {path.relative_to(root).as_posix(): path.read_bytes() for path in outside}:
        raise BuildError(f"{wheel} was built from other sources; build it again (make dist) or remove it")
    return wheel


def _crate(built: Built, contents: Mapping[str, bytes]) -> str:
    results = json.loads(contents["results.json"])
    facts = crate.Facts(citation.read(built.book.root), built.chapters, results, repository(built.book.root))
    single = [
        crate.File(name, len(data), _digest(data))
        for name, data in sorted(contents.items())
        if not name.startswith("site/") or name.endswith(".pdf")
    ]
    return crate.describe(facts, single)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(out: Path, contents: Mapping[str, bytes]) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with files.aside(out) as new, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as packed:
            for name, data in sorted(contents.items()):
                entry = zipfile.ZipInfo(name)  # of 1980, so that the same book gives the same bytes
                entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
                packed.writestr(entry, data)
    except OSError as error:
        raise UserError(f"--out must be a file that can be written; got {out}: {error.strerror}") from None


def check(path: Path) -> int:
    """The number of files of an archive that are as `SHA256SUMS` says; BuildError naming those that are not."""
    try:
        with zipfile.ZipFile(path) as packed:
            contents = {name: packed.read(name) for name in packed.namelist()}
        lines = [line.split("  ", 1) for line in contents.pop(SUMS).decode().splitlines()]
        sums = {name: digest for digest, name in lines}
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except (zipfile.BadZipFile, EOFError, KeyError, ValueError, OSError) as error:
        raise BuildError(f"{path} is damaged or no archive of the book ({error}); get it again") from None
    wrong = sorted(name for name in contents.keys() | sums if _digest(contents.get(name, b"")) != sums.get(name))
    if wrong:
        raise BuildError(f"{path}: missing, altered or not listed: {', '.join(wrong[:8])}; get it again")
    return len(contents)
