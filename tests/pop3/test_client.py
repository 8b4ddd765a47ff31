"""The public client, call by call: what it sends, what it returns, what it raises."""

from __future__ import annotations

import collections.abc
import inspect
import re
import socket
import ssl
import threading
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from pop3fetch import POP3Client, errors, pop3
from pop3fetch.errors import (
    CertificateError,
    CommandNotAllowed,
    ConnectionFailed,
    ConnectionLost,
    InsecureAuthenticationDisallowed,
    InvalidArgument,
    LineTooLong,
    MalformedListing,
    PipeliningBroken,
    POP3Error,
    ServerErrorResponse,
    SessionEnded,
    TLSError,
    TLSNotSupportedError,
    UnknownHost,
)
from pop3fetch.pop3.login import LoginPolicy
from pop3fetch.pop3.machine import AUTHORIZATION, TRANSACTION, UPDATE
from pop3fetch.pop3.pipeline import WIDE
from pop3fetch.pop3.replies import Overview
from pop3fetch.status import Status
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import Script, StartServer, Talk
from tests.support.sessions import (
    NEVER,
    WAYS,
    after_login,
    capa,
    connect,
    everything_sent,
    greet,
    log_in,
    play,
    sent_after_login,
    serve,
)

EACH_WAY = pytest.mark.parametrize("mode", WAYS)

ONE = b"Subject: one\r\n\r\nhello\r\n"
NASTY = (
    b"Subject: =?utf-8?q?=C3=BC?=\r\n\r\n.\r\n..\r\n.x\r\nbare\nLF\n.\nmore\rCR\r\r\n\x00\xff\x80\r\n"
    + b"l" * 70_000
    + b"\r\n+OK\r\n-ERR\r\n"
)
EMPTY = b""
MESSAGES = [ONE, NASTY, EMPTY]


def lines_of(message: bytes) -> list[bytes]:
    return message.split(b"\r\n")[:-1]


def mailbox_session(
    mode: str, mailbox: Mailbox, server: StartServer, ca_file: Path, **options: Any
) -> POP3Client:
    """Return a client that is logged in to a well-behaved server."""
    client = connect(serve(server, mailbox, mode), LoginPolicy(mode, allow_insecure=True), ca_file, **options)
    client.login("alice", "secret")
    return client


# Connecting


