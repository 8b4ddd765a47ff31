"""What a complete listing lacks: it is missing at first, and forgotten after days and several listings."""

from __future__ import annotations

from collections.abc import Iterable

from pop3fetch.messages import Key
from pop3fetch.record.states import DAY, Event, Known, State, Unsettled
from pop3fetch.record.store import Store

KEPT = 7 * DAY  # seconds that an unlisted message is remembered: longer than a server's bad weekend
MOST_MISSES = 3  # complete listings that must lack a message as well: a clock may jump by weeks


def miss(store: Store, known: Known, missing: Iterable[Key], now: int) -> None:
    """Record what a complete listing lacks; ``now`` in seconds since the epoch."""
    missed, expired = [], []
    for key in missing:
        row = known.unsettled.get(key)
        if row is None or counts(row):
            missed.append(key)
        elif is_expired(row, now):
            expired.append(key)
    for event, keys in ((Event.UNLISTED, missed), (Event.EXPIRED, expired)):
        if keys:
            store.happened(event, keys, now)


def counts(row: Unsettled) -> bool:
    """Return whether one more listing that lacks the message is news to the record."""
    return row.state not in (State.MISSING, State.DELETED) or row.misses < MOST_MISSES


def is_expired(row: Unsettled, now: float) -> bool:
    """Return whether a message may be forgotten if one more complete listing lacks it."""
    return row.misses >= MOST_MISSES and now - row.since >= KEPT
