"""`pop3fetch stat`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pop3fetch.cli.options import JSON_OPTION, Command, Invocation, server_options
from pop3fetch.cli.screen.numbers import counted, human_size
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.account.settings_table import Account
    from pop3fetch.cli.screen.console import Console


EXAMPLES = """\
pop3fetch stat -A                       count the messages of every account
pop3fetch stat --json | jq .messages    print only their number"""


@click.command("stat", cls=Command, epilog=EXAMPLES)
@click.option("--new", "with_new", is_flag=True, help="Also count the messages that are not fetched yet.")
@JSON_OPTION
@server_options
def command(invocation: Invocation, *, with_new: bool, as_json: bool) -> int:
    """Print the number of messages on the server, and of their octets."""
    from pop3fetch.cli.sessions import COUNT, sessions_of

    state_folder = invocation.state_folder_to_read()

    def stat(account: Account, console: Console) -> int:
        status, new = Status.OK, None
        following = () if with_new else COUNT
        with sessions_of(account, console, state_folder).begin(following).log_in() as client:
            messages, octets = client.stat(then_quit=not with_new)
            if with_new:
                from pop3fetch.cli.actions.stat import count_new

                status, new = count_new(client, account, console, state_folder)
            client.end_look(console.notice)
        if as_json:
            from pop3fetch.cli.screen.objects import mailbox_object

            console.json(mailbox_object(messages, octets, new))
        elif console.shows_tables:
            shown = "" if new is None else f", {new or 'none'} new"
            console.text(f"{counted(messages)}, {human_size(octets)}{shown}")
        else:
            console.row(messages, octets, *([] if new is None else [new]))
        return status

    return invocation.for_each_account(stat, as_json=as_json)
