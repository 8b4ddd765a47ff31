"""From an account to a client that is logged in."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.account.config import Account
from pop3fetch.account.credentials import VARIABLE, Password, Sources, without_password
from pop3fetch.cli.console import Console
from pop3fetch.pop3.authentication import Wish
from pop3fetch.pop3.client import POP3Client
from pop3fetch.pop3.dial import Endpoint
from pop3fetch.pop3.opening import Server
from pop3fetch.pop3.tls import TLSOptions

if TYPE_CHECKING:
    from collections.abc import Callable


def server_of(account: Account, console: Console, *, pipelining: bool = True) -> Server:
    """Return where the account's server is, and how to talk to it."""
    return Server(
        endpoint=Endpoint(account.host, account.port, account.family),
        wish=Wish(
            mode=account.tls,
            method=None if account.auth == "auto" else account.auth,
            allow_insecure=account.allow_insecure_login,
            utf8=account.utf8,
        ),
        timeout=account.timeout or None,
        tls=TLSOptions(account.ca_file, account.tls_fingerprint, account.client_cert, account.client_key),
        pipelining=account.pipelining and pipelining,
        trace=console.trace if console.verbosity >= 2 else None,
        notice=console.notice,
    )


class Sessions:
    """Sessions of one account; its password is looked for once, and not before a login needs it."""

    def __init__(self, account: Account, console: Console, *, keyring: bool = True) -> None:
        self.account = account
        self._console = console
        self.password = Password(account, sources(console, keyring=keyring))

    def connect(self, pipelining: bool = True) -> POP3Client:
        """Return a client that has read the greeting."""
        return POP3Client(server_of(self.account, self._console, pipelining=pipelining))

    def log_in(self, pipelining: bool = True) -> POP3Client:
        """Return a client that is logged in."""
        user = self.account.login_name()
        client = self.connect(pipelining)
        try:
            client.login(user, self.password)
        except BaseException:
            client.close()
            raise
        return client


def sources(console: Console, *, keyring: bool = True) -> Sources:
    """Return where this process may look for a password."""
    return Sources(
        home=Path.home(),
        report=console.notice,
        child_environment=without_password(os.environ),
        environment=os.environ.get(VARIABLE),
        ask=_asker(console),
        keyring=keyring,
    )


def _asker(console: Console) -> Callable[[str], str] | None:
    """Return what asks on the terminal, or None where there is none: cron must not wait."""
    if not (sys.stdin and sys.stdin.isatty() and console.err.isatty()):
        return None

    def ask(question: str) -> str:
        from getpass import getpass

        return getpass(question)

    return ask
