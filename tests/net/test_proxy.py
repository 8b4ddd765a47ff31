"""Connections through a proxy: what it receives, and what its refusals become."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Iterator

import pytest

from pop3fetch.errors import ConnectionFailed, ResolverFailed, TimedOut, UnknownHost
from pop3fetch.net.dial import Endpoint, dial
from pop3fetch.net.proxy import HEADER_LIMIT, called
from pop3fetch.values import without_login
from tests.support import microsocks
from tests.support.scripted_server import Script, ScriptedServer, StartServer, Talk
from tests.support.sessions import NEVER, SOON

USER, PASSWORD = "proxy user", "s3cret:word"
LOGIN = "proxy%20user:s3cret%3Aword@"
GREETING = b"+OK ready\r\n"
REPLIES = {
    1: "General SOCKS server failure",
    2: "Connection not allowed by ruleset",
    3: "Network unreachable",
    4: "Host unreachable",
    5: "Connection refused by destination host",
    6: "TTL expired",
}


def through(proxy: ScriptedServer, scheme: str, host: str = "mail.example.org", login: str = "") -> Endpoint:
    return Endpoint(host, 995, proxy=f"{scheme}://{login}{proxy.host}:{proxy.port}")


def line_of(endpoint: Endpoint, timeout: float | None = NEVER) -> bytes:
    """Return the first line of the server behind the proxy."""
    with dial(endpoint, timeout) as connected, connected.makefile("rb") as stream:
        return stream.readline()


# -- SOCKS5: a real proxy --------------------------------------------------------------------------


needs_microsocks = pytest.mark.skipif(bool(microsocks.missing()), reason=str(microsocks.missing()))


@pytest.fixture(scope="module")
def open_proxy() -> Iterator[str]:
    with microsocks.running() as port:
        yield f"socks5://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def guarded_proxy() -> Iterator[int]:
    with microsocks.running(USER, PASSWORD) as port:
        yield port


def greet(talk: Talk) -> None:
    talk.say(GREETING)


@needs_microsocks
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_real_proxy_leads_to_the_server(server: StartServer, open_proxy: str, host: str) -> None:
    assert line_of(Endpoint(host, server(greet).port, proxy=open_proxy)) == GREETING


@needs_microsocks
def test_a_real_proxy_takes_the_password_of_its_url(server: StartServer, guarded_proxy: int) -> None:
    endpoint = Endpoint("localhost", server(greet).port, proxy=f"socks5://{LOGIN}127.0.0.1:{guarded_proxy}")
    assert line_of(endpoint) == GREETING


@needs_microsocks
@pytest.mark.parametrize(
    ("login", "reason"),
    [
        ("proxy%20user:wr0ng@", "Username and password authentication failure"),
        ("", "No acceptable authentication methods"),
    ],
)
def test_a_real_proxy_that_wants_another_password_is_tried_later(
    server: StartServer, guarded_proxy: int, login: str, reason: str
) -> None:
    running = server(greet)
    endpoint = Endpoint("localhost", running.port, proxy=f"socks5://{login}127.0.0.1:{guarded_proxy}")
    with pytest.raises(ConnectionFailed) as raised:
        dial(endpoint, NEVER)
    assert reason in str(raised.value) and f"the proxy socks5://127.0.0.1:{guarded_proxy}: " in str(
        raised.value
    )
    assert "wr0ng" not in f"{raised.value} {raised.value!r}"
    assert running.talks == []


@needs_microsocks
def test_a_server_that_a_real_proxy_does_not_reach_is_refused(open_proxy: str, closed_port: int) -> None:
    with pytest.raises(
        ConnectionFailed, match=r"^cannot connect to localhost port \d+: the proxy .* refused"
    ):
        dial(Endpoint("localhost", closed_port, proxy=open_proxy), NEVER)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Return a port on which no process listens, and that no other can take."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


# -- SOCKS5: octet for octet -----------------------------------------------------------------------


def socks_request(host: bytes) -> bytes:
    return b"\x05\x01\x00\x03" + bytes([len(host)]) + host + (995).to_bytes(2, "big")


def socks_proxy(request: bytes, reply: bytes = b"\x05\x00\x00\x01\0\0\0\0\0\0") -> Script:
    """Return the script of a proxy that wants no password, and then is the server as well."""

    def script(talk: Talk) -> None:
        assert talk.take(3) == b"\x05\x01\x00"
        talk.say(b"\x05\x00")
        assert talk.take(len(request)) == request
        talk.say(reply + GREETING)

    return script


@pytest.mark.parametrize(
    ("host", "name"),
    [("mail.example.org", b"mail.example.org"), ("bücher.example", b"xn--bcher-kva.example")],
)
def test_a_socks_proxy_gets_the_name_unresolved(
    server: StartServer, host: str, name: bytes, no_resolver: list[str]
) -> None:
    proxy = server(socks_proxy(socks_request(name)))
    assert line_of(through(proxy, "socks5", host)) == GREETING
    assert no_resolver == [proxy.host]


@pytest.fixture
def no_resolver(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names that are looked up."""
    asked: list[str] = []
    getaddrinfo = socket.getaddrinfo

    def listening(host: bytes, port: int, *rest: int) -> object:
        asked.append(host.decode())
        return getaddrinfo(host, port, *rest)

    monkeypatch.setattr(socket, "getaddrinfo", listening)
    return asked


