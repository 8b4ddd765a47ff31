"""Pipelining: how much is under way at once, and what happens if a server cannot do it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pop3fetch.errors import ConnectionLost, PipeliningBroken, POP3Error, SessionEnded, TimedOut
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.pipeline import ONE_AT_A_TIME, REFILL, WIDE, Request, Window, pipelined
from pop3fetch.pop3.wire import StatusLine
from tests.support.scripted_server import Script, StartServer, Talk
from tests.support.sessions import (
    NEVER,
    SOON,
    WAYS,
    after_login,
    begin_mail_session,
    log_in,
    play,
    sent_after_login,
    serve,
)

EACH_WAY = pytest.mark.parametrize("mode", WAYS)
NARROW = Window(commands=32, octets=1000)


def commands(name: bytes, count: int) -> bytes:
    return b"".join(b"%s %d\r\n" % (name, number) for number in range(1, count + 1))


def requests(name: str, count: int, expected: int = 0) -> Iterator[Request]:
    return (Request(name, (number,), expected) for number in range(1, count + 1))


def texts(client: POP3Client, asked: Iterator[Request], window: Window) -> list[bytes]:
    """Run a pipeline of commands with single-line replies; return the replies' texts."""
    return [status.text for _, status in pipelined(client.conversation, asked, window)]


class Watch:
    """Reads and answers as a server in no hurry; asserts how many commands and octets are outstanding."""

    def __init__(self, talk: Talk, window: Window, size: int = 0) -> None:
        self._talk = talk
        self._window = window
        self._size = size
        self.read = self.answered = 0
        self._before = bytes(talk.received).count(b"\n")

    def take(self, count: int) -> None:
        """Read so many commands, and assert that what came with them is not too much."""
        for _ in range(count):
            assert self._talk.line().endswith(b"\r\n")
        self.read += count
        arrived = bytes(self._talk.received).count(b"\n") - self._before
        outstanding = arrived - self.answered
        assert outstanding <= self._window.commands
        # One command may pass the bound of octets, as one message may be larger than it.
        assert max(outstanding - 1, 0) * self._size < self._window.octets

    def answer(self, count: int, reply: bytes = b"+OK %d\r\n") -> None:
        for _ in range(count):
            self.answered += 1
            self._talk.say(reply % self.answered)


# Order


