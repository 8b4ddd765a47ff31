"""`pop3fetch list`."""

from __future__ import annotations

import click

from pop3fetch.cli.options import JSON_OPTION, STDIN_OPTION, Command, Invocation, server_options
from pop3fetch.cli.selection import messages_argument, selectors_of


@click.command("list", cls=Command)
@messages_argument
@click.option("-l", "--long", is_flag=True, help="Add date, sender and subject.")
@click.option("--new", "only_new", is_flag=True, help="List only messages that were not fetched yet.")
@STDIN_OPTION
@JSON_OPTION
@server_options
def command(
    invocation: Invocation,
    messages: tuple[str, ...],
    *,
    long: bool,
    only_new: bool,
    from_stdin: bool,
    as_json: bool,
) -> int:
    """List the messages on the server: number, size in octets, and unique-id.

    MESSAGES are numbers, ranges and unique-ids: 3, 2-5, 7-, last, uid:XYZ. Without them all
    messages are listed.
    """
    from pop3fetch.cli.listing import List, Wanted
    from pop3fetch.cli.work import for_each_account

    selectors = selectors_of(messages, from_stdin=from_stdin)
    wanted = Wanted(selectors, only_new=only_new, long=long, as_json=as_json)
    return for_each_account(invocation, List(invocation.state_folder(), wanted).run)
