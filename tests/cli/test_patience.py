"""`get --patience`: what is silent, what is reported, and what is not temporary."""

from __future__ import annotations

import errno
import os
from datetime import datetime
from pathlib import Path

import pytest

from pop3fetch.record.place import Lock
from tests.support.clock import NIGHT, Clock
from tests.support.command import Ended, Run
from tests.support.in_process import Here
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import StartServer, Talk
from tests.support.served_mail import GREETING, Post, StartPost, delivered
from tests.support.terminal import Terminal

MINUTE, HOUR, DAY = 60, 3600, 86_400
BUSY = b"-ERR [IN-USE] try again later\r\n"
SILENT = Ended(75, b"", b"")
SINCE = datetime.fromtimestamp(NIGHT).isoformat(" ", "minutes")


@pytest.fixture
def down(post: StartPost) -> Post:
    """Return a server whose mailbox is in use for now."""
    return post(greeting=BUSY)


@pytest.fixture
def failing(home: Path) -> Path:
    """Return the folder in which the failures of accounts are kept."""
    return home / ".local/state/pop3fetch"


def get(here: Here, served: Post, *options: str, patience: str = "6h") -> Ended:
    return here("get", "--patience", patience, *options, env=served.environment)


def lines(ended: Ended) -> list[str]:
    return [line.removeprefix("pop3fetch: ") for line in ended.err.decode().splitlines()]


# -- one outage -------------------------------------------------------------------------------


def test_a_failure_within_patience_is_silent(here: Here, down: Post, clock: Clock) -> None:
    for _ in range(6):
        assert get(here, down) == SILENT
        clock.forward(HOUR - 1)


def test_a_lasting_failure_is_one_line_and_another_status(here: Here, down: Post, clock: Clock) -> None:
    get(here, down)
    clock.forward(6 * HOUR)
    ended = get(here, down)
    assert (ended.status, ended.out) == (69, b"")
    account = f"alice@127.0.0.1:{down.server.port}"
    why = "the server refused the connection: [IN-USE] try again later"
    assert lines(ended) == [f"fetching from {account} has failed since {SINCE} (2 runs): {why}"]


def test_the_line_is_repeated_once_a_day(here: Here, down: Post, clock: Clock) -> None:
    reported = []
    for hour in range(60):
        ended = get(here, down)
        assert ended.status == (75 if hour < 6 else 69)
        reported += [hour] * len(lines(ended))
        clock.forward(HOUR)
    assert reported == [6, 30, 54]


def test_the_end_of_a_reported_failure_is_one_line(
    here: Here, down: Post, clock: Clock, failing: Path
) -> None:
    for _ in range(3):
        get(here, down)
        clock.forward(3 * HOUR)
    down.mailbox.greeting = GREETING
    ended = get(here, down)
    account = f"alice@127.0.0.1:{down.server.port}"
    assert ended.status == 0
    assert lines(ended) == [f"fetching from {account} works again; it had failed since {SINCE} (3 runs)"]
    assert get(here, down) == Ended(0, b"", b"")
    assert list(failing.glob("*.failing*")) == []


def test_the_end_of_a_failure_within_patience_is_silent(here: Here, down: Post, clock: Clock) -> None:
    get(here, down)
    down.mailbox.greeting = GREETING
    assert get(here, down) == Ended(0, b"", b"")
    down.mailbox.greeting = BUSY
    clock.forward(6 * HOUR)
    assert get(here, down) == SILENT, "a success in between begins the time anew"


def test_a_run_without_patience_that_goes_through_ends_the_failures(
    here: Here, down: Post, clock: Clock
) -> None:
    get(here, down)
    down.mailbox.greeting = GREETING
    assert here("get", env=down.environment).status == 0
    down.mailbox.greeting = BUSY
    clock.forward(6 * HOUR)
    assert get(here, down) == SILENT, "this failure is the first one"


