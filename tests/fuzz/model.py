"""RFC 1939 as straightforwardly as possible: all octets have arrived, and nothing is ever split.

But for a single dot at the beginning of a content, which Dovecot 2.3 does not stuff.

Nothing of pop3fetch is imported here: what the state machine makes of a stream, cut in whatever pieces,
is compared with what this makes of the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

STATUS = re.compile(rb"(\+ok|-err)(?:[ \t].*)?", re.IGNORECASE | re.DOTALL)
MULTILINE = (b"LIST", b"UIDL", b"CAPA", b"RETR", b"TOP")
LONGEST = 8192  # octets of a status line with its end


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole reply: to which command, whether +OK, and its content, unstuffed, if any."""

    command: bytes
    ok: bool
    content: bytes | None


class Stream:
    """Everything that a server sends on one connection."""

    def __init__(self, octets: bytes) -> None:
        self._rest = octets
        first = octets.partition(b"\n")[0]
        self._end = b"\r\n" if first.endswith(b"\r") else b"\n"

    def answers(self, commands: Sequence[bytes]) -> Iterator[Answer]:
        """Yield the greeting (to the command ``b""``) and the replies that are there as a whole."""
        for command in (b"", *commands):
            ok = self._status()
            if ok is None:
                return
            content = None
            if ok and command.split(b" ")[0].rstrip(b"\r\n").upper() in MULTILINE:
                content = self._content()
                if content is None:
                    return
            yield Answer(command, ok, content)

    def _status(self) -> bool | None:
        line, found, rest = self._rest.partition(b"\n")
        if not found or len(line) + 1 > LONGEST:
            return None
        if self._end == b"\r\n" and not line.endswith(b"\r"):
            return None
        status = STATUS.fullmatch(line.removesuffix(b"\r"))
        self._rest = rest
        return status[1][:1] == b"+" if status else None

    def _content(self) -> bytes | None:
        lines: list[bytes] = []
        while True:
            line, found, self._rest = self._rest.partition(self._end)
            if not found:
                return None
            if line == b".":
                return b"".join(lines)
            bare = not lines and line[1:2] != b"."
            lines.append((line if bare else line.removeprefix(b".")) + self._end)
