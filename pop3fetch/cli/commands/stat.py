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


@click.command("stat", cls=Command)
@JSON_OPTION
@server_options
def command(invocation: Invocation, as_json: bool) -> int:
    """Print the number of messages on the server, and of their octets."""
    from pop3fetch.cli.sessions import sessions_of

    def stat(account: Account, console: Console) -> int:
        with sessions_of(account, console, invocation.state_folder_to_read()).log_in() as client:
            messages, octets = client.stat(then_quit=True)
            client.end_look(console.notice)
        if as_json:
            from pop3fetch.cli.screen.objects import mailbox_object

            console.json(mailbox_object(messages, octets))
        elif console.shows_tables:
            console.text(f"{counted(messages)}, {human_size(octets)}")
        else:
            console.row(messages, octets)
        return Status.OK

    return invocation.for_each_account(stat, as_json=as_json)
