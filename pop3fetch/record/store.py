"""What is read from and written to a record, in one transaction each; one run at a time has it open.

``message``: what is delivered, and its state. ``intent``: what was about to be, so that a crash in
between can be settled. ``destination``: what has taken mail. ``oversize``: what was reported as too
large. ``fact``: what else must be remembered of the account.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any

from pop3fetch.delivery.destination import Place
from pop3fetch.durable import is_absent
from pop3fetch.headers.fields import Identity
from pop3fetch.messages import Key, is_short
from pop3fetch.record.database import (
    SCHEMA,
    create,
    open_database,
    open_to_read,
    record_errors,
    remove_aside,
)
from pop3fetch.record.place import Lock, RecordPlace
from pop3fetch.record.states import Event, Known, State, Unsettled, next_states
from pop3fetch.values import NamedTuple

MARKED = "marked"  # the destination of what was recorded without being fetched
ADDED = "added"  # of what the user has recorded as fetched by other means
MARKED_BY = f"{MARKED}:"  # of what another program has fetched and leaves on the server, before its name
IMPORTED = "imported:"  # of what another program has fetched, before the program's name
MOVED = "moved"  # the fact that a record is that of another address, and was compared with no listing yet
ADDITIONS = "additions"  # the fact that a record has messages which no listing was compared with yet
BROKE_AT = "broke at"  # the fact at which messages a delivery broke
REPLIES_LOST = "replies lost at "  # the fact to which messages they were, before a destination's name
LISTING = "listing"  # the fact that names a listing of which everything is recorded; any change drops it

_ENTRIES = """
SELECT uid, occurrence, size, identity, proves, octets, state, delivered, destination FROM message
"""
_UNIDENTIFIED = "SELECT uid, occurrence, destination FROM message WHERE identity IS NULL"
_INTENTS = """
SELECT uid, occurrence, size, identity, proves, octets, destination, name, offset, length, folder
FROM intent ORDER BY destination, offset
"""
_INTEND = """
INSERT OR REPLACE INTO intent
(uid, occurrence, size, identity, proves, octets, destination, name, offset, length, folder)
VALUES
"""
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FULFIL = """
INSERT OR REPLACE INTO message
(uid, occurrence, size, identity, proves, octets, state, delivered, destination)
SELECT uid, occurrence, size, identity, proves, octets, 2 * ifnull(octets, size) < size, ?, destination
FROM intent WHERE destination = ?
"""
_DONE = """
INSERT OR REPLACE INTO message
(uid, occurrence, size, identity, proves, octets, state, delivered, destination)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_EVERYTHING = """
SELECT uid, occurrence, size, identity, proves, octets, state, since, misses, delivered, destination
FROM message
"""
_TAKE_OVER = """
INSERT OR IGNORE INTO message
(uid, occurrence, size, identity, proves, octets, state, since, misses, delivered, destination)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_MARKED = """
SELECT uid, occurrence FROM message
WHERE destination = CAST('marked' AS BLOB) OR substr(destination, 1, 7) = CAST('marked:' AS BLOB)
"""
_DUE = "SELECT uid, occurrence FROM message WHERE delivered <= ? AND state NOT IN (?, ?)"
_NO_INTENT = "DELETE FROM intent WHERE uid = ? AND occurrence = ?"
_DELETE = "DELETE FROM message WHERE uid = ? AND occurrence = ? AND ({states})"
# Since when, as long as the state does not change, and how often in a row.
_UPDATE = """
UPDATE message SET
    since = CASE state WHEN {then} THEN since ELSE {moment} END,
    misses = CASE state WHEN {then} THEN misses + 1 ELSE 1 END,
    state = {then}
