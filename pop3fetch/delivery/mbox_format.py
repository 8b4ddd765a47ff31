"""Messages in mboxrd form, octets to octets: a From_ line, the quoted message, an empty line.

A line that reads ``From `` behind any number of ``>`` gets one more ``>``. A reader that takes
one off each such line has the message's own octets again, and no message can forge the beginning
of another. What we add ends in LF; the message's own line ends stay as they are.

Readers of an mbox obey fields that the sender may have written: ``Content-Length`` is used to find the next
message, ``Status`` and ``X-Status`` mark a message as read or deleted. These fields get a prefix.
"""

from __future__ import annotations

import re
import time

HEADER_LIMIT = 65536  # octets in which Return-Path is looked for; it is nearly always the first line
UNKNOWN_SENDER = b"MAILER-DAEMON"  # who mbox(5) writes for the empty envelope sender

_FROM = b"From"
_FROM_LINE = re.compile(rb"(\n>*+)From ")
_END_OF_HEADER = re.compile(rb"(?:\A|\n)\r?\n")
_RETURN_PATH = re.compile(rb"\nreturn-path[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)", re.IGNORECASE)
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_OBEYED = re.compile(rb"(\n)((?:content-length|x-status|status)[ \t]{0,64}:)", re.IGNORECASE)
_LONGEST_NAME = len(b"\nContent-Length") + 64  # octets that show whether a line is one of them
_PREFIX = rb"\1X-Original-\2"
# Readers find the date behind the sender: it must have no blanks. 8-bit addresses are RFC 6531's.
_SENDER = re.compile(rb"[!-;=?-~\x80-\xff]{1,256}")


def from_line(header: bytes, when: float) -> bytes:
    """Return the From_ line of a message that begins with ``header``; ``when`` in seconds since the epoch."""
    field = _RETURN_PATH.search(b"\n" + header)
    address = field[1].strip().removeprefix(b"<").removesuffix(b">") if field else b""
    sender = address if _SENDER.fullmatch(address) else UNKNOWN_SENDER
    # asctime(3) in UTC, as mbox(5) has it: no zone, and the same in every locale.
    return b"From %b %b\n" % (sender, time.asctime(time.gmtime(when)).encode("ascii"))


class Encoder:
    """Bring one message into mboxrd form, block by block; blocks may end anywhere."""

    def __init__(self, when: float) -> None:
        """``when``: the date of the From_ line, in seconds since the epoch."""
        self._when = when
        self._header: bytes | None = b""  # what has come, until the From_ line can be written
        self._own_fields = OwnFields()
        self._quoted = Quoter()

    def encode(self, block: bytes) -> bytes:
        """Return what can be written now, which may be nothing yet."""
        if self._header is None:
            return self._quoted.quote(self._own_fields.encode(block))
        seen = max(0, len(self._header) - 2)
        self._header += block
        if _END_OF_HEADER.search(self._header, seen) or len(self._header) >= HEADER_LIMIT:
            return self._begin(self._header)
        return b""

    def finish(self) -> bytes:
        """Return the rest: what was held back, the last line's end if it lacks one, the empty line."""
        rest = b"" if self._header is None else self._begin(self._header)
        rest += self._quoted.quote(self._own_fields.finish())
        return rest + self._quoted.finish() + b"\n"

    def _begin(self, octets: bytes) -> bytes:
        self._header = None
        end = _END_OF_HEADER.search(octets)
        first = from_line(octets[: end.start()] if end else octets, self._when)
        return first + self._quoted.quote(self._own_fields.encode(octets))


class OwnFields:
    """Rename the fields of a header that mail readers would obey; blocks may end anywhere."""

    def __init__(self) -> None:
        self._is_header = True
        self._is_first = True
        self._held = b"\n"  # the beginning of a line that may be such a field, with the LF before it

    def encode(self, block: bytes) -> bytes:
        """Return what is certain by now: everything, once the header has ended."""
        if not self._is_header:
            return block
        octets = self._held + block
        end = _EMPTY_LINE.search(octets)
        if end:
            self._is_header = False
            return self._renamed(octets[: end.end()], b"") + octets[end.end() :]
        start = octets.rfind(b"\n")
        is_open = start >= 0 and len(octets) - start <= _LONGEST_NAME
        return self._renamed(octets[:start], octets[start:]) if is_open else self._renamed(octets, b"")

    def finish(self) -> bytes:
        """Return what was held back."""
        return self._renamed(self._held, b"") if self._is_header else b""

    def _renamed(self, octets: bytes, held: bytes) -> bytes:
        self._held = held
        if not octets:
            return b""
        is_first, self._is_first = self._is_first, False
        return _OBEYED.sub(_PREFIX, octets)[is_first:]  # the LF before the first line is ours


class Quoter:
    """Quote one message.

    The ``>`` may go anywhere before ``From ``: so of a line that a block leaves open, the four
    octets of ``From`` are all that must be held back, however many ``>`` precede them.
    """

    def __init__(self) -> None:
        self._line_is_open = False  # the last line has no end yet
        self._may_be_from = True  # all of it so far is `>` and the beginning of `From`
        self._held = b""  # that beginning

    def quote(self, block: bytes) -> bytes:
        """Return the quoted octets that are certain by now."""
        if not block:
            return b""
        quoted = octets = self._held + block
        if b"From " in octets:
            # A pattern that begins with LF is ten times as fast as one with ^.
            start = b"\n" if self._may_be_from else b""
            quoted = _FROM_LINE.sub(rb"\1>From ", start + octets)[len(start) :]
        start_of_line = octets.rfind(b"\n") + 1
        self._line_is_open = start_of_line < len(octets)
        is_whole = start_of_line > 0 or self._may_be_from  # else its beginning is not in sight
        beginning = octets[start_of_line:].lstrip(b">")
        self._may_be_from = is_whole and _FROM.startswith(beginning)
        self._held = beginning if self._may_be_from else b""
        return quoted[: len(quoted) - len(self._held)]

    def finish(self) -> bytes:
        """Return what was held back, and a line end if the message has none; an empty one needs none."""
        return self._held + b"\n" * self._line_is_open
