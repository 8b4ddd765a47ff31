"""`pop3fetch list`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from pop3fetch.cli.options import (
    JSON_OPTION,
    MESSAGES_ARGUMENT,
    STDIN_OPTION,
    Command,
    Invocation,
    message_options,
    selectors_of,
)

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from pop3fetch.account.settings_table import Account
    from pop3fetch.cli.screen.console import Console


EXAMPLES = """\
pop3fetch list -l                         list with date, sender and subject
pop3fetch list --new --json | jq .size    print the size of each new message"""


@click.command("list", cls=Command, epilog=EXAMPLES)
@MESSAGES_ARGUMENT
@click.option("-l", "--long", is_flag=True, help="Add date, sender and subject.")
@click.option("--new", "only_new", is_flag=True, help="List only messages that are not fetched yet.")
@click.option("--reverse", is_flag=True, help="List the highest number first.")
@click.option("--limit", type=int, metavar="N", help="List at most N messages.")
@click.option("--no-pager", is_flag=True, help="Print a long list directly, not through $PAGER.")
@STDIN_OPTION
@JSON_OPTION
@message_options
def command(
    invocation: Invocation,
    messages: tuple[str, ...],
    *,
    long: bool,
    only_new: bool,
    reverse: bool,
    limit: int | None,
    no_pager: bool,
    from_stdin: bool,
    as_json: bool,
) -> int:
    """List all messages on the server, or MESSAGES: number, size in octets, unique-id.

    MESSAGES are numbers, ranges and unique-ids: 3, 2-5, 7-, last, uid:XYZ.
    """
    from pop3fetch.cli.sessions import LISTING, sessions_of
    from pop3fetch.errors import UsageError

    if limit is not None and limit < 1:
        raise UsageError(f"--limit must be at least 1, not {limit}")
    selectors = selectors_of(messages, from_stdin=from_stdin)
    state_folder = invocation.state_folder_to_read()

    def list_account(account: Account, console: Console) -> int:
        with sessions_of(account, console, state_folder).begin(LISTING) as sessions:
            from pop3fetch.cli.actions.list import List, ListOptions

            options = ListOptions(
                selectors,
                invocation.filters,
                only_new=only_new,
                long=long,
                reverse=reverse,
                limit=limit,
                as_json=as_json,
            )
            return List(state_folder, options).run(sessions, console)

    with nullcontext() if no_pager else paging(invocation):
        return invocation.for_each_account(list_account, as_json=as_json)


def paging(invocation: Invocation) -> AbstractContextManager[None]:
    """Return what shows a long list through the pager: on a terminal, unless -v prints beside it."""
    console = invocation.console
    if console.shows_tables and console.verbosity < 1:
        from pop3fetch.cli.screen.pager import Pager, pager_of

        if command := pager_of(console.environment):
            return Pager(console, command, at_end=invocation.many is not None)
    return nullcontext()
