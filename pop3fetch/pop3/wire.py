"""The octets of POP3: command lines, status lines, the greeting, and multi-line ends.

Pure functions and one small reader. The meaning of a reply is in ``machine`` (which reply is awaited)
and ``replies`` (the grammar of each list).

How content is read. A multi-line reply ends with CRLF . CRLF and with nothing else, and a line that
begins with a dot gets another dot before it (RFC 1939 section 3). The first line of the content follows
the CRLF of the status line, so an empty content ends with the same five octets. :class:`ContentReader`
therefore scans from the status line's own CRLF on, in blocks and not in lines: a block without a dot is
passed on unchanged. If the octets read so far end with what may be the beginning of CRLF . CRLF, that
is held back. So no line end is split between two blocks, and line ends can be changed block by block.
"""

from __future__ import annotations

import re
from functools import cache

from pop3fetch.errors import InvalidArgument, LineTooLong, NotPOP3Server, ProtocolViolation
from pop3fetch.values import NamedTuple

COMMAND_LIMIT = 255  # octets with CRLF (RFC 2449 section 4)
LINE_LIMIT = 8192  # RFC 2449 allows 512; real servers have sent 4096 and more with -ERR

CRLF = b"\r\n"
LF = b"\n"

# RFC 1939 section 7 requires a msg-id of RFC 822. Anything looser lets a hostile server choose
# challenges that collide under MD5 and reveal the secret (CVE-2007-1558).
_CHALLENGE = rb"<[!-;=?A-~]{1,250}@[!-;=?A-~]{1,250}>"
_KEYWORD = re.compile(r"[!-~]+")  # printable ASCII (RFC 1939 section 3)
_NO_LINE = re.compile(rb"[\r\n\0]")
_RESPONSE_CODE = rb"\[([!-Z^-~]{1,64})\]"
_STATUS = re.compile(rb"(\+OK|-ERR)(?:[ \t]+(.*))?", re.IGNORECASE | re.DOTALL)

# For what not every session needs, such as the lines of a list: to compile a regular expression takes as
# long as to load a module (benchmark row ``near-stat``).
compiled = cache(re.compile)

_OTHER_PROTOCOLS = {
    b"* OK": "IMAP",
    b"* PREAUTH": "IMAP",
    b"* BYE": "IMAP",
    b"220": "SMTP or FTP",
    b"554": "SMTP or FTP",
    b"421": "SMTP or FTP",
    b"HTTP/": "HTTP",
    b"\x15": "TLS",  # an alert
    b"\x16": "TLS",  # a handshake
}


class StatusLine(NamedTuple):
    """The first line of a reply: ``ok``, and the text after the status indicator."""

    ok: bool
    text: bytes

    @property
    def code(self) -> bytes | None:
        """The response code without its brackets, or None (RFC 2449 section 8)."""
        code = re.match(_RESPONSE_CODE, self.text)
        return code[1] if code else None


def command_line(name: str, *arguments: str | bytes | int) -> bytes:
    """Return the octets of one command.

    Raises InvalidArgument if an argument contains CR, LF or NUL: that could make it two commands. Also if
    it cannot be encoded, or if the line would exceed 255 octets.
    """
    if not _KEYWORD.fullmatch(name):  # the error does not show it: it may contain an argument
        raise InvalidArgument("a command", "its name is not printable ASCII without spaces")
    try:
        encoded = (
            argument if isinstance(argument, bytes) else str(argument).encode("utf-8", "surrogateescape")
            for argument in arguments
        )
        line = b" ".join([name.encode("ascii"), *encoded])
    except UnicodeEncodeError:
        raise InvalidArgument(name, "an argument contains half a surrogate pair") from None
    if len(line) + len(CRLF) > COMMAND_LIMIT:
        raise InvalidArgument(name, f"the line would be longer than {COMMAND_LIMIT} octets")
    if _NO_LINE.search(line):
        raise InvalidArgument(name, "an argument contains CR, LF or NUL")
    return line + CRLF


def response_line(response: bytes) -> bytes:
    """Return the octets that answer a SASL challenge; ``response`` is base64 or ``*``.

    They may exceed the 255 octets of a command (RFC 5034 section 4). Raises InvalidArgument as
    :func:`command_line` does.
    """
    if _NO_LINE.search(response):
        raise InvalidArgument("a SASL response", "it contains CR, LF or NUL")
    return response + CRLF


