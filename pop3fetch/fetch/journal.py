"""What the record keeps of a delivery; and settling: what became of messages that a crash left in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from itertools import groupby

from pop3fetch.delivery.destination import Destination, Draft, Place, Settled
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
    for uid in uids - {b""}:  # the UID of a message whose UID was not requested
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


Reopen = Callable[[str], Destination]  # a destination's name, as it was recorded -> the destination


def settle(
    store: Store, destination: Destination, reopen: Reopen, now: float, warn: Callable[[str], None]
) -> None:
    """Decide each intent; ``now`` in seconds since the epoch.

    An intent names the destination of its own run, which need not be today's. If that one is gone, and
    is not today's under another name, what was intended there is undone: the message is fetched again.
    Raises DeliveryError if a destination cannot be examined: what cannot be decided is not guessed.
    """
    others: list[Destination] = []
    try:
        for name, group in groupby(store.intents(), key=lambda intent: intent.place.destination):
            intents = list(group)
            target = destination
            if name != destination.name and not destination.was(intents[0].place):
                target = reopen(name)
                others.append(target)
                if not target.folder_id:
                    warn(f"{name} is gone: messages that a crash left there are fetched again")
                    store.undo(intent.entry.key for intent in intents)
                    continue
            folder = target.folder_id  # before settling, which fails if its disk goes meanwhile
            outcomes = target.settle([intent.place for intent in intents])
            pairs = [(intent.entry, outcome) for intent, outcome in zip(intents, outcomes, strict=True)]
            delivered = [entry for entry, outcome in pairs if outcome is Settled.DELIVERED]
            store.done(delivered, target.name, int(now), folder)
            store.undo(entry.key for entry, outcome in pairs if outcome is Settled.UNDONE)
        for other in others:  # all intents are settled by now, and no other run looks there
            other.remove_leftovers()
    finally:
        for other in others:
            other.close()
