"""From an account to a client that is logged in."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.account.config import Account
from pop3fetch.account.credentials import VARIABLE, Password, Sources, without_password
from pop3fetch.ahead import Ahead
from pop3fetch.cli.console import Console
from pop3fetch.errors import LoginTooSoon
from pop3fetch.pop3.dial import Endpoint, dial
from pop3fetch.record.known_server import LOSES_EARLY_INPUT, KnownServer
from pop3fetch.record.login_delay import LoginDelay
from pop3fetch.record.place import RecordPlace

if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext

    from pop3fetch.pop3.client import POP3Client
    from pop3fetch.pop3.opening import Server
    from pop3fetch.pop3.tls import TLSOptions
    from pop3fetch.pop3.trace import Secrets
    from pop3fetch.pop3.tunnel import Tunnel


def server_of(
    account: Account,
    console: Console,
    context: SSLContext | None = None,
    known: KnownServer | None = None,
) -> Server:
    """Return where the account's server is, and how to talk to it; ``known``: from earlier sessions."""
    from pop3fetch.pop3.authentication import Wish
    from pop3fetch.pop3.opening import Early, Server

    early = Early()
    if known is not None:
        early = Early(
            not known.knows(LOSES_EARLY_INPUT, time.time()),
            lambda: known.remember(LOSES_EARLY_INPUT, time.time()),
        )

    return Server(
        endpoint=endpoint_of(account),
        wish=Wish(
            mode=account.tls,
            method=None if account.auth == "auto" else account.auth,
            allow_insecure=account.allow_insecure_login,
            utf8=account.utf8,
        ),
        timeout=account.timeout or None,
        tls=tls_options(account),
        context=context,
        pipelining=account.pipelining,
        early=early,
        trace=console.trace if console.verbosity >= 2 else None,
        notice=console.notice,
    )


def tls_options(account: Account) -> TLSOptions:
    """Return what the user chose for TLS."""
    from pop3fetch.pop3.tls import TLSOptions

    return TLSOptions(account.ca_file, account.tls_fingerprint, account.client_cert, account.client_key)


def endpoint_of(account: Account) -> Endpoint:
    """Return where the account's server is, and the way there."""
    return Endpoint(account.host, account.port, account.family, account.proxy, _tunnel_of(account))


def _tunnel_of(account: Account) -> Tunnel | None:
    if account.tunnel_command is None:
        return None
    from pop3fetch.pop3.tunnel import Tunnel

    return Tunnel(account.tunnel_command, without_password(os.environ))


class Sessions:
    """Sessions of one account; its password is looked for once, and not before a login needs it.

    The state folder tells whether the server's LOGIN-DELAY is over.
    """

    def __init__(
        self, account: Account, console: Console, state_folder: Path, *, keyring: bool = True
    ) -> None:
        self.account = account
        self._console = console
        place = RecordPlace(state_folder, account.address)
        self._delay = LoginDelay(place, account.address)
        self._known = KnownServer(place)
        self._begun: Ahead[POP3Client] | None = None
        self._secrets: Secrets | None = None  # of all connections of the run
        self._was_checked = False
        self.password = Password(account, sources(console, keyring=keyring))

    def check(self) -> None:
        """Raise what forbids a login before anything is connected: ConfigurationError, LoginTooSoon."""
        self.account.login_name()
        self._check_delay()

    def _check_delay(self) -> None:
        """Wait for a LOGIN-DELAY that ends in time; else raise LoginTooSoon, before the first login."""
        if self.account.user is None:  # without a login there is none to wait for
            return
        try:
            self._delay.await_end(self.account.timeout or None)
        except LoginTooSoon:
            if not self._was_checked:
                raise
        self._was_checked = True

    def begin(self) -> Sessions:
        """Open the connection that :meth:`connect` will return, in the background.

        Raises what forbids a login, before anything is connected.
        """
        self.check()
        self._begun = Ahead(self._opening(), may_be_left=True)
        return self

    def __enter__(self) -> Sessions:
        return self

    def __exit__(self, *_: object) -> None:
        """Close what was begun and never wanted."""
        begun, self._begun = self._begun, None
        if begun:
            begun.abandon(lambda client: client.close())

    def connect(self, pipelining: bool = True) -> POP3Client:
        """Return a client that has read the greeting; raises LoginTooSoon instead of connecting.

        A further connection of the same run is held up at most as long as the time-out: then it is for
        the server to refuse.
        """
        self._check_delay()
        begun, self._begun = self._begun, None
        client = begun.result() if begun else self._opening()()
        client.may_pipeline &= pipelining
        return client

    def _opening(self) -> Callable[[], POP3Client]:
        """Start to connect, load what will speak on the line, and return what opens it."""
        endpoint = endpoint_of(self.account)
        dialling = Ahead(lambda: dial(endpoint, self.account.timeout or None), may_be_left=True)
        from pop3fetch.pop3.client import POP3Client
        from pop3fetch.pop3.trace import Secrets

        self._secrets = self._secrets or Secrets()
        server = server_of(self.account, self._console, known=self._known)._replace(secrets=self._secrets)
        return lambda: POP3Client(server, dialling)

    def log_in(self, pipelining: bool = True) -> POP3Client:
        """Return a client that is logged in."""
        self.check()
        client = self.connect(pipelining)
        try:
            self.log_in_on(client)
        except BaseException:
            client.close()
            raise
        return client

    def log_in_on(self, client: POP3Client, secret: Callable[[], str] | None = None) -> None:
        """Log in, by another ``secret`` than the account's where it is given.

        Remembers the pause that the server wants until the next time; what it says of that after the
        login is this user's own (RFC 2449 section 6.5).
        """
        client.login(self.account.login_name(), secret or self.password)
        now = time.time()
        client.when_told = lambda told: self._delay.remember(now, told.get("LOGIN-DELAY"))
        before = client.capabilities_before_login
        client.when_told(before)
        if "USER" in (before.get("LOGIN-DELAY") or []):
            client.capabilities()


def leave(client: POP3Client, console: Console) -> None:
    """End a session that has deleted nothing: whatever the server thinks of it is no failure."""
    from pop3fetch.fetch.leaving import end_look

    end_look(client, console.notice)


def sources(console: Console, *, keyring: bool = True) -> Sources:
    """Return where this process may look for a password."""
    return Sources(
        home=Path(os.path.expanduser("~")),
        report=console.notice,
        child_environment=without_password(os.environ),
        environment=os.environ.get(VARIABLE),
        ask=_asker(console),
        keyring=keyring,
    )


def _asker(console: Console) -> Callable[[str], str] | None:
    """Return what asks on the terminal, or None where nobody sits: cron must not wait."""
    if not (console.err.isatty() and _has_terminal()):
        return None

    def ask(question: str) -> str:
        from getpass import getpass

        return console.talk(lambda: getpass(question))

    return ask


def _has_terminal() -> bool:
    """Whether there is a terminal to ask on, also where standard input brings something else."""
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return True
    return sys.stdin is not None and sys.stdin.isatty()
