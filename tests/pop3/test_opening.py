"""How a session begins: the greeting, TLS from the first octet, and a certificate that is refused."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from pop3fetch.ahead import Ahead
from pop3fetch.errors import (
    CertificateError,
    ConfigurationError,
    ConnectionLost,
    GreetingRefused,
    LineTooLong,
    NotATLSPort,
    NothingToVerify,
    NotPOP3Server,
    POP3Error,
    TimedOut,
)
from pop3fetch.net.certificate import fingerprint_of
from pop3fetch.net.dial import Endpoint, dial
from pop3fetch.net.tls import TLSOptions
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.conversation import Server, Shortcut
from pop3fetch.pop3.login import LoginPolicy
from pop3fetch.status import Status
from tests.support.certificates import server_context as context_for
from tests.support.scripted_server import Script, ScriptedServer, StartServer, Talk
from tests.support.sessions import NEVER, SOON, capa, connect, everything_sent, greet, play, serve

EXPIRED = datetime(2020, 2, 29, tzinfo=UTC)


def silence(talk: Talk) -> None:
    talk.stall()


def saying(octets: bytes) -> Script:
    def script(talk: Talk) -> None:
        talk.say(octets)
        talk.stall()

    return script


# The greeting


@pytest.mark.parametrize(("mode", "pipelining"), [("off", True), ("off", False), ("implicit", False)])
def test_the_greeting_is_read_and_nothing_is_sent(
    mode: str, pipelining: bool, server: StartServer, ca_file: Path
) -> None:
    running = serve(server, saying(b"+OK ready <1@example.org>\r\n"), mode)
    with connect(running, LoginPolicy(mode), ca_file, pipelining=pipelining) as client:
        assert client.server_challenge == b"<1@example.org>"
        assert client.started_tls == (mode == "implicit")
    assert everything_sent(running) == [b""]


def test_inside_tls_capa_is_sent_before_the_greeting_arrives(server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        talk.expect(b"CAPA\r\n")
        talk.say(b"+OK ready <1@example.org>\r\n" + capa(b"SASL PLAIN", b"PIPELINING"))
        talk.stall()

    running = serve(server, script, "implicit")
    with connect(running, LoginPolicy("implicit"), ca_file) as client:
        assert client.server_challenge == b"<1@example.org>"
        assert client.capabilities() == {"SASL": ["PLAIN"], "PIPELINING": None}
        assert client.timeout == NEVER
    assert everything_sent(running) == [b"CAPA\r\n"]


def test_what_is_refused_before_the_greeting_is_asked_again(server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK ready\r\n")
        play(talk, (b"CAPA\r\n", b"-ERR wait for your turn\r\n"), (b"CAPA\r\n", capa(b"UIDL")))
        talk.stall()

    with connect(serve(server, script, "implicit"), LoginPolicy("implicit"), ca_file) as client:
        assert client.capabilities() == {"UIDL": None}


def hang_up(talk: Talk) -> None:
    talk.expect(b"CAPA\r\n")


def lose(talk: Talk) -> None:
    talk.expect(b"CAPA\r\n")
    talk.say(b"+OK ready\r\n")
    talk.stall()


def lose_half(talk: Talk) -> None:
    talk.expect(b"CAPA\r\n")
    talk.say(b"+OK ready\r\n+OK\r\nUIDL\r\n")
    talk.stall()


@pytest.fixture
def soon_overdue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait as briefly for the reply to an early CAPA, but no less for all else."""
    monkeypatch.setattr("pop3fetch.pop3.conversation.OVERDUE", SOON)


@pytest.mark.parametrize("first", [hang_up, lose, lose_half])
def test_a_server_that_fails_on_early_input_gets_a_second_connection(
    first: Script, server: StartServer, ca_file: Path, soon_overdue: None
) -> None:
    def second(talk: Talk) -> None:
        talk.say(b"+OK ready\r\n")
        play(talk, (b"CAPA\r\n", capa(b"UIDL")))
        talk.stall()

    running = serve(server, [first, second], "implicit")
    with connect(running, LoginPolicy("implicit"), ca_file) as client:
        assert client.capabilities() == {"UIDL": None}
        assert client.timeout == NEVER
    assert everything_sent(running) == [b"CAPA\r\n", b"CAPA\r\n"]