def take_line(buffer: bytes, start: int, line_end: bytes) -> bytes | None:
    """Return the line at ``start`` without its end, or None if it is not complete yet.

    Raises LineTooLong past 8 KiB, and ProtocolViolation if a lone LF would end a line of
    a server that ends its lines with CRLF.
    """
    end = buffer.find(LF, start, start + LINE_LIMIT)
    if end < 0:
        if len(buffer) - start >= LINE_LIMIT:
            raise LineTooLong(
                f"a line is longer than {LINE_LIMIT} octets", buffer[start : start + LINE_LIMIT]
            )
        return None
    if line_end == LF:
        return buffer[start:end].removesuffix(b"\r")
    if buffer[end - 1 : end] != b"\r" or end == start:
        raise ProtocolViolation("a bare LF ends a line", buffer[start:end])
    return buffer[start : end - 1]


def parse_status(line: bytes) -> StatusLine | None:
    """Return the status line, or None if it is not one (RFC 1939 section 3)."""
    status = _STATUS.fullmatch(line)
    return StatusLine(status[1][:1] == b"+", status[2] or b"") if status else None


def find_challenge(greeting: bytes) -> bytes | None:
    """Return the APOP challenge, angle brackets included, if the greeting has a valid one."""
    challenge = re.search(_CHALLENGE, greeting)
    return challenge[0] if challenge else None


def refuse_other_protocols(octets: bytes) -> None:
    """Raise NotPOP3Server as soon as ``octets``, the first of a server, cannot begin a greeting.

    No sooner, if they may still become the opening of a protocol that the error can name.
    """
    opening = octets[:4].upper()
    if b"+OK".startswith(opening[:3]) or b"-ERR".startswith(opening):
        return
    if not any(other != octets and other.startswith(octets) for other in _OTHER_PROTOCOLS):
        raise not_pop3(octets[:LINE_LIMIT].split(LF)[0])


def not_pop3(line: bytes) -> NotPOP3Server:
    """Return the error for a first line that is not a greeting, with the protocol if it is known."""
    spoken = next((name for opening, name in _OTHER_PROTOCOLS.items() if line.startswith(opening)), "")
    what = f"it speaks {spoken}" if spoken else "its greeting is not +OK"
    return NotPOP3Server(what, line.rstrip(b"\r\n"), spoken)


def with_lf(block: bytes) -> bytes:
    """Return a block of content with LF for each CRLF; nothing else changes."""
    # Half again as fast as replace(), because that searches for each CRLF separately.
    return b"\n".join(block.split(CRLF))


class ContentReader:
    """Take the content of one multi-line reply from a buffer, block by block.

    ``line_end`` is CRLF, or LF for a server whose greeting ended with a bare LF.
    """

    __slots__ = ("_dot_line", "_is_first", "_line_end", "_skip", "ended", "position")

    def __init__(self, line_end: bytes, position: int) -> None:
        """Begin at ``position``: the line end of the status line."""
        self._line_end = line_end
        self._dot_line = line_end + b"."  # where a line begins that is stuffed, or the last
        self._skip = len(line_end)  # octets at the position that are scanned, but were passed on already
        self._is_first = True  # whether the first line of the content is not yet read
        self.position = position
        self.ended = False

    def read(self, buffer: bytes) -> bytes:
        """Return what in ``buffer`` is certainly content, unstuffed, and move the position after it."""
        line_end, dot_line = self._line_end, self._dot_line
        start = at = self.position
        begin = start + self._skip
        stop = self.position = len(buffer)
        pieces = []
        # Base64 has no dots, and one octet is found ten times as fast as three.
        while (dot := buffer.find(b".", at)) >= 0 and (
            at := buffer.find(dot_line, max(at, dot - len(line_end)))
        ) >= 0:
            line = at + len(dot_line)
            if len(buffer) < line + len(line_end):  # it may become the last line
                stop = self.position = at
                break
            if buffer.startswith(line_end, line):
                self.ended = True
                stop = at + len(line_end)
                self.position = line + len(line_end)
                break
            # Dovecot 2.3 adds no dot to a first line that begins with one; a server that does, sends two.
            if at > start or not self._is_first or buffer.startswith(b".", line):
                pieces.append(buffer[begin : line - 1])
                begin = line
            at = line + 1  # the second of two dots would send us in search of three octets
        else:
            if buffer.endswith(line_end):
                # A line is passed on when it is complete. Its end is scanned once more, with what follows.
                self.position -= len(line_end)
            elif line_end == CRLF and buffer.endswith(b"\r"):
                stop = self.position = stop - 1
        if stop <= begin and self.position <= start:
            return b""
        self._skip = stop - self.position
        self._is_first = False
        if not pieces:
            return buffer[begin:stop]
        pieces.append(buffer[begin:stop])
        return b"".join(pieces)
