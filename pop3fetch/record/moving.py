"""The record of an account whose address has changed: it goes on in the record of the new address.

A file in the state folder has the last address of each named account. The record of the former address
stays: another account may use it as well.
"""

from __future__ import annotations

import os

from pop3fetch.durable import is_absent, open_private, sync_file, sync_folder, write_all
from pop3fetch.record.place import RecordPlace, account_file, last_address, record_error


def source_of(place: RecordPlace, name: str) -> RecordPlace | None:
    """Return the record of the address that the account ``name`` had before, if there is one to take over."""
    # A name without a file may be the address itself, with which earlier versions found the record.
    source = RecordPlace(place.folder, last_address(place.folder, name) or name)
    return None if source.name == place.name or is_absent(source.database) else source


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