def test_that_it_cannot_is_reported_and_need_not_be_found_out_again(
    server: StartServer, ca_file: Path, soon_overdue: None
) -> None:
    def patient(talk: Talk) -> None:
        talk.say(b"+OK ready\r\n")
        talk.stall()

    lost: list[bool] = []
    running = serve(server, [lose, patient, patient], "implicit")
    for is_allowed in (True, False):
        early = Shortcut(is_allowed, lambda: lost.append(True))
        with connect(running, LoginPolicy("implicit"), ca_file, early=early):
            pass
    assert lost == [True]
    assert everything_sent(running) == [b"CAPA\r\n", b"", b""]


@pytest.mark.parametrize(
    ("greeting", "error", "words", "status"),
    [
        (b"-ERR [SYS/TEMP] later\r\n", GreetingRefused, "later", Status.TRY_LATER),
        (b"-ERR too many connections\r\n", GreetingRefused, "too many", Status.TRY_LATER),
        (b"-ERR go away\r\n", GreetingRefused, "go away", Status.REFUSED),
        (b"* OK IMAP4rev1 ready\r\n", NotPOP3Server, "IMAP", Status.PROTOCOL),
        (b"220 mail.example.org ESMTP\r\n", NotPOP3Server, "SMTP", Status.PROTOCOL),
        (b"HTTP/1.0 400 Bad Request\r\n", NotPOP3Server, "it speaks HTTP", Status.PROTOCOL),
        (b"\x15\x03\x03\x00\x02\x02\x0a", NotPOP3Server, "it speaks TLS", Status.PROTOCOL),
        (b"\x16\x03\x03\x00\x02\x02\x0a", NotPOP3Server, "it speaks TLS", Status.PROTOCOL),
        (b"hello", NotPOP3Server, "hello", Status.PROTOCOL),
        (b"+OK " + b"x" * 9000 + b"\r\n", LineTooLong, "longer", Status.BAD_DATA),
        (b"+OK " + b"x" * 9000, LineTooLong, "longer", Status.BAD_DATA),
    ],
)
def test_an_invalid_greeting_ends_the_connection_before_anything_is_sent(
    greeting: bytes, error: type[POP3Error], words: str, status: Status, server: StartServer
) -> None:
    running = server(saying(greeting))
    with pytest.raises(error, match=words) as raised:
        connect(running, LoginPolicy("off"))
    assert raised.value.exit_status is status
    assert everything_sent(running) == [b""]


def test_a_server_of_another_protocol_is_reported_with_its_port(server: StartServer) -> None:
    running = server(saying(b"* OK IMAP4rev1 ready\r\n"))
    with pytest.raises(NotPOP3Server) as raised:
        connect(running, LoginPolicy("off"))
    assert (raised.value.speaks, raised.value.port) == ("IMAP", running.port)


def test_a_server_that_waits_for_tls_gets_a_hint(server: StartServer) -> None:
    with pytest.raises(TimedOut, match="timed out") as raised:
        connect(server(silence), LoginPolicy("off"), timeout=SOON)
    assert raised.value.may_await_tls
    assert "waiting for the greeting of 127.0.0.1" in str(raised.value)


def test_a_server_that_is_silent_inside_tls_gets_none(server: StartServer, ca_file: Path) -> None:
    with pytest.raises(TimedOut) as raised:
        connect(serve(server, silence, "implicit"), LoginPolicy("implicit"), ca_file, timeout=SOON)
    assert not raised.value.may_await_tls
    assert "waiting for the greeting of 127.0.0.1" in str(raised.value)


@pytest.mark.parametrize("said", [b"", b"+OK rea"])
def test_a_server_that_hangs_up_is_a_lost_connection(said: bytes, server: StartServer) -> None:
    with pytest.raises(ConnectionLost, match="while waiting for the greeting"):
        connect(server(lambda talk: talk.say(said)), LoginPolicy("off"))


# TLS from the first octet


@pytest.mark.parametrize("mode", ["starttls", "implicit"])
def test_the_trace_shows_tls(mode: str, server: StartServer, ca_file: Path) -> None:
    told: list[tuple[str, bytes]] = []
    running = serve(server, lambda talk: greet(talk, mode), mode)
    with connect(
        running, LoginPolicy(mode), ca_file, trace=lambda mark, line: told.append((mark, line))
    ) as client:
        if mode == "starttls":
            client.begin_tls()
        client.capabilities()
    assert ("=", b"TLS: TLSv1.3") in told


