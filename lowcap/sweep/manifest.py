"""What stands beside the rows of a sweep: grid, origin, shards; and whether a sweep may go on in a folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lowcap
from lowcap.errors import UserError
from lowcap.files import write
from lowcap.sweep.origin import Origin, differences

if TYPE_CHECKING:
    from lowcap.sweep.engine import Plan

MANIFEST = "manifest.json"
FORMAT = 1


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
        from lowcap.book.provenance import commit_of  # here, so that workers need not load the book's packages

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
