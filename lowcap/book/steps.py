"""The steps of a build, said as they end: name, what happened, seconds."""

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


def _line(step: Step) -> None:
    print(f"{step.name:<28}{step.seconds:>8.1f} s   {step.note}".rstrip(), flush=True)