def test_a_count_that_cannot_be_removed_does_not_fail_a_run(
    here: Here, down: Post, clock: Clock, failing: Path
) -> None:
    get(here, down)
    (counted,) = failing.glob("*.failing")
    counted.unlink()
    counted.mkdir()
    down.mailbox.greeting = GREETING
    assert here("get", env=down.environment).status == 0


def test_the_log_has_each_failure_with_its_reason(run: Run, down: Post, tmp_path: Path) -> None:
    log = tmp_path / "log"
    for times in (1, 2):
        ended = run("get", "--patience", "6h", "--log-file", log, env=down.environment)
        assert (ended.status, ended.err) == (75, b"")
        assert log.read_bytes().count(b" error: the server refused the connection: [IN-USE]") == times


def test_quiet_hides_neither_line(here: Here, down: Post, clock: Clock) -> None:
    get(here, down, "-q")
    clock.forward(6 * HOUR)
    assert len(lines(get(here, down, "-q"))) == 1
    down.mailbox.greeting = GREETING
    assert len(lines(get(here, down, "-q"))) == 1


# -- without patience -------------------------------------------------------------------------


def test_without_patience_each_run_reports_and_nothing_is_kept(
    here: Here, down: Post, clock: Clock, failing: Path
) -> None:
    for _ in range(2):
        ended = here("get", env=down.environment)
        assert (ended.status, lines(ended)) == (
            75,
            ["the server refused the connection: [IN-USE] try again later"],
        )
        clock.forward(DAY)
    assert list(failing.glob("*.failing*")) == []


@pytest.mark.parametrize("value", ["6", "6 h", "soon", "", "1y", "99999w"])
def test_a_word_that_is_not_a_duration_is_refused(here: Here, down: Post, value: str) -> None:
    ended = get(here, down, patience=value)
    assert (ended.status, ended.out) == (2, b"")
    assert lines(ended)[0].startswith("--patience must ")
    assert down.server.talks == []


def test_patience_may_be_a_key_of_the_account(here: Here, down: Post, clock: Clock, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f"[accounts.work]\nhost = '127.0.0.1'\nport = {down.server.port}\ntls = 'auto'\nuser = 'alice'\n"
        "password = 'secret'\npatience = '2h'\n"
    )
    config.chmod(0o600)
    assert here("get", "-c", config) == SILENT
    assert here("list", "-c", config).status == 75, "it is of get alone"
    clock.forward(2 * HOUR)
    assert here("get", "-c", config, "--patience", "3h") == SILENT
    assert here("get", "-c", config).status == 69


# -- what is temporary ------------------------------------------------------------------------


def hanging_up(talk: Talk) -> None:
    talk.say(GREETING)
    talk.line()


