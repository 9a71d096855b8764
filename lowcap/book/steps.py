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
    """Times steps and prints a line for each; `total` prints their sum."""

    done: list[Step] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Time the block as the step `name`; a block that fails prints nothing."""
        step, start = Step(name), time.monotonic()
        yield step
        step.seconds = time.monotonic() - start
        self.done.append(step)
        _line(step)

    def total(self) -> None:
        """Print the sum of all steps."""
        _line(Step("all steps", seconds=sum(step.seconds for step in self.done)))


def _line(step: Step) -> None:
    print(f"{step.name:<28}{step.seconds:>8.1f} s   {step.note}".rstrip(), flush=True)
