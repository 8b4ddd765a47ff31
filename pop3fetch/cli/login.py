"""`pop3fetch login`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from pop3fetch.cli.options import Command, Invocation, Many, server_options
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.account.config import Account
    from pop3fetch.cli.console import Console

IN_TURN = Many(1, 1)  # a person can answer one question at a time


@click.command("login", cls=Command)
@server_options
def command(invocation: Invocation) -> int:
    """Try the account's password on the server, and keep it in the system keyring if it works.

    The password is asked for on the terminal, unless the environment, a password command or
    ~/.netrc has it.
    """
    from pop3fetch.account.credentials import store
    from pop3fetch.cli.session import Sessions, leave
    from pop3fetch.cli.work import for_each_account

    def login(account: Account, console: Console) -> int:
        sessions = Sessions(account, console, invocation.state_folder(), keyring=False)
        with sessions.log_in() as client:
            leave(client, console)
        store(account, sessions.password())
        console.remark(f"the password of {account.address} works, and is kept in the keyring")
        return Status.OK

    return for_each_account(replace(invocation, many=invocation.many and IN_TURN), login)
