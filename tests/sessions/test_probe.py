"""Which of several servers exists: the best that greets inside TLS; none learns who the user is."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
import trustme

from pop3fetch.account.discovery import Candidate, Candidates
from pop3fetch.errors import (
    CertificateError,
    ConnectionFailed,
    GreetingRefused,
    POP3Error,
    ResolverFailed,
    ServerNotFound,
    TimedOut,
    TLSNotSupportedError,
)
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions
from pop3fetch.pop3.conversation import Server
from pop3fetch.pop3.login import LoginPolicy
from pop3fetch.sessions.probe import find
from pop3fetch.status import Status
from tests.support.certificates import server_context as context_of
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer, Talk

SHORT = 0.2  # seconds
WITH_STLS = (b"STLS", b"USER", b"SASL PLAIN")
NOBODY = Candidate("127.0.0.1", 1, "implicit")


def at(server: ScriptedServer, tls: str = "implicit") -> Candidate:
    return Candidate(server.host, server.port, tls)


class Finder:
    """Finds, trusting one authority; ``reports`` is what was passed over."""

    def __init__(self, ca_file: Path) -> None:
        self._tls = TLSOptions(str(ca_file))
        self.reports: list[tuple[Candidate, POP3Error]] = []

    def report(self, candidate: Candidate, error: POP3Error) -> None:
        self.reports.append((candidate, error))

    def __call__(self, *candidates: Candidate, by_dns: bool = False, limit: float = 5) -> Candidate:
        found = Candidates(candidates, by_dns)
        return find("example.org", found, self._server, self.report, limit)

    def _server(self, candidate: Candidate) -> Server:
        endpoint = Endpoint(candidate.host, candidate.port)
        return Server(endpoint, LoginPolicy(candidate.tls), timeout=5, tls=self._tls)


@pytest.fixture
def finder(ca_file: Path) -> Finder:
    return Finder(ca_file)


def test_the_first_server_that_answers_is_taken(finder: Finder, server: StartServer) -> None:
    first, second = server(Mailbox([]), tls="implicit"), server(Mailbox([]), tls="implicit")
    assert finder(NOBODY, at(first), at(second)) == at(first)
    [report] = finder.reports
    assert report[0] == NOBODY
    assert str(report[1]).startswith("cannot connect to 127.0.0.1 port 1: ")


def test_a_server_receives_nothing_of_the_user(finder: Finder, server: StartServer) -> None:
    implicit = server(Mailbox([]), tls="implicit")
    assert finder(at(implicit)) == at(implicit)
    implicit.wait()
    assert implicit.received == [b"CAPA\r\nQUIT\r\n"]


def test_only_stls_is_sent_outside_tls(finder: Finder, server: StartServer) -> None:
    plain = server(Mailbox([], capabilities=WITH_STLS))
    assert finder(at(plain, "starttls")) == at(plain, "starttls")
    plain.wait()
    assert plain.commands[:2] == [b"CAPA\r\n", b"STLS\r\n"]
    assert plain.commands[-1] == b"QUIT\r\n"


def test_a_server_without_stls_is_not_taken(finder: Finder, server: StartServer) -> None:
    plain = server(Mailbox([]))
    with pytest.raises(TLSNotSupportedError, match="it does not offer STLS"):
        finder(at(plain, "starttls"))
    assert b"USER" not in b"".join(plain.received)


def test_the_error_of_a_certificate_comes_before_those_of_other_servers(
    finder: Finder, server: StartServer, unknown_authority: trustme.CA
) -> None:
    forged = server(Mailbox([]), tls="implicit", context=context_of(unknown_authority))
    rude = server(Mailbox([], greeting=b"-ERR no\r\n"), tls="implicit")
    with pytest.raises(CertificateError):
        finder(NOBODY, at(rude), at(forged))


def test_a_good_server_is_found_behind_a_bad_certificate(
    finder: Finder, server: StartServer, authority: trustme.CA
) -> None:
    hosted = server(Mailbox([]), tls="implicit", context=context_of(authority, "pop.hoster.example"))
    good = server(Mailbox([]), tls="implicit")
    assert finder(at(hosted), at(good)) == at(good)


def test_a_silent_server_delays_others_only_shortly(finder: Finder, server: StartServer) -> None:
    silent, good = server(Talk.stall, tls="implicit"), server(Mailbox([]), tls="implicit")
    assert finder(at(silent), at(good), limit=SHORT * 5) == at(good)
    assert finder(at(good), at(silent), limit=60) == at(good)  # and not at all if it is no better
    with pytest.raises(TimedOut, match=r"timed out after 0\.2 s at the first contact with 127\.0\.0\.1"):
        finder(at(silent), by_dns=True, limit=SHORT)
    with pytest.raises(ServerNotFound):
        finder(at(silent), limit=SHORT)


def test_the_error_of_a_server_comes_before_those_of_missing_ones(
    finder: Finder, server: StartServer
) -> None:
    rude = server(Mailbox([], greeting=b"-ERR [SYS/TEMP] tomorrow\r\n"), tls="implicit")
    with pytest.raises(GreetingRefused):
        finder(NOBODY, at(rude))


def test_usual_names_without_a_server_are_listed(finder: Finder) -> None:
    with pytest.raises(ServerNotFound) as caught:
        finder(NOBODY, Candidate("127.0.0.1", 1, "starttls"))
    assert str(caught.value) == ("no POP3 server was found for example.org: no answer from 127.0.0.1")


def test_a_server_that_the_domain_names_may_be_there_later(finder: Finder) -> None:
    with pytest.raises(ConnectionFailed):
        finder(NOBODY, by_dns=True)


@pytest.fixture
def failing_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know no name, and answer for ``later.example`` that it is not known now."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == b"127.0.0.1":
            return real(host, *arguments, **options)
        code = socket.EAI_AGAIN if host == b"later.example" else socket.EAI_NONAME
        raise socket.gaierror(code, "it failed")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


LATER, NEVER = (Candidate(f"{name}.example", 995, "implicit") for name in ("later", "never"))


@pytest.mark.usefixtures("failing_resolver")
@pytest.mark.parametrize("by_dns", [True, False])
def test_a_name_that_cannot_be_resolved_now_may_be_there_later(finder: Finder, by_dns: bool) -> None:
    with pytest.raises(ResolverFailed) as caught:
        finder(NEVER, LATER, NOBODY, by_dns=by_dns)
    assert caught.value.exit_status is Status.TRY_LATER


@pytest.mark.usefixtures("failing_resolver")
def test_a_name_that_does_not_exist_is_not_there_later(finder: Finder) -> None:
    with pytest.raises(ServerNotFound):
        finder(NEVER, NOBODY)


def test_a_domain_whose_dns_did_not_answer_may_have_a_server(finder: Finder) -> None:
    found = Candidates((NOBODY,), by_dns=False, unanswered="SERVFAIL")
    with pytest.raises(ResolverFailed, match=r"example\.org now: SERVFAIL"):
        find("example.org", found, finder._server, finder.report)


def test_a_bug_is_not_an_absent_server(finder: Finder) -> None:
    wrong = Server(Endpoint("127.0.0.1", 1, family="ipv5"), LoginPolicy("off"))
    with pytest.raises(KeyError, match="ipv5"):
        find("example.org", Candidates((NOBODY,), by_dns=False), lambda _: wrong, finder.report)
