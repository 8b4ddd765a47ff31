"""The conversation: drives the state machine over a transport, with deadlines and a trace.

The joint between the two is one loop: take the next event, or read octets and feed them. All
that a session pays in round trips is decided here and in ``pipeline``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NoReturn

from pop3fetch.errors import (
    ConnectionLost,
    POP3Error,
    ProtocolViolation,
    ServerErrorResponse,
    TimedOut,
)
from pop3fetch.net.transport import Transport
from pop3fetch.pop3.machine import COMMANDS, Content, End, Event, Greeting, Reply, Session
from pop3fetch.pop3.trace import Trace
from pop3fetch.pop3.wire import StatusLine

# Content octets that count as progress: a server that drips an octet now and then is stuck,
# however long it keeps that up, and a slow line that carries 1 KiB in a time-out is not.
PROGRESS = 1024

TopUp = Callable[[], None]


class Conversation:
    """Commands and replies over one connection."""

    def __init__(self, transport: Transport, trace: Trace) -> None:
        self.session = Session()
        self.transport = transport
        self.trace = trace
        self.top_up: TopUp | None = None  # sends more pipelined commands before each read
        self._outgoing: list[bytes] = []
        self._waited = 0.0  # seconds spent in reads since the last progress
        self._fresh = 0  # octets that came since then

    # -- one command at a time ---------------------------------------------------------------

    def greeting(self) -> Greeting:
        """Await the greeting; raises GreetingRefused or NotPOP3Server."""
        try:
            event = self.next_event()
        except BaseException:  # an interrupt, too
            self.close("it never began")
            raise
        assert isinstance(event, Greeting)
        return event

    def ask(self, name: str, *arguments: str | bytes | int, multiline: bool | None = None) -> StatusLine:
        """Send one command and return the status line of its reply.

        Raises ServerErrorResponse for -ERR. The content of a multi-line reply is then read
        by :meth:`blocks`.
        """
        self.refuse_unread()
        self.send(name, *arguments, multiline=multiline)
        self.flush()
        return self.reply()

    def reply(self) -> StatusLine:
        """Await the next status line; raises ServerErrorResponse if it is -ERR."""
        event = self.next_event()
        assert isinstance(event, Reply)
        if not event.status.ok:
            raise self.refusal(event.command, event.status)
        return event.status

    def refusal(self, command: str, status: StatusLine) -> ServerErrorResponse:
        """Return the error for -ERR, without the secrets that a server repeats."""
        return ServerErrorResponse(command, self.trace.secrets.blot(status.text), status.code)

    def blocks(self) -> Iterator[bytes]:
        """Yield the blocks of the multi-line reply whose status line was read.

        Leaving it before its end ends the session: the rest would be taken for the next reply.
        """
        finished = False
        try:
            while not isinstance(event := self.next_event(), End):
                assert isinstance(event, Content)
                yield event.octets
            finished = True
        finally:
            if not finished and not self.session.over:
                self.close("a reply was not read to its end")

    def exchange(self, response: bytes) -> None:
        """Send the response to a SASL challenge."""
        self._outgoing.append(self.session.respond(response))
        self.flush()
        self.trace.secret_sent()

    # -- the loop ----------------------------------------------------------------------------

    def send(self, name: str, *arguments: str | bytes | int, multiline: bool | None = None) -> None:
        """Queue a command for :meth:`flush`."""
        if self.session.greeted and not self.session.awaited:
            self._refuse_unasked()
        line = self.session.send(name, *arguments, multiline=multiline)
        self._outgoing.append(line)
        if self.trace.active:
            self.trace.sent(line, COMMANDS.get(name.upper()))

    def flush(self) -> None:
        """Write the queued commands at once."""
        if not self._outgoing:
            return
        octets, self._outgoing = b"".join(self._outgoing), []
        try:
            self.transport.write(octets)
        except POP3Error as error:
            self._fail(error)

    def next_event(self) -> Event:
        """Return what the server sends next; a POP3Error other than -ERR ends the conversation."""
        session = self.session
        event = None
        try:
            while (event := session.next_event()) is None:
                if self.top_up:
                    self.top_up()
                session.receive(self._read())
        except POP3Error as error:
            self._fail(error)
        if not isinstance(event, Content):
            self._waited, self._fresh = 0.0, 0
        if self.trace.active:
            self.trace.event(event)
        return event

    def close(self, why: str = "it was closed") -> None:
        """Close the connection without QUIT; nothing marked as deleted is deleted (RFC 1939 section 6)."""
        self.session.end(why)
        self.transport.close()

    def refuse_unread(self) -> None:
        """End the session if a reply is left unread: what comes next would be taken for it."""
        self.session.require_open()
        if self.session.awaited:
            self.close("a reply was not read to its end")
            self.session.require_open()

    def _read(self) -> bytes:
        # Only the time spent here counts, not what a slow disk takes between two blocks.
        begun, timeout = time.monotonic(), self.transport.timeout
        deadline = None if timeout is None else begun + timeout - self._waited
        octets = self.transport.read(deadline)
        if not octets:
            raise ConnectionLost(self.transport.host, "")
        self._waited += time.monotonic() - begun
        self._fresh += len(octets)
        if self._fresh >= PROGRESS:
            self._waited, self._fresh = 0.0, 0
        return octets

    def _refuse_unasked(self) -> None:
        """Look at what the server sent unasked: one reply too many shifts all others."""
        try:
            self.session.next_event()  # which sees what came behind the last reply
            self.session.receive(self.transport.read_pending())
            self.session.next_event()
        except ProtocolViolation as error:
            last_words = self.trace.secrets.blot(error.octets)
            if not last_words.upper().startswith(b"-ERR"):
                self._fail(error)
            # Servers send that before they close an idle connection.
            reason = last_words.decode("utf-8", "backslashreplace")
            self._fail(ConnectionLost(self.transport.host, "between two commands", reason))
        except POP3Error as error:
            self._fail(error)

    def _fail(self, error: POP3Error) -> NoReturn:
        if isinstance(error, ProtocolViolation):
            error.octets = self.trace.secrets.blot(error.octets)
        if isinstance(error, ServerErrorResponse):  # a refused greeting
            error.text = self.trace.secrets.blot(error.text)
        if isinstance(error, ConnectionLost | TimedOut) and not error.during:
            awaited = next(iter(self.session.awaited), None)
            error.during = f"while the reply to {awaited} was awaited" if awaited else "between two commands"
            if not self.session.greeted:
                error.during = "while the greeting was awaited"
        if isinstance(error, TimedOut):
            error.may_await_tls = not (self.session.greeted or self.transport.tls)
        self.close(str(error))
        raise error
