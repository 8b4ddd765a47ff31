"""Drive the state machine over any octets in any pieces, and compare it with the model."""

from __future__ import annotations

from collections.abc import Sequence

from pop3fetch.errors import POP3Error
from pop3fetch.pop3.machine import Challenge, Content, End, Greeting, Reply, ResponseState, Session
from pop3fetch.pop3.replies import (
    parse_drop_listing,
    parse_scan_line,
    parse_unique_id_line,
    read_capabilities,
    read_listing,
)
from tests.fuzz.model import Answer, Stream

COMMANDS = (
    b"CAPA",
    b"APOP",
    b"CAPA",
    b"STAT",
    b"LIST",
    b"UIDL",
    b"TOP 1 0",
    b"RETR 1",
    b"RETR 2",
    b"DELE 1",
    b"QUIT",
)


class Driven:
    """A session that sends its commands one by one, and keeps the complete answers."""

    def __init__(self) -> None:
        self.session = Session()
        self.answers: list[Answer] = []
        self._left = list(COMMANDS)
        self._command = b""
        self._content = b""

    def feed(self, octets: bytes) -> bool:
        """Take a piece; return whether the session goes on."""
        try:
            self.session.receive(octets)
            while self._say() and (event := self.session.next_event()) is not None:
                self._take(event)
        except POP3Error:
            return False
        return self.session.over is None

    def _say(self) -> bool:
        if self.session.response is ResponseState.WAITING:
            if not self._left or self.session.over:
                return False
            self._command = self._left.pop(0)
            name, *numbers = self._command.decode().split()
            self.session.send(name, *(map(int, numbers) if numbers else ["x", "y"] if name == "APOP" else []))
        return True

    def _take(self, event: object) -> None:
        match event:
            case Greeting():
                self.answers.append(Answer(b"", True, None))
            case Reply(status=status):
                self._content = b""
                if not (status.ok and self.session.response is ResponseState.LONG):
                    self.answers.append(Answer(self._command, status.ok, None))
                if status.ok and self._command == b"STAT":
                    parse_drop_listing(status.text)
            case Content(octets=octets):
                self._content += octets
            case End():
                self.answers.append(Answer(self._command, True, self._content))
                self._read_list()
            case Challenge():
                raise AssertionError("a challenge without AUTH")

    def _read_list(self) -> None:
        line_end = self.session.line_end
        match self._command:
            case b"CAPA":
                read_capabilities([self._content], line_end)
            case b"LIST":
                read_listing([self._content], parse_scan_line, line_end)
            case b"UIDL":
                read_listing([self._content], parse_unique_id_line, line_end)


def answers_to(pieces: Sequence[bytes]) -> list[Answer]:
    """Return the answers that the state machine finds in ``pieces``; any error but ours leaves."""
    driven = Driven()
    for piece in pieces:
        if piece and not driven.feed(piece):
            break
    return driven.answers


def expected(octets: bytes) -> list[Answer]:
    """Return the answers that the model finds."""
    return list(Stream(octets).answers(COMMANDS))


def cut(octets: bytes, sizes: Sequence[int]) -> list[bytes]:
    """Return the octets in pieces of these sizes, over and over."""
    pieces: list[bytes] = []
    place = 0
    while place < len(octets):
        size = max(1, sizes[len(pieces) % len(sizes)]) if sizes else len(octets)
        pieces.append(octets[place : place + size])
        place += size
    return pieces


def check(octets: bytes, sizes: Sequence[int]) -> None:
    """Compare the state machine, fed in pieces and as a whole, with the model."""
    whole = answers_to([octets])
    assert answers_to(cut(octets, sizes)) == whole
    model = expected(octets)
    # The machine may end the session sooner: no list is bad to the model, and no state forbids a command.
    assert whole == model[: len(whole)]
    assert len(whole) == len(model) or ends_sooner(whole, model)


def ends_sooner(whole: Sequence[Answer], model: Sequence[Answer]) -> bool:
    """Whether what ended the session is right behind the last answer, and nothing the model can see."""
    if not whole:  # a greeting that refuses us, or is not POP3
        return True
    last = whole[-1]
    return last.command in (b"CAPA", b"LIST", b"UIDL", b"STAT") or (last.command == b"APOP" and not last.ok)