@EACH_WAY
@pytest.mark.parametrize("window", [ONE_AT_A_TIME, NARROW, WIDE])
def test_replies_come_in_the_order_of_the_commands(
    window: Window, mode: str, server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        for number in range(1, 301):
            play(talk, (b"DELE %d\r\n" % number, b"+OK %d\r\n" % number))

    running = serve(server, after_login(script, mode), mode)
    with log_in(running, mode, ca_file) as client:
        assert texts(client, requests("DELE", 300), window) == [b"%d" % number for number in range(1, 301)]
    assert sent_after_login(running) == commands(b"DELE", 300)


def test_a_refusal_in_the_middle_is_a_reply_like_others(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        for number in range(1, 6):
            play(talk, (b"DELE %d\r\n" % number, b"-ERR no\r\n" if number == 3 else b"+OK\r\n"))

    with log_in(server(after_login(script))) as client:
        statuses = list(pipelined(client.conversation, requests("DELE", 5), WIDE))
    assert [status.ok for _, status in statuses] == [True, True, False, True, True]


def test_no_requests_send_nothing(server: StartServer) -> None:
    running = server(after_login(lambda talk: talk.stall()))
    with log_in(running) as client:
        assert texts(client, iter(()), WIDE) == []
    assert sent_after_login(running) == b""


# The window


def test_one_at_a_time_awaits_each_reply(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        for number in range(1, 51):
            play(talk, (b"DELE %d\r\n" % number, b"+OK\r\n"))

    running = server(after_login(script))
    with log_in(running) as client:
        texts(client, requests("DELE", 50), ONE_AT_A_TIME)
    assert not running.pipelined


@EACH_WAY
def test_the_window_is_filled_before_the_first_reply_and_never_passed(
    mode: str, server: StartServer, ca_file: Path
) -> None:
    count = 2 * WIDE.commands

    def script(talk: Talk) -> None:
        watch = Watch(talk, WIDE)
        watch.take(WIDE.commands)
        while watch.read < count:
            watch.answer(REFILL)
            watch.take(REFILL)
        watch.answer(count - watch.answered)

    running = serve(server, after_login(script, mode), mode)
    with log_in(running, mode, ca_file) as client:
        assert len(texts(client, requests("DELE", count), WIDE)) == count
    assert sent_after_login(running) == commands(b"DELE", count)


def test_the_window_is_refilled_while_replies_are_outstanding(server: StartServer) -> None:
    """The server would wait forever if the client drained its window before it sent more."""
    count = 10 * NARROW.commands

    def script(talk: Talk) -> None:
        watch = Watch(talk, NARROW)
        watch.take(NARROW.commands)
        while watch.read < count:
            watch.answer(REFILL)
            watch.take(REFILL)
            assert watch.read - watch.answered == NARROW.commands
        watch.answer(NARROW.commands)

    with log_in(server(after_login(script))) as client:
        assert len(texts(client, requests("DELE", count), NARROW)) == count


@pytest.mark.parametrize(("size", "at_once"), [(100, 10), (333, 4), (1000, 1), (5000, 1)])
def test_the_octets_outstanding_are_bounded(size: int, at_once: int, server: StartServer) -> None:
    """Large messages are not all requested at once."""
    count = 4 * at_once

    def script(talk: Talk) -> None:
        watch = Watch(talk, NARROW, size)
        watch.take(at_once)
        while watch.answered < count:
            watch.answer(1)
            if watch.read < count:
                watch.take(1)

    running = server(after_login(script))
    with log_in(running) as client:
        assert len(texts(client, requests("DELE", count, size), NARROW)) == count
    assert sent_after_login(running) == commands(b"DELE", count)


def test_the_commands_of_a_full_window_go_in_one_write(server: StartServer) -> None:
    sent: list[bytes] = []

    def script(talk: Talk) -> None:
        talk.line()
        sent.append(bytes(talk.received).partition(b"PASS secret\r\n")[2])
        for _ in range(NARROW.commands - 1):
            talk.line()
        for number in range(NARROW.commands):
            talk.say(b"+OK %d\r\n" % number)

    with log_in(server(after_login(script))) as client:
        texts(client, requests("DELE", NARROW.commands), NARROW)
    assert sent == [commands(b"DELE", NARROW.commands)]


# Content


def read_all(client: POP3Client, count: int) -> list[bytes]:
    pipeline = pipelined(client.conversation, requests("RETR", count), WIDE)
    return [b"".join(client.conversation.blocks()) for _, status in pipeline if status.ok]


@EACH_WAY
def test_contents_are_not_mixed_up_however_they_arrive(mode: str, server: StartServer, ca_file: Path) -> None:
    contents = [b"x" * number + b"\r\n..\r\n+OK\r\n-ERR\r\n.x\r\n" for number in range(40)]

    def script(talk: Talk) -> None:
        for number in range(1, 41):
            talk.expect(b"RETR %d\r\n" % number)
        stuffed = (content.replace(b"\r\n.", b"\r\n..") for content in contents)
        octets = b"".join(b"+OK\r\n" + content + b".\r\n" for content in stuffed)
        for start in range(0, len(octets), 7):
            talk.say(octets[start : start + 7])

    running = serve(server, after_login(script, mode), mode)
    with log_in(running, mode, ca_file) as client:
        assert read_all(client, 40) == contents


# What WildDuck 1.46 does: the next +OK comes before the dot that ends the content before it.
MIXED_UP = b"+OK\r\nSubject: one\r\n+OK 9 octets\r\n.\r\nSubject: two\r\n.\r\n"


def test_replies_that_are_mixed_up_are_noticed_before_a_content_ends(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"RETR 1\r\n", b""), (b"RETR 2\r\n", MIXED_UP))
        talk.stall()

    running = server(after_login(script))
    finished: list[bytes] = []
    with log_in(running) as client:
        with pytest.raises(PipeliningBroken):
            finished.extend(read_all(client, 2))
        with pytest.raises(SessionEnded):
            client.delete(0)
    assert finished == []
    assert sent_after_login(running) == commands(b"RETR", 2)


# What goes wrong, and what is left


@pytest.mark.parametrize(
    ("end", "error"), [(lambda talk: talk.close(), ConnectionLost), (lambda talk: talk.stall(), TimedOut)]
)
def test_what_ends_in_the_middle_ends_the_pipeline(
    end: Script, error: type[POP3Error], server: StartServer
) -> None:
    def script(talk: Talk) -> None:
        for number in range(1, 11):
            talk.expect(b"DELE %d\r\n" % number)
        talk.say(b"+OK\r\n" * 4)
        end(talk)

    seen: list[StatusLine] = []
    with begin_mail_session(server(after_login(script))) as client:
        client.timeout = SOON if error is TimedOut else NEVER
        with pytest.raises(error, match="waiting for the reply to DELE 5"):
            for _, status in pipelined(client.conversation, requests("DELE", 10), WIDE):
                seen.append(status)
        assert client.broke_in_the_pipe
        with pytest.raises(SessionEnded):
            client.noop()
    assert len(seen) == 4


def test_a_pipeline_that_is_left_with_replies_outstanding_ends_the_session(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        for number in range(1, 4):
            talk.expect(b"DELE %d\r\n" % number)
        talk.say(b"+OK\r\n")
        talk.stall()

    running = server(after_login(script))
    with log_in(running) as client:
        for _ in pipelined(client.conversation, requests("DELE", 3), WIDE):
            break
        with pytest.raises(SessionEnded, match="pipelined replies were not read"):
            client.quit()
    assert sent_after_login(running) == commands(b"DELE", 3)


@pytest.mark.parametrize("window", [ONE_AT_A_TIME, WIDE])
def test_a_pipeline_that_is_left_at_its_last_reply_ends_nothing(window: Window, server: StartServer) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"DELE 1\r\n", b"+OK\r\n"), (b"NOOP\r\n", b"+OK\r\n"), (b"QUIT\r\n", b"+OK\r\n"))

    with log_in(server(after_login(script))) as client:
        for _ in pipelined(client.conversation, requests("DELE", 1), window):
            break
        client.noop()
        client.quit()


def test_a_pipeline_does_not_begin_behind_a_reply_that_is_left_unread(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"RETR 1\r\n", b"+OK\r\nhello\r\n.\r\n"))
        talk.stall()

    running = server(after_login(script))
    with log_in(running) as client:
        client.iter_message(0)
        with pytest.raises(SessionEnded, match="not read to its end"):
            texts(client, requests("DELE", 2), WIDE)
    assert sent_after_login(running) == b"RETR 1\r\n"


def test_a_command_in_the_middle_of_a_pipeline_ends_the_session(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        for number in range(1, 4):
            talk.expect(b"DELE %d\r\n" % number)
        talk.say(b"+OK\r\n")
        talk.stall()

    running = server(after_login(script))
    with log_in(running) as client, pytest.raises(SessionEnded):
        for _ in pipelined(client.conversation, requests("DELE", 3), WIDE):
            client.noop()
    assert sent_after_login(running) == commands(b"DELE", 3)


def test_octets_that_were_not_requested_are_found_behind_the_last_reply(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        for number in range(1, 4):
            talk.expect(b"DELE %d\r\n" % number)
        talk.say(b"+OK\r\n" * 4)
        talk.stall()

    running = server(after_login(script))
    with log_in(running) as client, pytest.raises(POP3Error, match="not requested"):
        texts(client, requests("DELE", 3), WIDE)
        client.quit()
    assert sent_after_login(running) == commands(b"DELE", 3)
