"""What --help and --help-all print.

--help of a command: its own options, the common ones and examples, in at most 40 lines of 80 columns. Of its
further sections only the names of the options are shown. --help-all has every option, by section.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Collection, Mapping
from importlib import import_module

import click

# Sections beside those of shared options.
OWN = "Options"
HELP = "Help"
COMMON = "Common options"
SHARED = "All commands"
# The shared options that everyone needs, in this order. --help of the program imports no commands.
COMMON_ROWS = {
    "account": ("-a, --account NAME|URL", "An account's name, or pop3s://user@host[:port]."),
    "all_accounts": ("-A, --all-accounts", "Use every account of the configuration file."),
    "config": ("-c, --config FILE", "The configuration file."),
    "quiet": ("-q, --quiet", "Print less on standard error."),
    "verbose": ("-v, --verbose", "Print more; -vv shows the protocol, secrets masked."),
}
EXAMPLES = """\
pop3fetch demo                       try everything without a mailbox
pop3fetch login alice@example.org    set up your account"""
WIDTH, MOST_LINES = 80, 40  # of the help of a command
NARROW = 60  # columns; on fewer, a description is below its option
TERM = 40  # columns at most for an option, beside its description
NARROWEST = 10  # columns of a description, however narrow the terminal is

_OPTION = re.compile(r"--?[\w-]+")

Row = tuple[str, str]


def write_commands(ctx: click.Context, formatter: click.HelpFormatter, commands: Mapping[str, str]) -> None:
    """Write the help of the program."""
    _narrow(formatter)
    _begin(ctx, formatter)
    _write(formatter, "Commands", commands.items())
    own = _rows(ctx.command, ctx)[HELP]
    _write(formatter, f"{COMMON}, before or after the command", [*COMMON_ROWS.values(), *own.values()])
    _write_examples(formatter, EXAMPLES)
    formatter.write_paragraph()
    formatter.write_text("Each command has its own --help. The manual is pop3fetch(1).")


def write_command(ctx: click.Context, formatter: click.HelpFormatter, shared: Collection[str]) -> None:
    """Write the help of a command; ``shared``: the sections of options that other commands have, too.

    Their options are named if all of it still fits.
    """
    trial = click.HelpFormatter(width=WIDTH)
    _write_command(ctx, trial, shared, names_shared=True)
    fits = trial.getvalue().count("\n") <= MOST_LINES
    _narrow(formatter)
    _write_command(ctx, formatter, shared, names_shared=fits)


def _write_command(
    ctx: click.Context, formatter: click.HelpFormatter, shared: Collection[str], *, names_shared: bool
) -> None:
    _begin(ctx, formatter)
    _write(formatter, "Commands", _command_rows(ctx))
    sections = _rows(ctx.command, ctx)
    rows = {name: row for section in sections.values() for name, row in section.items()}
    common = [rows[name] for name in (*COMMON_ROWS, *sections[HELP]) if name in rows]
    more: dict[str, list[str]] = {}
    for title, options in sections.items():
        if title == OWN:
            _write(formatter, title, options.values())
        elif title != HELP and (names_shared or title not in shared):
            names = more.setdefault(SHARED if title in shared else title, [])
            names += [_OPTION.findall(row[0])[-1] for row in options.values() if row not in common]
    names_of = [(title, ", ".join(names)) for title, names in more.items() if names]
    _write(formatter, "More options (see --help-all)", names_of)
    _write(formatter, COMMON, common)
    _write_examples(formatter, ctx.command.epilog or "")


def everything(ctx: click.Context) -> str:
    """Return the help with all options."""
    formatter = ctx.make_formatter()
    _narrow(formatter)
    _begin(ctx, formatter)
    _write(formatter, "Commands", _command_rows(ctx))
    command, examples = ctx.command, ctx.command.epilog or ""
    if ctx.parent is None:  # the program has all options that its commands share
        command, examples = import_module("pop3fetch.cli.commands.caps").command, EXAMPLES
    sections = {**_rows(command, ctx), **_rows(ctx.command, ctx)}
    if command is not ctx.command:
        del sections[OWN]
    for title, rows in sections.items():
        _write(formatter, title, rows.values())
    _write_examples(formatter, examples)
    return formatter.getvalue().rstrip("\n")


def _narrow(formatter: click.HelpFormatter) -> None:
    formatter.width = min(formatter.width, shutil.get_terminal_size().columns - 1)  # click's has 50 at least


def _begin(ctx: click.Context, formatter: click.HelpFormatter) -> None:
    ctx.command.format_usage(ctx, formatter)
    ctx.command.format_help_text(ctx, formatter)


def _command_rows(ctx: click.Context) -> list[Row]:
    """Return the rows of the commands that a command has."""
    group = ctx.command
    if not isinstance(group, click.Group):
        return []
    commands = [(name, group.get_command(ctx, name)) for name in group.list_commands(ctx)]
    return [(name, command.short_help or "") for name, command in commands if command]


def _rows(command: click.Command, ctx: click.Context) -> dict[str, dict[str, Row]]:
    """Return the rows of the options by section and by the option's name; the last section is HELP."""
    sections: dict[str, dict[str, Row]] = {}
    for option in sorted(command.get_params(ctx), key=lambda option: option.is_eager):
        record = option.get_help_record(ctx)
        if record and isinstance(option, click.Option):
            title = HELP if option.is_eager else getattr(option, "section", OWN)
            name = str(option.name)
            path = _default_path(name)
            text = f"{record[1].removesuffix('.')} (default: {path})." if path else record[1]
            sections.setdefault(title, {})[name] = (record[0], text)
    return sections


def _default_path(option: str) -> str:
    """Return the path that is used without an option, if it is known."""
    if option not in ("config", "state_dir"):
        return ""
    from pop3fetch.account.config_file import default_config_file
    from pop3fetch.durable import short
    from pop3fetch.errors import ConfigurationError
    from pop3fetch.record.place import default_state_folder

    try:
        return short(default_config_file() if option == "config" else default_state_folder())
    except ConfigurationError:  # the home folder is not known
        return ""


def _write(formatter: click.HelpFormatter, title: str, rows: Collection[Row]) -> None:
    """Write a section; click would break a description at the hyphens of the names in it."""
    if not rows:
        return
    is_wide = formatter.width >= NARROW
    beside = min(max(len(term) for term, _ in rows), TERM) + 4 if is_wide else 6
    room = max(formatter.width - beside, NARROWEST)
    lines = [(term, textwrap.wrap(text, room, break_on_hyphens=False)) for term, text in rows]
    rows = [(term, "\n".join(("\b", *wrapped))) for term, wrapped in lines]  # \b: click keeps these lines
    with formatter.section(title):
        if is_wide:
            formatter.write_dl(rows, col_max=TERM)
            return
        for term, text in rows:
            formatter.write_text(term)
            with formatter.indentation(), formatter.indentation():
                formatter.write_text(text)


def _write_examples(formatter: click.HelpFormatter, lines: str) -> None:
    with formatter.section("Examples"):
        for line in lines.splitlines():
            command, _, text = line.rpartition("  ")
            if formatter.width >= NARROW:
                formatter.write(f"  {line}\n")
            else:
                formatter.write(f"  {command.strip()}\n      {text}\n")
