"""What an mbox has of a message that was to be appended: compared octet by octet.

Reads only. ``mbox`` and ``spool`` are open files; the spool holds the message in mboxrd form.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence, Set
from enum import Enum

from pop3fetch.delivery.destination import Place
from pop3fetch.values import NamedTuple

BLOCK = 1 << 20  # octets read at once
PIECE = 512  # octets that a disk writes or loses as a whole
FIRST_LINE = 256  # octets of a From_ line that are compared first
HEAD = 1 << 17  # octets in which a header must end
LONGEST_FROM_LINE = 1 << 12  # octets

_FROM_LINE = re.compile(rb"\nFrom [^\n]*(?=\n)")
_EMPTY_LINE = re.compile(rb"\n(?=\r?\n)")
_END = re.compile(rb"[\r\n\0]*(?:From |\Z)")  # of a message: empty lines, or the room of the next one, follow
LONGEST_END = 64  # octets


def same_octets(mbox: int, offset: int, spool: int, part: range) -> bool:
    """Return whether ``part`` of the spool is in the mbox at ``offset``."""
    for place in range(part.start, part.stop, BLOCK):
        length = min(BLOCK, part.stop - place)
        expected = os.pread(spool, length, place)
        if len(expected) < length or os.pread(mbox, length, offset + place - part.start) != expected:
            return False
    return True


def looks_whole(mbox: int, place: Place) -> bool:
    """Return whether some message fills ``place``: all that can be asked if the spool is gone."""
    end = place.offset + place.length
    return (
        os.pread(mbox, 5, place.offset) == b"From "
        and os.pread(mbox, 2, end - 2) == b"\n\n"
        and os.pread(mbox, 5, end) in (b"", b"From ")
    )


class Remains(Enum):
    """What a crash left at the place of a message."""

    WHOLE = "all of it"
    PART = "a part of it, and room for the rest"
    NOTHING = "nothing that is certainly ours"


class _Standing(Enum):
    """What is at one place, examined alone."""

    WHOLE = "all of it"
    PART = "a part of it"
    NULS = "room, which need not be ours"
    MISSING = "nothing, as the mbox ends before it, or nothing that can be compared"
    OTHER = "something else"


def rows_of(places: Iterable[Place]) -> Iterator[list[Place]]:
    """Yield the places that follow each other at once, for all of which one room was made."""
    row: list[Place] = []
    for place in sorted(places, key=lambda place: place.offset):
        if row and row[-1].offset + row[-1].length != place.offset:
            yield row
            row = []
        row.append(place)
    if row:
        yield row


def remains_of(mbox: int, row: Sequence[Place], spools: Sequence[int | None]) -> list[Remains]:
    """Return what is at each place of a row of the message in its spool.

    A part is octets of ours and NULs, which is what a file has before anything is written; it may
    end with the mbox. NULs alone may be those of a message, or the room of another account, unless
    what is beside them shows that they are ours. Without a spool the answer is all or nothing.
    """
    standings = [_standing(mbox, place, spool) for place, spool in zip(row, spools, strict=True)]
    shows_ours = _Standing.WHOLE in standings or _Standing.PART in standings
    has_room = _Standing.OTHER not in standings and (shows_ours or _ends_a_room(mbox, row[-1]))
    remains = {
        _Standing.WHOLE: Remains.WHOLE,
        _Standing.PART: Remains.PART,
        _Standing.NULS: Remains.PART if has_room else Remains.NOTHING,
    }
    return [remains.get(standing, Remains.NOTHING) for standing in standings]


def _standing(mbox: int, place: Place, spool: int | None) -> _Standing:
    if spool is None:  # removed or spoilt; we remove it only once the record calls it done
        return _Standing.WHOLE if looks_whole(mbox, place) else _Standing.MISSING
    end = os.fstat(mbox).st_size
    if end <= place.offset:
        return _Standing.MISSING
    is_whole = end >= place.offset + place.length
    shows_ours = False
    for start in range(0, min(place.length, end - place.offset), BLOCK):
        there = os.pread(mbox, min(BLOCK, place.length - start), place.offset + start)
        ours = os.pread(spool, len(there), start)
        if there != ours:
            is_whole = False
            if not _is_part(there, ours):
                return _Standing.OTHER
        shows_ours = shows_ours or bool(there.strip(b"\0\n"))  # the room has line ends of its own
    if is_whole:
        return _Standing.WHOLE
    return _Standing.PART if shows_ours else _Standing.NULS


def _is_part(there: bytes, ours: bytes) -> bool:
    """Whether octets are ours but for NULs, in pieces, as disks lose them.

    A piece is the beginning of ours, then NULs, and then the end of ours; each may be missing. The kernel
    may end a write between two pages, and the end of the room may follow.
    """
    for start in range(0, len(there), PIECE):
        piece, own = there[start : start + PIECE], ours[start : start + PIECE]
        if piece != own:
            same = next(place for place, octet in enumerate(piece) if octet != own[place])
            if not own.endswith(piece[same:].lstrip(b"\0")):
                return False
    return True


def _ends_a_room(mbox: int, place: Place) -> bool:
    """Whether an mbox of which nothing but NULs is known may have a room that ends with ``place``."""
    end = place.offset + place.length
    if os.fstat(mbox).st_size in (end - 1, end):  # a write of two octets may have been ended after one
        return True
    around = os.pread(mbox, len(b"\n\n\n\nFrom "), end - 2)
    # A power cut may have taken its line ends; then others have added theirs.
    return around.startswith(b"\n\n") or around[2:].lstrip(b"\n").startswith(b"From ")


def is_as_before(mbox: int, row: Sequence[Place], spool: int) -> bool:
    """Whether nothing of a row was appended: what looks like the message in ``spool`` was fetched earlier."""
    there, ours = os.fstat(mbox), os.fstat(spool)
    lacks = row[0].offset - there.st_size  # up to two line ends come before the first From_ line
    return 0 <= lacks <= len(b"\n\n") and there.st_mtime_ns <= ours.st_mtime_ns


def find_anywhere(mbox: int, spools: Sequence[int], taken: Set[int]) -> set[int]:
    """Return those of ``spools`` whose message is in the mbox, wherever a mail program has put it.

    The mbox is read once. The header may have more lines at its end: ``Status`` and the like. The From_ line
    must be ours: it has the time, and so shows a message of the same octets that was fetched earlier. Each
    message of the mbox is taken for one of them at most, and none of those at the offsets ``taken``.
    """
    wanted: dict[bytes, list[tuple[int, _Parts]]] = {}
    for spool in spools:
        wanted.setdefault(_first_line(spool, 0), []).append((spool, _measure(spool)))
    found: set[int] = set()
    for offset in _messages(mbox) if wanted else ():
        alike = [] if offset in taken else wanted.get(_first_line(mbox, offset), [])
        if match := next((one for one in alike if _stands_at(mbox, offset, *one)), None):
            found.add(match[0])
            alike.remove(match)
    return found


def _first_line(file: int, offset: int) -> bytes:
    """Return the beginning of a From_ line, in which most messages differ."""
    return os.pread(file, FIRST_LINE, offset).partition(b"\n")[0]


class _Parts(NamedTuple):
    """A message in a spool: the From_ line and the header, and the rest from the empty line on."""

    header: range
    rest: range


def _measure(spool: int) -> _Parts:
    end = os.fstat(spool).st_size - 1  # the empty line that follows is not part of the message
    head = os.pread(spool, HEAD, 0)
    empty = _EMPTY_LINE.search(head)
    rest = empty.end() if empty else end
    return _Parts(range(rest), range(rest, end))


def _stands_at(mbox: int, offset: int, spool: int, message: _Parts) -> bool:
    if not same_octets(mbox, offset, spool, message.header):
        return False
    more = offset + len(message.header)
    empty = _EMPTY_LINE.search(os.pread(mbox, HEAD, more - 1))
    if empty is None or not same_octets(mbox, more + empty.start(), spool, message.rest):
        return False
    # A longer message may begin as ours does.
    end = more + empty.start() + len(message.rest)
    return _END.match(os.pread(mbox, LONGEST_END, end)) is not None


def _messages(mbox: int) -> Iterator[int]:
    """Yield the offset of each From_ line."""
    place, line = 0, b"\n"  # the line that the last block left open, with the line end before it
    while block := os.pread(mbox, BLOCK, place):
        octets = line + block
        for found in _FROM_LINE.finditer(octets):
            yield place - len(line) + found.start() + 1
        place += len(block)
        line = octets[max(octets.rfind(b"\n"), len(octets) - LONGEST_FROM_LINE) :]
