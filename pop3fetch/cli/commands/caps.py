"""`pop3fetch caps`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pop3fetch.cli.options import JSON_OPTION, Command, Invocation, server_options
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.account.settings_table import Account
    from pop3fetch.cli.screen.console import Console
    from pop3fetch.pop3.mail_session import MailSession
    from pop3fetch.pop3.replies import Capabilities


EXAMPLES = """\
pop3fetch caps -v                    show the certificate, too
pop3fetch caps -H pop.example.org    ask a server without an account"""


@click.command("caps", cls=Command, epilog=EXAMPLES)
@JSON_OPTION
@server_options
def command(invocation: Invocation, as_json: bool) -> int:
    """Print the server's capabilities; with -v also the TLS session and the certificate.

    If a user is given, they include the capabilities after the login.
    """
    from pop3fetch.cli.sessions import sessions_of

    def caps(account: Account, console: Console) -> int:
        sessions = sessions_of(account, console, invocation.state_folder_to_read())
        with sessions.connect() as client:
            capabilities = _before_login(client, account)
            try:
                if account.user is not None:
                    sessions.log_in_on(client)
                    capabilities = {**client.capabilities_before_login, **client.capabilities()}
            finally:  # a server that refuses the login is worth a look
                if console.verbosity >= 1:
                    _describe(console, client, capabilities)
                _print(console, capabilities, as_json=as_json)
            client.end_look(console.notice)
        return Status.OK

    return invocation.for_each_account(caps, as_json=as_json)


def _before_login(client: MailSession, account: Account) -> Capabilities:
    """Return the capabilities before a login, inside TLS if there will be no login."""
    capabilities = client.capabilities()
    if account.user is None and account.tls in ("starttls", "auto") and "STLS" in capabilities:
        return client.start_tls()
    return capabilities


def _describe(console: Console, client: MailSession, capabilities: Capabilities) -> None:
    from pop3fetch.cli.screen.caps import description

    for line in description(client, capabilities):
        console.notice(line)


def _print(console: Console, capabilities: Capabilities, *, as_json: bool) -> None:
    if as_json:
        console.json(capabilities)
        return
    for name, arguments in capabilities.items():
        line = " ".join([name, *(arguments or [])])
        if console.shows_tables:
            console.text(line)
        else:
            console.row(line)
