"""The settings of an account: one table, in which a row is a setting.

A row is a field of :class:`Account`: its name, type, default and check, and the options that give it. The
rows define the keys of [accounts.NAME], and the options with their variables, help and completion. They also
define which settings `login` stores and `accounts` shows. The manual is written by hand: a test names each
row that it lacks.
"""

# Annotations are values here, so `from __future__ import annotations` must not postpone them.
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, NamedTuple, Optional

from pop3fetch.account import checks
from pop3fetch.defaults import (
    AUTH_METHODS,
    DEFAULT_EXEC_TIMEOUT,
    DEFAULT_TIMEOUT,
    FAMILIES,
    PLAIN_PORT,
    TLS_MODES,
    TLS_PORT,
    TOKEN_METHODS,
    UNIX_PREFIX,
)

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from pop3fetch.account.destination_table import DestinationTable
    from pop3fetch.account.oauth.providers import OAuthSettings

# Sections of --help; those of `get` are two parts of its own options.
SERVER = "The account and its server"
SECURITY = "TLS and login"
DELIVERY = "get: delivery"
SELECTION = "get: selection"
DETAILS = "Delivery details"
UNATTENDED = "Unattended runs"

FILE, DESTINATION, PROGRAM = "file", "destination", "program"  # values that a shell completes
DAYS = "days"  # a whole number of them


class Setting(NamedTuple):
    """A setting besides its name, type and default.

    ``group``: if a layer, such as the command line, gives one setting of a group, it hides the whole group in
    lower layers (environment, file). ``lasting``: `login` writes it into the file.
    ``shown``: `accounts --json` has it. ``secret``: it is or contains a secret. ``runs``: it is a command.
    """

    check: checks.Check
    group: str = ""
    lasting: bool = False
    shown: bool = False
    secret: bool = False
    runs: bool = False


class Option(NamedTuple):
    """An option that gives a setting: its section of --help, its names and metavar, and its help.

    ``takes`` is a type (bool for a flag), FILE, DESTINATION, PROGRAM, DAYS, or the words to choose among.
    ``gives``: the value of the setting that a flag means. ``variable``: a variable gives it, too; its name is
    POP3FETCH_ and the name of the setting. ``several``: it may be given more than once.
    """

    section: str
    usage: str
    help: str
    takes: type | str | tuple[str, ...] = str
    gives: object = None
    variable: bool = False
    several: bool = False


