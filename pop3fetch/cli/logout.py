"""`pop3fetch logout`."""

from __future__ import annotations

import click

from pop3fetch.account.credentials import forget
from pop3fetch.cli.options import Invocation, server_options
from pop3fetch.errors import Status


@click.command("logout")
@server_options
def command(invocation: Invocation) -> int:
    """Forget the account's password in the system keyring."""
    account = invocation.account()
    known = forget(account)
    said = "is forgotten" if known else "was not in the keyring"
    invocation.console.notice(f"the password of {account.address} {said}")
    return Status.OK
