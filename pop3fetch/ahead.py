"""A result that comes about in the background, while the modules that will use it load.

To load them takes about as long as a few round trips: so neither waits for the other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Generic, TypeVar

from pop3fetch.errors import POP3Error

T = TypeVar("T")


class Ahead(Generic[T]):
    """What ``work`` returns or raises, once; begun at once, in a thread that holds up no exit."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._answer: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()
        Thread(target=self._do, args=(work,), daemon=True).start()

    def _do(self, work: Callable[[], T]) -> None:
        try:
            self._answer.put((work(), None))
        except BaseException as error:  # raised again where the result is wanted
            self._answer.put((None, error))

    def result(self) -> T:
        """Return the result, or raise what went wrong instead. There is one answer only."""
        result, error = self._answer.get()
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # None only where T is

    def abandon(self, dispose: Callable[[T], object]) -> None:
        """Give the result, which nobody wants any more, to ``dispose`` once it has come about."""
        Thread(target=self._dispose, args=(dispose,), daemon=True).start()

    def _dispose(self, dispose: Callable[[T], object]) -> None:
        with suppress(POP3Error):
            dispose(self.result())
