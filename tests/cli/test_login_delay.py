"""A server's LOGIN-DELAY, from one run to the next."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pop3fetch.sessions.login_delay import LoginDelay
from tests.support.command import Ended
from tests.support.in_process import Here
from tests.support.mail_server import CAPABILITIES, Mailbox
from tests.support.scripted_server import StartServer, Talk
from tests.support.served_mail import GREETING, Post, StartPost

COMMANDS = [["stat"], ["list"], ["get"], ["get", "-o", "-", "1"], ["rm", "1"], ["caps"], ["login"]]
DELAY = (*CAPABILITIES, b"LOGIN-DELAY 600")


def error(ended: Ended) -> str:
    (line,) = ended.err.decode().splitlines()
    return line.removeprefix("pop3fetch: ")


@pytest.fixture
def remembered(home: Path) -> Callable[[], list[Path]]:
    """Return what finds the files in which a delay is kept."""
    return lambda: sorted((home / ".local/state/pop3fetch").glob("*.login*"))


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_no_command_connects_inside_the_delay(here: Here, post: StartPost, arguments: list[str]) -> None:
    started = post(capabilities=DELAY)
    assert here("stat", env=started.environment).status == 0
    ended = here(*arguments, env=started.environment)
    assert ended.status == 75
    host = f"127.0.0.1:{started.server.port}"
    assert error(ended).startswith(f"not logging in: alice@{host} allows it in ")
    assert error(ended).endswith(" s (LOGIN-DELAY)")
    assert len(started.server.talks) == 1
    assert ended.out == b""


def test_a_short_delay_is_waited_for(here: Here, post: StartPost, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    clock, wait = (lambda: time.time() + sum(waited)), (lambda seconds, interrupts: waited.append(seconds))
    monkeypatch.setattr(LoginDelay.await_end, "__defaults__", (clock, wait))
    monkeypatch.setattr("pop3fetch.sessions.sessions.pause", wait)
    started = post(capabilities=(*CAPABILITIES, b"LOGIN-DELAY 30"))
    listed = here("list", env=started.environment).out
    ended = here("get", "-o", "-", "--stdin", env=started.environment, stdin=listed.split(b"\t")[0] + b"\n")
    assert (ended.status, ended.err) == (0, b"")
    assert len(waited) == 1 and 0 < waited[0] <= 30


@pytest.mark.parametrize("arguments", COMMANDS[:-1], ids=" ".join)
def test_each_command_that_logs_in_remembers_the_delay(
    here: Here, post: StartPost, arguments: list[str]
) -> None:
    started = post(capabilities=DELAY)
    assert here(*arguments, env=started.environment).status == 0
    assert here("stat", env=started.environment).status == 75
    assert len(started.server.talks) == 1


def announcing(before: list[bytes], within: list[bytes], post: StartPost) -> Post:
    """Return a server whose capabilities are others once alice is in (RFC 2449 section 5)."""
    started = post(capabilities=(*CAPABILITIES, *before), greeting=b"+OK\r\n")
    entered = (*CAPABILITIES, *within)
    started.mailbox.after[b"PASS secret\r\n"] = lambda talk: setattr(started.mailbox, "capabilities", entered)
    return started


@pytest.mark.parametrize("before", [[], [b"LOGIN-DELAY 9 USER"]], ids=["nothing", "of all users"])
@pytest.mark.parametrize("arguments", COMMANDS[1:-1], ids=" ".join)
def test_a_delay_that_is_announced_after_the_login_counts(
    here: Here,
    post: StartPost,
    remembered: Callable[[], list[Path]],
    arguments: list[str],
    before: list[bytes],
) -> None:
    started = announcing(before, [b"LOGIN-DELAY 600"], post)
    options = ["--auth", "user", "--allow-insecure-login"]
    assert here(*arguments, *options, env=started.environment).status == 0
    (file,) = remembered()
    assert file.read_bytes().endswith(b" 600\n")
    assert here("stat", *options, env=started.environment).status == 75
    assert len(started.server.talks) == 1


def test_stat_requests_the_delay_again_if_it_depends_on_the_user(here: Here, post: StartPost) -> None:
    options = ["--auth", "user", "--allow-insecure-login"]
    for before, within, asked in (
        ([], [], 1),
        ([b"LOGIN-DELAY 900"], [], 1),
        ([b"LOGIN-DELAY 900 USER"], [b"LOGIN-DELAY 600"], 2),
    ):
        started = announcing(before, within, post)
        assert here("stat", *options, env=started.environment).status == 0
        assert started.verbs.count(b"CAPA") == asked


def test_the_delay_of_other_users_does_not_count(
    here: Here, post: StartPost, remembered: Callable[[], list[Path]]
) -> None:
    started = announcing([b"LOGIN-DELAY 900 USER"], [b"LOGIN-DELAY 0"], post)
    options = ["--auth", "user", "--allow-insecure-login"]
    assert here("list", *options, env=started.environment).status == 0
    assert remembered() == []


def test_capabilities_that_are_not_sent_again_after_the_login_are_kept(
    here: Here, post: StartPost, remembered: Callable[[], list[Path]]
) -> None:
    started = announcing([b"LOGIN-DELAY 900"], [], post)
    options = ["--auth", "user", "--allow-insecure-login"]
    assert here("list", *options, env=started.environment).status == 0
    assert len(remembered()) == 1


def test_a_delay_that_is_over_does_not_prevent_a_login(
    here: Here, post: StartPost, remembered: Callable[[], list[Path]]
) -> None:
    started = post(capabilities=DELAY)
    assert here("stat", env=started.environment).status == 0
    (file,) = remembered()
    moment, seconds = map(int, file.read_bytes().split())
    file.write_text(f"{moment - 600} {seconds}\n")
    assert here("stat", env=started.environment).status == 0


@pytest.mark.parametrize(
    ("reply", "status"), [(b"-ERR wrong\r\n", 77), (b"-ERR [LOGIN-DELAY] not so often\r\n", 75)]
)
def test_a_login_that_is_refused_begins_no_delay(
    here: Here, post: StartPost, remembered: Callable[[], list[Path]], reply: bytes, status: int
) -> None:
    started = post(capabilities=DELAY, greeting=b"+OK\r\n", replies={b"PASS secret\r\n": reply})
    arguments = ["--auth", "user", "--allow-insecure-login"]
    assert here("stat", *arguments, env=started.environment).status == status
    assert remembered() == []


def test_without_a_delay_nothing_is_remembered(
    here: Here, post: StartPost, remembered: Callable[[], list[Path]]
) -> None:
    started = post()
    assert here("stat", env=started.environment).status == 0
    assert remembered() == []


def test_the_delay_is_the_accounts_and_not_the_servers(here: Here, server: StartServer) -> None:
    alice, bob = (Mailbox([], user=user, capabilities=DELAY) for user in ("alice", "bob"))
    running = server([alice, bob])
    for user in ("alice", "bob"):
        arguments = ["-a", running.url(user), "--tls", "off", "--allow-insecure-login"]
        assert here("stat", *arguments, env={"POP3FETCH_PASSWORD": "secret"}).status == 0


def test_the_delay_is_kept_in_the_state_folder_that_is_given(
    here: Here, post: StartPost, tmp_path: Path
) -> None:
    started = post(capabilities=DELAY)
    for status in (0, 75):
        assert here("stat", "--state-dir", tmp_path / "state", env=started.environment).status == status
    assert here("stat", env=started.environment).status == 0


def test_without_a_login_there_is_nothing_to_wait_for(here: Here, post: StartPost) -> None:
    started = post(capabilities=DELAY)
    assert here("stat", env=started.environment).status == 0
    host, port = "127.0.0.1", str(started.server.port)
    assert here("caps", "-H", host, "-p", port, "--tls", "off").status == 0


def test_a_second_connection_of_the_same_run_is_not_held_up(here: Here, server: StartServer) -> None:
    def cut_after_login(talk: Talk) -> None:
        if any(line.startswith(b"APOP") for line in talk.commands):
            talk.cut()

    breaking, whole = (Mailbox([b"Subject: x\r\n\r\n"], capabilities=DELAY, greeting=GREETING) for _ in "12")
    breaking.after[b"CAPA\r\n"] = cut_after_login
    running = server([breaking, whole])
    ended = here("get", env={"POP3FETCH_ACCOUNT": running.url(), "POP3FETCH_PASSWORD": "secret"})
    assert (ended.status, ended.err) == (0, b"")
    assert running.commands[-1] == b"QUIT\r\n"
