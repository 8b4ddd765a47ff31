"""`pop3fetch get`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pop3fetch.account.settings import SETTINGS
from pop3fetch.cli.options import JSON_OPTION, STDIN_OPTION, Command, Invocation, server_options
from pop3fetch.cli.selection import messages_argument, selectors_of
from pop3fetch.errors import UsageError

if TYPE_CHECKING:
    from pop3fetch.cli.actions.get import GetOptions

STREAMS = ("-", "mbox:-")


def _complete_folder(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="dir")]


@click.command("get", cls=Command)
@messages_argument
@click.option(
    "-o",
    "--output",
    metavar="DEST",
    shell_complete=_complete_folder,
    help="maildir:DIR, mbox:FILE, or standard output: - or mbox:-.",
)
@click.option("--exec", metavar="CMD", help="Give each message to the standard input of CMD.")
@click.option("--exec-timeout", type=float, metavar="SECONDS", help="How long CMD may take: 600.")
@click.option("--crlf", is_flag=True, help="Keep CRLF; else line ends become LF.")
@click.option("--lines", type=int, metavar="N", help="Only the headers and N lines, to standard output.")
@click.option("--all", is_flag=True, help="Fetch every message, fetched before or not.")
@click.option("--mark", is_flag=True, help="Record the messages as fetched without fetching them.")
@click.option("--delete/--keep", default=None, help="Delete from the server what is delivered, or keep it.")
@click.option("--delete-after", type=int, metavar="DAYS", help="Delete what was fetched so long ago.")
@click.option("--limit", type=int, metavar="N", help="Fetch at most N messages.")
@click.option("--max-size", metavar="OCTETS", help="Leave messages that are larger: 500000, 64K, 10M.")
@click.option("--create", is_flag=True, help="Create the destination anew if it is missing.")
@click.option("--dry-run", is_flag=True, help="Only name what would be done.")
@STDIN_OPTION
@JSON_OPTION
@server_options
def command(invocation: Invocation, messages: tuple[str, ...], from_stdin: bool, **options: Any) -> int:
    """Fetch every new message, or exactly MESSAGES, each exactly once.

    MESSAGES are numbers, ranges and unique-ids: 3, 2-5, 7-, last, uid:XYZ. They go to --output,
    else to the account's own output, else to the maildir ~/Maildir.
    """
    from pop3fetch.cli.actions.each_account import for_each_account
    from pop3fetch.cli.actions.get import Get, GetOptions

    wanted = GetOptions(**{name: _checked(name, value) for name, value in options.items()})
    selectors = selectors_of(messages, from_stdin=from_stdin)
    _refuse_contradictions(wanted, chosen=bool(selectors))
    get = Get(invocation, wanted, selectors)
    return for_each_account(invocation, get.run, get.openings)


def _checked(name: str, value: Any) -> Any:
    """Return the value of an option as the same key of the configuration file would be."""
    if value is None or isinstance(value, bool):
        return value
    try:
        return _lines(value) if name == "lines" else SETTINGS[name].check(value)
    except ValueError as error:
        raise UsageError(f"--{name.replace('_', '-')} {error}") from error


def _lines(value: int) -> int:
    if value < 0:
        raise ValueError(f"must not be negative, as {value} is")
    return value


def _refuse_contradictions(options: GetOptions, *, chosen: bool) -> None:
    is_look = options.lines is not None or (options.output in STREAMS and chosen)
    deletes = options.delete or options.delete_after is not None
    contradictions = {
        "--output and --exec exclude each other": options.output is not None and options.exec is not None,
        "--all and MESSAGES exclude each other": options.all and chosen,
        "--lines needs --output -": options.lines is not None and options.output not in STREAMS,
        "--delete-after goes with neither --delete nor --keep": (
            options.delete is not None and options.delete_after is not None
        ),
        "--mark fetches and deletes nothing: --output, --exec and --delete do not go with it": (
            options.mark and (options.output is not None or options.exec is not None or deletes)
        ),
        "messages that are only looked at (-o - MESSAGES) are not deleted; see `pop3fetch rm`": (
            is_look and deletes
        ),
    }
    for sentence, found in contradictions.items():
        if found:
            raise UsageError(sentence)
