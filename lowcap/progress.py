"""How far a long task is, on standard error: one live line on a terminal, elsewhere a plain line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rich import progress
from rich.console import Console


class Progress:
    """How far it is, in the words of `describe(done, total, seconds)`; `show` begins it and `close` ends it.

    Args:
        every: seconds between plain lines where there is no terminal.
        transient: whether the live line is wiped at the end.
    """

    def __init__(self, describe: Callable[[int, int, float], str], *, every: float = 0.0, transient: bool = False):
        self.describe, self.every, self.start = describe, every, time.monotonic()
        self.done = self.total = 0
        self.told, self.told_at = 0, -float("inf")  # what the last plain line said, and when
        console = Console(stderr=True)
        # A terminal is asked for here too, because Rich takes a pipe for one when FORCE_COLOR is set.
        self.live = sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal
        self.bar = progress.Progress(
            progress.BarColumn(20),
            progress.TextColumn("{task.description}", markup=False),
            console=console,
            auto_refresh=False,
            transient=transient,
            redirect_stdout=False,  # what a command prints as its result does not belong on standard error
            disable=not self.live,
        )
        self.task = self.bar.add_task("")

    def show(self, done: int, total: int) -> None:
        """So much of so much is done."""
        self.done, self.total = done, total
        if self.live:
            self.bar.update(self.task, completed=done, total=total, description=self._text())
            self.bar.start()
            self.bar.refresh()
        elif time.monotonic() > self.told_at + self.every:
            self._tell()

    def step(self) -> None:
        """One more is done."""
        self.show(self.done + 1, self.total)

    def note(self, line: str) -> None:
        """Say something else in a line of its own."""
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Say the last line, unless it has been said."""
        self.bar.stop()
        if not self.live and self.told != self.done:
            self._tell()

    def _tell(self) -> None:
        self.told, self.told_at = self.done, time.monotonic()
        self.note(self._text())

    def _text(self) -> str:
        return self.describe(self.done, self.total, time.monotonic() - self.start)
