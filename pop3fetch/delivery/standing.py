"""What stands in an mbox of a message that was to be appended: looked for octet by octet.

Reads only. ``mbox`` and ``spool`` are open files; the spool holds the message in mboxrd form.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from pop3fetch.delivery.destination import Place

BLOCK = 1 << 20  # octets read at once
HEAD = 1 << 17  # octets in which a header must end
LONGEST_FROM_LINE = 1 << 12  # octets

_FROM_LINE = re.compile(rb"\nFrom [^\n]*(?=\n)")
_EMPTY_LINE = re.compile(rb"\n(?=\r?\n)")


def same_octets(mbox: int, offset: int, spool: int, part: range) -> bool:
    """Return whether ``part`` of the spool stands in the mbox at ``offset``."""
    for place in range(part.start, part.stop, BLOCK):
        length = min(BLOCK, part.stop - place)
        expected = os.pread(spool, length, place)
        if len(expected) < length or os.pread(mbox, length, offset + place - part.start) != expected:
            return False
    return True


def looks_whole(mbox: int, place: Place) -> bool:
    """Return whether some message fills ``place``: all that can be asked where the spool is gone."""
    end = place.offset + place.length
    return (
        os.pread(mbox, 5, place.offset) == b"From "
        and os.pread(mbox, 2, end - 2) == b"\n\n"
        and os.pread(mbox, 5, end) in (b"", b"From ")
    )


def stands_anywhere(mbox: int, spool: int) -> bool:
    """Return whether the message stands in the mbox, wherever a mail program has put it.

    Its From_ line need not be ours, and its header may have more lines at the end: ``Status`` and
    the like.
    """
    message = _measure(spool)
    return any(_stands_at(mbox, offset, spool, message) for offset in _messages(mbox))


class _Parts(NamedTuple):
    """A message in a spool: its header, and the rest from the empty line on."""

    header: range
    rest: range


def _measure(spool: int) -> _Parts:
    end = os.fstat(spool).st_size - 1  # the empty line that follows is no part of the message
    head = os.pread(spool, HEAD, 0)
    start = head.index(b"\n") + 1  # behind the From_ line
    empty = _EMPTY_LINE.search(head, start - 1)
    rest = empty.end() if empty else end
    return _Parts(range(start, rest), range(rest, end))


def _stands_at(mbox: int, offset: int, spool: int, message: _Parts) -> bool:
    if not same_octets(mbox, offset, spool, message.header):
        return False
    more = offset + len(message.header)
    empty = _EMPTY_LINE.search(os.pread(mbox, HEAD, more - 1))
    return empty is not None and same_octets(mbox, more + empty.start(), spool, message.rest)


def _messages(mbox: int) -> Iterator[int]:
    """Yield the offset of each message, behind its From_ line."""
    place, line = 0, b"\n"  # the line that the last block left open, with the line end before it
    while block := os.pread(mbox, BLOCK, place):
        octets = line + block
        for found in _FROM_LINE.finditer(octets):
            yield place - len(line) + found.end() + 1
        place += len(block)
        line = octets[max(octets.rfind(b"\n"), len(octets) - LONGEST_FROM_LINE) :]
