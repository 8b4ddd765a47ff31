"""The options that every command with a server shares, and what they come to: an account.

The command line wins over the environment, and the environment over the file; so both are
handed to ``account.config`` apart, and a value counts only where somebody gave it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from pop3fetch.cli.console import Console

if TYPE_CHECKING:
    from pop3fetch.account.config import Account, Configuration, Overrides

Function = TypeVar("Function", bound=Callable[..., Any])

TLS_MODES = ("implicit", "auto", "starttls", "off")
METHODS = (
    "auto", "user", "apop", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256",
    "xoauth2", "oauthbearer", "external",
)  # fmt: skip


def _option(*names: str, **settings: Any) -> Callable[[Function], Function]:
    return click.option(*names, **settings)


def _variable(name: str) -> dict[str, Any]:
    return {"envvar": f"POP3FETCH_{name}", "show_envvar": False}


def _complete_account(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from pop3fetch.account.config import load
    from pop3fetch.errors import POP3Error

    try:
        names = load(_path(ctx.params.get("config"))).names()
    except POP3Error:
        return []
    return [name for name in names if name.startswith(incomplete)]


ACCOUNT_OPTIONS = (
    _option("-a", "--account", metavar="NAME|URL", shell_complete=_complete_account, **_variable("ACCOUNT"),
            help="An account of the configuration file, or pop3s://user@host[:port]."),
    _option("-H", "--host", metavar="HOST", help="The server.", **_variable("HOST")),
    _option("-p", "--port", type=int, metavar="PORT", **_variable("PORT"),
            help="995 with --tls implicit, else 110."),
    _option("-u", "--user", metavar="USER", help="The user name.", **_variable("USER")),
    _option("--tls", type=click.Choice(TLS_MODES), **_variable("TLS"),
            help="How the connection is secured; implicit is the default, auto on port 110."),
    _option("--auth", type=click.Choice(METHODS), **_variable("AUTH"),
            help="Force one login method; auto is the default."),
    _option("--allow-insecure-login", is_flag=True, **_variable("ALLOW_INSECURE_LOGIN"),
            help="Let the password cross the network in clear text."),
    _option("--ca-file", type=click.Path(), **_variable("CA_FILE"),
            help="Trust these certificate authorities instead of the system's."),
    _option("--tls-fingerprint", metavar="SHA256", **_variable("TLS_FINGERPRINT"),
            help="Trust exactly this server certificate."),
    _option("--client-cert", type=click.Path(), **_variable("CLIENT_CERT"),
            help="Present this certificate."),
    _option("--client-key", type=click.Path(), **_variable("CLIENT_KEY"),
            help="Its key, where the certificate's file does not hold it."),
    _option("--password-command", metavar="CMD", **_variable("PASSWORD_COMMAND"),
            help="The first line that CMD prints is the password, or the access token."),
    _option("--timeout", type=float, metavar="SECONDS", **_variable("TIMEOUT"),
            help="How long to wait for the server: 60; 0 waits for ever."),
    _option("-4", "ipv4", is_flag=True, help="Only IPv4."),
    _option("-6", "ipv6", is_flag=True, help="Only IPv6."),
    _option("--proxy", metavar="URL", **_variable("PROXY"), help="socks5://… or http://…"),
    _option("--no-pipelining", is_flag=True, help="One command at a time."),
    _option("--utf8", is_flag=True, **_variable("UTF8"), help="Say UTF8 before the login (RFC 6856)."),
)  # fmt: skip
PLACE_OPTIONS = (
    _option("-c", "--config", type=click.Path(), **_variable("CONFIG"),
            help="The configuration file instead of the platform's own place."),
    _option("--state-dir", type=click.Path(), **_variable("STATE_DIR"),
            help="Where the records are kept, instead of the platform's own place."),
)  # fmt: skip
MANY_OPTIONS = (
    _option("-A", "--all-accounts", is_flag=True, help="Every account of the configuration file."),
    _option("--jobs", type=click.IntRange(1), default=8, help="Accounts at once under -A: 8."),
    _option("--jobs-per-host", type=click.IntRange(1), default=4, help="Accounts at once on one server: 4."),
)
VERBOSITY_OPTIONS = (
    _option("-q", "--quiet", is_flag=True, help="Say less on standard error."),
    _option("-v", "--verbose", count=True, help="Say more; -vv shows the protocol, secrets blotted out."),
)
JSON_OPTION = _option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
STDIN_OPTION = _option(
    "--stdin", "from_stdin", is_flag=True, help="Read MESSAGES from standard input, too, one a line."
)
OVERRIDES = (
    "account", "host", "port", "user", "tls", "auth", "allow_insecure_login", "ca_file", "tls_fingerprint",
    "client_cert", "client_key", "password_command", "timeout", "utf8", "proxy",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Many:
    """How accounts are worked on under -A."""

    jobs: int
    jobs_per_host: int


@dataclass(frozen=True, slots=True)
class Invocation:
    """One command line: whose mail, where things are kept, and how much is said."""

    console: Console
    options: Overrides
    environment: Overrides
    config: Path | None
    state_dir: Path | None
    many: Many | None = None

    def configuration(self) -> Configuration:
        """Read the configuration file; raises ConfigurationError."""
        from pop3fetch.account.config import load

        configuration = load(self.config)
        for warning in configuration.warnings():
            self.console.notice(warning)
        return configuration

    def account(self) -> Account:
        """Return the account that is meant; raises ConfigurationError or UsageError."""
        return self.configuration().account(self.options, self.environment)

    def accounts(self) -> list[Account]:
        """Return all accounts that are meant: one, or under -A every one of the file."""
        if self.many is None:
            return [self.account()]
        configuration = self.configuration()
        return [
            configuration.account(replace(self.options, account=name), self.environment)
            for name in configuration.names()
        ]

    def state_folder(self) -> Path:
        """Return the folder of the records."""
        from pop3fetch.account.config import default_state_dir

        return self.state_dir or default_state_dir()


def server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the shared options; it gets them as an :class:`Invocation`."""
    return with_options(function, (*ACCOUNT_OPTIONS, *MANY_OPTIONS, *PLACE_OPTIONS, *VERBOSITY_OPTIONS))


