"""The options that commands share: how they are shown, completed, and turned into accounts."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from pop3fetch.cli.completion import Bash
from pop3fetch.cli.main import commands
from pop3fetch.status import Status
from tests.support.in_process import Here
from tests.support.served_mail import StartPost

FILE = """\
[accounts.work]
host = "mail.example.org"
user = "alice"

[accounts.home]
host = "mail.example.net"
user = "alice"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(FILE)
    return path


def completions(arguments: list[str], incomplete: str) -> list[str]:
    shell = Bash(commands, {}, "pop3fetch", "_POP3FETCH_COMPLETE")
    return [item.value for item in shell.get_completions(arguments, incomplete)]


# -- completion ------------------------------------------------------------------------------


def test_account_names_are_completed(config: Path) -> None:
    assert completions(["list", "-c", str(config), "-a"], "") == ["work", "home"]
    assert completions(["list", "-c", str(config), "-a"], "h") == ["home"]


def test_a_wrong_file_completes_nothing(config: Path) -> None:
    config.write_text("not TOML at all")
    assert completions(["list", "-c", str(config), "-a"], "") == []


def test_an_option_before_the_command_leaves_the_completion_as_it_is(config: Path) -> None:
    assert completions(["-v"], "acc") == ["accounts"]
    assert completions([], "--tls-f") == ["--tls-fingerprint"]
    assert completions(["--tls"], "st") == ["starttls"]
    assert completions(["-v", "get"], "--delete-a") == ["--delete-after"]
    assert completions(["-c", str(config), "list", "-a"], "h") == ["home"]


def test_commands_options_and_words_are_completed() -> None:
    assert completions(["record"], "f") == ["forget", "forget-destination"]
    assert completions(["record", "-a", "work"], "f") == ["forget", "forget-destination"]
    assert completions(["record", "add"], "--f") == ["--fetched-at"]
    assert completions([], "l") == ["list", "login", "logout"]
    assert completions(["get"], "--delete") == ["--delete", "--delete-after", "--delete-marked"]
    assert completions(["get", "--tls"], "s") == ["starttls"]


# -- accounts --------------------------------------------------------------------------------


def test_the_only_account_of_the_file_is_meant(here: Here, tmp_path: Path, post: StartPost) -> None:
    served = post()
    only = tmp_path / "only.toml"
    only.write_text(
        f'[accounts.only]\nhost = "127.0.0.1"\nport = {served.server.port}\ntls = "auto"\nuser = "alice"\n'
    )
    env = {"POP3FETCH_PASSWORD": "secret"}
    assert here("stat", "-c", only, env=env).status == 0


def test_of_several_accounts_one_must_be_chosen(here: Here, config: Path) -> None:
    ended = here("stat", "-c", config)
    assert ended.status == Status.CONFIGURATION
    assert b"choose one of work, home with -a" in ended.err


def test_what_others_could_change_is_reported_with_v(here: Here, config: Path) -> None:
    config.write_text(FILE + 'password_command = "pass mail"\n')
    config.chmod(0o666)
    assert here("accounts", "-c", config).err == b""
    assert b"others can change which commands it runs" in here("accounts", "-v", "-c", config).err


@pytest.mark.parametrize("word", ["~nobody-at-all/x", "~/config.toml"])
def test_a_home_in_a_path_is_expanded_or_left(here: Here, home: Path, word: str) -> None:
    ended = here("accounts", "-c", word)
    assert ended.status == Status.CONFIGURATION
    assert b"no such file" in ended.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("-4 -6", "-4 and -6 are mutually exclusive"),
        ("-A --account work", "--all-accounts and --account are mutually exclusive"),
        ("-A --host h", "--all-accounts and --host are mutually exclusive"),
        ("-A --user u", "--all-accounts and --user are mutually exclusive"),
        ("-A --port 1", "--all-accounts and --port are mutually exclusive"),
        ("-A --jobs 0", "--jobs and --jobs-per-host must be at least 1"),
        ("-A --jobs-per-host -1", "--jobs and --jobs-per-host must be at least 1"),
    ],
)
def test_what_excludes_each_other_is_a_mistake(here: Here, config: Path, options: str, said: str) -> None:
    ended = here("stat", "-c", config, *options.split())
    assert ended.status == Status.USAGE
    assert ended.err.decode() == f"pop3fetch: {said} (see `pop3fetch stat --help`)\n"


def test_every_shared_option_has_a_section() -> None:
    context = click.Context(commands)
    command = commands.get_command(context, "stat")
    assert command is not None
    options = [option for option in command.params if isinstance(option, click.Option)]
    own = [option.name for option in options if not getattr(option, "section", "")]
    assert own == ["with_new", "as_json", "help_all", "help"]
