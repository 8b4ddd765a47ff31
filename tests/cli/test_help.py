"""--help and --help-all: what they show, in which order, and that it fits."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from pop3fetch.cli.commands.record import command as record
from pop3fetch.cli.help import COMMON_ROWS, everything
from pop3fetch.cli.main import COMMANDS, HELP_ALL, commands
from pop3fetch.cli.options import Command, shared_option
from pop3fetch.defaults import AUTH_METHODS, TLS_MODES
from tests.support.in_process import Here

ALL = ["", *COMMANDS, *(f"record {name}" for name in record.commands)]


def test_help_shows_a_commands_own_options_first(here: Here) -> None:
    text = here("get", "--help").out.decode()
    assert sections_of(text) == ["Options:", "More options (see --help-all):", "Common options:", "Examples:"]
    common = text.partition("Common options:\n")[2].partition("\n\n")[0]
    assert [line.split()[0].strip(",") for line in common.splitlines() if line.startswith("  -")] == [
        "-a", "-A", "-c", "-q", "-v", "--help-all", "-h",
    ]  # fmt: skip


def sections_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]


def test_help_all_shows_all_options_by_section(here: Here) -> None:
    text = here("get", "--help-all").out.decode()
    assert sections_of(text) == [
        "Options:",
        "Delivery details:",
        "Unattended runs:",
        "Filters:",
        "The account and its server:",
        "TLS and login:",
        "Several accounts:",
        "General:",
        "Help:",
        "Examples:",
    ]
    assert text.index("--exec CMD") < text.index("--account") < text.index("--tls") < text.index("--jobs")


@pytest.mark.parametrize("command", ALL)
def test_help_all_names_every_option(here: Here, command: str) -> None:
    text = here(*command.split(), "--help-all").out.decode()
    named: click.Command | None = commands
    for name in command.split() or ["caps"]:
        assert isinstance(named, click.Group)
        named = named.get_command(click.Context(named), name)
    assert named is not None
    options = [option for option in named.params if isinstance(option, click.Option)]
    shown = set(re.findall(r"(?<=[ ,/])--?[a-zA-Z0-9][a-z0-9-]*", text))
    own = {"--json"} if not command else set()  # of `caps`
    assert {spelling for option in options for spelling in option.opts} - own <= shown


@pytest.mark.parametrize("columns", [40, 65, 72, 80])  # of which click would break a name at two
def test_help_all_names_every_mode_and_method(here: Here, columns: int) -> None:
    words = set(re.findall("[a-z0-9-]+", here.screen("list", "--help-all", columns=columns).getvalue()))
    assert {*TLS_MODES, *AUTH_METHODS[1:]} - words == set()


def test_the_common_options_are_described_alike_before_a_command() -> None:
    command = commands.get_command(click.Context(commands), "caps")
    assert command is not None
    context = click.Context(command)
    options = {str(option.name): option for option in command.params}
    assert {name: options[name].get_help_record(context) for name in COMMON_ROWS} == COMMON_ROWS


def test_a_section_that_is_not_shared_is_named_in_help_and_shown_in_help_all(here: Here) -> None:
    @click.command("x", cls=Command, epilog="pop3fetch x")
    @shared_option("--from", section="Filters", metavar="TEXT", help="The sender contains TEXT.")
    @shared_option("--since", section="Filters", metavar="WHEN", help="By the Date field.")
    @HELP_ALL
    def command() -> None:
        pass

    with command.make_context("x", []) as context:
        brief, full = context.get_help(), everything(context)
    assert "More options (see --help-all):\n  Filters  --from, --since\n" in brief
    assert "Filters:\n  --from TEXT   The sender contains TEXT.\n  --since WHEN  By the Date field.\n" in full


@pytest.mark.parametrize("command", ALL)
@pytest.mark.parametrize("option", ["--help", "--help-all"])
def test_help_fits_the_terminal(
    here: Here, monkeypatch: pytest.MonkeyPatch, command: str, option: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ended = here(*command.split(), option)
    assert ended.status == 0
    text = ended.out.decode()
    assert text.startswith(f"Usage: pop3fetch {command}")
    assert max(map(len, text.splitlines())) <= 80
    assert len(text.splitlines()) <= 40 or option == "--help-all"
    examples = text.partition("Examples:\n")[2].partition("\n\n")[0].splitlines()
    assert len(examples) == 2
    assert all(line.startswith("  pop3fetch ") for line in examples)


def test_help_shows_the_real_paths(here: Here, home: Path) -> None:
    text = " ".join(here("list", "--help-all").out.decode().split())
    assert "(default: ~/.config/pop3fetch/config.toml)" in text
    assert "(default: ~/.local/state/pop3fetch)" in text
