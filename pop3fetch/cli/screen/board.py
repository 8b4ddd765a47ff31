"""The progress of `get -A` on a terminal: a line for the whole run, and one for each active account."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from pop3fetch.printable import printable

REDRAW = 0.1  # seconds between two drawings


class Board:
    """What the threads of a run show; lines that find no room are left out.

    ``draw`` takes the lines, and ``size`` returns how many columns and lines there are.
    """

    def __init__(
        self,
        accounts: int,
        draw: Callable[[Sequence[str]], None],
        size: Callable[[], tuple[int, int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounts = accounts
        self._finished = 0
        self._active: dict[str, str] = {}  # by the names of accounts, in the order in which they began
        self._draw = draw
        self._size = size
        self._clock = clock
        self._drawn = clock()
        self._turn = threading.Lock()

    def begin(self, account: str) -> None:
        """Show that an account is active."""
        self.show(account, "connecting …")

    def show(self, account: str, text: str) -> None:
        """Show how far an account is; drawn if it is time."""
        with self._turn:
            self._active[account] = text
            self._redraw()

    def end(self, account: str) -> None:
        """Count an account that has ended."""
        with self._turn:
            self._active.pop(account, None)
            self._finished += 1
            self._redraw()

    def lines(self, width: int, height: int) -> list[str]:
        """Return the lines for so many columns and lines."""
        active = [f"{printable(name)}: {text}"[:width] for name, text in self._active.items()]
        return [f"{self._finished}/{self._accounts} accounts"[:width], *active[: max(height - 1, 0)]]

    def _redraw(self) -> None:
        now = self._clock()
        if now - self._drawn >= REDRAW:
            self._drawn = now
            columns, lines = self._size()
            self._draw(self.lines(columns - 1, lines - 1))
