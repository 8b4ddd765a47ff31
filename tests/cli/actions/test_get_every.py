"""A process that stays: its clocks, signals, and what the service manager learns."""

from __future__ import annotations

import gc
import io
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue

import pytest

from pop3fetch.account.config_file import Overrides
from pop3fetch.account.settings_table import Account
from pop3fetch.cli.actions.get_every import LONGEST_WAIT, GetEvery, Pace
from pop3fetch.cli.actions.get_every import Clock as EveryClock
from pop3fetch.cli.actions.many_accounts import Many
from pop3fetch.cli.options import Invocation
from pop3fetch.cli.screen.console import Console
from pop3fetch.delivery.opening import Openings
from pop3fetch.sessions.refused_logins import FIRST_PAUSE, LONGEST_PAUSE
from pop3fetch.status import Status
from tests.support.clock import Clock
from tests.support.command import PATIENCE, Run
from tests.support.mail_server import Mailbox
from tests.support.running import begun, last_words
from tests.support.scripted_server import ScriptedServer, StartServer, Talk
from tests.support.terminal import ON_TERMINAL

PASSWORD = {"POP3FETCH_PASSWORD": "secret"}
DAY = 24 * 60 * 60
FIRST, SECOND = b"Subject: first\r\n\r\nx\r\n", b"Subject: second\r\n\r\nx\r\n"


# -- the clock of an account


@pytest.mark.parametrize(
    ("interval", "statuses", "waits"),
    [
        (300, [0, 0, 73], [300, 300, 300]),
        (300, [75, 75, 75, 75, 75], [600, 1200, 2400, 3600, 3600]),
        (300, [75, 75, 0, 75], [600, 1200, 300, 600]),
        (300, [69, 75], [600, 1200]),
        (1, [75] * 40, [min(2 ** (count + 1), 3600) for count in range(40)]),
        (7200, [75, 75], [7200, 7200]),
        (300, [77] * 7, [900, 1800, 3600, 7200, 14400, 21600, 21600]),
        (86400, [77], [86400]),
    ],
)
def test_failures_double_the_wait(interval: float, statuses: list[int], waits: list[float]) -> None:
    pace = Pace(interval, jitter=lambda low, high: 1.0)
    assert [pace.wait_after(status) for status in statuses] == waits


def test_waits_after_failures_differ_a_little_and_are_never_shorter_than_the_interval() -> None:
    assert Pace(1000, jitter=lambda low, high: low).wait_after(Status.TRY_LATER) == 1800
    assert Pace(1000, jitter=lambda low, high: high).wait_after(Status.TRY_LATER) == 2200
    assert Pace(LONGEST_WAIT, jitter=lambda low, high: low).wait_after(Status.TRY_LATER) == LONGEST_WAIT
    assert FIRST_PAUSE == 900 and LONGEST_PAUSE == 21600


class Over(BaseException):
    """The end of a test: a job raises it."""


class Timetable:
    """Accounts that are fetched by a clock of their own, and the times at which that was."""

    def __init__(self, tmp_path: Path, statuses: dict[str, int]) -> None:
        file = tmp_path / "config.toml"
        file.write_text("".join(f"[accounts.{name}]\nhost = 'h{name}'\nuser = 'u'\n" for name in statuses))
        self._err = io.StringIO()
        console = Console(io.StringIO(), self._err, {})
        none = Overrides()
        self.invocation = Invocation(console, none, none, file, tmp_path / "state", Many(1, 1))
        self.clock = Clock(1000.0)
        self.times: dict[str, list[float]] = {name: [] for name in statuses}
        self.sleeps: dict[float, float] = {}  # at a time the machine sleeps for so long
        self.errors: dict[str, Callable[[float], str]] = {}  # of an account, by the time
        self.printed: list[tuple[float, str]] = []
        self._statuses = statuses

    def job(self, account: Account, console: Console) -> int:
        now = self.clock.now - 1000
        self.times[account.name].append(now)
        error_at = self.errors.get(account.name)
        if error_at and (error := error_at(now)):
            console.error(error)
            lines = self._err.getvalue().splitlines()[len(self.printed) :]
            self.printed += [(now, line.removeprefix("pop3fetch: ")) for line in lines]
        self.clock.forward(self.sleeps.pop(self.clock.now - 1000, 0))
        return self._statuses[account.name]

    def run(self, until: float) -> None:
        """Fetch every five minutes until a time."""

        def wait(changed: threading.Condition, seconds: float | None) -> None:
            assert seconds is not None and seconds > 0
            if self.clock.now + seconds > 1000 + until:
                raise Over
            self.clock.forward(seconds)

        with pytest.raises(Over):
            service = GetEvery(self.invocation, self.job, Openings(), 300, EveryClock(self.clock, wait))
            service.run(self.invocation.chosen_accounts(service.fail))


