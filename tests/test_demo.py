"""The embedded server: spoken to over a socket, octet for octet."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from pop3fetch.demo import MESSAGES, DemoServer
from pop3fetch.headers.summary import summarize

TIMEOUT = 10.0  # seconds; loopback needs none of them

SENT = [message if message.endswith(b"\r\n") else message + b"\r\n" for message in MESSAGES]


class Client:
    """A client without any cleverness."""

    def __init__(self, server: DemoServer) -> None:
        self.socket = socket.create_connection((server.host, server.port), timeout=TIMEOUT)
        self.file = self.socket.makefile("rb")
        self.greeting = self.line()

    def line(self) -> bytes:
        return self.file.readline()

    def send(self, octets: bytes) -> None:
        self.socket.sendall(octets)

    def ask(self, command: bytes) -> bytes:
        self.send(command + b"\r\n")
        return self.line()

    def content(self) -> bytes:
        """Return what follows a status line, as it is on the wire, up to the terminating line."""
        lines = []
        while (line := self.line()) != b".\r\n":
            assert line.endswith(b"\r\n")
            lines.append(line)
        return b"".join(lines)

    def ask_all(self, command: bytes) -> bytes:
        assert self.ask(command).startswith(b"+OK")
        return self.content()

    def log_in(self, server: DemoServer) -> None:
        assert self.ask(b"USER " + server.user.encode()).startswith(b"+OK")
        assert self.ask(b"PASS " + server.password.encode()).startswith(b"+OK")

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@contextmanager
def connected(server: DemoServer) -> Iterator[Client]:
    client = Client(server)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def server() -> Iterator[DemoServer]:
    with DemoServer() as server:
        yield server


@pytest.fixture
def stranger(server: DemoServer) -> Iterator[Client]:
    with connected(server) as client:
        yield client


@pytest.fixture
def alice(server: DemoServer) -> Iterator[Client]:
    with connected(server) as client:
        client.log_in(server)
        yield client


# Before the login


def test_the_server_is_on_loopback_with_a_new_password_each_time(server: DemoServer) -> None:
    assert server.host == "127.0.0.1"
    assert server.user == "alice"
    assert server.password != DemoServer().password


def test_the_greeting_has_a_new_valid_challenge_each_time(server: DemoServer) -> None:
    challenges = set()
    for _ in range(2):
        with connected(server) as client:
            match = re.fullmatch(rb"\+OK [^<>]+ (<[0-9a-z]+@[a-z.]+>)\r\n", client.greeting)
            assert match
            challenges.add(match[1])
    assert len(challenges) == 2


def test_capabilities_are_the_same_before_and_after_the_login(server: DemoServer, stranger: Client) -> None:
    before = stranger.ask_all(b"CAPA")
    stranger.log_in(server)
    assert stranger.ask_all(b"CAPA") == before
    assert before.split(b"\r\n") == [
        *(b"TOP", b"UIDL", b"USER", b"PIPELINING", b"RESP-CODES", b"AUTH-RESP-CODE", b"EXPIRE NEVER"),
        *(b"IMPLEMENTATION pop3fetch-demo", b""),
    ]


def apop(client: Client, password: str) -> bytes:
    challenge = client.greeting[client.greeting.index(b"<") : -2]
    return b"APOP alice " + hashlib.md5(challenge + password.encode()).hexdigest().encode()


def test_apop_logs_in(server: DemoServer, stranger: Client) -> None:
    assert stranger.ask(apop(stranger, server.password)) == b"+OK welcome, 12 messages are waiting\r\n"
    assert stranger.ask(b"NOOP") == b"+OK nothing done\r\n"


def test_keywords_may_be_in_any_case(server: DemoServer, stranger: Client) -> None:
    assert stranger.ask(b"user alice") == b"+OK now the password\r\n"
    assert stranger.ask(b"pAss " + server.password.encode()).startswith(b"+OK")


def test_wrong_secrets_are_refused_with_a_code(server: DemoServer, stranger: Client) -> None:
    refusal = b"-ERR [AUTH] the name or the password is wrong\r\n"
    assert stranger.ask(apop(stranger, "wrong")) == refusal
    assert stranger.ask(b"USER alice").startswith(b"+OK")
    assert stranger.ask(b"PASS wrong") == refusal
    assert stranger.ask(b"USER bob").startswith(b"+OK")
    assert stranger.ask(b"PASS " + server.password.encode()) == refusal
    assert stranger.ask(b"STAT") == b"-ERR log in first\r\n"
    stranger.log_in(server)


def test_pass_needs_a_user_of_its_own(server: DemoServer, stranger: Client) -> None:
    assert stranger.ask(b"PASS " + server.password.encode()) == b"-ERR USER comes first\r\n"
    assert stranger.ask(b"USER alice").startswith(b"+OK")
    assert stranger.ask(b"PASS wrong").startswith(b"-ERR")
    assert stranger.ask(b"PASS " + server.password.encode()) == b"-ERR USER comes first\r\n"


@pytest.mark.parametrize(
    "command", [b"STAT", b"LIST", b"UIDL 1", b"RETR 1", b"TOP 1 0", b"DELE 1", b"RSET", b"NOOP"]
)
def test_a_stranger_sees_no_mail(stranger: Client, command: bytes) -> None:
    assert stranger.ask(command) == b"-ERR log in first\r\n"


def test_a_second_login_is_refused(alice: Client) -> None:
    assert alice.ask(b"USER alice") == b"-ERR you are logged in\r\n"


@pytest.mark.parametrize("command", [b"", b" ", b"XYZZY", b"\0", b"RETR1", b"STLS"])
def test_an_unknown_command_is_refused(alice: Client, command: bytes) -> None:
    assert alice.ask(command) == b"-ERR unknown command\r\n"
    assert alice.ask(b"NOOP").startswith(b"+OK")


@pytest.mark.parametrize(
    "command", [b"RETR", b"RETR 1 2", b"TOP 1", b"STAT 1", b"LIST 1 2", b"DELE", b"QUIT now"]
)
def test_a_command_with_the_wrong_arguments_is_refused(alice: Client, command: bytes) -> None:
    assert alice.ask(command) == b"-ERR this is the wrong number of arguments\r\n"


@pytest.mark.parametrize("line", [b"NOOP" + b" " * 250 + b"\r\n", b"x" * 256])
def test_a_line_that_is_too_long_ends_the_session(alice: Client, line: bytes) -> None:
    alice.send(line)
    assert alice.line() == b"-ERR this line is too long, or has no end\r\n"
    assert alice.line() == b""


def test_half_a_line_is_not_a_command(server: DemoServer, alice: Client) -> None:
    alice.ask(b"DELE 1")
    alice.send(b"QUIT")
    alice.socket.shutdown(socket.SHUT_WR)
    assert alice.line() == b"-ERR this line is too long, or has no end\r\n"
    with connected(server) as again:
        again.log_in(server)
        assert again.ask(b"STAT").startswith(b"+OK 12 ")


# The mail


def test_stat_list_and_uidl_agree(alice: Client) -> None:
    sizes = [len(message) for message in SENT]
    assert alice.ask(b"STAT") == b"+OK 12 %d\r\n" % sum(sizes)
    assert alice.ask_all(b"LIST") == b"".join(b"%d %d\r\n" % row for row in enumerate(sizes, start=1))
    uids = [line.split() for line in alice.ask_all(b"UIDL").splitlines()]
    assert [number for number, _ in uids] == [b"%d" % number for number in range(1, 13)]
    assert len({uid for _, uid in uids}) == 12
    assert all(re.fullmatch(rb"[!-~]{1,70}", uid) for _, uid in uids)
    assert alice.ask(b"LIST 3") == b"+OK 3 %d\r\n" % sizes[2]
    assert alice.ask(b"UIDL 3") == b"+OK 3 %s\r\n" % uids[2][1]


@pytest.mark.parametrize("number", range(1, 13))
def test_a_message_arrives_octet_for_octet(alice: Client, number: int) -> None:
    status = alice.ask(b"RETR %d" % number)
    assert status == b"+OK %d octets\r\n" % len(SENT[number - 1])
    stuffed = alice.content()
    assert re.sub(rb"(?m)^\.", b"", stuffed) == SENT[number - 1]
    assert re.sub(rb"(?m)^\.", b"..", SENT[number - 1]) == stuffed


def test_top_is_the_header_and_some_lines(alice: Client) -> None:
    header, _, body = SENT[6].partition(b"\r\n\r\n")
    lines = body.splitlines(keepends=True)
    assert alice.ask_all(b"TOP 7 0") == header + b"\r\n\r\n"
    assert alice.ask_all(b"TOP 7 2") == header + b"\r\n\r\n" + lines[0] + b"..\r\n"
    assert alice.ask(b"RETR 7").startswith(b"+OK")
    assert alice.content() == alice.ask_all(b"TOP 7 999999999")


def test_top_of_an_empty_body_is_the_header(alice: Client) -> None:
    assert alice.ask_all(b"TOP 9 5") == SENT[8]


def test_top_wants_a_number_of_lines(alice: Client) -> None:
    assert alice.ask(b"TOP 1 -1") == b"-ERR this is not a number of lines\r\n"


@pytest.mark.parametrize("number", [b"0", b"13", b"-1", b"x", b"", b"1_0", b"1" * 10, "٣".encode()])
@pytest.mark.parametrize("command", [b"RETR %s", b"DELE %s", b"LIST %s", b"UIDL %s", b"TOP %s 0"])
def test_a_message_that_is_not_there_is_refused(alice: Client, command: bytes, number: bytes) -> None:
    assert alice.ask(command % number) == b"-ERR there is no such message\r\n"


def test_a_deleted_message_is_gone_for_the_session_and_comes_back_by_rset(alice: Client) -> None:
    assert alice.ask(b"DELE 2") == b"+OK it will be deleted\r\n"
    assert alice.ask(b"DELE 2") == b"-ERR there is no such message\r\n"
    assert alice.ask(b"RETR 2") == b"-ERR there is no such message\r\n"
    assert alice.ask(b"STAT") == b"+OK 11 %d\r\n" % (sum(map(len, SENT)) - len(SENT[1]))
    assert [line.split()[0] for line in alice.ask_all(b"LIST").splitlines()[:2]] == [b"1", b"3"]
    assert alice.ask(b"RSET") == b"+OK nothing will be deleted\r\n"
    assert alice.ask(b"STAT").startswith(b"+OK 12 ")


def test_only_quit_deletes(server: DemoServer) -> None:
    with connected(server) as first:
        first.log_in(server)
        first.ask(b"DELE 1")
        first.ask(b"DELE 12")
    with connected(server) as second:
        second.log_in(server)
        assert second.ask(b"STAT").startswith(b"+OK 12 ")
        uids = second.ask_all(b"UIDL").splitlines()
        second.ask(b"DELE 1")
        second.ask(b"DELE 12")
        assert second.ask(b"QUIT") == b"+OK 2 deleted, good-bye\r\n"
        assert second.line() == b""
    with connected(server) as third:
        third.log_in(server)
        assert third.ask(b"STAT").startswith(b"+OK 10 ")
        left = third.ask_all(b"UIDL").splitlines()
        assert [line.split()[1] for line in left] == [line.split()[1] for line in uids[1:-1]]


def test_quit_before_the_login_ends_the_session(stranger: Client) -> None:
    assert stranger.ask(b"QUIT") == b"+OK 0 deleted, good-bye\r\n"
    assert stranger.line() == b""


def test_a_session_keeps_its_numbers_while_another_deletes(server: DemoServer, alice: Client) -> None:
    with connected(server) as other:
        other.log_in(server)
        other.ask(b"DELE 1")
        assert other.ask(b"QUIT").startswith(b"+OK 1 deleted")
    assert alice.ask(b"LIST 1") == b"+OK 1 %d\r\n" % len(SENT[0])


def test_pipelined_commands_are_answered_in_order(server: DemoServer, stranger: Client) -> None:
    retrieve = b"".join(b"RETR %d\r\n" % number for number in range(1, 13))
    login = b"USER alice\r\nPASS %s\r\n" % server.password.encode()
    stranger.send(login + b"UIDL 1\r\n" + retrieve + b"NOOP\nQUIT\r\n")
    assert stranger.line() == b"+OK now the password\r\n"
    assert stranger.line().startswith(b"+OK welcome")
    assert stranger.line().startswith(b"+OK 1 ")
    for message in SENT:
        assert stranger.line() == b"+OK %d octets\r\n" % len(message)
        assert re.sub(rb"(?m)^\.", b"", stranger.content()) == message
    assert stranger.file.read() == b"+OK nothing done\r\n+OK 0 deleted, good-bye\r\n"


def test_a_command_may_come_in_pieces(alice: Client) -> None:
    for octet in b"NOOP\r\n":
        alice.send(bytes([octet]))
    assert alice.line() == b"+OK nothing done\r\n"


# Its end


def test_leaving_hangs_up_on_clients_that_wait() -> None:
    threads = threading.active_count()
    with ExitStack() as clients:
        with DemoServer() as server:
            silent = clients.enter_context(connected(server))
            reading = clients.enter_context(connected(server))
            reading.log_in(server)
        assert silent.line() == reading.line() == b""
    assert threading.active_count() == threads


def test_leaving_hangs_up_on_a_client_that_does_not_read() -> None:
    threads = threading.active_count()
    with ExitStack() as clients:
        with DemoServer() as server:
            client = clients.enter_context(connected(server))
            client.log_in(server)
            client.send(b"RETR 8\r\n" * 1000)  # 20 MB of replies: more than the buffers between the two hold
        assert threading.active_count() == threads


def test_a_client_that_vanishes_does_no_harm(server: DemoServer, capfd: pytest.CaptureFixture[str]) -> None:
    client = Client(server)
    client.log_in(server)
    client.send(b"RETR 8\r\n" * 100)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST instead of FIN
    client.close()
    with connected(server) as other:
        other.log_in(server)
    assert capfd.readouterr().err == ""


def test_nothing_listens_any_more_after_leaving() -> None:
    with DemoServer() as server:
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((server.host, server.port), timeout=TIMEOUT)


# The messages


def test_the_messages_are_what_the_demonstration_promises() -> None:
    assert len(MESSAGES) == 12
    summaries = [summarize(message) for message in MESSAGES]
    assert all(summary.date and summary.date.year == 2026 for summary in summaries)
    assert all(
        re.search(r"@(?:[a-z]+\.)?example\.(?:org|com)>$", summary.sender or "") for summary in summaries
    )
    assert len({summary.message_id for summary in summaries} - {None}) == 12
    assert [summary.subject for summary in summaries] == [
        "[teapot] Issue 418: short and stout",
        "Grüße aus Köln",
        "花見の場所はもう取りました（猫も来ます）",
        "הקפה מוכן (3 כוסות)",
        "Καλημέρα από τη Νάξο ☀",
        "The budget for the picnic",
        "... --- ...",
        "I have found my Enter key again",
        "I have nothing to say (eom)",
        "Cliffhanger",
        "Saturday, 2 pm, under the big oak",
        "Re: Saturday, 2 pm, under the big oak",
    ]


def test_the_messages_are_mail() -> None:
    for message in MESSAGES:
        header, end, _ = message.partition(b"\r\n\r\n")
        assert end
        assert all(re.match(rb"[A-Z][A-Za-z-]+: |[ \t]", line) for line in header.split(b"\r\n"))
        assert message.count(b"\n") == message.count(b"\r") == message.count(b"\r\n")
        assert all(len(word) <= 75 for word in re.findall(rb"=\?\S+\?=", message))


def test_the_messages_have_what_clients_stumble_over() -> None:
    assert [line for line in MESSAGES[6].split(b"\r\n") if line.startswith(b".")] == [
        b".",
        b"..two dots",
        b".profile",
        b"...",
    ]
    assert max(map(len, MESSAGES[7].split(b"\r\n"))) > 20_000
    assert MESSAGES[8].endswith(b"\r\n\r\n")
    assert not MESSAGES[9].endswith(b"\n")
