"""A result that comes about in the background: in the meantime modules load, or a limit passes.

To load modules takes about as long as a few round trips: so neither waits for the other. And what
has no time limit of its own, such as a keyring's backend or a name server, gets one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from pop3fetch.errors import POP3Error

T = TypeVar("T")


class Answer(Generic[T]):
    """What ``work`` returns or raises, once: worked out in one thread, awaited in another."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._answer: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def work_out(self) -> None:
        """Do the work; raises what is no Exception, such as Ctrl-C, here as well."""
        try:
            self._answer.put((self._work(), None))
        except BaseException as error:  # raised again where the result is wanted
            self.refuse(error)
            if not isinstance(error, Exception):
                raise

    def refuse(self, error: BaseException) -> None:
        """Let the result be ``error``."""
        self._answer.put((None, error))

    def result(self, limit: float | None = None) -> T:
        """Return the result, or raise what went wrong instead. There is one answer only.

        Raises TimeoutError where there is none within ``limit`` seconds from now.
        """
        try:
            result, error = self._answer.get(timeout=limit)
        except Empty:
            raise TimeoutError(f"it did not answer within {limit:g} s") from None
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # None only where T is


def is_thread_limit(error: RuntimeError) -> bool:
    """Return whether no thread could be started; an interrupt in a lock comes as a RuntimeError, too."""
    return str(error) == "can't start new thread"


def try_to_start(thread: Thread) -> bool:
    """Start ``thread``; return False if the system allows no more."""
    try:
        thread.start()
    except RuntimeError as error:
        if is_thread_limit(error):
            return False
        raise
    return True


_left_at_interrupts: WeakSet[Answer[Any]] = WeakSet()


def leave_all(error: BaseException) -> None:
    """Raise ``error`` where what need not be waited for, such as a connection, is or will be awaited."""
    for answer in list(_left_at_interrupts):
        answer.refuse(error)


def pause(seconds: float) -> None:
    """Wait for so long, unless an interrupt ends all waits, see :func:`leave_all`."""
    answer: Answer[None] = Answer(lambda: None)
    _left_at_interrupts.add(answer)
    try:
        with suppress(TimeoutError):
            answer.result(seconds)
    finally:
        _left_at_interrupts.discard(answer)


class Ahead(Answer[T]):
    """An answer that is begun at once, in a thread ``name`` that holds up no exit.

    ``may_be_left``: an interrupt need not wait for it, see :func:`leave_all`.
    """

    def __init__(self, work: Callable[[], T], name: str | None = None, *, may_be_left: bool = False) -> None:
        super().__init__(work)
        if may_be_left:  # from now on, for an interrupt may come before anybody awaits it
            _left_at_interrupts.add(self)
        # Whether there was no thread for it, so that it begins when it is wanted.
        self._is_late = not try_to_start(Thread(target=self._work_out_quietly, name=name, daemon=True))

    def result(self, limit: float | None = None) -> T:
        """As :meth:`Answer.result`; what has a limit must not begin so late that none is kept."""
        if self._is_late:
            if limit is not None:
                raise TimeoutError("the system allows no thread in which it could be waited for")
            self.work_out()
        try:
            return super().result(limit)
        finally:
            _left_at_interrupts.discard(self)

    def _work_out_quietly(self) -> None:
        with suppress(BaseException):
            self.work_out()

    def abandon(self, dispose: Callable[[T], object]) -> None:
        """Give the result, which nobody wants any more, to ``dispose`` once it has come about."""
        if not self._is_late:
            try_to_start(Thread(target=self._dispose, args=(dispose,), daemon=True))

    def _dispose(self, dispose: Callable[[T], object]) -> None:
        with suppress(POP3Error):
            dispose(self.result())
