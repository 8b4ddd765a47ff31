"""One POST to an OAuth 2 server: octets, limits, TLS, proxies, and no redirect."""

from __future__ import annotations

import gc
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from pop3fetch.account.oauth.http import LARGEST, post
from pop3fetch.ahead import Ahead, Interrupts
from pop3fetch.errors import ConnectionFailed, ProtocolViolation, TLSError
from pop3fetch.status import Status
from tests.support import certificates
from tests.support.command import PATIENCE
from tests.support.oauth_server import OAuthServer
from tests.support.scripted_server import Script, ScriptedServer, StartServer, Talk

FORM = "grant_type=refresh_token&refresh_token=s3cret"
SOON = 0.2  # seconds that a server which is too slow is given

# In Python 3.11.2, which Debian 12 has, http.client leaves a socket that could not connect to the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True, scope="module")
def collected() -> Iterator[None]:
    """Collect what these tests leave before one of another module."""
    yield
    gc.collect()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def secure(server_context: ssl.SSLContext) -> Iterator[OAuthServer]:
    with OAuthServer(context=server_context) as server:
        yield server


def saying(octets: bytes) -> Script:
    """Return the script of a server that answers any request with ``octets``."""

    def script(talk: Talk) -> None:
        while talk.line() not in (b"\r\n", b""):
            pass
        talk.say(octets)

    return script


def url(server: ScriptedServer) -> str:
    return f"http://{server.host}:{server.port}/token"


def test_the_form_is_sent_as_it_is(server: StartServer) -> None:
    started = server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
    answer = post(url(started), FORM)
    started.stop()
    (request,) = started.received
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /token HTTP/1.1"
    assert set(lines[1:]) == {
        b"Accept-Encoding: identity",
        b"Accept: application/json",
        b"Connection: close",
        b"Content-Length: 45",
        b"Content-Type: application/x-www-form-urlencoded",
        b"Host: 127.0.0.1:%d" % started.port,
        b"User-Agent: pop3fetch",
    }
    assert body == FORM.encode()
    assert (answer.url, answer.status, answer.body) == (url(started), 200, b"{}")


@pytest.mark.parametrize("status", [b"302 Found", b"307 Temporary Redirect", b"308 Permanent Redirect"])
def test_a_redirect_is_an_answer_and_not_followed(server: StartServer, status: bytes) -> None:
    elsewhere = server(saying(b""))
    location = url(elsewhere).encode()
    started = server(
        saying(b"HTTP/1.1 " + status + b"\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")
    )
    assert post(url(started), FORM).status == int(status[:3])
    assert elsewhere.talks == []


def test_an_error_is_an_answer_with_its_body(server: StartServer) -> None:
    started = server(saying(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nwhy"))
    answer = post(url(started), FORM)
    assert (answer.status, answer.body) == (400, b"why")


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"]
)
def test_a_huge_body_is_refused_and_not_read_to_its_end(server: StartServer, head: bytes) -> None:
    started = server(saying(head + b"x" * (LARGEST + 1)))
    with pytest.raises(ProtocolViolation, match=f"answered with more than {LARGEST} octets"):
        post(url(started), FORM)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_server_that_drips_is_given_up_in_time(server: StartServer, start: bytes) -> None:
    def script(talk: Talk) -> None:
        talk.say(start)
        talk.drip(b"HTTP/1.1 " * 10_000, every=SOON / 10)

    started = server(script)
    with pytest.raises(ConnectionFailed) as caught:
        post(url(started), FORM, SOON)
    assert str(caught.value) == (f"cannot connect to 127.0.0.1 port {started.port}: no answer within 0.2 s")
    assert caught.value.exit_status == Status.TRY_LATER


def test_a_silent_server_is_given_up_in_time(server: StartServer) -> None:
    started = server(Talk.stall)
    with pytest.raises(ConnectionFailed, match=r"no answer within 0\.2 s"):
        post(url(started), FORM, SOON)


def test_an_interrupt_does_not_wait_for_a_silent_server(server: StartServer) -> None:
    begun = threading.Event()

    def script(talk: Talk) -> None:
        begun.set()
        talk.stall()

    started = server(script)
    interrupts = Interrupts()
    waiting = Ahead(lambda: post(url(started), FORM, PATIENCE, interrupts))
    assert begun.wait(PATIENCE)
    interrupts.interrupt()
    with pytest.raises(KeyboardInterrupt):
        waiting.result(PATIENCE / 2)


def test_a_server_that_is_not_there_is_trouble_that_may_pass(server: StartServer) -> None:
    started = server([])
    started.stop()
    with pytest.raises(ConnectionFailed, match="Connection refused"):
        post(url(started), FORM)


def test_a_name_that_cannot_be_is_trouble_that_may_pass() -> None:
    with pytest.raises(ConnectionFailed, match=r"cannot connect to a\.\.b port 443"):
        post("https://a..b/token", FORM)


@pytest.mark.parametrize(
    "octets",
    [
        b"+OK ready\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_an_answer_that_is_not_http_is_a_broken_protocol(server: StartServer, octets: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="does not speak HTTP"):
        post(url(server(saying(octets))), FORM)


def test_a_connection_that_ends_before_the_answer_is_trouble_that_may_pass(server: StartServer) -> None:
    with pytest.raises(ConnectionFailed, match="closed connection without response"):
        post(url(server(saying(b""))), FORM)


def test_a_certificate_that_does_not_verify_is_refused_before_the_form_is_sent(secure: OAuthServer) -> None:
    with pytest.raises(TLSError) as caught:
        post(secure.endpoint("token"), FORM)
    assert str(caught.value) == "TLS with 127.0.0.1 failed: unable to get local issuer certificate"
    assert caught.value.exit_status == Status.PROTOCOL
    assert secure.requests == []


def test_a_certificate_of_another_host_is_refused(authority: trustme.CA, trusted: None) -> None:
    context = certificates.server_context(authority, "id.example.org")
    with OAuthServer(context=context) as server, pytest.raises(TLSError, match="IP address mismatch"):
        post(server.endpoint("token"), FORM)


def test_a_certificate_that_the_system_trusts_is_taken(secure: OAuthServer, trusted: None) -> None:
    assert post(secure.endpoint("token"), FORM).status == 400
    assert secure.forms("token") == [{"grant_type": "refresh_token", "refresh_token": "s3cret"}]


@pytest.fixture
def trusted(ca_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(ca_file))  # OpenSSL's own variable


def test_a_proxy_carries_https_as_a_tunnel(server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = server(saying(b"HTTP/1.1 403 Forbidden\r\n\r\n"))
    monkeypatch.setenv("https_proxy", f"http://{proxy.host}:{proxy.port}")
    with pytest.raises(ConnectionFailed, match="403 Forbidden"):
        post("https://id.example.org/token", FORM)
    proxy.stop()
    assert proxy.received[0].startswith(b"CONNECT id.example.org:443 HTTP/1.")
    assert b"s3cret" not in proxy.received[0]


def test_a_proxy_does_not_see_what_goes_to_loopback(
    server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = server([])
    monkeypatch.setenv("http_proxy", f"http://{proxy.host}:{proxy.port}")
    started = server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"))
    assert post(url(started), FORM).body == b"{}"


def test_an_answer_does_not_show_its_body(server: StartServer) -> None:
    started = server(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ns3cret"))
    assert "s3cret" not in repr(post(url(started), FORM))
