"""`accounts`: what the configuration file has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pop3fetch.status import Status
from tests.support.in_process import Here
from tests.support.terminal import Terminal

FILE = """\
default = "work"

[accounts.work]
host = "mail.example.org"
user = "alice"
output = "maildir:~/Mail/work"

[accounts.home]
host = "pop.example.net"
port = 110
user = "alice@example.net"
exec = ["rspamc", "--mime", "a b"]

[accounts."söme\\u001b[31m"]
host = "unix:/run/pop3.sock"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    path.chmod(0o600)
    return path


def test_names_are_printed_one_per_line_and_harmless(here: Here, config: Path) -> None:
    ended = here("accounts", "-c", config)
    assert ended.out.decode() == "work\nhome\nsöme\\x1b[31m\n"
    assert (ended.status, ended.err) == (0, b"")


def test_the_file_may_be_named_by_a_variable(here: Here, config: Path) -> None:
    assert here("accounts", env={"POP3FETCH_CONFIG": str(config)}).out.startswith(b"work\n")


def test_the_platforms_own_file_is_read(here: Here, home: Path) -> None:
    folder = home / ".config/pop3fetch"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text('[accounts.work]\nhost = "mail.example.org"\n')
    assert here("accounts").out == b"work\n"


def test_verbose_adds_server_user_and_destination(here: Here, config: Path, home: Path) -> None:
    assert here("accounts", "-v", "-c", config).out.decode() == (
        f"work\tmail.example.org\t995\talice\tmaildir:{home}/Mail/work\n"
        "home\tpop.example.net\t110\talice@example.net\texec:rspamc --mime 'a b'\n"
        f"söme\\x1b[31m\tunix:/run/pop3.sock\t\t\tmaildir:{home}/Maildir\n"
    )


@pytest.mark.parametrize(
    ("output", "destination"),
    [
        ("Mail/work", "maildir:{home}/Mail/work"),
        ("mbox:$HOME/inbox", "mbox:{home}/inbox"),
        ("/srv/mail/../post", "maildir:/srv/post"),
        ("mbox:-", "mbox:-"),
        ("-", "-"),
    ],
)
def test_the_destination_is_the_one_that_get_delivers_to(
    here: Here, config: Path, home: Path, output: str, destination: str
) -> None:
    config.write_text(f"[accounts.work]\nhost = 'localhost'\noutput = '{output}'\n")
    shown = destination.format(home=home)
    assert here("accounts", "-v", "-c", config).out == f"work\tlocalhost\t995\t\t{shown}\n".encode()
    assert json.loads(here("accounts", "--json", "-c", config).out)["output"] == shown


def test_a_wrong_destination_is_an_error_of_its_account(here: Here, config: Path) -> None:
    config.write_text(FILE.replace("maildir:~/Mail/work", "imap:work"))
    ended = here("accounts", "-v", "-c", config)
    assert ended.status == Status.CONFIGURATION
    assert ended.err.startswith(f"pop3fetch: {config}: accounts.work.output: unknown destination".encode())
    assert len(ended.out.splitlines()) == 2


def test_objects_have_these_keys(here: Here, config: Path, home: Path) -> None:
    objects = [json.loads(line) for line in here("accounts", "--json", "-c", config).out.splitlines()]
    assert objects[:2] == [
        {
            "name": "work",
            "host": "mail.example.org",
            "port": 995,
            "user": "alice",
            "output": f"maildir:{home}/Mail/work",
        },
        {
            "name": "home",
            "host": "pop.example.net",
            "port": 110,
            "user": "alice@example.net",
            "output": "exec:rspamc --mime 'a b'",
        },
    ]
    assert objects[2]["user"] is None


def test_a_wrong_account_does_not_hide_the_names(here: Here, config: Path) -> None:
    config.write_text(FILE + "colour = 'blue'\n")
    assert here("accounts", "-c", config).status == 0
    ended = here("accounts", "-v", "-c", config)
    assert ended.status == Status.CONFIGURATION
    assert b"colour: unknown key" in ended.err
    assert len(ended.out.splitlines()) == 2, "nor the other accounts"


def test_a_password_in_the_environment_hides_no_accounts(here: Here, config: Path) -> None:
    ended = here("accounts", "--json", "-c", config, env={"POP3FETCH_PASSWORD": "secret"})
    assert (ended.status, len(ended.out.splitlines())) == (0, 3)


def test_a_missing_file_has_no_accounts_and_is_not_an_error(
    here: Here, terminal: Terminal, home: Path
) -> None:
    ended = here("accounts")
    assert (ended.status, ended.out, ended.err) == (0, b"", b"")
    seen = terminal("accounts", columns=300)
    assert seen.screen == [f"there are no accounts in {home}/.config/pop3fetch/config.toml"]


def test_an_unknown_account_is_answered_with_the_nearest(here: Here, config: Path) -> None:
    ended = here("list", "-a", "wrok", "-c", config)
    assert ended.status == Status.CONFIGURATION
    assert b"no account is named 'wrok'; did you mean 'work'?" in ended.err
    assert ended.err.count(b"\n") == 1
