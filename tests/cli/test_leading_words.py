"""Command lines that do not begin with a command: options, and the verbs of other programs."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from pop3fetch.cli.leading_words import INSTEAD, in_order, leading_options
from pop3fetch.cli.main import COMMANDS, commands
from pop3fetch.status import Status
from tests.support.in_process import Here


def options_of(name: str) -> list[click.Option]:
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    all_of_them = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    return [option for each in all_of_them for option in each.params if isinstance(option, click.Option)]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    table = '[accounts.{}]\nhost = "mail.example.org"\nuser = "alice"\n'
    path.write_text(table.format("work") + table.format("home"))
    return path


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("-a work list", "list -a work"),
        ("--account=work list -l", "list --account=work -l"),
        ("-awork list", "list -awork"),
        ("--json list", "list --json"),
        ("-v get --dry-run 3", "get -v --dry-run 3"),
        ("-qA --jobs 3 stat", "stat -qA --jobs 3"),
        ("-a list list", "list -a list"),
        ("-c file --delete-after 3 get", "get -c file --delete-after 3"),
        ("-- list", "list --"),
        ("-a work record", "record -a work"),
        ("-a work record list", "record list -a work"),
        ("--fetched-at 7d record add uids", "record add --fetched-at 7d uids"),
        ("help record add", "record add --help"),
        ("-v help get", "get -v --help"),
        ("help get", "get --help"),
        ("help", "--help"),
        ("-v help", "--help"),
        ("-v --help", "--help"),
        ("-v --help-all", "--help-all"),
        ("-v --version", "--version"),
        ("version", "--version"),
    ],
)
def test_options_before_the_command_are_moved_behind_it(before: str, after: str) -> None:
    assert in_order(before.split(), commands) == after.split()


def test_an_option_before_the_command_counts(here: Here, config: Path) -> None:
    given = here("-c", config, "--json", "accounts")
    assert given.out == here("accounts", "--json", "-c", config).out
    assert given.out.count(b"\n") == 2


def test_every_option_may_come_before_the_command() -> None:
    every = {spelling for option in leading_options(commands) for spelling in option.opts}
    for name in COMMANDS:
        for option in options_of(name):
            assert option.is_eager or set(option.opts) <= every


def test_an_option_takes_a_value_in_all_commands_or_in_none() -> None:
    flags: dict[str, bool] = {}
    for name in COMMANDS:
        for option in options_of(name):
            is_flag = option.is_flag or option.count
            for spelling in option.opts:
                assert flags.setdefault(spelling, is_flag) == is_flag


@pytest.mark.parametrize(
    ("verb", "command"),
    [(verb, advice) for advice, verbs in INSTEAD.items() for verb in verbs],
)
def test_a_verb_of_another_program_is_answered_with_ours(here: Here, verb: str, command: str) -> None:
    ended = here(verb, "3")
    assert ended.status == Status.USAGE
    assert ended.err.decode() == f"pop3fetch: no such command: {verb}; {command}\n"
    assert verb not in COMMANDS
    named = set(re.findall(r"`pop3fetch (\w+)", command))
    assert named <= set(COMMANDS)


def test_a_url_instead_of_a_command_is_not_repeated(here: Here) -> None:
    ended = here("pop3s://alice:s3cret@mail.example.org")
    assert ended.status == Status.USAGE
    assert b"s3cret" not in ended.err and b"-a URL" in ended.err
