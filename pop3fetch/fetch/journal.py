"""What a delivery tells the record, and what it tells nobody."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from pop3fetch.delivery.destination import Draft, Place
from pop3fetch.headers import Identity
from pop3fetch.messages import Key, Listing, Message
from pop3fetch.record.states import state_of
from pop3fetch.record.store import Entry, Intent, Store


def moved_up(listing: Listing, deleted: Collection[int]) -> dict[Key, Key]:
    """Return old to new keys of messages that share a UID, once those at the ``deleted`` indexes are gone.

    The next listing counts those that are left from 0; so the deleted ones get the places behind them.
    """
    keys: dict[Key, Key] = {}
    uids = {listing.message(index).uid for index in deleted} if listing.has_copies else set()
    for uid in uids - {b""}:  # which stands for a UID that was not wanted
        copies = listing.with_uid(uid)
        in_order = sorted(range(len(copies)), key=lambda place: copies[place] in deleted)
        keys |= {Key(uid, old): Key(uid, new) for new, old in enumerate(in_order) if new != old}
    return keys


def entry_of(message: Message, identity: Identity | None, octets: int | None = None) -> Entry:
    """Return what the record keeps of a message; ``octets``: how many of it were received."""
    return Entry(message.key, message.size, identity, octets, state_of(message.size, octets))


class RecordJournal:
    """Keep durably what a delivery intends and has done; ``clock`` gives seconds since the epoch."""

    def __init__(
        self, store: Store, destination: str, clock: Callable[[], float] = time.time, folder: str = ""
    ) -> None:
        """``destination`` and ``folder`` are its name and its folder_id."""
        self._store = store
        self._destination = destination
        self._clock = clock
        self._folder = folder

    def intend(self, drafts: Sequence[Draft], places: Sequence[Place]) -> None:
        for draft in drafts:
            draft.intended = True
        self._store.intend(
            Intent(entry_of(draft.message, draft.identity, draft.received), place)
            for draft, place in zip(drafts, places, strict=True)
        )

    def done(self, drafts: Sequence[Draft]) -> None:
        entries = [entry_of(draft.message, draft.identity, draft.received) for draft in drafts]
        self._store.done(entries, self._destination, int(self._clock()), self._folder)

    def undo(self, drafts: Sequence[Draft]) -> None:
        self._store.undo(draft.message.key for draft in drafts)


class NoJournal:
    """Keep nothing: a look is recorded nowhere."""

    def intend(self, drafts: Sequence[Draft], places: Sequence[Place]) -> None:
        pass

    def done(self, drafts: Sequence[Draft]) -> None:
        pass

    def undo(self, drafts: Sequence[Draft]) -> None:
        pass
