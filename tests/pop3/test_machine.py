"""The state machine: every state, every command, every framing, however the octets arrive."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.errors import (
    CommandNotAllowed,
    GreetingRefused,
    InvalidArgument,
    LineTooLong,
    NotPOP3Server,
    PipeliningBroken,
    POP3Error,
    ProtocolViolation,
    SessionEnded,
)
from pop3fetch.pop3.machine import (
    AUTHORIZATION,
    COMMANDS,
    TRANSACTION,
    UPDATE,
    Challenge,
    Content,
    End,
    Event,
    Greeting,
    Reply,
    ResponseState,
    Session,
    SessionState,
)
from pop3fetch.pop3.wire import CRLF, LF, LINE_LIMIT, StatusLine
from pop3fetch.status import Status
from tests.support.segments import (
    Heard,
    asking,
    assert_it_is_over,
    events,
    feed,
    having_heard,
    hear,
    in_pieces,
    in_state,
)

OK = StatusLine(True, b"")
NEARLY_TOO_LONG = b"+OK ".ljust(LINE_LIMIT - 20, b"x")
SIZES = st.lists(st.integers(1, 9), min_size=1)


# -- the greeting --------------------------------------------------------------------------------


def test_before_the_greeting_nothing_is_known_of_the_server() -> None:
    session = Session()
    assert (session.state, session.response, session.greeted) == (AUTHORIZATION, ResponseState.WELCOME, False)
    assert (session.greeting, session.challenge, session.challenge_forgotten) == (b"", None, False)
    assert not session.has_more
    session.tls_started()
    assert session.challenge_forgotten is False


def test_before_the_greeting_only_capa_may_be_sent() -> None:
    session = Session()
    for name in ("USER", "STLS", "QUIT"):
        with pytest.raises(CommandNotAllowed, match="WELCOME"):
            session.send(name)
    assert not session.awaited
    assert session.send("CAPA") == b"CAPA\r\n"
    assert session.response is ResponseState.WELCOME
    assert feed(session, [b"+OK ready\r\n+OK\r\nUIDL\r\n.\r\n"]) == Heard(
        (Greeting(b"ready", None), Reply("CAPA", OK), Content(b"UIDL\r\n"), End("CAPA"))
    )


@pytest.mark.parametrize("line_end", [CRLF, LF])
@pytest.mark.parametrize(
    ("line", "text", "challenge"),
    [
        (b"+OK", b"", None),
        (b"+OK POP3 ready", b"POP3 ready", None),
        (b"+ok   ready  ", b"ready  ", None),
        (b"+OK ready <1.2@example.org>", b"ready <1.2@example.org>", b"<1.2@example.org>"),
        (b"+OK <1 2@example.org>", b"<1 2@example.org>", None),
        (b"+OK <12>", b"<12>", None),
        (b"+OK <1@example.org", b"<1@example.org", None),
        (b"+OK <1\xe92@example.org>", b"<1\xe92@example.org>", None),
        (b"+OK \0\x1b[31m", b"\0\x1b[31m", None),
        (b"+OK [IN-USE] you are logged in already", b"[IN-USE] you are logged in already", None),
    ],
)
def test_the_greeting_is_received(line: bytes, text: bytes, challenge: bytes | None, line_end: bytes) -> None:
    assert hear(Session, line + line_end) == Heard((Greeting(text, challenge),))
    session = Session()
    feed(session, [line + line_end])
    assert (session.state, session.response, session.greeted) == (AUTHORIZATION, ResponseState.WAITING, True)
    assert (session.challenge, session.line_end) == (challenge, line_end)


@pytest.mark.parametrize(("greeting", "had_one"), [(b"+OK <1@example.org>\r\n", True), (b"+OK\r\n", False)])
def test_tls_makes_the_challenge_forgotten(greeting: bytes, had_one: bool) -> None:
    session = Session()
    feed(session, [greeting])
    assert not session.challenge_forgotten
    session.tls_started()
    assert session.challenge is None
    assert session.challenge_forgotten is had_one


@pytest.mark.parametrize(
    ("greeting", "text", "code", "status"),
    [
        (b"-ERR\r\n", b"", None, Status.REFUSED),
        (b"-ERR go away\r\n", b"go away", None, Status.REFUSED),
        (b"-err [SYS/TEMP] disk full\r\n", b"[SYS/TEMP] disk full", b"SYS/TEMP", Status.TRY_LATER),
        (b"-ERR [in-use] locked\n", b"[in-use] locked", b"in-use", Status.TRY_LATER),
    ],
)
def test_a_refusing_greeting_is_an_error_with_the_servers_words(
    greeting: bytes, text: bytes, code: bytes | None, status: Status
) -> None:
    heard = hear(Session, greeting)
    assert heard.events == ()
    assert isinstance(heard.error, GreetingRefused)
    assert (heard.error.text, heard.error.code, heard.error.exit_status) == (text, code, status)
    assert heard.error.command == "the connection"


@pytest.mark.parametrize(
    ("octets", "what"),
    [
        (b"* OK [CAPABILITY IMAP4rev1] ready\r\n", "it speaks IMAP"),
        (b"* PREAUTH hello\r\n", "it speaks IMAP"),
        (b"* BYE hello\r\n", "it speaks IMAP"),
        (b"220 mail.example.org ESMTP\r\n", "it speaks SMTP or FTP"),
        (b"554 no\r\n", "it speaks SMTP or FTP"),
        (b"421 no\r\n", "it speaks SMTP or FTP"),
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", "it speaks HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", "it speaks TLS"),
        (b"\x16\x03\x03\x00\x7a\x02\x00", "it speaks TLS"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "its greeting is not +OK"),
        (b"+OKAY\r\n", "its greeting is not +OK"),
        (b"+OK\r\r\n", "its greeting is not +OK"),
        (b"-ERROR\r\n", "its greeting is not +OK"),
        (b"+ERR\r\n", "its greeting is not +OK"),
        (b" +OK\r\n", "its greeting is not +OK"),
        (b"+\r\n", "its greeting is not +OK"),
        (b"\r\n", "its greeting is not +OK"),
        (b"\n", "its greeting is not +OK"),
        (b"\0\xff\xfe", "its greeting is not +OK"),
        (b"* X\r\n", "its greeting is not +OK"),
        (b"x" * 100, "its greeting is not +OK"),
    ],
)
def test_another_protocol_is_named_however_its_octets_arrive(octets: bytes, what: str) -> None:
    heard = hear(Session, octets)
    assert heard.events == ()
    assert isinstance(heard.error, NotPOP3Server)
    assert heard.error.what.startswith(what)
    assert (one := feed(Session(), in_pieces(octets, [1])).error) and what in str(one)


@pytest.mark.parametrize("line_end", [CRLF, LF])
def test_a_greeting_may_have_8192_octets_and_no_more(line_end: bytes) -> None:
    make = having_heard(Session, NEARLY_TOO_LONG)
    last = b"x" * (LINE_LIMIT - len(NEARLY_TOO_LONG + line_end)) + line_end
    assert hear(make, last) == Heard((Greeting((NEARLY_TOO_LONG + last)[4 : -len(line_end)], None),))
    for too_long in (b"x" + last, b"x" * 100):
        heard = hear(make, too_long)
        assert (heard.events, type(heard.error)) == ((), LineTooLong)


def test_the_line_end_of_the_greeting_decides_for_the_whole_connection() -> None:
    by_crlf, by_lf = in_state(AUTHORIZATION, CRLF), in_state(AUTHORIZATION, LF)
    for session in (by_crlf, by_lf):
        session.send("CAPA")
    assert type(feed(by_crlf, [b"+OK\nTOP\n.\n"]).error) is ProtocolViolation
    assert feed(by_lf, [b"+OK\nTOP\n.\n"]) == Heard((Reply("CAPA", OK), Content(b"TOP\n"), End("CAPA")))


def test_a_bare_lf_inside_the_greeting_line_leaves_octets_that_were_not_requested() -> None:
    heard = feed(Session(), [b"+OK hello\nworld\r\n"])
    assert heard.events == (Greeting(b"hello", None),)
    assert type(heard.error) is ProtocolViolation


# -- status lines --------------------------------------------------------------------------------


@pytest.mark.parametrize("line_end", [CRLF, LF])
@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"+OK", OK),
        (b"+OK ", OK),
        (b"+ok", OK),
        (b"+OK one two", StatusLine(True, b"one two")),
        (b"+OK    one  two ", StatusLine(True, b"one  two ")),
        (b"+OK\tone", StatusLine(True, b"one")),
        (b"+OK a\0b\rc\xff", StatusLine(True, b"a\0b\rc\xff")),
        (b"-ERR", StatusLine(False, b"")),
        (b"-Err   gone", StatusLine(False, b"gone")),
        (b"-ERR [SYS/PERM] gone", StatusLine(False, b"[SYS/PERM] gone")),
    ],
)
def test_a_status_line_is_received(line: bytes, status: StatusLine, line_end: bytes) -> None:
    assert hear(asking("NOOP", line_end=line_end), line + line_end) == Heard((Reply("NOOP", status),))


@pytest.mark.parametrize(
    "octets",
    [
        b"\r\n",
        b"\n",
        b"OK\r\n",
        b"+OKAY\r\n",
        b"+ERR\r\n",
        b"\0+OK\r\n",
        b"+OK\0\r\n",
        b"+OK\r\r\n",
        b"+\r\n",
        b"+ \r\n",
        b"+ challenge\r\n",
        b".\r\n",
        b"+OK\n",
        b"+OK a bare LF\nin the line\r\n",
        b"-ERR\n",
    ],
)
@pytest.mark.parametrize("name", ["NOOP", "CAPA", "PASS", "STLS", "QUIT", "STAT", "UIDL"])
def test_an_invalid_status_line_ends_the_session(octets: bytes, name: str) -> None:
    heard = hear(asking(name), octets)
    assert heard.events == ()
    assert type(heard.error) is ProtocolViolation


@pytest.mark.parametrize("name", ["NOOP", "RETR", "AUTH"])
@pytest.mark.parametrize("line_end", [CRLF, LF])
def test_a_status_line_may_have_8192_octets_and_no_more(name: str, line_end: bytes) -> None:
    make = having_heard(asking(name, line_end=line_end), NEARLY_TOO_LONG)
    last = b"x" * (LINE_LIMIT - len(NEARLY_TOO_LONG + line_end)) + line_end
    assert hear(make, last).events[0] == Reply(
        name, StatusLine(True, (NEARLY_TOO_LONG + last)[4 : -len(line_end)])
    )
    for too_long in (b"x" + last, b"x" * 100):
        heard = hear(make, too_long)
        assert (heard.events, type(heard.error)) == ((), LineTooLong)


@pytest.mark.parametrize(
    "octets", [b"\0", b"\r\n", b"+OK\r\n", b"-ERR closing: idle for too long\r\n", b"x" * 9000]
)
@pytest.mark.parametrize("state", [AUTHORIZATION, TRANSACTION])
def test_octets_that_were_not_requested_end_the_session(octets: bytes, state: SessionState) -> None:
    heard = hear(lambda: in_state(state), octets, range(1, min(len(octets), 40)))
    assert heard.events == ()
    assert type(heard.error) is ProtocolViolation
    assert heard.error.what == "octets that were not requested"
    assert heard.error.octets == octets[:LINE_LIMIT]


def test_no_octets_cause_no_event() -> None:
    for session in (Session(), in_state(AUTHORIZATION), asking("NOOP")(), asking("RETR", 1)()):
        assert feed(session, [b"", b""]) == Heard(())
        assert not session.over


# -- the table of commands -----------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What the RFCs define for a command, written down a second time."""

    line: bytes
    states: tuple[SessionState, ...]
    multiline: bool = False
    then: SessionState | None = None
    secret: int | None = None
    last: bool = False  # of a batch

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.line.decode().split())

    def asking(self) -> Callable[[], Session]:
        return asking(*self.words, state=self.states[-1])


