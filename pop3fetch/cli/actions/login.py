"""Log in to a known account once, and store the secret that the server accepts."""

from __future__ import annotations

import os
import shlex

from pop3fetch.account.config_file import Configuration, load
from pop3fetch.account.credentials import VARIABLE
from pop3fetch.account.settings_table import Account
from pop3fetch.cli.actions.login_store import PasswordStore
from pop3fetch.cli.options import Invocation
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.sessions import find_keyring, sessions_of
from pop3fetch.errors import UsageError
from pop3fetch.sessions.sessions import Sessions, tls_options
from pop3fetch.status import Status

BROWSER_LIMIT = 900.0  # seconds to log in at an OAuth 2 server: its codes are valid about as long


def log_in(invocation: Invocation, account: Account, console: Console, wanted: str | None = None) -> int:
    """Log in to a known account, and store the secret that the server accepts; return the exit status.

    ``wanted``: where to store it.
    """
    find_keyring()
    state_folder = invocation.state_folder_to_read()
    if account.uses_oauth:
        sessions = sessions_of(account, console, state_folder, keyring=False)
        _log_in_by_oauth(account, console, sessions, wanted)
    else:
        store = PasswordStore(account, console, wanted)
        sessions = sessions_of(store.without_stored(), console, state_folder, keyring=False)
        with sessions.log_in() as client:
            client.end_look(console.notice)
        console.remark(
            f"the password of {_named(account, console)} works, and "
            f"{store.keep(sessions.password(), sessions.password.source)}"
        )
    if account.source is not None and not console.account:
        console.remark(next_command(invocation, load(account.source), account.name))
    return Status.OK


def _log_in_by_oauth(account: Account, console: Console, sessions: Sessions, wanted: str | None) -> None:
    """Let the user log in at the OAuth 2 server; store the refresh token if the mail server agrees."""
    from pop3fetch.account.oauth.flow import Authorization, check_keyring, store_refresh_token
    from pop3fetch.net.tls import client_context

    assert account.oauth is not None
    if wanted == "file":
        raise UsageError("--store file is for passwords: a refresh token needs the keyring")
    # What would make a login in the browser useless, as far as that is known before.
    sessions.check()
    if account.tls != "off":
        client_context(tls_options(account))
    if wanted != "none":
        check_keyring(account)
    os.environ.pop(VARIABLE, None)  # which the browser would inherit
    tokens = Authorization(
        account.oauth, show=console.instruct, open_browser=console.shows_remarks, limit=BROWSER_LIMIT
    ).run()
    with sessions.connect() as client:
        sessions.log_in_on(client, lambda: tokens.access)
        client.end_look(console.notice)
    if wanted != "none":
        store_refresh_token(account, tokens)
    kept = "is not stored" if wanted == "none" else "is kept in the keyring"
    console.remark(f"the refresh token of {_named(account, console)} works, and {kept}")


def _named(account: Account, console: Console) -> str:
    """Return the name of an account and its mailbox, or the mailbox alone if the name adds nothing."""
    if account.source is None or account.name in (account.user, account.address, console.account):
        return account.title
    return f"{account.name} ({account.title})"


def next_command(invocation: Invocation, known: Configuration, name: str) -> str:
    """Return a line with the command that comes next for an account of the configuration file."""
    words = ["pop3fetch", "list"]
    if invocation.config is not None:
        words += ["-c", str(invocation.config)]
    variables = invocation.environment
    if "account" in variables or "host" in variables or not known.is_meant_unnamed(name):
        words += ["-a", name]
    return f"next: {shlex.join(words)}"
