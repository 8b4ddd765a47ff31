"""`login @NAME` and `logout @NAME`: the secret of a mail server that messages go to."""

from __future__ import annotations

import os
from pathlib import Path

from pop3fetch.account.credentials import VARIABLE, Password
from pop3fetch.account.destination_table import DestinationTable
from pop3fetch.account.settings_table import PASSWORD_KEYS, Account
from pop3fetch.account.system_keyring import keep, password_of, remove
from pop3fetch.cli.actions.login import BROWSER_LIMIT
from pop3fetch.cli.mail_servers import MailServers, choice_of_table, login_of
from pop3fetch.cli.options import Invocation
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.sessions import find_keyring, sessions_of
from pop3fetch.delivery.opening import open_server
from pop3fetch.delivery.servers.address import ServerAddress
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.errors import LoginRefused, POP3Error, UsageError
from pop3fetch.status import Status


def log_in_to_destination(invocation: Invocation, name: str, wanted: str | None = None) -> int:
    """Log in to the destination ``name``, and store the secret; return the exit status.

    ``wanted``: where to store it.
    """
    if wanted == "file":
        raise UsageError("--store file is for accounts; a destination has the key password_file")
    console = invocation.console
    table, address = _destination(invocation, name)
    account = _account_of(table, address)
    sessions = sessions_of(account, console, invocation.state_folder_to_read(), keyring=False)
    server = MailServers(sessions, console).at(address)
    login = login_of(address, table, account)
    if login.uses_oauth:
        _log_in_by_oauth(login, server, console, wanted)
    else:
        password = sessions.password.of_another(login)
        _try(server._replace(secret=password), password)
        console.remark(f"the password of {login.title} works, and {_keep(login, table, password(), wanted)}")
    return Status.OK


def log_out_of_destination(invocation: Invocation, word: str) -> int:
    """Remove the secret of the destination in ``word``, @NAME, from the keyring; return the exit status."""
    if not word.startswith("@"):
        raise UsageError(f"'{word}' is not the name of a destination, @NAME; an account is given with -a")
    table, address = _destination(invocation, word[1:])
    login = login_of(address, table, _account_of(table, address))
    if login.uses_oauth:
        from pop3fetch.account.oauth import flow

        secret, was_there = "refresh token", flow.forget(login)
    else:
        secret, was_there = "password", remove(password_of(login))
    result = "is removed from" if was_there else "was not in"
    invocation.console.remark(f"the {secret} of {login.title} {result} the keyring")
    return Status.OK


def _destination(invocation: Invocation, name: str) -> tuple[DestinationTable, ServerAddress]:
    """Return a destination that has a login; raises UsageError and ConfigurationError."""
    if invocation.many:
        raise UsageError("--all-accounts and @NAME are mutually exclusive")
    find_keyring()
    table = invocation.configuration().destination(name)
    address = choice_of_table(table).address
    assert address is not None
    if address.user is None:
        raise UsageError(f"@{name} has no login: its URL names no user")
    return table, address


def _account_of(table: DestinationTable, address: ServerAddress) -> Account:
    """Return what stands for an account whose messages go there; no message does now."""
    return Account(table.name, "localhost", 0, "off", destination=table, recipients=(address.user or "",))


def _try(server: MailServer, password: Password) -> None:
    """Log in; a person who has typed a wrong password is asked again."""
    refusals: list[LoginRefused] = []
    try:
        _examine(server._replace(refused=refusals.append))
    except POP3Error:
        if not refusals:
            raise
        if not password.may_be_right_next_time(refusals[0]):
            server.refused(refusals[0])
            password.blame(refusals[0])
            raise refusals[0] from None  # nothing was to be delivered
        _try(server, password)


def _examine(server: MailServer) -> None:
    destination = open_server(server, "", Path())
    try:
        list(destination.examine())
    finally:
        destination.close()


def _keep(login: Account, table: DestinationTable, secret: str, wanted: str | None) -> str:
    """Store the password; return what has become of it, for the end of a sentence."""
    if given := next((key for key in PASSWORD_KEYS if key in table.settings), ""):
        return f"is not stored, because the key {given} gives it"
    if wanted == "none":
        return "is not stored"
    keep(password_of(login), secret)
    return "is kept in the keyring"


def _log_in_by_oauth(login: Account, server: MailServer, console: Console, wanted: str | None) -> None:
    """Let the user log in at the OAuth 2 server; store the refresh token if the mail server agrees."""
    from pop3fetch.account.oauth.flow import Authorization, check_keyring, store_refresh_token

    assert login.oauth is not None
    if wanted != "none":
        check_keyring(login)
    os.environ.pop(VARIABLE, None)  # which the browser would inherit
    tokens = Authorization(
        login.oauth, show=console.instruct, open_browser=console.shows_remarks, limit=BROWSER_LIMIT
    ).run()
    _examine(server._replace(secret=lambda: tokens.access))
    if wanted != "none":
        store_refresh_token(login, tokens)
    kept = "is not stored" if wanted == "none" else "is kept in the keyring"
    console.remark(f"the refresh token of {login.title} works, and {kept}")
