"""`pop3fetch login`."""

from __future__ import annotations

import click

from pop3fetch.account.credentials import store
from pop3fetch.cli.options import Invocation, server_options
from pop3fetch.cli.session import Sessions
from pop3fetch.errors import Status


@click.command("login")
@server_options
def command(invocation: Invocation) -> int:
    """Try the account's password on the server, and keep it in the system keyring if it works."""
    account = invocation.account()
    sessions = Sessions(account, invocation.console, keyring=False)
    with sessions.log_in() as client:
        client.quit()
    store(account, sessions.password())
    invocation.console.notice(f"the password of {account.address} is kept in the keyring")
    return Status.OK
