"""What `get` has to know of a session besides what the public client returns."""

from __future__ import annotations

from pathlib import Path

import pytest

from pop3fetch.errors import MalformedListing, ProtocolViolation, SessionEnded
from pop3fetch.pop3.login import LoginPolicy
from pop3fetch.pop3.mail_session import MailSession, may_quit
from pop3fetch.pop3.replies import UNFAMILIAR, Digests, Overview
from tests.pop3.test_client import EACH_WAY, ONE, OVERVIEW, batch
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import StartServer, Talk
from tests.support.sessions import (
    after_login,
    begin_mail_session,
    capa,
    greet,
    play,
    sent_after_login,
    serve,
    server_for,
)


def nothing() -> None:
    pass


def test_what_was_retrieved_is_remembered(server: StartServer) -> None:
    mailbox = Mailbox([ONE] * 3, replies={b"RETR 2\r\n": b"-ERR [SYS/TEMP] broken\r\n"})
    with begin_mail_session(server(mailbox)) as client:
        for message in client.retrieve_many([0, 1, 2, 3]):
            assert b"".join(message.blocks) == (ONE if message.refusal is None else b"")
        assert (client.retrieved, client.topped) == ({0, 2}, set())


def test_headers_are_not_remembered_as_retrieved(server: StartServer) -> None:
    with begin_mail_session(server(Mailbox([ONE]))) as client:
        list(client.top_many([0]))
        assert (client.retrieved, client.topped) == (set(), {0})


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_the_greeting_decides_on_the_line_ends(end: bytes, server: StartServer) -> None:
    running = server(lambda talk: talk.say(b"+OK ready" + end))
    with MailSession(server_for(running, LoginPolicy("off"))) as client:
        assert client.ends_lines_with_crlf == (end == b"\r\n")


def test_capabilities_from_before_the_login_are_kept_and_all_are_reported(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        greet(talk, "off", b"EXPIRE NEVER", b"PIPELINING")
        play(talk, (b"USER alice\r\n", b"+OK\r\n"), (b"PASS secret\r\n", b"+OK\r\n"))
        play(talk, (b"CAPA\r\n", capa(b"UIDL")))

    told: list[object] = []
    with begin_mail_session(server(script)) as client:
        client.when_announced = told.append
        assert client.pipelines
        client.stop_pipelining()
        assert not client.pipelines
        assert client.capabilities() == {"UIDL": None}
        assert client.capabilities_before_login == {"EXPIRE": ["NEVER"], "PIPELINING": None}
    assert told == [{"UIDL": None}]


@pytest.mark.parametrize(
    ("capabilities", "command", "index"),
    [((), b"RETR 2\r\n", 1), ((), b"TOP 2 0\r\n", None), ((b"PIPELINING",), b"RETR 2\r\n", None)],
)
def test_a_session_knows_at_which_message_it_broke(
    capabilities: tuple[bytes, ...], command: bytes, index: int | None, server: StartServer
) -> None:
    def script(talk: Talk) -> None:
        talk.expect(command)
        talk.say(b"* what\r\n")
        talk.stall()

    with begin_mail_session(server(after_login(script, "off", *capabilities))) as client:
        assert client.broken_at() is None
        read = client.top_many if command.startswith(b"TOP") else client.retrieve_many
        with pytest.raises(ProtocolViolation):
            list(read([1, 2]))
        assert client.broken_at() == index
        assert client.broke_in_the_pipe == bool(capabilities)


# The end


@EACH_WAY
def test_quit_is_the_last_word_and_its_reply_is_not_awaited(
    mode: str, server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"NOOP\r\n", b"+OK\r\n"))
        talk.expect(b"QUIT\r\n")
        talk.stall()

    notices: list[str] = []
    running = serve(server, after_login(script, mode), mode)
    with begin_mail_session(running, mode, ca_file) as client:
        client.noop()
        client.say_quit(notices.append)
        with pytest.raises(SessionEnded, match="QUIT was sent"):
            client.noop()
    assert notices == []
    assert sent_after_login(running) == b"NOOP\r\nQUIT\r\n"