BEFORE, AFTER, EITHER = (AUTHORIZATION,), (TRANSACTION,), (AUTHORIZATION, TRANSACTION)
ROWS = {
    "CAPA": Row(b"CAPA", EITHER, multiline=True),
    "STLS": Row(b"STLS", BEFORE, last=True),
    "UTF8": Row(b"UTF8", BEFORE),
    "USER": Row(b"USER alice", BEFORE),
    "PASS": Row(b"PASS secret", BEFORE, then=TRANSACTION, secret=0, last=True),
    "APOP": Row(
        b"APOP alice c4c9334bac560ecc979e58001b3e22fb", BEFORE, then=TRANSACTION, secret=1, last=True
    ),
    "AUTH": Row(b"AUTH PLAIN AGFsaWNlAHNlY3JldA==", BEFORE, then=TRANSACTION, secret=1, last=True),
    "STAT": Row(b"STAT", AFTER),
    "LIST": Row(b"LIST", AFTER, multiline=True),
    "LIST n": Row(b"LIST 1", AFTER),
    "UIDL": Row(b"UIDL", AFTER, multiline=True),
    "UIDL n": Row(b"UIDL 1", AFTER),
    "RETR": Row(b"RETR 1", AFTER, multiline=True),
    "TOP": Row(b"TOP 1 0", AFTER, multiline=True),
    "DELE": Row(b"DELE 1", AFTER),
    "NOOP": Row(b"NOOP", AFTER),
    "RSET": Row(b"RSET", AFTER),
    "QUIT": Row(b"QUIT", EITHER, then=UPDATE, last=True),
}
every_command = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
every_state = pytest.mark.parametrize("state", EITHER)


