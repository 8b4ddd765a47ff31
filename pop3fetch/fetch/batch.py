"""Group commit: messages that arrive while the disk is busy are delivered together.

The session's thread writes drafts and goes on reading; one other thread delivers whatever has
piled up, so the number of syncs follows from how fast the disk is, and nothing waits for a batch
to fill. Only a batch that is full makes the reading wait: memory, open files, and what a crash
costs stay bounded.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Callable
from types import TracebackType

from pop3fetch.delivery.destination import Destination, Draft, Journal
from pop3fetch.errors import DeliveryError, POP3Error

BATCH_MESSAGES = 400
BATCH_OCTETS = 32 * 1024 * 1024
WORTHWHILE_MESSAGES = 150  # a batch costs four syncs of its own, whatever its size
BATCH_DELAY = 0.05  # seconds that a smaller batch waits for more

WANTED_FILES = 8192  # descriptors; more would only be asked for by mistake
OTHER_FILES = 104  # of modules, folders, records, connections and programs
BATCHES_UNDER_WAY = 2  # one is filled while the other is delivered

Delivered = Callable[[Draft], None]
Refused = Callable[[Draft, DeliveryError], None]


class Batcher:
    """Deliver drafts in batches of at most ``room``, as each may hold a file open.

    ``delivered`` and ``refused`` are called in the session's thread.
    """

    def __init__(
        self,
        destination: Destination,
        journal: Journal,
        delivered: Delivered,
        refused: Refused,
        *,
        room: int = BATCH_MESSAGES,
    ) -> None:
        self._destination = destination
        self._journal = journal
        self._delivered = delivered
        self._refused = refused
        self._room = room
        self._worthwhile = min(WORTHWHILE_MESSAGES, room)
        # Taken as it is, and not through the condition: so no interrupt can come between taking it
        # and knowing that it is taken.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._running = threading.Lock()  # held from the thread's start to its end
        self._pending: list[Draft] = []
        self._octets = 0
        self._results: list[tuple[Draft, DeliveryError | None]] = []
        self._failure: BaseException | None = None
        self._ending = False

    def __enter__(self) -> Batcher:
        self._running.acquire()
        threading.Thread(target=self._work, name="delivery", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Deliver what is left; after an interrupt discard it, but let a running batch come to its end.

        At an interrupt a batch that waits, for a lock or a program, waits no longer.
        """
        # What came whole before the line broke is delivered, for the next line may break as soon;
        # and so is what came before the reader of standard output left.
        if error is not None and not isinstance(error, POP3Error | BrokenPipeError):
            with self._lock:
                pending, self._pending = self._pending, []
            for draft in pending:
                draft.discard()
        if error is not None and not isinstance(error, Exception):  # Ctrl-C and SIGTERM, not a lost line
            self._destination.interrupt()
        try:
            self.end()
        except BaseException:  # an interrupt while the last batch is delivered
            self._destination.interrupt()
            self.end()
            raise
        self._report()
        # Not a broken session: another one would deliver again what only settling can decide.
        if self._failure and (error is None or isinstance(error, POP3Error)):
            raise self._failure

    def add(self, draft: Draft) -> None:
        """Take a draft that is written; waits while the batch is full. Raises what a delivery raised."""
        with self._lock:
            self._changed.wait_for(lambda: self._failure or not self._holds(self._room))
            if self._failure:
                draft.discard()
                raise self._failure
            self._pending.append(draft)
            self._octets += draft.octets
            # Woken only if it has something to do: each waking costs more than a message.
            if len(self._pending) == 1 or self._holds(self._worthwhile):
                self._changed.notify_all()
        if self._results:
            self._report()

    def _holds(self, messages: int) -> bool:
        """Whether so many messages, or as many octets as a batch may have, are waiting."""
        return len(self._pending) >= messages or self._octets >= BATCH_OCTETS

    def _report(self) -> None:
        with self._lock:
            results, self._results = self._results, []
        for draft, refusal in results:
            if refusal:
                self._refused(draft, refusal)
            else:
                self._delivered(draft)

    def end(self) -> None:
        """Deliver what is pending, and wait until no delivery runs; call it again after an interrupt."""
        with self._lock:
            self._ending = True
            self._changed.notify_all()
        # Not Thread.join(): interrupted, it takes the thread for ended (Python 3.9 to 3.12).
        with self._running:
            pass

    # -- the delivering thread ---------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._failure:
                with self._lock:
                    self._changed.wait_for(lambda: self._ending or self._pending)
                    self._changed.wait_for(lambda: self._ending or self._holds(self._worthwhile), BATCH_DELAY)
                    batch, self._pending, self._octets = self._pending, [], 0
                    self._changed.notify_all()
                if not batch:
                    return
                try:
                    refused = dict(self._destination.deliver(batch, self._journal))
                except BaseException as error:  # it is raised again in the session's thread
                    self._fail(error, batch)
                else:
                    with self._lock:
                        self._results += [(draft, refused.get(draft)) for draft in batch]
        finally:
            self._running.release()

    def _fail(self, error: BaseException, batch: list[Draft]) -> None:
        with self._lock:
            self._failure = error
            batch, self._pending = batch + self._pending, []
            self._changed.notify_all()
        for draft in batch:
            if not draft.intended:
                draft.discard()


def room_for_drafts(runs: int, most: int = BATCH_MESSAGES) -> int:
    """Return how many drafts, up to ``most``, a batch may have if so many ``runs`` go on side by side.

    Each draft of a batch is an open file. Raises the process's own limit as far as it may; systems give
    256 (macOS) to 1024 by default.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(hard, WANTED_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft == resource.RLIM_INFINITY:
        return most
    return max(1, min(most, (soft - OTHER_FILES) // (BATCHES_UNDER_WAY * runs)))