def test_a_socks_proxy_gets_an_address_as_one(server: StartServer) -> None:
    request = b"\x05\x01\x00\x04" + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + b"\x03\xe3"
    assert line_of(through(server(socks_proxy(request)), "socks5", "2001:db8::1")) == GREETING


def test_a_socks_proxy_gets_user_and_password(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        assert talk.take(4) == b"\x05\x02\x00\x02"
        talk.say(b"\x05\x02")
        assert talk.take(24) == b"\x01\x0aproxy user\x0bs3cret:word"
        talk.say(b"\x01\x00")
        talk.take(len(socks_request(b"mail.example.org")))
        talk.say(b"\x05\x00\x00\x01\0\0\0\0\0\0" + GREETING)

    assert line_of(through(server(script), "socks5", login=LOGIN)) == GREETING


@pytest.mark.parametrize("code", REPLIES)
def test_the_error_of_a_socks_proxy_is_shown(server: StartServer, code: int) -> None:
    request = socks_request(b"mail.example.org")
    proxy = server(socks_proxy(request, b"\x05" + bytes([code]) + b"\x00\x01\0\0\0\0\0\0"))
    with pytest.raises(ConnectionFailed, match=REPLIES[code]):
        dial(through(proxy, "socks5"), NEVER)


# -- HTTP ------------------------------------------------------------------------------------------


def http_proxy(reply: bytes, seen: list[bytes] | None = None) -> Script:
    """Return the script of a proxy that sends ``reply``; requests are added to ``seen``."""

    def script(talk: Talk) -> None:
        while (line := talk.line()) not in (b"\r\n", b""):
            if seen is not None:
                seen.append(line)
        talk.say(reply)

    return script


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("mail.example.org", b"mail.example.org"),
        ("bücher.example", b"xn--bcher-kva.example"),
        ("2001:db8::1", b"[2001:db8::1]"),
    ],
)
def test_an_http_proxy_gets_the_name_unresolved(
    server: StartServer, host: str, name: bytes, no_resolver: list[str]
) -> None:
    seen: list[bytes] = []
    proxy = server(http_proxy(b"HTTP/1.1 200 OK\r\n\r\n" + GREETING, seen))
    assert line_of(through(proxy, "http", host)) == GREETING
    assert seen[:2] == [b"CONNECT %s:995 HTTP/1.1\r\n" % name, b"Host: %s:995\r\n" % name]
    assert no_resolver == [proxy.host]


