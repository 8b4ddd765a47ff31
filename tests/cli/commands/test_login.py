"""`login` and `logout`: the password goes into the keyring once the server has taken it."""

from __future__ import annotations

import json
from dataclasses import dataclass
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


def test_without_a_table_a_keyring_that_keeps_nothing_is_an_error(run: Run, post: StartPost) -> None:
    ended = run("login", env=post().environment)
    assert ended.status == Status.CONFIGURATION
    assert ended.err == (
        b"pop3fetch: the password is not stored: the system's keyring: it stores nothing; "
        b"use --password-command\n"
    )


# -- where the password is stored ------------------------------------------------------------------

QUESTION = b"Store it in ~/.config/pop3fetch/work.password (mode 0600)? [y/N] "


@dataclass(frozen=True, slots=True)
class Work:
    """An account in the configuration file; ``settings`` are lines of its table."""

    run: Run
    served: Post

    def configure(self, settings: str = "") -> None:
        self.config.parent.mkdir(parents=True, exist_ok=True)
        self.config.touch(0o600)
        port = self.served.server.port
        self.config.write_text(
            f'[accounts.work]\nhost = "127.0.0.1"\nport = {port}\ntls = "auto"\nuser = "alice"\n{settings}'
        )

    @property
    def config(self) -> Path:
        return self.run.home / ".config/pop3fetch/config.toml"

    @property
    def file(self) -> Path:
        return self.config.with_name("work.password")

    @property
    def title(self) -> str:
        return f"alice@127.0.0.1:{self.served.server.port}"


@pytest.fixture
def work(run: Run, post: StartPost) -> Work:
    work = Work(run, post())
    work.configure()
    return work


SECRET = {"POP3FETCH_PASSWORD": "secret"}
KEY = 'password_file = "~/.config/pop3fetch/work.password"\n'


def test_a_password_is_kept_in_a_file_used_and_forgotten(work: Work) -> None:
    before = work.config.read_text()
    assert silent(work.run("login", "--store", "file", env=SECRET))
    assert (work.file.read_bytes(), work.file.stat().st_mode & 0o777) == (b"secret\n", 0o600)
    assert work.config.read_text() == before + KEY
    assert work.run("stat").status == 0
    assert silent(work.run("logout"))
    assert not work.file.exists()
    assert work.config.read_text() == before


@pytest.mark.parametrize("store", [[], ["--store", "keyring"]])
def test_a_keyring_that_keeps_nothing_is_an_error(work: Work, store: list[str]) -> None:
    ended = work.run("login", *store, env=SECRET)
    assert ended.status == Status.CONFIGURATION
    assert ended.err == (
        b"pop3fetch: the password is not stored: the system's keyring: it stores nothing; "
        b"use --store file, or password_command\n"
    )
    assert not work.file.exists()


def test_a_password_that_is_refused_is_not_kept_in_a_file(work: Work) -> None:
    before = work.config.read_text()
    assert work.run("login", "--store", "file", env={"POP3FETCH_PASSWORD": "x"}).status == Status.NO_LOGIN
    assert work.config.read_text() == before
    assert not work.file.exists()


def test_a_password_that_is_not_to_be_kept_is_only_tried(work: Work, keyring: dict[str, str]) -> None:
    before = work.config.read_text()
    assert silent(work.run("login", "--store", "none", env={**SECRET, **keyring}))
    assert kept(keyring) == {}
    assert work.config.read_text() == before


def test_without_a_keyring_a_terminal_offers_a_file(work: Work, terminal: Terminal) -> None:
    asked = (b"Password of alice@", b"secret\n")
    seen = terminal("login", answers=[asked, (QUESTION, b"y\n")], columns=120)
    assert seen.status == Status.OK
    assert seen.screen == [
        f"Password of {work.title}:",
        "pop3fetch: the system's keyring: it stores nothing",
        f"{QUESTION.decode()}y",
        f"the password of work ({work.title}) works, and is kept in ~/.config/pop3fetch/work.password",
        "next: pop3fetch list",
    ]
    assert work.file.read_bytes() == b"secret\n"


def test_who_wants_no_file_types_the_password_each_time(work: Work, terminal: Terminal) -> None:
    asked = (b"Password of alice@", b"secret\n")
    seen = terminal("login", "-a", "work", answers=[asked, (QUESTION, b"n\n")], columns=120)
    assert seen.status == Status.OK
    assert seen.screen[3:] == [
        f"the password of work ({work.title}) works, and is not stored",
        "next: pop3fetch list",
    ]
    assert not work.file.exists()


def test_a_new_password_replaces_that_in_the_file(work: Work, terminal: Terminal) -> None:
    work.run("login", "--store", "file", env=SECRET)
    work.file.write_bytes(b"old\n")
    seen = terminal("login", answers=[(b"Password of alice@", b"secret\n")])
    assert seen.status == Status.OK
    assert work.file.read_bytes() == b"secret\n"