WHERE uid = ? AND occurrence = ? AND ({states})
"""


TOGETHER = 50  # rows of one statement: between two of them other threads take the interpreter


class Entry(NamedTuple):
    """A message as the record keeps it.

    ``size`` in octets, as it was last listed, 0 if that is not known; ``identity`` is None if it is not
    known; ``octets``: how many were received, None if that is not known. ``unseen_since``: when it was
    recorded as fetched, if this program has never seen any of it, so that only dates can be compared.
    """

    key: Key
    size: int
    identity: Identity | None
    octets: int | None = None
    state: State = State.FETCHED
    unseen_since: int | None = None


def state_of(size: int, octets: int | None) -> State:
    """Return the state of a message that is delivered: SHORT if it came far shorter than listed."""
    return State.SHORT if is_short(size, octets) else State.FETCHED


class Intent(NamedTuple):
    """A message that was about to become visible."""

    entry: Entry
    place: Place


def set_aside(key: Key) -> Key:
    """Return the key of a message whose UID another server has given: no UID begins with a blank."""
    return key._replace(uid=b" " + key.uid)


class Store:
    """An open record. One run holds it from before the login to its end."""

    def __init__(self, place: RecordPlace, lock: Lock | None = None) -> None:
        """Lock the record, unless its ``lock`` is held already, and open it; it is created if it is missing.

        Raises RecordLocked, or RecordError if it is damaged or from a newer version.
        """
        self.path = place.database
        # SQLite's module crashes if one thread closes a connection that another one reads from.
        self._turn = threading.Lock()
        self._lock = lock or place.take()
        try:
            with record_errors(self.path):
                if is_absent(self.path):
                    create(self.path)
                else:
                    remove_aside(self.path)
                self._database = open_database(self.path)
        except BaseException:
            self._lock.release()
            raise

    def reopen(self) -> None:
        """Open the database anew, as the next run would, under the lock that is held.

        After an error at a commit only SQLite's recovery knows what became of it.
        """
        with self._turn:
            with suppress(sqlite3.Error):
                self._database.close()
            with record_errors(self.path):
                self._database = open_database(self.path)

    def close(self) -> None:
        """Close the database and release the lock."""
        with self._turn, suppress(sqlite3.Error):  # all that matters was committed
            self._database.close()
        self._lock.release()

    # -- what is known -----------------------------------------------------------------------

    def known(self) -> Known:
        """Return the sizes and states of all messages that are recorded."""
        firsts = self._rows("SELECT uid, size FROM message WHERE occurrence = 0 AND state = 0")
        copies = self._rows("SELECT uid, occurrence, size FROM message WHERE occurrence > 0 AND state = 0")
        others = self._rows("SELECT uid, occurrence, state, since, misses FROM message WHERE state <> 0")
        return Known(
            dict(firsts),
            {Key(uid, occurrence): size for uid, occurrence, size in copies},
            {
                Key(uid, occurrence): Unsettled(State(state), *since)
                for uid, occurrence, state, *since in others
            },
        )

    def short(self) -> set[Key]:
        """Return what is recorded, not FETCHED, and came far shorter than listed."""
        return self._keys("SELECT uid, occurrence FROM message WHERE state <> 0 AND 2 * octets < size")

    def entry(self, key: Key) -> Entry | None:
        """Return what is recorded of a message, or None."""
        rows = self._rows(_ENTRIES + " WHERE uid = ? AND occurrence = ?", key)
        return next(map(_entry_of, rows), None)

    def copies_of(self, uid: bytes) -> list[Entry]:
        """Return all that is recorded with this UID, in order."""
        return list(map(_entry_of, self._rows(_ENTRIES + " WHERE uid = ? ORDER BY occurrence", (uid,))))

    def additions(self) -> dict[Key, str]:
        """Return what was recorded without the server, and was never seen, with its destination."""
        rows = self._rows(_UNIDENTIFIED)
        return {
            Key(uid, occurrence): os.fsdecode(name) for uid, occurrence, name in rows if not _is_own(name)
        }

    def entries(self) -> Iterator[Entry]:
        """Yield all that is recorded."""
        return map(_entry_of, self._rows(_ENTRIES))

    def fetched(self) -> Iterator[tuple[Entry, int, str]]:
        """Yield all that is recorded, when it was fetched, and its destination, in the order of time."""
        for row in self._rows(_ENTRIES + " ORDER BY delivered, uid, occurrence"):
            yield _entry_of(row), row[-2], os.fsdecode(row[-1])

    def delivered_before(self, moment: int) -> set[Key]:
        """Return what was delivered up to ``moment``, seconds since the epoch."""
        return self._keys("SELECT uid, occurrence FROM message WHERE delivered <= ?", moment)

    def has_deletable(self, moment: int, *, marked: bool) -> bool:
        """Return whether the server may have a message that was delivered up to ``moment``.

        ``marked``: those count that were recorded without being fetched.
        """
        due = self._keys(_DUE, moment, State.MISSING, State.DELETED)
        return bool(due if marked else due - self.marked())

    def delivered_at(self, key: Key) -> int | None:
        """Return when a message was recorded as fetched, in seconds since the epoch, or None."""
        query = "SELECT delivered FROM message WHERE uid = ? AND occurrence = ?"
        return next((moment for (moment,) in self._rows(query, key)), None)

    def marked(self) -> set[Key]:
        """Return what was recorded without being fetched."""
        return self._keys(_MARKED)

    def delivered_to(self, destination: str) -> set[Key]:
        """Return what was last delivered to a destination."""
        return self._keys(
            "SELECT uid, occurrence FROM message WHERE destination = ?", os.fsencode(destination)
        )

    def intents(self) -> list[Intent]:
        """Return what a crash left between intending and done, in the order of the destination."""
        intents = []
        for *columns, destination, name, offset, length, folder in self._rows(_INTENTS):
            entry = _entry_of((*columns, State.FETCHED, 0, destination))
            place = Place(os.fsdecode(destination), os.fsdecode(name), offset, length, folder)
            intents.append(Intent(entry._replace(state=state_of(entry.size, entry.octets)), place))
        return intents

    def oversize(self) -> set[Key]:
        """Return the messages that were reported as larger than the limit."""
        return self._keys("SELECT uid, occurrence FROM oversize")

    def destinations(self) -> set[str]:
        """Return the destinations that have taken mail, or were about to."""
        rows = self._rows("SELECT name FROM destination UNION SELECT destination FROM intent")
        return {os.fsdecode(name) for (name,) in rows}

    def folder_of(self, destination: str) -> str | None:
        """Return the folder_id of a destination that has taken mail, "" if it was not kept, or None."""
        rows = self._rows("SELECT folder FROM destination WHERE name = ?", (os.fsencode(destination),))
        return next((folder for (folder,) in rows), None)

    def fact(self, name: str) -> str | None:
        """Return what is remembered under ``name``, or None."""
        return next(
            (value for (value,) in self._rows("SELECT value FROM fact WHERE name = ?", (name,))), None
        )

    @property
    def tag(self) -> str:
        """Sixteen hexadecimal digits that mark what this record's runs leave on the disk."""
        return self.fact("tag") or ""

    # -- what is changed, each durably ---------------------------------------------------------

    def intend(self, intents: Iterable[Intent]) -> None:
        """Keep that messages are about to become visible."""
        rows = [
            (
                *_columns(intent.entry),
                os.fsencode(intent.place.destination),
                os.fsencode(intent.place.name),
                intent.place.offset,
                intent.place.length,
                intent.place.folder,
            )
            for intent in intents
        ]
        with self._transaction():
            for first in range(0, len(rows), TOGETHER):
                part = rows[first : first + TOGETHER]
                self._database.execute(_INTEND + ", ".join([_ROW] * len(part)), list(chain(*part)))

    def fulfil(self, destination: str, moment: int, folder: str = "") -> None:
        """Keep that all that is intended for a destination is delivered, as by :meth:`done`."""
        name = os.fsencode(destination)
        with self._transaction():
            self._database.execute(_FULFIL, (moment, name))
            self._database.execute("DELETE FROM intent WHERE destination = ?", (name,))
            if folder:
                self._database.execute("INSERT OR REPLACE INTO destination VALUES (?, ?)", (name, folder))

    def done(self, entries: Iterable[Entry], destination: str, moment: int, folder: str = "") -> None:
        """Keep that messages are delivered, at ``moment``, and no intents any more.

        ``folder``: the folder_id of the destination, which is known from now on.
        """
        name = os.fsencode(destination)
        rows = [(*_columns(entry), int(entry.state), moment, name) for entry in entries]
        with self._transaction():
            self._database.executemany(_DONE, rows)
            self._database.executemany(_NO_INTENT, [row[:2] for row in rows])
            if rows and folder:
                self._database.execute("INSERT OR REPLACE INTO destination VALUES (?, ?)", (name, folder))

    def undo(self, keys: Iterable[Key]) -> None:
        """Keep that intents came to nothing."""
        self._each(_NO_INTENT, keys)

    def happened(self, event: Event, keys: Iterable[Key], moment: int) -> None:
        """Keep what ``event``, at ``moment``, makes of recorded messages; others are passed over."""
        sources: dict[State, list[str]] = {}
        for state, then in next_states(event).items():
            sources.setdefault(then, []).append(f"state = {state:d}")
        rows = sorted(keys)  # as the table is: each page of it is changed once
        with self._transaction():
            for then, tests in sources.items():
                statement = _DELETE if then is State.NEW else _UPDATE
                states = " OR ".join(tests)
                sql = statement.format(then=int(then), states=states, moment=int(moment))
                self._database.executemany(sql, rows)

    def resize(self, sizes: Mapping[Key, int]) -> None:
        """Keep the new sizes of messages that are still the same."""
        with self._transaction():
            self._database.executemany(
                "UPDATE message SET size = ? WHERE uid = ? AND occurrence = ?",
                [(size, key.uid, key.occurrence) for key, size in sizes.items()],
            )

    def identify(self, identities: Mapping[Key, Identity]) -> None:
        """Keep what a look has shown of messages that this program had never seen."""
        with self._transaction():
            self._database.executemany(
                "UPDATE message SET identity = ?, proves = ? WHERE uid = ? AND occurrence = ?",
                [(*identity, *key) for key, identity in identities.items()],
            )

    def take_over(self, former: Store) -> None:
        """Keep what the record of a ``former`` address has, beside what is in this one.

        What a crash left there must be settled before, because this record has another tag. If this
        one has messages already, those of the former one are kept as :func:`set_aside`, unless they are
        the same.
        """
        messages = list(former._rows(_EVERYTHING))
        own = {row[:2]: row[2:5] for row in self._rows(_EVERYTHING)}
        if own:
            different = (row for row in messages if own.get(row[:2]) != row[2:5])
            messages = [(*set_aside(Key(*row[:2])), *row[2:]) for row in different]
        destinations = list(former._rows("SELECT name, folder FROM destination"))
        has_additions = former.fact(ADDITIONS) is not None
        facts = [(name, "yes") for name, true in ((MOVED, not own), (ADDITIONS, has_additions)) if true]
        with self._transaction():
            self._database.executemany(_TAKE_OVER, sorted(messages))
            self._database.executemany("INSERT OR IGNORE INTO destination VALUES (?, ?)", destinations)
            self._database.executemany("INSERT OR IGNORE INTO oversize VALUES (?, ?)", former.oversize())
            self._database.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", facts)

    def rename(self, keys: Mapping[Key, Key]) -> None:
        """Keep messages under the new keys that the server has given them; they may have changed places."""
        if not keys:
            return
        with self._transaction():
            # First to places that no message has: a new key may be another message's old one.
            self._database.executemany(
                "UPDATE OR REPLACE message SET uid = ?, occurrence = ? WHERE uid = ? AND occurrence = ?",
                [(new.uid, ~new.occurrence, old.uid, old.occurrence) for old, new in keys.items()],
            )
            self._database.executemany(
                "UPDATE OR REPLACE message SET occurrence = ? WHERE uid = ? AND occurrence = ?",
                [(new.occurrence, new.uid, ~new.occurrence) for new in keys.values()],
            )

    def remember_oversize(self, keys: Iterable[Key]) -> None:
        """Keep that messages were reported as larger than the limit."""
        self._each("INSERT OR IGNORE INTO oversize VALUES (?, ?)", keys)

    def remember(self, name: str, value: str | None) -> None:
        """Keep a fact, or drop it."""
        with self._transaction():
            if value is None:
                self._database.execute("DELETE FROM fact WHERE name = ?", (name,))
            else:
                self._database.execute("INSERT OR REPLACE INTO fact VALUES (?, ?)", (name, value))

    def _each(self, statement: str, keys: Iterable[Key]) -> None:
        rows = sorted(keys)  # as the table is: each page of it is changed once
        with self._transaction():
            self._database.executemany(statement, rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._turn, record_errors(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                # After any change the record may differ from the listing that it was complete for.
                self._database.execute("DELETE FROM fact WHERE name = ?", (LISTING,))
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    with suppress(sqlite3.Error):
                        self._database.execute("ROLLBACK")
                raise

    def _keys(self, query: str, *parameters: object) -> set[Key]:
        return set(map(Key._make, self._rows(query, parameters)))

    def _rows(self, query: str, parameters: tuple[object, ...] = ()) -> Iterator[tuple]:  # type: ignore[type-arg]
        # All at once, and no generator: what a signal raises while one is closed would be dropped.
        with self._turn, record_errors(self.path):
            return iter(self._database.execute(query, parameters).fetchall())


class ReadOnlyStore(Store):
    """A record that is only read, beside whatever run holds it; one that is not there yet is empty."""

    def __init__(self, place: RecordPlace) -> None:
        self.path = place.database
        self._turn = threading.Lock()
        self._lock = _NoLock()
        with record_errors(self.path):
            if not is_absent(self.path):
                self._database = open_to_read(self.path)
            else:
                self._database = sqlite3.connect(":memory:", isolation_level=None)
                self._database.executescript(SCHEMA)


def known_at(place: RecordPlace) -> Known:
    """Return what the record at ``place`` knows, which another run may hold."""
    store = ReadOnlyStore(place)
    try:
        return store.known()
    finally:
        store.close()


class _NoLock(Lock):
    def __init__(self) -> None:
        pass

    def release(self) -> None:
        pass


def _columns(entry: Entry) -> tuple[bytes, int, int, bytes | None, bool, int | None]:
    digest, proves = entry.identity or (None, False)
    return *entry.key, entry.size, digest, proves, entry.octets


def _entry_of(row: Sequence[Any]) -> Entry:
    uid, occurrence, size, digest, proves, octets, state, delivered, destination = row
    identity = None if digest is None else Identity(digest, bool(proves))
    unseen_since = delivered if digest is None and not _is_own(destination) else None
    return Entry(Key(uid, occurrence), size, identity, octets, State(state), unseen_since)


def _is_own(destination: bytes) -> bool:
    """Return whether this program has delivered something there."""
    name = os.fsdecode(destination)
    return name not in (MARKED, ADDED) and not name.startswith((IMPORTED, MARKED_BY))