def test_an_http_proxy_gets_user_and_password(server: StartServer) -> None:
    seen: list[bytes] = []
    proxy = server(http_proxy(b"HTTP/1.1 200 OK\r\n\r\n" + GREETING, seen))
    login = "proxy%20user:s3cret%3Aw%C3%B6rd@"
    assert line_of(through(proxy, "http", login=login)) == GREETING
    basic = base64.b64encode("proxy user:s3cret:wörd".encode("latin-1"))
    assert b"Proxy-Authorization: Basic %s\r\n" % basic in seen


@pytest.mark.parametrize(
    "header",
    [
        b"HTTP/1.0 200 Connection established\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nVia: 1.1 proxy\r\nX-Padding: " + b"x" * 8000 + b"\r\n\r\n",
    ],
)
def test_a_greeting_in_one_packet_with_the_reply_is_not_lost(server: StartServer, header: bytes) -> None:
    assert line_of(through(server(http_proxy(header + GREETING)), "http")) == GREETING


def test_a_reply_that_comes_in_pieces_is_read_to_its_end(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        http_proxy(b"")(talk)
        talk.drip(b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\n" + GREETING, every=0.001)

    assert line_of(through(server(script), "http")) == GREETING


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Authentication Required"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"),
        (b"HTTP/1.1 502 \x1b[31mBad Gateway\r\n\r\n", r"502 \\x1b\[31mBad Gateway"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "204 No Content"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "Invalid status line"),
        (b"", "Invalid proxy response"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEADER_LIMIT, "its reply has no end"),
    ],
)
def test_the_error_of_an_http_proxy_is_shown(server: StartServer, reply: bytes, reason: str) -> None:
    with pytest.raises(ConnectionFailed, match=reason) as raised:
        dial(through(server(http_proxy(reply)), "http", login=LOGIN), NEVER)
    assert "s3cret" not in f"{raised.value} {raised.value!r} {raised.value.__cause__!r}"
    assert "\x1b" not in str(raised.value)


def test_a_login_that_is_not_utf8_is_not_shown_either(server: StartServer) -> None:
    with pytest.raises(ConnectionFailed):
        dial(through(server(Talk.close), "socks5", login="alice:s\udcff@"), NEVER)


def test_an_http_proxy_that_repeats_the_login_does_not_get_it_shown(server: StartServer) -> None:
    def repeating(talk: Talk) -> None:
        lines = iter(talk.line, b"\r\n")
        (login,) = [line.split()[-1] for line in lines if line.lower().startswith(b"proxy-authorization")]
        talk.say(b"HTTP/1.1 403 %s %s\r\n\r\n" % (login, base64.b64decode(login)))

    with pytest.raises(ConnectionFailed) as raised:
        dial(through(server(repeating), "http", login=LOGIN), NEVER)
    assert raised.value.reason.endswith("403 (secret) (secret)")


# -- both ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_a_password_that_cannot_be_sent_is_not_shown(server: StartServer, scheme: str) -> None:
    proxy = server(lambda talk: talk.stall() if scheme == "http" else offer_password(talk))
    with pytest.raises(ConnectionFailed, match="must be ASCII") as raised:
        dial(through(proxy, scheme, login="user:s%E2%98%83cret@"), NEVER)
    shown = f"{raised.value} {raised.value!r} {raised.value.__cause__!r} {raised.value.__context__!r}"
    assert "☃" not in str(raised.value) and "cret" not in shown and "2603" not in str(raised.value)


def offer_password(talk: Talk) -> None:
    talk.take(4)
    talk.say(b"\x05\x02")
    talk.stall()


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        ("socks5://h:1", "socks5://h:1"),
        ("socks5://alice:hidden@h:1", "socks5://***@h:1"),
        ("http://alice:hid%40den@[::1]:3128", "http://***@[::1]:3128"),
        ("http://alice:hid@den://@h:1", "http://***@h:1"),
    ],
)
def test_what_is_shown_of_a_proxy_has_no_password(proxy: str, shown: str) -> None:
    assert without_login(proxy, instead="***@") == shown
    assert called(f"{proxy}/") == f"the proxy {shown.replace('***@', '')}"


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_a_silent_proxy_is_given_up(server: StartServer, scheme: str) -> None:
    proxy = server(lambda talk: talk.stall())
    with pytest.raises(
        TimedOut, match=rf"after {SOON:g} s connecting through the proxy {scheme}://127\.0\.0\.1"
    ):
        dial(through(proxy, scheme, login=LOGIN), SOON)


