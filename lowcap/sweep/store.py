"""The folder of a sweep: a Parquet file per finished shard, then one with all rows, and a manifest.

Everything is written aside and then renamed. A shard's file is named `KEY.CHECKSUM.parquet` in `parts/`: the key is a
hash of all that its rows depend on, the checksum one of its content, so that the folder alone tells what is finished
and whole. How long a shard took stands in `durations.jsonl`, apart from the rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import lowcap
from lowcap.errors import BuildError, UserError
from lowcap.files import FULL, aside, held, write
from lowcap.provenance import commit_of
from lowcap.sweep.origin import Origin, differences
from lowcap.sweep.plan import Plan, Result

MANIFEST = "manifest.json"
FORMAT = 1
ROWS, PARTS, DURATIONS = "rows.parquet", "parts", "durations.jsonl"
OURS = {MANIFEST, ROWS, PARTS, DURATIONS, "runs", "index.html"}
TOGETHER = 64  # parts whose rows make a row group of the whole


@dataclass(frozen=True)
class Manifest:
    """`complete` says whether `rows.parquet` holds this grid; `shards` are listed when it does."""

    experiment: str
    grid: dict[str, list[Any]]
    origin: Origin
    commit: str | None
    local_changes: bool
    format: int = FORMAT
    complete: bool = False
    rows: int | None = None
    shards: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, plan: Plan) -> Manifest:
        """The manifest of a sweep that begins."""
        grid = {name: list(values) for name, values in plan.grid.items()}
        return cls(plan.experiment, grid, plan.origin, *commit_of(Path(lowcap.__file__).parent))

    def complete_with(self, shards: list[dict[str, Any]], rows: int) -> Manifest:
        """The manifest of the finished sweep."""
        return replace(self, complete=True, rows=rows, shards=shards)

    def write(self, out: Path) -> None:
        """Write it to the folder."""
        write(out / MANIFEST, (json.dumps(asdict(self), indent=1) + "\n").encode())

    @classmethod
    def read(cls, out: Path) -> Manifest | None:
        """That of the folder, if there is one. Raises UserError, with the remedy, when it is damaged."""
        if not (out / MANIFEST).exists():
            return None
        try:
            found = cls(**json.loads((out / MANIFEST).read_text("utf-8")))
            if found.format != FORMAT:
                raise ValueError
            differences(found.origin, found.origin)
            dict(found.grid)
        except (ValueError, TypeError, KeyError, AttributeError):
            remedy = "delete that file, and the finished shards are found by their names"
            raise UserError(f"{out / MANIFEST} is damaged or of another version; {remedy}") from None
        return found

    def check_follows(self, new: Manifest, out: Path) -> list[str]:
        """What to say when the sweep `new` goes on in the folder of this one.

        Raises:
            UserError: it is another experiment, its numbers would come from elsewhere, or its grid lacks values.
        """
        other = "give another --out"
        if self.experiment != new.experiment:
            raise UserError(f"{out} holds a sweep of {self.experiment}, not of {new.experiment}; {other}")
        if wrong := differences(self.origin, new.origin):
            commit = f" (commit {self.commit[:10]})" if self.commit else ""
            raise UserError(
                f"{out} was begun elsewhere: {'; '.join(wrong)}; {other}, or go back to what it was{commit}"
            )
        lost = {name: sorted(set(old) - set(new.grid.get(name, ())), key=str) for name, old in self.grid.items()}
        if short := [f"{name}={','.join(map(str, gone[:4]))}" for name, gone in lost.items() if gone]:
            raise UserError(f"{out} holds a sweep with {' '.join(short)}, which this grid lacks; add it, or {other}")
        if any(len(new.grid[name]) > len(old) for name, old in self.grid.items()):
            return ["the grid has grown; shards that are in both are not computed again"]
        return []


@dataclass
class Store:
    """The folder of a sweep while this process holds it; `parts` are the finished shards by key."""

    out: Path
    parts: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def open(cls, out: Path, plan: Plan) -> Iterator[Store]:
        """Hold the folder; raises UserError when it cannot be written, is not a sweep's or is that of another one."""
        with held(out, "sweep"):
            store = cls(out)
            with explained(out):
                store._begin(plan)
            yield store

    def _begin(self, plan: Plan) -> None:
        if strange := sorted(p.name for p in self.out.iterdir() if p.name not in OURS and not p.name.startswith(".")):
            raise UserError(f"`--out` must be a new folder or that of a sweep; {self.out} holds {strange[0]}")
        new = Manifest.of(plan)
        if old := Manifest.read(self.out):
            self.notes += old.check_follows(new, self.out)
        for left in [*self.out.glob(".*.new"), *self.out.glob(f"{PARTS}/.*.new")]:
            left.unlink()
        (self.out / PARTS).mkdir(exist_ok=True)
        new.write(self.out)
        damaged = self._look()
        if damaged:
            self.notes.append(f"{damaged} shards in {self.out / PARTS} were damaged and are computed again")

    def _look(self) -> int:
        """Find the parts that are whole; delete those that are not, and count them."""
        damaged = 0
        for path in sorted((self.out / PARTS).iterdir()):
            key, _, checksum = path.name.removesuffix(".parquet").partition(".")
            if checksum == checksum_of(path.read_bytes()):
                self.parts[key] = path
            else:
                path.unlink()
                damaged += 1
        return damaged

    def has(self, key: str) -> bool:
        """Whether the shard is finished."""
        return key in self.parts

    def put(self, key: str, result: Result) -> None:
        """Keep a finished shard."""
        path = self.out / PARTS / f"{key}.{checksum_of(result.payload)}.parquet"
        line = {"key": key, "seconds": round(result.seconds, 3), "worker": result.worker}
        with explained(self.out):
            write(path, result.payload)
            if (old := self.parts.get(key, path)) != path:  # of a chapter whose page was gone
                old.unlink()
            self.parts[key] = path
            with (self.out / DURATIONS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def finish(self, plan: Plan) -> Path:
        """Put all rows into one file, in the order of the shards, and complete the manifest; the file's path."""
        keys = [plan.key(job) for job in plan.jobs]
        with explained(self.out):
            self._finish(plan, keys)
        return self.out / ROWS

    def _finish(self, plan: Plan, keys: list[str]) -> None:
        counts = merge([self.parts[key] for key in keys], self.out / ROWS)
        took = self._durations()
        shards = [
            {
                "key": key,
                "shard": job.label(),
                "rows": rows,
                "checksum": self.parts[key].name.split(".")[1],
                **took.get(key, {}),
            }
            for key, job, rows in zip(keys, plan.jobs, counts, strict=True)
        ]
        Manifest.of(plan).complete_with(shards, sum(counts)).write(self.out)
        for key in self.parts.keys() - set(keys):  # of a smaller grid, cut into other shards
            self.parts.pop(key).unlink()

    def _durations(self) -> dict[str, dict[str, Any]]:
        found = {}
        with suppress(FileNotFoundError):
            for line in (self.out / DURATIONS).read_text("utf-8", errors="replace").splitlines():
                with suppress(ValueError, KeyError, TypeError):  # a line that a killed process has left half written
                    entry = json.loads(line)
                    found[entry.pop("key")] = entry
        return found


def merge(parts: list[Path], path: Path) -> list[int]:
    """Copy the rows of the parts, in their order, into one Parquet file; how many each has."""
    schemas = dict.fromkeys(pq.read_schema(part) for part in parts)
    schema = pa.unify_schemas(list(schemas), promote_options="permissive")
    counts: list[int] = []
    with aside(path) as new, new.open("wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for i in range(0, len(parts), TOGETHER):
            tables = [pq.read_table(part, memory_map=False, partitioning=None) for part in parts[i : i + TOGETHER]]
            counts += [len(table) for table in tables]
            writer.write_table(pa.concat_tables(tables, promote_options="permissive").select(schema.names).cast(schema))
    return counts


def checksum_of(content: bytes) -> str:
    """Half of the content's SHA-256, as text."""
    return hashlib.sha256(content).hexdigest()[:32]


@contextmanager
def explained(out: Path) -> Iterator[None]:
    """Turn what the file system refuses into one sentence."""
    try:
        yield
    except OSError as error:
        what = "is full" if error.errno in FULL else "cannot be written or read"
        reason = f"{error.filename or out}: {error.strerror or error}"
        remedy = "make room there" if error.errno in FULL else "mend that"
        raise BuildError(f"{out} {what} ({reason}); {remedy} and run the same command again") from error
