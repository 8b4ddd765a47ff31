"""The command as a whole: help, mistakes, bugs, early ends, and how quickly it starts."""

from __future__ import annotations

import io
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import pop3fetch
from pop3fetch import cli
from pop3fetch.cli.main import COMMANDS, run
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.signals import Terminated
from pop3fetch.status import Status
from tests.support.command import PATIENCE, Run
from tests.support.in_process import Here
from tests.support.running import begun, last_words, read_and_leave
from tests.support.served_mail import LETTERS, StartPost

HEAVY = {
    "asyncio", "cryptography", "email", "hashlib", "ipaddress", "keyring", "pathlib", "platformdirs", "rich",
    "socket", "sqlite3", "ssl", "subprocess", "tempfile", "tomllib",
}  # fmt: skip


# -- help ------------------------------------------------------------------------------------


def test_the_version_is_printed(here: Here) -> None:
    for option in ("-V", "--version"):
        assert here(option).out.decode() == f"pop3fetch {pop3fetch.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_names_every_command(here: Here, arguments: list[str]) -> None:
    ended = here(*arguments)
    assert (ended.status, ended.err) == (0, b"")
    listed = ended.out.decode().partition("Commands:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == list(COMMANDS)


# -- mistakes --------------------------------------------------------------------------------


def test_without_any_account_the_ways_to_give_one_are_named(here: Here) -> None:
    ended = here("list")
    assert ended.status == Status.CONFIGURATION
    for way in (b"pop3fetch login", b"-a pop3s://USER@HOST", b"config.toml", b"pop3fetch demo"):
        assert way in ended.err
    assert ended.err.count(b"\n") == 1


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be a user without HOME whom the system does not know, as in a container."""

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(
    "arguments",
    [
        ["stat"],
        ["caps"],
        ["list"],
        ["list", "--new", "-l"],
        ["get", "-o", "-", "1"],
        ["get", "-o", "-", "--lines", "0"],
        ["rm", "--yes", "1"],
    ],
)
def test_what_needs_no_record_needs_no_home(here: Here, post: StartPost, arguments: list[str]) -> None:
    served = post(greeting=b"+OK ready\r\n", capabilities=[b"TOP", b"UIDL", b"LOGIN-DELAY 0"])
    env = {**served.environment, "POP3FETCH_ALLOW_INSECURE_LOGIN": "1"}
    ended = here(*arguments, env=env)
    assert (ended.status, ended.err) == (Status.OK, b"")


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["get"], "--output and --state-dir"),
        (["get", "-o", "-"], "--state-dir"),
        (["get", "-o", "x"], "--state-dir"),
        (["accounts"], "--config"),
        (["stat"], "--config"),
    ],
)
def test_without_a_home_what_is_missing_is_named(
    here: Here, post: StartPost, arguments: list[str], advice: str
) -> None:
    served = post()
    ended = here(*arguments, env=served.environment if arguments[0] == "get" else {})
    assert ended.status == Status.CONFIGURATION
    assert ended.err.decode() == f"pop3fetch: the home folder is not known: set HOME, or use {advice}\n"
    assert served.server.talks == []


@pytest.mark.usefixtures("homeless")
def test_without_a_home_all_places_can_be_given(here: Here, post: StartPost, tmp_path: Path) -> None:
    env = post().environment
    ended = here("get", "-o", tmp_path / "mail", "--state-dir", tmp_path / "state", env=env)
    assert (ended.status, ended.err) == (Status.OK, b"")
    assert len(list((tmp_path / "mail/new").iterdir())) == 3


def test_foreign_words_in_a_mistake_are_harmless(here: Here) -> None:
    ended = here("list", "-a", "x\x1b]0;owned\x07\u202e\n\t")
    assert ended.status == Status.CONFIGURATION
    assert ended.err.decode().removesuffix("\n").isprintable()
    assert here("\x1b[31m\n").err.decode().removesuffix("\n").isprintable()


# -- bugs ------------------------------------------------------------------------------------


class Broken(io.StringIO):
    """A stream that no careful program would meet."""

    def isatty(self) -> bool:
        raise RuntimeError("\x1b[31mbroken\nstream")


@pytest.mark.parametrize("debug", [False, True])
def test_a_bug_is_one_line_as_well(post: StartPost, monkeypatch: pytest.MonkeyPatch, debug: bool) -> None:
    for name, value in post().environment.items():
        monkeypatch.setenv(name, value)
    err = io.StringIO()
    console = Console(Broken(), err, {"POP3FETCH_DEBUG": "1"} if debug else {})
    assert run(["stat"], console) == Status.BUG
    first, *traceback = err.getvalue().splitlines()
    assert first == r"pop3fetch: internal error: RuntimeError: \x1b[31mbroken\nstream; please report it"
    assert bool(traceback) == debug
    assert "\x1b" not in err.getvalue()


def test_the_cause_of_an_error_is_shown_with_vv(here: Here) -> None:
    arguments = ["list", "-H", "127.0.0.1", "-p", "1", "-u", "alice"]
    assert here(*arguments, "-v").err.count(b"\n") == 1
    arguments = ["list", "-H", "no..host", "-u", "alice"]
    assert b"\n= caused by " in here(*arguments, "-vv").err


# -- the process -----------------------------------------------------------------------------


def test_it_runs_as_a_module_and_as_a_command(run: Run) -> None:
    script = [os.path.join(os.path.dirname(sys.executable), "pop3fetch"), "--version"]
    assert run("--version").out == subprocess.check_output(script, env=run.environment)


@pytest.mark.parametrize(
    ("command", "out"),
    [
        ("list", "1\t{0}\tuid-1\n2\t{1}\tuid-2\n"),
        ("get", ""),
        ("rm 1", ""),
        ("caps", "TOP\nUIDL\nUSER\nRESP-CODES\nPIPELINING\nSASL PLAIN\n"),
        ("stat", "2\t{2}\n"),
    ],
)
def test_nothing_but_a_home_is_needed(run: Run, post: StartPost, home: Path, command: str, out: str) -> None:
    words = [*command.split(), "-a", post(LETTERS[:2]).server.url(), "--password-command", "echo secret"]
    ended = subprocess.run(
        ["env", "-i", f"HOME={home}", *run.command(*words)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=run.folder,
        start_new_session=True,
    )
    sizes = [len(letter) for letter in LETTERS[:2]]
    assert ended.stdout.decode() == out.format(*sizes, sum(sizes))
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_reader_that_leaves_early_is_not_an_error(run: Run, post: StartPost) -> None:
    served = post([b"Subject: %d\r\n\r\n" % number for number in range(5000)])
    with begun(run, "list", env=served.environment) as process:
        assert read_and_leave(process, 11) == b"1\t14\tuid-1\n"
        assert (last_words(process), process.wait(PATIENCE)) == (b"", 0)


def test_a_closed_standard_error_is_not_an_error(run: Run, post: StartPost) -> None:
    served = post()
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *run.command("stat", "-vv")],
        stdout=subprocess.PIPE,
        env={**run.environment, **served.environment},
    )
    assert (ended.returncode, ended.stdout[:2]) == (0, b"3\t")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["list", "--help"], ["demo"]])
def test_a_standard_output_that_takes_nothing_is_named(run: Run, arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            run.command(*arguments), stdout=full, stderr=subprocess.PIPE, env=run.environment
        )
    assert ended.stderr == b"pop3fetch: cannot deliver to standard output: No space left on device\n"
    assert ended.returncode == Status.CANNOT_DELIVER


def test_an_interrupt_has_one_status_at_any_time() -> None:
    assert cli.INTERRUPTED == Status.INTERRUPTED


class Stalled(io.StringIO):
    """A pipe that nobody reads; a signal arrives during the write."""

    def flush(self) -> None:
        raise Terminated


def test_a_signal_ends_a_command_whose_reader_has_stalled_at_its_end() -> None:
    assert run(["--version"], Console(Stalled(), io.StringIO(), {})) == Status.TERMINATED


def test_an_interrupt_again_and_again_shows_no_traceback(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = str(silent.getsockname()[1])
        words = ["stat", "-H", "127.0.0.1", "-p", port, "-u", "alice", "--tls", "off"]
        with begun(run, *words, env={"POP3FETCH_PASSWORD": "secret"}) as process:
            with silent.accept()[0]:
                while process.poll() is None:
                    process.send_signal(signal.SIGINT)
            assert b"Traceback" not in last_words(process)
            assert process.returncode == Status.INTERRUPTED


# -- the start -------------------------------------------------------------------------------

COMPLETING = {"_POP3FETCH_COMPLETE": "bash_complete", "COMP_CWORD": "1"}


@pytest.fixture
def imported(run: Run) -> Callable[..., set[str]]:
    """Return what a command line has imported when it is over."""
    report = (
        "import sys\n"
        "from pop3fetch.cli.main import run\n"
        "try:\n"
        "    sys.exit(run(sys.argv[1:]))\n"
        "finally:\n"
        "    print(*sys.modules, file=sys.stderr)\n"
    )

    def imported(*arguments: str, env: dict[str, str]) -> set[str]:
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", report, *arguments],
            capture_output=True,
            text=True,
            env={**run.environment, **env},
            check=True,
        )
        modules = ended.stderr.split()
        assert "pop3fetch.cli.main" in modules
        return {*modules, *(name.partition(".")[0] for name in modules)}

    return imported


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["--version"], {}),
        (["--help"], {}),
        (["get", "--help"], {}),
        ([], {**COMPLETING, "COMP_WORDS": "pop3fetch l"}),
        ([], {**COMPLETING, "COMP_WORDS": "pop3fetch rm --", "COMP_CWORD": "2"}),
    ],
    ids=["version", "help", "help of a command", "completion", "completion of options"],
)
def test_help_version_and_completion_import_nothing_heavy(
    imported: Callable[..., set[str]], arguments: list[str], env: dict[str, str]
) -> None:
    # That of a command shows the default paths.
    heavy = (
        HEAVY - {"ipaddress", "pathlib", "platformdirs", "tempfile"}
        if arguments == ["get", "--help"]
        else HEAVY
    )
    assert imported(*arguments, env=env) & heavy == set()


@pytest.mark.parametrize(
    ("command", "libraries", "of_other_runs"),
    [
        ("stat", set(), {"fetch.plan", "messages", "record.store"}),
        ("get", {"sqlite3"}, {"cli.screen.objects", "filters", "headers.dates", "message_words"}),
    ],
)
def test_a_session_imports_only_what_it_needs(
    imported: Callable[..., set[str]],
    post: StartPost,
    tmp_path: Path,
    command: str,
    libraries: set[str],
    of_other_runs: set[str],
) -> None:
    libraries |= {"hashlib", "ipaddress", "pathlib", "socket", "ssl"}
    of_other_runs |= {"account.system_keyring", "net.certificate", "net.proxy", "sessions.refused_logins"}
    unwanted = HEAVY - libraries | {f"pop3fetch.{name}" for name in of_other_runs}
    if command == "stat" and sys.version_info >= (3, 13):  # before that, pathlib loads it
        unwanted |= {"urllib.parse"}
    arguments = [command, "--state-dir", str(tmp_path / "state")]
    into = ["-o", str(tmp_path / "mail")] if command == "get" else []
    assert imported(*arguments, *into, env=post().environment) & unwanted == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_of_a_module_has_its_name(command: str) -> None:
    from pop3fetch.cli.main import commands

    found = commands.get_command(click.Context(commands), command)
    assert found is not None
    assert found.name == command


@pytest.mark.parametrize(
    "words",
    [["--help"], ["--version"], ["list", "--help"], ["accounts"], ["stat"], ["caps"], ["list", "-l"],
     ["list", "--json"], ["get", "-o", "-", "1"], ["get", "--json", "-o", "mail"], ["rm", "--json", "1"]],
)  # fmt: skip
@pytest.mark.parametrize("how", ["full", "closed"])
def test_standard_output_that_takes_nothing_is_an_error_for_every_command(
    run: Run, post: StartPost, words: list[str], how: str, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[accounts.work]\nhost = 'localhost'\nuser = 'alice'\n")
    env = {**run.environment, "POP3FETCH_CONFIG": str(config)}
    if words[0] != "accounts":
        env |= post().environment
    with open("/dev/full", "wb") as full:
        ended = subprocess.run(
            run.command(*words),
            cwd=tmp_path,
            env=env,
            stdout=full if how == "full" else None,
            stderr=subprocess.PIPE,
            preexec_fn=None if how == "full" else lambda: os.close(1),
            timeout=PATIENCE,
        )
    assert ended.returncode == Status.CANNOT_DELIVER
    assert ended.stderr.startswith(b"pop3fetch: cannot deliver to standard output: ")
    assert ended.stderr.count(b"\n") == 1


# -- names are UTF-8, whatever the locale ----------------------------------------------------------

ASCII_ALONE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}  # as Python reads names then


def test_names_are_utf8_whatever_the_locale(run: Run, post: StartPost, tmp_path: Path) -> None:
    served = post()
    mail, config = tmp_path / "Entwürfe", tmp_path / "konten.toml"
    config.write_text(
        f"[accounts.'büro']\nhost = '127.0.0.1'\nport = {served.server.port}\ntls = 'auto'\n"
        f"user = 'alice'\noutput = 'maildir:{mail}'\n",
        encoding="utf-8",
    )
    env = {**ASCII_ALONE, "POP3FETCH_PASSWORD": "secret"}
    ended = run("get", "-c", config, "-a", "büro", "-v", env=env)
    assert ended.status == Status.OK, ended.err
    assert len(list((mail / "new").iterdir())) == 3
    assert run("accounts", "-c", config, env=env).out == "büro\n".encode()


def test_what_is_printed_needs_no_locale_for_it(run: Run, post: StartPost) -> None:
    ended = run("list", "-l", "1", env={**ASCII_ALONE, **post().environment})
    assert ended.status == Status.OK
    assert "\tGrüße\n".encode() in ended.out


# -- no temporary folder ---------------------------------------------------------------------------


def test_demo_reports_that_no_temporary_folder_is_writable(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/dev/null"])
    monkeypatch.setattr(tempfile, "tempdir", None)
    ended = here("demo")
    assert ended.status == Status.CANNOT_DELIVER
    assert ended.err == b"pop3fetch: no temporary folder is writable; set TMPDIR to one that is\n"