def test_a_server_in_clear_text_on_the_port_of_tls_gets_a_hint(server: StartServer) -> None:
    running = server(saying(b"+OK ready\r\n"))
    with pytest.raises(NotATLSPort) as raised:
        connect(running, LoginPolicy("implicit"))
    assert raised.value.exit_status is Status.PROTOCOL


def test_a_context_may_be_brought_along(server: StartServer, authority: trustme.CA) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    running = serve(server, saying(b"+OK\r\n"), "implicit")
    with POP3Client.connect(running.host, running.port, ssl_context=context) as client:
        assert client.started_tls


def test_a_file_that_cannot_be_used_shows_before_anything_is_connected(server: StartServer) -> None:
    running = serve(server, silence, "implicit")
    with pytest.raises(ConfigurationError, match="missing"):
        connect(running, LoginPolicy("implicit"), tls=TLSOptions(ca_file="/missing.pem"))
    assert everything_sent(running) == []


def test_a_connection_in_the_background_is_closed_if_a_file_cannot_be_used(server: StartServer) -> None:
    arrived = threading.Event()

    def script(talk: Talk) -> None:
        arrived.set()
        talk.stall()

    running = server(script)
    endpoint = Endpoint(running.host, running.port)
    with pytest.raises(ConfigurationError, match="missing"):
        POP3Client(
            Server(
                endpoint,
                LoginPolicy("implicit"),
                tls=TLSOptions(ca_file="/missing.pem"),
                dialling=Ahead(lambda: dial(endpoint, NEVER)),
            )
        )
    assert arrived.wait(NEVER)
    assert everything_sent(running) == [b""]


def test_a_file_that_cannot_be_used_is_reported_before_stls_is_sent(server: StartServer) -> None:
    running = server(saying(b"+OK\r\n"))
    options, error = TLSOptions(ca_file="/missing.pem"), pytest.raises(ConfigurationError, match="missing")
    with connect(running, LoginPolicy("starttls"), tls=options) as client, error:
        client.login("alice", "secret")
    assert everything_sent(running) == [b""]


# A certificate that is refused

Refused = Callable[[str, ssl.SSLContext], tuple[ScriptedServer, CertificateError]]


def stls(talk: Talk) -> None:
    talk.say(b"+OK ready\r\n")
    play(talk, (b"STLS\r\n", b"+OK begin\r\n"))
    talk.start_tls()


@pytest.fixture
def refused(server: StartServer, ca_file: Path) -> Refused:
    """Serve a certificate that does not verify, and return its error."""

    def refuse(mode: str, context: ssl.SSLContext) -> tuple[ScriptedServer, CertificateError]:
        script = stls if mode == "starttls" else silence
        running = server(script, tls="implicit" if mode == "implicit" else None, context=context)
        with pytest.raises(CertificateError) as raised:
            connect(running, LoginPolicy(mode), ca_file).login("alice", "secret")
        return running, raised.value

    return refuse


BOTH = pytest.mark.parametrize("mode", ["starttls", "implicit"])


@BOTH
def test_a_certificate_by_an_unknown_authority_is_shown(
    mode: str, refused: Refused, unknown_authority: trustme.CA
) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    running, error = refused(
        mode, context_for(unknown_authority, "127.0.0.1", "a.example", not_after=tomorrow)
    )
    assert error.exit_status is Status.PROTOCOL
    shown = str(error)
    assert "local issuer" in shown
    assert "CN=" in shown or "O=" in shown
    assert "names 127.0.0.1 a.example" in shown
    assert "issuer " in shown
    assert f"expires {tomorrow:%Y-%m-%d}" in shown
    assert len(error.fingerprint) == 64
    assert error.cause == "authority"
    # Both connections, the second to look at the certificate, send only STLS.
    said = b"STLS\r\n" if mode == "starttls" else b""
    assert everything_sent(running) == [said, said]


@BOTH
def test_a_certificate_for_another_name_is_shown(mode: str, refused: Refused, authority: trustme.CA) -> None:
    _, error = refused(mode, context_for(authority, "other.example.org"))
    assert "127.0.0.1" in error.reason
    assert "names other.example.org" in str(error)