def test_a_password_moves_from_the_file_to_the_keyring(work: Work, keyring: dict[str, str]) -> None:
    before = work.config.read_text()
    work.run("login", "--store", "file", env=SECRET)
    assert silent(work.run("login", "--store", "keyring", env={**SECRET, **keyring}))
    assert kept(keyring) == {f"pop3fetch {work.title}": "secret"}
    assert not work.file.exists()
    assert work.config.read_text() == before


def test_a_password_in_netrc_is_not_stored_again(
    work: Work, terminal: Terminal, keyring: dict[str, str]
) -> None:
    netrc = work.run.home / ".netrc"
    netrc.write_text("machine 127.0.0.1 login alice password secret\n")
    netrc.chmod(0o600)
    seen = terminal("login", env=keyring, columns=120)
    assert seen.screen == [
        f"the password of work ({work.title}) works, and is not stored, because ~/.netrc has it",
        "next: pop3fetch list",
    ]
    assert kept(keyring) == {}
    assert work.run("login", "--store", "file").status == Status.OK
    assert work.file.read_bytes() == b"secret\n", "unless it is wanted"


@pytest.mark.parametrize("key", ["password = 'secret'", "password_command = 'echo secret'"])
def test_a_source_in_the_file_leaves_nothing_to_store(
    work: Work, terminal: Terminal, keyring: dict[str, str], key: str
) -> None:
    work.configure(f"{key}\n")
    seen = terminal("login", env=keyring, columns=120)
    name = key.partition(" ")[0]
    assert seen.screen == [
        f"the password of work ({work.title}) works, and is not stored, because the key {name} gives it",
        "next: pop3fetch list",
    ]
    assert kept(keyring) == {}
    before = work.config.read_text()
    ended = work.run("login", "--store", "file")
    assert ended.status == Status.CONFIGURATION
    assert ended.err.decode() == (
        f"pop3fetch: {work.config}: accounts.work.{name}: gives the password already; remove it, "
        "or leave out --store\n"
    )
    assert work.config.read_text() == before


@pytest.mark.parametrize(
    "arguments", [["-a", "pop3://alice@127.0.0.1:1"], ["-H", "localhost", "-u", "alice"]]
)
def test_only_an_account_of_the_file_can_have_its_password_in_a_file(run: Run, arguments: list[str]) -> None:
    ended = run("login", "--store", "file", *arguments, env=SECRET)
    assert ended.status == Status.USAGE
    assert b"--store file needs an account of the configuration file" in ended.err


def test_the_next_command_names_an_account_that_is_not_the_default(
    work: Work, terminal: Terminal, keyring: dict[str, str]
) -> None:
    work.config.write_text(work.config.read_text() + "[accounts.home]\nhost = 'localhost'\n")
    seen = terminal("login", "-a", "work", env={**SECRET, **keyring}, columns=120)
    assert seen.screen[-1] == "next: pop3fetch list -a work"


def test_with_many_accounts_no_next_command_is_shown(
    work: Work, terminal: Terminal, keyring: dict[str, str]
) -> None:
    seen = terminal("login", "-A", env={**SECRET, **keyring}, columns=120)
    assert seen.screen == [f"work: the password of {work.title} works, and is kept in the keyring"]


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


def test_a_keyring_that_fails_is_skipped(run: Run, post: StartPost) -> None:
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


@pytest.mark.parametrize("store", ["file", "keyring"])
def test_a_refresh_token_needs_the_keyring(run: Run, tmp_path: Path, store: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(OAUTH.format(settings=""))
    ended = run("login", "--store", store, "-c", config)
    if store == "file":
        assert ended.status == Status.USAGE
        assert ended.err == b"pop3fetch: --store file is for passwords: a refresh token needs the keyring\n"
    else:
        assert ended.status == Status.CONFIGURATION
        assert ended.err == (
            b"pop3fetch: the system's keyring: it stores nothing; OAuth 2 needs one; without one, let "
            b"password_command print the access token\n"
        )


@pytest.mark.parametrize(
    ("settings", "backend", "said"),
    [
        ("", FAILS, b"pop3fetch: the system's keyring: no keyring is installed, or "),
        ("", KEEPS_NOTHING, b"pop3fetch: the system's keyring: it stores nothing"),
        ("ca_file = '/nowhere.pem'", {}, b"pop3fetch: CA file /nowhere.pem: No such file or directory"),
        ("ca_file = '/nowhere.pem'\ntls = 'auto'", {}, b"pop3fetch: CA file /nowhere.pem: No such file"),
        (
            "client_cert = '/nowhere.pem'",
            {},
            b"pop3fetch: client certificate /nowhere.pem: No such file",
        ),
    ],
)
def test_what_makes_a_browser_login_useless_is_reported_before_it(
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


def test_ctrl_d_at_the_question_for_the_password_means_no_password(
    terminal: Terminal, post: StartPost
) -> None:
    env = {"POP3FETCH_ACCOUNT": post().server.url()}
    seen = terminal("stat", env=env, answers=[(b"Password of", b"\x04")])
    assert seen.status == 77
    assert b"there is no password" in seen.raw and b"internal error" not in seen.raw
