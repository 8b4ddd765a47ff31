"""A server that was met before gets at once what it would get anyway; what it loses, it gets again."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from pop3fetch.pop3 import known_session
from pop3fetch.status import Status
from tests.support import certificates
from tests.support.command import Ended
from tests.support.in_process import Here
from tests.support.mail_server import CAPABILITIES, Mailbox
from tests.support.scripted_server import PATIENCE, Script, StartServer, Talk
from tests.support.sessions import capa, everything_sent, serve

SECRET = "secret-7f3a"
AUTH = b"AUTH PLAIN " + base64.b64encode(b"\0alice\0" + SECRET.encode()) + b"\r\n"
COUNT = b"STAT\r\nQUIT\r\n"
LISTING = b"CAPA\r\nLIST\r\nUIDL\r\n"
SCRAM = tuple(name.replace(b"PLAIN", b"PLAIN SCRAM-SHA-256") for name in CAPABILITIES)
NO_PLAIN = tuple(name for name in CAPABILITIES if not name.startswith(b"SASL"))
NO_PIPELINING = tuple(name for name in CAPABILITIES if name != b"PIPELINING")
DELAYING = (*CAPABILITIES, b"LOGIN-DELAY 0 USER")

Run = Callable[..., Ended]


def lose(talk: Talk) -> None:
    talk.expect(b"CAPA\r\n")
    talk.say(b"+OK ready\r\n")
    talk.stall()


def mailbox(capabilities: tuple[bytes, ...] = CAPABILITIES, **options: object) -> Mailbox:
    """Return alice's maildrop with one message."""
    message = b"Subject: x\r\n\r\ntext\r\n"
    return Mailbox([message], capabilities=capabilities, password=SECRET, **options)  # type: ignore[arg-type]


def patient(capabilities: tuple[bytes, ...] = CAPABILITIES) -> Script:
    """Return the same, at a server that must be asked step by step."""

    def script(talk: Talk) -> None:
        maildrop = mailbox(capabilities)

        def first(talk: Talk) -> None:
            talk.expect_nothing_more()
            maildrop.after.clear()

        maildrop.after[b"CAPA\r\n"] = first
        maildrop(talk)

    return script


@pytest.fixture
def run(here: Here, ca_file: Path, tmp_path: Path) -> Run:
    """Return what runs a command with alice's account at a port."""

    def run(port: int, command: str, *options: str, secret: str = SECRET) -> Ended:
        account = ["-a", f"pop3s://alice@localhost:{port}", "--ca-file", str(ca_file), *options]
        places = ("--state-dir", tmp_path / "state")
        return here(command, *account, *places, env={"POP3FETCH_PASSWORD": secret})

    return run


def test_what_a_server_loses_is_remembered(
    here: Here, server: StartServer, ca_file: Path, tmp_path: Path
) -> None:
    drop = Mailbox([b"Subject: x\r\n"], capabilities=NO_PIPELINING)
    running = serve(server, [lose, drop, drop, drop], "implicit")
    account = ("-a", f"pop3s://alice@localhost:{running.port}", "--ca-file", ca_file)
    for command in ("stat", "stat", "list"):
        state = ("--state-dir", tmp_path / "state")
        ended = here(command, *account, *state, env={"POP3FETCH_PASSWORD": "secret"})
        assert (ended.status, ended.err) == (0, b"")
    assert len(everything_sent(running)) == 4


def flight(following: bytes) -> Script:
    """Return a server that says nothing before it has the whole flight."""

    def script(talk: Talk) -> None:
        sent = b"CAPA\r\n" + AUTH + following
        assert talk.take(len(sent)) == sent
        talk.say(b"+OK ready\r\n" + capa(*CAPABILITIES) + b"+OK welcome\r\n")
        if following == COUNT:
            talk.say(b"+OK 1 20\r\n+OK bye\r\n")
        else:
            talk.say(capa(*CAPABILITIES) + b"+OK\r\n1 20\r\n.\r\n+OK\r\n1 uid-1\r\n.\r\n")
            talk.expect(b"QUIT\r\n")
            talk.say(b"+OK bye\r\n")

    return script


@pytest.mark.parametrize(
    ("command", "following", "printed"),
    [
        (["stat"], COUNT, b"1\t20\n"),
        (["list"], LISTING, b"1\t20\tuid-1\n"),
        (["get", "--mark"], LISTING, b""),
    ],
    ids=["stat", "list", "get"],
)
def test_all_goes_out_at_once(
    run: Run, server: StartServer, command: list[str], following: bytes, printed: bytes
) -> None:
    running = serve(server, [mailbox(sizes=[20]), flight(following)], "implicit")
    run(running.port, "get", "--mark")
    ended = run(running.port, *command)
    assert (ended.status, ended.out, ended.err) == (Status.OK, printed, b"")