def test_both_tables_know_the_same_commands() -> None:
    assert list(ROWS) == list(COMMANDS)


@every_command
@every_state
def test_a_command_is_valid_in_its_states_only(row: Row, state: SessionState) -> None:
    session = in_state(state)
    if state in row.states:
        assert session.send(*row.words) == row.line + CRLF
        assert [awaited.name for awaited in session.awaited] == [row.words[0]]
    else:
        with pytest.raises(CommandNotAllowed, match=state.value):
            session.send(*row.words)
        assert (list(session.awaited), session.response, session.over) == ([], ResponseState.WAITING, None)


@every_command
def test_the_reply_to_a_command_is_framed_as_in_the_rfc(row: Row) -> None:
    make, name = row.asking(), row.words[0]
    expected = ResponseState.LONG_INITIAL if row.multiline else ResponseState.SHORT
    assert make().response is expected
    if row.multiline:
        heard = hear(make, b"+OK\r\n..1\r\n.\r\n")
        assert heard == Heard((Reply(name, OK), Content(b".1\r\n"), End(name)))
    else:
        assert hear(make, b"+OK\r\n") == Heard((Reply(name, OK),))


@every_command
def test_a_refusal_is_one_line_and_changes_nothing(row: Row) -> None:
    make, name = row.asking(), row.words[0]
    refused = Heard((Reply(name, StatusLine(False, b"[AUTH] no")),))
    assert hear(make, b"-ERR [AUTH] no\r\n") == refused
    session = make()
    feed(session, [b"-ERR [AUTH] no\r\n"])
    assert (session.state, session.response, session.over) == (
        row.states[-1],
        ResponseState.WAITING,
        None,
    )
    assert session.send(*row.words)