def test_a_session_that_quit_has_ended_already_sends_no_other(server: StartServer) -> None:
    script = batch(b"STAT\r\nQUIT\r\n", b"+OK 2 30\r\n+OK bye\r\n")
    running = server(after_login(script, "off", b"PIPELINING"))
    notices: list[str] = []
    with begin_mail_session(running) as client:
        assert client.stat(then_quit=True) == (2, 30)
        client.say_quit(notices.append)
    assert notices == []
    assert sent_after_login(running) == b"STAT\r\nQUIT\r\n"


def test_what_the_server_sent_unasked_before_quit_is_a_remark(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"NOOP\r\n", b"+OK\r\n-ERR Disconnected for inactivity\r\n"))
        talk.stall()

    notices: list[str] = []
    running = server(after_login(script, "off"))
    with begin_mail_session(running) as client:
        client.noop()
        client.say_quit(notices.append)
    assert len(notices) == 1
    assert "Disconnected for inactivity" in notices[0]
    assert sent_after_login(running) == b"NOOP\r\n"


# Lists that are known again


@EACH_WAY
def test_an_overview_that_is_familiar_is_not_read_again(
    mode: str, server: StartServer, ca_file: Path
) -> None:
    script = batch(b"CAPA\r\nLIST\r\nUIDL\r\n", OVERVIEW)
    running = serve(server, after_login(script, mode, b"PIPELINING"), mode)
    with begin_mail_session(running, mode, ca_file) as client:
        told = client.overview_unless(UNFAMILIAR, nothing)
    assert told is not None
    overview, digests = told
    assert overview == Overview([12, None, 9], [b"A", None, b"C"])
    with begin_mail_session(running, mode, ca_file) as client:
        assert client.overview_unless(digests, nothing) is None
        assert client.capabilities() == {"TOP": None, "UIDL": None}
    with begin_mail_session(running, mode, ca_file) as client:
        other = digests._replace(unique_ids=digests.sizes)
        assert client.overview_unless(other, nothing) == (overview, digests)


def test_an_overview_without_uidl_is_never_familiar(server: StartServer) -> None:
    script = batch(b"CAPA\r\nLIST\r\nUIDL\r\n", b"+OK\r\n.\r\n+OK\r\n.\r\n-ERR\r\n")
    running = server(after_login(script, "off", b"PIPELINING"))
    with begin_mail_session(running) as client:
        told = client.overview_unless(UNFAMILIAR, nothing)
    assert told is not None
    assert told[0] == Overview([], None)
    with begin_mail_session(running) as client:
        assert client.overview_unless(told[1], nothing) == told


BROKEN = b"+OK\r\n.\r\n+OK\r\n1 1\r\n2 x\r\n.\r\n+OK\r\n1 a\r\n2 b\r\n.\r\n"


@pytest.mark.parametrize("familiar", [UNFAMILIAR, Digests("a", "b")])
@pytest.mark.parametrize("capabilities", [(), (b"PIPELINING",)])
@pytest.mark.parametrize("second", [b"2 2\r\n", b"2 x\r\n"])
def test_lists_with_an_unusable_line_are_requested_once_more_one_at_a_time(
    familiar: Digests, capabilities: tuple[bytes, ...], second: bytes, server: StartServer
) -> None:
    def script(talk: Talk) -> None:
        if capabilities:
            batch(b"CAPA\r\nLIST\r\nUIDL\r\n", BROKEN)(talk)
        else:
            play(talk, *replies(b"2 x\r\n"))
        play(talk, *replies(second), (b"NOOP\r\n", b"+OK\r\n"))

    def replies(line: bytes) -> list[tuple[bytes, bytes]]:
        lists = {b"LIST\r\n": b"1 1\r\n" + line, b"UIDL\r\n": b"1 a\r\n2 b\r\n"}
        said = [(command, b"+OK\r\n" + lines + b".\r\n") for command, lines in lists.items()]
        return [(b"CAPA\r\n", b"+OK\r\nUIDL\r\n.\r\n"), *said]

    with begin_mail_session(server(after_login(script, "off", *capabilities))) as client:
        told = client.overview_unless(familiar, nothing)
        client.noop()
    assert told is not None
    overview, digests = told
    is_usable = second == b"2 2\r\n"
    assert overview.sizes == ([1, 2] if is_usable else [1])
    assert overview.unique_ids == [b"a", b"b"]
    assert len(overview.unusable) == (0 if is_usable else 1)
    assert digests == UNFAMILIAR


