"""Signals that end a run: raised again if Python drops one, and noticed if Python waits despite one.

A handler may raise inside a finaliser, the callback of a weak reference or a generator that is closed. Then
the exception goes to ``sys.unraisablehook`` and no further: the run would go on as if nothing had happened.
So that hook sets a timer, which raises the exception again a moment later, until it ends the run.

Python looks for signals before it waits in the kernel, but a signal between that look and the wait does not
end the wait: a silent server would keep the run until its time-out. So a regular beat ends each wait; Python
looks for signals, and goes on waiting (PEP 475).
"""

from __future__ import annotations

import atexit
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

AGAIN = 0.001  # seconds
BEAT = 0.5  # seconds


def heed(terminated: type[BaseException]) -> None:
    """Let SIGTERM raise ``terminated``, and lose neither that nor KeyboardInterrupt."""

    def terminate(number: int, frame: FrameType | None) -> NoReturn:
        raise terminated

    hook = sys.unraisablehook
    again = hook if isinstance(hook, Again) else Again(terminated, hook)
    with suppress(ValueError):  # not in the main thread: a program that runs us there handles signals itself
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGALRM, again.ring)
        # Python removes its handlers before it ends; a beat after that would end it as an alarm does.
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, BEAT, BEAT)
        sys.unraisablehook = again


class Again:
    """The hook: it raises again what ends a run, and passes everything else to the hook ``before``."""

    def __init__(
        self, terminated: type[BaseException], before: Callable[[UnraisableHookArgs], object]
    ) -> None:
        self._ends = (KeyboardInterrupt, terminated)
        self._dropped: type[BaseException] | None = None
        self._before = before

    def __call__(self, unraisable: UnraisableHookArgs) -> None:
        """Act as the hook; Python would drop an exception from here, too."""
        if unraisable.exc_type in self._ends:
            self._dropped = unraisable.exc_type
            signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
        else:
            self._before(unraisable)

    def ring(self, number: int, frame: FrameType | None) -> None:
        """Raise what was dropped, unless the hook is still running."""
        if self._dropped and (frame is None or frame.f_code is not Again.__call__.__code__):
            dropped, self._dropped = self._dropped, None
            signal.setitimer(signal.ITIMER_REAL, BEAT, BEAT)
            raise dropped
