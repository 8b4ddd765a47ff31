"""Settling: what became of the messages that a crash left between intending and done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from pop3fetch.delivery.destination import Destination, Settled
from pop3fetch.record.store import Intent, Store

Reopen = Callable[[str], Destination]  # a destination's name, as it was recorded -> the destination
Warn = Callable[[str], None]


def settle(store: Store, destination: Destination, reopen: Reopen, now: float, warn: Warn) -> None:
    """Decide each intent; ``now`` in seconds since the epoch.

    An intent names the destination of its own run, which need not be today's. If that one is gone, and
    is not today's under another name, what was intended there is undone: the message is fetched again.
    Raises DeliveryError if a destination cannot be examined: what cannot be decided is not guessed.
    """
    others: list[Destination] = []
    try:
        for name, group in groupby(store.intents(), key=lambda intent: intent.place.destination):
            intents = list(group)
            where = destination
            if name != destination.name and not destination.was(intents[0].place):
                where = reopen(name)
                others.append(where)
                if not where.folder_id:
                    warn(f"{name} is gone: messages that a crash left there are fetched again")
                    store.undo(intent.entry.key for intent in intents)
                    continue
            _settle_at(store, where, intents, now)
        for other in others:  # all intents are settled by now, and no other run looks there
            other.remove_leftovers()
    finally:
        for other in others:
            other.close()


def _settle_at(store: Store, where: Destination, intents: Sequence[Intent], now: float) -> None:
    folder = where.folder_id  # before settling, which fails if its disk goes meanwhile
    outcomes = where.settle([intent.place for intent in intents])
    pairs = [(intent.entry, outcome) for intent, outcome in zip(intents, outcomes, strict=True)]
    delivered = [entry for entry, outcome in pairs if outcome is Settled.DELIVERED]
    store.done(delivered, where.name, int(now), folder)
    store.undo(entry.key for entry, outcome in pairs if outcome is Settled.UNDONE)
