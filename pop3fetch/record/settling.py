"""Settling: what became of the messages that a crash left between intending and done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import groupby

from pop3fetch.delivery.destination import Destination, Settled
from pop3fetch.record.store import Intent, Store

Reopen = Callable[[str], Destination]  # a destination's name, as it was recorded -> the destination


def settle(store: Store, destination: Destination, reopen: Reopen) -> None:
    """Decide each intent.

    An intent names the destination of its own run, which need not be today's. Raises
    DeliveryError where that one is not there: what cannot be decided is not guessed.
    """
    others: list[Destination] = []
    try:
        for name, intents in groupby(store.intents(), key=lambda intent: intent.place.destination):
            where = destination
            if name != destination.name:
                where = reopen(name)
                others.append(where)
            _settle_at(store, where, list(intents))
        for other in others:  # all intents are settled by now, and nobody else will look there
            other.remove_leftovers()
    finally:
        for other in others:
            other.close()


def _settle_at(store: Store, where: Destination, intents: Sequence[Intent]) -> None:
    outcomes = [(intent.entry, where.settle(intent.place)) for intent in intents]
    delivered = [entry for entry, outcome in outcomes if outcome is Settled.DELIVERED]
    store.done(delivered, where.name, int(time.time()))
    store.undo(entry.key for entry, outcome in outcomes if outcome is Settled.UNDONE)
