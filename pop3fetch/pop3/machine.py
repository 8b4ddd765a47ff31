"""The state machine: octets of the server in, events out; commands in, octets to write out.

No socket, no clock, no thread. Two questions decide everything, and each has one answer:

*What may be sent now?* The session state (RFC 1939 section 3), looked up in :data:`COMMANDS`:

    AUTHORIZATION ──PASS, APOP, AUTH: +OK──▶ TRANSACTION ──QUIT: +OK──▶ UPDATE
          └──────────────────────QUIT: +OK──────────────────────────────▶ UPDATE

STLS does not change the state; after its +OK no octet may arrive before the handshake.

*What do the next octets mean?* The head of the queue of awaited replies:

    WELCOME        the greeting is awaited
    WAITING        nothing is awaited: whatever arrives now is an error
    SHORT          a single-line reply, or a SASL challenge in the middle of AUTH
    LONG_INITIAL   the first line of a multi-line reply
    LONG           its other lines

The queue is all that pipelining needs (RFC 2449 section 6.6): commands join it as they are
sent, replies leave it in the same order. Some servers announce PIPELINING and mix replies up
(WildDuck 1.46, 2026: the next +OK before the closing dot). So the end of a pipelined content
is reported only when the next reply's status line has been seen to be one.

A broken rule ends the session, because the start of the next reply would be a guess.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from pop3fetch.errors import (
    CommandNotAllowed,
    GreetingRefused,
    InvalidArgument,
    PipeliningBroken,
    POP3Error,
    ProtocolViolation,
    SessionEnded,
)
from pop3fetch.pop3.wire import (
    CRLF,
    LF,
    LINE_LIMIT,
    ContentReader,
    StatusLine,
    command_line,
    find_challenge,
    not_pop3,
    parse_status,
    refuse_other_protocols,
    response_line,
    take_line,
)
from pop3fetch.values import NamedTuple


class SessionState(Enum):
    """The states of RFC 1939 section 3."""

    AUTHORIZATION = "AUTHORIZATION"
    TRANSACTION = "TRANSACTION"
    UPDATE = "UPDATE"


class ResponseState(Enum):
    """How the next octets of the server are to be read."""

    WELCOME = "WELCOME"
    WAITING = "WAITING"
    SHORT = "SHORT"
    LONG_INITIAL = "LONG_INITIAL"
    LONG = "LONG"


AUTHORIZATION, TRANSACTION, UPDATE = SessionState
BEFORE, AFTER = frozenset({AUTHORIZATION}), frozenset({TRANSACTION})
EITHER = BEFORE | AFTER


class Command(NamedTuple):
    """What the machine must know of a command.

    ``states``: it is valid in these. ``multiline``: whether lines follow +OK. ``then``: the session state
    after +OK, if it changes. ``secret``: the 0-based argument that no trace may show. ``ends_batch``:
    nothing may be sent before its reply is received.
    """

    states: frozenset[SessionState] = EITHER
    multiline: bool = False
    then: SessionState | None = None
    secret: int | None = None
    ends_batch: bool = False


COMMANDS = {
    "CAPA": Command(multiline=True),  # RFC 2449 section 5
    "STLS": Command(BEFORE, ends_batch=True),  # RFC 2595 section 4
    "UTF8": Command(BEFORE),  # RFC 6856 section 2
    "USER": Command(BEFORE),
    "PASS": Command(BEFORE, then=TRANSACTION, secret=0, ends_batch=True),
    "APOP": Command(BEFORE, then=TRANSACTION, secret=1, ends_batch=True),
    "AUTH": Command(BEFORE, then=TRANSACTION, secret=1, ends_batch=True),  # RFC 5034 section 4
    "STAT": Command(AFTER),
    "LIST": Command(AFTER, multiline=True),
    "LIST n": Command(AFTER),
    "UIDL": Command(AFTER, multiline=True),
    "UIDL n": Command(AFTER),
    "RETR": Command(AFTER, multiline=True),
    "TOP": Command(AFTER, multiline=True),
    "DELE": Command(AFTER),
    "NOOP": Command(AFTER),
    "RSET": Command(AFTER),
    "QUIT": Command(then=UPDATE, ends_batch=True),
}


EARLY = frozenset({"CAPA"})  # what may be sent before the greeting was read: it changes nothing


class Greeting(NamedTuple):
    """The server's first line; ``challenge`` if it holds a valid one (APOP)."""

    text: bytes
    challenge: bytes | None


