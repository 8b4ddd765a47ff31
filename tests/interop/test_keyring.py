"""A real keyring, with the real command in an environment as bare as cron's."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pop3fetch.defaults import KEYRING_TIMEOUT
from tests.support.command import PATIENCE, Ended, Run
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer
from tests.support.secret_service import SecretService, missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=str(missing()))

GREETING = b"+OK <1896.697170952@localhost>\r\n"
WAYS = ("POP3FETCH_PASSWORD", "--password-command", "password_command", "`pop3fetch login`", "~/.netrc")
BRIEF = 0.5  # seconds, for a wait that is sat out
A_FEW_SECONDS = 2 * KEYRING_TIMEOUT  # with the start of two processes in them, on a busy machine

Command = Callable[..., Ended]


@pytest.fixture
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretService]:
    with SecretService(tmp_path_factory.mktemp("s")) as secrets:
        yield secrets


@pytest.fixture
def served(server: StartServer) -> ScriptedServer:
    return server(Mailbox([], greeting=GREETING))


@pytest.fixture
def environment(run: Run, served: ScriptedServer, secrets: SecretService) -> dict[str, str]:
    """Return that of the account of the server; keyring chooses its backend by itself."""
    account = {**run.environment, **secrets.environment, "POP3FETCH_ACCOUNT": served.url()}
    del account["PYTHON_KEYRING_BACKEND"]
    return account


@pytest.fixture
def pop3fetch(run: Run, environment: dict[str, str]) -> Command:
    """Run the command."""
    return lambda *arguments, **given: started(run.command(*arguments), {**environment, **given})


def started(words: list[str], environment: dict[str, str]) -> Ended:
    ended = subprocess.run(
        words, env=environment, input=b"", capture_output=True, timeout=PATIENCE, start_new_session=True
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


HASTY = f"""
from pop3fetch import defaults
defaults.KEYRING_TIMEOUT = {BRIEF}
from pop3fetch.cli import main
main()
"""


# With other folders than /run/user, which only systemd may change.
IN_CRON = """
import sys
from pathlib import Path
from pop3fetch.account import system_keyring
system_keyring.RUNTIME_FOLDERS = Path(sys.argv.pop(1))
from pop3fetch.cli import main
main()
"""


def last_line(ended: Ended) -> str:
    return ended.err.decode().splitlines()[-1]


def test_a_password_that_works_is_kept_found_and_forgotten(pop3fetch: Command) -> None:
    assert pop3fetch("login", POP3FETCH_PASSWORD="secret") == Ended(0, b"", b"")
    assert pop3fetch("stat") == Ended(0, b"0\t0\n", b"")
    assert pop3fetch("logout") == Ended(0, b"", b"")
    assert pop3fetch("stat").status == 77


def test_it_is_kept_when_the_keyring_was_locked_and_unlocked_by_its_owner(
    pop3fetch: Command, secrets: SecretService
) -> None:
    assert pop3fetch("login", POP3FETCH_PASSWORD="secret").status == 0
    secrets.unlock()
    assert pop3fetch("stat").status == 0


def test_a_password_that_the_server_refuses_is_not_kept(pop3fetch: Command, served: ScriptedServer) -> None:
    assert pop3fetch("login", POP3FETCH_PASSWORD="wrong").status == 77
    ended = pop3fetch("stat")
    assert ended.status == 77
    assert "there is no password" in last_line(ended)
    assert sum(line.startswith(b"APOP") for line in served.commands) == 1


def test_a_locked_keyring_is_skipped(pop3fetch: Command, secrets: SecretService) -> None:
    assert pop3fetch("login", POP3FETCH_PASSWORD="secret").status == 0
    secrets.lock()
    begun = time.monotonic()
    ended = pop3fetch("stat", "-v")
    assert time.monotonic() - begun < A_FEW_SECONDS
    assert ended.status == 77
    assert b"pop3fetch: the keyring was skipped: KeyringLocked: " in ended.err
    assert all(way in last_line(ended) for way in WAYS)
    assert pop3fetch("stat", POP3FETCH_PASSWORD="secret") == Ended(0, b"0\t0\n", b"")


def test_login_reports_a_locked_keyring(pop3fetch: Command, secrets: SecretService) -> None:
    assert pop3fetch("login", POP3FETCH_PASSWORD="secret").status == 0  # makes a keyring
    secrets.lock()
    ended = pop3fetch("login", POP3FETCH_PASSWORD="secret")
    assert ended.status == 78
    reason = "the system's keyring: it could not store the password (KeyringLocked)"
    assert last_line(ended) == f"pop3fetch: the password is not stored: {reason}; use --password-command"
    assert "secret" not in last_line(ended)


def test_a_keyring_that_hangs_is_skipped(environment: dict[str, str], secrets: SecretService) -> None:
    secrets.freeze()
    begun = time.monotonic()
    ended = started([sys.executable, "-W", "error", "-c", HASTY, "stat", "-v"], environment)
    assert time.monotonic() - begun < A_FEW_SECONDS
    assert ended.status == 77
    skipped = f"pop3fetch: the keyring was skipped: it did not answer within {BRIEF:g} s\n"
    assert skipped.encode() in ended.err
    assert all(way in last_line(ended) for way in WAYS)


def test_a_password_that_is_given_spares_the_keyring(pop3fetch: Command, secrets: SecretService) -> None:
    secrets.freeze()
    begun = time.monotonic()
    assert pop3fetch("stat", POP3FETCH_PASSWORD="secret").status == 0
    assert time.monotonic() - begun < KEYRING_TIMEOUT


def test_check_reports_that_a_job_does_not_reach_it(pop3fetch: Command) -> None:
    assert pop3fetch("login", POP3FETCH_PASSWORD="secret").status == 0
    rows = [line.split("\t") for line in pop3fetch("check").out.decode().splitlines()]
    found = {step: (verdict, text) for verdict, step, text in rows}
    assert found["login"][0] == "ok"
    assert found["login"][1].endswith("; the secret is from the keyring")
    verdict, text = found["cron"]
    assert verdict == "warning"
    assert "a job without a login session would have no secret (the keyring was skipped: " in text


def test_without_a_session_the_keyring_is_skipped_without_a_wait(pop3fetch: Command) -> None:
    begun = time.monotonic()
    ended = pop3fetch("stat", "-v", DBUS_SESSION_BUS_ADDRESS="unix:path=/nonexistent/bus")
    assert time.monotonic() - begun < A_FEW_SECONDS
    assert ended.status == 77
    assert b"pop3fetch: the keyring was skipped: " in ended.err


@pytest.fixture
def in_cron(environment: dict[str, str], tmp_path: Path) -> Command:
    """Run the command without a variable that names the session bus."""
    bare = {name: value for name, value in environment.items() if name != "DBUS_SESSION_BUS_ADDRESS"}
    words = [sys.executable, "-W", "error", "-c", IN_CRON, str(tmp_path)]
    return lambda *arguments, **given: started([*words, *arguments], {**bare, **given})


def test_in_cron_the_keyring_is_found_by_the_bus_of_the_user(
    in_cron: Command, secrets: SecretService, tmp_path: Path
) -> None:
    (tmp_path / str(os.geteuid())).mkdir()
    socket = secrets.environment["DBUS_SESSION_BUS_ADDRESS"].removeprefix("unix:path=")
    os.link(socket, tmp_path / str(os.geteuid()) / "bus")
    assert in_cron("login", POP3FETCH_PASSWORD="secret") == Ended(0, b"", b"")
    assert in_cron("stat") == Ended(0, b"0\t0\n", b"")
    assert in_cron("stat", DBUS_SESSION_BUS_ADDRESS="unix:path=/nonexistent/bus").status == 77
    assert in_cron("logout") == Ended(0, b"", b"")
    assert in_cron("stat").status == 77


def test_in_cron_without_a_bus_the_error_names_the_cause_and_what_to_use(in_cron: Command) -> None:
    ended = in_cron("stat")
    assert (ended.status, ended.out) == (77, b"")
    [line] = ended.err.decode().splitlines()
    assert "(the keyring was skipped: no keyring is installed, or it cannot be reached outside a" in line
    assert all(way in line for way in WAYS)
