"""Which recipients have accepted a message that others have not, so that a later run does not repeat them.

A file beside the record, of one line for each acceptance; it is there only while there are such messages.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from pop3fetch.delivery.destination import delivery_errors
from pop3fetch.durable import open_private, replace_file, sync_file, sync_folder, write_all
from pop3fetch.messages import Key


class Acceptances:
    """The acceptances in one file; raises DeliveryError."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept: set[tuple[Key, str]] | None = None  # None until the file is read
        self._open = -1
        self._is_stale = False  # whether the file has lines of what is delivered

    def has(self, key: Key, recipient: str) -> bool:
        """Return whether the recipient has accepted the message."""
        return (key, recipient) in self._read()

    def keep(self, key: Key, recipient: str) -> None:
        """Keep durably that the recipient has accepted the message."""
        self._read().add((key, recipient))
        with delivery_errors(str(self._file)):
            is_new = self._open < 0
            if is_new:
                self._open = open_private(self._file, os.O_WRONLY | os.O_APPEND)
            write_all(self._open, _line(key, recipient))
            sync_file(self._open)
            if is_new:
                sync_folder(self._file.parent)

    def forget(self, key: Key) -> None:
        """Forget a message that is delivered to all."""
        gone = {kept for kept in self._read() if kept[0] == key}
        self._is_stale = self._is_stale or bool(gone)
        self._read().difference_update(gone)

    def close(self) -> None:
        """Drop from the file what is forgotten; never raises: what is left there is only not needed."""
        with suppress(OSError):
            if self._open >= 0:
                os.close(self._open)
                self._open = -1
            if self._is_stale and not self._kept:
                self._file.unlink(missing_ok=True)
            elif self._is_stale:
                lines = (_line(key, recipient) for key, recipient in sorted(self._kept or ()))
                replace_file(self._file, b"".join(lines), durably=True)
            self._is_stale = False

    def _read(self) -> set[tuple[Key, str]]:
        if self._kept is None:
            self._kept = set()
            with delivery_errors(str(self._file)), suppress(FileNotFoundError):
                for line in self._file.read_bytes().split(b"\n")[:-1]:  # the last one may be torn
                    uid, occurrence, recipient = line.split(b" ")
                    key = Key(bytes.fromhex(uid.decode()), int(occurrence))
                    self._kept.add((key, os.fsdecode(recipient)))
        return self._kept


def _line(key: Key, recipient: str) -> bytes:
    return b"%b %d %b\n" % (key.uid.hex().encode(), key.occurrence, os.fsencode(recipient))