@pytest.mark.parametrize("familiar", [UNFAMILIAR, Digests("a", "b")])
def test_a_list_of_nothing_but_unusable_lines_ends_the_session(
    familiar: Digests, server: StartServer
) -> None:
    def script(talk: Talk) -> None:
        for _ in range(2):
            play(talk, (b"CAPA\r\n", b"+OK\r\n.\r\n"), (b"LIST\r\n", b"+OK\r\n1 x\r\n.\r\n"))
            play(talk, (b"UIDL\r\n", b"+OK\r\n1 a\r\n.\r\n"))
        talk.stall()

    with begin_mail_session(server(after_login(script))) as client:
        with pytest.raises(MalformedListing, match="LIST"):
            client.overview_unless(familiar, nothing)
        with pytest.raises(SessionEnded, match="LIST"):
            client.noop()


@pytest.mark.parametrize(
    ("sizes", "unique_ids", "is_told"),
    [
        (b"1 12\r\n3 9\r\n4 1\r\n", b"1 A\r\n3 C\r\n4 D\r\n", True),
        (b"1 12\r\n3 8\r\n", b"1 A\r\n3 C\r\n", True),
        (b"1 12\r\n3 9\r\n", b"1 A\r\n3 D\r\n", False),
        (b"1 12\r\n3 9\r\n", b"1 A\r\n3 C\r\n4 D\r\n", False),
        (b"1 12\r\n3 9\r\n", b"", False),
        (b"", b"1 A\r\n3 C\r\n", True),
        (b"", b"", True),
    ],
)
def test_other_lists_are_read_as_usual_and_reported_if_sizes_differ(
    sizes: bytes, unique_ids: bytes, is_told: bool, server: StartServer
) -> None:
    lists = b"+OK\r\nUIDL\r\n.\r\n+OK\r\n" + sizes + b".\r\n+OK\r\n" + unique_ids + b".\r\n"
    running = server(
        [
            after_login(batch(b"CAPA\r\nLIST\r\nUIDL\r\n", replies), "off", b"PIPELINING")
            for replies in (OVERVIEW, lists, lists)
        ]
    )
    with begin_mail_session(running) as client:
        known = client.overview_unless(UNFAMILIAR, nothing)
        assert known is not None
    told: list[str] = []
    with begin_mail_session(running) as client:
        answer = client.overview_unless(known[1], lambda: told.append("unlike"))
        assert answer is not None
        assert answer[1] != known[1]
    with begin_mail_session(running) as client:
        assert answer[0] == client.overview()
    assert bool(told) == is_told


@pytest.mark.parametrize(
    ("expire", "after_top", "after_retr"),
    [
        (None, True, False),
        ("NEVER", True, True),
        ("never", True, True),
        ("0", False, False),
        ("1", True, True),
        ("30", True, True),
        ("soon", True, False),
        ("-1", True, False),
    ],
)
def test_quit_is_sent_only_if_the_look_costs_nothing(
    expire: str | None, after_top: bool, after_retr: bool
) -> None:
    assert may_quit(expire, retrieved=False) is after_top
    assert may_quit(expire, retrieved=True) is after_retr
