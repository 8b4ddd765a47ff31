"""The conversation with a server: how it is opened, and what is sent and received in it.

To open it is to connect, to start TLS if it begins with the first octet, and to read the greeting. Then
one loop joins the state machine and the transport: take the next event, or read octets and feed them. All
that a session pays in round trips is decided here and in ``pipeline``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

from pop3fetch.ahead import Ahead, Interrupts
from pop3fetch.defaults import DEFAULT_TIMEOUT
from pop3fetch.errors import (
    CertificateError,
    ConnectionLost,
    NoCommonCipher,
    NotPOP3Server,
    POP3Error,
    ProtocolViolation,
    ServerErrorResponse,
    TimedOut,
    TLSError,
)
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import (
    TLSOptions,
    authorities_on_demand,
    context_for,
    unverified_context,
)
from pop3fetch.net.transport import Transport
from pop3fetch.pop3.login import LoginPolicy
from pop3fetch.pop3.machine import COMMANDS, Content, End, Event, Reply, Session
from pop3fetch.pop3.replies import Capabilities, read_capabilities
from pop3fetch.pop3.trace import Secrets, Trace
from pop3fetch.pop3.wire import StatusLine
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    import socket
    import ssl

    from pop3fetch.net.resumption import Handshake, Peer

# Content octets that count as progress: a server that sends an octet now and then is stuck, however long
# it does so, and a slow line that carries 1 KiB within a time-out is not.
PROGRESS = 1024

LOOK_TIMEOUT = 10.0  # seconds at most to fetch a refused certificate for its description
OVERDUE = 5.0  # seconds after a greeting, at most, for the reply to a command sent before it
LEAST_WAIT = 0.5  # seconds of it at least, however near the server is: it may be busy

TopUp = Callable[[], None]


class Conversation:
    """Commands and replies over one connection."""

    def __init__(self, transport: Transport, trace: Trace) -> None:
        self.session = Session()
        self.transport = transport
        self.trace = trace
        self.top_up: TopUp | None = None  # sends more pipelined commands before each read
        self.before_wait: Callable[[], None] | None = None  # is called before each read
        self.ahead: deque[str] = (
            deque()
        )  # commands that were sent already, and will be asked for in this order
        self.slowest = 0.0  # seconds that the server has taken for a reply at most
        self._outgoing: list[bytes] = []
        self._waited = 0.0  # seconds spent in reads since the last progress
        self._fresh = 0  # octets that came since then

    # -- one command at a time ---------------------------------------------------------------

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

    def hide_secrets(self, error: ProtocolViolation) -> None:
        """Mask the secrets that a server repeats in what breaks the protocol."""
        error.octets = self.trace.secrets.blot(error.octets)

    def blocks(self) -> Iterator[bytes]:
        """Yield the blocks of the multi-line reply whose status line was read.

        Leaving it before its end ends the session, because the rest would be taken for the next reply.
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

    def send(
        self, name: str, *arguments: str | bytes | int, multiline: bool | None = None, ahead: bool = False
    ) -> None:
        """Queue a command for :meth:`flush`, unless it was sent already; ``ahead`` is the machine's."""
        if self.ahead and not ahead:
            if (name, *arguments) == (self.ahead[0],):
                self.ahead.popleft()
                return
            self.close(f"{self.ahead[0]} was sent already, and not {name}")
        if self.session.greeted and not self.session.awaited:
            self._refuse_unasked()
        line = self.session.send(name, *arguments, multiline=multiline, ahead=ahead)
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
                if self.before_wait:
                    self.before_wait()
                # Only the time spent here counts, not what a slow disk takes between two blocks.
                begun, timeout = time.monotonic(), self.transport.timeout
                octets = self.transport.read(None if timeout is None else begun + timeout - self._waited)
                if not octets:
                    raise ConnectionLost(self.transport.host, "")
                self._waited += time.monotonic() - begun
                self._fresh += len(octets)
                if self._fresh >= PROGRESS:
                    self._waited, self._fresh = 0.0, 0
                session.receive(octets)
        except POP3Error as error:
            self._fail(error)
        if not isinstance(event, Content):
            self.slowest = max(self.slowest, self._waited)
            self._waited, self._fresh = 0.0, 0
        if self.trace.active:
            self.trace.event(event)
        return event

    def has_more(self, limit: float) -> bool:
        """Whether the server has sent what was not read yet, or does so within ``limit`` seconds."""
        begun = time.monotonic()
        try:
            if not self.session.has_more:
                self.session.receive(self.transport.read(begun + limit))
        except POP3Error:
            return False
        self.slowest = max(self.slowest, time.monotonic() - begun)
        return self.session.has_more

    def leave(self) -> None:
        """Send QUIT, and after it the end of our stream; the reply is not awaited."""
        self.refuse_unread()
        self.send("QUIT")
        self.flush()
        self.transport.finish()
        self.close("QUIT was sent")

    def close(self, why: str = "it was closed") -> None:
        """Close the connection without QUIT; nothing marked as deleted is deleted (RFC 1939 section 6)."""
        self.session.end(why)
        self.transport.close()

    def refuse_unread(self) -> None:
        """End the session if a reply is left unread: it would be taken for the next one."""
        self.session.require_open()
        if self.session.awaited and not self.ahead:
            self.close("a reply was not read to its end")
            self.session.require_open()

    def _refuse_unasked(self) -> None:
        """Refuse what the server sent without a request: one reply too many shifts all others."""
        try:
            self.session.next_event()  # fails if anything followed the last reply
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
            self.hide_secrets(error)
        if isinstance(error, ServerErrorResponse):  # a refused greeting
            error.text = self.trace.secrets.blot(error.text)
        if isinstance(error, ConnectionLost | TimedOut) and not error.during:
            awaited = next(iter(self.session.awaited), None)
            if not self.session.greeted:
                lost, late = "while waiting for the greeting", "waiting for the greeting of"
            elif awaited:
                reply = f"waiting for the reply to {awaited}"
                lost, late = f"while {reply}", f"{reply} from"
            else:
                lost, late = "between two commands", "between two commands with"
            error.during = late if isinstance(error, TimedOut) else lost
        if isinstance(error, TimedOut):
            error.may_await_tls = not (self.session.greeted or self.transport.tls)
        self.close(str(error))
        raise error