@every_command
def test_only_ok_changes_the_state(row: Row) -> None:
    session = row.asking()()
    feed(session, [b"+OK\r\n.\r\n" if row.multiline else b"+OK\r\n"])
    assert session.state is (row.then or row.states[-1])
    assert session.response is ResponseState.WAITING


@every_command
def test_a_command_that_ends_a_batch_is_answered_before_the_next_is_sent(row: Row) -> None:
    session = row.asking()()
    if not row.last:
        assert session.send("CAPA") == b"CAPA\r\n"
        return
    for name in ("CAPA", "QUIT"):
        with pytest.raises(CommandNotAllowed, match=f"{row.words[0]}-is-not-answered"):
            session.send(name)
    assert len(session.awaited) == 1


@every_command
def test_the_table_knows_the_secret_argument(row: Row) -> None:
    command = row.asking()().awaited[0].command
    assert command.secret == row.secret


@every_command
def test_a_command_in_lower_case_is_the_same_command(row: Row) -> None:
    session = in_state(row.states[0])
    name, *arguments = row.words
    assert session.send(name.lower(), *arguments) == row.line + CRLF
    lower, upper = session.awaited[0], asking(*row.words, state=row.states[0])().awaited[0]
    assert lower == upper


def test_the_quit_that_was_answered_ends_the_session() -> None:
    for state in EITHER:
        make = asking("QUIT", state=state)
        assert hear(make, b"+OK bye\r\n") == Heard((Reply("QUIT", StatusLine(True, b"bye")),))
        session = make()
        feed(session, [b"+OK bye\r\n"])
        assert (session.state, session.over) == (UPDATE, "QUIT was sent")
        assert_it_is_over(session)


def test_a_reply_may_come_after_the_whole_session_before_it() -> None:
    session = Session()
    feed(session, [b"+OK\r\n"])
    said: list[Event] = []
    for words, reply in (
        (("CAPA",), b"+OK\r\nUSER\r\n.\r\n"),
        (("USER", "alice"), b"+OK\r\n"),
        (("PASS", "wrong"), b"-ERR [AUTH] no\r\n"),
        (("USER", "alice"), b"+OK\r\n"),
        (("PASS", "secret"), b"+OK\r\n"),
        (("RETR", 1), b"+OK\r\nhello\r\n.\r\n"),
        (("DELE", 1), b"+OK\r\n"),
        (("QUIT",), b"+OK\r\n"),
    ):
        session.send(*words)
        said += feed(session, [reply]).events
    assert [event.command for event in said if isinstance(event, Reply)] == [
        "CAPA", "USER", "PASS", "USER", "PASS", "RETR", "DELE", "QUIT",
    ]  # fmt: skip
    assert session.state is UPDATE


@pytest.mark.parametrize("multiline", [None, False, True])
def test_an_unknown_command_is_framed_as_requested(multiline: bool | None) -> None:
    def make() -> Session:
        session = in_state(TRANSACTION)
        assert session.send("XTND", "XLST", multiline=multiline) == b"XTND XLST\r\n"
        return session

    octets = b"+OK\r\nx\r\n.\r\n" if multiline else b"+OK\r\n"
    content = (Content(b"x\r\n"), End("XTND")) if multiline else ()
    assert hear(make, octets) == Heard((Reply("XTND", OK), *content))


@pytest.mark.parametrize(
    "words", [("USER", "a\r\nDELE 1"), ("USER", "x" * 250), ("USER\r\nNOOP",), ("RETR 1",)]
)
def test_a_command_that_cannot_be_sent_leaves_no_trace(words: tuple[str, ...]) -> None:
    session = in_state(AUTHORIZATION)
    with pytest.raises(InvalidArgument):
        session.send(*words)
    assert (list(session.awaited), session.over) == ([], None)


# -- AUTH and STLS -------------------------------------------------------------------------------


