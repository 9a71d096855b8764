"""The steps of a build, said as they end: name, what happened, seconds."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Step:
    """One step; `note` may be set while it runs ("unchanged", "3 claims") and is printed beside the time."""

    name: str
    note: str = ""
    seconds: float = 0.0


@dataclass
class Steps:
    """Times steps and prints a line for each; `total` prints how long all of them took."""

    start: float = field(default_factory=time.monotonic)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time the block as the step `name`; a block that fails prints nothing."""
        step, start = Step(name), time.monotonic()
        yield step
        self.ended(Step(name, step.note, time.monotonic() - start))

    def ended(self, step: Step) -> None:
        """Print a step that was timed elsewhere, perhaps while others ran."""
        _line(step)

    def total(self) -> None:
        """Print the time since the first step began."""
        _line(Step("all steps", seconds=time.monotonic() - self.start))


@dataclass
class Progress:
    """Says which cell of how many runs, and for how long the chapter has run: on a terminal in one line that is
    overwritten, elsewhere in a line each."""

    chapter: str
    start: float = field(default_factory=time.monotonic)

    def __call__(self, cell: int, cells: int) -> None:
        said = f"{self.chapter}: cell {cell} of {cells}, {time.monotonic() - self.start:.0f} s"
        if sys.stderr.isatty():
            print(f"\r\x1b[2K{said}", end="", file=sys.stderr, flush=True)
        else:
            print(said, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Wipe the line on a terminal."""
        if sys.stderr.isatty():
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def _line(step: Step) -> None:
    print(f"{step.name:<28}{step.seconds:>8.1f} s   {step.note}".rstrip(), flush=True)
