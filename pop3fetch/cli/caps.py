"""`pop3fetch caps`."""

from __future__ import annotations

import time

import click

from pop3fetch.account.config import Account
from pop3fetch.cli.console import Console
from pop3fetch.cli.options import JSON_OPTION, Invocation, server_options
from pop3fetch.cli.session import Sessions
from pop3fetch.cli.work import for_each_account
from pop3fetch.errors import Status
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.replies import Capabilities
from pop3fetch.pop3.tls import TLSSession

DAY = 24 * 60 * 60  # seconds


@click.command("caps")
@JSON_OPTION
@server_options
def command(invocation: Invocation, as_json: bool) -> int:
    """Print the server's capabilities; with -v the TLS session and the certificate, too.

    Where a user is given, what the server says after the login counts as well.
    """

    def job(account: Account, console: Console) -> int:
        sessions = Sessions(account, console)
        with sessions.connect() as client:
            capabilities = _gathered(client, sessions)
            session = client.tls_session()
            client.quit()
        _describe(console, session)
        if as_json:
            console.json({**console.account_field, **capabilities})
        else:
            for name, arguments in capabilities.items():
                console.text(" ".join([name, *(arguments or [])]))
        return Status.OK

    return for_each_account(invocation, job)


def _gathered(client: POP3Client, sessions: Sessions) -> Capabilities:
    """Return what the server says before the login, and after it where there is a user."""
    account = sessions.account
    before = client.capabilities()
    if account.user is None:
        if account.tls in ("starttls", "auto") and "STLS" in before and not client.started_tls:
            before = client.start_tls()
        return before
    client.login(account.user, sessions.password)
    inside = client.capabilities_before_login
    return {**inside, **client.capabilities()}


def _describe(console: Console, session: TLSSession | None) -> None:
    if session is None:
        console.notice("no TLS")
        return
    certificate = session.certificate
    console.notice(f"TLS: {session.version}, {session.cipher}")
    console.notice(f"certificate: {certificate.subject}")
    console.notice(f"names: {' '.join(certificate.names) or 'none'}")
    console.notice(f"issuer: {certificate.issuer}")
    if certificate.expires is not None:
        days = int((certificate.expires - time.time()) // DAY)
        console.notice(
            f"expires: {time.strftime('%Y-%m-%d', time.gmtime(certificate.expires))} (in {days} days)"
        )
    console.notice(f"SHA-256: {certificate.fingerprint}")
