"""The sources of the password for a command, and those that it must not use."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.support.command import Ended, Run
from tests.support.in_process import Here
from tests.support.served_mail import Post, StartPost

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


def secret_file(folder: Path, text: str) -> Path:
    """Write a private file with a password in it."""
    file = folder / f"file-{len(list(folder.iterdir()))}"
    file.write_text(text)
    file.chmod(PRIVATE)
    return file


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
        f"{tmp_path}/config.toml: accounts.work.password: others can read this file; chmod 600 it, "
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
def test_a_netrc_that_others_can_read_is_skipped(here: Here, post: StartPost, home: Path, mode: int) -> None:
    netrc(home, f"machine 127.0.0.1 login alice password {RIGHT}\n", mode)
    served = post()
    ended = here("stat", "-v", env={"POP3FETCH_ACCOUNT": served.server.url()})
    assert ended.status == 77
    reason = "~/.netrc was skipped: others can read or own it; chown and chmod 600 it"
    first, *_, last = ended.err.decode().splitlines()
    assert first == f"pop3fetch: {reason}"
    assert reason in last and RIGHT not in ended.err.decode()
    assert set(served.verbs) <= {b"CAPA"}


def test_a_netrc_that_is_malformed_is_skipped_and_not_quoted(here: Here, post: StartPost, home: Path) -> None:
    netrc(home, f"machine 127.0.0.1 login alice passwort {WRONG}\n")
    ended = here("stat", env={"POP3FETCH_ACCOUNT": post().server.url()})
    assert ended.status == 77
    assert "~/.netrc was skipped: has a word where a keyword" in error(ended)
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


def test_an_option_goes_before_the_environment_and_the_environment_before_the_file(
    here: Here, post: StartPost, tmp_path: Path
) -> None:
    served = post()
    right, wrong = secret_file(tmp_path, RIGHT), secret_file(tmp_path, WRONG)
    variable = {"POP3FETCH_PASSWORD": WRONG}
    plain = configured(tmp_path, served)
    for option in (["--password-file", right], ["--password-command", given_by(RIGHT)]):
        assert here("stat", *plain, *option, env=variable).status == 0
    variables = {"POP3FETCH_PASSWORD_FILE": str(wrong), "POP3FETCH_PASSWORD_COMMAND": given_by(WRONG)}
    assert here("stat", *plain, env={**variables, "POP3FETCH_PASSWORD": RIGHT}).status == 0
    written = configured(
        tmp_path, served, f"password_file = '{wrong}'", f'password_command = """{given_by(WRONG)}"""'
    )
    assert here("stat", *written, env={"POP3FETCH_PASSWORD_FILE": str(right)}).status == 0
    assert here("stat", *written, env={"POP3FETCH_PASSWORD_COMMAND": given_by(RIGHT)}).status == 0
    assert here("stat", *written, "--password-file", right).status == 0
    both = configured(
        tmp_path, served, f"password_file = '{right}'", f'password_command = """{given_by(WRONG)}"""'
    )
    assert here("stat", *both).status == 0


def test_two_options_that_give_a_password_are_mutually_exclusive(here: Here, tmp_path: Path) -> None:
    ended = here("stat", "--password-file", "x", "--password-command", "y")
    assert ended.status == 2
    assert "--password-file and --password-command are mutually exclusive" in error(ended)


def test_a_password_file_that_others_can_read_ends_the_run(
    here: Here, post: StartPost, tmp_path: Path
) -> None:
    served = post()
    file = secret_file(tmp_path, RIGHT)
    file.chmod(0o644)
    ended = here("stat", *configured(tmp_path, served, f"password_file = '{file}'"))
    assert ended.status == 77
    assert error(ended).startswith(f"the password file {file} can be read or changed by others; chmod 600 it")
    assert set(served.verbs) <= {b"CAPA"}


# -- what a password may be ------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["variable", "file", "command", "netrc"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_any_octets_reach_the_server_without_the_line_end(
    run: Run, post: StartPost, home: Path, tmp_path: Path, source: str, end: bytes
) -> None:
    served = post(password="p\udca7ss", greeting=b"+OK ready\r\n", capabilities=(b"USER", b"UIDL"))
    env = {
        "POP3FETCH_ACCOUNT": served.server.url(),
        "POP3FETCH_ALLOW_INSECURE_LOGIN": "1",
        "POP3FETCH_TLS": "off",
    }
    options: list[str | Path] = []
    secret = tmp_path / "file"
    secret.write_bytes(b"p\xa7ss" + end)
    secret.chmod(PRIVATE)
    match source:
        case "variable":
            env["POP3FETCH_PASSWORD"] = os.fsdecode(secret.read_bytes())
        case "file":
            options = ["--password-file", secret]
        case "command":
            options = ["--password-command", f"cat {secret}"]
        case _:
            (home / ".netrc").write_bytes(b"machine 127.0.0.1 login alice password p\xa7ss" + end)
            (home / ".netrc").chmod(PRIVATE)
    ended = run("stat", *options, env=env)
    assert (ended.status, ended.err) == (0, b"")
    assert b"PASS p\xa7ss" in [line.rstrip(b"\r\n") for line in served.server.commands]


@pytest.mark.parametrize(
    ("tls", "offers"),
    [
        ("implicit", b"SASL PLAIN"),
        ("implicit", b"SASL PLAIN SCRAM-SHA-256 SCRAM-SHA-1"),
        (None, b"SASL PLAIN"),
    ],
)
def test_a_password_that_no_mechanism_can_carry_is_sent_by_pass(
    here: Here, post: StartPost, ca_file: Path, tmp_path: Path, tls: str | None, offers: bytes
) -> None:
    capabilities = (offers, b"USER", b"UIDL")
    served = post(password="p\udca7ss", tls=tls, capabilities=capabilities, greeting=b"+OK ready\r\n")
    file = secret_file(tmp_path, "")
    file.write_bytes(b"p\xa7ss\n")
    words = ["--ca-file", ca_file] if tls else ["--tls", "off", "--allow-insecure-login"]
    port = str(served.server.port)
    ended = here("stat", "-H", "127.0.0.1", "-p", port, "-u", "alice", "--password-file", file, *words)
    assert (ended.status, ended.err) == (0, b"")
    assert b"AUTH" not in served.verbs, "what is not UTF-8 is not sent by PLAIN (RFC 4616)"


@pytest.mark.parametrize("source", ["variable", "file", "command", "netrc"])
def test_a_control_character_is_an_error_that_names_the_source(
    here: Here, post: StartPost, home: Path, tmp_path: Path, source: str
) -> None:
    served = post()
    env = {"POP3FETCH_ACCOUNT": served.server.url()}
    options: list[str | Path] = []
    secret = secret_file(tmp_path, f"{RIGHT}\t")
    name = f"the password file {secret}"
    match source:
        case "variable":
            env["POP3FETCH_PASSWORD"] = f"{RIGHT}\n\n"
            name = "POP3FETCH_PASSWORD"
        case "file":
            options = ["--password-file", secret]
        case "command":
            options = ["--password-command", f"cat {secret}"]
            name = "the password command (cat)"
        case _:
            netrc(home, f'machine 127.0.0.1 login alice password "{RIGHT}\\t"')
            name = "~/.netrc"
    ended = here("stat", *options, env=env)
    assert ended.status == 77
    assert error(ended).startswith(f"the password from {name} contains a control character")
    assert RIGHT not in error(ended)
    assert set(served.verbs) <= {b"CAPA"}


def test_a_password_command_that_leaves_a_program_behind_is_not_waited_for(
    here: Here, post: StartPost, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = f"sh -c 'echo {RIGHT}; exec 3>&1; cat {fifo} &'"
    ended = here("stat", "--password-command", command, env={"POP3FETCH_ACCOUNT": post().server.url()})
    assert (ended.status, ended.err) == (0, b"")
    os.close(os.open(fifo, os.O_WRONLY))  # hangs if the program was killed


def test_a_password_command_for_a_shell_is_refused_before_anything_is_run(
    here: Here, post: StartPost, tmp_path: Path
) -> None:
    served = post()
    ended = here("stat", *configured(tmp_path, served), "--password-command", f"touch {tmp_path}/x | head")
    assert ended.status == 2
    assert error(ended) == (
        "--password-command contains |, which only a shell understands; use --password-command \"sh -c '…'\""
    )
    ended = here("stat", *configured(tmp_path, served, f'password_command = "touch {tmp_path}/x | head"'))
    assert ended.status == 78
    assert not (tmp_path / "x").exists()
    assert served.server.talks == []


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
        "--password-file",
        "--password-command",
        "password_command",
        "`pop3fetch login`",
        "~/.netrc",
    ):
        assert way in error(ended)
    assert set(served.verbs) <= {b"CAPA"}