class CapabilitiesOverdue(Exception):
    """A server lost the CAPA that was sent before its greeting."""


class Shortcut(NamedTuple):
    """Whether to try what is quicker but does not work with every server, and what to call if it fails."""

    is_allowed: bool = True
    failed: Callable[[], object] = lambda: None


class Server(NamedTuple):
    """The address of a server and how to use it; ``timeout`` in seconds, None to wait forever.

    ``early``: a command before the greeting. ``on_demand``: authorities that are loaded one by one.
    ``notice`` is called with a sentence for a careful user. ``secrets`` are those of the run, if it has
    several clients. ``dialling`` is a connection that is being made already. ``interrupts`` end the
    connection. ``resume``: what may resume a TLS session.
    """

    endpoint: Endpoint
    policy: LoginPolicy
    timeout: float | None = DEFAULT_TIMEOUT
    tls: TLSOptions = TLSOptions()
    context: ssl.SSLContext | None = None
    pipelining: bool = True
    early: Shortcut = Shortcut()
    on_demand: Shortcut = Shortcut()
    trace: Callable[[str, bytes], None] | None = None
    notice: Callable[[str], object] = lambda text: None
    secrets: Secrets | None = None
    dialling: Ahead[socket.socket] | None = None
    interrupts: Interrupts | None = None
    resume: Callable[[Peer], Handshake] | None = None


def open_conversation(server: Server, *, has_capa: bool = True) -> tuple[Conversation, Capabilities | None]:
    """Connect and read the greeting.

    Also returns what CAPA lists, if that costs no round trip of its own. Raises
    UnknownHost, ResolverFailed, ConnectionFailed, TimedOut, TLSError, GreetingRefused, NotPOP3Server,
    ConfigurationError.
    """
    begun = time.monotonic()
    conversation = connected(server)
    try:
        if has_capa and server.policy.mode == "implicit" and server.pipelining and server.early.is_allowed:
            try:
                return conversation, _capabilities_with_greeting(conversation, time.monotonic() - begun)
            except (ConnectionLost, CapabilitiesOverdue) as error:
                # A server that fails on input before its greeting gets a second connection, without it.
                server.early.failed()
                conversation.close(str(error))
                conversation = connected(server._replace(dialling=None))
        conversation.next_event()  # the greeting
        return conversation, None
    except BaseException as error:  # an interrupt, too
        if isinstance(error, NotPOP3Server):
            error.port = server.endpoint.port
        conversation.close("it never began")
        raise


