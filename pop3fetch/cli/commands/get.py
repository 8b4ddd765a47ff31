"""`pop3fetch get`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from pop3fetch.account.settings_table import DELIVERY, SELECTION, UNATTENDED
from pop3fetch.cli.options import (
    JSON_OPTION,
    MESSAGES_ARGUMENT,
    STDIN_OPTION,
    Command,
    Invocation,
    message_options,
    selectors_of,
    setting_options,
)
from pop3fetch.errors import UsageError

if TYPE_CHECKING:
    from pop3fetch.account.config_file import Overrides
    from pop3fetch.cli.actions.get import GetOptions

STREAMS = ("-", "mbox:-")


@click.command("get", cls=Command)
@MESSAGES_ARGUMENT
@partial(setting_options, DELIVERY)
@click.option(
    "--lines", type=int, metavar="N", help="Print only the headers and N lines, to standard output."
)
@click.option("--all", is_flag=True, help="Fetch every message, fetched before or not.")
@click.option("--mark", is_flag=True, help="Record the messages as fetched without fetching them.")
@partial(setting_options, SELECTION)
@click.option("--create", is_flag=True, help="Create the destination anew if it is missing.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, without doing it.")
@STDIN_OPTION
@JSON_OPTION
@partial(setting_options, UNATTENDED)
@message_options
def command(invocation: Invocation, messages: tuple[str, ...], from_stdin: bool, **options: Any) -> int:
    """Fetch every new message, or exactly MESSAGES, each exactly once.

    MESSAGES are numbers, ranges and unique-ids: 3, 2-5, 7-, last, uid:XYZ. They go to --output, else
    to the output of the account, else to the maildir ~/Maildir.
    """
    from pop3fetch.account.config_file import Overrides, wrong_option
    from pop3fetch.cli.actions.get import Get, GetOptions

    own = GetOptions(**options)
    invocation.options.checked(wrong_option)  # a wrong one ends the run before a file is read
    if own.lines is not None and own.lines < 0:
        raise UsageError(f"--lines must be at least 0, not {own.lines}")
    selectors = selectors_of(messages, from_stdin=from_stdin)
    _refuse_contradictions(own, invocation.options, chosen=bool(selectors))
    if own.lines is not None:
        invocation = invocation._replace(options=Overrides(invocation.options, output="-"))
    get = Get(invocation, own, selectors)
    try:
        return invocation.for_each_account(get.run, get.openings)
    except BaseException as end:
        if get.ended_early and not isinstance(end, Exception):
            from pop3fetch.cli.screen.early_end import note_what_is_safe

            note_what_is_safe(end, get.ended_early)
        raise


def _refuse_contradictions(own: GetOptions, given: Overrides, *, chosen: bool) -> None:
    is_stream = given.get("output") in STREAMS
    is_look = own.lines is not None or (is_stream and chosen)
    deletes = given.get("delete") or "delete_after" in given
    contradictions = {
        "--output and --exec are mutually exclusive": {"output", "exec"} <= given.keys(),
        "--all and MESSAGES are mutually exclusive": own.all and chosen,
        "--lines prints to standard output: it cannot be combined with --exec or another --output": (
            own.lines is not None and ("exec" in given or ("output" in given and not is_stream))
        ),
        "--delete, --keep and --delete-after are mutually exclusive": {"delete", "delete_after"}
        <= given.keys(),
        "--mark fetches and deletes nothing: it cannot be combined with --output, --exec, --lines or "
        "--delete": own.mark and ("output" in given or "exec" in given or own.lines is not None or deletes),
        "messages that are only looked at (-o - MESSAGES) are not deleted; see `pop3fetch rm`": (
            is_look and deletes
        ),
    }
    for sentence, found in contradictions.items():
        if found:
            raise UsageError(sentence)