@pytest.mark.parametrize("line_end", [CRLF, LF])
@pytest.mark.parametrize(
    ("line", "challenge"),
    [
        (b"+", b""),
        (b"+ ", b""),
        (b"+ cj0x", b"cj0x"),
        (b"+  x", b" x"),
        (b"+ not base64!\0\xff", b"not base64!\0\xff"),
    ],
)
def test_a_sasl_challenge_is_received(line: bytes, challenge: bytes, line_end: bytes) -> None:
    make = asking("AUTH", "PLAIN", line_end=line_end)
    assert hear(make, line + line_end) == Heard((Challenge(challenge),))
    session = make()
    feed(session, [line + line_end])
    assert (session.response, session.state) == (ResponseState.SHORT, AUTHORIZATION)


@pytest.mark.parametrize(
    ("reply", "state"), [(b"+OK in\r\n", TRANSACTION), (b"-ERR [AUTH] no\r\n", AUTHORIZATION)]
)
def test_a_sasl_exchange_ends_with_a_status_line(reply: bytes, state: SessionState) -> None:
    session = asking("AUTH", "SCRAM-SHA-256")()
    assert feed(session, [b"+ \r\n"]) == Heard((Challenge(b""),))
    assert session.respond(b"biwsbj11c2VyLHI9" * 20) == b"biwsbj11c2VyLHI9" * 20 + b"\r\n"
    assert feed(session, [b"+ cj0x\r\n"]) == Heard((Challenge(b"cj0x"),))
    assert session.respond(b"*") == b"*\r\n"
    [event] = feed(session, [reply]).events
    assert isinstance(event, Reply)
    assert (session.state, session.response) == (state, ResponseState.WAITING)


def test_a_sasl_response_that_is_more_than_a_line_is_refused() -> None:
    session = asking("AUTH", "PLAIN")()
    feed(session, [b"+ \r\n"])
    with pytest.raises(InvalidArgument):
        session.respond(b"AGE=\r\nDELE 1")
    assert not session.over


@pytest.mark.parametrize(
    "make", [Session, lambda: in_state(AUTHORIZATION), asking("NOOP"), asking("RETR", 1)]
)
def test_a_sasl_response_answers_auth_alone(make: Callable[[], Session]) -> None:
    with pytest.raises(CommandNotAllowed, match="SASL response"):
        make().respond(b"*")


@pytest.mark.parametrize(
    "octets", [b"x", b"\0", b"\r\n", b"+OK\r\n", b"+OK injected\r\n+OK\r\n", b"\x16\x03\x03"]
)
@pytest.mark.parametrize("line_end", [CRLF, LF])
def test_octets_before_the_tls_handshake_are_an_error(octets: bytes, line_end: bytes) -> None:
    make = asking("STLS", line_end=line_end)
    at_once = feed(make(), [b"+OK begin" + line_end + octets])
    assert (at_once.events, type(at_once.error)) == ((), ProtocolViolation)
    assert "before the TLS handshake" in str(at_once.error)
    later = feed(make(), [b"+OK begin" + line_end, octets])
    assert later.events == (Reply("STLS", StatusLine(True, b"begin")),)
    assert type(later.error) is ProtocolViolation


# -- content -------------------------------------------------------------------------------------


def as_rfc_1939_says(octets: bytes, line_end: bytes = CRLF) -> tuple[bytes, bytes]:
    """Return (content, rest) of a multi-line reply behind its status line.

    Section 3, read line by line over the whole: this is the model of the machine's framing. Only at the
    very beginning a dot that is not doubled is content, for that is how Dovecot 2.3 sends it.
    """
    first = octets.partition(line_end)[0]
    content = b"." if first[:1] == b"." and first[1:2] not in (b"", b".") else b""
    while True:
        line, end, octets = octets.partition(line_end)
        assert end, "the reply has no end"
        if line == b".":
            return content, octets
        content += line.removeprefix(b".") + line_end