def mailbox(**options: object) -> Mailbox:
    return Mailbox([b"Subject: x\r\n\r\n"], **{"greeting": GREETING, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("script", "options"),
    [
        (hanging_up, []),
        (mailbox(greeting=b"-ERR [SYS/TEMP] try again later\r\n"), []),
        (mailbox(greeting=b"-ERR [LOGIN-DELAY] too soon\r\n"), []),
        (mailbox(greeting=b"-ERR too many connections\r\n"), []),
        (mailbox(replies={b"RETR 1\r\n": b"-ERR [SYS/TEMP] later\r\n"}), []),
        (lambda talk: talk.stall(), ["--timeout", "0.1"]),
    ],
    ids=["lost", "temporary", "login delay", "busy", "one message", "silent"],
)
def test_whatever_ends_with_75_is_silent(
    here: Here, server: StartServer, script: object, options: list[str], clock: Clock
) -> None:
    env = {"POP3FETCH_ACCOUNT": server(script).url(), "POP3FETCH_PASSWORD": "secret"}
    assert here("get", *options, "--patience", "6h", env=env) == SILENT
    assert here("get", *options, env=env).status == 75
    clock.forward(6 * HOUR)
    ended = here("get", *options, "--patience", "6h", env=env)
    assert (ended.status, len(lines(ended))) == (69, 1)


def test_a_host_that_cannot_be_resolved_now_is_silent(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def later(*_: object, **__: object) -> None:
        import socket

        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr("socket.getaddrinfo", later)
    env = {"POP3FETCH_ACCOUNT": "pop3s://alice@mail.example.org", "POP3FETCH_PASSWORD": "secret"}
    assert here("get", "--patience", "6h", env=env) == SILENT


def test_the_overlap_of_two_runs_is_silent(here: Here, post: StartPost, failing: Path) -> None:
    served = post()
    assert here("get", env=served.environment).status == 0
    [path] = failing.glob("*.lock")
    lock = Lock(path)
    assert get(here, served) == SILENT
    assert here("get", env=served.environment).status == 75
    lock.release()


def test_the_pause_after_a_refused_login_is_silent_and_the_refusal_is_not(
    here: Here, post: StartPost, clock: Clock
) -> None:
    served = post(password="new")
    statuses, said = [], []
    for _ in range(4 * 9):
        ended = get(here, served)
        statuses.append(ended.status)
        said += [line.partition(" ")[0] for line in lines(ended)]
        clock.forward(10 * MINUTE)
    assert statuses.count(77) == 5  # after 0, 20, 50, 110 and 230 minutes
    assert set(statuses) == {75, 77}
    assert said == ["the"] * 5


# -- what is not ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"greeting": b"* OK IMAP4rev1\r\n"}, 76),
        ({"password": "other"}, 77),
        ({"replies": {b"RETR 1\r\n": b"-ERR no\r\n"}}, 69),
    ],
    ids=["another protocol", "refused login", "refused message"],
)
def test_another_failure_is_reported_at_once(
    here: Here, post: StartPost, changes: dict[str, object], status: int
) -> None:
    served = post(**changes)
    ended = get(here, served)
    assert (ended.status, len(lines(ended))) == (status, 1)


def test_another_failure_ends_no_outage(here: Here, down: Post, clock: Clock) -> None:
    get(here, down)
    down.mailbox.greeting = b"* OK IMAP4rev1\r\n"
    assert get(here, down).status == 76
    down.mailbox.greeting = BUSY
    clock.forward(6 * HOUR)
    assert get(here, down).status == 69


def test_a_run_that_gets_through_ends_an_outage_even_if_a_message_fails(
    here: Here, down: Post, clock: Clock, maildir: Path
) -> None:
    get(here, down)
    clock.forward(6 * HOUR)
    get(here, down)
    down.mailbox.greeting = GREETING
    down.mailbox.replies[b"RETR 2\r\n"] = b"-ERR no\r\n"
    ended = get(here, down, "-o", str(maildir))
    assert ended.status == 69
    assert [line.split()[0] for line in lines(ended)] == ["message", "fetching"]
    assert len(delivered(maildir)) == 2


def test_messages_that_fail_for_now_beside_others_that_fail_are_reported(here: Here, post: StartPost) -> None:
    replies = {b"RETR 1\r\n": b"-ERR no\r\n", b"RETR 3\r\n": b"-ERR [SYS/TEMP] later\r\n"}
    ended = get(here, post(replies=replies))
    assert ended.status == 69
    assert [line.partition(": ")[0] for line in lines(ended)] == [
        "message 1 stays on the server",
        "message 3 stays on the server",
    ]


def test_messages_that_fail_for_now_are_one_line_once_patience_is_over(
    here: Here, post: StartPost, clock: Clock, maildir: Path
) -> None:
    served = post(replies={b"RETR %d\r\n" % number: b"-ERR [SYS/TEMP] later\r\n" for number in (1, 3)})
    assert get(here, served, "-o", str(maildir)) == SILENT
    assert len(delivered(maildir)) == 1
    clock.forward(6 * HOUR)
    ended = get(here, served, "-o", str(maildir))
    assert ended.status == 69
    [line] = lines(ended)
    assert line.endswith(
        "(2 runs): message 1 stays on the server: the server refused RETR 1: [SYS/TEMP] later"
    )