@pytest.mark.parametrize(
    ("scheme", "reply"),
    [("socks5", b"\x05\x00\x05\x00\x00\x03\xff" + b"x" * 99), ("http", b"HTTP/1.1 200 OK")],
)
def test_one_deadline_covers_all_that_a_proxy_drips(server: StartServer, scheme: str, reply: bytes) -> None:
    proxy = server(lambda talk: talk.drip(reply, every=SOON * 0.6))
    begun = time.monotonic()
    with pytest.raises(TimedOut):
        dial(through(proxy, scheme), SOON)
    assert time.monotonic() - begun < 2 * SOON


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_without_a_time_out_a_slow_proxy_is_waited_for(server: StartServer, scheme: str) -> None:
    script = socks_proxy(socks_request(b"mail.example.org"))
    if scheme == "http":
        script = http_proxy(b"HTTP/1.1 200 OK\r\n\r\n" + GREETING)
    assert line_of(through(server(script), scheme), timeout=None) == GREETING


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_a_proxy_that_hangs_up_is_reported(server: StartServer, scheme: str) -> None:
    with pytest.raises(ConnectionFailed, match=f"the proxy {scheme}://"):
        dial(through(server(lambda talk: talk.cut()), scheme), NEVER)


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_a_proxy_that_cannot_be_reached_is_named(closed_port: int, scheme: str) -> None:
    proxy = f"{scheme}://{LOGIN}127.0.0.1:{closed_port}"
    expected = (
        "cannot connect to mail.example.org port 995: "
        f"the proxy {scheme}://127.0.0.1:{closed_port}: Connection refused"
    )
    with pytest.raises(ConnectionFailed) as raised:
        dial(Endpoint("mail.example.org", 995, proxy=proxy), NEVER)
    assert str(raised.value) == expected


def test_a_proxy_without_an_address_is_an_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(UnknownHost, match=r"proxy\.example: no such name"):
        dial(Endpoint("mail.example.org", 995, proxy="socks5://proxy.example:1080"), NEVER)


def test_a_proxy_whose_name_cannot_be_resolved_now_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def getaddrinfo(*_: object) -> object:
        raise socket.gaierror(socket.EAI_AGAIN, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(ResolverFailed, match=r"proxy\.example now: no answer"):
        dial(Endpoint("mail.example.org", 995, proxy="http://proxy.example:3128"), NEVER)


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_what_is_not_a_host_name_is_unknown_behind_a_proxy_too(server: StartServer, scheme: str) -> None:
    proxy = server(Talk.stall)
    with pytest.raises(UnknownHost):
        dial(Endpoint("büch\udcffer.example", 995, proxy=f"{scheme}://{proxy.host}:{proxy.port}"), NEVER)
    assert proxy.received == []


def test_the_address_family_is_the_proxys(server: StartServer) -> None:
    proxy = server(socks_proxy(socks_request(b"mail.example.org")), host="::1")
    way = f"socks5://[::1]:{proxy.port}"
    assert line_of(Endpoint("mail.example.org", 995, "ipv6", proxy=way)) == GREETING
    with pytest.raises(UnknownHost, match="::1"):
        dial(Endpoint("mail.example.org", 995, "ipv4", proxy=way), NEVER)


@pytest.mark.parametrize("scheme", ["socks5", "http"])
def test_no_connection_is_left_over(server: StartServer, scheme: str) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"\0\0\0\0\r\n\r\n")
        talk.stall()  # ends, and with it the server, only when the client has hung up

    running = server(script)
    with pytest.raises(ConnectionFailed):
        dial(through(running, scheme), NEVER)
    running.stop()
