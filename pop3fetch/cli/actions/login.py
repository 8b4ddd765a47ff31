"""Log in to a known account once, and store the secret that the server accepts."""

from __future__ import annotations

import os

from pop3fetch.account.credentials import VARIABLE, store
from pop3fetch.account.settings_table import Account
from pop3fetch.cli.options import Invocation
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.sessions import find_keyring, sessions_of
from pop3fetch.sessions.sessions import Sessions, tls_options
from pop3fetch.status import Status

BROWSER_LIMIT = 900.0  # seconds to log in at an OAuth 2 server: its codes are valid about as long


def log_in(invocation: Invocation, account: Account, console: Console) -> int:
    """Log in to a known account, and store the secret that the server accepts; return the exit status."""
    find_keyring()
    sessions = sessions_of(account, console, invocation.state_folder_to_read(), keyring=False)
    if account.uses_oauth:
        return _log_in_by_oauth(account, console, sessions)
    with sessions.log_in() as client:
        client.end_look(console.notice)
    store(account, sessions.password())
    console.remark(f"the password of {account.title} works, and is kept in the keyring")
    return Status.OK


def _log_in_by_oauth(account: Account, console: Console, sessions: Sessions) -> int:
    """Let the user log in at the OAuth 2 server; store the refresh token if the mail server agrees."""
    from pop3fetch.account.oauth.flow import Authorization, store_refresh_token

    assert account.oauth is not None
    _check_before_browser(account, sessions)
    os.environ.pop(VARIABLE, None)  # which the browser would inherit
    tokens = Authorization(
        account.oauth, show=console.instruct, open_browser=console.shows_remarks, limit=BROWSER_LIMIT
    ).run()
    with sessions.connect() as client:
        sessions.log_in_on(client, lambda: tokens.access)
        client.end_look(console.notice)
    store_refresh_token(account, tokens)
    console.remark(f"the refresh token of {account.title} works, and is kept in the keyring")
    return Status.OK


def _check_before_browser(account: Account, sessions: Sessions) -> None:
    """Raise what would make a login in the browser useless, as far as that is known before."""
    from pop3fetch.account.oauth.flow import check_keyring
    from pop3fetch.net.tls import client_context

    sessions.check()
    if account.tls != "off":
        client_context(tls_options(account))
    check_keyring(account)
