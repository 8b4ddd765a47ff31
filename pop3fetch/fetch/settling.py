"""Settling: what became of messages that a crash left between intended and delivered."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby

from pop3fetch.delivery.destination import Destination, Settled
from pop3fetch.record.store import Store

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
