"""A small LMTP or SMTP server that follows the RFCs, as a script for the scripted server.

It keeps what it has accepted. Where a test wants it to be wrong, single replies are others, or the
connection breaks.

    lmtp = TransferServer()
    with ScriptedServer(lmtp) as server:
        ...
    assert lmtp.accepted == [Accepted(b"", [b"bob"], b"Subject: x\\r\\n")]
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.support.scripted_server import ClientLeft, Script, Talk

USUAL = b""  # in the place of a reply: the right one
PLAIN = (b"8BITMIME",)
PIPELINED = (b"PIPELINING", b"8BITMIME", b"SIZE 50000000")
CHUNKED = (b"PIPELINING", b"8BITMIME", b"CHUNKING", b"ENHANCEDSTATUSCODES")


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message that has got 250."""

    sender: bytes
    recipient: bytes
    octets: bytes


@dataclass
class TransferServer:
    """Call it to play one session.

    ``replies`` maps a step (``greeting``, ``LHLO``, ``MAIL``, ``RCPT``, ``DATA``, ``end`` for the end of
    a message) to the replies that stand in for the right ones, each in turn; None ends the
    stream, and a script takes over.
    ``break_after`` lets the next connection say so many octets. ``password`` is that of alice.
    """

    extensions: Sequence[bytes] = PIPELINED
    replies: Mapping[bytes, Sequence[bytes | Script | None]] = field(default_factory=dict)
    break_after: int | None = None
    manner: Script = Talk.cut
    password: str = "secret"
    accepted: list[Accepted] = field(default_factory=list)
    mails: list[bytes] = field(default_factory=list)  # the whole MAIL commands
    has_bare_lf: bool = False

    def __post_init__(self) -> None:
        self._left: dict[bytes, list[bytes | Script | None]] = {
            step: [*replies] for step, replies in self.replies.items()
        }

    def __call__(self, talk: Talk) -> None:
        if self.break_after is not None:
            allowed, self.break_after = self.break_after, None
            talk.cut_after(allowed, self.manner)
        self.say(talk, b"greeting", b"220 ready\r\n")
        _Session(self, talk).play()

    def stand_in(self, step: bytes, number: int, reply: bytes | None) -> None:
        """Let the ``number``-th reply to a step from now on, from 0, be another."""
        usual: list[bytes | Script | None] = [USUAL] * number
        self._left[step] = [*usual, reply]

    def forget_stand_ins(self) -> None:
        """Let all replies be the usual ones."""
        self._left.clear()

    def say(self, talk: Talk, step: bytes, usual: bytes) -> bool:
        """Say the reply to a step; return whether it is the usual one, and no matter what else follows it."""
        left = self._left.get(step)
        reply = left.pop(0) if left else usual
        if reply is USUAL:
            reply = usual
        if callable(reply):
            reply(talk)
            raise ClientLeft
        if reply is None:
            talk.close()
            raise ClientLeft
        talk.say(reply or b"")
        return reply.startswith(usual)

    def end(self, talk: Talk, accepted: Accepted) -> None:
        """Say the reply to the end of a message, and keep it if that is 250."""
        left = self._left.get(b"end")
        reply = left[0] if left else USUAL
        if not isinstance(reply, bytes) or reply == USUAL or reply.startswith(b"2"):
            self.accepted.append(accepted)
        self.say(talk, b"end", b"250 2.0.0 saved\r\n")


class _Session:
    def __init__(self, server: TransferServer, talk: Talk) -> None:
        self._server = server
        self._talk = talk
        self._sender: bytes | None = None
        self._recipient: bytes | None = None

    def play(self) -> None:
        while line := self._talk.line():
            verb = line.split()[0].upper()
            answer = getattr(self, f"_{verb.decode().lower()}", None)
            if answer is not None:
                answer(line)
            else:
                self._say(verb, b"250 2.0.0 ok\r\n" if verb in (b"NOOP", b"RSET") else b"500 what?\r\n")
            if verb == b"QUIT":
                return

    def _say(self, step: bytes, usual: bytes) -> bool:
        return self._server.say(self._talk, step, usual)

    def _lhlo(self, line: bytes) -> None:
        lines = [b"hello", *self._server.extensions]
        if self._talk.in_tls:
            lines = [each for each in lines if each != b"STARTTLS"]
        shown = b"".join(b"250-%b\r\n" % each for each in lines[:-1]) + b"250 %b\r\n" % lines[-1]
        self._say(line[:4].upper(), shown)

    _ehlo = _lhlo

    def _mail(self, line: bytes) -> None:
        self._server.mails.append(line)
        self._recipient = None
        self._sender = _address(line) if self._say(b"MAIL", b"250 2.1.0 ok\r\n") else None

    def _rcpt(self, line: bytes) -> None:
        if self._sender is None:
            self._talk.say(b"503 5.5.1 no sender\r\n")
        elif self._say(b"RCPT", b"250 2.1.5 ok\r\n"):
            self._recipient = _address(line)

    def _data(self, line: bytes) -> None:
        if self._recipient is None:
            self._talk.say(b"503 5.5.1 no recipient\r\n")
        elif self._say(b"DATA", b"354 go on\r\n"):
            self._end(self._lines())

    def _bdat(self, line: bytes) -> None:
        size = int(line.split()[1])
        octets = self._talk.take(size)
        if len(octets) < size:
            raise ClientLeft
        if self._recipient is None:
            self._talk.say(b"503 5.5.1 no recipient\r\n")
        else:
            self._end(octets)

    def _end(self, octets: bytes) -> None:
        self._server.end(self._talk, Accepted(self._sender or b"", self._recipient or b"", octets))

    def _lines(self) -> bytes:
        lines = []
        while (line := self._talk.line()) != b".\r\n":
            if not line:
                raise ClientLeft
            self._server.has_bare_lf = self._server.has_bare_lf or not line.endswith(b"\r\n")
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)

    def _starttls(self, line: bytes) -> None:
        if self._say(b"STARTTLS", b"220 go on\r\n"):
            self._talk.start_tls()

    def _auth(self, line: bytes) -> None:
        proof = base64.b64encode(b"\0alice\0" + self._server.password.encode())
        is_right = line.split()[1:] == [b"PLAIN", proof]
        self._say(b"AUTH", b"235 welcome\r\n" if is_right else b"535 5.7.8 wrong password\r\n")

    def _quit(self, line: bytes) -> None:
        self._say(b"QUIT", b"221 bye\r\n")


def _address(line: bytes) -> bytes:
    match = re.search(rb"<([^>]*)>", line)
    assert match, line
    return match[1]
