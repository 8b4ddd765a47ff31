"""Where a command finds the password, and where it must not look."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.here import Here
from tests.cli.post import Post, StartPost
from tests.command import Ended

RIGHT, WRONG = "secret", "wr0ng-w0rd"
PRIVATE = 0o600


def error(ended: Ended) -> str:
    (line,) = ended.err.decode().splitlines()
    return line.removeprefix("pop3fetch: ")


def configured(folder: Path, served: Post, *lines: str, mode: int = PRIVATE) -> list[str | Path]:
    """Write a configuration file; return the arguments that name it."""
    config = folder / "config.toml"
    table = ["[accounts.work]", "host = '127.0.0.1'", f"port = {served.server.port}", "tls = 'auto'"]
    config.write_text("\n".join([*table, "user = 'alice'", *lines]))
    config.chmod(mode)
    return ["-c", config]


def netrc(home: Path, text: str, mode: int = PRIVATE) -> None:
    file = home / ".netrc"
    file.write_text(text)
    file.chmod(mode)


def given_by(word: str) -> str:
    """Return the command that prints ``word``."""
    return f"{sys.executable} -c 'print(\"{word}\")'"


# -- the configuration file ------------------------------------------------------------------------


def test_a_password_in_a_private_file_is_taken(here: Here, post: StartPost, tmp_path: Path) -> None:
    arguments = configured(tmp_path, post(), f"password = '{RIGHT}'")
    assert here("stat", *arguments).status == 0


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o666])
@pytest.mark.parametrize("command", ["stat", "get", "login", "accounts"])
def test_a_password_that_others_can_read_is_refused_before_anything_is_connected(
    here: Here, post: StartPost, tmp_path: Path, command: str, mode: int
) -> None:
    served = post()
    arguments = configured(tmp_path, served, f"password = '{RIGHT}'", mode=mode)
    ended = here(command, *arguments)
    assert (ended.status, ended.out) == (78, b"")
    assert error(ended) == (
        f"{tmp_path}/config.toml: accounts.work.password: others can read this file: chmod 600 it, "
        "or better, use password_command or the keyring"
    )
    assert served.server.talks == []


def test_others_may_read_a_file_without_a_password(here: Here, post: StartPost, tmp_path: Path) -> None:
    arguments = configured(tmp_path, post(), mode=0o644)
    assert here("stat", *arguments, env={"POP3FETCH_PASSWORD": RIGHT}).status == 0


# -- ~/.netrc --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"machine 127.0.0.1 login alice password {RIGHT}\n",
        f"machine other login alice password {WRONG}\nmachine 127.0.0.1\n login alice\n password {RIGHT}\n",
        f'machine 127.0.0.1 login bob password {WRONG} machine 127.0.0.1 login alice password "{RIGHT}"\n',
        f"default login alice password {RIGHT}\n",
    ],
)
def test_the_password_may_be_in_netrc(here: Here, post: StartPost, home: Path, text: str) -> None:
    netrc(home, text)
    ended = here("stat", env={"POP3FETCH_ACCOUNT": post().server.url()})
    assert (ended.status, ended.err) == (0, b"")


@pytest.mark.parametrize(
    "text",
    [
        f"machine 127.0.0.1 login bob password {WRONG}\n",
        f"machine localhost login alice password {WRONG}\n",
        f"default password {WRONG}\n",
        "",
    ],
)
def test_another_ones_password_is_not_sent(here: Here, post: StartPost, home: Path, text: str) -> None:
    netrc(home, text)
    served = post()
    ended = here("stat", env={"POP3FETCH_ACCOUNT": served.server.url()})
    assert ended.status == 77
    assert set(served.verbs) <= {b"CAPA"}
    assert WRONG.encode() not in ended.err


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_netrc_that_others_can_read_is_passed_over(
    here: Here, post: StartPost, home: Path, mode: int
) -> None:
    netrc(home, f"machine 127.0.0.1 login alice password {RIGHT}\n", mode)
    served = post()
    ended = here("stat", "-v", env={"POP3FETCH_ACCOUNT": served.server.url()})
    assert ended.status == 77
    reason = "~/.netrc was passed over: others can read or own it: chown and chmod 600 it"
    first, *_, last = ended.err.decode().splitlines()
    assert first == f"pop3fetch: {reason}"
    assert reason in last and RIGHT not in ended.err.decode()
    assert set(served.verbs) <= {b"CAPA"}


def test_a_netrc_that_is_malformed_is_passed_over_and_not_quoted(
    here: Here, post: StartPost, home: Path
) -> None:
    netrc(home, f"machine 127.0.0.1 login alice passwort {WRONG}\n")
    ended = here("stat", env={"POP3FETCH_ACCOUNT": post().server.url()})
    assert ended.status == 77
    assert "~/.netrc was passed over: has a word where a keyword" in error(ended)
    assert WRONG not in error(ended)


# -- their order, and the end of it ----------------------------------------------------------------


def test_the_first_source_that_has_one_counts(
    here: Here, post: StartPost, home: Path, tmp_path: Path
) -> None:
    served = post()
    netrc(home, f"machine 127.0.0.1 login alice password {WRONG}\n")
    written = configured(tmp_path, served, f"password = '{RIGHT}'")
    assert here("stat", *written).status == 0
    commanded = configured(
        tmp_path, served, f"password = '{WRONG}'", f'password_command = """{given_by(RIGHT)}"""'
    )
    assert here("stat", *commanded).status == 0
    given = ["--password-command", given_by(RIGHT)]
    wrong = configured(
        tmp_path, served, f"password = '{WRONG}'", f'password_command = """{given_by(WRONG)}"""'
    )
    assert here("stat", *wrong, *given).status == 0
    assert here("stat", *wrong, env={"POP3FETCH_PASSWORD": RIGHT}).status == 0


def test_a_password_command_that_fails_decides_and_is_quoted_by_what_it_complained_of(
    here: Here, post: StartPost, tmp_path: Path
) -> None:
    served = post()
    program = f'import sys; print("{RIGHT}"); sys.exit("no key for alice")'
    command = f"{sys.executable} -c '{program}'"
    ended = here(
        "stat", *configured(tmp_path, served, f"password = '{RIGHT}'"), "--password-command", command
    )
    assert ended.status == 77
    assert error(ended) == f"the password command ({sys.executable}) failed with status 1: no key for alice"
    assert set(served.verbs) <= {b"CAPA"}


def test_without_a_password_and_a_terminal_the_ways_to_give_one_are_named(
    here: Here, post: StartPost
) -> None:
    served = post()
    ended = here("stat", env={"POP3FETCH_ACCOUNT": served.server.url()})
    assert ended.status == 77
    for way in (
        "POP3FETCH_PASSWORD",
        "--password-command",
        "password_command",
        "`pop3fetch login`",
        "~/.netrc",
    ):
        assert way in error(ended)
    assert set(served.verbs) <= {b"CAPA"}