CONTENTS = {
    "nothing": (b".\r\n", b""),
    "one line": (b"a\r\n.\r\n", b"a\r\n"),
    "an empty line": (b"\r\n.\r\n", b"\r\n"),
    "empty lines": (b"\r\n\r\n\r\n.\r\n", b"\r\n\r\n\r\n"),
    "a lone dot": (b"..\r\n.\r\n", b".\r\n"),
    "lone dots one after another": (b"..\r\n..\r\n...\r\n.\r\n", b".\r\n.\r\n..\r\n"),
    "a line with a dot first": (b"..x\r\n.\r\n", b".x\r\n"),
    "a dot that was not doubled": (b"a\r\n.x\r\n.\r\n", b"a\r\nx\r\n"),
    "a dot that was not doubled in the first line": (b".x\r\n.\r\n", b".x\r\n"),
    "a doubled dot behind text": (b"a\r\n..b\r\n.\r\n", b"a\r\n.b\r\n"),
    "dots inside lines": (b"a.b\r\nc.\r\n.\r\n", b"a.b\r\nc.\r\n"),
    "LF dot LF": (b"a\n.\nb\r\n.\r\n", b"a\n.\nb\r\n"),
    "CRLF dot LF": (b"a\r\n.\nb\r\n.\r\n", b"a\r\n\nb\r\n"),
    "LF dot CRLF": (b"a\n.\r\nb\r\n.\r\n", b"a\n.\r\nb\r\n"),
    "CRLF dot CR": (b"a\r\n.\rb\r\n.\r\n", b"a\r\n\rb\r\n"),
    "CR dot CRLF": (b"a\r.\r\n.\r\n", b"a\r.\r\n"),
    "doubled dots behind a bare LF": (b"a\n..b\r\n.\r\n", b"a\n..b\r\n"),
    "dot CR CR LF": (b"a\r\n.\r\r\n.\r\n", b"a\r\n\r\r\n"),
    "CR CR LF at the end": (b"a\r\r\n.\r\n", b"a\r\r\n"),
    "LF CR at the end": (b"a\n\r\r\n.\r\n", b"a\n\r\r\n"),
    "bare CRs": (b"\ra\r\rb\r\r\n\r.\r\r\n.\r\n", b"\ra\r\rb\r\r\n\r.\r\r\n"),
    "bare LFs": (b"\n\na\n\r\n.\r\n", b"\n\na\n\r\n"),
    "NULs": (b"\0\r\n\0.\0\r\n.\0\r\n.\r\n", b"\0\r\n\0.\0\r\n\0\r\n"),
    "8-bit": (b"\xff\x80\r\n..\xff\r\n.\r\n", b"\xff\x80\r\n.\xff\r\n"),
    "what looks like replies": (b"+OK\r\n-ERR\r\n+ \r\n.\r\n", b"+OK\r\n-ERR\r\n+ \r\n"),
}
CONTENTS_BY_LF = {
    "nothing": (b".\n", b""),
    "one line": (b"a\n.\n", b"a\n"),
    "an empty line": (b"\n.\n", b"\n"),
    "lone dots": (b"..\n..\n.\n", b".\n.\n"),
    "a dot that was not doubled": (b"a\n.x\n.\n", b"a\nx\n"),
    "a dot that was not doubled in the first line": (b".x\n.\n", b".x\n"),
    "CRLFs are text": (b"a\r\n\r\n.\n", b"a\r\n\r\n"),
    "CRLF dot CRLF is text": (b"a\r\n.\r\n.\n", b"a\r\n\r\n"),
    "bare CRs": (b"\ra\r.\n\r\n.\n", b"\ra\r.\n\r\n"),
}


def replied(content: bytes, name: str = "RETR") -> Heard:
    """Return what is received of a multi-line reply."""
    blocks = (Content(content),) if content else ()
    return Heard((Reply(name, OK), *blocks, End(name)))


@pytest.mark.parametrize(("wire", "content"), CONTENTS.values(), ids=CONTENTS)
def test_content_is_unstuffed_to_its_end(wire: bytes, content: bytes) -> None:
    assert hear(asking("RETR", 1), b"+OK\r\n" + wire) == replied(content)
    assert as_rfc_1939_says(wire) == (content, b"")


@pytest.mark.parametrize(("wire", "content"), CONTENTS_BY_LF.values(), ids=CONTENTS_BY_LF)
def test_content_with_bare_lf_is_unstuffed_to_its_end(wire: bytes, content: bytes) -> None:
    assert hear(asking("RETR", 1, line_end=LF), b"+OK\n" + wire) == replied(content)
    assert as_rfc_1939_says(wire, LF) == (content, b"")


@pytest.mark.parametrize("octet", [b"\r", b"\n", b".", b"\0"])
def test_an_octet_more_at_any_place_is_content_or_makes_another_end(octet: bytes) -> None:
    wire = b"a\r\n..\r\n.b\r\n.\r\n"
    for place in range(len(wire) + 1):
        changed = wire[:place] + octet + wire[place:] + b"\r\n.\r\n"
        content, rest = as_rfc_1939_says(changed)
        octets = b"+OK\r\n" + changed.removesuffix(rest)
        assert hear(asking("RETR", 1), octets) == replied(content), (place, changed)


@pytest.mark.parametrize("cut", range(1, 6))
def test_half_an_end_is_not_an_end(cut: int) -> None:
    wire = b"+OK\r\na\r\n.\r\n"
    session = asking("RETR", 1)()
    assert End("RETR") not in feed(session, [wire[:-cut]]).events
    assert session.response.name == "LONG"
    assert feed(session, [wire[-cut:]]).events[-1] == End("RETR")
    assert session.response.name == "WAITING"


