"""Changes of a record by hand, and by the import from another program: add, forget, give up.

Each is one transaction, so that a crash leaves the old record or the new one.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from pop3fetch.headers.fields import Identity
from pop3fetch.record.states import State
from pop3fetch.record.store import ADDED, ADDITIONS, BROKE_AT, MOVED, REPLIES_LOST, Store, state_of

_ADD = """
INSERT OR IGNORE INTO message
(uid, occurrence, size, identity, proves, octets, state, delivered, destination)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_NOTHING_BROKE = "DELETE FROM fact WHERE name = ? OR name GLOB ? || '*'"


class Addition(NamedTuple):
    """A message that was fetched outside, by its UID, as the server sends it.

    ``fetched_at`` in seconds since the epoch, None if it is not known. ``destination``: ADDED, MARKED,
    IMPORTED with the program's name, or that of a delivery. ``size`` as the server lists it, 0 if that is
    not known. ``may_be_reused``: the server may have given the UID to another message since.
    ``occurrence``: its position among the messages that share the UID; None: they are in their order.
    """

    uid: bytes
    fetched_at: int | None = None
    destination: str = ADDED
    size: int = 0
    identity: Identity | None = None
    octets: int | None = None
    may_be_reused: bool = False
    occurrence: int | None = None


class EditedStore(Store):
    """A record that is changed by hand; it holds the record's lock as a run does."""

    def add(self, additions: Iterable[Addition], now: float) -> int:
        """Record messages as fetched, without the server; return how many were not recorded before.

        A message that is recorded already stays as it is. Messages that share a UID are counted in their
        order. A time that is not known, or in the future, becomes ``now``: then the message is deleted
        from the server late, never early.
        """
        copies: Counter[bytes] = Counter()
        rows = []
        for addition in additions:
            uid, fetched_at, destination, size, identity, octets, may_be_reused, occurrence = addition
            # Without a size there is nothing yet that a listing could contradict.
            state = State.DOUBTED if may_be_reused else state_of(size, octets) if size else State.ADDED
            moment = int(now) if fetched_at is None else min(fetched_at, int(now))
            digest, proves = identity or (None, False)
            name = os.fsencode(destination)
            place = copies[uid] if occurrence is None else occurrence
            rows.append((uid, place, size, digest, proves, octets, int(state), moment, name))
            copies[uid] += 1
        rows.sort(key=lambda row: row[:2])  # as the table is: each page of it is changed once
        with self._transaction():
            self._database.execute("INSERT OR REPLACE INTO fact VALUES (?, 'yes')", (ADDITIONS,))
            return self._database.executemany(_ADD, rows).rowcount

    def forget(self, uids: Iterable[bytes]) -> int:
        """Forget messages, so that they are new again; return how many were recorded."""
        rows = [(uid,) for uid in uids]
        with self._transaction():
            self._database.executemany("DELETE FROM oversize WHERE uid = ?", rows)
            self._database.execute(_NOTHING_BROKE, (BROKE_AT, REPLIES_LOST))
            return self._database.executemany("DELETE FROM message WHERE uid = ?", rows).rowcount

    def forget_all(self) -> int:
        """Forget all messages; return how many were recorded."""
        with self._transaction():
            self._database.execute("DELETE FROM oversize")
            self._database.execute(_NOTHING_BROKE, (BROKE_AT, REPLIES_LOST))
            self._database.execute("DELETE FROM fact WHERE name IN (?, ?)", (ADDITIONS, MOVED))
            return self._database.execute("DELETE FROM message").rowcount

    def forget_destination(self, name: str) -> int:
        """Forget a destination, and give up what a crash left there; return how many messages that were."""
        destination = (os.fsencode(name),)
        with self._transaction():
            self._database.execute("DELETE FROM destination WHERE name = ?", destination)
            return self._database.execute("DELETE FROM intent WHERE destination = ?", destination).rowcount
