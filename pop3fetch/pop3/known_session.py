"""A session with a server that was met before: it sends at once what it would send anyway.

An unknown server is asked step by step: CAPA, the login, and what the caller wants, a round trip each. If an
earlier session has shown that the server answers early commands and pipelined ones, all this goes out in one
flight behind the TLS handshake:

    CAPA, AUTH PLAIN, then what the caller asks first: CAPA, LIST and UIDL, or STAT and QUIT

That saves two round trips, of six in the benchmark row ``known-keep`` and of five in ``known-stat``: 0.1 s
of 0.36 s over a line of 50 ms.

Only inside TLS that began with the first octet, so that the certificate is verified and nobody can insert a
reply. Only PLAIN, if it was the strongest mechanism offered: it needs no challenge. The CAPA of the flight is
compared; what has changed counts from the next session.

Cyrus 3.6 loses everything behind AUTH, and other servers may as well. A server that loses, mixes up or
refuses what was sent ahead is met again on a second connection, step by step. A refused login is not
repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from pop3fetch.errors import (
    ConnectionLost,
    InvalidArgument,
    LoginRefused,
    MechanismFailed,
    NotPOP3Server,
    ProtocolViolation,
    ServerErrorResponse,
    TimedOut,
)
from pop3fetch.pop3.conversation import LEAST_WAIT, OVERDUE, Conversation, Server, connected
from pop3fetch.pop3.login import strongest
from pop3fetch.pop3.machine import Reply
from pop3fetch.pop3.mail_session import MailSession
from pop3fetch.pop3.replies import Capabilities, read_capabilities
from pop3fetch.pop3.sasl import Credentials, Plain, encode_initial
from pop3fetch.pop3.wire import StatusLine, command_line

PLAIN = "PLAIN"
# Seconds that the reply to a login may take, before it counts as lost. Servers delay a refusal by up to 5: to
# give up sooner would repeat a refused login.
VERDICT = 6.0


class Flight(NamedTuple):
    """What follows the login, and the seconds within which the server is known to reply.

    ``failed`` is called if the server has lost, mixed up or refused what was sent ahead.
    """

    following: tuple[str, ...]
    slowest: float
    failed: Callable[[], object]

    @property
    def wait(self) -> float:
        """Seconds until a reply counts as lost; servers may be busy."""
        return min(OVERDUE, max(LEAST_WAIT, 2 * self.slowest))


class Lost(Exception):
    """The server has lost, mixed up or refused what was sent ahead."""


def may_fly(server: Server) -> bool:
    """Whether the user's choices allow a login that is sent ahead."""
    policy = server.policy
    forced = policy.method not in (None, "plain")
    return policy.mode == "implicit" and server.pipelining and not (forced or policy.utf8)


def answers_at_once(capabilities: Capabilities) -> bool:
    """Whether the server can take a login by PLAIN with what follows; from its CAPA before the login."""
    # With a delay, a second login might come too soon after one whose commands were lost.
    has_delay = capabilities.get("LOGIN-DELAY", ["0"]) != ["0"]
    return "PIPELINING" in capabilities and _offers_plain(capabilities) and not has_delay


def _offers_plain(capabilities: Capabilities) -> bool:
    return strongest(capabilities.get("SASL") or [], channel_binding=True) == PLAIN