def test_octets_that_arrive_before_the_reply_was_followed_are_not_lost() -> None:
    for line_end in (CRLF, LF):
        session = asking("RETR", 1, line_end=line_end)()
        session.receive(b"+OK" + line_end + b"ab")
        assert session.next_event() == Reply("RETR", OK)
        session.receive(b"cd" + line_end + b"." + line_end)
        assert feed(session, [b""]).events == (Content(b"abcd" + line_end), End("RETR"))


@given(octets=st.text("\r\n.ab").map(str.encode), sizes=SIZES, line_end=st.sampled_from([CRLF, LF]))
def test_content_is_framed_as_in_the_rfc(octets: bytes, sizes: list[int], line_end: bytes) -> None:
    wire = octets + line_end + b"." + line_end
    content, rest = as_rfc_1939_says(wire, line_end)
    session = asking("RETR", 1, line_end=line_end)()
    heard = feed(session, in_pieces(b"+OK" + line_end + wire, sizes))
    assert heard.events == replied(content).events
    assert (type(heard.error) is ProtocolViolation) == bool(rest)


@given(octets=st.text("\r\n.ab").map(str.encode), sizes=SIZES)
def test_line_ends_may_be_changed_block_by_block(octets: bytes, sizes: list[int]) -> None:
    wire = octets + b"\r\n.\r\n"
    content, rest = as_rfc_1939_says(wire)
    pieces = in_pieces(b"+OK\r\n" + wire.removesuffix(rest), sizes)
    blocks = [event.octets for event in events(asking("RETR", 1)(), pieces) if isinstance(event, Content)]
    assert b"".join(block.replace(CRLF, LF) for block in blocks) == content.replace(CRLF, LF)


def test_content_needs_no_more_memory_than_a_few_blocks() -> None:
    block = (b".." + b"x" * 62 + b"\r\n") * 1000
    session = asking("RETR", 1)()
    feed(session, [b"+OK\r\n"])
    passed = 0
    tracemalloc.start()
    try:
        for _ in range(256):  # 16 MiB
            passed += sum(
                len(event.octets) for event in events(session, [block]) if isinstance(event, Content)
            )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 <= 256 * (len(block) - 1000) - passed <= 4
    assert peak < 8 * len(block)


# -- pipelining ----------------------------------------------------------------------------------


def asking_for(*commands: tuple[str, *tuple[str | bytes | int, ...]]) -> Callable[[], Session]:
    """Return what makes sessions that await the replies to pipelined ``commands``."""

    def make() -> Session:
        session = in_state(TRANSACTION)
        for command in commands:
            session.send(*command)
        return session

    return make


TWO_RETRS = asking_for(("RETR", 1), ("RETR", 2))


def test_replies_are_taken_in_the_order_of_their_commands() -> None:
    make = asking_for(("STAT",), ("RETR", 1), ("DELE", 1), ("UIDL",), ("RETR", 2), ("QUIT",))
    assert [awaited.pipelined for awaited in make().awaited] == [False, True, True, True, True, True]
    heard = hear(make, b"+OK 2 9\r\n+OK\r\none\r\n.\r\n-ERR no\r\n+OK\r\n.\r\n+OK\r\n..\r\n.\r\n+OK bye\r\n")
    assert heard.events == (
        Reply("STAT", StatusLine(True, b"2 9")),
        *replied(b"one\r\n").events,
        Reply("DELE", StatusLine(False, b"no")),
        *replied(b"", "UIDL").events,
        *replied(b".\r\n").events,
        Reply("QUIT", StatusLine(True, b"bye")),
    )


@pytest.mark.parametrize(
    ("commands", "response"),
    [(("STAT", "UIDL"), ResponseState.SHORT), (("UIDL", "STAT"), ResponseState.LONG_INITIAL)],
)
def test_the_first_reply_of_a_pipeline_is_awaited_first(
    commands: tuple[str, str], response: ResponseState
) -> None:
    first, second = commands
    assert asking_for((first,), (second,))().response is response


def test_a_refused_multi_line_command_in_a_pipeline_is_one_line() -> None:
    heard = hear(TWO_RETRS, b"-ERR no such message\r\n+OK\r\ntwo\r\n.\r\n")
    assert heard.events == (Reply("RETR", StatusLine(False, b"no such message")), *replied(b"two\r\n").events)
    heard = hear(TWO_RETRS, b"+OK\r\none\r\n.\r\n-ERR no such message\r\n")
    assert heard.events == (*replied(b"one\r\n").events, Reply("RETR", StatusLine(False, b"no such message")))


def test_the_end_of_a_pipelined_content_waits_for_the_next_status_line() -> None:
    session = TWO_RETRS()
    assert feed(session, [b"+OK\r\none\r\n.\r\n"]).events == (Reply("RETR", OK), Content(b"one\r\n"))
    assert (len(session.awaited), session.response) == (2, ResponseState.LONG)
    assert feed(session, [b"+OK", b"\r"]) == Heard(())
    assert feed(session, [b"\n"]).events == (End("RETR"), Reply("RETR", OK))
    assert (len(session.awaited), session.response) == (1, ResponseState.LONG)
    assert feed(session, [b".\r\n"]).events == (End("RETR"),)


