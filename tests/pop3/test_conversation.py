"""Commands and replies over one connection: time, ends, and octets that were not requested."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pop3fetch.errors import (
    CommandNotAllowed,
    ConnectionLost,
    InvalidArgument,
    POP3Error,
    ProtocolViolation,
    ServerErrorResponse,
    SessionEnded,
    TimedOut,
)
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.conversation import PROGRESS
from pop3fetch.pop3.login import LoginPolicy
from pop3fetch.pop3.machine import COMMANDS
from pop3fetch.status import Status
from tests.support.scripted_server import Script, StartServer, Talk
from tests.support.sessions import (
    NEVER,
    SOON,
    WAYS,
    after_login,
    capa,
    connect,
    everything_sent,
    log_in,
    play,
    sent_after_login,
    serve,
)

EACH_WAY = pytest.mark.parametrize("mode", WAYS)


# Replies


@EACH_WAY
def test_a_refusal_leaves_the_conversation_usable(mode: str, server: StartServer, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"NOOP\r\n", b"-ERR [SYS/TEMP/disk] not now\r\n"), (b"NOOP\r\n", b"+OK fine\r\n"))

    running = serve(server, after_login(script, mode), mode)
    with log_in(running, mode, ca_file) as client:
        with pytest.raises(ServerErrorResponse) as raised:
            client.conversation.ask("NOOP")
        assert (raised.value.command, raised.value.code) == ("NOOP", b"SYS/TEMP/disk")
        assert raised.value.text == b"[SYS/TEMP/disk] not now"
        assert raised.value.exit_status is Status.TRY_LATER
        assert client.conversation.ask("NOOP").text == b"fine"
    assert sent_after_login(running) == b"NOOP\r\nNOOP\r\n"


@pytest.mark.parametrize("reply", [b"+OKAY\r\n", b"* OK\r\n", b"\r\n", b"+ERR no\r\n", b"+OK fine\n"])
def test_an_invalid_reply_ends_the_conversation(reply: bytes, server: StartServer) -> None:
    running = server(after_login(lambda talk: play(talk, (b"NOOP\r\n", reply))))
    with log_in(running) as client:
        with pytest.raises(ProtocolViolation):
            client.noop()
        with pytest.raises(SessionEnded, match="broke the protocol"):
            client.noop()
    assert sent_after_login(running) == b"NOOP\r\n"


def test_what_is_called_before_a_wait_is_not_called_between_replies_that_came_together(
    server: StartServer,
) -> None:
    waits: list[int] = []

    def script(talk: Talk) -> None:
        for _ in range(3):
            talk.expect(b"NOOP\r\n")
        talk.say(b"+OK\r\n" * 3)
        talk.expect(b"NOOP\r\n")
        talk.say(b"+OK\r\n")

    running = server(after_login(script))
    with log_in(running) as client:
        client.conversation.before_wait = lambda: waits.append(len(waits))
        for _ in range(3):
            client.conversation.send("NOOP")
        client.conversation.flush()
        for _ in range(3):
            client.conversation.next_event()
        assert waits == [0]
        client.noop()
        assert waits == [0, 1]


# Time


def gives_up_in_time(begun: float) -> bool:
    return SOON * 0.9 <= time.monotonic() - begun < SOON + 1


@EACH_WAY
def test_a_status_line_that_drips_ends_in_time_though_each_read_succeeds(
    mode: str, server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        talk.expect(b"NOOP\r\n")
        talk.drip(b"+OK " + b"x" * 300, every=0.01)

    running = serve(server, after_login(script, mode), mode)
    with log_in(running, mode, ca_file) as client:
        client.timeout, begun = SOON, time.monotonic()
        with pytest.raises(TimedOut, match="waiting for the reply to NOOP"):
            client.noop()
        assert gives_up_in_time(begun)
        with pytest.raises(SessionEnded, match="timed out"):
            client.noop()
    assert sent_after_login(running) == b"NOOP\r\n"


def test_a_greeting_that_drips_ends_in_time(server: StartServer) -> None:
    running = server(lambda talk: talk.drip(b"+OK " + b"x" * 300, every=0.01))
    begun = time.monotonic()
    with pytest.raises(TimedOut, match="waiting for the greeting"):
        connect(running, LoginPolicy("off"), timeout=SOON)
    assert gives_up_in_time(begun)


@pytest.mark.parametrize("content", [b"x" * 300, b"x\r\n" * 100])
def test_content_that_drips_ends_in_time(content: bytes, server: StartServer) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"RETR 1\r\n", b"+OK\r\n"))
        talk.drip(content, every=0.01)

    with log_in(server(after_login(script))) as client:
        client.timeout = SOON
        blocks, begun = client.iter_message(0), time.monotonic()
        with pytest.raises(TimedOut, match="waiting for the reply to RETR 1"):
            list(blocks)
        assert gives_up_in_time(begun)


@EACH_WAY
def test_a_message_that_keeps_flowing_may_take_longer(mode: str, server: StartServer, ca_file: Path) -> None:
    times = 4

    def script(talk: Talk) -> None:
        play(talk, (b"RETR 1\r\n", b"+OK\r\n"))
        for _ in range(times):
            talk.say(b"x" * PROGRESS)
            talk.drip(b"\r\n", every=SOON / 6)
        talk.say(b".\r\n")

    running = serve(server, after_login(script, mode), mode)
    with log_in(running, mode, ca_file) as client:
        client.timeout, begun = SOON, time.monotonic()
        assert client.retrieve(0) == [b"x" * PROGRESS] * times
        assert time.monotonic() - begun > SOON


def test_the_time_that_a_reader_takes_between_two_blocks_does_not_count(
    server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = threading.Event()

    def script(talk: Talk) -> None:
        play(talk, (b"RETR 1\r\n", b"+OK\r\nhello\r\n"))
        assert taken.wait(NEVER)
        talk.drip(b"world\r\n.\r\n", every=SOON / 20)

    with log_in(server(after_login(script))) as client:
        blocks, clock = client.iter_message(0), time.monotonic
        first = next(blocks)
        monkeypatch.setattr(time, "monotonic", lambda: clock() + 2 * NEVER)  # a slow disk
        taken.set()
        assert first + b"".join(blocks) == b"hello\r\nworld\r\n"


SILENCES = {
    "in a status line": (b"NOOP\r\n", b"+O"),
    "before a status line": (b"NOOP\r\n", b""),
    "in content": (b"RETR 1\r\n", b"+OK\r\nhello\r\n"),
    "before the end of content": (b"RETR 1\r\n", b"+OK\r\nhello\r\n."),
    "in a list": (b"LIST\r\n", b"+OK\r\n1 12"),
    "at QUIT": (b"QUIT\r\n", b""),
}


def ask_and_read(client: POP3Client, command: bytes) -> None:
    name, *numbers = command.decode().split()
    client.conversation.ask(name, *map(int, numbers))
    if COMMANDS[name].multiline:
        list(client.conversation.blocks())


@pytest.mark.parametrize("where", SILENCES)
def test_silence_ends_in_time(where: str, server: StartServer) -> None:
    command, said = SILENCES[where]
    named = command.decode().strip()  # with the message's number

    def script(talk: Talk) -> None:
        play(talk, (command, said))
        talk.stall()

    running = server(after_login(script))
    with log_in(running) as client:
        client.timeout, begun = SOON, time.monotonic()
        with pytest.raises(TimedOut, match=f"waiting for the reply to {named}") as raised:
            ask_and_read(client, command)
        assert gives_up_in_time(begun)
        assert raised.value.is_temporary
        assert not raised.value.may_await_tls
    assert sent_after_login(running) == command


def test_without_a_timeout_a_reply_is_waited_for(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        talk.expect(b"NOOP\r\n")
        talk.drip(b"+OK\r\n", every=0.01)

    with log_in(server(after_login(script)), timeout=None) as client:
        assert client.timeout == 0
        client.noop()


# Ends


ENDS: dict[str, Script] = {
    "FIN": lambda talk: talk.close(),
    "FIN without notice": lambda talk: talk.close(notify=False),
    "RST": lambda talk: talk.cut(),
}


@EACH_WAY
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("where", SILENCES)
def test_an_end_of_the_stream_is_a_lost_connection(
    where: str, end: str, mode: str, server: StartServer, ca_file: Path
) -> None:
    command, said = SILENCES[where]

    def script(talk: Talk) -> None:
        play(talk, (command, said))
        ENDS[end](talk)

    running = serve(server, after_login(script, mode), mode)
    with log_in(running, mode, ca_file) as client:
        with pytest.raises(ConnectionError) as raised:
            ask_and_read(client, command)
        assert isinstance(raised.value, ConnectionLost)
        assert raised.value.during == f"while waiting for the reply to {command.decode().strip()}"
        assert raised.value.exit_status is Status.TRY_LATER
        with pytest.raises(SessionEnded, match="lost the connection"):
            client.noop()
    assert sent_after_login(running) == command


@EACH_WAY
def test_an_end_between_two_commands_is_seen_at_the_next(
    mode: str, server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"NOOP\r\n", b"+OK\r\n"))
        talk.close()

    running = serve(server, after_login(script, mode), mode)
    with log_in(running, mode, ca_file) as client:
        client.noop()
        with pytest.raises(ConnectionLost) as raised:
            while True:  # the end may still be on its way when the next command is sent
                client.noop()
        assert raised.value.exit_status is Status.TRY_LATER


# Octets that were not requested


@EACH_WAY
@pytest.mark.parametrize("extra", [b"+OK one more\r\n", b"+OK", b"\r\n", b"\0"])
def test_octets_behind_a_reply_are_not_taken_for_the_next(
    extra: bytes, mode: str, server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"NOOP\r\n", b"+OK\r\n" + extra))
        talk.stall()

    running = serve(server, after_login(script, mode), mode)
    with log_in(running, mode, ca_file) as client:
        client.noop()
        with pytest.raises(ProtocolViolation, match="not requested") as raised:
            client.delete(0)
        assert raised.value.exit_status is Status.PROTOCOL
        with pytest.raises(SessionEnded):
            client.quit()
    assert sent_after_login(running) == b"NOOP\r\n"


def test_octets_behind_content_are_not_taken_for_the_next_reply(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"RETR 1\r\n", b"+OK\r\nhello\r\n.\r\n+OK deleted\r\n"))
        talk.stall()

    running = server(after_login(script))
    with log_in(running) as client:
        assert client.retrieve(0) == [b"hello"]
        with pytest.raises(ProtocolViolation, match="not requested"):
            client.delete(0)
    assert sent_after_login(running) == b"RETR 1\r\n"


@EACH_WAY
def test_octets_that_come_on_their_own_end_the_conversation(
    mode: str, server: StartServer, ca_file: Path
) -> None:
    logged_in = threading.Event()

    def script(talk: Talk) -> None:
        assert logged_in.wait(NEVER)
        talk.say(b"+OK new mail\r\n")
        talk.stall()

    running = serve(server, after_login(script, mode), mode)
    with log_in(running, mode, ca_file) as client:
        logged_in.set()
        looks = iter(client.conversation.transport.read_pending, None)
        client.conversation.session.receive(next(filter(None, looks)))  # now they are here
        with pytest.raises(ProtocolViolation, match="not requested"):
            client.noop()
    assert sent_after_login(running) == b""


@pytest.mark.parametrize("words", [b"-ERR idle for too long\r\n", b"-err [SYS/TEMP] going down\r\n"])
def test_a_farewell_is_a_lost_connection_with_its_words(words: bytes, server: StartServer) -> None:
    running = server(after_login(lambda talk: play(talk, (b"NOOP\r\n", b"+OK\r\n" + words))))
    with log_in(running) as client:
        client.noop()
        with pytest.raises(ConnectionLost) as raised:
            client.noop()
        assert raised.value.exit_status is Status.TRY_LATER
        assert words.decode().split(maxsplit=1)[1].strip() in str(raised.value)
        assert "between two commands" in str(raised.value)
    assert sent_after_login(running) == b"NOOP\r\n"


@pytest.mark.parametrize("injected", [b"+OK ready\r\n", b"+OK\r\n+OK\r\n", b"\x16\x03\x03", b"\n"])
def test_octets_before_the_handshake_end_it_before_it_begins(
    injected: bytes, server: StartServer, ca_file: Path
) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK ready\r\n")
        play(talk, (b"CAPA\r\n", capa(b"STLS")), (b"STLS\r\n", b"+OK begin\r\n" + injected))
        talk.stall()

    running = server(script)
    with connect(running, LoginPolicy("auto"), ca_file) as client:
        with pytest.raises(ProtocolViolation, match="before the TLS handshake") as raised:
            client.login("alice", "secret")
        assert raised.value.exit_status is Status.PROTOCOL
        assert not client.started_tls
    assert everything_sent(running) == [b"CAPA\r\nSTLS\r\n"]


# What is left unread


def unread(talk: Talk) -> None:
    play(talk, (b"RETR 1\r\n", b"+OK\r\nhello\r\nworld\r\n.\r\n"))
    talk.stall()


def test_content_that_is_left_before_its_end_ends_the_conversation(server: StartServer) -> None:
    running = server(after_login(unread))
    with log_in(running) as client:
        client.conversation.ask("RETR", 1)
        for _ in client.conversation.blocks():
            break
        with pytest.raises(SessionEnded, match="not read to its end"):
            client.conversation.ask("NOOP")
    assert sent_after_login(running) == b"RETR 1\r\n"


def test_content_that_was_not_read_ends_the_conversation(server: StartServer) -> None:
    running = server(after_login(unread))
    with log_in(running) as client:
        client.conversation.ask("RETR", 1)
        for _ in range(2):
            with pytest.raises(SessionEnded, match="not read to its end"):
                client.conversation.ask("NOOP")
    assert sent_after_login(running) == b"RETR 1\r\n"


# What is not sent at all


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("USER", "alice"), CommandNotAllowed),
        (("RETR", "1\r\nDELE 1"), InvalidArgument),
        (("XTND", "x" * 255), InvalidArgument),
        (("NO OP",), InvalidArgument),
    ],
)
def test_an_invalid_command_is_not_sent_and_does_no_harm(
    command: tuple[str, ...], error: type[POP3Error], server: StartServer
) -> None:
    running = server(after_login(lambda talk: play(talk, (b"NOOP\r\n", b"+OK\r\n"))))
    with log_in(running) as client:
        with pytest.raises(error):
            client.conversation.ask(*command)
        client.noop()
    assert sent_after_login(running) == b"NOOP\r\n"


def test_a_sasl_response_that_is_not_awaited_is_not_sent(server: StartServer) -> None:
    running = server(after_login(lambda talk: talk.stall()))
    with log_in(running) as client, pytest.raises(CommandNotAllowed):
        client.conversation.exchange(b"AGFsaWNl")
    assert sent_after_login(running) == b""


def test_a_write_that_fails_ends_the_conversation(server: StartServer) -> None:
    running = server(after_login(lambda talk: talk.stall()))
    with log_in(running) as client:
        client.conversation.send("NOOP")
        client.conversation.transport.close()
        with pytest.raises(ConnectionLost, match="while waiting for the reply to NOOP"):
            client.conversation.flush()
        assert client.conversation.session.over


# The trace


def test_the_trace_has_every_line_in_order(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"RETR 1\r\n", b"+OK 7 octets\r\nhello\r\n.\r\n"), (b"DELE 9\r\n", b"-ERR no\r\n"))

    told: list[tuple[str, bytes]] = []
    running = server(after_login(script))
    with log_in(running, trace=lambda mark, line: told.append((mark, line))) as client:
        client.retrieve(0)
        with pytest.raises(ServerErrorResponse):
            client.delete(8)
    assert told == [
        ("<", b"+OK ready"),
        (">", b"CAPA"),
        ("<", b"+OK"),
        ("<", b"(0 octets)"),
        (">", b"USER alice"),
        ("<", b"+OK"),
        (">", b"PASS (secret)"),
        ("<", b"+OK"),
        (">", b"RETR 1"),
        ("<", b"+OK 7 octets"),
        ("<", b"(7 octets)"),
        (">", b"DELE 9"),
        ("<", b"-ERR no"),
    ]


def test_a_secret_is_one_whatever_case_the_command_is_written_in(server: StartServer) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK ready\r\n")
        play(talk, (b"PASS open sesame\r\n", b"+OK\r\n"))

    told: list[bytes] = []
    with connect(server(script), LoginPolicy("off"), trace=lambda mark, line: told.append(line)) as client:
        client.send_short("pass", "open sesame")
    assert told == [b"+OK ready", b"PASS (secret)", b"+OK"]
