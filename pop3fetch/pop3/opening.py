"""How a conversation begins: connect, TLS from the first octet if it is wanted, the greeting."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pop3fetch.ahead import Ahead, Interrupts
from pop3fetch.choices import DEFAULT_TIMEOUT
from pop3fetch.errors import CertificateError, ConnectionLost, POP3Error, ServerErrorResponse, TimedOut
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions, context_for, unverified_context
from pop3fetch.net.transport import Transport
from pop3fetch.pop3.conversation import Conversation
from pop3fetch.pop3.login import LoginPolicy
from pop3fetch.pop3.replies import Capabilities, read_capabilities
from pop3fetch.pop3.trace import Secrets, Trace

if TYPE_CHECKING:
    import socket
    import ssl

LOOK_TIMEOUT = 10.0  # seconds at most for a second look at a refused certificate
OVERDUE = 5.0  # seconds behind a greeting, at most, for the reply to what was sent before it
LEAST_WAIT = 0.5  # seconds of it, however near the server is: it may be busy


class CapabilitiesOverdue(Exception):
    """A server lost the CAPA that was sent before its greeting."""


class Early(NamedTuple):
    """Whether a command may be sent before the greeting, and who is told that it was lost."""

    is_allowed: bool = True
    was_lost: Callable[[], object] = lambda: None


class Server(NamedTuple):
    """Where a server is and how to talk to it; ``timeout`` in seconds, None to wait for ever.

    ``notice`` is told, in a sentence, what a careful user would like to know; ``secrets`` are those of
    the run, if it has several clients; ``dialling`` is a connection that is being made already;
    ``interrupts`` end the connection.
    """

    endpoint: Endpoint
    policy: LoginPolicy
    timeout: float | None = DEFAULT_TIMEOUT
    tls: TLSOptions = TLSOptions()
    context: ssl.SSLContext | None = None
    pipelining: bool = True
    early: Early = Early()
    trace: Callable[[str, bytes], None] | None = None
    notice: Callable[[str], object] = lambda text: None
    secrets: Secrets | None = None
    dialling: Ahead[socket.socket] | None = None
    interrupts: Interrupts | None = None


def open_conversation(server: Server, *, has_capa: bool = True) -> tuple[Conversation, Capabilities | None]:
    """Connect and read the greeting.

    Returns what CAPA lists, too, if that could be asked without a round trip of its own. Raises
    UnknownHost, ResolverFailed, ConnectionFailed, TimedOut, TLSError, GreetingRefused, NotPOP3Server,
    ConfigurationError.
    """
    begun = time.monotonic()
    conversation = _connected(server)
    if has_capa and server.policy.mode == "implicit" and server.pipelining and server.early.is_allowed:
        try:
            return conversation, _capabilities_with_greeting(conversation, time.monotonic() - begun)
        except (ConnectionLost, CapabilitiesOverdue) as error:
            # A server that fails on input before its greeting gets a second connection, without it.
            server.early.was_lost()
            conversation.close(str(error))
            conversation = _connected(server._replace(dialling=None))
    conversation.greeting()
    return conversation, None


def _capabilities_with_greeting(conversation: Conversation, seen: float) -> Capabilities | None:
    """Send CAPA before the greeting has come, and read both: they take one round trip together.

    ``seen``: seconds that connecting took, by which the wait behind the greeting is bounded.

    Only if TLS began with the first octet, so that nobody can put words before the server's. Returns
    None if it replies -ERR: that may not be about CAPA, so it is asked again.
    """
    conversation.send("CAPA")
    conversation.flush()
    conversation.greeting()
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


def _connected(server: Server) -> Conversation:
    """Connect, with TLS if it begins with the first octet."""
    try:
        # Before anything is connected: what is wrong with a file shows at home.
        context = tls_context(server) if server.policy.mode == "implicit" else None
    except POP3Error:
        if server.dialling:
            server.dialling.abandon(lambda connected: connected.close())
        raise
    transport = Transport(server.endpoint, server.timeout, server.dialling, server.interrupts)
    conversation = Conversation(transport, Trace(server.trace, server.secrets))
    try:
        if context:
            secure(conversation, server, context)
    except BaseException:
        conversation.close("it never began")
        raise
    return conversation


def tls_context(server: Server) -> ssl.SSLContext:
    """Return the context for a handshake with the server.

    Raises ConfigurationError if a file cannot be used, or nothing could be verified.
    """
    return context_for(server.endpoint.host, server.tls, server.context)


def secure(conversation: Conversation, server: Server, context: ssl.SSLContext) -> None:
    """Make the TLS handshake; a refused certificate's error describes it."""
    try:
        conversation.transport.start_tls(context, server.tls.fingerprint)
    except POP3Error as error:
        conversation.close(str(error))
        if isinstance(error, CertificateError) and not error.fingerprint:
            raise _described(error, server) from error
        raise
    conversation.trace.note(f"TLS: {conversation.transport.tls_version}")


def _described(error: CertificateError, server: Server) -> CertificateError:
    """Return ``error`` with the certificate in it.

    The ssl module shows no certificate that it refused, so a second connection looks at it
    without verifying; nothing is said on it but STLS.
    """
    transport = None
    try:
        transport = Transport(server.endpoint, min(server.timeout or LOOK_TIMEOUT, LOOK_TIMEOUT))
        if server.policy.mode != "implicit":
            plain = Conversation(transport, Trace())
            plain.greeting()
            plain.ask("STLS")
        transport.start_tls(unverified_context())
        return transport.described(error)
    except POP3Error:
        return error  # less to show, and still the same refusal
    finally:
        if transport:
            transport.close()
