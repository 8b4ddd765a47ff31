"""The database file of a record: its tables, its versions, and how it is made and opened.

A new database is made aside and linked into place when it is whole: so an empty or broken file is
damage, never a fresh start, for taking it for one would fetch everything again.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from pop3fetch.durable import is_absent, open_private, sync_file, sync_folder
from pop3fetch.errors import RecordError, RecordLocked, RecordNotWritten
from pop3fetch.record.place import broken_link, record_error

APPLICATION_ID = 0x504F5033  # "POP3"
VERSION = 5

COMPANIONS = ("-wal", "-shm", "-journal")  # the files that SQLite keeps beside a database

SCHEMA = """
CREATE TABLE message (
    uid BLOB NOT NULL,
    occurrence INTEGER NOT NULL,
    size INTEGER NOT NULL,
    identity BLOB,
    proves INTEGER NOT NULL DEFAULT 0,
    delivered INTEGER NOT NULL,
    destination BLOB NOT NULL,
    octets INTEGER,
    state INTEGER NOT NULL DEFAULT 0,
    since INTEGER NOT NULL DEFAULT 0,
    misses INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (uid, occurrence)
) WITHOUT ROWID;
CREATE TABLE intent (
    uid BLOB NOT NULL,
    occurrence INTEGER NOT NULL,
    size INTEGER NOT NULL,
    identity BLOB,
    proves INTEGER NOT NULL DEFAULT 0,
    destination BLOB NOT NULL,
    name BLOB NOT NULL,
    offset INTEGER NOT NULL,
    length INTEGER NOT NULL,
    octets INTEGER,
    folder TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (uid, occurrence)
) WITHOUT ROWID;
CREATE TABLE destination (name BLOB PRIMARY KEY, folder TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE oversize (
    uid BLOB NOT NULL, occurrence INTEGER NOT NULL, PRIMARY KEY (uid, occurrence)
) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_DAMAGED = "it is damaged, or not a record; restore it, or move it away, which makes all messages new"
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
# Errors of the disk, not of the database: the next run may not meet them.
_DISK_TROUBLE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)

# Each version's way to the next one; a record is brought up step by step under its lock.
_MIGRATIONS: Mapping[int, str] = {
    1: "",  # nothing new is in it, but from 2 on each change of a record drops the listing that it knows
    # Up to 2 the complement of a size marked a message as in doubt.
    2: """
ALTER TABLE message ADD COLUMN octets INTEGER;
ALTER TABLE message ADD COLUMN state INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE message ADD COLUMN misses INTEGER NOT NULL DEFAULT 0;
UPDATE message SET size = ~size, state = 2 WHERE size < 0;  -- DOUBTED
ALTER TABLE intent ADD COLUMN octets INTEGER;
ALTER TABLE intent ADD COLUMN folder TEXT NOT NULL DEFAULT '';
CREATE TABLE destination (name BLOB PRIMARY KEY, folder TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO destination SELECT DISTINCT destination, '' FROM message
    WHERE substr(destination, 1, 8) = CAST('maildir:' AS BLOB)
    OR substr(destination, 1, 5) = CAST('mbox:' AS BLOB);
CREATE TABLE oversize (
    uid BLOB NOT NULL, occurrence INTEGER NOT NULL, PRIMARY KEY (uid, occurrence)
) WITHOUT ROWID
""",
    # Up to 3 an identity of 16 octets proved that two messages are one, and one of 8 did not.
    3: """
ALTER TABLE message ADD COLUMN proves INTEGER NOT NULL DEFAULT 0;
ALTER TABLE intent ADD COLUMN proves INTEGER NOT NULL DEFAULT 0;
UPDATE message SET proves = 1 WHERE length(identity) = 16;
UPDATE intent SET proves = 1 WHERE length(identity) = 16
""",
    4: "",  # from 5 on a message may be ADDED, which earlier versions would take for one that is in doubt
}


