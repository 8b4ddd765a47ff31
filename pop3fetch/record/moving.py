"""The record of an account whose address has changed: it goes on as the record of the new address.

A file in the state folder has the last address of each named account. The record of the former address
stays, unless the user renames it: another account may use it as well.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from pathlib import Path

from pop3fetch.durable import is_absent, replace_file, sync_folder
from pop3fetch.errors import RecordError
from pop3fetch.record.database import COMPANIONS, open_database, record_errors
from pop3fetch.record.place import RecordPlace, last_address, record_error
from pop3fetch.record.store import LISTING, MOVED


def source_of(place: RecordPlace, name: str) -> RecordPlace | None:
    """Return the record of the address that the account ``name`` had before, if there is one to take over."""
    # A name without a file may be the address itself, with which earlier versions found the record.
    source = RecordPlace(place.folder, last_address(place.folder, name) or name)
    return None if source.name == place.name or is_absent(source.database) else source


def keep_address(file: Path, address: str) -> None:
    """Keep the address that an account was last fetched from, in its ``file``; raises RecordError."""
    try:
        replace_file(file, os.fsencode(address), durably=True)
    except OSError as error:
        raise record_error(file, error) from error


def rename(old: RecordPlace, new: RecordPlace) -> None:
    """Make a record that of another address, also for the accounts that were last fetched from the old one.

    A crash leaves it under one of the two addresses. Raises RecordError if one is missing, or the other
    exists, and RecordLocked if a run uses one of them.
    """
    with ExitStack() as locks:
        locks.callback(old.take().release)
        locks.callback(new.take().release)
        with record_errors(old.database):
            if is_absent(old.database):
                raise RecordError(str(old.database), f"nothing is recorded of {old.address}")
            if not is_absent(new.database):
                raise RecordError(str(new.database), "it exists already")
            with closing(open_database(old.database)) as database:
                database.execute("DELETE FROM fact WHERE name = ?", (LISTING,))
                database.execute("INSERT OR REPLACE INTO fact VALUES (?, 'yes')", (MOVED,))
                database.execute("PRAGMA journal_mode = DELETE")  # all of it in one file
            for ending in COMPANIONS:  # of a removed record
                Path(f"{new.database}{ending}").unlink(missing_ok=True)
            os.rename(old.database, new.database)
            sync_folder(new.folder)
        for file in old.folder.glob("*.account"):
            if os.fsdecode(file.read_bytes()) == old.address:
                keep_address(file, new.address)
