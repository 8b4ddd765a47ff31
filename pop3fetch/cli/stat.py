"""`pop3fetch stat`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pop3fetch.cli.options import JSON_OPTION, Command, Invocation, server_options
from pop3fetch.cli.wording import counted, human_size
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.account.config import Account
    from pop3fetch.cli.console import Console


@click.command("stat", cls=Command)
@JSON_OPTION
@server_options
def command(invocation: Invocation, as_json: bool) -> int:
    """Print the number of messages on the server, and of their octets."""
    from pop3fetch.cli.session import Sessions, leave
    from pop3fetch.cli.work import for_each_account

    def stat(account: Account, console: Console) -> int:
        with Sessions(account, console, invocation.state_folder_to_read()).log_in() as client:
            messages, octets = client.stat(then_quit=True)
            leave(client, console)
        if as_json:
            console.json({"messages": messages, "octets": octets})
        elif console.shows_tables:
            console.text(f"{counted(messages)}, {human_size(octets)}")
        else:
            console.row(messages, octets)
        return Status.OK

    return for_each_account(invocation, stat)
