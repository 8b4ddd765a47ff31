"""What a session begins with: CAPA, LIST and UIDL, and how both lists are known again.

A mailbox of 100 000 messages says nearly always what it said before. To see that takes a digest of
the octets; to take them for messages takes thirty times as long. So a list that may be familiar is
kept as it comes, 16 MiB at most, and parsed only where its digest shows that it is another one.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

from pop3fetch.pop3.replies import (
    SCAN_LISTING,
    UNIQUE_ID_LISTING,
    CapabilityReader,
    Grammar,
    Listed,
    ListingReader,
)

DIGEST_SIZE = 24  # octets
CHUNK = 64 * 1024  # octets at least that are kept together: many small ones would take fifty times the room


class Digests(NamedTuple):
    """Digests of what LIST and UIDL say, octet for octet: 48 hexadecimal digits each."""

    sizes: str
    unique_ids: str


UNFAMILIAR = Digests("", "")


class Overview(NamedTuple):
    """What a session begins with, by index; ``unique_ids`` is None where there is no UIDL."""

    sizes: list[int | None]
    unique_ids: list[bytes | None] | None


class RecognisingReader(ListingReader[Listed]):
    """Read a LIST or UIDL reply, unless it is the one whose digest is ``familiar``.

    Where nothing may be familiar it is parsed as it arrives.
    """

    def __init__(self, grammar: Grammar[Listed], line_end: bytes, familiar: str) -> None:
        super().__init__(grammar, line_end)
        self._familiar = familiar
        self._digest = blake2b(digest_size=DIGEST_SIZE)
        self._unread: list[bytearray] = []

    @property
    def digest(self) -> str:
        """The digest of what was fed."""
        return self._digest.hexdigest()

    @property
    def is_familiar(self) -> bool:
        """Whether all that was fed is the familiar reply."""
        return self.digest == self._familiar

    def _read(self, block: bytes) -> None:
        self._digest.update(block)
        if self._familiar:
            self._keep(block)
        else:
            super()._read(block)

    def _keep(self, block: bytes) -> None:
        if self._unread and len(self._unread[-1]) < CHUNK:
            self._unread[-1] += block
        else:
            self._unread.append(bytearray(block))

    def end(self) -> None:
        """Take note that this was all: parse it, unless it is familiar. Raises as :meth:`read`."""
        if not self.is_familiar:
            self.read()

    def read(self) -> None:
        """Parse what was kept; raises MalformedListing, LineTooLong."""
        unread, self._unread = self._unread, []
        for chunk in unread:
            super()._read(bytes(chunk))


class OverviewReader:
    """The readers of the three replies; ``when_unlike`` is called once LIST is not the ``familiar`` one."""

    def __init__(
        self,
        line_end: bytes,
        familiar: Digests = UNFAMILIAR,
        when_unlike: Callable[[], object] = lambda: None,
    ) -> None:
        self._line_end = line_end
        self._when_unlike = when_unlike
        self._has_uidl = False
        self.capabilities = CapabilityReader(line_end)
        self.sizes = RecognisingReader(SCAN_LISTING, line_end, familiar.sizes)
        self.unique_ids = self._unique_ids(familiar)

    def _unique_ids(self, familiar: Digests) -> RecognisingReader[bytes]:
        return RecognisingReader(UNIQUE_ID_LISTING, self._line_end, familiar.unique_ids)

    def sizes_end(self) -> None:
        """Take note of the end of LIST: where it is another one, so will UIDL be, and it is not kept."""
        self.sizes.end()
        if not self.sizes.is_familiar:
            self.unique_ids = self._unique_ids(UNFAMILIAR)
            self._when_unlike()

    def unique_ids_end(self) -> None:
        """Take note of the end of UIDL, where there is one: if it is another one, LIST is read as well."""
        self.unique_ids.end()
        self._has_uidl = True
        if not self.is_familiar:
            self.sizes.read()

    @property
    def is_familiar(self) -> bool:
        """Whether both lists are."""
        return self._has_uidl and self.sizes.is_familiar and self.unique_ids.is_familiar

    @property
    def digests(self) -> Digests:
        """The digests of what was read."""
        return Digests(self.sizes.digest, self.unique_ids.digest)

    def overview(self) -> Overview:
        """Return what was read, parsing what was kept; raises MalformedListing, LineTooLong."""
        self.sizes.read()
        self.unique_ids.read()
        return Overview(self.sizes.entries, self.unique_ids.entries if self._has_uidl else None)
