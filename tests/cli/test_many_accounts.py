"""-A: how many sessions at once, whose line is whose, and the worst status."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from pop3fetch.status import Status
from tests.support.command import PATIENCE, Run
from tests.support.in_process import Here
from tests.support.mail_server import Mailbox
from tests.support.running import begun, last_words, read_and_leave
from tests.support.scripted_server import Script, ScriptedServer, StartServer, Talk
from tests.support.served_mail import GREETING, Post, StartPost, letters
from tests.support.terminal import Terminal

SOON = 10.0  # seconds; a fraction of what a connection or a password command may take

TABLE = """\
[accounts.{name}]
host = "{server.host}"
port = {server.port}
tls = "auto"
user = "{user}"
password = "secret"
output = "maildir:{folder}/{name}"
"""


class Crowd:
    """Makes sessions wait until so many are connected, then starts them; counts the most at once."""

    def __init__(self, script: Script, together: int) -> None:
        self.most = 0
        self._script = script
        self._barrier = threading.Barrier(together)
        self._talks: list[Talk] = []

    def __call__(self, talk: Talk) -> None:
        self._talks.append(talk)
        # A session is over for its client once QUIT is answered, and QUIT was taken before that.
        self.most = max(self.most, sum(b"QUIT\r\n" not in each.commands for each in self._talks))
        self._barrier.wait(PATIENCE)
        self._script(talk)


def config_for(
    folder: Path, accounts: Sequence[tuple[str, ScriptedServer]], user: str | None = "alice"
) -> Path:
    """Write a file of accounts with a name and a server each; without a ``user`` each has its own."""
    file = folder / "config.toml"
    tables = [
        TABLE.format(name=name, server=server, user=user or name, folder=folder) for name, server in accounts
    ]
    file.touch(0o600)
    file.write_text("\n".join(tables))
    return file


@pytest.fixture
def posts(post: StartPost, tmp_path: Path) -> tuple[Path, list[Post]]:
    """Return the file of three accounts, each with a server of its own, and what they serve."""
    served = [post(letters(count)) for count in (1, 2, 3)]
    names = ("one", "two", "three")
    return config_for(
        tmp_path, [(name, each.server) for name, each in zip(names, served, strict=True)]
    ), served


def test_lines_have_the_account_in_front(here: Here, posts: tuple[Path, list[Post]]) -> None:
    ended = here("stat", "-A", "-c", posts[0])
    assert sorted(ended.out.splitlines()) == [b"one\t1\t104", b"three\t3\t312", b"two\t2\t208"]
    assert (ended.status, ended.err) == (0, b"")


def test_objects_name_the_account(here: Here, posts: tuple[Path, list[Post]]) -> None:
    ended = here("list", "-A", "--json", "-c", posts[0])
    objects = [json.loads(line) for line in ended.out.splitlines()]
    assert sorted((shown["account"], shown["number"]) for shown in objects) == [
        ("one", 1), ("three", 1), ("three", 2), ("three", 3), ("two", 1), ("two", 2),
    ]  # fmt: skip


def test_every_account_has_its_own_output(here: Here, posts: tuple[Path, list[Post]], tmp_path: Path) -> None:
    ended = here("get", "-A", "-c", posts[0])
    assert (ended.status, ended.out, ended.err) == (0, b"", b"")
    assert [len(list((tmp_path / name / "new").iterdir())) for name in ("one", "two", "three")] == [1, 2, 3]


def test_messages_of_accounts_do_not_mix_on_standard_output(
    here: Here, post: StartPost, tmp_path: Path
) -> None:
    served = [post(letters(3, 300_000)) for _ in range(3)]
    config = config_for(tmp_path, [(f"n{number}", each.server) for number, each in enumerate(served)])
    ended = here("get", "-A", "-o", "-", "--crlf", "-c", config)
    assert ended.out == b"".join(letters(3, 300_000)) * 3


def test_the_status_is_the_worst_ones_and_the_others_are_done(
    here: Here, post: StartPost, tmp_path: Path
) -> None:
    good, missing, refused = post(letters(3)), post(letters(1)), post(password="other")
    config = config_for(
        tmp_path, [("refused", refused.server), ("missing", missing.server), ("good", good.server)]
    )
    ended = here("get", "-A", "-c", config, "2")
    assert ended.status == max(Status.NO_LOGIN, Status.NO_MESSAGE)
    assert sorted(ended.err.splitlines()) == [
        b"pop3fetch: missing: there is no message 2 on the server",
        b"pop3fetch: refused: the server refused the login of alice (APOP): [AUTH] wrong user or password; "
        + f"check the configuration file {config}".encode(),
    ]
    assert len(list((tmp_path / "good/new").iterdir())) == 1


def test_no_accounts_are_an_error(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("")
    ended = here("stat", "-A", "-c", file)
    assert ended.status == Status.CONFIGURATION
    assert (
        ended.err.decode() == f"pop3fetch: {file}: it has no accounts; `pop3fetch login ADDRESS` adds one\n"
    )


def test_a_wrong_table_ends_its_own_account_alone(here: Here, posts: tuple[Path, list[Post]]) -> None:
    config = posts[0]
    config.write_text('[accounts.wrong]\nhots = "h"\n' + config.read_text())
    ended = here("stat", "-A", "-c", config)
    assert sorted(ended.out.splitlines()) == [b"one\t1\t104", b"three\t3\t312", b"two\t2\t208"]
    assert ended.status == Status.CONFIGURATION
    words = "unknown key; did you mean 'host'?"
    assert ended.err.decode() == f"pop3fetch: wrong: {config}: accounts.wrong.hots: {words}\n"


def test_a_file_that_is_not_toml_is_an_error_before_the_password_is_asked_for(
    here: Here, posts: tuple[Path, list[Post]]
) -> None:
    with posts[0].open("a") as file:
        file.write("[accounts.wrong\n")
    ended = here("stat", "-A", "-c", posts[0])
    assert (ended.status, ended.out) == (Status.CONFIGURATION, b"")
    assert all(each.verbs == [] for each in posts[1])


def test_accounts_of_one_mailbox_take_turns(here: Here, post: StartPost, tmp_path: Path) -> None:
    served = post(letters(3)).server
    ended = here("get", "-A", "-c", config_for(tmp_path, [("one", served), ("same", served)]))
    assert (ended.status, ended.err) == (0, b"")
    assert len([*tmp_path.glob("*/new/*")]) == 3


# -- whose password it is --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ((), {"POP3FETCH_PASSWORD": "secret"}),
        ((), {"POP3FETCH_PASSWORD_COMMAND": "echo secret"}),
        (("--password-command", "echo secret"), {}),
    ],
)
def test_one_password_goes_to_one_server_alone(
    here: Here, server: StartServer, tmp_path: Path, options: Sequence[str], environment: dict[str, str]
) -> None:
    mailbox = Mailbox(letters(1), greeting=GREETING)
    servers = [server(mailbox, host=f"127.0.0.{number}") for number in (1, 2)]
    config = config_for(tmp_path, [(f"n{number}", each) for number, each in enumerate(servers)])
    ended = here("get", "-A", *options, "-c", config, env=environment)
    assert ended.status == Status.USAGE
    assert b" would give one password to 2 servers; " in ended.err
    assert [each.commands for each in servers] == [[], []]


def test_the_password_of_the_environment_is_that_of_all_accounts_of_a_server(
    here: Here, server: StartServer, tmp_path: Path
) -> None:
    served = [server(Mailbox([], greeting=GREETING, password="other")) for _ in range(2)]
    config = config_for(tmp_path, [(f"n{number}", each) for number, each in enumerate(served)])
    assert here("stat", "-A", "-c", config, env={"POP3FETCH_PASSWORD": "other"}).status == 0


def test_variables_that_name_an_account_are_not_meant_for_all(
    here: Here, posts: tuple[Path, list[Post]], server: StartServer
) -> None:
    other = server(Mailbox([], greeting=GREETING))
    environment = {
        "POP3FETCH_ACCOUNT": "one", "POP3FETCH_HOST": other.host, "POP3FETCH_PORT": str(other.port),
        "POP3FETCH_USER": "bob",
    }  # fmt: skip
    ended = here("stat", "-A", "-c", posts[0], env=environment)
    assert sorted(ended.out.splitlines()) == [b"one\t1\t104", b"three\t3\t312", b"two\t2\t208"]
    assert other.commands == []


# -- at once ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "accounts", "together"),
    [([], 8, 4), (["--jobs-per-host", "2"], 4, 2), (["--jobs", "3", "--jobs-per-host", "9"], 6, 3)],
)
def test_so_many_sessions_are_with_one_server(
    here: Here, server: StartServer, tmp_path: Path, options: list[str], accounts: int, together: int
) -> None:
    crowd = Crowd(Mailbox(letters(1), greeting=GREETING, user=""), together)
    served = server(crowd)
    config = config_for(tmp_path, [(f"n{number}", served) for number in range(accounts)], user=None)
    ended = here("stat", "-A", *options, "-c", config)
    assert (ended.status, len(ended.out.splitlines())) == (0, accounts)
    assert crowd.most == together


def test_so_many_sessions_are_there_in_all(here: Here, server: StartServer, tmp_path: Path) -> None:
    crowd = Crowd(Mailbox(letters(1), greeting=GREETING, user=""), 8)
    # Loopback has many names, so that no server has more than its share.
    servers = [server(crowd, host=f"127.0.0.{number}") for number in range(1, 5)]
    config = config_for(tmp_path, [(f"n{number}", servers[number % 4]) for number in range(16)], user=None)
    ended = here("stat", "-A", "-c", config)
    assert (ended.status, len(ended.out.splitlines())) == (0, 16)
    assert crowd.most == 8


def test_a_slow_server_does_not_hold_up_another(here: Here, server: StartServer, tmp_path: Path) -> None:
    finished: list[Talk] = []
    others_are_done = threading.Event()
    mailbox = Mailbox(letters(1), greeting=GREETING, user="")

    def slow(talk: Talk) -> None:
        assert others_are_done.wait(PATIENCE)
        mailbox(talk)

    def quick(talk: Talk) -> None:
        mailbox(talk)
        finished.append(talk)
        if len(finished) == 6:
            others_are_done.set()

    servers = [server(slow, host="127.0.0.1"), server(quick, host="127.0.0.2")]
    config = config_for(tmp_path, [(f"n{number}", servers[number % 2]) for number in range(12)], user=None)
    assert here("stat", "-A", "--jobs", "4", "--jobs-per-host", "2", "-c", config).status == 0


# -- early ends ------------------------------------------------------------------------------


ENDS = pytest.mark.parametrize(
    ("number", "status", "said"),
    [
        (signal.SIGINT, Status.INTERRUPTED, b"pop3fetch: interrupted\n"),
        (signal.SIGTERM, Status.TERMINATED, b"pop3fetch: terminated\n"),
    ],
)


@ENDS
def test_a_signal_ends_all_sessions_and_begins_no_more(
    run: Run, server: StartServer, tmp_path: Path, number: signal.Signals, status: Status, said: bytes
) -> None:
    waiting = threading.Semaphore(0)

    def deaf(talk: Talk) -> None:
        waiting.release()
        talk.stall()

    served = server(deaf)
    config = config_for(tmp_path, [(f"n{number}", served) for number in range(9)], user=None)
    with begun(run, "stat", "-A", "-c", config, env={}) as process:
        for _ in range(4):
            assert waiting.acquire(timeout=PATIENCE)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err) == (status, b"", said)
    assert len(served.talks) == 4


def test_a_reader_that_leaves_early_ends_all(run: Run, post: StartPost, tmp_path: Path) -> None:
    served = [post(letters(5000, 18)) for _ in range(2)]
    config = config_for(tmp_path, [(f"n{number}", each.server) for number, each in enumerate(served)])
    with begun(run, "list", "-A", "-c", config, env={}) as process:
        assert read_and_leave(process, 10)
        assert (last_words(process), process.wait(PATIENCE)) == (b"", 0)


@ENDS
def test_a_signal_waits_for_no_password_command(
    run: Run, post: StartPost, tmp_path: Path, number: signal.Signals, status: int, said: bytes
) -> None:
    fifo, held = tmp_path / "fifo", tmp_path / "held"
    os.mkfifo(fifo)
    os.mkfifo(held)
    reader = os.open(held, os.O_RDONLY | os.O_NONBLOCK)
    served = post()
    config = config_for(tmp_path, [(name, served.server) for name in ("one", "two")], user=None)
    script = f"exec 3>{held}; echo started >{fifo}; sleep 600"
    command = f"""password_command = "sh -c '{script}'"\n"""
    config.write_text(config.read_text().replace('password = "secret"\n', command))
    try:
        # Open for writing, too, it has no end between the first command and the second.
        both_ends = os.open(fifo, os.O_RDWR)
        with (
            begun(run, "get", "-A", "-c", config, env={}) as process,
            open(both_ends, "rb", buffering=0) as started,
        ):
            assert [started.readline(), started.readline()] == [b"started\n"] * 2
            process.send_signal(number)
            out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, out, err) == (status, b"", said)
        os.set_blocking(reader, True)
        assert os.read(reader, 1) == b"", "the end of the file: the commands have ended"
    finally:
        os.close(reader)


def connecting_to(port: int) -> int:
    """Return how many connections to a port of 127.0.0.1 are being made, and not answered."""
    lines = Path("/proc/net/tcp").read_text("ascii").splitlines()
    return sum(f" 0100007F:{port:04X} 02 " in line for line in lines)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="this system has no /proc/net/tcp")
@pytest.mark.parametrize("command", ["stat", "get"])
@ENDS
def test_a_signal_waits_for_no_connection(
    run: Run, tmp_path: Path, number: signal.Signals, status: int, said: bytes, command: str
) -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = full.getsockname()[1]
    config = tmp_path / "config.toml"
    config.touch(0o600)
    tables = [
        f"[accounts.{name}]\nhost='127.0.0.1'\nport={port}\nuser='{name}'\npassword='x'\n" for name in "ab"
    ]
    config.write_text("".join(tables))
    # One connection fills the queue; the next one gets no answer.
    with (
        full,
        socket.create_connection(full.getsockname()),
        begun(run, command, "-A", "-c", config, env={}) as process,
    ):
        deadline = time.monotonic() + PATIENCE
        while connecting_to(port) < 2:
            assert time.monotonic() < deadline
        process.send_signal(number)
        out, err = process.communicate(timeout=SOON)
    assert (process.returncode, out, err) == (status, b"", said)


# -- limits and bugs -------------------------------------------------------------------------------

LIMITED = """
import sys, threading
begin, left = threading.Thread.start, [int(sys.argv.pop(1))]

