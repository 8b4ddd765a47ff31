"""A result that comes about in the background: in the meantime modules load, or a limit passes.

To load modules takes about as long as a few round trips: so neither waits for the other. And what
has no time limit of its own, such as a keyring's backend or a name server, gets one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import TIMEOUT_MAX, Lock, Thread
from typing import TYPE_CHECKING, Generic, TypeVar
from weakref import WeakSet

from pop3fetch.errors import POP3Error

if TYPE_CHECKING:
    from typing import Protocol

    class Interruptible(Protocol):
        """Something that a thread may be waiting for."""

        def interrupt(self) -> None:
            """End the wait soon; from any thread."""


T = TypeVar("T")


class Handover(Generic[T]):
    """What threads and handlers of signals hand to a thread, which waits for it for some time at most.

    Not a SimpleQueue: if a signal comes when the time of its get() is just over, that waits for ever (Python
    3.11 and 3.12), and a signal comes twice a second (``cli.signals``).
    """

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._nothing = Lock()  # held unless there may be something
        self._nothing.acquire()

    def __bool__(self) -> bool:
        """Whether there is something."""
        return bool(self._items)

    def put(self, item: T) -> None:
        """Hand over ``item``."""
        self._items.append(item)
        with suppress(RuntimeError):  # it is known already that there is something
            self._nothing.release()

    def get(self, limit: float | None = None) -> T:
        """Return what comes first; raises TimeoutError if there is nothing within ``limit`` seconds."""
        end = None if limit is None else time.monotonic() + limit
        while not self._items:
            left = -1 if end is None else min(max(end - time.monotonic(), 0), TIMEOUT_MAX)
            if not self._nothing.acquire(timeout=left):
                raise TimeoutError
        return self._items.popleft()


class Answer(Generic[T]):
    """What ``work`` returns or raises, once: worked out in one thread, awaited in another."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._answer: Handover[tuple[T | None, BaseException | None]] = Handover()

    def work_out(self) -> None:
        """Do the work; raises what is not an Exception, such as Ctrl-C, here as well."""
        try:
            self._answer.put((self._work(), None))
        except BaseException as error:  # raised again for whatever awaits the result
            self.refuse(error)
            if not isinstance(error, Exception):
                raise

    def refuse(self, error: BaseException) -> None:
        """Let the result be ``error``."""
        self._answer.put((None, error))

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the thread that awaits the result, now or later; from any thread."""
        self.refuse(KeyboardInterrupt())

    def result(self, limit: float | None = None) -> T:
        """Return the result, or raise what went wrong instead. There is one answer only.

        Raises TimeoutError if there is none within ``limit`` seconds from now.
        """
        try:
            result, error = self._answer.get(limit)
        except TimeoutError:
            raise TimeoutError(f"it did not answer within {limit:g} s") from None
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # None only if T is


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


class Interrupts:
    """What the threads of a command wait for. Its owner can end all of it, also what begins later."""

    def __init__(self) -> None:
        self._waits: WeakSet[Interruptible] = WeakSet()
        self._is_over = False

    def watch(self, wait: Interruptible) -> None:
        """Let an interrupt end ``wait``, as long as something else holds on to it."""
        self._waits.add(wait)
        if self._is_over:
            wait.interrupt()

    def interrupt(self) -> None:
        """End everything that is watched."""
        self._is_over = True
        for wait in list(self._waits):
            wait.interrupt()


def pause(seconds: float, interrupts: Interrupts | None = None) -> None:
    """Wait; raises KeyboardInterrupt after an interrupt."""
    answer: Answer[None] = Answer(lambda: None)
    if interrupts:
        interrupts.watch(answer)
    with suppress(TimeoutError):
        answer.result(seconds)


class Ahead(Answer[T]):
    """An answer that is begun at once, in a thread ``name`` that holds up no exit.

    ``interrupts``: they end the wait for the result, and not the work.
    """

    def __init__(
        self, work: Callable[[], T], name: str | None = None, *, interrupts: Interrupts | None = None
    ) -> None:
        super().__init__(work)
        if interrupts:
            interrupts.watch(self)
        # Whether there was no thread for it, so that it begins when it is wanted.
        self._is_late = not try_to_start(Thread(target=self._work_out_quietly, name=name, daemon=True))

    def result(self, limit: float | None = None) -> T:
        """As :meth:`Answer.result`; what has a limit must not begin so late that none is kept."""
        if self._is_late:
            if limit is not None:
                raise TimeoutError("the system allows no thread in which it could be waited for")
            self.work_out()
        return super().result(limit)

    def _work_out_quietly(self) -> None:
        with suppress(BaseException):
            self.work_out()

    def abandon(self, dispose: Callable[[T], object]) -> None:
        """Give the result, which is no longer needed, to ``dispose`` once it exists."""
        if not self._is_late:
            try_to_start(Thread(target=self._dispose, args=(dispose,), daemon=True))

    def _dispose(self, dispose: Callable[[T], object]) -> None:
        with suppress(POP3Error, KeyboardInterrupt):  # the latter ends the process
            dispose(self.result())