def test_a_client_connects_by_name_and_sends_nothing_of_the_user(server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK ready <1.2@example.org>\r\n" + capa())
        talk.stall()

    running = server(script, tls="implicit")
    with POP3Client.connect("localhost", running.port, timeout=NEVER, ca_file=str(ca_file)) as client:
        assert client.state is AUTHORIZATION
        assert client.started_tls
        assert client.server_challenge == b"<1.2@example.org>"
        assert client.timeout == NEVER
        assert client.allow_insecure_login is False
        session = client.tls_session()
        assert session is not None
        assert session.version == "TLSv1.3"
    assert everything_sent(running) == [b"CAPA\r\n"]


def test_clear_text_has_no_tls_session(server: StartServer) -> None:
    running = server(lambda talk: talk.say(b"+OK ready\n"))
    with POP3Client.connect("localhost", running.port, tls="off", allow_insecure_login=True) as client:
        assert not client.started_tls
        assert client.tls_session() is None
        assert client.server_challenge is None
        assert client.allow_insecure_login is True


@pytest.mark.parametrize("mode", ["", "on", "STARTTLS", "ssl", "start-tls"])
def test_a_way_of_tls_that_does_not_exist_is_not_taken_for_none(mode: str, server: StartServer) -> None:
    running = server(lambda talk: talk.say(b"+OK ready\r\n"))
    with pytest.raises(ValueError, match="starttls"):
        POP3Client.connect("localhost", running.port, tls=mode)
    assert everything_sent(running) == []


@pytest.mark.parametrize(
    "settings",
    [
        {"auth": "ntlm"},
        {"auth": "PLAIN"},
        {"family": "ipv5"},
        {"timeout": -1},
        {"client_key": "me.pem"},
        {"fingerprint": "00:11"},
        {"proxy": "socks5://localhost"},
        {"proxy": "ftp://localhost:1"},
        {"ssl_context": ssl.create_default_context(), "ca_file": "ca.pem"},
        {"ssl_context": ssl.create_default_context(), "client_cert": "me.pem"},
    ],
    ids=" and ".join,
)
def test_a_setting_that_does_not_exist_is_a_value_error(
    settings: dict[str, Any], server: StartServer
) -> None:
    running = server(lambda talk: talk.say(b"+OK ready\r\n"))
    with pytest.raises(ValueError, match=next(iter(settings))) as raised:
        POP3Client.connect("localhost", running.port, **settings)
    assert not isinstance(raised.value, POP3Error)
    assert everything_sent(running) == []


def test_each_setting_of_connect_has_its_effect(server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        talk.expect(b"CAPA\r\n")
        talk.say(b"+OK ready\r\n" + capa(b"SASL PLAIN", b"UTF8", b"PIPELINING"))
        play(talk, (b"UTF8\r\n", b"+OK\r\n"), (b"USER alice\r\n", b"+OK\r\n"))
        play(talk, (b"PASS secret\r\n", b"+OK\r\n"), (b"NOOP\r\n", b"+OK\r\n"))

    running, lines = server(script, tls="implicit"), list[tuple[str, bytes]]()
    with POP3Client.connect(
        "localhost",
        running.port,
        ca_file=str(ca_file),
        family="ipv4",
        auth="user",
        utf8=True,
        timeout=NEVER,
        trace=lambda mark, line: lines.append((mark, line)),
    ) as client:
        client.login("alice", "secret")
        assert client.pipelines
        client.noop()
    assert (">", b"PASS (secret)") in lines
    assert everything_sent(running)[0].endswith(b"NOOP\r\n")


def test_a_fingerprint_takes_the_place_of_authorities(server: StartServer) -> None:
    running = server(lambda talk: talk.say(b"+OK ready\r\n"), tls="implicit")
    with pytest.raises(CertificateError) as raised:
        POP3Client.connect("localhost", running.port, fingerprint="0" * 64, pipelining=False)
    pin = raised.value.fingerprint
    with POP3Client.connect("localhost", running.port, fingerprint=pin, pipelining=False) as client:
        assert client.started_tls and not client.pipelines


def test_a_proxy_is_used(server: StartServer) -> None:
    with pytest.raises(ConnectionFailed, match=r"the proxy socks5://127\.0\.0\.1:1"):
        POP3Client.connect("mail.example.org", proxy="socks5://127.0.0.1:1", tls="off")


def test_all_types_of_the_public_calls_are_exported() -> None:
    hidden = {"Server", "Conversation"}  # of __init__, which connect() calls
    for name, call in vars(POP3Client).items():
        if not name.startswith("_") and inspect.isroutine(call):
            function = call.__func__ if isinstance(call, classmethod) else call
            words = set(re.findall(r"[A-Z]\w+", " ".join(map(str, function.__annotations__.values()))))
            known = {*dir(collections.abc), *dir(typing), "None", "SSLContext"}
            assert words - known <= {*pop3.__all__, *dir(errors)} - hidden, name
    assert all(getattr(pop3, name) for name in pop3.__all__)
    with pytest.raises(AttributeError, match="Nothing"):
        pop3.Nothing  # noqa: B018


@pytest.mark.parametrize(("tls", "port"), [("implicit", 995), ("auto", 110), ("starttls", 110), ("off", 110)])
def test_each_way_of_tls_has_its_port(tls: str, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def getaddrinfo(host: bytes, port: int, *_: object) -> object:
        asked.append(port)
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(UnknownHost):
        POP3Client.connect("mail.example.org", tls=tls)
    assert asked == [port]


@pytest.mark.parametrize(("seconds", "kept"), [(0, 0), (5, 5), (0.5, 0.5)])
def test_the_timeout_can_be_read_and_set(seconds: float, kept: float, server: StartServer) -> None:
    with POP3Client.connect("localhost", server(greets).port, tls="off", timeout=seconds) as client:
        assert client.timeout == kept
        client.timeout = 7
        assert client.conversation.transport.timeout == 7
        client.timeout = 0
        assert client.conversation.transport.timeout is None


def greets(talk: Talk) -> None:
    talk.say(b"+OK ready\r\n")
    talk.stall()


def test_with_closes_without_quit(server: StartServer) -> None:
    running = server(after_login(lambda talk: play(talk, (b"DELE 1\r\n", b"+OK\r\n"))))
    with log_in(running) as client:
        client.delete(0)
    with pytest.raises(SessionEnded):
        client.noop()
    assert sent_after_login(running) == b"DELE 1\r\n"


def test_with_closes_if_an_error_is_raised(server: StartServer) -> None:
    running = server(after_login(lambda talk: talk.stall()))
    with pytest.raises(ZeroDivisionError), log_in(running):
        raise ZeroDivisionError
    assert sent_after_login(running) == b""


# Every command: what it sends and what it makes of the reply

joined = b"".join
CALLS: list[tuple[Callable[[POP3Client], object], bytes, bytes, object]] = [
    (lambda client: client.stat(), b"STAT\r\n", b"+OK 3 1024\r\n", (3, 1024)),
    (lambda client: client.stat(), b"STAT\r\n", b"+OK 0 0 and more\r\n", (0, 0)),
    (lambda client: client.list_size(), b"LIST\r\n", b"+OK\r\n.\r\n", []),
    (lambda client: client.list_size(), b"LIST\r\n", b"+OK\r\n1 12\r\n3 9 x\r\n.\r\n", [12, None, 9]),
    (lambda client: client.list_uid(), b"UIDL\r\n", b"+OK\r\n2 B\r\n1 A\r\n3\r\n.\r\n", [b"A", b"B", b""]),
    (lambda client: client.retrieve(0), b"RETR 1\r\n", b"+OK\r\na\r\n..b\r\n\r\n.\r\n", [b"a", b".b", b""]),
    (lambda client: client.retrieve(9, lines=0), b"TOP 10 0\r\n", b"+OK\r\na\r\n\r\n.\r\n", [b"a", b""]),
    (lambda client: client.retrieve(9, lines=5), b"TOP 10 5\r\n", b"+OK\r\na\r\n.\r\n", [b"a"]),
    (lambda client: joined(client.iter_message(1)), b"RETR 2\r\n", b"+OK\r\n..\r\nb\r\n.\r\n", b".\r\nb\r\n"),
    (lambda client: joined(client.iter_message(1, lines=3)), b"TOP 2 3\r\n", b"+OK\r\na\r\n.\r\n", b"a\r\n"),
    (lambda client: client.delete(2), b"DELE 3\r\n", b"+OK marked\r\n", b"marked"),
    (lambda client: client.noop(), b"NOOP\r\n", b"+OK\r\n", b""),
    (lambda client: client.reset(), b"RSET\r\n", b"+OK all back\r\n", b"all back"),
    (lambda client: client.quit(), b"QUIT\r\n", b"+OK bye\r\n", b"bye"),
    (lambda client: client.send_short("XTND", "XMIT"), b"XTND XMIT\r\n", b"+OK\tready\r\n", b"ready"),
    (lambda client: client.send_short("LIST", 2), b"LIST 2\r\n", b"+OK 2 120\r\n", b"2 120"),
    (lambda client: client.send_short("uidl", 2), b"UIDL 2\r\n", b"+OK 2 abc\r\n", b"2 abc"),
    (lambda client: client.send_long("XLST"), b"XLST\r\n", b"+OK\r\n..a\r\nb\r\n.\r\n", [b".a", b"b"]),
    (lambda client: client.send_long("XLST", transform=len), b"XLST\r\n", b"+OK\r\na\r\n\r\n.\r\n", [1, 0]),
]  # fmt: skip


@EACH_WAY
@pytest.mark.parametrize(("call", "command", "reply", "result"), CALLS)
def test_each_call_sends_its_command_and_returns_the_reply(
    call: Callable[[POP3Client], object],
    command: bytes,
    reply: bytes,
    result: object,
    mode: str,
    server: StartServer,
    ca_file: Path,
) -> None:
    running = serve(server, after_login(lambda talk: play(talk, (command, reply)), mode), mode)
    with log_in(running, mode, ca_file) as client:
        assert call(client) == result
    assert sent_after_login(running) == command


REFUSABLE: list[tuple[Callable[[POP3Client], object], bytes]] = [
    *((call, command) for call, command, _, _ in CALLS if command != b"QUIT\r\n"),
    (lambda client: client.overview(), b"LIST\r\n"),
]


@pytest.mark.parametrize(("call", "command"), REFUSABLE)
def test_each_refusal_is_an_error_with_its_words_and_leaves_the_session_usable(
    call: Callable[[POP3Client], object], command: bytes, server: StartServer
) -> None:
    def script(talk: Talk) -> None:
        while (line := talk.line()) != b"QUIT\r\n":
            talk.say(b"-ERR [SYS/PERM] no\r\n" if line == command else b"+OK\r\n.\r\n")
        talk.say(b"+OK\r\n")

    with log_in(server(after_login(script))) as client:
        with pytest.raises(ServerErrorResponse) as raised:
            call(client)
        assert raised.value.command == command.split()[0].decode()
        assert (raised.value.text, raised.value.code) == (b"[SYS/PERM] no", b"SYS/PERM")
        client.quit()


@pytest.mark.parametrize("code", [b"", b"[AUTH] ", b"[IN-USE] "])
def test_the_calls_of_a_login_by_hand(code: bytes, server: StartServer) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK ready <1@x>\r\n")
        play(
            talk,
            (b"APOP alice c4c9334bac560ecc979e58001b3e22fb\r\n", b"-ERR " + code + b"no\r\n"),
            (b"USER alice\r\n", b"+OK who\r\n"),
            (b"PASS open sesame\r\n", b"+OK in\r\n"),
        )

    with connect(server(script), LoginPolicy("off")) as client:
        with pytest.raises(ServerErrorResponse):
            client.apop("alice", "c4c9334bac560ecc979e58001b3e22fb")
        assert client.user("alice") == b"who"
        assert client.state is AUTHORIZATION
        assert client.password("open sesame") == b"in"
        assert client.state is TRANSACTION


def test_an_apop_by_hand_logs_in(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK ready <1@x>\r\n")
        play(talk, (b"APOP alice 00\r\n", b"+OK in\r\n"))

    with connect(server(script), LoginPolicy("off")) as client:
        assert client.apop("alice", "00") == b"in"
        assert client.state is TRANSACTION


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda client: client.retrieve(0), CommandNotAllowed),
        (lambda client: client.stat(), CommandNotAllowed),
        (lambda client: client.user("alice\r\nQUIT"), InvalidArgument),
        (lambda client: client.user("a" * 300), InvalidArgument),
        (lambda client: client.send_short("US ER"), InvalidArgument),
    ],
)
def test_a_mistake_of_ours_sends_nothing_and_ends_nothing(
    call: Callable[[POP3Client], object], error: type[POP3Error], server: StartServer
) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK ready\r\n")
        play(talk, (b"QUIT\r\n", b"+OK\r\n"))

    running = server(script)
    with connect(running, LoginPolicy("off")) as client:
        with pytest.raises(error):
            call(client)
        client.quit()
    assert everything_sent(running) == [b"QUIT\r\n"]


@pytest.mark.parametrize("command", [("RETR", 1), ("LIST",), ("CAPA",)])
def test_a_reply_of_many_lines_is_not_taken_for_one(
    command: tuple[str | int, ...], server: StartServer
) -> None:
    running = server(after_login(lambda talk: play(talk, (b"NOOP\r\n", b"+OK\r\n"))))
    with log_in(running) as client:
        with pytest.raises(InvalidArgument, match="more than one line"):
            client.send_short(*command)  # type: ignore[arg-type]
        client.noop()
    assert sent_after_login(running) == b"NOOP\r\n"


@pytest.mark.parametrize("command", [("NOOP",), ("LIST", 1), ("DELE", 1)])
def test_a_reply_of_one_line_is_not_waited_for_as_if_it_were_many(
    command: tuple[str | int, ...], server: StartServer
) -> None:
    running = server(after_login(lambda talk: play(talk, (b"NOOP\r\n", b"+OK\r\n"))))
    with log_in(running) as client:
        with pytest.raises(InvalidArgument, match="one line"):
            client.send_long(*command)  # type: ignore[arg-type]
        client.noop()
    assert sent_after_login(running) == b"NOOP\r\n"


# Consumers


def test_a_consumer_gets_each_line_and_the_list_is_empty(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        message = b"+OK\r\na\r\n..b\r\n.\r\n"
        play(talk, (b"RETR 1\r\n", message), (b"TOP 1 0\r\n", message), (b"XLST\r\n", message))

    lines: list[object] = []
    with log_in(server(after_login(script))) as client:
        assert client.retrieve(0, lines.append) == []
        assert client.retrieve(0, lines.append, lines=0) == []
        assert client.send_long("XLST", consumer=lines.append, transform=len) == []
    assert lines == [b"a", b".b", b"a", b".b", 1, 2]


def test_a_consumer_gets_each_entry_by_index(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"LIST\r\n", b"+OK\r\n1 12\r\n7 9\r\n.\r\n"), (b"UIDL\r\n", b"+OK\r\n2 B\r\n1\r\n.\r\n"))

    entries: list[tuple[int, object]] = []
    with log_in(server(after_login(script))) as client:
        assert client.list_size(lambda index, size: entries.append((index, size))) == []
        assert client.list_uid(lambda index, uid: entries.append((index, uid))) == []
    assert entries == [(0, 12), (6, 9), (1, b"B"), (0, b"")]


@pytest.mark.parametrize(
    ("command", "lines"),
    [(b"RETR 1\r\n", (b"a\r\n", b"..\r\n", b"\r\n")), (b"LIST\r\n", (b"1 12\r\n", b"2 9\r\n", b"3 9\r\n"))],
)
def test_a_consumer_gets_each_line_when_it_is_complete(
    server: StartServer, command: bytes, lines: tuple[bytes, ...]
) -> None:
    taken = threading.Semaphore(0)

    def script(talk: Talk) -> None:
        talk.line()
        talk.say(b"+OK\r\n")
        for line in lines:
            talk.say(line)
            assert taken.acquire(timeout=NEVER), "a line was not passed on before the next one came"
        talk.say(b".\r\n")

    with log_in(server(after_login(script))) as client:
        if command.startswith(b"RETR"):
            client.retrieve(0, lambda line: taken.release())
        else:
            client.list_size(lambda index, size: taken.release())


@pytest.mark.parametrize(
    "call",
    [
        lambda client, consumer: client.retrieve(0, consumer),
        lambda client, consumer: client.list_size(lambda index, size: consumer(index)),
        lambda client, consumer: client.send_long("XLST", transform=consumer),
    ],
)
def test_a_consumer_that_raises_ends_the_session(
    call: Callable[[POP3Client, Callable[[object], None]], object], server: StartServer
) -> None:
    def script(talk: Talk) -> None:
        talk.line()
        talk.say(b"+OK\r\n1 1\r\n2 2\r\n")
        talk.stall()

    def consumer(entry: object) -> None:
        raise ZeroDivisionError

    with log_in(server(after_login(script))) as client:
        with pytest.raises(ZeroDivisionError):
            call(client, consumer)
        with pytest.raises(SessionEnded, match="not read to its end"):
            client.quit()


# Messages


@EACH_WAY
@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_comes_octet_for_octet(
    message: bytes, mode: str, server: StartServer, ca_file: Path
) -> None:
    mailbox = Mailbox([message], capabilities=[b"STLS"])
    with mailbox_session(mode, mailbox, server, ca_file) as client:
        assert client.retrieve(0) == lines_of(message)
        assert b"".join(client.iter_message(0)) == message
        (retrieval,) = client.retrieve_many([0])
        assert list(retrieval.blocks) == []  # passed over
        assert [b"".join(retrieval.blocks) for retrieval in client.retrieve_many([0])] == [message]
        client.quit()


def endless(talk: Talk) -> None:
    talk.line()
    talk.say(b"+OK\r\nSubject: one\r\n")
    talk.stall()


def test_a_message_that_is_left_before_its_end_ends_the_session(server: StartServer) -> None:
    running = server(after_login(endless))
    with log_in(running) as client:
        for block in client.iter_message(0):
            assert block.startswith(b"Subject")
            break
        with pytest.raises(SessionEnded, match="not read to its end"):
            client.quit()
    assert sent_after_login(running) == b"RETR 1\r\n"


def test_a_message_that_is_not_read_ends_the_session(server: StartServer) -> None:
    running = server(after_login(endless))
    with log_in(running) as client:
        unread = client.iter_message(0)
        with pytest.raises(SessionEnded, match="not read to its end"):
            client.delete(0)
        with pytest.raises(SessionEnded):
            next(unread)
    assert sent_after_login(running) == b"RETR 1\r\n"


# Errors that end the session


@pytest.mark.parametrize(
    ("call", "reply", "error"),
    [
        (lambda client: client.stat(), b"+OK 5\r\n", MalformedListing),
        (lambda client: client.stat(), b"+OK -1 2\r\n", MalformedListing),
        (lambda client: client.list_size(), b"+OK\r\n1 x\r\n.\r\n", MalformedListing),
        (lambda client: client.list_size(), b"+OK\r\n1 2\r\n1 2\r\n.\r\n", MalformedListing),
        (lambda client: client.list_size(), b"+OK\r\n0 2\r\n.\r\n", MalformedListing),
        (lambda client: client.list_uid(), b"+OK\r\n1 a\x07b\r\n.\r\n", MalformedListing),
        (lambda client: client.list_uid(), b"+OK\r\n1 " + b"u" * 9000 + b"\r\n.\r\n", LineTooLong),
        (lambda client: client.send_long("XLST"), b"+OK\r\n" + b"x" * 9000 + b"\r\n.\r\n", LineTooLong),
        (
            lambda client: client.capabilities(use_cache=False),
            b"+OK\r\n" + b"X\r\n" * 30_000,
            MalformedListing,
        ),
        (lambda client: client.noop(), b"+OK " + b"x" * 9000, LineTooLong),
    ],
)
def test_a_reply_that_cannot_be_ends_the_session(
    call: Callable[[POP3Client], object], reply: bytes, error: type[POP3Error], server: StartServer
) -> None:
    def script(talk: Talk) -> None:
        talk.line()
        talk.say(reply)
        talk.stall()

    running = server(after_login(script))
    with log_in(running) as client:
        with pytest.raises(error) as raised:
            call(client)
        assert raised.value.exit_status is Status.BAD_DATA
        with pytest.raises(SessionEnded):
            client.quit()
    assert b"QUIT" not in sent_after_login(running)


# QUIT


def test_quit_closes_and_later_calls_are_errors(server: StartServer) -> None:
    with log_in(server(after_login(lambda talk: play(talk, (b"QUIT\r\n", b"+OK\r\n"))))) as client:
        client.quit()
        assert client.state is UPDATE
        with pytest.raises(SessionEnded, match="QUIT"):
            client.noop()


def test_a_refused_quit_is_reported_and_closes(server: StartServer) -> None:
    reply = b"-ERR some deleted messages not removed\r\n"
    with log_in(server(after_login(lambda talk: play(talk, (b"QUIT\r\n", reply))))) as client:
        with pytest.raises(ServerErrorResponse, match="not removed") as raised:
            client.quit()
        assert raised.value.exit_status is Status.REFUSED
        assert client.state is TRANSACTION
        with pytest.raises(SessionEnded):
            client.noop()


def test_a_quit_before_the_login(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK\r\n")
        play(talk, (b"QUIT\r\n", b"+OK bye\r\n"))

    with connect(server(script), LoginPolicy("off")) as client:
        assert client.quit() == b"bye"


# Capabilities


def test_capabilities_are_asked_once_and_again_after_the_login(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off", b"SASL", b"TOP", b"EXPIRE NEVER", b"x-own a b")
        play(talk, (b"USER alice\r\n", b"+OK\r\n"), (b"PASS secret\r\n", b"+OK\r\n"))
        for _ in range(2):
            play(talk, (b"CAPA\r\n", capa(b"UIDL", b"PIPELINING")))

    running = server(script)
    with connect(running, LoginPolicy("off", allow_insecure=True)) as client:
        before = {"SASL": [], "TOP": None, "EXPIRE": ["NEVER"], "X-OWN": ["a", "b"]}
        assert client.capabilities() == before
        client.capabilities().clear()
        assert client.capabilities() == before
        assert client.offers("TOP") and not client.offers("UIDL")
        client.login("alice", "secret")
        assert client.capabilities() == {"UIDL": None, "PIPELINING": None}
        assert client.capabilities() == client.capabilities(use_cache=False)
        assert client.pipelines
    assert sent_after_login(running) == b"CAPA\r\nCAPA\r\n"


def test_a_server_without_capa_has_none_and_may_be_asked_for_anything(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK\r\n")
        play(talk, (b"CAPA\r\n", b"-ERR what?\r\n"))

    with connect(server(script), LoginPolicy("off")) as client:
        assert client.capabilities() == client.capabilities() == {}
        assert client.offers("UIDL")
        assert not client.pipelines


@pytest.mark.parametrize("mode", ["off", "implicit"])
@pytest.mark.parametrize("end", [lambda talk: None, lambda talk: talk.cut()])
def test_a_server_that_hangs_up_on_capa_is_not_asked_again(
    end: Script, mode: str, server: StartServer, ca_file: Path
) -> None:
    def first(talk: Talk) -> None:
        talk.say(b"+OK ready\r\n")
        talk.expect(b"CAPA\r\n")
        end(talk)

    def second(talk: Talk) -> None:
        talk.say(b"+OK ready\r\n")
        play(talk, (b"USER alice\r\n", b"+OK\r\n"), (b"PASS secret\r\n", b"+OK\r\n"))
        play(talk, (b"LIST\r\n", b"+OK\r\n1 7\r\n.\r\n"), (b"UIDL\r\n", b"+OK\r\n1 A\r\n.\r\n"))

    # Inside TLS it is asked twice: the first time might have been too early.
    running = serve(server, [first, first, second] if mode == "implicit" else [first, second], mode)
    with connect(running, LoginPolicy(mode, allow_insecure=True), ca_file) as client:
        client.login("alice", "secret")
        assert client.capabilities() == {}
        assert client.overview() == Overview([7], [b"A"])
        assert client.started_tls == (mode == "implicit")


def test_a_server_that_hangs_up_on_the_second_capa_is_lost(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off")
        talk.expect(b"CAPA\r\n")

    running = server(script)
    with connect(running, LoginPolicy("off")) as client:
        client.capabilities()
        with pytest.raises(ConnectionLost):
            client.capabilities(use_cache=False)
    assert len(everything_sent(running)) == 1


def test_a_server_that_hangs_up_on_capa_after_the_login_is_lost(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK\r\n")
        play(talk, (b"USER a\r\n", b"+OK\r\n"), (b"PASS b\r\n", b"+OK\r\n"))
        talk.expect(b"CAPA\r\n")

    running = server(script)
    with connect(running, LoginPolicy("off")) as client:
        client.user("a")
        client.password("b")
        with pytest.raises(ConnectionLost):
            client.capabilities()
    assert len(everything_sent(running)) == 1


# STLS by hand


def test_start_tls_forgets_what_was_received_in_clear_text(
    server: StartServer, authority: trustme.CA
) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK ready <1@x>\r\n")
        play(talk, (b"CAPA\r\n", capa(b"STLS", b"PIPELINING", b"X-FORGED")), (b"STLS\r\n", b"+OK\r\n"))
        talk.start_tls()
        play(talk, (b"CAPA\r\n", capa(b"USER")))

    context = ssl.create_default_context()
    authority.configure_trust(context)
    running = server(script)
    with connect(running, LoginPolicy("auto")) as client:
        assert client.server_challenge == b"<1@x>"
        assert client.start_tls(context) == {"USER": None}
        assert client.started_tls
        assert client.server_challenge is None
        assert not client.pipelines
        assert client.capabilities() == {"USER": None}
    assert everything_sent(running) == [b"CAPA\r\nSTLS\r\nCAPA\r\n"]


def test_start_tls_that_is_not_offered_is_not_tried(server: StartServer) -> None:
    running = server(lambda talk: greet(talk, "off", b"TOP"))
    with (
        connect(running, LoginPolicy("auto")) as client,
        pytest.raises(TLSNotSupportedError, match="does not offer"),
    ):
        client.start_tls()
    assert everything_sent(running) == [b"CAPA\r\n"]


@pytest.mark.parametrize("capabilities", [capa(b"STLS"), b"-ERR what?\r\n"])
def test_start_tls_that_is_refused_is_not_supported(capabilities: bytes, server: StartServer) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK\r\n")
        play(talk, (b"CAPA\r\n", capabilities), (b"STLS\r\n", b"-ERR not today\r\n"))
        talk.stall()

    running = server(script)
    with connect(running, LoginPolicy("auto")) as client:
        with pytest.raises(TLSNotSupportedError, match="not today") as raised:
            client.start_tls()
        assert raised.value.exit_status is Status.PROTOCOL
        assert not client.started_tls
    assert everything_sent(running) == [b"CAPA\r\nSTLS\r\n"]


def test_start_tls_that_fails_leaves_nothing_to_go_on_with(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off", b"STLS")
        play(talk, (b"STLS\r\n", b"+OK\r\n"))

    with connect(server(script), LoginPolicy("auto", allow_insecure=True)) as client:
        with pytest.raises(TLSError):
            client.start_tls()
        with pytest.raises(SessionEnded):
            client.user("alice")
        assert not client.started_tls


def test_start_tls_on_a_line_that_is_cut_does_not_end_in_clear_text(
    server: StartServer, ca_file: Path
) -> None:
    """A new connection without CAPA is for servers that hang up on it, never the end of TLS."""

    def script(talk: Talk) -> None:
        talk.say(b"+OK\r\n")
        play(talk, (b"STLS\r\n", b"+OK\r\n"))
        talk.start_tls()
        talk.expect(b"CAPA\r\n")
        talk.cut()

    running = server(script)
    with connect(running, LoginPolicy("auto"), ca_file) as client:
        client.begin_tls()
        with pytest.raises(ConnectionLost):
            client.capabilities()
        with pytest.raises(SessionEnded):
            client.user("alice")
    assert len(everything_sent(running)) == 1


def test_a_login_follows_a_start_tls_by_hand(server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK ready <1@x>\r\n")
        play(talk, (b"CAPA\r\n", capa(b"STLS")), (b"STLS\r\n", b"+OK\r\n"))
        talk.start_tls()
        play(talk, (b"CAPA\r\n", capa(b"SASL PLAIN")))
        assert talk.line().startswith(b"AUTH PLAIN ")
        talk.say(b"+OK\r\n")

    with connect(server(script), LoginPolicy("auto"), ca_file) as client:
        client.start_tls()
        client.login("alice", "secret")


def test_a_login_after_the_end_does_not_ask_for_a_password(server: StartServer) -> None:
    def password() -> str:
        pytest.fail("the password was asked for")

    with connect(server(lambda talk: greet(talk, "off")), LoginPolicy("off", allow_insecure=True)) as client:
        client.capabilities()
        client.close()
        with pytest.raises(SessionEnded):
            client.login("alice", password)


def test_a_login_that_is_not_made_leaves_the_session_usable(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off")
        play(talk, (b"QUIT\r\n", b"+OK\r\n"))

    with connect(server(script), LoginPolicy("off")) as client:
        with pytest.raises(InsecureAuthenticationDisallowed):
            client.login("alice", "secret")
        client.quit()


# Several commands at once


@EACH_WAY
@pytest.mark.parametrize("pipelining", [True, False])
def test_many_messages_come_in_the_order_that_was_asked_for(
    pipelining: bool, mode: str, server: StartServer, ca_file: Path
) -> None:
    messages = [b"Subject: %d\r\n\r\n%s" % (number, MESSAGES[number % 3]) for number in range(30)]
    mailbox = Mailbox(messages, capabilities=[b"STLS", b"TOP", b"PIPELINING"])
    running = serve(server, mailbox, mode)
    asked = [7, 3, 29, *range(10, 20), 0]
    with connect(running, LoginPolicy(mode, allow_insecure=True), ca_file, pipelining=pipelining) as client:
        client.login("alice", "secret")
        retrieved = [
            (retrieval.index, b"".join(retrieval.blocks))
            for retrieval in client.retrieve_many(asked, dict(enumerate(map(len, messages))))
        ]
        assert retrieved == [(index, mailbox.messages[index]) for index in asked]
        tops = [(top.index, b"".join(top.blocks)) for top in client.top_many(asked)]
        assert tops == [(index, b"Subject: %d\r\n\r\n" % index) for index in asked]
        assert client.delete_many(asked) == [(index, None) for index in asked]
        client.quit()
    running.stop()
    assert len(mailbox.messages) == 30 - len(asked)
    assert running.pipelined == pipelining
    sent = [line for line in running.commands if line.split()[0] in (b"RETR", b"TOP", b"DELE")]
    assert sent == [
        *(b"RETR %d\r\n" % (index + 1) for index in asked),
        *(b"TOP %d 0\r\n" % (index + 1) for index in asked),
        *(b"DELE %d\r\n" % (index + 1) for index in asked),
    ]


@pytest.mark.parametrize("capabilities", [None, [b"TOP", b"UIDL"]])
def test_a_server_without_pipelining_gets_one_command_at_a_time(
    capabilities: list[bytes] | None, server: StartServer, ca_file: Path
) -> None:
    running = server(Mailbox([ONE] * 20, capabilities=capabilities))
    with connect(running, LoginPolicy("off", allow_insecure=True)) as client:
        client.login("alice", "secret")
        client.overview()
        list(client.retrieve_many(range(20)))
        list(client.top_many(range(20), 3))
        client.delete_many(range(20), then_quit=True)
    running.stop()
    assert not running.pipelined
    assert running.commands[-1] == b"QUIT\r\n"
    assert b"TOP 20 3\r\n" in running.commands


def test_refusals_among_many_are_reported_one_by_one(server: StartServer, ca_file: Path) -> None:
    mailbox = Mailbox([ONE] * 3, replies={b"RETR 2\r\n": b"-ERR [SYS/TEMP] broken\r\n"})
    with mailbox_session("off", mailbox, server, ca_file) as client:
        seen = [(r.refusal, b"".join(r.blocks)) for r in client.retrieve_many([0, 1, 2, 3])]
        assert [octets for _, octets in seen] == [ONE, b"", ONE, b""]
        assert seen[0][0] is None
        refusal = seen[1][0]
        assert refusal is not None
        assert str(refusal) == "the server refused RETR 2: [SYS/TEMP] broken"
        assert refusal.exit_status is Status.TRY_LATER
        deleted = dict(client.delete_many([0, 4, 2]))
        assert (deleted[0], deleted[2]) == (None, None)
        assert isinstance(deleted[4], ServerErrorResponse)
        client.quit()
    assert len(mailbox.messages) == 1


def test_the_sizes_bound_what_is_under_way(server: StartServer) -> None:
    """Three messages that fill the window: the third is asked for when the first has come."""
    half = WIDE.octets // 2
    asked_early: list[bool] = []

    def script(talk: Talk) -> None:
        play(talk, (b"RETR 1\r\n", b""), (b"RETR 2\r\n", b""))
        asked_early.append(b"RETR 3" in talk.received)
        talk.say(b"+OK\r\n1\r\n.\r\n+OK\r\n2\r\n")
        play(talk, (b"RETR 3\r\n", b".\r\n+OK\r\n3\r\n.\r\n"))

    running = server(after_login(script, "off", b"PIPELINING"))
    with log_in(running) as client:
        blocks = [b"".join(r.blocks) for r in client.retrieve_many(range(3), dict.fromkeys(range(3), half))]
    assert blocks == [b"1\r\n", b"2\r\n", b"3\r\n"]
    assert asked_early == [False]


def test_many_that_are_left_in_the_middle_end_the_session(server: StartServer, ca_file: Path) -> None:
    with mailbox_session("off", Mailbox([ONE] * 5), server, ca_file) as client:
        for retrieval in client.retrieve_many(range(5)):
            assert retrieval.index == 0
            break
        with pytest.raises(SessionEnded):
            client.quit()


def test_replies_mixed_up_by_the_server_are_noticed(server: StartServer) -> None:
    """WildDuck 1.46 announces PIPELINING, and sends the next +OK before the dot that ends a message."""

    def script(talk: Talk) -> None:
        play(talk, (b"RETR 1\r\n", b""), (b"RETR 2\r\n", b"+OK\r\none\r\n+OK\r\n.\r\ntwo\r\n.\r\n"))
        talk.stall()

    whole: list[bytes] = []
    with log_in(server(after_login(script, "off", b"PIPELINING"))) as client:
        with pytest.raises(PipeliningBroken):
            whole.extend(b"".join(retrieval.blocks) for retrieval in client.retrieve_many([0, 1]))
        assert whole == []
        with pytest.raises(SessionEnded):
            client.quit()


# In one write, and with QUIT


def batch(expected: bytes, replies: bytes) -> Script:
    """Return a script that gets ``expected`` in one write, before it sends anything."""

    def script(talk: Talk) -> None:
        talk.line()
        arrived = bytes(talk.received).partition(b"PASS secret\r\n")[2]
        assert arrived == expected
        talk.say(replies)
        for _ in range(expected.count(b"\n") - 1):
            talk.line()

    return script


def test_stat_and_quit_go_in_one_write(server: StartServer) -> None:
    script = batch(b"STAT\r\nQUIT\r\n", b"+OK 2 30\r\n+OK bye\r\n")
    running = server(after_login(script, "off", b"PIPELINING"))
    with log_in(running) as client:
        assert client.stat(then_quit=True) == (2, 30)
        assert client.state is UPDATE
        assert client.quit() == b""
    assert sent_after_login(running) == b"STAT\r\nQUIT\r\n"


def test_stat_and_quit_are_sent_one_by_one_without_pipelining(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"STAT\r\n", b"+OK 2 30\r\n"), (b"QUIT\r\n", b"+OK bye\r\n"))

    running = server(after_login(script))
    with log_in(running) as client:
        assert client.stat(then_quit=True) == (2, 30)
        assert client.quit() == b"bye"
    assert not running.pipelined


OVERVIEW = b"+OK\r\nTOP\r\nUIDL\r\n.\r\n+OK\r\n1 12\r\n3 9\r\n.\r\n+OK\r\n1 A\r\n3 C\r\n.\r\n"


@EACH_WAY
def test_an_overview_is_asked_for_in_one_write(mode: str, server: StartServer, ca_file: Path) -> None:
    commands = b"CAPA\r\nLIST\r\nUIDL\r\n"
    script = batch(commands, OVERVIEW)
    running = serve(server, after_login(script, mode, b"PIPELINING"), mode)
    with log_in(running, mode, ca_file) as client:
        assert client.overview() == Overview([12, None, 9], [b"A", None, b"C"])
        assert client.capabilities() == {"TOP": None, "UIDL": None}
        assert client.pipelines  # announced before the login, and not withdrawn
    assert everything_sent(running)[0].endswith(commands)


def test_an_overview_of_a_server_without_capa_or_uidl_is_what_there_is(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        play(
            talk,
            (b"CAPA\r\n", b"-ERR\r\n"),
            (b"LIST\r\n", b"+OK\r\n1 5\r\n.\r\n"),
            (b"UIDL\r\n", b"-ERR\r\n"),
        )

    with log_in(server(after_login(script))) as client:
        assert client.overview() == Overview([5], None)
        assert client.capabilities() == {}


def test_an_overview_without_a_list_is_an_error_when_all_replies_are_there(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        for _ in range(3):
            talk.line()
        talk.say(b"+OK\r\n.\r\n-ERR [SYS/TEMP] locked\r\n+OK\r\n.\r\n")
        play(talk, (b"NOOP\r\n", b"+OK\r\n"))

    with log_in(server(after_login(script, "off", b"PIPELINING"))) as client:
        with pytest.raises(ServerErrorResponse, match=r"LIST: \[SYS/TEMP\] locked"):
            client.overview()
        client.noop()


def test_deletions_are_made_when_they_are_asked_for(server: StartServer, ca_file: Path) -> None:
    mailbox = Mailbox([ONE] * 3)
    with mailbox_session("off", mailbox, server, ca_file) as client:
        assert client.delete_many([0]) == [(0, None)]
        client.delete_many([2])
        client.quit()
    assert len(mailbox.messages) == 1


def test_deletions_and_quit_go_together(server: StartServer) -> None:
    script = batch(b"DELE 1\r\nDELE 2\r\nQUIT\r\n", b"+OK\r\n-ERR gone\r\n+OK bye\r\n")
    with log_in(server(after_login(script, "off", b"PIPELINING"))) as client:
        (first, refusal), (second, other) = client.delete_many([0, 1], then_quit=True)
        assert (first, refusal, second) == (0, None, 1)
        assert other is not None
        assert client.state is UPDATE
        assert client.quit() == b""


def test_a_quit_that_is_refused_behind_deletions_is_an_error(server: StartServer) -> None:
    script = batch(b"DELE 1\r\nQUIT\r\n", b"+OK\r\n-ERR not removed\r\n")
    told: list[int] = []
    with log_in(server(after_login(script, "off", b"PIPELINING"))) as client:
        with pytest.raises(ServerErrorResponse, match="QUIT: not removed"):
            told.extend(index for index, _ in client.iter_deletions([0], then_quit=True))
        assert told == [0]
        assert client.state is TRANSACTION


@pytest.mark.parametrize(
    ("capabilities", "refusal", "is_error"),
    [
        ((b"TOP",), b"-ERR no\r\n", False),
        ((b"TOP", b"UIDL"), b"-ERR no\r\n", True),
        ((b"TOP",), b"-ERR [SYS/TEMP] no\r\n", True),
        ((b"TOP",), b"-ERR try again later\r\n", True),
        (None, b"-ERR unknown command\r\n", False),
    ],
)
def test_a_refused_uidl_means_that_there_is_none_unless_the_record_contradicts(
    server: StartServer, capabilities: tuple[bytes, ...] | None, refusal: bytes, is_error: bool
) -> None:
    mailbox = Mailbox([b"x\r\n"], capabilities=capabilities, replies={b"UIDL\r\n": refusal})
    with log_in(server(mailbox)) as client:
        if not is_error:
            assert client.overview().unique_ids is None
            return
        with pytest.raises(ServerErrorResponse):
            client.overview()