def create(path: Path) -> None:
    """Make an empty record aside, and put it into place when it is whole and safe."""
    aside = path.with_suffix(".aside")
    aside.unlink(missing_ok=True)
    try:
        os.close(open_private(aside, os.O_RDWR | os.O_EXCL))
        with closing(sqlite3.connect(aside, isolation_level=None)) as database:
            # No sync at each step: it has no name before it is whole, and then it is synced once.
            database.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY;" + SCHEMA)
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            database.execute(f"PRAGMA user_version = {VERSION}")
            database.execute("INSERT INTO fact VALUES ('tag', ?)", (os.urandom(8).hex(),))
            database.execute("PRAGMA journal_mode = WAL")  # which stays, so that no run has to change it
        file = os.open(aside, os.O_RDONLY)
        try:
            sync_file(file)
        finally:
            os.close(file)
        for ending in COMPANIONS:
            # They may be left of a removed record, and SQLite would apply them to the new one.
            Path(f"{path}{ending}").unlink(missing_ok=True)
        try:
            os.link(aside, path)
        except FileExistsError:  # never put it in the place of something else
            raise
        except OSError:  # a file system without hard links; nothing else makes records, for the lock is held
            if not is_absent(path):
                raise
            os.rename(aside, path)
        else:
            aside.unlink()
    except BaseException:
        with suppress(OSError):
            aside.unlink()
        raise
    sync_folder(path.parent)


def remove_aside(path: Path) -> None:
    """Remove what a run has left that died as its new record had got its name."""
    with suppress(OSError):
        path.with_suffix(".aside").unlink()


def open_database(path: Path) -> sqlite3.Connection:
    database = _connect(path, "rw")
    try:
        version = _version_of(database, path)
        if version < VERSION:
            _bring_up(database, version)
        # One sync a commit, and readers beside it; FULL, for a commit must outlive the power.
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA fullfsync = ON")  # macOS: as in durable.sync_file
    except BaseException:
        database.close()
        raise
    return database


def open_to_read(path: Path) -> sqlite3.Connection:
    database = _connect(path, "ro")
    try:
        version = _version_of(database, path)
        if version == VERSION:
            return database
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        database.backup(copy)  # what is only read is not brought up on the disk
        _bring_up(copy, version)
    except BaseException:
        database.close()
        raise
    database.close()
    return copy


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    if path.parent.stat().st_mode & stat.S_IWOTH:
        # Another user could make messages pass for fetched; SQLite applies a -wal that it finds.
        for file in (path, *(Path(f"{path}{ending}") for ending in COMPANIONS)):
            if not is_absent(file) and file.lstat().st_uid not in (0, os.geteuid()):
                raise RecordError(str(file), "it belongs to another user, in a folder that all can write to")
    # Autocommit: transactions are begun and ended by name. One thread at a time uses it.
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
    )


def _version_of(database: sqlite3.Connection, path: Path) -> int:
    """Return the record's version; raises RecordError if it is not one of ours, or too new."""
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise RecordError(str(path), _DAMAGED)
    if version > VERSION:
        raise RecordError(str(path), f"a newer pop3fetch wrote it (version {version}, not {VERSION})")
    return int(version)


def _bring_up(database: sqlite3.Connection, version: int) -> None:
    for old in range(version, VERSION):
        database.executescript(
            f"BEGIN IMMEDIATE; {_MIGRATIONS[old]}; PRAGMA user_version = {old + 1}; COMMIT;"
        )


@contextmanager
def record_errors(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and the kernel into RecordError; RecordNotWritten if the disk is in trouble."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_BUSY:
            raise RecordLocked(str(path), str(error)) from error
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR) and not _has_room(path.parent):
            raise RecordNotWritten(str(path), "the disk is full") from error
        if code in _DISK_TROUBLE:
            raise RecordNotWritten(str(path), str(error)) from error
        if link := broken_link(path):
            raise RecordError(str(path), link) from error
        raise RecordError(str(path), _DAMAGED if code in _DAMAGE else str(error)) from error
    except OSError as error:
        raise record_error(path, error) from error


def _has_room(folder: Path) -> bool:
    """Whether a file could be made in the folder; SQLite hides the error of the kernel."""
    try:
        free = os.statvfs(folder)
    except OSError:
        return True
    return free.f_bavail > 0 and (free.f_favail > 0 or free.f_files == 0)
