"""The errors of the protocol's core, word for word: a user sees nothing else of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pop3fetch.errors import POP3Error
from pop3fetch.pop3.login import Situation, next_step
from pop3fetch.pop3.machine import Session
from pop3fetch.pop3.replies import (
    parse_drop_listing,
    parse_scan_line,
    parse_unique_id_line,
    read_listing,
)
from pop3fetch.pop3.wire import LINE_LIMIT, command_line
from tests.support.segments import events

OK = b"+OK\r\n"


def told(octets: bytes, *commands: str) -> Session:
    """Return a session that sent ``commands`` and received ``octets``, up to the error that it raises."""
    session = Session()
    list(events(session, [b"+OK <1@host>\r\n"]))
    for command in commands:
        name, *numbers = command.split()
        session.send(name, *map(int, numbers))
    list(events(session, [octets]))
    return session


def logged_in() -> Session:
    session = told(OK, "PASS")
    assert session.state.value == "TRANSACTION"
    return session


def broken_pipe(octets: bytes) -> None:
    session = logged_in()
    session.send("DELE", 1)
    session.send("DELE", 2)
    list(events(session, [OK + octets]))


def greeted_by(octets: bytes) -> None:
    list(events(Session(), [octets]))


def unproven() -> None:
    next_step(Situation("implicit", tls_active=True, refused=frozenset({"USER"})))


BROKEN = "the server broke the protocol: "
SENTENCES: list[tuple[Callable[[], object], str]] = [
    (lambda: Session().send("NOOP"), "NOOP is not allowed in the AUTHORIZATION state"),
    (lambda: Session().send("QUIT"), "QUIT is not allowed in the WELCOME state"),
    (lambda: told(b"", "PASS", "CAPA"), "CAPA is not allowed in the PASS-is-not-answered state"),
    (lambda: told(b"").respond(b""), "a SASL response is not allowed in the WAITING state"),
    (lambda: logged_in().send("LIST", multiline=False), "cannot send LIST: its reply has more than one line"),
    (lambda: logged_in().send("STAT", multiline=True), "cannot send STAT: its reply has one line"),
    (lambda: command_line("X", "\ud800"), "cannot send X: an argument contains half a surrogate pair"),
    (lambda: command_line("X", "\n"), "cannot send X: an argument contains CR, LF or NUL"),
    (lambda: command_line("X", "x" * 300), "cannot send X: the line would be longer than 255 octets"),
    (lambda: told(OK + b"x", "STLS"), BROKEN + "octets before the TLS handshake: x"),
    (
        lambda: told(b"no\r\n", "CAPA"),
        BROKEN + "the reply to CAPA does not begin with a status indicator: no",
    ),
    (lambda: told(b"+OK\n", "CAPA"), BROKEN + "a bare LF ends a line: +OK"),
    (lambda: broken_pipe(b"a\n"), BROKEN + "a bare LF ends a line: a"),
    (lambda: broken_pipe(b"a\r\n"), BROKEN + "the reply to DELE 2 does not begin with a status indicator: a"),
    (
        lambda: greeted_by(b"hello world\r\n"),
        "this is not a POP3 server: its greeting is not +OK: hello world",
    ),
    (lambda: greeted_by(b"+OK\r\nx"), BROKEN + "octets that were not requested: x"),
    (lambda: greeted_by(b"-ERR\r\n"), "the server refused the connection: it gave no reason"),
    (lambda: parse_drop_listing(b"5"), BROKEN + "the reply to STAT does not begin with two numbers: 5"),
    (lambda: parse_unique_id_line(b"x y"), BROKEN + "a line of UIDL is not a number and a unique-id: x y"),
    (
        lambda: read_listing([b"1 1" + b" " * LINE_LIMIT], parse_scan_line, b"\r\n"),
        BROKEN + "a line of a list is longer than 8192 octets",
    ),
    (unproven, "the server refused every method that it offers"),
    (
        lambda: next_step(Situation("implicit", "apop", tls_active=True)),
        "the greeting of the server has no valid challenge for APOP; it offers no SASL mechanism",
    ),
    (
        lambda: next_step(Situation("auto", "apop", tls_active=True, challenge_forgotten=True)),
        "no APOP after STLS: the challenge was received in clear text, and may be forged",
    ),
]


@pytest.mark.parametrize(("trouble", "sentence"), SENTENCES, ids=[sentence for _, sentence in SENTENCES])
def test_each_error_has_its_sentence(trouble: Callable[[], object], sentence: str) -> None:
    with pytest.raises(POP3Error) as raised:
        trouble()
    assert str(raised.value) == sentence


def test_what_is_awaited_is_named_with_its_message() -> None:
    session = logged_in()
    session.send("RETR", 7)
    session.send("NOOP")
    assert [str(awaited) for awaited in session.awaited] == ["RETR 7", "NOOP"]


def test_a_line_of_a_list_may_be_as_long_as_its_limit() -> None:
    assert read_listing([b"1 1".ljust(LINE_LIMIT), b"\r\n"], parse_scan_line, b"\r\n") == [1]
