"""The grammar of each reply: drop listing, scan and unique-id listings, capabilities.

Pure: octets in, values out. Whatever no POP3 server may send is a MalformedListing (or
LineTooLong), and every reply that has no natural end has a bound, with its reason beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Generic, NamedTuple, TypeVar

from pop3fetch.errors import LineTooLong, MalformedListing
from pop3fetch.pop3.wire import LINE_LIMIT

# A maildrop of more messages is a broken or hostile server's. With LISTING_LIMIT, which leaves room for as
# many unique-ids of 50 octets, this keeps LIST and UIDL together below 300 MiB of memory.
MESSAGES_LIMIT = 1_000_000
LISTING_LIMIT = 64 * 1024 * 1024  # octets of one LIST or UIDL reply
CAPABILITIES_LIMIT = 64 * 1024  # octets of one CAPA reply; real ones have some 300

# Only ASCII digits, and few: int() also takes signs, underscores and other scripts' digits.
_DROP_LISTING = re.compile(rb"([0-9]{1,19})[ \t]+([0-9]{1,19})(?:[ \t].*)?", re.DOTALL)
_SCAN_LINE = re.compile(rb"[ \t]*([0-9]{1,19})[ \t]+([0-9]{1,19})(?:[ \t].*)?", re.DOTALL)
# A unique-id is 1 to 70 octets 0x21-0x7E on paper. Longer, 8-bit and empty ones are seen, and
# ones with spaces; so all behind the number belongs to it, but no control character does. Each
# space matches in one place only: a line of 8 KiB of them would else take an hour to refuse.
_UNIQUE_ID_LINE = re.compile(rb"([0-9]{1,19})(?:[ \t]+([^\x00-\x20\x7f][^\x00-\x1f\x7f]*))?")

Capabilities = dict[str, list[str] | None]
Listed = TypeVar("Listed")
DIGEST_SIZE = 24  # octets
CHUNK = 64 * 1024  # octets at least that are kept together: many small ones would take fifty times the room


class Overview(NamedTuple):
    """Sizes and unique-ids by index, None for a gap; ``unique_ids`` is None if the server has no UIDL."""

    sizes: list[int | None]
    unique_ids: list[bytes | None] | None


class Digests(NamedTuple):
    """Digests of what LIST and UIDL replied, octet for octet: 48 hexadecimal digits each."""

    sizes: str
    unique_ids: str


UNFAMILIAR = Digests("", "")


def parse_drop_listing(text: bytes) -> tuple[int, int]:
    """Return (messages, octets) of a reply to STAT (RFC 1939 section 5)."""
    drop = _DROP_LISTING.fullmatch(text.strip(b" \t"))
    if not drop:
        raise MalformedListing("the reply to STAT names no two numbers", text)
    return int(drop[1]), int(drop[2])


def parse_scan_line(line: bytes) -> tuple[int, int]:
    """Return (number, octets) of a line of LIST; words behind the size are passed over."""
    scan = _SCAN_LINE.fullmatch(line)
    if not scan:
        raise MalformedListing("a line of LIST is no number and size", line)
    return int(scan[1]), int(scan[2])


def parse_unique_id_line(line: bytes) -> tuple[int, bytes]:
    """Return (number, unique-id) of a line of UIDL; the unique-id may be empty."""
    entry = _UNIQUE_ID_LINE.fullmatch(line.strip(b" \t"))
    if not entry:
        raise MalformedListing("a line of UIDL is no number and unique-id", line)
    return int(entry[1]), entry[2] or b""


class LineSplitter:
    """Cut blocks of content into lines without their ends, in time linear to the octets.

    ``limit``: octets of a line, or None for a message, whose lines have no limit.
    """

    __slots__ = ("_limit", "_line_end", "_parts", "_size")

    def __init__(self, line_end: bytes, limit: int | None = LINE_LIMIT) -> None:
        self._line_end = line_end
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def lines(self, block: bytes) -> list[bytes]:
        """Return the lines that ``block`` completes."""
        lines = block.split(self._line_end)
        self._parts.append(lines[0])
        self._size += len(lines[0])
        if len(lines) > 1:
            lines[0] = b"".join(self._parts)
            self._parts = [lines.pop()]
            self._size = len(self._parts[0])
        else:
            lines = []
        limit = self._limit
        if limit is not None and (self._size > limit or (lines and max(map(len, lines)) > limit)):
            raise LineTooLong(f"a line of a list is longer than {limit} octets")
        return lines

    def rest(self) -> list[bytes]:
        """Return the last line if no line end follows it."""
        return [b"".join(self._parts)] if self._size else []


Grammar = Callable[[bytes], tuple[int, Listed]]  # of a line: the message's number, and what is listed of it


class ListingReader(Generic[Listed]):
    """Read a whole LIST or UIDL reply, block by block, into ``entries`` by index.

    Numbers must be in range and none may come twice; gaps stay None (RFC 1939 section 5).
    ``consumer`` gets each (index, entry) as it arrives.
    """

    def __init__(
        self,
        grammar: Grammar[Listed],
        line_end: bytes,
        consumer: Callable[[int, Listed], object] | None = None,
    ) -> None:
        self.entries: list[Listed | None] = []
        self._grammar = grammar
        self._consumer = consumer
        self._splitter = LineSplitter(line_end)
        self._octets = 0

    def feed(self, block: bytes) -> None:
        """Take a block of the reply's content; raises MalformedListing, LineTooLong."""
        self._octets += len(block)
        if self._octets > LISTING_LIMIT:
            raise MalformedListing(f"a listing is longer than {LISTING_LIMIT} octets")
        self._take(block)

    def _take(self, block: bytes) -> None:
        entries = self.entries
        for line in self._splitter.lines(block):
            number, entry = self._grammar(line)
            if not 1 <= number <= MESSAGES_LIMIT:
                raise MalformedListing(f"message number {number} is out of range")
            if number == len(entries) + 1:  # nearly always
                entries.append(entry)
            else:
                entries.extend([None] * (number - len(entries)))
                if entries[number - 1] is not None:
                    raise MalformedListing(f"message number {number} is listed twice")
                entries[number - 1] = entry
            if self._consumer:
                self._consumer(number - 1, entry)