def test_failures_that_cannot_be_counted_are_not_hidden(
    here: Here, down: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    ended = get(here, down)
    assert (ended.status, lines(ended)) == (
        75,
        ["the server refused the connection: [IN-USE] try again later"],
    )


# -- for a person -----------------------------------------------------------------------------


def test_a_terminal_shows_a_failure_at_once(terminal: Terminal, down: Post) -> None:
    seen = terminal("get", "--patience", "6h", env=down.environment)
    assert seen.status == 75
    assert seen.screen == ["pop3fetch: the server refused the connection: [IN-USE] try again later"]


def test_verbose_shows_a_failure_at_once(here: Here, down: Post) -> None:
    ended = get(here, down, "-v")
    assert ended.status == 75
    assert lines(ended)[-1] == "the server refused the connection: [IN-USE] try again later"


# -- several accounts -------------------------------------------------------------------------


def test_each_account_has_its_own_patience(here: Here, post: StartPost, clock: Clock, tmp_path: Path) -> None:
    early, late, well = post(greeting=BUSY), post(), post()
    config = tmp_path / "config.toml"
    config.write_text(
        "".join(
            f"[accounts.{name}]\nhost = '127.0.0.1'\nport = {served.server.port}\ntls = 'auto'\n"
            f"user = 'alice'\npassword = 'secret'\noutput = '{tmp_path}/{name}'\n"
            for name, served in {"early": early, "late": late, "well": well}.items()
        )
    )
    config.chmod(0o600)

    def get_all() -> Ended:
        return here("get", "-A", "--patience", "6h", "-c", config)

    assert get_all() == SILENT
    clock.forward(5 * HOUR)
    late.mailbox.greeting = BUSY
    assert get_all() == SILENT
    clock.forward(2 * HOUR)
    ended = get_all()
    assert ended.status == 69, "the 75 of late does not hide it"
    [line] = lines(ended)
    assert line.startswith(
        f"early: fetching from alice@127.0.0.1:{early.server.port} has failed since {SINCE}"
    )
    clock.forward(5 * HOUR)
    early.mailbox.greeting = GREETING
    ended = get_all()
    assert ended.status == 69
    assert sorted(line.split(": ")[0] for line in lines(ended)) == ["early", "late"]
    late.mailbox.greeting = GREETING
    assert [line.split(": ")[0] for line in lines(get_all())] == ["late"]
    assert get_all() == Ended(0, b"", b"")
    assert [len(delivered(tmp_path / name)) for name in ("early", "late", "well")] == [3, 3, 3]


@pytest.mark.parametrize(
    ("wrong", "patience", "status"),
    [
        ({"password": "other"}, ["--patience", "6h"], 77),
        ({"replies": {b"RETR 1\r\n": b"-ERR no\r\n"}}, ["--patience", "6h"], 69),
        ({"replies": {b"RETR 1\r\n": b"-ERR no\r\n"}}, [], 75),
        ({}, ["--patience", "6h"], 75),
    ],
    ids=["refused login", "refused message", "refused message without patience", "none"],
)
def test_what_is_hidden_for_now_hides_no_other_failure(
    here: Here, post: StartPost, tmp_path: Path, wrong: dict[str, object], patience: list[str], status: int
) -> None:
    served = {"busy": post(greeting=BUSY), "other": post(**wrong)}
    config = tmp_path / "config.toml"
    config.write_text(
        "".join(
            f"[accounts.{name}]\nhost = '127.0.0.1'\nport = {each.server.port}\ntls = 'auto'\n"
            f"user = 'alice'\npassword = 'secret'\noutput = '{tmp_path}/{name}'\n"
            for name, each in served.items()
        )
    )
    config.chmod(0o600)
    assert here("get", "-A", *patience, "-c", config).status == status
