"""The public client: one POP3 server, blocking calls, 0-based indexes. The README has an example.

A message's *index* is its number on the server minus one. Text of the server, unique-ids and messages
are ``bytes``, sizes are octets, times are seconds.

Errors are those of :mod:`pop3fetch.errors`. A reply -ERR raises ServerErrorResponse and leaves the
session usable. So do errors that are raised before anything is sent: CommandNotAllowed (the session is
in another state), InvalidArgument (CR, LF or NUL, or more than 255 octets; a ValueError) and
AuthenticationError. Every other error ends it (ConnectionLost, TimedOut, TLSError, ProtocolViolation):
the connection is closed, and later calls raise SessionEnded with the reason. Each call may raise these;
its docstring names what else it raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pop3fetch.defaults import AUTH_METHODS, DEFAULT_TIMEOUT, FAMILIES, PLAIN_PORT, TLS_MODES, TLS_PORT
from pop3fetch.errors import (
    ConnectionLost,
    ProtocolViolation,
    ServerErrorResponse,
    TimedOut,
    TLSNotSupportedError,
)
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions
from pop3fetch.pop3.authentication import Authentication
from pop3fetch.pop3.conversation import Conversation, Server, open_conversation, secure, tls_context
from pop3fetch.pop3.login import LoginPolicy
from pop3fetch.pop3.machine import AUTHORIZATION, UPDATE, SessionState
from pop3fetch.pop3.pipeline import ONE_AT_A_TIME, WIDE, Deletion, IncomingMessage, Request, pipelined
from pop3fetch.pop3.replies import (
    Capabilities,
    Grammar,
    ListReply,
    Overview,
    lines_of,
    parse_drop_listing,
    parse_scan_line,
    parse_unique_id_line,
    read_capabilities,
    read_listing,
)
from pop3fetch.pop3.trace import Secrets
from pop3fetch.pop3.wire import LINE_LIMIT, StatusLine

if TYPE_CHECKING:
    import ssl

    from pop3fetch.net.certificate import TLSSession

HEADERS_ESTIMATE = 32 * 1024  # octets of a message's headers at most, to bound pipelined TOPs: to 256

T = TypeVar("T")


class POP3Client:
    """A session with a POP3 server; made by :meth:`connect`, closed by ``with``, for one thread at a time.

    ``allow_insecure_login``, as given to :meth:`connect`, may be changed before :meth:`login`.
    ``capabilities_before_login`` is what CAPA listed then: some servers announce less after it.
    ``login_method``: by which the login was made, such as APOP, USER or SCRAM-SHA-256.
    ``conversation`` is internal, and not part of the library's interface.
    """

    def __init__(self, server: Server) -> None:
        """Connect and read the greeting; callers use :meth:`connect`."""
        self._capabilities: Capabilities | None = None
        self.capabilities_before_login: Capabilities = {}
        self.login_method = ""
        self._has_capa = True
        self._capa_was_answered = False
        self._announces_pipelining = False
        self._may_pipeline = server.pipelining
        self.allow_insecure_login = server.policy.allow_insecure
        self._server = server._replace(secrets=server.secrets or Secrets())
        self.conversation = self._open()
        self._server = self._server._replace(dialling=None)  # which is used once

    @classmethod
    def connect(
        cls,
        host: str,
        port: int | None = None,
        *,
        tls: str = "implicit",
        timeout: float = DEFAULT_TIMEOUT,
        ca_file: str | None = None,
        fingerprint: str | None = None,
        client_cert: str | None = None,
        client_key: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        family: str = "any",
        auth: str = "auto",
        allow_insecure_login: bool = False,
        utf8: bool = False,
        pipelining: bool = True,
        trace: Callable[[str, bytes], None] | None = None,
    ) -> Self:
        """Connect, read the greeting, and return the client.

        host: a name, an address, or ``unix:/path``. port: 995 with implicit TLS (RFC 8314 section 7.3),
        else 110 (RFC 1939 section 3).
        tls: ``implicit`` (from the first octet), ``starttls`` (STLS before the login, RFC 2595), ``auto``
        (APOP or STLS, see :mod:`pop3fetch.pop3.login`) or ``off``.
        timeout: seconds without progress until the session is given up; 0 waits forever.
        ca_file: authorities to trust instead of the system's (PEM). fingerprint: SHA-256 of the server's
        certificate, 64 hexadecimal digits, to trust instead of any authority.
        client_cert, client_key: files in PEM; one may hold both.
        ssl_context: replaces ca_file, client_cert and client_key.
        proxy: ``socks5://[user:password@]host:port`` or ``http://…``; it resolves the host's name.
        family: ``any``, ``ipv4`` or ``ipv6``.
        auth: ``auto``, or the only method to log in by, of :data:`pop3fetch.pop3.login.METHODS`.
        allow_insecure_login: the password may cross the network in clear text.
        utf8: send UTF8 before logging in (RFC 6856 section 2).
        pipelining: send several commands at once if the server announces it (RFC 2449 section 6.6).
        trace: is called with ``<``, ``>`` or ``=`` (the server's line, ours, a note) and the line, with
        secrets masked.

        Raises ValueError for any other value of an argument; UnknownHost, ResolverFailed,
        ConnectionFailed; CertificateError; ConfigurationError if a file cannot be used; GreetingRefused,
        NotPOP3Server.
        """
        _require_one_of("tls", tls, TLS_MODES)  # an unknown mode would be taken for "off"
        _require_one_of("family", family, FAMILIES)
        _require_one_of("auth", auth, AUTH_METHODS)
        if timeout < 0:
            raise ValueError(f"timeout is seconds from 0 on, not {timeout!r}")
        if fingerprint is not None and not re.fullmatch("[0-9A-Fa-f]{64}", fingerprint):
            raise ValueError(f"fingerprint has 64 hexadecimal digits: {fingerprint!r}")
        if proxy is not None and not re.fullmatch(r"(socks5|http)://([^/]*@)?[^/@]+:[0-9]+/?", proxy):
            # Without the value: it may contain a password.
            raise ValueError("proxy is socks5://[user:password@]host:port or http://…")
        if client_key and not client_cert:
            raise ValueError("client_key needs client_cert")
        if ssl_context and (ca_file or client_cert):
            raise ValueError("ssl_context replaces ca_file, client_cert and client_key")
        server = Server(
            Endpoint(host, port or (TLS_PORT if tls == "implicit" else PLAIN_PORT), family, proxy),
            LoginPolicy(tls, None if auth == "auto" else auth, allow_insecure_login, utf8),
            timeout or None,
            TLSOptions(ca_file, fingerprint, client_cert, client_key),
            ssl_context,
            pipelining=pipelining,
            trace=trace,
        )
        return cls(server)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what is known -----------------------------------------------------------------------

    @property
    def state(self) -> SessionState:
        """AUTHORIZATION, TRANSACTION or UPDATE (RFC 1939 section 3)."""
        return self.conversation.session.state

    @property
    def timeout(self) -> float:
        """Seconds without progress until the session is given up; 0 waits forever."""
        return self.conversation.transport.timeout or 0

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self.conversation.transport.timeout = seconds or None

    @property
    def server_challenge(self) -> bytes | None:
        """The greeting's APOP challenge with its angle brackets, None if it has no valid one (section 7)."""
        return self.conversation.session.challenge

    @property
    def started_tls(self) -> bool:
        """Whether the connection is inside TLS, from the first octet or by STLS."""
        return self.conversation.transport.tls is not None

    @property
    def pipelines(self) -> bool:
        """Whether commands are pipelined: the server announces PIPELINING, and :meth:`connect` allows it."""
        return self._may_pipeline and self._announces_pipelining

    def tls_session(self) -> TLSSession | None:
        """Return protocol version, cipher and certificate, or None outside TLS."""
        return self.conversation.transport.tls_session()

    def capabilities(self, use_cache: bool = True) -> Capabilities:
        """Return what CAPA lists, name to arguments or None; ``{}`` if there is no CAPA (RFC 2449).

        Capabilities received in clear text are forgotten when TLS starts, and those from before the login
        are requested again after it (RFC 2449 section 5). Raises MalformedListing, LineTooLong.
        """
        if self._capabilities is not None and use_cache:
            return dict(self._capabilities)
        capabilities: Capabilities = {}
        try:
            if self._has_capa:
                self.conversation.ask("CAPA")
                self._capa_was_answered = True
                line_end = self.conversation.session.line_end
                capabilities = read_capabilities(self.conversation.blocks(), line_end)
        except ServerErrorResponse:
            self._capa_was_answered = True
        except ConnectionLost:
            # Not inside TLS by STLS: an attacker could cut that connection to get one in clear text.
            by_stls = self.started_tls and self._server.policy.mode != "implicit"
            if self.state is not AUTHORIZATION or by_stls or self._capa_was_answered:
                raise
            # Some servers hang up on CAPA (fetchmail's FAQ, items R11 and O11).
            self._has_capa = False
            self.reconnect()
        self._learn(capabilities)
        return dict(capabilities)

    def offers(self, capability: str) -> bool:
        """Whether the server lists ``capability``; a server without CAPA may have any."""
        capabilities = self.capabilities()
        return not capabilities or capability in capabilities

    def _learn(self, capabilities: Capabilities) -> None:
        self._capabilities = capabilities
        # Big servers announce it only after the login, others only before it: either counts.
        self._announces_pipelining |= "PIPELINING" in capabilities

    def _forget(self) -> None:
        self._capabilities, self._announces_pipelining = None, False

    def _open(self) -> Conversation:
        conversation, capabilities = open_conversation(self._server, has_capa=self._has_capa)
        if capabilities is not None:
            self._capa_was_answered = True
            self._learn(capabilities)
        return conversation

    def reconnect(self) -> None:
        """Start again on a new connection, before the login. Raises what :meth:`connect` raises."""
        self.conversation.close("a new connection replaced it")
        self._forget()
        self.conversation = self._open()

    # -- any command -------------------------------------------------------------------------

    def send_short(self, command: str, *args: str | bytes | int) -> bytes:
        """Send a command with a single-line reply; return its text without the status indicator.

        Raises InvalidArgument for a command with a multi-line reply.
        """
        return self.conversation.ask(command, *args, multiline=False).text

    def send_long(
        self,
        command: str,
        *args: str | bytes | int,
        consumer: Callable[[Any], object] | None = None,
        transform: Callable[[bytes], Any] | None = None,
    ) -> list[Any]:
        """Send a command with a multi-line reply; return its lines, each through ``transform``.

        Lines are ``bytes`` without CRLF, unstuffed (RFC 1939 section 3). If there is a ``consumer``, each
        goes there as it arrives, and the list is empty. Raises InvalidArgument for a command with a
        single-line reply; LineTooLong past 8 KiB, unless it is a message.
        """
        limit = None if command.upper() in ("RETR", "TOP") else LINE_LIMIT
        self.conversation.ask(command, *args, multiline=True)
        kept: list[Any] = []
        take = consumer or kept.append
        for lines in lines_of(self.conversation.blocks(), self.conversation.session.line_end, limit):
            for line in lines:
                take(transform(line) if transform else line)
        return kept

    # -- AUTHORIZATION -----------------------------------------------------------------------

    def start_tls(self, ssl_context: ssl.SSLContext | None = None) -> Capabilities:
        """Request the capabilities, start TLS by STLS, and return the new capabilities (RFC 2595).

        Raises TLSNotSupportedError if STLS is not offered or is refused, CertificateError.
        """
        if self.capabilities() and "STLS" not in self.capabilities():
            raise TLSNotSupportedError(self._server.endpoint.host, "it does not offer STLS")
        self.begin_tls(ssl_context)
        return self.capabilities()

    def begin_tls(self, ssl_context: ssl.SSLContext | None = None) -> None:
        """Send STLS and make the handshake; forget what was received in clear text (RFC 2595 section 4).

        Requests no capabilities. Raises TLSNotSupportedError, CertificateError.
        """
        context = ssl_context or tls_context(self._server)
        try:
            self.conversation.ask("STLS")
        except ServerErrorResponse as refusal:
            raise TLSNotSupportedError(self._server.endpoint.host, str(refusal)) from refusal
        secure(self.conversation, self._server, context)
        self.conversation.session.tls_started()
        self._forget()

    def login(self, user: str, password: str | Callable[[], str]) -> bytes:
        """Log in by the policy of :mod:`pop3fetch.pop3.login`; return the server's text.

        ``password``: the password or access token, or a callable that returns it, called at most once and
        not before a step needs it. Raises InsecureAuthenticationDisallowed and MechanismNotOffered before
        anything of the user's is sent; LoginRefused, MechanismFailed, TLSNotSupportedError,
        CertificateError.
        """
        self.conversation.session.require_open()
        policy = self._server.policy._replace(allow_insecure=self.allow_insecure_login)
        secret = password if callable(password) else lambda: password
        authentication = Authentication(self, policy, user, secret, self._server.notice)
        text = authentication.run()
        self.login_method = authentication.method
        self.capabilities_before_login, self._capabilities = self._capabilities or {}, None
        return text

    def apop(self, user: str, digest: str) -> bytes:
        """Log in by APOP with a digest that was made elsewhere (RFC 1939 section 7); return the text."""
        return self.send_short("APOP", user, digest)

    def user(self, name: str) -> bytes:
        """Send USER, in clear text if TLS is not started; return the text."""
        return self.send_short("USER", name)

    def password(self, secret: str) -> bytes:
        """Send PASS, in clear text if TLS is not started; return the text."""
        return self.send_short("PASS", secret)

    # -- TRANSACTION -------------------------------------------------------------------------

    def stat(self, *, then_quit: bool = False) -> tuple[int, int]:
        """Return (messages, octets) of STAT; raises MalformedListing.

        ``then_quit`` also sends QUIT if the server pipelines; call :meth:`quit` in any case.
        """
        drop: list[tuple[int, int]] = []
        takers: dict[str, Callable[[StatusLine], object]] = {
            "STAT": lambda status: drop.append(parse_drop_listing(status.text))
        }
        try:
            self._batch(takers, then_quit=then_quit)
        except ProtocolViolation as error:
            self.conversation.hide_secrets(error)
            self.conversation.close(str(error))
            raise
        return drop[0]

    def overview(self) -> Overview:
        """Return sizes and unique-ids by index, requested in one write if the server pipelines.

        Also requests the :meth:`capabilities`. Lines that are unusable are left out, and are so still if
        the lists are requested one at a time. Raises MalformedListing if all of a list are.
        """
        line_end = self.conversation.session.line_end
        sizes = ListReply(parse_scan_line, line_end)
        unique_ids = ListReply(parse_unique_id_line, line_end)
        has_uidl = self._read_lists(sizes.read, unique_ids.read)
        unusable = (*sizes.unusable, *unique_ids.unusable)
        if unusable and self.pipelines:  # the server may have mixed up the replies
            self._may_pipeline = False
            del sizes, unique_ids  # of a million messages: two of each would be too large
            return self.overview()
        for error in unusable:
            self.conversation.hide_secrets(error)
        for listing in (sizes, unique_ids):
            if listing.unusable and all(entry is None for entry in listing.entries):
                error = listing.unusable[0]
                self.conversation.close(str(error))
                raise error
        return Overview(sizes.entries, unique_ids.entries if has_uidl else None, unusable)

    def _read_lists(
        self,
        take_sizes: Callable[[Iterator[bytes]], object],
        take_unique_ids: Callable[[Iterator[bytes]], object],
    ) -> bool:
        """Read CAPA, LIST and UIDL, the last two with the functions given; return whether UIDL exists."""
        line_end = self.conversation.session.line_end
        capabilities: Capabilities = {}
        refused = self._batch(
            {
                "CAPA": lambda _: capabilities.update(
                    read_capabilities(self.conversation.blocks(), line_end)
                ),
                "LIST": lambda _: take_sizes(self.conversation.blocks()),
                "UIDL": lambda _: take_unique_ids(self.conversation.blocks()),
            }
        )
        self._learn(capabilities)
        no_uidl = refused.get("UIDL")
        # A server that announces UIDL has it, and one that cannot answer now may have it.
        if no_uidl and (no_uidl.is_temporary or "UIDL" in capabilities):
            raise no_uidl
        return no_uidl is None

    def _batch(
        self, takers: Mapping[str, Callable[[StatusLine], object]], *, then_quit: bool = False
    ) -> dict[str, ServerErrorResponse]:
        """Send several commands, in one write if the server pipelines; return the refusals.

        ``takers`` read what follows each status line; they may be called again from the first one on.
        CAPA and UIDL are optional; the refusal of another is raised when all replies have arrived.
        """
        names = [name for name in takers if name != "CAPA" or self._has_capa]
        if then_quit and self.pipelines:
            names.append("QUIT")
        refused: dict[str, ServerErrorResponse] = {}
        try:
            for (name, *_), status in self._pipeline([Request(name) for name in names]):
                if not status.ok:
                    refused[name] = self.conversation.refusal(name, status)
                elif name != "QUIT":
                    takers[name](status)
        except (ConnectionLost, TimedOut):
            # If only QUIT is unanswered, all replies that matter have arrived.
            if [awaited.name for awaited in self.conversation.session.awaited] != ["QUIT"]:
                raise
        for name in refused.keys() - {"CAPA", "UIDL", "QUIT"}:
            raise refused[name]
        return refused

    def list_size(self, consumer: Callable[[int, int], object] | None = None) -> list[int | None]:
        """Return the sizes in octets by index, None for deleted messages (LIST).

        If there is a ``consumer``, (index, size) goes there as it arrives, and the list is empty. Raises
        MalformedListing, LineTooLong.
        """
        self.conversation.ask("LIST")
        return self._listing(parse_scan_line, consumer)

    def list_uid(self, consumer: Callable[[int, bytes], object] | None = None) -> list[bytes | None]:
        """Return the unique-ids by index, None for deleted messages; they may be empty (UIDL).

        ``consumer`` and errors as for :meth:`list_size`.
        """
        self.conversation.ask("UIDL")
        return self._listing(parse_unique_id_line, consumer)

    def _listing(self, grammar: Grammar[T], consumer: Callable[[int, T], object] | None) -> list[T | None]:
        conversation = self.conversation
        try:
            entries = read_listing(conversation.blocks(), grammar, conversation.session.line_end, consumer)
        except ProtocolViolation as error:
            conversation.hide_secrets(error)
            raise
        return [] if consumer else entries

    def retrieve(
        self, index: int, consumer: Callable[[bytes], object] | None = None, lines: int | None = None
    ) -> list[bytes]:
        """Return the lines of a message (RETR), or of its headers and ``lines`` lines (TOP).

        Lines are ``bytes`` without CRLF, unstuffed; if there is a ``consumer``, each goes there instead.
        """
        command = ("RETR", index + 1) if lines is None else ("TOP", index + 1, lines)
        return self.send_long(*command, consumer=consumer)

    def iter_message(self, index: int, lines: int | None = None) -> Iterator[bytes]:
        """Request a message, or its headers and ``lines`` lines; return an iterator of its blocks.

        For large messages: blocks are octets, unstuffed, with CRLF. Leaving it before its end ends the
        session.
        """
        command = ("RETR", index + 1) if lines is None else ("TOP", index + 1, lines)
        self.conversation.ask(*command)
        return self.conversation.blocks()

    def retrieve_many(
        self, indexes: Iterable[int], sizes: Mapping[int, int] = MappingProxyType({})
    ) -> Iterator[IncomingMessage]:
        """Yield messages in the order requested as they arrive, pipelined if the server can (RETR).

        A refusal is in the message, and not raised. ``sizes``, index to octets, limit what is pipelined.
        An index is taken from ``indexes`` when its command is sent.
        Read each message's blocks before the next message; blocks left unread are skipped. Leaving the
        iterator before its end ends the session.
        """
        return self._messages(Request("RETR", (index + 1,), sizes.get(index, 0)) for index in indexes)

    def top_many(self, indexes: Iterable[int], lines: int = 0) -> Iterator[IncomingMessage]:
        """Yield the headers and ``lines`` lines of messages, like :meth:`retrieve_many` (TOP)."""
        return self._messages(Request("TOP", (index + 1, lines), HEADERS_ESTIMATE) for index in indexes)

    def _messages(self, requests: Iterable[Request]) -> Iterator[IncomingMessage]:
        for request, status in self._pipeline(requests):
            number = request.arguments[0]
            blocks = self.conversation.blocks() if status.ok else iter(())
            refusal = None if status.ok else self.conversation.refusal(f"{request.name} {number}", status)
            yield IncomingMessage(number - 1, refusal, blocks)
            for _ in blocks:
                pass

    def delete_many(self, indexes: Iterable[int], *, then_quit: bool = False) -> list[Deletion]:
        """Mark messages as deleted, pipelined if the server can; return (index, refusal or None) of each.

        They are deleted once QUIT is answered +OK (RFC 1939 section 6). ``then_quit`` also sends QUIT, to
        save a round trip; a refused QUIT raises ServerErrorResponse.
        """
        return list(self.iter_deletions(indexes, then_quit=then_quit))

    def iter_deletions(self, indexes: Iterable[int], *, then_quit: bool = False) -> Iterator[Deletion]:
        """Yield the results of :meth:`delete_many` as replies arrive; sends while it is iterated."""
        requests = [Request("DELE", (index + 1,)) for index in indexes]
        if then_quit:
            requests.append(Request("QUIT"))
        for request, status in self._pipeline(requests):
            refusal = None if status.ok else self.conversation.refusal(request.name, status)
            if request.arguments:
                yield request.arguments[0] - 1, refusal
            elif refusal:
                raise refusal

    def delete(self, index: int) -> bytes:
        """Mark a message to be deleted when QUIT is answered +OK; return the server's text (DELE)."""
        return self.send_short("DELE", index + 1)

    def noop(self) -> bytes:
        """Do nothing, and keep the connection awake; return the server's text (NOOP)."""
        return self.send_short("NOOP")

    def reset(self) -> bytes:
        """Unmark the messages marked as deleted; return the server's text (RSET)."""
        return self.send_short("RSET")

    def quit(self) -> bytes:
        """End the session, close the connection, and return the server's text (QUIT).

        The server now removes what is marked as deleted (RFC 1939 section 6). After a ``then_quit`` that
        has already ended the session, nothing is sent.
        """
        try:
            is_over = self.conversation.session.state is UPDATE
            return b"" if is_over else self.conversation.ask("QUIT").text
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection without QUIT: nothing is deleted."""
        self.conversation.close()

    # -- within ------------------------------------------------------------------------------

    def _pipeline(self, requests: Iterable[Request]) -> Iterator[tuple[Request, StatusLine]]:
        return pipelined(self.conversation, requests, WIDE if self.pipelines else ONE_AT_A_TIME)


def _require_one_of(name: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}, not {value!r}")