class RecognisingReader(ListingReader[Listed]):
    """Read a LIST or UIDL reply of which the digest may be known.

    A mailbox of 100 000 messages lists nearly always what it listed before. To see that takes a digest of
    the octets; to parse them takes twenty times as long, 0.15 s beside the 0.42 s of "nothing new among
    100 000" (README). So ``keeps`` lets a list that may be familiar stay as it comes until :meth:`parse`;
    any other is parsed as it arrives.
    """

    def __init__(self, grammar: Grammar[Listed], line_end: bytes, *, keeps: bool) -> None:
        super().__init__(grammar, line_end)
        self._digest = blake2b(digest_size=DIGEST_SIZE)
        self._kept: list[bytearray] | None = [] if keeps else None

    @property
    def digest(self) -> str:
        """The digest of what was fed."""
        return self._digest.hexdigest()

    def _take(self, block: bytes) -> None:
        self._digest.update(block)
        if self._kept is None:
            super()._take(block)
        elif self._kept and len(self._kept[-1]) < CHUNK:
            self._kept[-1] += block
        else:
            self._kept.append(bytearray(block))

    def parse(self) -> None:
        """Parse what was kept, and from now on what arrives; raises MalformedListing, LineTooLong."""
        kept, self._kept = self._kept, None
        for chunk in kept or ():
            super()._take(bytes(chunk))


class CapabilityReader:
    """Read a whole CAPA reply into ``capabilities``: name to its arguments, or None."""

    def __init__(self, line_end: bytes) -> None:
        self.capabilities: Capabilities = {}
        self._splitter = LineSplitter(line_end)
        self._octets = 0

    def feed(self, block: bytes) -> None:
        """Take a block of the reply's content."""
        self._octets += len(block)
        if self._octets > CAPABILITIES_LIMIT:
            raise MalformedListing(f"the reply to CAPA is longer than {CAPABILITIES_LIMIT} octets")
        for line in self._splitter.lines(block):
            words = line.decode("utf-8", "backslashreplace").split()
            if not words:
                continue
            name = words[0].upper()  # tags are case-insensitive (RFC 2449 section 3)
            # A server with SASL and no mechanism has an empty list, not None (Dovecot before TLS).
            merged = (self.capabilities.get(name) or []) + words[1:]
            self.capabilities[name] = merged if merged or name == "SASL" else None
