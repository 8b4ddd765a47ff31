"""The client against a real Dovecot: every login, every way of TLS, and octets as they are stored."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest
import trustme

from pop3fetch.errors import (
    CertificateError,
    InsecureAuthenticationDisallowed,
    LoginRefused,
    MechanismNotOffered,
    ServerErrorResponse,
)
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.conversation import Server
from pop3fetch.pop3.login import LoginPolicy
from pop3fetch.status import Status
from tests.support.bare_client import BareClient
from tests.support.dovecot import USERS, Dovecot, has_apop
from tests.support.sessions import NEVER, WAYS

pytestmark = pytest.mark.dovecot

METHODS = ["user", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256"]
EACH_WAY = pytest.mark.parametrize("mode", WAYS)

# What a message may hold that a client may stumble over; Dovecot stores LF and sends CRLF. None
# begins with a dot: Dovecot 2.3 does not stuff the first line.
NASTY = [
    b"Subject: plain\n\nhello\n",
    b"Subject: no end of line\n\nhello",
    b"",
    b"\n",
    b"Subject: dots\n\n.\n..\n...\n.x\n",
    b"Subject: dot at the end\n\n.",
    b"Subject: replies\n\n+OK\n-ERR no\n+OK 12 octets\n",
    b"Subject: carriage returns\n\na\rb\r\r\nc\r\n.\r\n\r",
    b"Subject: octets\n\n" + bytes(range(256)) + b"\n",
    b"Subject: one line\n\n" + b"x" * 70_000 + b"\n",
    b"Subject: many lines\n\n" + b".\n" * 5_000,
]


def server(dovecot: Dovecot, policy: LoginPolicy, tls: TLSOptions | None = None) -> Server:
    port = dovecot.pop3s_port if policy.mode == "implicit" else dovecot.pop3_port
    options = tls or TLSOptions(str(dovecot.ca_file))
    return Server(Endpoint(dovecot.host, port), policy, NEVER, options)


def logged_in(dovecot: Dovecot, mode: str, method: str | None = None) -> POP3Client:
    client = POP3Client(server(dovecot, LoginPolicy(mode, method, allow_insecure=True)))
    try:
        client.login("alice", USERS["alice"])
    except BaseException:
        client.close()
        raise
    return client


def require_apop() -> None:
    if not has_apop():
        pytest.skip("this Dovecot has no APOP (2.4 has dropped it)")


# Logging in


@EACH_WAY
@pytest.mark.parametrize("method", [None, *METHODS])
def test_each_method_logs_in(method: str | None, mode: str, dovecot: Dovecot) -> None:
    with logged_in(dovecot, mode, method) as client:
        assert client.stat() == (0, 0)
        assert client.started_tls == (mode != "off")
        client.quit()


@pytest.mark.parametrize("mode", ["off", "auto", "implicit"])
def test_apop_logs_in(mode: str, dovecot: Dovecot) -> None:
    require_apop()
    with logged_in(dovecot, mode, "apop") as client:
        assert client.stat() == (0, 0)


@pytest.mark.parametrize(
    ("mode", "chosen"), [("auto", b"APOP alice (secret)"), ("implicit", b"AUTH SCRAM-SHA-256 (secret)")]
)
def test_the_strongest_method_is_chosen_and_its_secret_is_not_traced(
    mode: str, chosen: bytes, dovecot: Dovecot
) -> None:
    if chosen.startswith(b"APOP"):
        require_apop()
    told: list[bytes] = []
    traced = server(dovecot, LoginPolicy(mode))._replace(trace=lambda mark, line: told.append(line))
    with POP3Client(traced) as client:
        client.login("alice", USERS["alice"])
    assert chosen in told


def refusal(dovecot: Dovecot, mode: str, method: str) -> LoginRefused:
    with POP3Client(server(dovecot, LoginPolicy(mode, method, allow_insecure=True))) as client:
        with pytest.raises(LoginRefused) as raised:
            client.login("alice", "wrong")
        return raised.value


def test_a_wrong_secret_is_refused_whatever_the_method(dovecot: Dovecot) -> None:
    by_apop = [("off", "apop"), ("implicit", "apop")] if has_apop() else []
    ways = [*product(WAYS, METHODS), *by_apop]
    with ThreadPoolExecutor(len(ways)) as together:  # each is answered half a second late
        refusals = list(together.map(lambda way: refusal(dovecot, *way), ways))
    assert [refusal.exit_status for refusal in refusals] == [Status.NO_LOGIN] * len(ways)
    assert {refusal.code for refusal in refusals} == {b"AUTH"}


def test_apop_that_is_refused_goes_on_with_stls(dovecot: Dovecot) -> None:
    require_apop()
    with POP3Client(server(dovecot, LoginPolicy("auto"))) as client:
        with pytest.raises(LoginRefused) as raised:
            client.login("alice", "wrong")
        assert client.started_tls
    assert raised.value.command == "SCRAM-SHA-256"


def test_what_is_not_offered_or_not_wanted_is_refused_by_us(dovecot: Dovecot) -> None:
    for policy, error in (
        (LoginPolicy("implicit", "xoauth2"), MechanismNotOffered),
        (LoginPolicy("off", "plain"), InsecureAuthenticationDisallowed),
    ):
        with POP3Client(server(dovecot, policy)) as client, pytest.raises(error):
            client.login("alice", USERS["alice"])


# TLS


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
def test_the_session_and_the_certificate_are_described(mode: str, dovecot: Dovecot) -> None:
    with logged_in(dovecot, mode) as client:
        session = client.tls_session()
        assert session is not None
        assert session.version == "TLSv1.3"
        assert dovecot.host in session.certificate.names


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
def test_an_unknown_authority_is_refused_and_its_certificate_can_be_pinned(
    mode: str, dovecot: Dovecot, unknown_authority: trustme.CA, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    unknown_authority.cert_pem.write_to_path(str(other))
    with pytest.raises(CertificateError) as raised:
        POP3Client(server(dovecot, LoginPolicy(mode), TLSOptions(str(other)))).login("alice", "secret")
    pinned = TLSOptions(fingerprint=raised.value.fingerprint)
    with POP3Client(server(dovecot, LoginPolicy(mode), pinned)) as client:
        client.login("alice", USERS["alice"])
        assert client.started_tls


# Messages


@pytest.fixture
def bare(dovecot: Dovecot) -> Iterator[BareClient]:
    """Return a client that shares nothing with ours, to compare with."""
    with BareClient(dovecot.host, dovecot.pop3_port) as client:
        yield client


@EACH_WAY
def test_each_message_comes_octet_for_octet(mode: str, dovecot: Dovecot, bare: BareClient) -> None:
    dovecot.deliver("alice", NASTY)
    bare.login("alice", USERS["alice"])
    expected = [bare.ask_long(f"RETR {number}") for number in range(1, len(NASTY) + 1)]
    with logged_in(dovecot, mode) as client:
        for index, message in enumerate(expected):
            assert b"".join(client.iter_message(index)) == message
            assert client.retrieve(index) == message.split(b"\r\n")[: message.count(b"\r\n")]
            assert client.retrieve(index, lines=0) == bare.ask_long(f"TOP {index + 1} 0").split(b"\r\n")[:-1]
        client.quit()


def test_three_hundred_messages_are_pipelined(dovecot: Dovecot, bare: BareClient) -> None:
    count = 300
    messages = [b"Subject: %d\n\n" % number + NASTY[number % len(NASTY)] for number in range(count)]
    dovecot.deliver("alice", messages)
    bare.login("alice", USERS["alice"])
    expected = [bare.ask_long(f"RETR {number}") for number in range(1, count + 1)]
    for mode in WAYS:
        with logged_in(dovecot, mode) as client:
            sizes, unique_ids, unusable = client.overview()
            assert client.pipelines
            assert not unusable
            assert unique_ids is not None
            assert len(set(unique_ids)) == len(sizes) == count
            known = {index: size for index, size in enumerate(sizes) if size is not None}
            arrived = [b"".join(each.blocks) for each in client.retrieve_many(range(count), known)]
            assert arrived == expected
            tops = [b"".join(each.blocks).splitlines()[0] for each in client.top_many(range(count))]
            assert tops == [b"Subject: %d" % number for number in range(count)]
            client.quit()
    with logged_in(dovecot, "implicit") as client:
        client.capabilities()
        assert all(refusal is None for _, refusal in client.delete_many(range(0, count, 2), then_quit=True))
        assert client.quit() == b""
    assert dovecot.count("alice") == count // 2


def test_what_is_refused_leaves_the_session_usable(dovecot: Dovecot) -> None:
    dovecot.deliver("alice", NASTY[:1])
    with logged_in(dovecot, "implicit") as client:
        with pytest.raises(ServerErrorResponse):
            client.retrieve(7)
        assert client.delete(0)
        assert client.list_size() == []
        client.reset()
        (size,) = client.list_size()
        assert client.stat() == (1, size)
        client.noop()
        client.delete(0)
        client.close()
    assert dovecot.count("alice") == 1, "without QUIT nothing is deleted"