@pytest.mark.parametrize(
    "options",
    [
        ["--no-pipelining"],
        ["--auth", "user"],
        ["--utf8"],
        ["--new"],
    ],
    ids=" ".join,
)
def test_what_the_user_forbids_is_not_sent_ahead(run: Run, server: StartServer, options: list[str]) -> None:
    running = serve(server, [mailbox(), patient()], "implicit")
    assert run(running.port, "stat").status == Status.OK
    assert run(running.port, "stat", *options).status == Status.OK
    everything_sent(running)


@pytest.mark.parametrize(
    "capabilities",
    [SCRAM, NO_PLAIN, NO_PIPELINING, DELAYING],
    ids=["SCRAM", "USER", "no PIPELINING", "delay"],
)
def test_a_server_that_may_not_get_all_at_once_is_asked_step_by_step(
    run: Run, server: StartServer, capabilities: tuple[bytes, ...]
) -> None:
    running = serve(server, patient(capabilities), "implicit")
    for _ in range(2):
        ended = run(running.port, "stat", "--auth", "plain" if capabilities is SCRAM else "auto")
        assert (ended.status, ended.err) == (Status.OK, b"")
    everything_sent(running)


# -- a server that changes between two sessions ------------------------------------------------


def losing_after(line: bytes) -> Script:
    """Return a server that loses what came with ``line``."""
    return mailbox(after={line: Talk.lose})


def mixing_up(talk: Talk) -> None:
    talk.expect(b"CAPA\r\n")
    talk.say(b"+OK ready\r\n" + capa(*CAPABILITIES) + capa(*CAPABILITIES) + b"+OK welcome\r\n")
    talk.stall()


def counting_before_the_login(talk: Talk) -> None:
    talk.expect(b"CAPA\r\n")
    talk.say(b"+OK ready\r\n" + capa(*CAPABILITIES) + b"+OK 1 20\r\n+OK welcome\r\n+OK bye\r\n")
    talk.stall()


def hanging_up(talk: Talk) -> None:
    talk.expect(b"CAPA\r\n")
    talk.close()


def hanging_up_after_the_login(talk: Talk) -> None:
    talk.expect(b"CAPA\r\n")
    talk.say(b"+OK ready\r\n" + capa(*CAPABILITIES) + b"+OK welcome\r\n")
    talk.close()


def asking_again(talk: Talk) -> None:
    talk.expect(b"CAPA\r\n")
    talk.say(b"+OK ready\r\n" + capa(*CAPABILITIES) + b"+ \r\n")
    talk.stall()


def refusing_what_follows(talk: Talk) -> None:
    talk.expect(b"CAPA\r\n")
    talk.say(b"+OK ready\r\n" + capa(*CAPABILITIES) + b"+OK welcome\r\n" + 2 * b"-ERR one by one\r\n")
    talk.stall()


def refusing_auth(talk: Talk) -> None:
    talk.expect(b"CAPA\r\n")
    talk.say(b"+OK ready\r\n" + capa(*NO_PLAIN) + 3 * b"-ERR unknown command\r\n")
    talk.stall()


@pytest.mark.parametrize(
    "second",
    [
        lose,
        losing_after(AUTH),
        losing_after(b"CAPA\r\n"),
        mixing_up,
        counting_before_the_login,
        hanging_up,
        hanging_up_after_the_login,
        asking_again,
        refusing_what_follows,
        refusing_auth,
    ],
    ids=lambda script: getattr(script, "__name__", "losing"),
)
def test_what_a_server_loses_it_gets_again_step_by_step(
    run: Run, server: StartServer, second: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_session, "VERDICT", 0.5)
    third = patient(NO_PLAIN if second is refusing_auth else CAPABILITIES)
    running = serve(server, [mailbox(), second, third, third], "implicit")
    for _ in range(3):
        begun = time.monotonic()
        ended = run(running.port, "stat")
        assert (ended.status, ended.out, ended.err) == (Status.OK, b"1\t20\n", b"")
        assert time.monotonic() - begun < PATIENCE
    everything_sent(running)


@pytest.mark.parametrize("command", [["list"], ["get", "--mark"]], ids=["list", "get"])
@pytest.mark.parametrize("line", [AUTH, b"LIST\r\n"], ids=["AUTH", "LIST"])
def test_a_listing_that_is_lost_is_asked_for_again(
    run: Run, server: StartServer, command: list[str], line: bytes
) -> None:
    def breaking(talk: Talk) -> None:
        mailbox(after={line: Talk.cut if line != AUTH else Talk.lose})(talk)

    running = serve(server, [mailbox(), breaking, mailbox()], "implicit")
    run(running.port, "stat")
    ended = run(running.port, *command)
    assert (ended.status, ended.err) == (Status.OK, b"")
    assert running.commands.count(AUTH) == 3