@pytest.fixture
def handlers() -> Iterator[None]:
    """Restore what a process that stays changes of the whole process."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGUSR1)}
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_each_account_has_its_own_clock(tmp_path: Path) -> None:
    table = Timetable(tmp_path, {"well": 0, "ill": 75, "refused": 77})
    table.run(4 * 3600)
    assert table.times["well"] == [300.0 * number for number in range(48 + 1)]
    waits = [after - before for before, after in pairwise(table.times["ill"])]
    for wait, doubled in zip(waits, (600, 1200, 2400, 3600, 3600), strict=False):
        assert 0.9 * doubled <= wait <= 1.1 * doubled
    assert table.times["refused"] == [0, 900, 2700, 6300, 13500]


@pytest.mark.usefixtures("handlers")
def test_after_a_sleep_each_account_is_fetched_once(tmp_path: Path) -> None:
    table = Timetable(tmp_path, {"one": 0, "two": 0})
    table.sleeps = {600: 8 * 3600}
    table.run(600 + 8 * 3600 + 700)
    awake = 600 + 8 * 3600
    assert table.times["one"] == [0, 300, 600, awake + 300, awake + 600]
    assert table.times["two"] == [0, 300, awake, awake + 300, awake + 600]


@pytest.mark.usefixtures("handlers")
def test_the_same_error_is_printed_once_until_it_changes_or_a_day_is_over(tmp_path: Path) -> None:
    table = Timetable(tmp_path, {"ill": 73, "well": 0})
    table.errors["ill"] = lambda now: "one" if now < 1200 else "" if now == 1500 else "two"
    table.run(1800 + 2 * DAY)
    days = [(1800.0 + day * DAY, "ill: two") for day in range(3)]
    assert table.printed == [(0, "ill: one"), (1200, "ill: two"), *days]


@pytest.mark.usefixtures("handlers")
def test_with_v_each_error_is_printed(tmp_path: Path) -> None:
    table = Timetable(tmp_path, {"ill": 73})
    table.errors["ill"] = lambda now: "no"
    table.invocation.console.verbosity = 1
    table.run(900)
    assert table.printed == [(when, "ill: no") for when in (0, 300, 600, 900)]


# -- the process


class Sessions:
    """A mailbox whose sessions can be awaited."""

    def __init__(self) -> None:
        self.mailbox = Mailbox([FIRST])
        self._ended: SimpleQueue[None] = SimpleQueue()

    def __call__(self, talk: Talk) -> None:
        try:
            self.mailbox(talk)
        finally:
            self._ended.put(None)

    def wait(self) -> None:
        self._ended.get(timeout=PATIENCE)


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


Begin = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def begin(run: Run, tmp_path: Path) -> Iterator[Begin]:
    """Begin `get --every` with further arguments; end it with the test."""
    contexts = []

    def start(*arguments: str | Path, **environment: str) -> subprocess.Popen[bytes]:
        context = begun(run, "get", *arguments, env={**PASSWORD, **environment})
        process = context.__enter__()
        contexts.append(context)
        return process

    yield start
    for context in contexts:
        context.__exit__(None, None, None)


def account(server: ScriptedServer, folder: Path) -> tuple[str | Path, ...]:
    return ("-a", server.url(), "--tls", "off", "--allow-insecure-login", "-o", folder)


def subjects(maildir: Path) -> set[bytes]:
    return {file.read_bytes().split(b"\n")[0] for file in (maildir / "new").iterdir()}


def test_it_fetches_again_and_sigterm_ends_it_in_order(
    begin: Begin, server: StartServer, sessions: Sessions, tmp_path: Path
) -> None:
    process = begin(*account(server(sessions), tmp_path / "mail"), "--every", "1s")
    sessions.wait()
    sessions.mailbox.add(SECOND, b"second")
    sessions.wait()
    sessions.wait()
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    assert last_words(process) == b""
    assert subjects(tmp_path / "mail") == {b"Subject: first", b"Subject: second"}


def test_tls_sessions_are_resumed(
    begin: Begin, server: StartServer, sessions: Sessions, tmp_path: Path, ca_file: Path
) -> None:
    resumed = []

    def counting(talk: Talk) -> None:
        resumed.append(talk.is_resumed)
        sessions(talk)

    running = server(counting, tls="implicit")
    arguments = ("-a", running.url(), "--ca-file", ca_file, "-o", tmp_path / "mail", "--every", "1d")
    process = begin(*arguments)
    for _ in range(4):
        sessions.wait()
        process.send_signal(signal.SIGUSR1)
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert resumed[:4] == [False, True, True, True]


def test_sigusr1_fetches_now_and_sigint_interrupts(
    begin: Begin, server: StartServer, sessions: Sessions, tmp_path: Path
) -> None:
    process = begin(*account(server(sessions), tmp_path / "mail"), "--every", "1d")
    sessions.wait()
    sessions.mailbox.add(SECOND, b"second")
    process.send_signal(signal.SIGUSR1)
    sessions.wait()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert subjects(tmp_path / "mail") == {b"Subject: first", b"Subject: second"}


def table(name: str, server: ScriptedServer, folder: Path) -> str:
    return (
        f'[accounts.{name}]\nhost = "{server.host}"\nport = {server.port}\nuser = "alice"\ntls = "off"\n'
        f'allow_insecure_login = true\npassword = "secret"\noutput = "{folder / name}"\n'
    )


def test_sighup_reads_the_configuration_again(
    begin: Begin, server: StartServer, sessions: Sessions, tmp_path: Path
) -> None:
    other = Sessions()
    file = tmp_path / "config.toml"
    file.write_text(table("one", server(sessions), tmp_path))
    file.chmod(0o600)
    process = begin("-A", "-c", file, "--every", "1d")
    sessions.wait()
    file.write_text(file.read_text() + "wrong =")
    process.send_signal(signal.SIGHUP)
    assert process.stderr and b"config.toml" in process.stderr.readline()
    file.write_text(table("two", server(other), tmp_path))
    process.send_signal(signal.SIGHUP)
    other.wait()
    process.terminate()
    assert process.wait(PATIENCE) == 0
    assert subjects(tmp_path / "two") == {b"Subject: first"}


@pytest.mark.parametrize("on_hang_up", [signal.SIG_DFL, signal.SIG_IGN], ids=["", "as nohup runs it"])
def test_a_process_ends_with_its_terminal_unless_nohup_runs_it(
    run: Run, server: StartServer, sessions: Sessions, tmp_path: Path, on_hang_up: signal.Handlers
) -> None:
    ours, theirs = os.openpty()
    words = run.command("get", *account(server(sessions), tmp_path / "mail"), "--every", "1d")
    process = subprocess.Popen(
        ["sh", "-c", ON_TERMINAL, os.ttyname(theirs), *words],
        env={"FED": "", **run.environment, **PASSWORD},
        stdout=theirs,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, on_hang_up),  # whatever runs the tests
    )
    try:
        os.close(theirs)
        sessions.wait()
        for number in (signal.SIGHUP, signal.SIGUSR1):  # while the terminal is open, SIGHUP does not end it
            process.send_signal(number)
        sessions.wait()
        os.close(ours)
        if on_hang_up == signal.SIG_IGN:
            process.send_signal(signal.SIGUSR1)
            sessions.wait()
            process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "trouble",
    [None, 'password_command = "sleep 600"', 'exec = "sleep 600"', 'output = "/dev/null/mail"'],
    ids=["server hangs", "password command hangs", "program hangs", "cannot deliver"],
)
def test_an_account_in_trouble_does_not_hold_up_another(
    begin: Begin, server: StartServer, sessions: Sessions, tmp_path: Path, trouble: str | None
) -> None:
    ill = table("ill", server((lambda talk: talk.stall()) if trouble is None else Mailbox([FIRST])), tmp_path)
    if trouble is not None:
        hidden = "password" if trouble.startswith("password") else "output"
        kept = [line for line in ill.splitlines() if not line.startswith(hidden)]
        ill = "\n".join([*kept, trouble, ""])
    file = tmp_path / "config.toml"
    file.write_text(ill + table("well", server(sessions), tmp_path))
    file.chmod(0o600)
    process = begin("-A", "-c", file, "--every", "1s")
    for _ in range(3):
        sessions.wait()
    process.terminate()
    assert process.wait(PATIENCE) == 0


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_service_manager_is_notified(
    is_abstract: bool, begin: Begin, server: StartServer, sessions: Sessions, tmp_path: Path
) -> None:
    name = f"pop3fetch-test-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(PATIENCE)
        manager.bind("\0" + name if is_abstract else str(tmp_path / "notify"))
        address = "@" + name if is_abstract else str(tmp_path / "notify")
        arguments = (*account(server(sessions), tmp_path / "mail"), "--every", "1d")
        process = begin(*arguments, NOTIFY_SOCKET=address, WATCHDOG_USEC="100000")
        assert manager.recv(4096).startswith(b"READY=1\nSTATUS=")
        assert [manager.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        process.send_signal(signal.SIGHUP)
        told: list[bytes] = []
        while told[-2:] != [b"RELOADING=1", b"READY=1"]:
            told += [note for note in [manager.recv(4096)] if note != b"WATCHDOG=1"]
        process.terminate()
        assert process.wait(PATIENCE) == 0
        while (note := manager.recv(4096)) == b"WATCHDOG=1":
            pass
        assert note == b"STOPPING=1"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--every", "5"], b"--every must be a duration such as"),
        (["--every", "0s"], b"--every must be at least 1s"),
        (["--every", "5m", "3"], b"--every fetches new messages"),
        (["--every", "5m", "--all"], b"--every fetches new messages"),
        (["--every", "5m", "--mark"], b"--every fetches new messages"),
        (["--every", "5m", "--lines", "1"], b"--every fetches new messages"),
        (["--every", "5m", "--dry-run"], b"--every fetches new messages"),
    ],
)
def test_what_cannot_be_repeated_is_refused_before_the_log_is_opened(
    run: Run, tmp_path: Path, arguments: list[str], error: bytes
) -> None:
    log = tmp_path / "log"
    ended = run("get", "-H", "localhost", "--log-file", log, *arguments)
    assert ended.status == 2
    assert error in ended.err
    assert not log.exists()
