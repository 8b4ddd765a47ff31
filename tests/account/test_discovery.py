"""The servers that may have the mail of a domain: by SRV records, else by the usual names."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import dns.rcode
import pytest

from pop3fetch.account.discovery import MOST_TARGETS, Candidate, Search, candidates
from pop3fetch.errors import ServerNotFound
from pop3fetch.printable import printable
from pop3fetch.status import Status
from tests.support.dns_server import NameServer

POP3S, POP3 = "_pop3s._tcp.example.org", "_pop3._tcp.example.org"
SHORT = 0.05  # seconds

StartNames = Callable[..., NameServer]

USUAL_HOSTS = ("pop.example.org", "pop3.example.org", "mail.example.org", "example.org")
USUAL_TLS = [Candidate(host, 995, "implicit") for host in USUAL_HOSTS]
USUAL_STLS = [Candidate(host, 110, "starttls") for host in USUAL_HOSTS]


@pytest.fixture
def names() -> Iterator[StartNames]:
    """Start name servers."""
    with ExitStack() as servers:
        yield lambda *records, **options: servers.enter_context(NameServer(*records, **options))


def found(names: NameServer, **settings: Any) -> list[Candidate]:
    search = Search(**{"resolver": names.resolver(), **settings})
    return list(candidates("example.org", search).servers)


def test_srv_records_come_by_priority_and_tls_from_the_first_octet_first(names: StartNames) -> None:
    records = {
        POP3: ["0 1 110 old.example.org."],
        POP3S: ["20 1 995 second.example.org.", "10 1 1995 FIRST.example.org."],
    }
    assert found(names(records)) == [
        Candidate("first.example.org", 1995, "implicit"),
        Candidate("second.example.org", 995, "implicit"),
        Candidate("old.example.org", 110, "starttls"),
    ]


def test_of_one_priority_the_heavier_comes_first_more_often(names: StartNames) -> None:
    server = names({POP3S: ["0 1 995 light.example.org.", "0 9 995 heavy.example.org."]})
    random.seed(1)
    firsts = [found(server)[0].host for _ in range(60)]
    assert 42 <= firsts.count("heavy.example.org") < 60


def test_dns_names_the_servers_of_a_domain(names: StartNames) -> None:
    by_dns = names({POP3S: ["0 1 995 pop.example.org."]})
    assert candidates("example.org", Search(resolver=by_dns.resolver())).by_dns
    assert not candidates("example.org", Search(resolver=names().resolver())).by_dns


def test_without_records_the_usual_names_are_left(names: StartNames) -> None:
    server = names({POP3S: []})  # the name is there, and has other records
    assert found(server) == USUAL_TLS + USUAL_STLS
    assert server.asked == [POP3S, POP3]


def test_a_service_that_is_not_offered_is_not_guessed(names: StartNames) -> None:
    assert found(names({POP3S: ["0 0 0 ."]})) == USUAL_STLS
    assert found(names({POP3: ["0 0 0 ."]})) == USUAL_TLS


def test_one_service_that_is_not_offered_does_not_hide_the_other(names: StartNames) -> None:
    records = {POP3S: ["0 0 0 ."], POP3: ["0 1 110 pop.example.org."]}
    assert found(names(records)) == [Candidate("pop.example.org", 110, "starttls")]


def test_a_domain_without_pop3_has_no_server(names: StartNames) -> None:
    with pytest.raises(ServerNotFound, match=r"example\.org: its DNS says that it offers no POP3") as caught:
        found(names({POP3S: ["0 0 0 ."], POP3: ["0 0 0 ."]}))
    assert caught.value.exit_status is Status.NO_HOST


def test_a_mode_that_is_not_wanted_is_not_asked_for(names: StartNames) -> None:
    server = names()
    assert found(server, tls_modes=("starttls",)) == USUAL_STLS
    assert server.asked == [POP3]


def test_dns_may_be_left_alone(names: StartNames) -> None:
    server = names({POP3S: ["0 1 995 pop.example.org."]})
    assert found(server, asks_dns=False) == USUAL_TLS + USUAL_STLS
    assert server.asked == []


def test_dns_that_never_answers_is_given_up(names: StartNames) -> None:
    reports: list[str] = []
    begun = time.monotonic()
    assert found(names(silent=True), limit=SHORT, report=reports.append) == USUAL_TLS + USUAL_STLS
    assert time.monotonic() - begun < 5
    [report] = reports  # the second service is not asked for any more
    assert report.startswith(f"DNS did not answer for {POP3S}.: ")


def test_dns_that_fails_is_reported(names: StartNames) -> None:
    reports: list[str] = []
    server = names(rcode=dns.rcode.SERVFAIL)
    assert found(server, report=reports.append) == USUAL_TLS + USUAL_STLS
    assert len(reports) == 2
    assert candidates("example.org", Search(resolver=server.resolver())).unanswered


def test_dns_that_names_nothing_has_answered(names: StartNames) -> None:
    assert candidates("example.org", Search(resolver=names().resolver())).unanswered == ""


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (r"0 1 995 po\027]0\;p.example.org.", r"po\027]0\;p.example.org port 995"),
        (r"0 1 995 po\226\128\174p.example.org.", r"po\226\128\174p.example.org port 995"),
        (r"0 1 995 pop\.example.org.", r"pop\.example.org port 995"),
        (r"0 1 995 a\ b.example.org.", r"a\032b.example.org port 995"),
        ("0 1 995 192.0.2.1.", "192.0.2.1 port 995"),
        ("0 1 0 pop.example.org.", "pop.example.org port 0"),
    ],
)
def test_an_invalid_server_is_skipped_and_shown_harmlessly(
    names: StartNames, record: str, shown: str
) -> None:
    reports: list[str] = []
    server = names({POP3S: [record, "9 1 995 pop.example.org."]})
    assert found(server, report=reports.append) == [Candidate("pop.example.org", 995, "implicit")]
    assert reports == [f"{POP3S} names an invalid server: {shown}"]
    assert printable(reports[0], None) == reports[0]


def test_the_longest_names_are_names(names: StartNames) -> None:
    host = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert found(names({POP3S: [f"0 1 995 {host}."]})) == [Candidate(host, 995, "implicit")]


def test_of_very_many_records_the_first_ones_are_taken(names: StartNames) -> None:
    server = names({POP3S: [f"{number} 1 995 s{number}.example.org." for number in range(500)]})
    hosts = [candidate.host for candidate in found(server)]
    assert hosts == [f"s{number}.example.org" for number in range(MOST_TARGETS)]


def test_a_domain_too_long_for_dns_is_not_asked_for(names: StartNames) -> None:
    reports: list[str] = []
    server = names()
    search = Search(resolver=server.resolver(), report=reports.append)
    assert not candidates("x" * 64 + ".org", search).by_dns
    assert (server.asked, len(reports)) == ([], 2)


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("example.org", True),
        ("pop.example.org", True),
        ("evilexample.org", False),
        ("example.org.evil.net", False),
        ("org", False),
    ],
)
def test_a_server_is_inside_a_domain_or_not(host: str, inside: bool) -> None:
    assert Candidate(host, 995, "implicit").is_inside("example.org") is inside