def _capabilities_with_greeting(conversation: Conversation, seen: float) -> Capabilities | None:
    """Send CAPA before the greeting is received, and read both: they take one round trip together.

    That saves one round trip of six in the benchmark row ``far-stat``.
    ``seen``: seconds that connecting took; the wait after the greeting is limited to a multiple.

    Only if TLS began with the first octet, so that an attacker cannot insert a reply before the server's.
    Returns None if the server replies -ERR: that may not be about CAPA, so CAPA is sent again later.
    """
    conversation.send("CAPA")
    conversation.flush()
    conversation.next_event()  # the greeting
    transport = conversation.transport
    timeout, bound = transport.timeout, min(OVERDUE, max(LEAST_WAIT, 4 * seen))
    transport.timeout = min(timeout or bound, bound)
    try:
        conversation.reply()
        return read_capabilities(conversation.blocks(), conversation.session.line_end)
    except ServerErrorResponse:
        return None
    except TimedOut as error:
        raise CapabilitiesOverdue from error
    finally:
        transport.timeout = timeout


def connected(server: Server) -> Conversation:
    """Connect, with TLS if it begins with the first octet.

    Authorities are loaded one by one if that is possible. One that is missing may be in the bundle.
    """
    is_quick = server.policy.mode == "implicit" and server.on_demand.is_allowed and server.context is None
    ca_folder = authorities_on_demand(server.tls) if is_quick else None
    if ca_folder is None:
        return _connected_with(server)
    try:
        return _connected_with(server, ca_folder)
    except CertificateError as error:
        if error.cause == "name":
            raise _described(error, server) from error
    conversation = _connected_with(server._replace(dialling=None))
    server.on_demand.failed()
    return conversation


def _connected_with(server: Server, ca_folder: str | None = None) -> Conversation:
    try:
        # Before connecting, so that an error in a local file is reported first.
        is_secure = server.policy.mode == "implicit"
        context = tls_context(server, ca_folder) if is_secure else None
    except POP3Error:
        if server.dialling:
            server.dialling.abandon(lambda connected: connected.close())
        raise
    transport = Transport(server.endpoint, server.timeout, server.dialling, server.interrupts)
    conversation = Conversation(transport, Trace(server.trace, server.secrets))
    try:
        if context:
            secure(conversation, server, context, describes=ca_folder is None)
    except BaseException as error:
        conversation.close("it never began")
        is_certificate = isinstance(error, CertificateError)
        if transport.failed_to_resume and isinstance(error, TLSError | ConnectionLost) and not is_certificate:
            return _connected_with(server._replace(dialling=None, resume=None), ca_folder)
        raise
    return conversation


def tls_context(server: Server, ca_folder: str | None = None) -> ssl.SSLContext:
    """Return the context for a handshake with the server.

    Raises ConfigurationError if a file cannot be used, or nothing could be verified.
    """
    name = server.endpoint.tls_name or server.endpoint.host
    return context_for(name, server.tls, server.context, ca_folder)


def secure(
    conversation: Conversation, server: Server, context: ssl.SSLContext, *, describes: bool = True
) -> None:
    """Make the TLS handshake; the error of a refused certificate ``describes`` it."""
    try:
        conversation.transport.start_tls(context, server.tls.fingerprint, server.resume)
    except POP3Error as error:
        conversation.close(str(error))
        if isinstance(error, CertificateError) and not error.fingerprint and describes:
            raise _described(error, server) from error
        if isinstance(error, NoCommonCipher):
            error.ciphers = server.tls.ciphers or ""
        raise
    conversation.trace.note(f"TLS: {conversation.transport.tls_version}")


def _described(error: CertificateError, server: Server) -> CertificateError:
    """Return ``error`` with the certificate in it.

    The ssl module does not show a certificate that it refused. So a second connection fetches it without
    verifying, and sends nothing but STLS.
    """
    transport = None
    try:
        transport = Transport(server.endpoint, min(server.timeout or LOOK_TIMEOUT, LOOK_TIMEOUT))
        if server.policy.mode != "implicit":
            plain = Conversation(transport, Trace())
            plain.next_event()  # the greeting
            plain.ask("STLS")
        transport.start_tls(unverified_context(server.tls.ciphers))
        return transport.described(error, server.tls.ca_file or "")
    except POP3Error:
        return error  # less to show, and still the same refusal
    finally:
        if transport:
            transport.close()
