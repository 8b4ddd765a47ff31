"""Settling: what became of the messages that a crash left between intending and done."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import groupby

from pop3fetch.delivery.destination import Destination, Settled
from pop3fetch.record.store import Store

Reopen = Callable[[str], Destination]  # a destination's name, as it was recorded -> the destination


def settle(store: Store, destination: Destination, reopen: Reopen) -> None:
    """Decide each intent.

    An intent names the destination of its own run, which need not be today's. Raises
    DeliveryError where that one is not there: what cannot be decided is not guessed.
    """
    intents = store.intents()
    for name, of_one in groupby(intents, key=lambda intent: intent.place.destination):
        where = destination if name == destination.name else reopen(name)
        for intent in of_one:
            if where.settle(intent.place) is Settled.DELIVERED:
                store.done([intent.entry], name, int(time.time()))
            else:
                store.undo([intent.entry.key])
        if where is not destination:
            where.close()
