"""The group of commands, and the one place where an error becomes a line and a status.

Commands are imported when they are called, so that ``--help`` and completion do not load sockets.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from typing import Any

import click

from pop3fetch import __version__
from pop3fetch.cli.screen.console import Console, output_errors, with_notes
from pop3fetch.status import Status

COMPLETE = "_POP3FETCH_COMPLETE"  # the variable of a shell that completes a word

# name: its line in --help; the command is in the module of the same name
COMMANDS = {
    "list": "List the messages on the server.",
    "get": "Fetch messages, each exactly once.",
    "rm": "Delete messages on the server.",
    "stat": "Count the messages and their octets.",
    "caps": "Show the server's capabilities.",
    "login": "Set up an account: find the server, try the password.",
    "logout": "Remove the stored password.",
    "check": "Examine an account from end to end.",
    "record": "Show and edit the record of fetched messages.",
    "import": "Import accounts from mpop, fetchmail, getmail6 or fdm.",
    "accounts": "List the configured accounts.",
    "demo": "Try everything against a built-in demo server.",
}


OWN_OPTIONS = ("-h", "--help", "--help-all", "-V", "--version")  # those that need no command


class Commands(click.Group):
    """The commands, imported one by one as they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:  # only while a shell completes
            return None
        command = import_module(f"pop3fetch.cli.commands.{cmd_name}").command
        assert isinstance(command, click.Command)
        command.short_help = COMMANDS[cmd_name]  # for completion, which shows the docstring otherwise
        return command

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from pop3fetch.cli.help import write_commands

        write_commands(ctx, formatter, COMMANDS)


def print_text(ctx: click.Context, option: click.Parameter) -> None:
    """Print the text of --version, --help or --help-all, and end the command."""
    if option.name == "version":
        text = f"pop3fetch {__version__}"
    elif option.name == "help":
        text = ctx.get_help()
    else:
        from pop3fetch.cli.help import everything

        text = everything(ctx)
    click.echo(text)
    ctx.exit()


# The options of click look for a translation of their help, which loads a table of all locales.
text_option = partial(
    click.option, is_flag=True, is_eager=True, expose_value=False,
    callback=lambda ctx, option, wanted:
        print_text(ctx, option) if wanted and not ctx.resilient_parsing else None,
)  # fmt: skip
HELP_ALL = text_option("--help-all", help="Show all options.")
HELP = text_option("-h", "--help", help="Show this message and exit.")


@click.group(cls=Commands)
@text_option("-V", "--version", help="Show the version and exit.")
@HELP_ALL
@HELP
def commands() -> None:
    """Fetch mail over POP3: exactly once, safely, and fast."""


def run(arguments: Sequence[str], console: Console | None = None) -> int:
    """Run one command line; return its exit status."""
    console = console or Console.of_process()
    try:
        try:
            return run_command(arguments, console)
        finally:
            console.close()
    except BaseException as error:  # also while the reader of our output lets us wait
        from pop3fetch.cli.signals import status_of_second

        return status_of_second(error)


def run_command(arguments: Sequence[str], console: Console) -> int:
    """Run a command on a console that stays open; return its exit status."""
    try:
        if instruction := os.environ.get(COMPLETE):
            from pop3fetch.cli.completion import complete

            return complete(commands, COMPLETE, instruction)
        words = list(arguments) or ["--help"]
        if words[0] not in (*COMMANDS, *OWN_OPTIONS):
            from pop3fetch.cli.leading_words import in_order

            words = in_order(words, commands)
        # Not commands.main(), which has its own statuses for a closed pipe and for Ctrl-C.
        with output_errors():  # of --help and --version
            context = commands.make_context("pop3fetch", words, obj=console)
        from pop3fetch.cli.signals import heed

        heed()
        with context:
            status: Any = commands.invoke(context)
        console.flush()
        return int(status or Status.OK)
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.ClickException as wrong:
        from pop3fetch.cli.mistakes import one_line

        console.error(one_line(wrong, arguments, commands))
        return Status.USAGE
    except BrokenPipeError:
        return Status.OK  # the reader of our output has seen enough
    except BaseException as error:
        from pop3fetch.cli.signals import behind, status_of

        end = error if isinstance(error, click.Abort) else behind(error)  # Abort: Ctrl-C at a question
        if end:
            console.error(with_notes(status_of(end).name.lower(), end))
            return status_of(end)
        if not isinstance(error, Exception):
            raise
        return explain(error, console)


def explain(error: Exception, console: Console) -> int:
    """Print the line of an error; return its status."""
    from pop3fetch.errors import POP3Error

    error = in_our_terms(error)
    if isinstance(error, POP3Error):
        console.fail(error)
        return error.exit_status
    console.bug(error)
    return Status.BUG


def in_our_terms(error: Exception) -> Exception:
    """Return the error of pop3fetch that Python's own error means, or else the same."""
    from pop3fetch.ahead import is_thread_limit
    from pop3fetch.errors import ThreadLimit

    return ThreadLimit() if isinstance(error, RuntimeError) and is_thread_limit(error) else error
