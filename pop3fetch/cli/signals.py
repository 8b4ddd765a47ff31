"""Signals that end a run: Ctrl-C raises KeyboardInterrupt, and SIGTERM :class:`Terminated`.

The first one ends the run in order: what is being delivered comes to its end (``fetch.batch``), and so do
the other accounts (``cli.actions.many_accounts``). Another one, while that is reported, ends the process with
a status, but no line (:func:`status_of_second`); so does Ctrl-C before and after ``cli.main.run``. No signal
gets lost: it is raised again if Python drops it, and noticed if Python waits despite it.

A handler may raise inside a finaliser, the callback of a weak reference or a generator that is closed. Then
the exception goes to ``sys.unraisablehook`` and no further: the run would go on as if nothing had happened.
So that hook sets a timer, which raises the exception again a moment later, until it ends the run.

From Python 3.14 on, a handler may also be called between the ``__enter__`` of a lock and the ``with`` block
(``LOAD_SPECIAL`` and ``CALL`` took the place of one instruction). What it raises there would leave the lock
taken for ever. So it is raised a moment later, too. A thread that is still there then waits for the lock, and
an exception ends the wait.

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
from opcode import opmap
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

    from pop3fetch.status import Status

AGAIN = 0.001  # seconds
MOST_LOOKS = 30  # by then a thread that was always about to enter a `with` block waits for its lock
BEAT = 0.5  # seconds
CALL, LOAD_SPECIAL = (bytes([opmap[name]]) if name in opmap else None for name in ("CALL", "LOAD_SPECIAL"))


class Terminated(BaseException):
    """SIGTERM arrived."""


def behind(error: BaseException | None) -> KeyboardInterrupt | Terminated | None:
    """Return the end of the run that ``error`` is, or that is behind it, or None.

    An interrupt may have broken a lock of Python's own, and be behind another error.
    """
    from pop3fetch.errors import POP3Error

    cause: BaseException | None = None if isinstance(error, POP3Error) else error
    while cause and not isinstance(cause, KeyboardInterrupt | Terminated):
        cause = cause.__context__
    return cause  # type: ignore[return-value]  # of the loop's condition


def status_of(end: BaseException) -> Status:
    """Return the exit status of a run that ``end`` has ended."""
    from pop3fetch.status import Status

    return Status.TERMINATED if isinstance(end, Terminated) else Status.INTERRUPTED


def status_of_second(error: BaseException) -> Status:
    """Return the status, and print no line, if ``error`` is a second end, while the first one is reported.

    Raises ``error`` if it is something else.
    """
    if end := behind(error):
        return status_of(end)
    raise error


def heed() -> None:
    """Let SIGTERM raise Terminated, and lose neither that nor KeyboardInterrupt."""
    hook = sys.unraisablehook
    again = hook if isinstance(hook, Again) else Again(hook)
    with suppress(ValueError):  # not in the main thread: a program that runs us there handles signals itself
        signal.signal(signal.SIGTERM, again.end)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if it is ignored
            signal.signal(signal.SIGINT, again.end)
        signal.signal(signal.SIGALRM, again.ring)
        # Python removes its handlers before it ends; a beat after that would end it as an alarm does.
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, BEAT, BEAT)
        sys.unraisablehook = again


class Again:
    """The hook: it raises again what ends a run, and passes everything else to the hook ``before``."""

    def __init__(self, before: Callable[[UnraisableHookArgs], object]) -> None:
        self._dropped: type[BaseException] | None = None
        self._ends: dict[int, type[BaseException]] = {
            signal.SIGINT: KeyboardInterrupt,
            signal.SIGTERM: Terminated,
        }
        self._before = before
        self._looks = 0  # how often it was not raised since a lock may just have been taken

    def __call__(self, unraisable: UnraisableHookArgs) -> None:
        """Act as the hook; Python would drop an exception from here, too."""
        if unraisable.exc_type in self._ends.values():
            self._dropped = unraisable.exc_type
            signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
        else:
            self._before(unraisable)

    def end(self, number: int, frame: FrameType | None) -> None:
        """Raise what a signal that ends a run stands for, as soon as that is safe."""
        self._dropped = self._ends[number]  # no call: an alarm in a frame that is not ours would raise there
        self.ring(number, frame)

    def ring(self, number: int, frame: FrameType | None) -> None:
        """Raise what was dropped, unless we are still at it, or a lock may just have been taken."""
        at_it = (Again.__call__.__code__, Again.end.__code__, Again.ring.__code__)
        if not self._dropped or (frame is not None and frame.f_code in at_it):
            return
        code, at = (frame.f_code.co_code, frame.f_lasti) if frame is not None else (b"", 0)
        is_entering = code[at - 2 : at - 1] == LOAD_SPECIAL and code[at : at + 1] == CALL
        if is_entering and self._looks < MOST_LOOKS:
            self._looks += 1
            signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
            return
        dropped, self._dropped, self._looks = self._dropped, None, 0
        signal.setitimer(signal.ITIMER_REAL, BEAT, BEAT)
        raise dropped
