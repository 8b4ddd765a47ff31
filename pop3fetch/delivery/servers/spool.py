"""A message on its way to a mail server: in memory if it is small, else in a file without a name.

Nothing of it outlives the process: until the record calls it delivered, the POP3 server still has it. Line
ends become CRLF as it is written. A server that ends lines with a bare LF, too, would find the end of
the message, and commands behind it, in what is only content (SMTP smuggling).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pop3fetch.delivery.destination import Draft, delivery_errors
from pop3fetch.headers.fields import LIMIT as HEADERS_LIMIT
from pop3fetch.messages import Key, Message

IN_MEMORY = 64 * 1024  # octets of a message that need no file
BLOCK = 256 * 1024  # octets that are sent at once
CRLF = b"\r\n"

_BARE_LF = re.compile(rb"(?<!\r)\n")
_EIGHT_BIT = re.compile(rb"[\x80-\xff]")


class SpooledDraft(Draft):
    """A message as a server is sent it: ``length`` octets with CRLF for each LF."""

    def __init__(self, message: Message, destination: str, folder: Path) -> None:
        super().__init__(message)
        self.length = 0
        self.has_nul = False
        self.has_eight_bits = False
        self._destination = destination
        self._tail = b""  # the last octets
        with delivery_errors(destination):
            self._spool = tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(folder))  # noqa: SIM115

    def write(self, block: bytes) -> None:
        self.octets += len(block)
        if block.count(b"\n") != block.count(CRLF):
            # A line end may be split between two blocks.
            before = b"\r" if self._tail.endswith(b"\r") else b""
            octets = _BARE_LF.sub(CRLF, before + block)[len(before) :]
        else:
            octets = block
        self._tail = (self._tail + octets[-2:])[-2:]
        self.has_nul = self.has_nul or b"\0" in octets
        self.has_eight_bits = self.has_eight_bits or _EIGHT_BIT.search(octets) is not None
        with delivery_errors(self._destination):
            self._spool.write(octets)
        self.length += len(octets)

    @property
    def ends_with_line(self) -> bool:
        """Whether its last line has an end."""
        return self._tail == CRLF

    def blocks(self, size: int = BLOCK) -> Iterator[bytes]:
        """Yield the message from its beginning, block by block."""
        with delivery_errors(self._destination):
            self._spool.seek(0)
            while block := self._spool.read(size):
                yield block

    def head(self) -> bytes:
        """Return the beginning of the message, which has its header."""
        return next(self.blocks(HEADERS_LIMIT), b"")

    def discard(self) -> None:
        with suppress(OSError):
            self._spool.close()


def header_of(head: bytes) -> bytes:
    """Return the header at the beginning of a message, without the empty line after it."""
    if head.startswith(CRLF):
        return b""
    return head.partition(b"\r\n\r\n")[0]


def first_undecided(drafts: Iterable[Draft], decided: Collection[Draft]) -> Key | None:
    """Return the key of the first message that is not decided: a delivery that breaks may break at it."""
    return next((draft.message.key for draft in drafts if draft not in decided), None)
