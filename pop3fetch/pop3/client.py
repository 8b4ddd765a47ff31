"""The public client: one POP3 server, blocking calls, 0-based indexes.

>>> with POP3Client.connect("mail.example.org") as client:      # doctest: +SKIP
...     client.login("alice", getpass)
...     for index, size in enumerate(client.list_size()): ...

A reply -ERR raises ServerErrorResponse and leaves the session usable, and so does what was
refused before anything was sent (CommandNotAllowed, InvalidArgument, AuthenticationError). Every
other error ends it: the connection is closed, and later calls raise SessionEnded with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from pop3fetch.ahead import Ahead
from pop3fetch.choices import DEFAULT_TIMEOUT, PLAIN_PORT, TLS_MODES, TLS_PORT
from pop3fetch.errors import (
    ConnectionLost,
    ProtocolViolation,
    ServerErrorResponse,
    TimedOut,
    TLSNotSupportedError,
    UsageError,
)
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions, TLSSession
from pop3fetch.pop3.authentication import Authentication, Wish
from pop3fetch.pop3.conversation import Conversation
from pop3fetch.pop3.machine import AUTHORIZATION, UPDATE, SessionState
from pop3fetch.pop3.opening import Server, open_conversation, secure, tls_context
from pop3fetch.pop3.overview import Digests, Overview, OverviewReader
from pop3fetch.pop3.pipeline import ONE_AT_A_TIME, WIDE, Pipeline, Request, Retrieval
from pop3fetch.pop3.replies import (
    SCAN_LISTING,
    UNIQUE_ID_LISTING,
    Capabilities,
    CapabilityReader,
    Grammar,
    LineSplitter,
    ListingReader,
    parse_drop_listing,
)
from pop3fetch.pop3.trace import Secrets
from pop3fetch.pop3.wire import CRLF, LINE_LIMIT, StatusLine

if TYPE_CHECKING:
    import socket
    import ssl

HEADERS_ESTIMATE = 4096  # octets of a message's headers, to bound pipelined TOPs

T = TypeVar("T")
Reader = TypeVar("Reader", CapabilityReader, ListingReader[Any])


class POP3Client:
    """A session with a POP3 server; made by :meth:`connect`."""

    def __init__(self, server: Server, dialling: Ahead[socket.socket] | None = None) -> None:
        """Connect and read the greeting."""
        self._server = server._replace(secrets=server.secrets or Secrets())
        self._capabilities: Capabilities | None = None
        self._has_capa = True
        self._capa_was_answered = False
        self._says_pipelining = False
        self._broke_in_the_pipe = False
        self.capabilities_before_login: Capabilities = {}
        self.when_told: Callable[[Capabilities], object] | None = None  # is called with what CAPA says
        # The indexes that RETR gave: a server may delete those at QUIT (RFC 1939 section 8).
        self.retrieved: set[int] = set()
        self.topped: set[int] = set()  # the indexes that TOP gave
        self.allow_insecure_login = server.wish.allow_insecure
        self.may_pipeline = server.pipelining
        self.conversation = self._open(dialling)

    @classmethod
    def connect(
        cls,
        host: str,
        port: int | None = None,
        *,
        tls: str = "implicit",
        timeout: float = DEFAULT_TIMEOUT,
        ca_file: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        allow_insecure_login: bool = False,
    ) -> POP3Client:
        """Return a client that has read the greeting.

        ``tls`` is ``implicit``, ``auto``, ``starttls`` or ``off``; ``timeout`` in seconds, 0 waits
        for ever. Raises UnknownHost, ResolverFailed, ConnectionFailed, TimedOut, TLSError, CertificateError,
        GreetingRefused, NotPOP3Server; UsageError where ``tls`` is none of these.
        """
        if tls not in TLS_MODES:  # what is not known would be taken for "off"
            raise UsageError(f"tls is one of {', '.join(TLS_MODES)}, not {tls!r}")
        endpoint = Endpoint(host, port or (TLS_PORT if tls == "implicit" else PLAIN_PORT))
        wish = Wish(tls, allow_insecure=allow_insecure_login)
        return cls(Server(endpoint, wish, timeout or None, TLSOptions(ca_file), ssl_context))

    def __enter__(self) -> POP3Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- what is known -----------------------------------------------------------------------

    @property
    def state(self) -> SessionState:
        """AUTHORIZATION, TRANSACTION or UPDATE (RFC 1939 section 3)."""
        return self.conversation.session.state

    @property
    def timeout(self) -> float:
        """Seconds until a reply that makes no progress is given up; 0 waits for ever."""
        return self.conversation.transport.timeout or 0

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        self.conversation.transport.timeout = seconds or None

    @property
    def server_challenge(self) -> bytes | None:
        """The APOP challenge of the greeting, angle brackets included, where it is valid."""
        return self.conversation.session.challenge

    @property
    def started_tls(self) -> bool:
        """Whether the connection is inside TLS, however that began."""
        return self.conversation.transport.tls is not None

    @property
    def pipelines(self) -> bool:
        """Whether commands are pipelined: the server says PIPELINING, and ``may_pipeline``."""
        return self.may_pipeline and self._says_pipelining

    @property
    def ends_lines_with_crlf(self) -> bool:
        """Whether the server ends its lines as it should; else a CR before LF is content."""
        return self.conversation.session.line_end == CRLF

    @property
    def broke_in_the_pipe(self) -> bool:
        """Whether the session ended over pipelined replies, which the server may have mixed up."""
        return self._broke_in_the_pipe or len(self.conversation.session.awaited) > 1

    def tls_session(self) -> TLSSession | None:
        """Return protocol version, cipher and certificate, or None outside TLS."""
        return self.conversation.transport.tls_session()

    def notice(self, text: str) -> None:
        """Pass a remark on to whoever listens."""
        self._server.notice(text)

    def capabilities(self, use_cache: bool = True) -> Capabilities:
        """Return what CAPA says: name to its arguments, or None; ``{}`` where there is no CAPA.

        What was said in clear text is forgotten when TLS starts, and what was said before the
        login is asked again after it (RFC 2449 section 5).
        """
        if self._capabilities is None or not use_cache:
            self._learn(self._ask_capabilities() if self._has_capa else {})
        return dict(self._capabilities or {})

    def offers(self, capability: str) -> bool:
        """Whether the server may be asked for ``capability``; one without CAPA may be asked anything."""
        capabilities = self.capabilities()
        return not capabilities or capability in capabilities

    def _learn(self, capabilities: Capabilities) -> None:
        self._capabilities = capabilities
        # Big servers show it only after the login, others only before: once said, it counts.
        self._says_pipelining |= "PIPELINING" in capabilities
        if self.when_told:
            self.when_told(capabilities)

    def _forget(self) -> None:
        self._capabilities, self._says_pipelining = None, False

    def _open(self, dialling: Ahead[socket.socket] | None = None) -> Conversation:
        conversation, capabilities = open_conversation(self._server, dialling, has_capa=self._has_capa)
        if capabilities is not None:
            self._capa_was_answered = True
            self._learn(capabilities)
        return conversation

    def _ask_capabilities(self) -> Capabilities:
        try:
            self.conversation.ask("CAPA")
        except ServerErrorResponse:
            self._capa_was_answered = True
            return {}
        except ConnectionLost:
            if not self._may_hang_up_on_capa():
                raise
            # Some servers hang up on CAPA (fetchmail's FAQ, items R11 and O11).
            self._has_capa = False
            self.reconnect()
            return {}
        self._capa_was_answered = True
        return self._feed(CapabilityReader(self.conversation.session.line_end)).capabilities

    def _may_hang_up_on_capa(self) -> bool:
        # Never inside TLS by STLS: whoever cuts that line would have a new one in clear text.
        by_stls = self.started_tls and self._server.wish.mode != "implicit"
        return self.state is AUTHORIZATION and not by_stls and not self._capa_was_answered

    def reconnect(self) -> None:
        """Begin anew on a new connection, before the login."""
        self.conversation.close("it was begun anew")
        self._forget()
        self.conversation = self._open()

    # -- any command -------------------------------------------------------------------------

    def send_short(self, command: str, *args: str | bytes | int) -> bytes:
        """Send a command with a single-line reply; return its text without the status indicator."""
        return self.conversation.ask(command, *args, multiline=False).text

    def send_long(
        self,
        command: str,
        *args: str | bytes | int,
        consumer: Callable[[Any], object] | None = None,
        transform: Callable[[bytes], Any] | None = None,
    ) -> list[Any]:
        """Send a command with a multi-line reply; return its lines, each through ``transform``.

        With a ``consumer`` each goes there as it arrives, and the list is empty. Lines come
        without CRLF, unstuffed; only a message's may be longer than 8 KiB.
        """
        limit = None if command.upper() in ("RETR", "TOP") else LINE_LIMIT
        self.conversation.ask(command, *args, multiline=True)
        kept: list[Any] = []
        take = consumer or kept.append
        for line in self._lines(limit):
            take(transform(line) if transform else line)
        return kept

    def _lines(self, limit: int | None) -> Iterator[bytes]:
        splitter = LineSplitter(self.conversation.session.line_end, limit)
        for block in self.conversation.blocks():
            yield from splitter.lines(block)
        yield from splitter.rest()

    # -- AUTHORIZATION -----------------------------------------------------------------------

    def start_tls(self, ssl_context: ssl.SSLContext | None = None) -> Capabilities:
        """Ask for the capabilities, start TLS by STLS, and return the new capabilities.

        Raises TLSNotSupportedError where STLS is not offered or refused, and TLSError.
        """
        if self.capabilities() and "STLS" not in self.capabilities():
            raise TLSNotSupportedError(self._server.endpoint.host, "it does not offer STLS")
        self.begin_tls(ssl_context)
        return self.capabilities()

    def begin_tls(self, ssl_context: ssl.SSLContext | None = None) -> None:
        """Say STLS and make the handshake; forget what was said in clear text (RFC 2595 section 4)."""
        context = ssl_context or tls_context(self._server)
        try:
            self.conversation.ask("STLS")
        except ServerErrorResponse as refusal:
            raise TLSNotSupportedError(self._server.endpoint.host, str(refusal)) from refusal
        secure(self.conversation, self._server, context)
        self.conversation.session.tls_started()
        self._forget()

    def login(self, user: str, password: str | Callable[[], str]) -> bytes:
        """Log in by the policy of ``pop3.login``; return the server's text.

        ``password`` may be a callable, which is called only once a step needs it. Raises
        InsecureAuthenticationDisallowed before a word of the user's is sent, LoginRefused,
        MechanismNotOffered, MechanismFailed, TLSNotSupportedError.
        """
        self.conversation.require_open()
        wish = self._server.wish._replace(allow_insecure=self.allow_insecure_login)
        secret = password if callable(password) else lambda: password
        text = Authentication(self, wish, user, secret).run()
        self.capabilities_before_login, self._capabilities = self._capabilities or {}, None
        return text

    def apop(self, user: str, digest: str) -> bytes:
        """Log in by APOP with a digest that was made elsewhere (RFC 1939 section 7)."""
        return self.send_short("APOP", user, digest)

    def user(self, name: str) -> bytes:
        """Say USER; the password follows."""
        return self.send_short("USER", name)

    def password(self, secret: str) -> bytes:
        """Say PASS."""
        return self.send_short("PASS", secret)

    # -- TRANSACTION -------------------------------------------------------------------------

    def stat(self, *, then_quit: bool = False) -> tuple[int, int]:
        """Return (messages, octets); ``then_quit`` saves a round trip where the server pipelines."""
        drop: list[StatusLine] = []
        self._batch({"STAT": drop.append}, then_quit=then_quit)
        with self._parsing():
            return parse_drop_listing(drop[0].text)

    def overview(self, *, then_quit: bool = False) -> Overview:
        """Return sizes and unique-ids, asking for the capabilities on the way, in one write if possible."""
        reader = OverviewReader(self.conversation.session.line_end)
        return self._read(reader, then_quit=then_quit).overview()

    def overview_unless(
        self, familiar: Digests, when_unlike: Callable[[], object]
    ) -> tuple[Overview, Digests] | None:
        """Return overview and digests; None, and nothing is parsed, where both lists are ``familiar``.

        ``when_unlike`` is called where LIST shows that they are not, while UIDL may still arrive.
        """
        reader = self._read(OverviewReader(self.conversation.session.line_end, familiar, when_unlike))
        return None if reader.is_familiar else (reader.overview(), reader.digests)

    def _read(self, reader: OverviewReader, *, then_quit: bool = False) -> OverviewReader:
        refused = self._batch(
            {
                "CAPA": lambda status: self._feed(reader.capabilities),
                "LIST": lambda status: self._feed(reader.sizes, then=reader.sizes_end),
                "UIDL": lambda status: self._feed(reader.unique_ids, then=reader.unique_ids_end),
            },
            then_quit=then_quit,
        )
        self._learn(reader.capabilities.capabilities)
        no_uidl = refused.get("UIDL")
        # A server that announces it has it; and one that cannot answer now may have it.
        if no_uidl and (no_uidl.is_temporary or "UIDL" in reader.capabilities.capabilities):
            raise no_uidl
        return reader

    def _batch(
        self, takers: dict[str, Callable[[StatusLine], object]], *, then_quit: bool
    ) -> dict[str, ServerErrorResponse]:
        """Ask several commands, in one write where the server pipelines; return the refusals.

        CAPA and UIDL are optional; another one's refusal is raised when all replies are there.
        """
        pipelined = self.pipelines
        names = [name for name in takers if name != "CAPA" or self._has_capa]
        refused: dict[str, ServerErrorResponse] = {}
        for name, status in self._replies([*names, "QUIT"] if then_quit and pipelined else names):
            if not status.ok:
                refused[name] = self.conversation.refusal(name, status)
            elif name != "QUIT":
                takers[name](status)
        for name in refused.keys() - {"CAPA", "UIDL", "QUIT"}:
            raise refused[name]
        return refused

    def _replies(self, names: list[str]) -> Iterator[tuple[str, StatusLine]]:
        """Yield each name with its reply; whoever hangs up at QUIT alone has answered all that matters."""
        try:
            yield from zip(names, self._pipeline([Request(name) for name in names]), strict=True)
        except (ConnectionLost, TimedOut):
            if [awaited.name for awaited in self.conversation.session.awaited] != ["QUIT"]:
                raise

    def list_size(self, consumer: Callable[[int, int], object] | None = None) -> list[int | None]:
        """Return the sizes in octets by index, None for deleted messages.

        With a ``consumer``, (index, size) goes there as it arrives.
        """
        self.conversation.ask("LIST")
        return self._listing(SCAN_LISTING, consumer)

    def list_uid(self, consumer: Callable[[int, bytes], object] | None = None) -> list[bytes | None]:
        """Return the unique-ids by index, None for deleted messages; they may be empty."""
        self.conversation.ask("UIDL")
        return self._listing(UNIQUE_ID_LISTING, consumer)

    def _listing(self, grammar: Grammar[T], consumer: Callable[[int, T], object] | None) -> list[T | None]:
        reader = ListingReader(grammar, self.conversation.session.line_end, consumer)
        for block in self.conversation.blocks():
            reader.feed(block)
        return [] if consumer else reader.entries

    def retrieve(
        self, index: int, consumer: Callable[[bytes], object] | None = None, lines: int | None = None
    ) -> list[bytes]:
        """Return the lines of a message (RETR), or of its headers and ``lines`` lines (TOP).

        Lines come without CRLF, unstuffed; with a ``consumer`` each goes there instead.
        """
        if lines is None:
            self.retrieved.add(index)
            return self.send_long("RETR", index + 1, consumer=consumer)
        self.topped.add(index)
        return self.send_long("TOP", index + 1, lines, consumer=consumer)

    def iter_message(self, index: int, lines: int | None = None) -> Iterator[bytes]:
        """Return an iterator of the blocks of a message, for large ones.

        Whoever leaves it before its end ends the session.
        """
        arguments = (index + 1,) if lines is None else (index + 1, lines)
        (self.retrieved if lines is None else self.topped).add(index)
        self.conversation.ask("RETR" if lines is None else "TOP", *arguments)
        return self.conversation.blocks()

    def retrieve_many(
        self, indexes: Iterable[int], sizes: Mapping[int, int] = MappingProxyType({})
    ) -> Iterator[Retrieval]:
        """Yield the messages in order as they arrive, pipelined where the server can.

        ``sizes``, index to octets, bound what is under way. Each one's blocks are read before
        the next is asked for; those that nobody read are passed over.
        """
        asked = list(indexes)
        requests = (Request("RETR", (index + 1,), sizes.get(index, 0)) for index in asked)
        for retrieval in self._retrievals(asked, requests):
            if retrieval.refusal is None:
                self.retrieved.add(retrieval.index)
            yield retrieval

    def top_many(self, indexes: Iterable[int], lines: int = 0) -> Iterator[Retrieval]:
        """Yield the headers and ``lines`` lines of messages, like :meth:`retrieve_many`."""
        asked = list(indexes)
        self.topped.update(asked)
        return self._retrievals(
            asked, (Request("TOP", (index + 1, lines), HEADERS_ESTIMATE) for index in asked)
        )

    def _retrievals(self, asked: list[int], requests: Iterable[Request]) -> Iterator[Retrieval]:
        for index, status in zip(asked, self._pipeline(requests), strict=True):
            blocks = self.conversation.blocks() if status.ok else iter(())
            refusal = None if status.ok else self.conversation.refusal(f"message {index + 1}", status)
            yield Retrieval(index, refusal, blocks)
            for _ in blocks:
                pass

    def delete_many(
        self, indexes: Iterable[int], *, then_quit: bool = False
    ) -> Iterator[tuple[int, ServerErrorResponse | None]]:
        """Mark messages as deleted; yield (index, refusal) in order as replies arrive.

        ``then_quit`` ends the session as well, without a round trip of its own where the server
        pipelines; a refused QUIT raises ServerErrorResponse.
        """
        asked = list(indexes)
        requests = [Request("DELE", (index + 1,)) for index in asked]
        if then_quit:
            requests.append(Request("QUIT"))
        for position, status in enumerate(self._pipeline(requests)):
            refusal = None if status.ok else self.conversation.refusal(requests[position].name, status)
            if position < len(asked):
                yield asked[position], refusal
            elif refusal:
                raise refusal

    def delete(self, index: int) -> bytes:
        """Mark a message as deleted; it is, once QUIT was answered +OK."""
        return self.send_short("DELE", index + 1)

    def noop(self) -> bytes:
        """Do nothing, and keep the connection awake."""
        return self.send_short("NOOP")

    def reset(self) -> bytes:
        """Unmark the messages marked as deleted."""
        return self.send_short("RSET")

    def quit(self) -> bytes:
        """End the session; the server now removes what is marked as deleted. Closes the connection.

        A session that was ended already by ``then_quit`` needs no second word.
        """
        try:
            return b"" if self.state is UPDATE else self.send_short("QUIT")
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection without QUIT: nothing is deleted."""
        self.conversation.close()

    # -- within ------------------------------------------------------------------------------

    def _pipeline(self, requests: Iterable[Request]) -> Iterator[StatusLine]:
        return iter(Pipeline(self.conversation, requests, WIDE if self.pipelines else ONE_AT_A_TIME))

    def _feed(self, reader: Reader, then: Callable[[], object] = lambda: None) -> Reader:
        for block in self.conversation.blocks():
            reader.feed(block)
        with self._parsing():
            then()
        return reader

    @contextmanager
    def _parsing(self) -> Iterator[None]:
        """End the session where a reply that was read to its end turns out to be none."""
        try:
            yield
        except ProtocolViolation as error:
            self._broke_in_the_pipe = self.pipelines
            self.conversation.close(str(error))
            raise
