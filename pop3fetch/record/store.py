"""The database of a record: one SQLite file, durable at each commit, exclusive to one run.

Three tables. ``message``: what is delivered. ``intent``: what was about to be, so that a crash
in between can be settled. ``fact``: what else must be remembered of the account.

A new database is made aside and renamed into place when it is whole: so an empty or broken file
is damage, never a fresh start, for taking it for one would fetch everything again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from pop3fetch.delivery.destination import Place
from pop3fetch.errors import DeliveryError, RecordError
from pop3fetch.folders import open_private, sync_folder
from pop3fetch.record.place import Lock, RecordPlace, record_error
from pop3fetch.record.states import Event, State, Unsettled, is_short, next_states

APPLICATION_ID = 0x504F5033  # "POP3"
VERSION = 3
MARKED = "marked"  # the destination of what was recorded without being fetched
LISTING = "listing"  # the fact that names a listing of which everything is recorded; any change drops it

LF = b"\n"  # what no UID holds, as it ends a line

_COMPANIONS = ("-wal", "-shm", "-journal")  # the files that SQLite keeps beside a database

_SCHEMA = """
CREATE TABLE message (
    uid BLOB NOT NULL,
    occurrence INTEGER NOT NULL,
    size INTEGER NOT NULL,
    identity BLOB,
    delivered INTEGER NOT NULL,
    destination BLOB NOT NULL,
    octets INTEGER,
    state INTEGER NOT NULL DEFAULT 0,
    since INTEGER NOT NULL DEFAULT 0,
    misses INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (uid, occurrence)
) WITHOUT ROWID;
CREATE INDEX unsettled ON message (state) WHERE state <> 0;
CREATE TABLE intent (
    uid BLOB NOT NULL,
    occurrence INTEGER NOT NULL,
    size INTEGER NOT NULL,
    identity BLOB,
    destination BLOB NOT NULL,
    name BLOB NOT NULL,
    offset INTEGER NOT NULL,
    length INTEGER NOT NULL,
    octets INTEGER,
    PRIMARY KEY (uid, occurrence)
) WITHOUT ROWID;
CREATE TABLE oversize (
    uid BLOB NOT NULL, occurrence INTEGER NOT NULL, PRIMARY KEY (uid, occurrence)
) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
# What the disk says, not the database: the next run may fare better.
_DISK_TROUBLE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)

_DELETE = "DELETE FROM message WHERE uid = ? AND occurrence = ? AND state IN ({})"
_UPDATE = """
UPDATE message SET
    since = CASE WHEN state = CASE state {cases} END THEN since ELSE {moment} END,
    misses = CASE WHEN state = CASE state {cases} END THEN misses + 1 ELSE 1 END,
    state = CASE state {cases} END
WHERE uid = ? AND occurrence = ? AND state IN ({states})
"""

# Each version's way to the next one; a record is brought up step by step under its lock.
_MIGRATIONS: Mapping[int, str] = {
    1: "",  # nothing new is in it, but from 2 on each change of a record drops the listing that it knows
    # Up to 2 the complement of a size said that a message was in doubt.
    2: """
ALTER TABLE message ADD COLUMN octets INTEGER;
ALTER TABLE message ADD COLUMN state INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN misses INTEGER NOT NULL DEFAULT 0;
UPDATE message SET size = ~size, state = 2 WHERE size < 0;  -- DOUBTED
CREATE INDEX unsettled ON message (state) WHERE state <> 0;
ALTER TABLE intent ADD COLUMN octets INTEGER;
CREATE TABLE oversize (
    uid BLOB NOT NULL, occurrence INTEGER NOT NULL, PRIMARY KEY (uid, occurrence)
) WITHOUT ROWID
""",
}


class Key(NamedTuple):
    """What names a message in the record: its UID, and the how-manieth with that UID it is."""

    uid: bytes
    occurrence: int


