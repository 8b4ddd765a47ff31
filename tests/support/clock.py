"""The time of day, which only a test moves: for the program in this process, or in one of its own."""

from __future__ import annotations

import sys
from collections.abc import Sequence

NIGHT = 1_800_000_000.0  # seconds since the epoch

# Its first argument is the time of day for the whole run.
AT = """\
import sys, time
now = float(sys.argv.pop(1))
time.time = lambda: now
from pop3fetch.cli import main
main()
"""


class Clock:
    """A time of day that stands still until it is moved."""

    def __init__(self, now: float = NIGHT) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def forward(self, seconds: float) -> None:
        """Move on."""
        self.now += seconds

    def command(self, words: Sequence[str]) -> list[str]:
        """Return the words that start ``pop3fetch`` with arguments at this time of day."""
        return [sys.executable, "-W", "error", "-c", AT, str(self.now), *words]
