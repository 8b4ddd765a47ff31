"""The pause between logins that a server asks for (LOGIN-DELAY, RFC 2449 section 6.5).

Kept beside the record and not in it: every command logs in, but only `get` holds the record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from pop3fetch.ahead import pause
from pop3fetch.errors import LoginTooSoon, RecordError
from pop3fetch.record.place import RecordPlace
from pop3fetch.values import NamedTuple

ENDING = "login"
LONGEST = 24 * 60 * 60  # seconds: a server that asks for more is not believed


class LoginDelay(NamedTuple):
    """When an account may log in again; times are seconds since the epoch."""

    place: RecordPlace

    def left(self, now: float) -> int:
        """Return for how many seconds the server wants no further login."""
        try:
            last, delay = map(int, self.place.beside(ENDING).read_text("ascii").split())
        except (OSError, ValueError):  # none, or torn: then it is for the server to refuse
            return 0
        delay = min(delay, LONGEST)
        wait = last + delay - int(now)
        return wait if 0 < wait <= delay else 0  # it is over, or the clock was set back

    def await_end(
        self,
        limit: float | None,
        clock: Callable[[], float] = time.time,
        wait: Callable[[float], object] = pause,
    ) -> None:
        """Wait for the end of the delay; raise LoginTooSoon if that takes longer than ``limit``.

        ``limit`` in seconds, None for no limit.
        """
        seconds = self.left(clock())
        if limit is not None and seconds > limit:
            raise LoginTooSoon(self.place.address, seconds)
        if seconds:
            wait(seconds)

    def remember(self, now: float, arguments: Sequence[str] | None) -> None:
        """Keep the time of a login to a server that announces a delay; ``arguments`` of LOGIN-DELAY.

        ``0`` ends what was announced before; if nothing is announced now, that remains.
        """
        digits = arguments[0] if arguments else ""  # ``USER`` may follow
        delay = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
        with suppress(OSError, RecordError):  # a courtesy, and no reason to fail
            if delay == 0:
                self.place.beside(ENDING).unlink()
            elif delay is not None:
                self.place.keep_beside(ENDING, f"{int(now)} {delay}\n")
