"""`pop3fetch login`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from pop3fetch.cli.options import Command, Invocation, Many, server_options
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.account.config import Account
    from pop3fetch.cli.console import Console
    from pop3fetch.cli.session import Sessions

IN_TURN = Many(1, 1)  # a person can answer one question at a time
BROWSER_LIMIT = 900.0  # seconds to log in at an OAuth 2 server: its own codes last about as long


@click.command("login", cls=Command)
@click.argument("address", required=False, metavar="[ADDRESS]")
@server_options
def command(invocation: Invocation, address: str | None) -> int:
    """Try the account's password on the server, and keep it in the system keyring if it works.

    With ADDRESS, such as alice@example.org, its server is searched for, and an account that works
    is written into the configuration file.

    The password is asked for on the terminal, unless the environment, a password command or
    ~/.netrc has it. An account with OAuth 2 shows the page to log in at instead.
    """
    from pop3fetch.cli.work import for_each_account

    if address is not None:
        from pop3fetch.cli.registering import log_in_first

        return log_in_first(invocation, address)
    return for_each_account(
        invocation._replace(many=invocation.many and IN_TURN),
        lambda account, console: log_in(invocation, account, console),
    )


def log_in(invocation: Invocation, account: Account, console: Console) -> int:
    """Log in to a known account, and keep the secret that the server takes; return the exit status."""
    from pop3fetch.account.credentials import store
    from pop3fetch.cli.session import Sessions, leave

    sessions = Sessions(account, console, invocation.state_folder_to_read(), keyring=False)
    if account.uses_oauth:
        return _log_in_by_oauth(account, console, sessions)
    with sessions.log_in() as client:
        leave(client, console)
    store(account, sessions.password())
    console.remark(f"the password of {account.title} works, and is kept in the keyring")
    return Status.OK


def _log_in_by_oauth(account: Account, console: Console, sessions: Sessions) -> int:
    """Let the user log in at the OAuth 2 server; keep what lasts of it once the mail server takes it."""
    from pop3fetch.account.credentials import VARIABLE
    from pop3fetch.account.oauth import Authorization, store_refresh_token
    from pop3fetch.cli.session import leave

    assert account.oauth is not None
    _check_before_browser(account, sessions)
    os.environ.pop(VARIABLE, None)  # which the browser would inherit
    tokens = Authorization(
        account.oauth, show=console.instruct, open_browser=console.shows_remarks, limit=BROWSER_LIMIT
    ).run()
    with sessions.connect() as client:
        sessions.log_in_on(client, lambda: tokens.access)
        leave(client, console)
    store_refresh_token(account, tokens)
    console.remark(f"the refresh token of {account.title} works, and is kept in the keyring")
    return Status.OK


def _check_before_browser(account: Account, sessions: Sessions) -> None:
    """Raise what would make a login in the browser useless, as far as it shows at home."""
    from pop3fetch.account.oauth import check_keyring
    from pop3fetch.cli.session import tls_options
    from pop3fetch.pop3.tls import client_context

    sessions.check()
    if account.tls != "off":
        client_context(tls_options(account))
    check_keyring(account)