def refusing(reply: bytes) -> Script:
    """Return a server that refuses the login with ``reply``, and all that follows."""

    def script(talk: Talk) -> None:
        talk.expect(b"CAPA\r\n")
        talk.say(b"+OK ready\r\n" + capa(*CAPABILITIES))
        talk.expect(AUTH)
        talk.say(reply + 2 * b"-ERR log in first\r\n")
        talk.stall()

    return script


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (b"-ERR no\r\n", Status.NO_LOGIN),
        (b"-ERR [AUTH] no\r\n", Status.NO_LOGIN),
        (b"-ERR [IN-USE] later\r\n", Status.TRY_LATER),
    ],
)
def test_a_refused_login_is_one(run: Run, server: StartServer, reply: bytes, status: Status) -> None:
    running = serve(server, [mailbox(), refusing(reply)], "implicit")
    run(running.port, "stat")
    assert run(running.port, "stat").status == status
    everything_sent(running)  # two connections, and no more


def test_a_login_that_is_refused_slowly_is_one(run: Run, server: StartServer) -> None:
    def slow(talk: Talk) -> None:
        talk.expect(b"CAPA\r\n")
        talk.say(b"+OK ready\r\n" + capa(*CAPABILITIES))
        talk.drip(b"-ERR no\r\n", 0.3)
        talk.stall()

    running = serve(server, [mailbox(), slow], "implicit")
    run(running.port, "stat")
    assert run(running.port, "stat").status == Status.NO_LOGIN
    everything_sent(running)


@pytest.mark.parametrize(
    "capabilities", [SCRAM, NO_PIPELINING, DELAYING], ids=["SCRAM", "no PIPELINING", "delay"]
)
@pytest.mark.parametrize("command", ["stat", "list"])
def test_a_change_counts_from_the_next_session(
    run: Run, server: StartServer, capabilities: tuple[bytes, ...], command: str, tmp_path: Path
) -> None:
    running = serve(server, [mailbox(), mailbox(capabilities)], "implicit")
    for _ in range(2):
        ended = run(running.port, command)
        assert (ended.status, ended.err) == (Status.OK, b"")
    (file,) = (tmp_path / "state").glob("*.server")
    assert b"answers-at-once" not in file.read_bytes()
    everything_sent(running)


def test_a_late_greeting_is_waited_for(run: Run, server: StartServer) -> None:
    def late(talk: Talk) -> None:
        talk.take(len(b"CAPA\r\n" + AUTH + COUNT))
        talk.drip(b"+OK ready\r\n", 0.1)
        talk.say(capa(*CAPABILITIES) + b"+OK welcome\r\n+OK 1 20\r\n+OK bye\r\n")

    running = serve(server, [mailbox(), late], "implicit")
    run(running.port, "stat")
    assert run(running.port, "stat").out == b"1\t20\n"
    everything_sent(running)


@pytest.mark.parametrize(
    ("greeting", "status"),
    [(b"-ERR [SYS/TEMP] later\r\n", Status.TRY_LATER), (b"* OK IMAP4rev1\r\n", Status.PROTOCOL)],
)
def test_a_server_that_does_not_serve_is_not_asked_again(
    run: Run, server: StartServer, greeting: bytes, status: Status
) -> None:
    def script(talk: Talk) -> None:
        talk.say(greeting)
        talk.stall()

    running = serve(server, [mailbox(), script], "implicit")
    run(running.port, "stat")
    assert run(running.port, "stat").status == status
    everything_sent(running)


def test_nothing_is_sent_to_another_certificate(
    run: Run, server: StartServer, unknown_authority: trustme.CA
) -> None:
    first = serve(server, mailbox(), "implicit")
    run(first.port, "stat")
    first.stop()
    context = certificates.server_context(unknown_authority)
    second = server(mailbox(), tls="implicit", context=context, port=first.port)
    assert run(first.port, "stat").status == Status.PROTOCOL
    assert set(everything_sent(second)) == {b""}


def test_another_maildrop_is_fetched_and_not_taken_for_the_known_one(
    run: Run, server: StartServer, tmp_path: Path
) -> None:
    other = Mailbox([b"Subject: y\r\n\r\nother\r\n"], uids=[b"uid-9"], password=SECRET)
    running = serve(server, [mailbox(), other], "implicit")
    for _ in range(2):
        assert run(running.port, "get", "-o", str(tmp_path / "M"), "--delete").status == Status.OK
    mails = sorted(file.read_bytes() for file in (tmp_path / "M/new").iterdir())
    assert mails == [b"Subject: x\n\ntext\n", b"Subject: y\n\nother\n"]
    everything_sent(running)
