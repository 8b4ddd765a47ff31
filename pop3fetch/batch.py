"""Group commit: messages that arrive while the disk is busy are delivered together.

The session's thread writes drafts and goes on reading; one other thread delivers whatever has
piled up, so the number of syncs follows from how fast the disk is, and nobody waits for a batch
to fill. Only a batch that is full makes the reading wait: memory, open files, and what a crash
costs stay bounded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from pop3fetch.delivery.destination import Destination, Draft, Journal
from pop3fetch.errors import DeliveryError

BATCH_MESSAGES = 200  # each holds a file open; 1024 is a usual limit, and two batches are under way
BATCH_OCTETS = 32 * 1024 * 1024
WORTHWHILE_MESSAGES = 50  # a batch costs four syncs of its own, whatever its size
PATIENCE = 0.05  # seconds that a smaller batch waits for more

Delivered = Callable[[Draft], None]
Refused = Callable[[Draft, DeliveryError], None]


class Batcher:
    """Deliver drafts in batches; ``delivered`` and ``refused`` are told in the session's thread."""

    def __init__(
        self, destination: Destination, journal: Journal, delivered: Delivered, refused: Refused
    ) -> None:
        self._destination = destination
        self._journal = journal
        self._delivered = delivered
        self._refused = refused
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pending: list[Draft] = []
        self._octets = 0
        self._results: list[tuple[Draft, DeliveryError | None]] = []
        self._failure: BaseException | None = None
        self._ending = False

    def __enter__(self) -> Batcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Deliver what is left; after an error discard it, but let a running batch come to its end."""
        if error is not None:
            self._discard_pending()
        self._end()
        self._tell()
        if error is None and self._failure:
            raise self._failure

    def add(self, draft: Draft) -> None:
        """Take a draft that is written; waits while the batch is full. Raises what a delivery raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._failure or not self._is_full())
            if self._failure:
                draft.discard()
                raise self._failure
            self._pending.append(draft)
            self._octets += draft.octets
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
            self._thread.start()
        self._tell()

    def _is_full(self) -> bool:
        return len(self._pending) >= BATCH_MESSAGES or self._octets >= BATCH_OCTETS

    def _tell(self) -> None:
        with self._changed:
            results, self._results = self._results, []
        for draft, refusal in results:
            if refusal:
                self._refused(draft, refusal)
            else:
                self._delivered(draft)

    def _discard_pending(self) -> None:
        with self._changed:
            pending, self._pending = self._pending, []
        for draft in pending:
            draft.discard()

    def _end(self) -> None:
        with self._changed:
            self._ending = True
            self._changed.notify_all()
        if self._thread:
            self._thread.join()

    # -- the delivering thread ---------------------------------------------------------------

    def _work(self) -> None:
        while batch := self._next_batch():
            try:
                self._deliver(batch)
            except BaseException as error:  # it is raised again in the session's thread
                self._fail(error, batch)
                return

    def _next_batch(self) -> list[Draft]:
        with self._changed:
            self._changed.wait_for(lambda: self._ending or self._pending)
            self._changed.wait_for(lambda: self._ending or self._is_worthwhile(), PATIENCE)
            batch, self._pending, self._octets = self._pending, [], 0
            self._changed.notify_all()
        return batch

    def _is_worthwhile(self) -> bool:
        return len(self._pending) >= WORTHWHILE_MESSAGES or self._is_full()

    def _deliver(self, batch: list[Draft]) -> None:
        refused = dict(self._destination.deliver(batch, self._journal))
        with self._changed:
            self._results += [(draft, refused.get(draft)) for draft in batch]

    def _fail(self, error: BaseException, batch: list[Draft]) -> None:
        with self._changed:
            self._failure = error
            batch, self._pending = batch + self._pending, []
            self._changed.notify_all()
        for draft in batch:
            if not draft.intended:
                draft.discard()
