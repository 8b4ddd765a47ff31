"""`pop3fetch logout`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pop3fetch.cli.options import Command, Invocation, server_options
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.account.settings_table import Account
    from pop3fetch.cli.screen.console import Console


@click.command("logout", cls=Command)
@server_options
def command(invocation: Invocation) -> int:
    """Remove the account's password from the system keyring."""
    from pop3fetch.account import credentials
    from pop3fetch.account.oauth import flow as oauth
    from pop3fetch.cli.sessions import find_keyring

    find_keyring()

    def logout(account: Account, console: Console) -> int:
        known = oauth.forget(account) if account.uses_oauth else credentials.forget(account)
        secret = "refresh token" if account.uses_oauth else "password"
        result = "is removed from the keyring" if known else "was not in the keyring"
        console.remark(f"the {secret} of {account.address} {result}")
        return Status.OK

    return invocation.one_by_one().for_each_account(logout)
