"""What runs without a person report elsewhere: to a program, a log and the last line of -A."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pop3fetch.cli.log import open_log
from pop3fetch.errors import ConfigurationError
from tests.support.command import Run
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer, Talk
from tests.support.swapping import USER, swap_before_opening

PASSWORD = {"POP3FETCH_PASSWORD": "secret"}
TWO = [b"Subject: one\r\n\r\nx\r\n", b"Subject: two\r\n\r\nxx\r\n"]


@pytest.fixture
def account(tmp_path: Path) -> Callable[[ScriptedServer], tuple[str | Path, ...]]:
    def arguments(server: ScriptedServer) -> tuple[str | Path, ...]:
        return ("-a", server.url(), "--tls", "off", "--allow-insecure-login", "-o", tmp_path / "mail")

    return arguments


Account = Callable[[ScriptedServer], tuple[str | Path, ...]]


def script(folder: Path, text: str) -> Path:
    file = folder / "on-new"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o700)
    return file


# -- --on-new


def test_a_program_gets_the_new_messages_once(
    run: Run, server: StartServer, account: Account, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = script(tmp_path, f'env >{out}.env; cat >>{out}; echo "$POP3FETCH_MESSAGES" >>{out}')
    mailbox = Mailbox(TWO)
    here = account(server(mailbox))
    for _ in range(2):  # nothing is new in the second run
        ended = run("get", *here, "--on-new", str(command), env=PASSWORD)
        assert (ended.status, ended.out, ended.err) == (0, b"", b"")
    *lines, count = out.read_text().splitlines()
    assert count == "2"
    objects = [json.loads(line) for line in lines]
    assert [(each["number"], each["size"], each["uid"]) for each in objects] == [
        (number, len(TWO[number - 1]), mailbox.uids[number - 1].decode()) for number in (1, 2)
    ]
    for each in objects:
        assert each["destination"] == f"maildir:{tmp_path / 'mail'}"
        assert Path(each["path"]).read_bytes().replace(b"\n", b"\r\n") == TWO[each["number"] - 1]
    environment = (tmp_path / "out.env").read_text()
    assert "POP3FETCH_ACCOUNT=" in environment
    assert "secret" not in environment


def test_a_program_gets_what_was_delivered_before_the_connection_broke(
    run: Run, server: StartServer, account: Account, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    mailbox = Mailbox(TWO, capabilities=(b"TOP", b"UIDL", b"SASL PLAIN"))
    mailbox.after = {b"RETR 1\r\n": Talk.cut}
    here = account(server(mailbox))
    ended = run("get", *here, "--on-new", str(script(tmp_path, f"cat >>{out}")), env=PASSWORD)
    assert (ended.status, ended.err.count(b"\n")) == (75, 1)
    assert [json.loads(line)["number"] for line in out.read_text().splitlines()] == [1]
    mailbox.after = {}
    ended = run("get", *here, "--on-new", str(script(tmp_path, f"cat >>{out}")), env=PASSWORD)
    assert (ended.status, ended.err) == (0, b"")
    assert [json.loads(line)["number"] for line in out.read_text().splitlines()] == [1, 2]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("echo no luck >&2; exit 3", b"on-new: exit status 3: no luck\n"),
        ("exit 1", b"on-new: exit status 1\n"),
        ("printf 'a\\033[31mb' >&2; exit 1", b"on-new: exit status 1: a\\x1b[31mb\n"),
    ],
)
def test_a_failure_of_the_program_is_reported_and_changes_nothing(
    run: Run, server: StartServer, account: Account, tmp_path: Path, text: str, error: bytes
) -> None:
    ended = run("get", *account(server(Mailbox(TWO))), "--on-new", str(script(tmp_path, text)), env=PASSWORD)
    assert ended.status == 0
    assert ended.err.endswith(error) and ended.err.count(b"\n") == 1
    assert len(list((tmp_path / "mail/new").iterdir())) == 2


def test_what_a_program_leaves_in_the_background_is_not_waited_for(
    run: Run, server: StartServer, account: Account, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    # Its input, output and errors are those of the program.
    command = script(tmp_path, f"exec 3<&0; (cat {fifo} >/dev/null) <&3 &\nexit 0")
    ended = run("get", *account(server(Mailbox(TWO))), "--on-new", str(command), env=PASSWORD)
    assert (ended.status, ended.err) == (0, b"")
    with fifo.open("wb"):  # which waits for a reader: it is still there
        pass


def test_a_program_that_does_not_exist_is_reported(
    run: Run, server: StartServer, account: Account, tmp_path: Path
) -> None:
    ended = run("get", *account(server(Mailbox(TWO))), "--on-new", str(tmp_path / "none"), env=PASSWORD)
    assert ended.status == 0
    assert b"none: No such file or directory" in ended.err


def test_words_for_a_shell_are_refused_before_anything_is_fetched(
    run: Run, server: StartServer, account: Account
) -> None:
    running = server([])  # expects no connection
    ended = run("get", *account(running), "--on-new", "notify-send mail && true", env=PASSWORD)
    assert ended.status == 2
    assert b"on-new" in ended.err and b"sh -c" in ended.err


# -- --log-file

LINE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}[+-][0-9]{2}:[0-9]{2}"
    r"( [^:]+?)? (error|warning|info): (.*)"
)


def test_a_log_has_a_line_per_event(run: Run, server: StartServer, account: Account, tmp_path: Path) -> None:
    log = tmp_path / "log"
    here = account(server(Mailbox(TWO)))
    for _ in range(2):
        ended = run("get", *here, "--log-file", log, env=PASSWORD)
        assert (ended.status, ended.out, ended.err) == (0, b"", b"")
    lines = [LINE.fullmatch(line) for line in log.read_text().splitlines()]
    assert all(lines)
    texts = [line[3] for line in lines if line]
    assert texts == [
        f"2 messages fetched (33 B) to maildir:{tmp_path / 'mail'}",
        "the server lists what it listed before: nothing is new",
        "no new messages",
    ]
    assert {line[2] for line in lines if line} == {"info"}
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_log_can_be_json_and_has_errors(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "log"
    arguments = ("get", "-H", "localhost", "-p", "1", "-u", "alice", "--tls", "off", "--log-file", log)
    ended = run(*arguments, "--log-json", env=PASSWORD)
    assert ended.status == 75
    *_, last = [json.loads(line) for line in log.read_text().splitlines()]
    assert last.keys() == {"time", "account", "level", "message"}
    assert (last["level"], last["account"]) == ("error", None)
    assert ended.err.decode() == f"pop3fetch: {last['message']}\n"


def test_the_name_of_an_account_forges_no_line_of_a_log(run: Run, tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "config.toml"
    file.write_text('[accounts."a\\n\\u001b[31mroot"]\nhost = "localhost"\nport = 1\nuser = "alice"\n')
    ended = run("get", "-A", "-c", file, "--log-file", log, env=PASSWORD)
    assert ended.status == 75
    octets = log.read_bytes()
    assert b"+00:00 a\\n\\x1b[31mroot error: " in re.sub(rb"[+-]\d\d:\d\d ", b"+00:00 ", octets)
    assert b"\x1b" not in octets
    assert all(re.match(rb"\d{4}-\d\d-\d\dT", line) for line in octets.splitlines())


def test_a_log_that_cannot_be_written_is_an_error(run: Run, tmp_path: Path) -> None:
    ended = run("get", "-H", "localhost", "--log-file", tmp_path / "none" / "log")
    assert ended.status == 78
    assert b"No such file or directory" in ended.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("kind", ["link", "file", "pipe"])
def test_a_log_that_another_user_has_put_there_is_refused(run: Run, tmp_path: Path, kind: str) -> None:
    shared, other = tmp_path / "shared", tmp_path / "other"
    shared.mkdir()
    shared.chmod(0o1777)
    other.touch(0o600)
    log = shared / "log"
    match kind:
        case "link":
            log.symlink_to(other)
        case "file":
            log.touch(0o666)
        case "pipe":
            os.mkfifo(log)
    os.chown(log, 54321, 54321, follow_symlinks=False)
    ended = run("get", "-H", "localhost", "-p", "1", "-u", "alice", "--log-file", log, env=PASSWORD)
    assert ended.status == 78
    assert ended.err.startswith(f"pop3fetch: --log-file {log}: ".encode())
    assert other.read_bytes() == b""
    assert kind == "pipe" or log.read_bytes() == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_log_that_becomes_a_link_as_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, secret = tmp_path / "log", tmp_path / "secret"
    for file in (log, secret):
        file.touch(0o600)
    swap_before_opening(log, log, secret, monkeypatch)
    with pytest.raises(ConfigurationError):
        open_log(str(log), as_json=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_root_logs_by_a_link_of_a_user_to_a_file_of_the_user(run: Run, tmp_path: Path) -> None:
    log, link = tmp_path / "home/file", tmp_path / "home/log"
    log.parent.mkdir()
    log.touch()
    link.symlink_to(log)
    for path in (log.parent, log, link):
        os.chown(path, USER, USER, follow_symlinks=False)
    run("get", "-H", "localhost", "-p", "1", "-u", "alice", "--log-file", link, env=PASSWORD)
    assert b" error: cannot connect to localhost port 1" in log.read_bytes()


def test_a_stream_may_be_the_log(run: Run) -> None:
    ended = run("get", "-H", "localhost", "-p", "1", "-u", "alice", "--log-file", "/dev/stdout", env=PASSWORD)
    assert ended.status == 75
    assert b" error: cannot connect to localhost port 1" in ended.out


def test_json_lines_need_a_log(run: Run) -> None:
    ended = run("get", "-H", "localhost", "--log-json")
    assert (ended.status, b"--log-json needs --log-file" in ended.err) == (2, True)


def configured(run: Run, server: ScriptedServer, tmp_path: Path, log_file: str, where: str) -> Path:
    """Write a configuration whose table ``where`` has the key `log_file`."""
    file = tmp_path / "config.toml"
    account = (
        f'host = "{server.host}"\nport = {server.port}\nuser = "alice"\ntls = "off"\n'
        f'allow_insecure_login = true\npassword = "secret"\noutput = "{tmp_path}/mail"\n'
    )
    own = log_file if where == "accounts" else ""
    defaults = log_file if where == "defaults" else ""
    file.write_text(f"[defaults]\n{defaults}[accounts.work]\n{account}{own}")
    file.chmod(0o600)
    return file


@pytest.mark.parametrize("options", [[], ["-A"], ["--log-json"]])
def test_the_configuration_file_may_name_the_log(
    run: Run, server: StartServer, tmp_path: Path, options: list[str]
) -> None:
    config = configured(run, server(Mailbox(TWO)), tmp_path, 'log_file = "mail.log"\n', "defaults")
    ended = run("get", "-c", config, *options)
    assert (ended.status, ended.out, ended.err) == (0, b"", b"")
    log = (run.home / "mail.log").read_text()
    assert "2 messages fetched (33 B)" in log
    assert log.startswith("{") == ("--log-json" in options)
    run("get", "-c", config, "--log-file", tmp_path / "other.log")
    assert "no new messages" in (tmp_path / "other.log").read_text()
    assert run("list", "-c", config).status == 0
    assert (run.home / "mail.log").read_text() == log, "the log is of get alone"


@pytest.mark.parametrize(
    ("line", "where"), [("log_file = 1\n", "defaults"), ('log_file = "x"\n', "accounts")]
)
def test_a_wrong_log_in_the_configuration_file_is_an_error(
    run: Run, server: StartServer, tmp_path: Path, line: str, where: str
) -> None:
    ended = run("get", "-c", configured(run, server([]), tmp_path, line, where))
    assert (ended.status, b"log_file" in ended.err) == (78, True)


# -- -A


def test_failed_accounts_are_listed_as_objects_and_in_the_last_line(
    run: Run, server: StartServer, tmp_path: Path
) -> None:
    running = server(Mailbox(TWO))
    common = 'user = "alice"\ntls = "off"\nallow_insecure_login = true\npassword = "secret"\n'
    file = tmp_path / "config.toml"
    file.write_text(
        f'[accounts.well]\nhost = "{running.host}"\nport = {running.port}\n'
        f'output = "{tmp_path}/well"\n{common}'
        f'[accounts.ill]\nhost = "{running.host}"\nport = 1\noutput = "{tmp_path}/ill"\n{common}'
        "[accounts.wrong]\nhots = 1\n"
    )
    file.chmod(0o600)
    ended = run("get", "-A", "-c", file, "--json", "-v")
    objects = [json.loads(line) for line in ended.out.splitlines()]
    failed = {each["account"]: each["status"] for each in objects if "error" in each}
    assert failed == {"ill": 75, "wrong": 78}
    assert [each["account"] for each in objects if "error" not in each] == ["well", "well"]
    assert ended.status == 78
    last = ended.err.decode().splitlines()[-1]
    assert last.startswith("pop3fetch: 3 accounts: 2 messages fetched (33 B); 2 failed: ")
    assert set(last.partition("failed: ")[2].split(", ")) == {"ill", "wrong"}
