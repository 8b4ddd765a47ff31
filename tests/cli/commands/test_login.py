"""`login` and `logout`: the password goes into the keyring once the server has taken it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pop3fetch.status import Status
from tests.support import keyrings
from tests.support.command import Ended, Run
from tests.support.keyrings import kept
from tests.support.served_mail import Post, StartPost
from tests.support.terminal import Terminal


@pytest.fixture
def keyring(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a keyring that is a file."""
    return keyrings.in_a_file(tmp_path)


def entry(served: Post) -> str:
    return f"pop3fetch alice@127.0.0.1:{served.server.port}"


def silent(ended: Ended) -> bool:
    return (ended.status, ended.out, ended.err) == (0, b"", b"")


def test_a_password_that_works_is_kept_used_and_forgotten(
    run: Run, post: StartPost, keyring: dict[str, str]
) -> None:
    served = post()
    account = {"POP3FETCH_ACCOUNT": served.server.url()}
    assert silent(run("login", env={**served.environment, **keyring}))
    assert kept(keyring) == {entry(served): "secret"}
    assert run("stat", env={**account, **keyring}).status == 0
    assert silent(run("logout", env={**account, **keyring}))
    assert kept(keyring) == {}
    assert run("stat", env={**account, **keyring}).status == Status.NO_LOGIN


def test_a_password_that_is_refused_is_not_kept(run: Run, post: StartPost, keyring: dict[str, str]) -> None:
    served = post(password="other")
    ended = run("login", env={**served.environment, **keyring})
    assert ended.status == Status.NO_LOGIN
    assert ended.err.count(b"\n") == 1
    assert kept(keyring) == {}


def test_a_kept_password_is_not_tried_again_at_login(
    run: Run, post: StartPost, keyring: dict[str, str]
) -> None:
    served = post(password="other")
    Path(keyring["KEYRING_FILE"]).write_text(json.dumps({entry(served): "old"}))
    ended = run("login", env={"POP3FETCH_ACCOUNT": served.server.url(), **keyring})
    assert ended.status == Status.NO_LOGIN
    assert b"there is no password" in ended.err


def test_a_keyring_that_keeps_nothing_is_an_error(run: Run, post: StartPost) -> None:
    ended = run("login", env=post().environment)
    assert ended.status == Status.CONFIGURATION
    assert ended.err.startswith(b"pop3fetch: the system's keyring: it stores nothing")


def test_at_a_terminal_the_password_is_asked_for(
    terminal: Terminal, post: StartPost, keyring: dict[str, str]
) -> None:
    served = post()
    env = {"POP3FETCH_ACCOUNT": served.server.url(), **keyring}
    seen = terminal("login", env=env, answers=[(b"Password of alice@", b"secret\n")], columns=200)
    address = f"alice@127.0.0.1:{served.server.port}"
    assert seen.screen == [
        f"Password of {address}:",
        f"the password of {address} works, and is kept in the keyring",
    ]
    assert kept(keyring) == {entry(served): "secret"}
    seen = terminal("logout", env=env, columns=200)
    assert seen.screen == [f"the password of {address} is removed from the keyring"]
    seen = terminal("logout", env=env, columns=200)
    assert seen.screen == [f"the password of {address} was not in the keyring"]


def test_a_keyring_that_fails_is_passed_over(run: Run, post: StartPost) -> None:
    env = {**post().environment, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    assert run("stat", env=env).status == 0
    ended = run("stat", "-v", env={**env, "POP3FETCH_PASSWORD": ""})
    assert ended.status == Status.NO_LOGIN
    assert b"pop3fetch: the keyring was skipped: " in ended.err


def test_several_accounts_are_asked_for_one_by_one(
    terminal: Terminal, post: StartPost, keyring: dict[str, str], tmp_path: Path
) -> None:
    first, second = post(), post(password="other")
    table = '[accounts.{0}]\nhost = "127.0.0.1"\nport = {1.port}\ntls = "auto"\nuser = "alice"\n'
    config = tmp_path / "config.toml"
    config.write_text(table.format("first", first.server) + table.format("second", second.server))
    answers = [(b"Password of", b"secret\n"), (b"Password of", b"other\n")]
    seen = terminal("login", "-A", "-c", config, env=keyring, answers=answers)
    assert seen.status == 0
    assert kept(keyring) == {entry(first): "secret", entry(second): "other"}


OAUTH = """\
[accounts.work]
host = "127.0.0.1"
port = 1
user = "alice"
auth = "xoauth2"
{settings}

[accounts.work.oauth]
client_id = "client"
authorization_endpoint = "http://127.0.0.1:1/authorize"
token_endpoint = "http://127.0.0.1:1/token"
"""
FAILS = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
KEEPS_NOTHING = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}


@pytest.mark.parametrize(
    ("settings", "backend", "said"),
    [
        ("", FAILS, b"pop3fetch: the system's keyring: no keyring is installed, or "),
        ("", KEEPS_NOTHING, b"pop3fetch: the system's keyring: it stores nothing"),
        ("ca_file = '/nowhere.pem'", {}, b"pop3fetch: /nowhere.pem: No such file or directory"),
        ("ca_file = '/nowhere.pem'\ntls = 'auto'", {}, b"pop3fetch: /nowhere.pem: No such file or directory"),
        ("client_cert = '/nowhere.pem'", {}, b"pop3fetch: /nowhere.pem: No such file or directory"),
    ],
)
def test_what_makes_a_browser_login_useless_is_said_before_it(
    run: Run,
    keyring: dict[str, str],
    tmp_path: Path,
    settings: str,
    backend: dict[str, str],
    said: bytes,
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(OAUTH.format(settings=settings))
    ended = run("login", "-c", config, env={**keyring, **backend})
    assert ended.status == Status.CONFIGURATION
    assert ended.err.startswith(said)
    assert ended.err.count(b"\n") == 1  # no page was shown


def test_ctrl_d_at_the_question_for_the_password_is_no_password(terminal: Terminal, post: StartPost) -> None:
    env = {"POP3FETCH_ACCOUNT": post().server.url()}
    seen = terminal("stat", env=env, answers=[(b"Password of", b"\x04")])
    assert seen.status == 77
    assert b"there is no password" in seen.raw and b"internal error" not in seen.raw
