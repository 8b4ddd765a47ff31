"""The record of an account whose address has changed: it goes on in the record of the new address.

A file in the state folder has the last address of each named account. The record of the former address
stays: another account may use it as well.
"""

from __future__ import annotations

import os
from contextlib import closing

from pop3fetch.durable import is_absent, open_private, sync_file, sync_folder, write_all
from pop3fetch.record.place import RecordPlace, account_file, last_address, record_error
from pop3fetch.record.store import Store


def follow(store: Store, place: RecordPlace, name: str) -> str | None:
    """Take over what was recorded for the account ``name`` at its former address, if it has changed.

    ``store`` is the record at ``place``. Returns the former address if there was something to take over.
    Raises RecordLocked if another run works there, else as :class:`Store` does.
    """
    # A name without a file may be the address itself, with which earlier versions found the record.
    former = last_address(place.folder, name)
    if former == place.address:
        return None
    source = RecordPlace(place.folder, former or name)
    has_moved = source.name != place.name and not is_absent(source.database)
    if has_moved:
        take_over(store, source)
    keep_address(place, name)
    return source.address if has_moved else None


def take_over(store: Store, source: RecordPlace) -> None:
    """Take over what is recorded at ``source``; what a crash left there is settled here."""
    with closing(Store(source)) as former:
        store.take_over(former)
        former.undo(intent.entry.key for intent in former.intents())


def keep_address(place: RecordPlace, name: str) -> None:
    """Keep that the record at ``place`` is that of the account ``name``; raises RecordError."""
    file = account_file(place.folder, name)
    aside = file.with_suffix(f".account-{os.getpid()}")
    try:
        descriptor = open_private(aside, os.O_WRONLY | os.O_TRUNC)
        try:
            write_all(descriptor, os.fsencode(place.address))
            sync_file(descriptor)
        finally:
            os.close(descriptor)
        os.replace(aside, file)
        sync_folder(place.folder)
    except OSError as error:
        raise record_error(file, error) from error
