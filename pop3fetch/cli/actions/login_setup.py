"""`pop3fetch login ADDRESS`: find the server, log in once, and write the account into the file.

The password goes to one server only, whose certificate is valid. If the server is outside the domain of the
address, the user must agree before anything is connected.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from pop3fetch.account.config_file import NOTHING, Configuration, Overrides, default_config_file
from pop3fetch.account.discovery import HOST, SERVICE_MODES, Candidate, Candidates, Search, candidates
from pop3fetch.account.registration import name_is_taken, register
from pop3fetch.account.settings_table import FILE, OPTIONS, PASSWORD_SOURCES, SETTINGS, Account
from pop3fetch.account.url import is_url
from pop3fetch.cli.actions.login import log_in, next_command
from pop3fetch.cli.actions.login_store import PasswordStore
from pop3fetch.cli.options import Invocation
from pop3fetch.cli.screen.advice import error_line
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.sessions import find_keyring, process_context, sessions_of
from pop3fetch.defaults import PLAIN_PORT, TLS_PORT
from pop3fetch.durable import short
from pop3fetch.errors import POP3Error, UsageError
from pop3fetch.net.dial import wire_name
from pop3fetch.sessions.sessions import Sessions, server_of, tls_options
from pop3fetch.status import Status
from pop3fetch.values import NamedTuple

NOWHERE = Configuration(Path())  # which has no accounts
PATHS = {name for name, option in OPTIONS if option.takes == FILE}


class Address(NamedTuple):
    """A mail address: as it was given, its two parts, the domain in lower-case ASCII."""

    text: str
    local_part: str
    domain: str


@dataclass(frozen=True, slots=True)
class SetupOptions:
    """The address, the name of the new account, and what options and environment give for it.

    ADDRESS replaces the variables that name an account, a server or a user.
    """

    address: Address
    name: str
    given: Overrides
    environment: Overrides

    @property
    def tls(self) -> str | None:
        """The TLS mode that is requested, if any."""
        return self.given.get("tls") or self.environment.get("tls")

    def account_at(self, server: Candidate | None) -> Account:
        """Return the account with its mail on ``server``, or on --host."""
        options = Overrides(self.given, user=self.given.get("user") or self.address.text)
        if server is not None:
            options = Overrides(options, host=server.host, port=server.port, tls=server.tls)
        return NOWHERE.account(options, self.environment)


def log_in_first(invocation: Invocation, text: str, wanted: str | None = None) -> int:
    """Log in to the account of an address, and store it if it is new; return the exit status.

    ``wanted``: where to store the password.
    """
    setup = _setup_options(invocation, text)
    known = _known(invocation)
    console = invocation.console
    if setup.name in known.tables:
        return log_in(invocation, _known_account(known, setup), console, wanted)
    for key in PASSWORD_SOURCES:  # which are saved with the account
        if wanted in ("keyring", "file") and key in setup.given:
            raise UsageError(f"--store and --{key.replace('_', '-')} are mutually exclusive")
    account = _account(setup, console)
    sessions = sessions_of(account, console, invocation.state_folder_to_read(), keyring=False)
    _try(setup, sessions, console)
    known = register(known.path, setup.name, _settings(account, setup.given))
    console.remark(f"the login works; {setup.name} is in {short(known.path)}")
    if _has_password(account) and (wanted or not account.has_password_source):
        find_keyring()
        account = known.account(Overrides(account=setup.name), NOTHING)
        store = PasswordStore(account, console, wanted)
        console.remark(f"the password {store.keep(sessions.password(), sessions.password.source)}")
    console.remark(next_command(invocation, known, setup.name))
    return Status.OK


def _setup_options(invocation: Invocation, text: str) -> SetupOptions:
    address = parse_address(text)
    name = invocation.options.get("account") or address.text
    if invocation.many:
        raise UsageError("--all-accounts and ADDRESS are mutually exclusive")
    if is_url(name):
        raise UsageError("with ADDRESS, --account is the name of the new account, not a URL")
    return SetupOptions(
        address,
        name,
        invocation.options.without("account"),
        invocation.environment.without("account", "host", "port", "user"),
    )


def parse_address(text: str) -> Address:
    """Return the parts of a mail address; raises UsageError or UnknownHost."""
    local_part, _, domain = text.rpartition("@")
    if local_part and domain and text.isprintable() and not set(text) & {" ", ":"}:
        name = wire_name(domain).lower()
        if HOST.fullmatch(name):
            return Address(text, local_part, name)
    shown = "that" if ":" in text else f"'{text}'"  # which may be a URL with a password in it
    raise UsageError(f"{shown} is not an address such as alice@example.org; an account is given with -a")


def _known(invocation: Invocation) -> Configuration:
    """Read the configuration file, which may not exist yet."""
    path = invocation.config or default_config_file()
    return invocation.configuration() if path.exists() else Configuration(path)


def _known_account(known: Configuration, setup: SetupOptions) -> Account:
    """Return the account that has the name already; raises ConfigurationError if it is another."""
    account = known.account(Overrides(setup.given, account=setup.name), setup.environment)
    users = (setup.given.get("user"), setup.address.text, setup.address.local_part)
    # With another server or user than in its table, an account has another name.
    if account.name != setup.name or account.user not in users:
        raise name_is_taken(known.path, setup.name)
    return account


# -- the server ------------------------------------------------------------------------------


def _account(setup: SetupOptions, console: Console) -> Account:
    """Return the account with its mail on --host, or on the server that was found."""
    if "host" in setup.given:
        return setup.account_at(None)
    server = _found_server(setup, console)
    how = "TLS" if server.tls == "implicit" else "STLS"
    console.remark(f"{setup.address.domain} has its mail at {server.host}, port {server.port} ({how})")
    return setup.account_at(server)


def _found_server(setup: SetupOptions, console: Console) -> Candidate:
    from pop3fetch.net.tls import client_context
    from pop3fetch.pop3.conversation import Server
    from pop3fetch.sessions.probe import PROBE_TIMEOUT, find

    search = _search(setup, console)
    # Before any question is sent: a wrong option or file is found without the network.
    anywhere = setup.account_at(Candidate(setup.address.domain, TLS_PORT, "implicit"))
    context = client_context(tls_options(anywhere))

    def server(candidate: Candidate) -> Server:
        account = setup.account_at(candidate)
        server = server_of(account, process_context(console), context)
        # Traces of parallel attempts would be mixed up.
        return server._replace(timeout=min(account.timeout or PROBE_TIMEOUT, PROBE_TIMEOUT), trace=None)

    found = _agreed(setup.address.domain, candidates(setup.address.domain, search), console)

    def pass_over(candidate: Candidate, error: POP3Error) -> None:
        console.notice(f"{candidate.host} port {candidate.port} was skipped: {error_line(error)}")

    return find(setup.address.domain, found, server, pass_over)


def _search(setup: SetupOptions, console: Console) -> Search:
    """Return how to search for the server; raises UsageError if its certificate would not be verified."""
    if "port" in setup.given:
        raise UsageError("--port needs --host, because without it the server is searched for")
    if setup.tls in (None, *SERVICE_MODES):
        modes = SERVICE_MODES if setup.tls is None else (setup.tls,)
        # With a proxy, the user may not want to send the domain's name to the local network.
        asks_dns = "proxy" not in setup.given and "proxy" not in setup.environment
        return Search(modes, asks_dns=asks_dns, report=console.notice)
    raise UsageError(
        f"--tls {setup.tls} needs --host, because only TLS proves that the server found is the right one"
    )


def _agreed(domain: str, found: Candidates, console: Console) -> Candidates:
    """Return the servers that may be used: those outside the domain only if the user agrees."""
    inside = tuple(server for server in found.servers if server.is_inside(domain))
    outside = [server for server in found.servers if not server.is_inside(domain)]
    if not outside:
        return found
    if console.shows_remarks and sys.stdin is not None and sys.stdin.isatty():
        hosts = ", ".join(dict.fromkeys(server.host for server in outside))
        question = f"DNS says that mail for {domain} is at {hosts}. Use it?"
        if console.talk(lambda: console.confirm(question)):
            return found
    if not inside:
        server = outside[0]
        raise UsageError(
            f"DNS, which may be forged, says that mail for {domain} is at {server.host}; "
            f"if that is right, use {_as_options(server)}"
        )
    return replace(found, servers=inside)


def _as_options(server: Candidate) -> str:
    usual = TLS_PORT if server.tls == "implicit" else PLAIN_PORT
    port = "" if server.port == usual else f" --port {server.port}"
    return f"--host {server.host}{port}" + ("" if server.tls == "implicit" else f" --tls {server.tls}")


# -- the login -------------------------------------------------------------------------------


def _try(setup: SetupOptions, sessions: Sessions, console: Console) -> None:
    """Log in once; the error of a refusal suggests another user name if it can help."""
    sessions.check()
    if "user" not in setup.given:
        sessions.other_user = setup.address.local_part
    with sessions.log_in() as client:
        client.end_look(console.notice)


def _has_password(account: Account) -> bool:
    return account.auth != "external"  # whose secret is a certificate's key


def _settings(account: Account, options: Overrides) -> dict[str, str | int | float | bool]:
    """Return the keys of the account's table: no more than are needed."""
    settings: dict[str, str | int | float | bool] = {"host": account.host}
    if account.port not in (0, TLS_PORT if account.tls == "implicit" else PLAIN_PORT):
        settings["port"] = account.port
    if account.tls != "implicit" or account.port == PLAIN_PORT:
        settings["tls"] = account.tls
    settings["user"] = account.login_name()
    for name, setting in SETTINGS.items():
        if setting.lasting and name in options:
            settings[name] = os.path.abspath(getattr(account, name)) if name in PATHS else options[name]
    return settings
