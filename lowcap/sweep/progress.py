"""How far a sweep is, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable


class Progress:
    """How far it is: a line that is written anew on a terminal, and now and then a line elsewhere."""

    EVERY = 30.0  # seconds between lines where there is no terminal

    def __init__(self, total: int, done: int, notes: Iterable[str] = ()):
        self.total = total
        self.done = self.first = self.seen = done
        self.start = self.said = time.monotonic()
        self.live = sys.stderr.isatty()
        for note in notes:
            self._line(note)
        self._say()

    def step(self) -> None:
        """One more shard is finished."""
        self.done += 1
        if self.live or time.monotonic() > self.said + self.EVERY:
            self._say()

    def moved(self) -> bool:
        """Whether any shard was finished since this was last asked."""
        before, self.seen = self.seen, self.done
        return self.done > before

    def end(self, note: str = "") -> None:
        """The last line."""
        self._say()
        if self.live:
            print(file=sys.stderr)
        if note:
            self._line(note)

    def _say(self) -> None:
        self.said, minutes = time.monotonic(), (time.monotonic() - self.start) / 60
        text = f"{self.done} of {self.total} shards"
        if self.done > self.first and minutes > 0:
            rate = (self.done - self.first) / minutes
            text += f", {rate:.1f} per minute, about {(self.total - self.done) / rate:.1f} minutes to go"
        print(f"\r{text:<78}" if self.live else text, end="" if self.live else "\n", file=sys.stderr, flush=True)

    def _line(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)
