"""`pop3fetch login ADDRESS`: find the server, log in once, and write the account down.

The password goes to one server alone, which has proved who it is; one outside the domain of the
address has its user's consent before anything is connected.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from pop3fetch.account.config import (
    PLAIN_PORT,
    TLS_PORT,
    Account,
    Configuration,
    Overrides,
    default_config_file,
)
from pop3fetch.account.discovery import HOST, TLS_MODES, Candidate, Candidates, Search, candidates
from pop3fetch.account.registration import name_is_taken, register
from pop3fetch.account.url import is_url
from pop3fetch.cli.actions.login import log_in
from pop3fetch.cli.options import Invocation
from pop3fetch.cli.screen.advice import told
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.sessions import process_context, sessions_of
from pop3fetch.errors import LoginRefused, POP3Error, UsageError
from pop3fetch.net.names import wire_name
from pop3fetch.sessions.quit import end_look
from pop3fetch.sessions.sessions import Sessions, server_of, tls_options
from pop3fetch.status import Status

NOWHERE = Configuration(Path())  # which has no accounts
PATHS = ("ca_file", "client_cert", "client_key", "password_file")
# What stands on the command line beside server and user, and belongs to the account for good.
LASTING = (
    "auth", "allow_insecure_login", *PATHS, "tls_fingerprint", "password_command", "timeout", "utf8",
    "pipelining", "family", "proxy",
)  # fmt: skip


class Address(NamedTuple):
    """A mail address: as it was given, its two parts, the domain in lower-case ASCII."""

    text: str
    local_part: str
    domain: str


@dataclass(frozen=True, slots=True)
class Wish:
    """Whose mail is meant, what the account shall be called, and what the options say of it.

    ADDRESS stands in for the variables that name an account, a server or a user.
    """

    address: Address
    name: str
    options: Overrides
    environment: Overrides

    @property
    def tls(self) -> str | None:
        """The TLS mode that was asked for."""
        return self.options.tls or self.environment.tls

    def account_at(self, server: Candidate | None) -> Account:
        """Return the account with its mail on ``server``, or where --host says."""
        options = self.options._replace(user=self.options.user or self.address.text)
        if server is not None:
            options = options._replace(host=server.host, port=server.port, tls=server.tls)
        return NOWHERE.account(options, self.environment)


def log_in_first(invocation: Invocation, text: str) -> int:
    """Log in to the account of an address, and write it down unless it is known; return the exit status."""
    wish = _wish(invocation, text)
    known = _known(invocation)
    console = invocation.console
    if wish.name in known.tables:
        return log_in(invocation, _known_account(known, wish), console)
    account = _account(wish, console)
    sessions = sessions_of(account, console, invocation.state_folder_to_read(), keyring=False)
    _try(wish, sessions, console)
    known = register(known.path, wish.name, _settings(account, wish.options))
    console.remark(f"the login works; the account is in {_short(known.path)}")
    _keep_password(sessions, console)
    console.remark(f"next: {_next_command(invocation, known, wish.name)}")
    return Status.OK


def _wish(invocation: Invocation, text: str) -> Wish:
    address = parse_address(text)
    name = invocation.options.account or address.text
    if invocation.many:
        raise UsageError("--all-accounts and ADDRESS exclude each other")
    if is_url(name):
        raise UsageError("beside ADDRESS --account is the new account's name, and no URL")
    return Wish(
        address,
        name,
        invocation.options._replace(account=None),
        invocation.environment._replace(account=None, host=None, port=None, user=None),
    )


def parse_address(text: str) -> Address:
    """Return the parts of a mail address; raises UsageError or UnknownHost."""
    local_part, _, domain = text.rpartition("@")
    if local_part and domain and text.isprintable() and not set(text) & {" ", ":"}:
        name = wire_name(domain).lower()
        if HOST.fullmatch(name):
            return Address(text, local_part, name)
    shown = "that" if ":" in text else f"'{text}'"  # which may be a URL with a password in it
    raise UsageError(f"{shown} is no address such as alice@example.org; an account is given with --account")


def _known(invocation: Invocation) -> Configuration:
    """Read the configuration file, which need not be there yet."""
    path = invocation.config or default_config_file()
    return invocation.configuration() if path.exists() else Configuration(path)


def _known_account(known: Configuration, wish: Wish) -> Account:
    """Return the account that has the name already; raises ConfigurationError where it is another."""
    account = known.account(wish.options._replace(account=wish.name), wish.environment)
    users = (wish.options.user, wish.address.text, wish.address.local_part)
    # With another server or user than the table's it has lost its name.
    if account.name != wish.name or account.user not in users:
        raise name_is_taken(known.path, wish.name)
    return account


# -- the server ------------------------------------------------------------------------------


def _account(wish: Wish, console: Console) -> Account:
    """Return the account with its mail where --host says, or on the server that was found."""
    if wish.options.host is not None:
        return wish.account_at(None)
    server = _found_server(wish, console)
    how = "TLS" if server.tls == "implicit" else "STLS"
    console.remark(f"{wish.address.domain} has its mail at {server.host}, port {server.port} ({how})")
    return wish.account_at(server)


def _found_server(wish: Wish, console: Console) -> Candidate:
    from pop3fetch.net.tls import client_context
    from pop3fetch.pop3.opening import Server
    from pop3fetch.sessions.probe import PROBE_TIMEOUT, find

    search = _search(wish, console)
    # Before anything is asked: what is wrong with an option or a file shows at home.
    anywhere = wish.account_at(Candidate(wish.address.domain, TLS_PORT, "implicit"))
    context = client_context(tls_options(anywhere))

    def server(candidate: Candidate) -> Server:
        account = wish.account_at(candidate)
        server = server_of(account, process_context(console), context)
        # Side by side, their traces would be one muddle.
        return server._replace(timeout=min(account.timeout or PROBE_TIMEOUT, PROBE_TIMEOUT), trace=None)

    found = _agreed(wish.address.domain, candidates(wish.address.domain, search), console)

    def pass_over(candidate: Candidate, error: POP3Error) -> None:
        console.notice(f"{candidate.host} port {candidate.port} was passed over: {told(error)}")

    return find(wish.address.domain, found, server, pass_over)


def _search(wish: Wish, console: Console) -> Search:
    """Return how the server is searched for; raises UsageError where it would not have to prove itself."""
    if wish.options.port is not None:
        raise UsageError("--port needs --host: without it the server is searched for")
    if wish.tls in (None, *TLS_MODES):
        modes = TLS_MODES if wish.tls is None else (wish.tls,)
        # Whoever uses a proxy may not want the network to hear the domain's name.
        asks_dns = wish.options.proxy is None and wish.environment.proxy is None
        return Search(modes, asks_dns=asks_dns, report=console.notice)
    raise UsageError(f"--tls {wish.tls} needs --host: a server that is searched for must prove who it is")


def _agreed(domain: str, found: Candidates, console: Console) -> Candidates:
    """Return the servers that may be used: those outside the domain once somebody agrees."""
    inside = tuple(server for server in found.servers if server.is_inside(domain))
    outside = [server for server in found.servers if not server.is_inside(domain)]
    if not outside or _is_accepted(domain, outside, console):
        return found
    if not inside:
        server = outside[0]
        raise UsageError(
            f"DNS, which may be forged, puts the mail of {domain} at {server.host}: "
            f"if that is right, use {_as_options(server)}"
        )
    return replace(found, servers=inside)


def _is_accepted(domain: str, outside: Sequence[Candidate], console: Console) -> bool:
    hosts = ", ".join(dict.fromkeys(server.host for server in outside))
    if not (console.shows_remarks and sys.stdin is not None and sys.stdin.isatty()):
        return False
    question = f"DNS puts the mail of {domain} at {hosts}: right?"
    return console.talk(lambda: console.confirm(question))


def _as_options(server: Candidate) -> str:
    usual = TLS_PORT if server.tls == "implicit" else PLAIN_PORT
    port = "" if server.port == usual else f" --port {server.port}"
    return f"--host {server.host}{port}" + ("" if server.tls == "implicit" else f" --tls {server.tls}")


# -- the login -------------------------------------------------------------------------------


def _try(wish: Wish, sessions: Sessions, console: Console) -> None:
    """Log in once; a refusal names what may be wrong besides the password."""
    sessions.check()
    if _has_password(sessions.account):
        sessions.password()  # before the connection, which would not wait for slow fingers
    try:
        with sessions.log_in() as client:
            end_look(client, console.notice)
    except LoginRefused as refusal:
        if wish.options.user is None and not refusal.is_temporary:
            user = shlex.quote(wish.address.local_part)
            refusal.hint = f"where the password is right, the server may want --user {user}"
        raise


def _has_password(account: Account) -> bool:
    return account.auth != "external"  # whose secret is a certificate's key


def _keep_password(sessions: Sessions, console: Console) -> None:
    """Store the password where later runs find it; raises ConfigurationError."""
    from pop3fetch.account.credentials import store

    account = sessions.account
    if not account.has_password_source and _has_password(account):
        store(account, sessions.password())
        console.remark("the password is kept in the keyring")


def _settings(account: Account, options: Overrides) -> dict[str, str | int | float | bool]:
    """Return what the table of the account says: no more than is needed."""
    settings: dict[str, str | int | float | bool] = {"host": account.host}
    if account.port not in (0, TLS_PORT if account.tls == "implicit" else PLAIN_PORT):
        settings["port"] = account.port
    if account.tls != "implicit" or account.port == PLAIN_PORT:
        settings["tls"] = account.tls
    settings["user"] = account.login_name()
    for key in LASTING:
        if getattr(options, key) is not None:
            settings[key] = getattr(options, key)
    return settings | {key: os.path.abspath(getattr(account, key)) for key in PATHS if key in settings}


def _next_command(invocation: Invocation, known: Configuration, name: str) -> str:
    words = ["pop3fetch", "list"]
    if invocation.config is not None:
        words += ["-c", str(invocation.config)]
    variables = invocation.environment
    if variables.account or variables.host or not known.is_meant_unnamed(name):
        words += ["-a", name]
    return shlex.join(words)


def _short(path: Path) -> str:
    home = os.path.expanduser("~")
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