def test_replies_that_are_mixed_up_end_the_session_before_a_message_counts_as_whole() -> None:
    # WildDuck 1.46: the +OK of the second RETR before the closing dot of the first.
    heard = hear(TWO_RETRS, b"+OK\r\nSubject: one\r\n\r\n+OK\r\n.\r\nSubject: two\r\n\r\n.\r\n")
    assert type(heard.error) is PipeliningBroken
    assert heard.error.octets == b"Subject: two"
    assert heard.events == (Reply("RETR", OK), Content(b"Subject: one\r\n\r\n+OK\r\n"))


@pytest.mark.parametrize(
    "octets", [b"\r\n", b".\r\n", b"+\r\n", b"Subject: two\r\n", b"+OKAY\r\n", b"x" * LINE_LIMIT]
)
def test_a_pipelined_reply_without_a_status_is_broken_pipelining(octets: bytes) -> None:
    heard = hear(asking_for(("DELE", 1), ("DELE", 2)), b"+OK\r\n" + octets)
    assert (heard.events, type(heard.error)) == ((Reply("DELE", OK),), PipeliningBroken)
    assert heard.error is not None
    assert heard.error.__cause__ is None  # which -vv would show with its secrets


def test_the_first_reply_of_a_pipeline_has_nothing_to_be_mixed_up_with() -> None:
    heard = hear(TWO_RETRS, b"Subject: one\r\n")
    assert (heard.events, type(heard.error)) == ((), ProtocolViolation)


@pytest.mark.parametrize("octets", [b"+OK\n", b"x" * LINE_LIMIT])
def test_a_line_that_breaks_its_limits_behind_a_pipelined_content_was_mixed_up(octets: bytes) -> None:
    heard = hear(TWO_RETRS, b"+OK\r\n.\r\n" + octets, range(1, 20))
    assert (heard.events, type(heard.error)) == ((Reply("RETR", OK),), PipeliningBroken)


def test_a_command_is_pipelined_only_behind_one_that_is_not_answered() -> None:
    session = asking_for(("DELE", 1), ("DELE", 2))()
    feed(session, [b"+OK\r\n+OK\r\n"])
    session.send("DELE", 3)
    assert [awaited.pipelined for awaited in session.awaited] == [False]


# -- the end, and what no octets may do --------------------------------------------------------------


def test_a_session_that_was_ended_names_the_reason() -> None:
    session = in_state(TRANSACTION)
    session.end("it was closed")
    session.end("it was closed once more")
    assert session.over == "it was closed"
    assert_it_is_over(session)
    with pytest.raises(SessionEnded, match=r"^the session is over: it was closed$"):
        session.next_event()


def test_a_session_that_ended_with_an_error_names_it() -> None:
    session = asking("NOOP")()
    error = feed(session, [b"what?\r\n"]).error
    assert error
    assert session.over == str(error)
    session.receive(b"+OK\r\n")
    with pytest.raises(SessionEnded) as refused:
        session.send("NOOP")
    assert refused.value.why == str(error)


ANY_OCTETS = st.one_of(
    st.binary(max_size=20),
    st.lists(
        st.sampled_from(
            [b"+OK", b"-ERR", b"+", b" ", b"\r\n", b"\n", b"\r", b".", b"..", b"\r\n.\r\n", b"x", b"<a@b>"]
        )
    ).map(b"".join),
)
ANY_COMMAND = st.one_of(
    st.sampled_from([row.words for row in ROWS.values()]), st.tuples(st.text(max_size=5), st.text(max_size=5))
)
BEGINNINGS = st.sampled_from([Session, lambda: in_state(AUTHORIZATION), lambda: in_state(TRANSACTION)])


@given(make=BEGINNINGS, steps=st.lists(st.one_of(ANY_COMMAND, ANY_OCTETS), max_size=12))
def test_only_a_pop3_error_leaves_the_machine_and_none_is_survived(
    make: Callable[[], Session], steps: list[tuple[str, ...] | bytes]
) -> None:
    session = make()
    for step in steps:
        if isinstance(step, bytes):
            error = feed(session, [step]).error  # which looks whether an error is the end
            assert bool(session.over) >= bool(error)
            continue
        try:
            line = session.send(*step)
        except POP3Error as error:
            assert isinstance(error, SessionEnded) == bool(session.over)
        else:
            assert line.endswith(CRLF) and line.count(LF) == 1


@pytest.mark.parametrize(("name", "multiline"), [("STAT", True), ("RETR", False)])
def test_a_known_command_is_not_framed_otherwise(name: str, multiline: bool) -> None:
    session = in_state(TRANSACTION)
    with pytest.raises(InvalidArgument, match="its reply has"):
        session.send(name, multiline=multiline)
    assert not session.awaited