def with_options(function: Callable[..., Any], options: tuple[Any, ...]) -> Callable[..., Any]:
    """Decorate a command with ``options``, gathered into the :class:`Invocation` it is called with."""

    @functools.wraps(function)
    def gathered(**parameters: Any) -> Any:
        context = click.get_current_context()
        mine = {name: parameters.pop(name) for name in names if name in parameters}
        return function(_invocation(context, mine), **parameters)

    decorated: Any = gathered
    for option in reversed(options):
        decorated = option(decorated)
    names = {parameter.name for parameter in decorated.__click_params__}
    names -= {parameter.name for parameter in getattr(function, "__click_params__", [])}
    return decorated  # type: ignore[no-any-return]


def _invocation(context: click.Context, given: dict[str, Any]) -> Invocation:
    console: Console = context.find_root().obj
    verbosity = -1 if given["quiet"] else given["verbose"]
    many = Many(given["jobs"], given["jobs_per_host"]) if given.get("all_accounts") else None
    return Invocation(
        console.with_verbosity(verbosity),
        _overrides(context, given, ParameterSource.COMMANDLINE),
        _overrides(context, given, ParameterSource.ENVIRONMENT),
        _path(given["config"]),
        _path(given["state_dir"]),
        many,
    )


def _overrides(context: click.Context, given: dict[str, Any], source: ParameterSource) -> Overrides:
    from pop3fetch.account.config import Overrides

    def was_given(name: str) -> bool:
        return name in given and context.get_parameter_source(name) is source

    values = {name: given[name] for name in OVERRIDES if was_given(name)}
    if was_given("ipv4") or was_given("ipv6"):
        if given["ipv4"] and given["ipv6"]:
            raise click.UsageError("-4 and -6 exclude each other", context)
        values["family"] = "ipv4" if given["ipv4"] else "ipv6"
    if was_given("no_pipelining"):
        values["pipelining"] = False
    return Overrides(**values)


def _path(value: str | None) -> Path | None:
    return Path(value).expanduser() if value else None