class Entry(NamedTuple):
    """A message as the record keeps it.

    ``size`` in octets, as it was last listed; ``identity`` is None if it is not known; ``octets``: how
    many were received, None if that is not known.
    """

    key: Key
    size: int
    identity: bytes | None
    octets: int | None = None
    state: State = State.FETCHED


class Intent(NamedTuple):
    """A message that was about to become visible."""

    entry: Entry
    place: Place


class Store:
    """An open record. One run holds it from before the login to its end."""

    def __init__(self, place: RecordPlace, lock: Lock | None = None) -> None:
        """Lock the record, unless its ``lock`` is held already, and open it, making it where there is none.

        Raises RecordLocked, or RecordError where it is damaged or from a newer version.
        """
        self.path = place.database
        # SQLite's module dies where one thread closes a connection that another one reads from.
        self._turn = threading.Lock()
        self._lock = lock or place.take()
        try:
            with record_errors(self.path):
                if not self.path.exists():
                    _create(self.path)
                self._database = _open(self.path)
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
                self._database = _open(self.path)

    def close(self) -> None:
        """Close the database and let go of the lock."""
        with self._turn, suppress(sqlite3.Error):  # all that matters was committed
            self._database.close()
        self._lock.release()

    # -- what is known -----------------------------------------------------------------------

    def sizes(self) -> dict[bytes, int]:
        """Return UID to recorded size, for the first message of each UID that is FETCHED."""
        # In one row: between rows the interpreter's lock changes hands, and whoever reads from the network
        # meanwhile would be held up a hundred thousand times.
        ((uids, sizes, count),) = self._rows(
            "SELECT CAST(group_concat(uid, x'0A') AS BLOB), group_concat(size, ' '), count(*)"
            " FROM message WHERE occurrence = 0 AND state = 0"
        )
        if uids is None or uids.count(LF) != count - 1:  # none, or none that a server can send
            return dict(self._rows("SELECT uid, size FROM message WHERE occurrence = 0 AND state = 0"))
        return dict(zip(uids.split(LF), map(int, sizes.split(" ")), strict=True))

    def copies(self) -> dict[tuple[bytes, int], int]:
        """Return (UID, occurrence) to recorded size, for the further FETCHED messages of each UID."""
        rows = self._rows("SELECT uid, occurrence, size FROM message WHERE occurrence > 0 AND state = 0")
        return {(uid, occurrence): size for uid, occurrence, size in rows}

    def unsettled(self) -> dict[tuple[bytes, int], Unsettled]:
        """Return (UID, occurrence) to state of the messages that are recorded and not FETCHED."""
        rows = self._rows("SELECT uid, occurrence, state, since, misses FROM message WHERE state <> 0")
        return {
            (uid, occurrence): Unsettled(State(state), since, misses)
            for uid, occurrence, state, since, misses in rows
        }

    def entry(self, key: Key) -> Entry | None:
        """Return what is recorded of a message, or None."""
        rows = self._rows(
            "SELECT size, identity, octets, state FROM message WHERE uid = ? AND occurrence = ?",
            (key.uid, key.occurrence),
        )
        return next((_recorded(key, *facts) for facts in rows), None)

    def copies_of(self, uid: bytes) -> list[Entry]:
        """Return all that is recorded with this UID, in order."""
        rows = self._rows(
            "SELECT occurrence, size, identity, octets, state FROM message WHERE uid = ? ORDER BY occurrence",
            (uid,),
        )
        return [_recorded(Key(uid, occurrence), *facts) for occurrence, *facts in rows]

    def entries(self) -> Iterator[Entry]:
        """Yield all that is recorded."""
        for uid, occurrence, *facts in self._rows(
            "SELECT uid, occurrence, size, identity, octets, state FROM message"
        ):
            yield _recorded(Key(uid, occurrence), *facts)

    def delivered_before(self, moment: int) -> set[tuple[bytes, int]]:
        """Return (UID, occurrence) of what was delivered up to ``moment``, seconds since the epoch."""
        return set(self._rows("SELECT uid, occurrence FROM message WHERE delivered <= ?", (moment,)))

    def marked(self) -> set[tuple[bytes, int]]:
        """Return (UID, occurrence) of what was recorded without being fetched."""
        return set(self._rows("SELECT uid, occurrence FROM message WHERE destination = ?", (_name(MARKED),)))

    def intents(self) -> list[Intent]:
        """Return what a crash left between intending and done, in the order of the destination."""
        return [
            Intent(
                _entry(Key(uid, occurrence), size, identity, octets),
                Place(os.fsdecode(destination), os.fsdecode(name), offset, length),
            )
            for uid, occurrence, size, identity, octets, destination, name, offset, length in self._rows(
                "SELECT uid, occurrence, size, identity, octets, destination, name, offset, length"
                " FROM intent ORDER BY destination, offset"
            )
        ]

    def oversize(self) -> set[tuple[bytes, int]]:
        """Return (UID, occurrence) of the messages that were reported as larger than the limit."""
        return set(self._rows("SELECT uid, occurrence FROM oversize"))

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
        rows = [(*_columns(intent.entry), *_place_columns(intent.place)) for intent in intents]
        with self._transaction():
            self._database.executemany(
                "INSERT OR REPLACE INTO intent"
                " (uid, occurrence, size, identity, octets, destination, name, offset, length)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def done(self, entries: Iterable[Entry], destination: str, moment: int) -> None:
        """Keep that messages are delivered, at ``moment``, and no intents any more."""
        name = _name(destination)
        rows = [(*_columns(entry), int(entry.state), moment, name) for entry in entries]
        with self._transaction():
            self._database.executemany(
                "INSERT OR REPLACE INTO message"
                " (uid, occurrence, size, identity, octets, state, delivered, destination)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
            self._database.executemany(
                "DELETE FROM intent WHERE uid = ? AND occurrence = ?", [row[:2] for row in rows]
            )

    def undo(self, keys: Iterable[Key]) -> None:
        """Keep that intents came to nothing."""
        self._each("DELETE FROM intent WHERE uid = ? AND occurrence = ?", keys)

    def happened(self, event: Event, keys: Iterable[Key], moment: int) -> None:
        """Keep what ``event``, at ``moment``, makes of recorded messages; others are passed over."""
        following = next_states(event)
        lost = [int(state) for state, then in following.items() if then is State.NEW]
        changed = {int(state): int(then) for state, then in following.items() if then is not State.NEW}
        rows = [tuple(key) for key in keys]
        with self._transaction():
            if lost:
                self._database.executemany(_DELETE.format(", ".join(map(str, lost))), rows)
            if changed:
                cases = " ".join(f"WHEN {state} THEN {then}" for state, then in changed.items())
                # Since when, as long as the state does not change, and how often in a row.
                self._database.executemany(
                    _UPDATE.format(cases=cases, states=", ".join(map(str, changed)), moment=int(moment)), rows
                )

    def resize(self, sizes: Mapping[Key, int]) -> None:
        """Keep the new sizes of messages that are still the same."""
        with self._transaction():
            self._database.executemany(
                "UPDATE message SET size = ? WHERE uid = ? AND occurrence = ?",
                [(size, key.uid, key.occurrence) for key, size in sizes.items()],
            )

    def rename(self, keys: Mapping[Key, Key]) -> None:
        """Keep messages under the new keys that the server has given them; they may have changed places."""
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
        rows = [(key.uid, key.occurrence) for key in keys]
        with self._transaction():
            self._database.executemany(statement, rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._turn, record_errors(self.path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                # Whatever it is that changes: what was said of the record as a whole holds no longer.
                self._database.execute("DELETE FROM fact WHERE name = ?", (LISTING,))
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    with suppress(sqlite3.Error):
                        self._database.execute("ROLLBACK")
                raise

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
            if self.path.exists():
                self._database = _open_to_read(self.path)
            else:
                self._database = sqlite3.connect(":memory:", isolation_level=None)
                self._database.executescript(_SCHEMA)


class _NoLock(Lock):
    def __init__(self) -> None:
        pass

    def release(self) -> None:
        pass


def _columns(entry: Entry) -> tuple[bytes, int, int, bytes | None, int | None]:
    return entry.key.uid, entry.key.occurrence, entry.size, entry.identity, entry.octets


def _recorded(key: Key, size: int, identity: bytes | None, octets: int | None, state: int) -> Entry:
    return Entry(key, size, identity, octets, State(state))


def _entry(key: Key, size: int, identity: bytes | None, octets: int | None) -> Entry:
    state = State.SHORT if is_short(size, octets) else State.FETCHED
    return Entry(key, size, identity, octets, state)


def _place_columns(place: Place) -> tuple[bytes, bytes, int, int]:
    return _name(place.destination), _name(place.name), place.offset, place.length


def _name(name: str) -> bytes:
    # The names of files are octets, which need not be text of any encoding.
    return os.fsencode(name)


def _create(path: Path) -> None:
    """Make an empty record aside, and put it into place when it is whole and safe."""
    aside = path.with_suffix(".aside")
    aside.unlink(missing_ok=True)
    try:
        _write_empty(aside)
        for ending in _COMPANIONS:
            # Of a record that somebody removed: SQLite would put what is in them into the new one.
            Path(f"{path}{ending}").unlink(missing_ok=True)
        os.rename(aside, path)
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
    sync_folder(path.parent)


def _write_empty(aside: Path) -> None:
    os.close(open_private(aside, os.O_RDWR | os.O_EXCL))
    database = sqlite3.connect(aside, isolation_level=None)
    try:
        # Not synced step by step: nobody sees it before it is whole, and then it is synced once.
        database.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;" + _SCHEMA)
        database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute(f"PRAGMA user_version = {VERSION}")
        database.execute("INSERT INTO fact VALUES ('tag', ?)", (os.urandom(8).hex(),))
        database.execute("PRAGMA journal_mode = WAL")  # which stays, so that no run has to change it
    finally:
        database.close()
    file = os.open(aside, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _open(path: Path) -> sqlite3.Connection:
    database = _connect(path, "rw")
    try:
        _bring_up(database, path)
        # One sync a commit, and readers beside it; FULL, for a commit must outlive the power.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
    except BaseException:
        database.close()
        raise
    return database


def _open_to_read(path: Path) -> sqlite3.Connection:
    database = _connect(path, "ro")
    try:
        if _check(database, path) == VERSION:
            return database
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        database.backup(copy)  # what is only read is not brought up on the disk
        _bring_up(copy, path)
    except BaseException:
        database.close()
        raise
    return copy


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # Autocommit: transactions are begun and ended by name. One thread at a time uses it.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
    )


def _check(database: sqlite3.Connection, path: Path) -> int:
    """Return the record's version; raises RecordError where it is none of ours, or too new."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise RecordError(str(path), "it is damaged, or no record of pop3fetch")
    if version > VERSION:
        raise RecordError(str(path), f"it is of version {version}; this pop3fetch knows {VERSION}")
    return int(version)


def _bring_up(database: sqlite3.Connection, path: Path) -> None:
    for version in range(_check(database, path), VERSION):
        database.executescript(
            f"BEGIN IMMEDIATE; {_MIGRATIONS[version]}; PRAGMA user_version = {version + 1}; COMMIT;"
        )


@contextmanager
def record_errors(path: Path) -> Iterator[None]:
    """Turn what SQLite and the kernel say into our errors: damage is one thing, a full disk another."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DISK_TROUBLE:
            raise DeliveryError(f"the record {path}", str(error)) from error
        raise RecordError(str(path), str(error)) from error
    except OSError as error:
        raise record_error(path, error) from error
