"""`pop3fetch stat`."""

from __future__ import annotations

import click

from pop3fetch.account.config import Account
from pop3fetch.cli.console import Console
from pop3fetch.cli.options import JSON_OPTION, Invocation, server_options
from pop3fetch.cli.session import Sessions
from pop3fetch.cli.work import for_each_account
from pop3fetch.errors import Status


@click.command("stat")
@JSON_OPTION
@server_options
def command(invocation: Invocation, as_json: bool) -> int:
    """Print the number of messages and their octets."""

    def job(account: Account, console: Console) -> int:
        with Sessions(account, console).log_in() as client:
            messages, octets = client.stat(then_quit=True)
            client.quit()
        if as_json:
            console.json({**console.account_field, "messages": messages, "octets": octets})
        elif console.shows_tables:
            console.text(f"{_counted(messages)} with {octets} octets")
        else:
            console.row(messages, octets)
        return Status.OK

    return for_each_account(invocation, job)


def _counted(messages: int) -> str:
    return "1 message" if messages == 1 else f"{messages} messages"