class Account(NamedTuple):
    """A maildrop, the way to it, and what `get` does with its messages.

    ``source`` is its file. ``password_by_option``: its ``password_file`` or ``password_command`` is an
    option, which comes before POP3FETCH_PASSWORD. Its ``repr`` leaves out whatever may contain a secret.
    """

    # fmt: off
    name: str
    host: Annotated[str, Setting(checks.host, shown=True),
        Option(SERVER, "-H --host HOST", "The server.", variable=True)]
    port: Annotated[int, Setting(partial(checks.number, 1, 65_535), shown=True),  # 0: a UNIX socket
        Option(SERVER, "-p --port PORT", takes=int, variable=True,
               help=f"The port (default: {TLS_PORT} with --tls implicit, else {PLAIN_PORT}).")]
    tls: Annotated[str, Setting(partial(checks.one_of, TLS_MODES)),
        Option(SECURITY, "--tls MODE", takes=TLS_MODES, variable=True,
               help="implicit, auto, starttls or off (default: implicit; auto if the port is "
                    f"{PLAIN_PORT} or the URL begins with pop3:).")]
    user: Annotated[str | None, Setting(checks.text, shown=True),
        Option(SERVER, "-u --user USER", "The user name.", variable=True)] = None
    auth: Annotated[str, Setting(partial(checks.one_of, AUTH_METHODS), lasting=True),
        Option(SECURITY, "--auth METHOD", takes=AUTH_METHODS, variable=True,
               help=f"Force one login method: {', '.join(AUTH_METHODS[1:])} (default: auto).")] = "auto"
    allow_insecure_login: Annotated[bool, Setting(checks.flag, lasting=True),
        Option(SECURITY, "--allow-insecure-login", takes=bool, variable=True,
               help="Allow the password to cross the network in clear text.")] = False
    ca_file: Annotated[str | None, Setting(checks.path, lasting=True),
        Option(SECURITY, "--ca-file FILE", takes=FILE, variable=True,
               help="Trust these authorities instead of the system's.")] = None
    tls_fingerprint: Annotated[str | None, Setting(checks.fingerprint, lasting=True),
        Option(SECURITY, "--tls-fingerprint SHA256", "Trust exactly this server certificate.",
               variable=True)] = None
    tls_name: Annotated[str | None, Setting(checks.server_name, lasting=True),
        Option(SECURITY, "--tls-name NAME", variable=True,
               help="The name that the certificate must have, if it is not the host's.")] = None
    tls_ciphers: Annotated[str | None, Setting(checks.ciphers, lasting=True),
        Option(SECURITY, "--tls-ciphers LIST", variable=True,
               help="OpenSSL's list of ciphers for TLS 1.2, for old servers: DEFAULT.")] = None
    client_cert: Annotated[str | None, Setting(checks.path, lasting=True),
        Option(SECURITY, "--client-cert FILE", "Present this certificate.",
               takes=FILE, variable=True)] = None
    client_key: Annotated[str | None, Setting(checks.path, lasting=True),
        Option(SECURITY, "--client-key FILE", "Its private key, if it is in a separate file.",
               takes=FILE, variable=True)] = None
    password: Annotated[str | None, Setting(checks.text, group="password", secret=True)] = None
    password_file: Annotated[str | None, Setting(checks.path, group="password", lasting=True),
        Option(SERVER, "--password-file FILE", takes=FILE, variable=True,
               help="Read the password from the first line of FILE.")] = None
    password_command: Annotated[tuple[str, ...] | None,
        Setting(checks.password_command, group="password", lasting=True, secret=True, runs=True),
        Option(SERVER, "--password-command CMD", variable=True, takes=PROGRAM,
               help="Run CMD; its first line is the password or token.")] = None
    password_by_option: bool = False
    timeout: Annotated[float, Setting(checks.seconds, lasting=True),
        Option(SERVER, "--timeout SECONDS", takes=float, variable=True,
               help=f"Seconds to wait for the server (default: {DEFAULT_TIMEOUT:g}; 0: forever).",
               )] = DEFAULT_TIMEOUT
    family: Annotated[str, Setting(partial(checks.one_of, FAMILIES), lasting=True),
        Option(SERVER, "-4", "Use only IPv4.", takes=bool, gives="ipv4"),
        Option(SERVER, "-6", "Use only IPv6.", takes=bool, gives="ipv6")] = "any"
    proxy: Annotated[str | None, Setting(checks.proxy, lasting=True, secret=True),
        Option(SERVER, "--proxy URL", "Connect through a proxy: socks5://… or http://…",
               variable=True)] = None
    tunnel_command: Annotated[tuple[str, ...] | None,
        Setting(partial(checks.command, "tunnel_command"), secret=True, runs=True)] = None
    pipelining: Annotated[bool, Setting(checks.flag, lasting=True),
        Option(SERVER, "--no-pipelining", "Send one command at a time.", takes=bool, gives=False)] = True
    utf8: Annotated[bool, Setting(checks.flag, lasting=True),
        Option(SERVER, "--utf8", takes=bool, variable=True,
               help="Send UTF8 before logging in (RFC 6856): some servers rewrite 8-bit messages otherwise.",
               )] = False
    output: Annotated[str | None, Setting(checks.text, group="destination", shown=True),
        Option(DELIVERY, "-o --output DEST", takes=DESTINATION,
               help="maildir:DIR, mbox:FILE, -, a server's URL or @NAME (default: ~/Maildir).")] = None
    recipients: Annotated[tuple[str, ...] | None, Setting(checks.addresses),
        Option(DETAILS, "--recipient ADDRESS", several=True,
               help="Deliver to ADDRESS at an LMTP or SMTP server (default: the user).")] = None
    exec: Annotated[tuple[str, ...] | None,
        Setting(partial(checks.command, "exec"), group="destination", secret=True, runs=True),
        Option(DELIVERY, "--exec CMD", "Give each message to the standard input of CMD.",
               takes=PROGRAM)] = None
    exec_timeout: Annotated[float, Setting(checks.seconds),
        Option(DETAILS, "--exec-timeout SECONDS", takes=float,
               help=f"Time limit for CMD in seconds (default: {DEFAULT_EXEC_TIMEOUT:g}).",
               )] = DEFAULT_EXEC_TIMEOUT
    crlf: Annotated[bool, Setting(checks.flag),
        Option(DETAILS, "--crlf", "Keep CRLF line ends, which otherwise become LF.", takes=bool)] = False
    delete: Annotated[bool | None, Setting(checks.flag, group="deletion"),
        Option(SELECTION, "--delete/--keep", "Delete delivered messages, or keep them (default).",
               takes=bool)] = None
    delete_after: Annotated[int | None,
        Setting(partial(checks.number, 0, checks.LONGEST_STAY), group="deletion"),
        Option(SELECTION, "--delete-after DAYS", takes=DAYS,
               help="Delete messages fetched at least DAYS days ago.")] = None
    limit: Annotated[int | None, Setting(partial(checks.number, 1, None)),
        Option(SELECTION, "--limit N", "Fetch at most N messages.", takes=int)] = None
    max_size: Annotated[int | None, Setting(checks.octets),
        Option(SELECTION, "--max-size OCTETS",
               "Skip larger messages: 500000, 64K, 10M.")] = None
    patience: Annotated[Optional["timedelta"], Setting(checks.duration),
        Option(UNATTENDED, "--patience DURATION",
               "Report temporary failures only if they last this long: 90s, 5m, 12h, 7d.")] = None
    on_new: Annotated[tuple[str, ...] | None,
        Setting(partial(checks.command, "on_new"), secret=True, runs=True),
        Option(UNATTENDED, "--on-new CMD",
               "Run CMD once after new mail, with the JSON lines of the messages as its input.")] = None
    oauth: Annotated[Optional["OAuthSettings"], Setting(checks.oauth_table)] = None
    destination: Optional["DestinationTable"] = None  # that of the file which ``output`` names
    source: Optional["Path"] = None
    # fmt: on

    def __repr__(self) -> str:
        from pop3fetch.values import veiled

        return veiled(self, *SECRETS)

    @property
    def address(self) -> str:
        """The name of its record and its password: see :func:`address_of`."""
        return address_of(self.user, self.host, self.port)

    @property
    def title(self) -> str:
        """``user@host`` for people: ``user at host`` if the user is an address already."""
        if self.user is None or "@" not in self.user:
            return self.address
        return f"{self.user} at {address_of(None, self.host, self.port)}"

    @property
    def uses_oauth(self) -> bool:
        """Whether it logs in with tokens of its OAuth 2 server."""
        return self.oauth is not None and self.auth in TOKEN_METHODS

    @property
    def has_password_source(self) -> bool:
        """Whether a file or a program gives its password."""
        return any(getattr(self, key) is not None for key in PASSWORD_SOURCES)

    def login_name(self) -> str:
        """Return the user; raises ConfigurationError if there is none."""
        if self.user is None:
            from pop3fetch.errors import ConfigurationError

            where = f"{self.source}: accounts.{self.name}" if self.source else self.address
            write = 'write user = "alice", or ' if self.source else ""
            raise ConfigurationError(where, f"the user is missing; {write}give one with --user")
        return self.user


# The rows: name -> (Setting, Option...).
_ROWS = {
    name: annotation.__metadata__
    for name, annotation in Account.__annotations__.items()
    if hasattr(annotation, "__metadata__")
}
SETTINGS: Mapping[str, Setting] = {name: row[0] for name, row in _ROWS.items()}
OPTIONS: tuple[tuple[str, Option], ...] = tuple(
    (name, option) for name, row in _ROWS.items() for option in row[1:]
)
# What gives a password: all, and those that `login` stores with an account.
PASSWORD_KEYS = tuple(name for name, setting in SETTINGS.items() if setting.group == "password")
PASSWORD_SOURCES = tuple(name for name in PASSWORD_KEYS if SETTINGS[name].lasting)
SECRETS = tuple(name for name, setting in SETTINGS.items() if setting.secret)


def address_of(user: str | None, host: str, port: int) -> str:
    """Return ``user@host``, with the port unless it is one of POP3's own."""
    literal = ":" in host and not host.startswith(UNIX_PREFIX)
    at = f"{user}@" if user is not None else ""
    end = "" if port in (TLS_PORT, PLAIN_PORT, 0) else f":{port}"
    return f"{at}[{host}]{end}" if literal else f"{at}{host}{end}"
