"""Which recipients have accepted a message that others have not, so that a later run does not repeat them.

A file beside the record, of one line for each acceptance; it is there only while there are such messages. A
unique-id does not name a message for good, and a recipient of one server need not be that of another: so each
line has a digest of the message and the destination. What is not a whole line counts for nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from pop3fetch.delivery.destination import delivery_errors
from pop3fetch.delivery.servers.normal_form import digest_of
from pop3fetch.delivery.servers.spool import SpooledDraft
from pop3fetch.durable import open_private, replace_file, sync_file, sync_folder, write_all
from pop3fetch.headers.fields import proves
from pop3fetch.messages import Key

# The digest comes last: a line that was cut, or that has another one's beginning, is none.
_LINE = re.compile(rb"((?:[0-9a-f]{2})*) ([0-9]{1,9}) ([^\s\0]+) ([0-9a-f]{64})")

Acceptance = tuple[str, str]  # the recipient, and the digest of message and destination


def file_of(folder: Path, tag: str) -> Path:
    """Return the file in the ``folder`` of the records for the one with this ``tag``."""
    return folder / f"accepted-{tag}"


class Acceptances:
    """The acceptances of a ``destination`` in one file; raises DeliveryError."""

    def __init__(self, file: Path, destination: str) -> None:
        self._file = file
        self._destination = destination
        self._kept: dict[Key, set[Acceptance]] | None = None  # None until the file is read
        self._open = -1
        self._is_stale = False  # whether the file has lines of what is delivered

    def has(self, draft: SpooledDraft, recipient: str) -> bool:
        """Return whether the recipient has accepted the message."""
        kept = self._read().get(draft.message.key)
        return kept is not None and (recipient, self._digest(draft)) in kept

    def keep(self, draft: SpooledDraft, recipient: str) -> None:
        """Keep durably that the recipient has accepted the message."""
        key, acceptance = draft.message.key, (recipient, self._digest(draft))
        self._read().setdefault(key, set()).add(acceptance)
        with delivery_errors(str(self._file)):
            is_new = self._open < 0
            if is_new:
                self._open = open_private(self._file, os.O_WRONLY | os.O_APPEND)
            # The last line of an earlier run may be torn.
            write_all(self._open, b"\n" * is_new + _line(key, acceptance))
            sync_file(self._open)
            if is_new:
                sync_folder(self._file.parent)

    def forget(self, key: Key) -> None:
        """Forget a message that is delivered to all."""
        self._is_stale = self._read().pop(key, None) is not None or self._is_stale

    def forget_uids(self, uids: Collection[bytes]) -> None:
        """Forget the messages with these unique-ids, or all if there is none."""
        for key in [key for key in self._read() if not uids or key.uid in uids]:
            self.forget(key)

    def close(self) -> None:
        """Drop from the file what is forgotten; never raises: what is left there is only not needed."""
        with suppress(OSError):
            if self._open >= 0:
                os.close(self._open)
                self._open = -1
            if self._is_stale and not self._kept:
                self._file.unlink(missing_ok=True)
            elif self._is_stale:
                pairs = (
                    (key, one) for key, kept in sorted((self._kept or {}).items()) for one in sorted(kept)
                )
                replace_file(self._file, b"".join(_line(*pair) for pair in pairs), durably=True)
            self._is_stale = False

    def _digest(self, draft: SpooledDraft) -> str:
        """Return the digest of a message and the destination; servers write fields into a message."""
        who = draft.identity
        message = who.digest.hex() if who and proves(who) else digest_of(draft.blocks())
        return sha256(f"{self._destination} {message}".encode()).hexdigest()

    def _read(self) -> dict[Key, set[Acceptance]]:
        if self._kept is None:
            self._kept = {}
            with delivery_errors(str(self._file)), suppress(FileNotFoundError):
                for line in filter(None, map(_LINE.fullmatch, self._file.read_bytes().split(b"\n"))):
                    uid, occurrence, recipient, digest = line.groups()
                    key = Key(bytes.fromhex(uid.decode()), int(occurrence))
                    self._kept.setdefault(key, set()).add((os.fsdecode(recipient), digest.decode()))
        return self._kept


def _line(key: Key, acceptance: Acceptance) -> bytes:
    recipient, digest = acceptance
    return b"%b %d %b %b\n" % (
        key.uid.hex().encode(),
        key.occurrence,
        os.fsencode(recipient),
        digest.encode(),
    )
