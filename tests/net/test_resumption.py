"""TLS sessions that go on from earlier ones, counted by the server, and those that must not."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trustme

from pop3fetch.errors import CertificateError
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.resumption import MOST_LOSSES, Resumption
from pop3fetch.net.tls import TLSOptions, client_context, unverified_context
from pop3fetch.net.transport import Transport
from pop3fetch.pop3.login import LoginPolicy
from tests.support.certificates import identity
from tests.support.certificates import server_context as context_for
from tests.support.clock import Clock
from tests.support.scripted_server import ScriptedServer, StartServer, Talk
from tests.support.sessions import NEVER, connect

HOUR = 3600


class Visits:
    """A server that counts which sessions go on, and a client that visits it by a clock of its own."""

    def __init__(self, server: StartServer, *, loses: bool = False, **options: object) -> None:
        self.resumed: list[bool] = []
        self.clock = Clock(time.time())
        self.sessions = Resumption(self.clock, loses=loses)
        self.server: ScriptedServer = server(self._serve, tls="implicit", **options)

    def _serve(self, talk: Talk) -> None:
        self.resumed.append(talk.is_resumed)
        talk.say(b"+OK\r\n")

    def visit(
        self,
        context: ssl.SSLContext,
        name: str | None = None,
        *,
        pin: str | None = None,
        account: str = "alice",
    ) -> None:
        """Make a session, and read what the server sends."""
        transport = Transport(Endpoint(self.server.host, self.server.port, tls_name=name), NEVER)
        try:
            transport.start_tls(context, pin, partial(self.sessions.handshake, account))
            assert transport.read(time.monotonic() + NEVER) == b"+OK\r\n"
        finally:
            transport.close()


@pytest.fixture
def trusting(ca_file: Path) -> ssl.SSLContext:
    return client_context(TLSOptions(str(ca_file)))


@pytest.mark.parametrize(("loses", "looks"), [(False, 4), (True, 1)])
def test_each_session_goes_on_from_the_one_before(
    server: StartServer, trusting: ssl.SSLContext, loses: bool, looks: int
) -> None:
    visits = Visits(server, loses=loses)
    for _ in range(4):
        visits.visit(trusting)
    assert visits.resumed == [False, True, True, True]
    assert visits.sessions.looks == looks


def test_if_python_loses_sessions_few_are_looked_at(server: StartServer, trusting: ssl.SSLContext) -> None:
    visits = Visits(server, loses=True)
    visits.visit(trusting)
    visits.sessions.looks = MOST_LOSSES
    visits.clock.forward(25 * HOUR)
    for _ in range(3):
        visits.visit(trusting)
    assert visits.resumed == [False] * 4


def test_each_account_has_its_own_session(server: StartServer, trusting: ssl.SSLContext) -> None:
    visits = Visits(server)
    for account in ("alice", "bob", "alice", "bob"):
        visits.visit(trusting, account=account)
    assert visits.resumed == [False, False, True, True]


@pytest.mark.parametrize("loses", [False, True])
@pytest.mark.parametrize(
    ("hours", "resumed"),
    [
        ([23, 23], [False, True, False]),
        ([10, 10, 10, 10], [False, True, True, False, True]),
        ([-1, 0], [False, False, True]),
    ],
    ids=["day", "chain", "clock set back"],
)
def test_a_certificate_is_verified_once_a_day_at_least(
    server: StartServer, trusting: ssl.SSLContext, hours: Sequence[int], resumed: Sequence[bool], loses: bool
) -> None:
    visits = Visits(server, loses=loses)
    visits.visit(trusting)
    for wait in hours:
        visits.clock.forward(wait * HOUR)
        visits.visit(trusting)
    assert visits.resumed == resumed


def test_a_certificate_that_has_expired_is_verified_anew(
    server: StartServer, trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    end = datetime.now(UTC) + timedelta(hours=3)
    visits = Visits(server, context=context_for(authority, not_after=end))
    for _ in range(3):
        visits.visit(trusting)
        visits.clock.forward(2 * HOUR)
    assert visits.resumed == [False, True, False]


def test_a_session_that_was_not_verified_does_not_go_on(
    server: StartServer, trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    known = identity(authority)
    visits = Visits(server, context=known.context)
    unverified = unverified_context()
    for _ in range(2):
        visits.visit(unverified, pin=known.fingerprint)
    visits.visit(trusting)
    assert visits.resumed == [False] * 3


def test_a_session_goes_on_only_with_the_name_that_was_verified(
    server: StartServer, trusting: ssl.SSLContext, authority: trustme.CA
) -> None:
    visits = Visits(server, context=context_for(authority, "127.0.0.1", "mail.example.org"))
    visits.visit(trusting)
    visits.visit(trusting, "mail.example.org")
    with pytest.raises(CertificateError):
        visits.visit(trusting, "other.example.org")
    visits.visit(trusting, "mail.example.org")
    assert visits.resumed == [False, False, True]


def test_sessions_of_tls_1_2_do_not_go_on(
    server: StartServer, trusting: ssl.SSLContext, tls_1_2: ssl.SSLContext
) -> None:
    visits = Visits(server, context=tls_1_2)
    for _ in range(2):
        visits.visit(trusting)
    assert visits.resumed == [False, False]


def test_another_server_at_the_same_address_is_verified(
    server: StartServer, trusting: ssl.SSLContext, unknown_authority: trustme.CA
) -> None:
    visits = Visits(server)
    visits.visit(trusting)
    visits.server.stop()
    other = server(lambda talk: None, tls="implicit", context=context_for(unknown_authority),
                   port=visits.server.port)  # fmt: skip
    with pytest.raises(CertificateError):
        visits.visit(trusting)
    assert other.received == [b""]


def failing(talk: Talk) -> None:
    talk.line()
    talk.cut()


def hanging_up(talk: Talk) -> None:
    talk.drop()


@pytest.mark.parametrize("failure", [failing, hanging_up])
def test_a_server_that_fails_on_a_session_that_goes_on_is_called_again_without(
    server: StartServer, ca_file: Path, failure: Callable[[Talk], None]
) -> None:
    resumed = []

    def well(talk: Talk) -> None:
        talk.start_tls()
        resumed.append(talk.is_resumed)
        talk.say(b"+OK\r\n")
        talk.line()

    running, clock = server([well, failure, well, well, well, well]), Clock(time.time())
    sessions = Resumption(clock)

    def visit() -> None:
        policy = LoginPolicy(mode="implicit")
        connect(
            running, policy, ca_file, resume=partial(sessions.handshake, "alice"), pipelining=False
        ).close()

    for _ in range(3):
        visit()
    assert resumed == [False] * 3
    clock.forward(25 * HOUR)
    visit()
    visit()
    assert resumed == [False] * 4 + [True]