class KnownSession(MailSession):
    """A :class:`MailSession` whose login and first commands are one flight."""

    def __init__(self, server: Server, flight: Flight) -> None:
        """Connect, and send nothing yet."""
        self._flight: Flight | None = flight  # until the login
        self._failed = flight.failed
        self._log_in_step_by_step: Callable[[], bytes]
        super().__init__(server)

    def _open(self) -> Conversation:
        return connected(self._server) if self._flight else super()._open()

    def stop_pipelining(self) -> None:
        """As in :class:`MailSession`; then nothing is sent ahead."""
        super().stop_pipelining()
        self._wait_for_greeting()

    def login(self, user: str, password: str | Callable[[], str]) -> bytes:
        """As :meth:`POP3Client.login`; the commands that follow are sent, and not awaited."""
        if self._flight is None:
            return super().login(user, password)
        secret = password() if callable(password) else password
        self._log_in_step_by_step = lambda: super(KnownSession, self).login(user, secret)
        try:
            argument = encode_initial(Plain(PLAIN, Credentials(user, secret)).initial())
            command_line("AUTH", PLAIN, argument)
        except (MechanismFailed, InvalidArgument):  # these credentials do not fit
            self._wait_for_greeting()
            return self._log_in_step_by_step()
        self.conversation.trace.secrets.keep(secret, argument)
        flight, self._flight = self._flight, None
        try:
            return self._fly(flight, user, argument)
        except NotPOP3Server:
            raise
        except (Lost, ConnectionLost, ProtocolViolation) as error:
            return self._start_again(error)

    def _wait_for_greeting(self) -> None:
        if self._flight:
            self._flight = None
            self.conversation.next_event()

    def _fly(self, flight: Flight, user: str, argument: bytes) -> bytes:
        """Send the flight, and read the replies up to the login's; return its text."""
        conversation = self.conversation
        conversation.send("CAPA", ahead=True)
        conversation.send("AUTH", PLAIN, argument, ahead=True)
        for name in flight.following:
            conversation.send(name, ahead=True)
        conversation.flush()
        conversation.ahead.extend(flight.following)
        conversation.next_event()  # the greeting
        capabilities: Capabilities = {}
        try:
            with _within(flight.wait, conversation):
                conversation.reply()
            # The machine awaits the next status line, the login's, before a list counts as ended.
            with _within(max(VERDICT, flight.wait), conversation):
                capabilities = read_capabilities(conversation.blocks(), conversation.session.line_end)
        except ServerErrorResponse:
            pass
        with _within(max(VERDICT, flight.wait), conversation):
            event = conversation.next_event()
        if not isinstance(event, Reply):
            raise Lost("the server asks for what was sent with AUTH")
        if not event.status.ok:
            raise self._refusal(event.status, capabilities, user)
        if not conversation.has_more(flight.wait):
            raise Lost("the server does not reply to what followed the login")
        self._capa_was_answered = True
        self._learn(capabilities)
        self.capabilities_before_login, self._capabilities = capabilities, None
        return event.status.text

    def _refusal(self, status: StatusLine, capabilities: Capabilities, user: str) -> Exception:
        """Return what a refused AUTH means: it is no verdict if the server has no PLAIN any more."""
        refusal = self.conversation.refusal("AUTH", status)
        if refusal.code is None and not _offers_plain(capabilities):
            return Lost(str(refusal))
        if refusal.code is None and not refusal.is_temporary:
            self._failed()  # it may be about what was sent ahead: next time step by step
        return LoginRefused(PLAIN, refusal.text, refusal.code, user)

    def _batch(
        self, takers: Mapping[str, Callable[[StatusLine], object]], *, then_quit: bool = False
    ) -> dict[str, ServerErrorResponse]:
        if not self.conversation.ahead:
            return super()._batch(takers, then_quit=then_quit)
        try:
            return super()._batch(takers, then_quit=then_quit)
        except TimedOut:
            self._failed()
            raise
        except (ConnectionLost, ProtocolViolation, ServerErrorResponse) as error:
            if isinstance(error, ServerErrorResponse) and error.code:
                raise
            self._start_again(error)
            return super()._batch(takers, then_quit=then_quit)

    def _start_again(self, error: Exception) -> bytes:
        """Log in step by step, on a new connection."""
        self._failed()
        self.conversation.trace.note(f"{error}; again, step by step")
        self.reconnect()
        return self._log_in_step_by_step()


@contextmanager
def _within(seconds: float, conversation: Conversation) -> Iterator[None]:
    """Limit the wait for a reply."""
    transport = conversation.transport
    usual = transport.timeout
    transport.timeout = min(usual or seconds, seconds)
    try:
        yield
    except TimedOut as error:
        raise Lost(str(error)) from error
    finally:
        transport.timeout = usual
