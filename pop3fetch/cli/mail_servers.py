"""The mail servers that messages go to: from what the user wrote to what a destination needs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pop3fetch.account.settings_table import Account
from pop3fetch.cli.screen.console import Console
from pop3fetch.delivery.kinds import SCHEMES, Kind
from pop3fetch.delivery.opening import Choice
from pop3fetch.delivery.servers.address import ServerAddress, parse
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.errors import ConfigurationError, LoginRefused, UsageError
from pop3fetch.net.dial import Endpoint
from pop3fetch.pop3.trace import Secrets
from pop3fetch.record.place import RecordPlace
from pop3fetch.sessions.refused_logins import RefusedLogins
from pop3fetch.sessions.sessions import Sessions, tls_options

if TYPE_CHECKING:
    from pop3fetch.account.destination_table import DestinationTable

MAIL_NAMES = ("pop", "pop3", "imap", "smtp", "mail", "mx", "lmtp")  # of hosts that are one provider's


def choice_of_table(table: DestinationTable) -> Choice:
    """Return the destination that a table names; raises ConfigurationError."""
    try:
        return Choice(Kind.SERVER, address=parse(table.url))
    except UsageError as error:
        raise ConfigurationError(f"{table.where}.url", error.reason) from error


class MailServers:
    """The mail servers of a run for one account."""

    def __init__(self, sessions: Sessions, console: Console) -> None:
        """``sessions`` are those of the account."""
        self._sessions = sessions
        self._account = sessions.account
        self._console = console

    def at(self, address: ServerAddress) -> MailServer:
        """Return how to use the server; raises ConfigurationError if that is not allowed, or incomplete."""
        table = self._table(address)
        keys = table.settings if table else {}
        where = table.where if table else str(address)
        login = login_of(address, table, self._account)
        recipients = self._account.recipients or keys.get("recipients", ())
        if address.protocol != "IMAP" and not recipients:
            recipients = (self._recipient(where),)
        self._refuse_own_mailbox(address, recipients, where)
        sender = keys.get("from")
        if address.protocol == "SMTP" and sender is None and not address.is_local:
            reason = (
                "the sender is missing: set from in [destinations.NAME], as the relay is on another machine"
            )
            raise ConfigurationError(where, reason)
        trace = self._console.trace if self._console.verbosity >= 2 else None
        place = RecordPlace(self._sessions.state_folder, login.address)
        password = self._sessions.password.of_another(login)
        refused = RefusedLogins(place, login.address)

        def secret() -> str:
            found = password()
            if not self._console.can_ask and not login.uses_oauth:
                refused.check(found, time.time())
            return found

        def remember(refusal: LoginRefused) -> None:
            password.blame(refusal)
            if not login.uses_oauth:
                refused.remember(password(), refusal, time.time())

        return MailServer(
            address,
            Endpoint(login.host, login.port, login.family, login.proxy, None, login.tls_name),
            tls=login.tls,
            tls_options=tls_options(login),
            timeout=login.timeout or None,
            secret=secret,
            takes_tokens=login.uses_oauth,
            refused=remember,
            recipients=recipients,
            sender=sender,
            flags=keys.get("flags", ()),
            trace=trace,
            secrets=Secrets(),
            report=self._console.warn,
        )

    def _table(self, address: ServerAddress) -> DestinationTable | None:
        """Return the table of the account's destination, or of one that an earlier run has delivered to."""
        own = self._account.destination
        if own is not None and parse(own.url) == address:
            return own
        if self._account.source is None or (own is None and self._account.output == str(address)):
            return None
        from pop3fetch.account.config_file import load

        configuration = load(self._account.source)  # it may be a destination of an earlier run
        tables = map(configuration.destination, configuration.destinations)
        return next((table for table in tables if parse(table.url) == address), None)

    def _recipient(self, where: str) -> str:
        user = self._account.user or ""
        if "@" not in user.strip("@"):
            reason = "the user is not an address: give one with --recipient, or the key recipients"
            raise ConfigurationError(where, reason)
        return user

    def _refuse_own_mailbox(self, address: ServerAddress, recipients: Sequence[str], where: str) -> None:
        """Raise ConfigurationError if the destination is the mailbox that is fetched: it would never end."""
        users = (address.user,) if address.protocol == "IMAP" else recipients
        is_inbox = address.protocol != "IMAP" or address.mailbox.upper() == "INBOX"
        if is_inbox and _are_siblings(address.host, self._account.host) and self._account.user in users:
            raise ConfigurationError(where, "it is the mailbox that is fetched: all mail would come again")


def login_of(address: ServerAddress, table: DestinationTable | None, account: Account) -> Account:
    """Return the login at a mail server as an account of its own; raises ConfigurationError.

    ``account``: the one that is fetched, whose time-out and way into the network it shares.
    """
    given = table.login() if table else {}
    keys = table.settings if table else {}
    where = table.where if table else str(address)
    if given.get("client_key") and not given.get("client_cert"):
        raise ConfigurationError(f"{where}.client_key", "needs client_cert beside it")
    return Account(
        name=f"@{table.name}" if table else str(address),
        host=address.host,
        port=address.port,
        tls=_tls_mode(address, keys.get("starttls", False), keys.get("insecure", False), where),
        user=address.user,
        auth="xoauth2" if "oauth" in given else "auto",
        family=account.family,
        proxy=None if address.is_local else account.proxy,
        **{"timeout": account.timeout, **given},
    )


def _tls_mode(address: ServerAddress, starttls: bool, insecure: bool, where: str) -> str:
    """Return how TLS begins at a server; raises ConfigurationError if mail would cross a network in clear."""
    if SCHEMES[address.scheme].implicit_tls:
        return "implicit"
    protocol = address.protocol
    if starttls or protocol == "IMAP" or (protocol == "SMTP" and (address.user or not address.is_local)):
        return "starttls"
    if not address.is_local and not insecure:
        reason = "mail would cross the network in clear text: set starttls = true, or insecure = true"
        raise ConfigurationError(where, f"{reason} in a table [destinations.NAME]")
    return "off"


def _are_siblings(one: str, other: str) -> bool:
    """Whether two hosts are one, or are called pop.X and imap.X."""

    def provider(host: str) -> str:
        name, _, domain = host.partition(".")
        return domain if name in MAIL_NAMES and "." in domain else host

    return provider(one.lower()) == provider(other.lower())
