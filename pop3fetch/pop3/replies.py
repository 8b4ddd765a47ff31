"""The grammar of each reply: drop listing, scan and unique-id listings, capabilities.

Pure: octets in, values out. What no POP3 server may send is a MalformedListing (or LineTooLong). Every
reply without a natural end has a limit, with its reason beside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from pop3fetch.errors import LineTooLong, MalformedListing, ProtocolViolation
from pop3fetch.pop3.wire import LINE_LIMIT, compiled
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from hashlib import blake2b

# Only a broken or hostile server lists more messages. With LISTING_LIMIT, enough for as many unique-ids of
# 50 octets, this keeps LIST and UIDL together below 300 MiB of memory.
MESSAGES_LIMIT = 1_000_000
LISTING_LIMIT = 64 * 1024 * 1024  # octets of one LIST or UIDL reply
MOST_UNUSABLE = 1000  # lines of a list; after so many, none of it is believed
CAPABILITIES_LIMIT = 64 * 1024  # octets of one CAPA reply; real ones have some 300

# Only ASCII digits, and few: int() also accepts signs, underscores and other scripts' digits.
_DROP_LISTING = rb"(?s)([0-9]{1,19})[ \t]+([0-9]{1,19})(?:[ \t].*)?"
_SCAN_LINE = rb"(?s)[ \t]*([0-9]{1,19})[ \t]+([0-9]{1,19})(?:[ \t].*)?"
# A unique-id is 1 to 70 octets 0x21-0x7E by RFC 1939. Servers also send longer, 8-bit and empty ones, and
# ones with spaces. So all after the number belongs to it, except control characters. Each space matches in
# one place only: otherwise refusing a line of 8 KiB of spaces would take an hour.
_UNIQUE_ID_LINE = rb"([0-9]{1,19})(?:[ \t]+([^\x00-\x20\x7f][^\x00-\x1f\x7f]*))?"

_NUMBER = rb"\A[ \t]*([0-9]{1,19})(?:[ \t]|\Z)"  # of a line whose rest is unusable

Capabilities = dict[str, list[str] | None]
Listed = TypeVar("Listed")
Grammar = Callable[[bytes], tuple[int, Listed]]  # of a line: the message's number, and what is listed
DIGEST_SIZE = 24  # octets
CHUNK = 64 * 1024  # octets at least that are kept together: small blocks would need fifty times the memory


class Overview(NamedTuple):
    """Sizes and unique-ids by index, None for a gap; ``unique_ids`` is None if the server has no UIDL.

    ``unusable``: the errors of lines that were left out.
    """

    sizes: list[int | None]
    unique_ids: list[bytes | None] | None
    unusable: Sequence[ProtocolViolation] = ()


class Digests(NamedTuple):
    """Digests of what LIST and UIDL replied, octet for octet: 48 hexadecimal digits each."""

    sizes: str
    unique_ids: str


UNFAMILIAR = Digests("", "")


def parse_drop_listing(text: bytes) -> tuple[int, int]:
    """Return (messages, octets) of a reply to STAT (RFC 1939 section 5)."""
    drop = re.fullmatch(_DROP_LISTING, text.strip(b" \t"))
    if not drop:
        raise MalformedListing("the reply to STAT does not begin with two numbers", text)
    return int(drop[1]), int(drop[2])


def parse_scan_line(line: bytes) -> tuple[int, int]:
    """Return (number, octets) of a line of LIST; words after the size are ignored."""
    scan = compiled(_SCAN_LINE).fullmatch(line)
    if not scan:
        raise MalformedListing("a line of LIST is not a number and a size", line)
    return int(scan[1]), int(scan[2])


def parse_unique_id_line(line: bytes) -> tuple[int, bytes]:
    """Return (number, unique-id) of a line of UIDL; the unique-id may be empty."""
    entry = compiled(_UNIQUE_ID_LINE).fullmatch(line.strip(b" \t"))
    if not entry:
        raise MalformedListing("a line of UIDL is not a number and a unique-id", line)
    return int(entry[1]), entry[2] or b""


def bounded(blocks: Iterable[bytes], what: str, limit: int, digest: blake2b | None = None) -> Iterator[bytes]:
    """Yield the blocks of a reply, and feed ``digest`` with them; raises MalformedListing past ``limit``."""
    octets = 0
    for block in blocks:
        octets += len(block)
        if octets > limit:
            raise MalformedListing(f"{what} is longer than {limit} octets")
        if digest:
            digest.update(block)
        yield block


def lines_of(
    blocks: Iterable[bytes], line_end: bytes, limit: int | None = LINE_LIMIT, *, blanks: bool = False
) -> Iterator[list[bytes]]:
    """Cut blocks of content into lines without their ends, in time linear to the octets.

    Yields the lines that each block completes, and at the end a line that no line end follows.
    ``limit``: octets of a line, or None for a message, whose lines have no limit. A longer line raises
    LineTooLong, or ``blanks`` makes it empty.
    """
    parts: list[bytes] = []
    size = 0
    for block in blocks:
        lines = block.split(line_end)
        rest = lines.pop()
        if lines:
            lines[0] = b"".join((*parts, lines[0]))
            parts, size = [], 0
        if limit is None or size <= limit:  # the rest of a line that is too long is dropped
            parts.append(rest)
        size += len(rest)
        if limit is not None and (size > limit or (lines and max(map(len, lines)) > limit)):
            if not blanks:
                raise LineTooLong(f"a line of a list is longer than {limit} octets")
            lines = [line if len(line) <= limit else b"" for line in lines]
        yield lines
    if limit is not None and size > limit:
        yield [b""]
    elif size:
        yield [b"".join(parts)]


def read_listing(
    blocks: Iterable[bytes],
    grammar: Grammar[Listed],
    line_end: bytes,
    consumer: Callable[[int, Listed], object] | None = None,
    digest: blake2b | None = None,
    *,
    unusable: list[ProtocolViolation] | None = None,
) -> list[Listed | None]:
    """Read a whole LIST or UIDL reply; return its entries by index.

    Numbers must be in range, and each may appear only once; gaps are None (RFC 1939 section 5).
    ``consumer`` gets each (index, entry) as it arrives, ``digest`` the octets. Raises MalformedListing,
    LineTooLong; or ``unusable`` takes the errors of such lines, and what they seem to name is a gap.
    """
    entries: list[Listed | None] = []
    named: set[int] = set()  # the indexes in unusable lines
    octets = bounded(blocks, "a listing", LISTING_LIMIT, digest)
    for lines in lines_of(octets, line_end, blanks=unusable is not None):
        for line in () if unusable and len(unusable) >= MOST_UNUSABLE else lines:
            try:
                number, entry = grammar(line)
                if number == len(entries) + 1 <= MESSAGES_LIMIT:  # nearly always
                    entries.append(entry)
                else:
                    _enter(entries, number, entry)
            except MalformedListing as error:
                if unusable is None:
                    raise
                unusable.append(error.with_traceback(None))  # which would keep a block of the list
                named.update(int(number) - 1 for number in re.findall(_NUMBER, line))
                continue
            if consumer:
                consumer(number - 1, entry)
    if unusable and len(unusable) >= MOST_UNUSABLE:
        return []
    for index in named:
        if 0 <= index < len(entries):
            entries[index] = None
    return entries


def _enter(entries: list[Listed | None], number: int, entry: Listed) -> None:
    """Enter what does not follow the last entry; raises MalformedListing."""
    if not 1 <= number <= MESSAGES_LIMIT:
        raise MalformedListing(f"message number {number} is out of range")
    entries.extend([None] * (number - len(entries)))
    if entries[number - 1] is not None:
        raise MalformedListing(f"message number {number} is listed twice")
    entries[number - 1] = entry


class ListReply(Generic[Listed]):
    """A LIST or UIDL reply with its ``digest``, which may be known.

    A mailbox of 100 000 messages nearly always lists what it listed before, and a digest of the octets shows
    that. To parse them takes twenty times as long: 0.15 s of 0.42 s (benchmark row ``nothing-new``). So a
    list that may be familiar can be kept unparsed until :meth:`parse`.
    """

    def __init__(self, grammar: Grammar[Listed], line_end: bytes) -> None:
        self.entries: list[Listed | None] = []
        self.unusable: list[ProtocolViolation] = []
        self.digest = ""
        self._grammar = grammar
        self._line_end = line_end
        self._kept: list[bytearray] = []

    def read(self, blocks: Iterable[bytes], *, keep: bool = False) -> None:
        """Read the reply to its end: parse it as it arrives, or ``keep`` it as it is.

        What was read before is forgotten: the list was requested again.
        """
        from hashlib import blake2b  # loads OpenSSL's part for it, and `stat` does not need that

        self._kept, self.unusable = [], []
        digest = blake2b(digest_size=DIGEST_SIZE)
        if not keep:
            self.entries = read_listing(
                blocks, self._grammar, self._line_end, digest=digest, unusable=self.unusable
            )
        else:
            for block in bounded(blocks, "a listing", LISTING_LIMIT, digest):
                if self._kept and len(self._kept[-1]) < CHUNK:
                    self._kept[-1] += block
                else:
                    self._kept.append(bytearray(block))
        self.digest = digest.hexdigest()

    def parse(self) -> None:
        """Parse what was kept."""
        kept, self._kept = self._kept, []
        if kept:
            octets = map(bytes, kept)
            self.entries = read_listing(octets, self._grammar, self._line_end, unusable=self.unusable)


def read_capabilities(blocks: Iterable[bytes], line_end: bytes) -> Capabilities:
    """Read a whole CAPA reply; return the arguments of each name, or None.

    Raises MalformedListing, LineTooLong.
    """
    capabilities: Capabilities = {}
    for lines in lines_of(bounded(blocks, "the reply to CAPA", CAPABILITIES_LIMIT), line_end):
        for line in lines:
            words = line.decode("utf-8", "backslashreplace").split()
            if not words:
                continue
            name = words[0].upper()  # tags are case-insensitive (RFC 2449 section 3)
            # A server with SASL and no mechanism has an empty list, not None (Dovecot before TLS).
            merged = (capabilities.get(name) or []) + words[1:]
            capabilities[name] = merged if merged or name == "SASL" else None
    return capabilities