def start(thread):
    left[0] -= 1
    if left[0] < 0:
        raise RuntimeError("can't start new thread")
    begin(thread)

threading.Thread.start = start
from pop3fetch.cli import main
main()
"""


@pytest.mark.parametrize(
    "threads",
    [pytest.param(count, marks=() if count in (0, 2, 5) else pytest.mark.slow) for count in range(8)],
)
@pytest.mark.parametrize("command", ["stat", "list"])
def test_a_limit_of_threads_leaves_fewer_jobs(
    run: Run, posts: tuple[Path, list[Post]], threads: int, command: str
) -> None:
    words = [sys.executable, "-W", "error", "-c", LIMITED, str(threads), command, "-A", "-c", str(posts[0])]
    ended = subprocess.run(words, env=run.environment, capture_output=True, timeout=PATIENCE)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert len(ended.stdout.splitlines()) == (3 if command == "stat" else 6)


@pytest.mark.parametrize("threads", range(5))
def test_a_limit_of_threads_is_not_a_bug_when_messages_are_fetched(
    run: Run, post: StartPost, tmp_path: Path, threads: int
) -> None:
    env = {**run.environment, **post().environment}
    words = [sys.executable, "-W", "error", "-c", LIMITED, str(threads), "get", "-o", str(tmp_path / "mail")]
    ended = subprocess.run(words, env=env, capture_output=True, timeout=PATIENCE)
    assert ended.returncode in (0, Status.TRY_LATER)
    fetched = len(list((tmp_path / "mail/new").glob("*")))
    if ended.returncode:
        assert ended.stderr.startswith(b"pop3fetch: the system allows no more threads; ")
        assert len(ended.stderr.splitlines()) == 1
    assert fetched == (0 if ended.returncode else 3)


def test_a_bug_in_one_account_is_its_own(
    here: Here, posts: tuple[Path, list[Post]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(file: object, host: str, user: str) -> str:
        raise LookupError("x")

    config = posts[0]
    text = config.read_text()
    config.write_text(text.replace('password = "secret"', "", 1))
    monkeypatch.setattr("pop3fetch.account.netrc.password", broken)
    ended = here("stat", "-A", "-c", config)
    assert ended.status == Status.BUG
    assert ended.err == b"pop3fetch: one: internal error: LookupError: x; please report it\n"
    assert sorted(ended.out.splitlines()) == [b"three\t3\t312", b"two\t2\t208"]


# -- on a terminal ---------------------------------------------------------------------------


def test_a_terminal_shows_a_line_an_account(
    terminal: Terminal, posts: tuple[Path, list[Post]], tmp_path: Path
) -> None:
    seen = terminal("get", "-A", "-c", posts[0], columns=200)
    assert seen.screen[-1] == "3 accounts: 6 messages fetched (582 B)"
    assert sorted(seen.screen[:-1]) == [
        f"one: 1 message fetched (97 B) to maildir:{tmp_path}/one",
        f"three: 3 messages fetched (291 B) to maildir:{tmp_path}/three",
        f"two: 2 messages fetched (194 B) to maildir:{tmp_path}/two",
    ]


def test_a_dry_run_of_all_accounts_ends_with_no_sum_of_what_was_fetched(
    here: Here, posts: tuple[Path, list[Post]]
) -> None:
    ended = here("get", "-A", "--dry-run", "-v", "-c", posts[0])
    assert ended.err.splitlines()[-1] == b"pop3fetch: 3 accounts: nothing was changed"


def test_a_terminal_shows_a_table_for_each_account(
    terminal: Terminal, posts: tuple[Path, list[Post]]
) -> None:
    seen = terminal("list", "-A", "--jobs", "1", "-c", posts[0])
    assert [" ".join(line.split()) for line in seen.screen] == [
        "one", "# uid size", "1 * uid-1 104 B",
        "two", "# uid size", "1 * uid-1 104 B", "2 * uid-2 104 B",
        "three", "# uid size", "1 * uid-1 104 B", "2 * uid-2 104 B", "3 * uid-3 104 B",
    ]  # fmt: skip


def test_questions_are_put_one_by_one(terminal: Terminal, posts: tuple[Path, list[Post]]) -> None:
    question = b"from the server? [y/N] "
    answers = [(question, b"y\n"), (question, b"n\n"), (question, b"y\n")]
    seen = terminal("rm", "-A", "--all", "-c", posts[0], answers=answers)
    assert seen.status == 0
    assert sorted(len(each.mailbox.messages) > 0 for each in posts[1]) == [False, False, True]


def test_an_interrupt_at_a_question_ends_all(terminal: Terminal, posts: tuple[Path, list[Post]]) -> None:
    answers = [(b"from the server? [y/N] ", b"\x03")]
    seen = terminal("rm", "-A", "--all", "-c", posts[0], answers=answers)
    assert seen.status == Status.INTERRUPTED
    assert [len(each.mailbox.messages) for each in posts[1]] == [1, 2, 3]