@BOTH
def test_a_certificate_that_has_expired_is_shown(mode: str, refused: Refused, authority: trustme.CA) -> None:
    made = EXPIRED - timedelta(days=90)
    _, error = refused(mode, context_for(authority, "127.0.0.1", not_before=made, not_after=EXPIRED))
    assert "expired" in error.reason
    assert "expires 2020-02-29" in str(error)


def test_the_fingerprint_that_is_shown_is_the_one_to_trust(
    refused: Refused, server: StartServer, unknown_authority: trustme.CA
) -> None:
    context = context_for(unknown_authority, "other.example.org")
    running, error = refused("implicit", context)
    running.stop()
    again = server(saying(b"+OK\r\n"), tls="implicit", context=context)
    with connect(again, LoginPolicy("implicit"), tls=TLSOptions(fingerprint=error.fingerprint)) as client:
        assert client.started_tls


@BOTH
def test_another_fingerprint_than_the_pinned_one_is_refused_before_anything_is_sent(
    mode: str, server: StartServer, server_context: ssl.SSLContext, ca_file: Path
) -> None:
    """The authority would vouch for the server, and its only connection shows the certificate."""
    running = server(stls if mode == "starttls" else silence, tls="implicit" if mode == "implicit" else None)
    options = TLSOptions(str(ca_file), fingerprint="ab" * 32)
    with pytest.raises(CertificateError, match="fingerprint does not match") as raised:
        connect(running, LoginPolicy(mode), tls=options).login("alice", "secret")
    assert raised.value.fingerprint in str(raised.value)
    assert everything_sent(running) == [b"STLS\r\n" if mode == "starttls" else b""]


@pytest.mark.parametrize(
    "then", [lambda talk: talk.close(), lambda talk: talk.say(b"-ERR busy\r\n")], ids=["closes", "refuses"]
)
def test_a_second_look_that_fails_leaves_the_refusal(
    then: Script, server: StartServer, unknown_authority: trustme.CA, ca_file: Path
) -> None:
    running = server([stls, then], context=context_for(unknown_authority))
    with pytest.raises(CertificateError) as raised:
        connect(running, LoginPolicy("starttls"), ca_file).login("alice", "secret")
    assert "local issuer" in raised.value.reason
    assert raised.value.fingerprint == ""


def test_a_second_look_takes_no_longer_than_the_user_would_wait(
    server: StartServer, unknown_authority: trustme.CA, ca_file: Path
) -> None:
    running = server([stls, silence], context=context_for(unknown_authority))
    begun = time.monotonic()
    with pytest.raises(CertificateError):
        connect(running, LoginPolicy("starttls"), ca_file, timeout=SOON).login("alice", "secret")
    assert time.monotonic() - begun < SOON + 2


# A UNIX socket has no name to check


def serve_unix(path: Path, context: ssl.SSLContext) -> threading.Thread:
    """Greet one client inside TLS."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def play_once() -> None:
        # OpenSSL 3.5 replies to a client that closes without a word, which nothing reads any more.
        with suppress(BrokenPipeError), listener, listener.accept()[0] as plain:
            plain.settimeout(NEVER)
            with context.wrap_socket(plain, server_side=True) as tls:
                tls.sendall(b"+OK ready\r\n" + capa())
                while tls.recv(100):
                    pass

    player = threading.Thread(target=play_once)
    player.start()
    return player


def test_tls_over_a_unix_socket_wants_a_fingerprint(tmp_path: Path) -> None:
    endpoint = Endpoint(f"unix:{tmp_path}/pop3", 0)
    with pytest.raises(NothingToVerify):
        POP3Client(Server(endpoint, LoginPolicy("implicit")))


def test_tls_over_a_unix_socket_is_pinned_by_its_fingerprint(tmp_path: Path, authority: trustme.CA) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf = authority.issue_cert("whatever.example.org")
    leaf.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
    player = serve_unix(tmp_path / "pop3", context)
    options = TLSOptions(fingerprint=fingerprint_of(der))
    with POP3Client(
        Server(Endpoint(f"unix:{tmp_path}/pop3", 0), LoginPolicy("implicit"), tls=options)
    ) as client:
        assert client.started_tls
    player.join()