class Reply(NamedTuple):
    """The status line of the reply to ``command``."""

    command: str
    status: StatusLine


class Challenge(NamedTuple):
    """A SASL challenge, still in base64 (RFC 5034 section 4)."""

    octets: bytes


class Content(NamedTuple):
    """A block of a multi-line reply, unstuffed; it never parts a line end."""

    octets: bytes


class End(NamedTuple):
    """The end of a multi-line reply."""

    command: str


Event = Greeting | Reply | Challenge | Content | End


class Awaited(NamedTuple):
    """A reply that is awaited; ``pipelined`` if its command followed an unanswered one.

    ``number`` is the message's, if its command has one; errors show it.
    """

    name: str
    command: Command
    pipelined: bool
    number: int | None = None

    def __str__(self) -> str:
        return self.name if self.number is None else f"{self.name} {self.number}"


class Session:
    """One POP3 session as the client sees it.

    ``greeted``: the greeting was read; ``awaited``: the replies that are awaited, the next one first.
    """

    def __init__(self) -> None:
        self.state = AUTHORIZATION
        self.challenge: bytes | None = None
        self.challenge_forgotten = False
        self.line_end = CRLF
        self.greeted = False
        self.greeting = b""  # the text of it, once it was read
        self.awaited: deque[Awaited] = deque()
        self._buffer = b""
        self._position = 0
        self._content: ContentReader | None = None
        self._confirming: StatusLine | Challenge | None = None  # of the next reply, read with a content
        self._over: POP3Error | str | None = None

    # -- what is known ----------------------------------------------------------------------

    @property
    def response(self) -> ResponseState:
        """How the next octets of the server are to be read."""
        if not self.greeted:
            return ResponseState.WELCOME
        if not self.awaited:
            return ResponseState.WAITING
        if self._content:
            return ResponseState.LONG
        return ResponseState.LONG_INITIAL if self.awaited[0].command.multiline else ResponseState.SHORT

    @property
    def has_more(self) -> bool:
        """Whether octets have arrived that were not read as an event yet."""
        return self._position < len(self._buffer)

    @property
    def over(self) -> str | None:
        """Why the session is over, or None."""
        # The error's text is made now: secrets may have been masked in it since.
        return None if self._over is None else str(self._over)

    def require_open(self) -> None:
        """Raise SessionEnded if the session is over."""
        if self._over is not None:
            raise SessionEnded(str(self._over))

    # -- what we send -----------------------------------------------------------------------

    def send(
        self, name: str, *arguments: str | bytes | int, multiline: bool | None = None, ahead: bool = False
    ) -> bytes:
        """Return the octets of a command, whose reply joins the awaited ones.

        ``name`` in any case; ``multiline`` frames the reply to a command that :data:`COMMANDS`
        does not know, and must be true of one that it knows. ``ahead``: the command counts on a greeting or a
        login that is still awaited. Raises CommandNotAllowed, InvalidArgument, SessionEnded after the end.
        """
        self.require_open()
        name = name.upper()  # keywords are case-insensitive: ``pass`` has a secret, too
        line = command_line(name, *arguments)
        numbered = COMMANDS.get(f"{name} n") if arguments else None
        command = numbered or COMMANDS.get(name) or Command(multiline=bool(multiline))
        if multiline is not None and multiline is not command.multiline:
            lines = "more than one line" if command.multiline else "one line"
            raise InvalidArgument(name, f"its reply has {lines}")
        if not ahead:
            if self.state not in command.states:
                raise CommandNotAllowed(name, self.state.value)
            if not self.greeted and name not in EARLY:
                raise CommandNotAllowed(name, self.response.value)
            if self.awaited and self.awaited[-1].command.ends_batch:
                raise CommandNotAllowed(name, f"{self.awaited[-1].name}-is-not-answered")
        number = arguments[0] if arguments and isinstance(arguments[0], int) else None
        self.awaited.append(Awaited(name, command, bool(self.awaited), number))
        return line

    def respond(self, response: bytes) -> bytes:
        """Return the octets that answer a SASL challenge; ``response`` is base64 or ``*``.

        Raises as :meth:`send` does.
        """
        self.require_open()
        if not self.awaited or self.awaited[0].name != "AUTH":
            raise CommandNotAllowed("a SASL response", self.response.value)
        return response_line(response)

    def end(self, why: str) -> None:
        """Declare the session over: every later command is refused with ``why``."""
        self._over = self._over or why

    def tls_started(self) -> None:
        """Forget what was received in clear text (RFC 2595 section 4), but not that a challenge was."""
        self.challenge_forgotten = self.challenge is not None
        self.challenge = None

    # -- what the server sends ---------------------------------------------------------------

    def receive(self, octets: bytes) -> None:
        """Take octets that the server sent; then call :meth:`next_event` until it returns None."""
        self._buffer = self._buffer[self._position :] + octets
        self._position = 0
        if self._content:
            self._content.position = 0

    def next_event(self) -> Event | None:
        """Return what happened next, or None if more octets are needed.

        Raises ProtocolViolation or a subclass; that ends the session.
        """
        self.require_open()
        try:
            if not self.greeted:
                return self._read_greeting()
            if self._content:
                return self._read_content(self._content)
            if self.awaited:
                return self._read_reply(self.awaited[0])
            if self._position < len(self._buffer):
                raise self._leftovers("octets that were not requested")
        except POP3Error as error:
            self._over = error
            raise
        return None

    def _leftovers(self, what: str) -> ProtocolViolation:
        return ProtocolViolation(what, self._buffer[self._position :][:LINE_LIMIT])

    def _read_greeting(self) -> Greeting | None:
        # The line end of the greeting decides for the whole connection: some servers send only
        # bare LF, and clients that mix both rules cut messages (field reports).
        if not b"+OK".startswith(self._buffer[:3]):
            refuse_other_protocols(self._buffer)
        end = self._buffer.find(LF)
        if end >= 0 and self._buffer[end - 1 : end] != b"\r":
            self.line_end = LF
        line = take_line(self._buffer, 0, self.line_end)
        if line is None:
            return None
        status = parse_status(line)
        if status is None:
            raise not_pop3(line)
        if not status.ok:
            raise GreetingRefused("the connection", status.text, status.code)
        self.greeted = True
        self._position = end + 1
        self.greeting, self.challenge = status.text, find_challenge(status.text)
        return Greeting(status.text, self.challenge)

    def _first_line(self, awaited: Awaited) -> StatusLine | Challenge | None:
        """Return how a reply begins, or None if its line is not complete; consumes nothing."""
        try:
            line = take_line(self._buffer, self._position, self.line_end)
            if line is None:
                return None
            if awaited.name == "AUTH" and (line == b"+" or line[:2] == b"+ "):
                return Challenge(line[2:])
            if status := parse_status(line):
                return status
            raise ProtocolViolation(f"the reply to {awaited} does not begin with a status indicator", line)
        except ProtocolViolation as error:
            if awaited.pipelined:
                # Without a cause: -vv shows causes, too, and secrets are masked only in this error.
                raise PipeliningBroken(error.what, error.octets) from None
            raise

    def _read_reply(self, awaited: Awaited) -> Reply | Challenge | None:
        first, self._confirming = self._confirming or self._first_line(awaited), None
        if first is None:
            return None
        self._position = self._buffer.index(LF, self._position) + 1
        if isinstance(first, Challenge):
            return first
        if first.ok and awaited.command.multiline:
            self._position -= len(self.line_end)
            self._content = ContentReader(self.line_end, self._position)
            return Reply(awaited.name, first)
        self.awaited.popleft()
        if first.ok and awaited.name == "STLS" and self._position < len(self._buffer):
            raise self._leftovers("octets before the TLS handshake")
        if first.ok and awaited.command.then:
            self.state = awaited.command.then
            if self.state is UPDATE:
                self.end("QUIT was sent")
        return Reply(awaited.name, first)

    def _read_content(self, content: ContentReader) -> Content | End | None:
        if not content.ended:
            block = content.read(self._buffer)
            self._position = content.position
            if block:
                return Content(block)
            if not content.ended:
                return None
        if len(self.awaited) > 1:
            self._confirming = self._first_line(self.awaited[1])
            if self._confirming is None:
                return None
        self._content = None
        return End(self.awaited.popleft().name)
