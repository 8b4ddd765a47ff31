"""The grammar of each reply: drop listing, scan and unique-id listings, capabilities.

Pure: octets in, values out. Whatever no POP3 server may say is a MalformedListing (or
LineTooLong), and every reply that has no natural end has a bound, with its reason beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from operator import methodcaller
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

_SPACES = methodcaller("count", b" ")
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")

Capabilities = dict[str, list[str] | None]
Listed = TypeVar("Listed")


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
        self._check(lines)
        return lines

    def _check(self, lines: list[bytes]) -> None:
        if self._limit is None:
            return
        if self._size > self._limit or (lines and max(map(len, lines)) > self._limit):
            raise LineTooLong(f"a line of a list is longer than {self._limit} octets")

    def rest(self) -> list[bytes]:
        """Return the last line where no line end follows it."""
        return [b"".join(self._parts)] if self._size else []


def _plain_sizes(words: list[bytes]) -> list[int] | None:
    lengths = set(map(len, words))
    plain = b"".join(words).isdigit() and min(lengths) > 0 and max(lengths) <= 19
    return list(map(int, words)) if plain else None


def _plain_unique_ids(words: list[bytes]) -> list[bytes] | None:
    return None if _CONTROL.search(b"".join(words)) else words


class Grammar(NamedTuple, Generic[Listed]):
    """How a listing is read: each line by itself, or many plain ones (number, space, word) at once."""

    line: Callable[[bytes], tuple[int, Listed]]
    plain: Callable[[list[bytes]], list[Listed] | None]


SCAN_LISTING = Grammar(parse_scan_line, _plain_sizes)
UNIQUE_ID_LISTING = Grammar(parse_unique_id_line, _plain_unique_ids)


class ListingReader(Generic[Listed]):
    """Read a whole LIST or UIDL reply, block by block, into ``entries`` by index.

    Numbers must be in range and none may come twice; gaps stay None (RFC 1939 section 5).
    ``consumer`` is told each (index, entry) as it arrives.

    A maildrop of 100 000 messages has 200 000 such lines. So the lines of a block that are all
    plain, and numbered on from the last one, are taken together; any other block line by line.
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
        """Take a block of the reply's content."""
        self._octets += len(block)
        if self._octets > LISTING_LIMIT:
            raise MalformedListing(f"a listing is longer than {LISTING_LIMIT} octets")
        self._read(block)

    def _read(self, block: bytes) -> None:
        lines = self._splitter.lines(block)
        if lines and (self._consumer or not self._take_plain(lines)):
            self._take(lines)

    def _take_plain(self, lines: list[bytes]) -> bool:
        """Take the lines at once if all are plain; return whether they were."""
        first, count = len(self.entries) + 1, len(lines)
        if first + count > MESSAGES_LIMIT or set(map(_SPACES, lines)) != {1}:
            return False
        words = b" ".join(lines).split(b" ")
        if words[::2] != [b"%d" % number for number in range(first, first + count)]:
            return False
        entries = self._grammar.plain(words[1::2])
        if entries is not None:
            self.entries += entries
        return entries is not None

    def _take(self, lines: list[bytes]) -> None:
        for line in lines:
            number, entry = self._grammar.line(line)
            self._place(number, entry)
            if self._consumer:
                self._consumer(number - 1, entry)

    def _place(self, number: int, entry: Listed) -> None:
        entries = self.entries
        if number == len(entries) + 1 and number <= MESSAGES_LIMIT:  # nearly always
            entries.append(entry)
            return
        if not 1 <= number <= MESSAGES_LIMIT:
            raise MalformedListing(f"message number {number} is out of range")
        entries.extend([None] * (number - len(entries)))
        if entries[number - 1] is not None:
            raise MalformedListing(f"message number {number} is listed twice")
        entries[number - 1] = entry


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
            self._add(line.decode("utf-8", "backslashreplace").split())

    def _add(self, words: list[str]) -> None:
        if not words:
            return
        name, *arguments = words
        known = self.capabilities.get(name.upper())  # tags are case-insensitive (RFC 2449 section 3)
        # A server with SASL and no mechanism has an empty list, not None (Dovecot before TLS).
        merged = (known or []) + arguments
        self.capabilities[name.upper()] = merged if merged or name.upper() == "SASL" else None
