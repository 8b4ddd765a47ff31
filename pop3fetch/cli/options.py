"""The options that every command with a server shares, and what they come to: an account.

The command line wins over the environment, and the environment over the file; so both are
handed to ``account.config`` apart, and a value counts only where somebody gave it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click
from click.core import ParameterSource

from pop3fetch.choices import AUTH_METHODS, TLS_MODES
from pop3fetch.cli.screen.console import Console, output_errors

if TYPE_CHECKING:
    from pop3fetch.account.config import Account, Configuration, Overrides
    from pop3fetch.errors import POP3Error

Function = TypeVar("Function", bound=Callable[..., Any])

OWN = "Options"
SERVER = "The account and its server"
SECURITY = "TLS and login"
SEVERAL = "Several accounts"
GENERAL = "General"


class SharedOption(click.Option):
    """An option that several commands have; --help shows it under ``section``."""

    def __init__(self, *declarations: Any, section: str = OWN, **settings: Any) -> None:
        super().__init__(*declarations, **settings)
        self.section = section

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Name the variable where that is what is wrong."""
        if ctx and self.name and ctx.get_parameter_source(self.name) is ParameterSource.ENVIRONMENT:
            return str(self.envvar)
        return super().get_error_hint(ctx)


class Command(click.Command):
    """A command whose --help shows its own options first, and the shared ones in sections."""

    def make_context(self, *arguments: Any, **settings: Any) -> click.Context:
        """Read the arguments; --help is printed here."""
        with output_errors():
            return super().make_context(*arguments, **settings)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                sections.setdefault(_section_of(parameter), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _section_of(parameter: click.Parameter) -> str:
    if isinstance(parameter, SharedOption):
        return parameter.section
    return GENERAL if parameter.is_eager else OWN  # --help is, and nothing else


def _option(*names: str, variable: str | None = None, **settings: Any) -> Callable[[str], Any]:
    envvar = f"POP3FETCH_{variable}" if variable else None
    return lambda section: click.option(*names, cls=SharedOption, section=section, envvar=envvar, **settings)


def _section(title: str, *options: Callable[[str], Any]) -> tuple[Any, ...]:
    return tuple(option(title) for option in options)


def _complete_account(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from pop3fetch.account.config import load
    from pop3fetch.errors import POP3Error

    try:
        names = load(_path(ctx.params.get("config"))).names()
    except POP3Error:
        return []
    return [name for name in names if name.startswith(incomplete)]


SERVER_OPTIONS = _section(
    SERVER,
    _option("-a", "--account", metavar="NAME|URL", variable="ACCOUNT", shell_complete=_complete_account,
            help="An account of the configuration file, or pop3s://user@host[:port]."),
    _option("-H", "--host", metavar="HOST", variable="HOST", help="The server."),
    _option("-p", "--port", type=int, metavar="PORT", variable="PORT",
            help="Its port: 995 with --tls implicit, else 110."),
    _option("-u", "--user", metavar="USER", variable="USER", help="The user name."),
    _option("--password-file", type=click.Path(), metavar="FILE", variable="PASSWORD_FILE",
            help="The first line of FILE is the password; others must not be able to read it."),
    _option("--password-command", metavar="CMD", variable="PASSWORD_COMMAND",
            help="The first line that CMD prints is the password, or the access token."),
    _option("--timeout", type=float, metavar="SECONDS", variable="TIMEOUT",
            help="How long to wait for the server: 60; 0 waits for ever."),
    _option("-4", "ipv4", is_flag=True, help="Only IPv4."),
    _option("-6", "ipv6", is_flag=True, help="Only IPv6."),
    _option("--proxy", metavar="URL", variable="PROXY",
            help="Connect through a proxy: socks5://… or http://…"),
    _option("--no-pipelining", is_flag=True, help="Send one command at a time."),
    _option("--utf8", is_flag=True, variable="UTF8",
            help="Say UTF8 before the login (RFC 6856): some servers rewrite 8-bit messages otherwise."),
)  # fmt: skip
SECURITY_OPTIONS = _section(
    SECURITY,
    _option("--tls", type=click.Choice(TLS_MODES), variable="TLS", metavar="MODE",
            help="implicit, auto, starttls or off. The default is implicit, and auto where the port is 110 "
                 "or the URL begins with pop3:."),
    _option("--auth", type=click.Choice(AUTH_METHODS), variable="AUTH", metavar="METHOD",
            help=f"Force one login method: {', '.join(AUTH_METHODS[1:])}."),
    _option("--allow-insecure-login", is_flag=True, variable="ALLOW_INSECURE_LOGIN",
            help="Let the password cross the network in clear text."),
    _option("--ca-file", type=click.Path(), metavar="FILE", variable="CA_FILE",
            help="Trust these certificate authorities instead of the system's."),
    _option("--tls-fingerprint", metavar="SHA256", variable="TLS_FINGERPRINT",
            help="Trust exactly this server certificate."),
    _option("--client-cert", type=click.Path(), metavar="FILE", variable="CLIENT_CERT",
            help="Present this certificate."),
    _option("--client-key", type=click.Path(), metavar="FILE", variable="CLIENT_KEY",
            help="Its key, where that is in a file of its own."),
)  # fmt: skip
SEVERAL_OPTIONS = _section(
    SEVERAL,
    _option("-A", "--all-accounts", is_flag=True, help="Work on every account of the configuration file."),
    _option("--jobs", type=int, metavar="N", default=8, help="On so many at once: 8."),
    _option("--jobs-per-host", type=int, metavar="N", default=4, help="On so many at once on one server: 4."),
)
GENERAL_OPTIONS = _section(
    GENERAL,
    _option("-c", "--config", type=click.Path(), metavar="FILE", variable="CONFIG",
            help="The configuration file instead of the platform's own place."),
    _option("--state-dir", type=click.Path(), metavar="DIR", variable="STATE_DIR",
            help="Where the records are kept, instead of the platform's own place."),
    _option("-q", "--quiet", is_flag=True, help="Say less on standard error."),
    _option("-v", "--verbose", count=True, help="Say more; -vv shows the protocol, secrets blotted out."),
)  # fmt: skip
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
STDIN_OPTION = click.option(
    "--stdin", "from_stdin", is_flag=True, help="Read MESSAGES from standard input, one a line."
)
OVERRIDES = (
    "account", "host", "port", "user", "tls", "auth", "allow_insecure_login", "ca_file", "tls_fingerprint",
    "client_cert", "client_key", "password_file", "password_command", "timeout", "utf8", "proxy",
)  # fmt: skip


NO_FOLDER = Path("/proc/no-home/pop3fetch")  # which neither exists nor can be made


class Many(NamedTuple):
    """How accounts are worked on under -A."""

    jobs: int
    jobs_per_host: int


class Invocation(NamedTuple):
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
        from pop3fetch.account.config import Configuration, needs_file

        # A run whose server is on the command line does not wait for a file that says nothing of it.
        read = self.config is not None or needs_file(self.options, self.environment)
        configuration = self.configuration() if read else Configuration(Path())
        return configuration.account(self.options, self.environment)

    def accounts(
        self, configuration: Configuration, wrong: Callable[[str, POP3Error], None]
    ) -> list[Account]:
        """Return all accounts of the file; the ``wrong`` ones are handed over, by name, with their error.

        Raises UsageError.
        """
        from pop3fetch.errors import ConfigurationError

        # -A is an option, and wins over the variables that say which account is meant.
        environment = self.environment._replace(account=None, host=None, port=None, user=None)
        accounts = []
        for name in configuration.names():
            try:
                accounts.append(configuration.account(self.options._replace(account=name), environment))
            except ConfigurationError as error:
                wrong(name, error)
        return accounts

    def refuse_to_share_secrets(self, servers: Collection[str]) -> None:
        """Raise UsageError where one secret would go to several servers: it was meant for one of them."""
        from pop3fetch.account.credentials import VARIABLE
        from pop3fetch.errors import UsageError

        sources = {
            VARIABLE: os.environ.get(VARIABLE),
            "POP3FETCH_PASSWORD_FILE": self.environment.password_file,
            "POP3FETCH_PASSWORD_COMMAND": self.environment.password_command,
            "--password-file": self.options.password_file,
            "--password-command": self.options.password_command,
        }
        for source in (name for name, given in sources.items() if given and len(servers) > 1):
            raise UsageError(
                f"{source} would give one password to {len(servers)} servers: let each account have its "
                "own, by password_file, password_command, `pop3fetch login` or ~/.netrc"
            )

    def state_folder(self) -> Path:
        """Return the folder of the records; raises ConfigurationError if there is none."""
        from pop3fetch.account.config import default_state_dir

        return self.state_dir or default_state_dir()

    def state_folder_to_read(self) -> Path:
        """Return the folder of the records for what needs none: a user without a home has no record."""
        from pop3fetch.errors import ConfigurationError

        try:
            return self.state_folder()
        except ConfigurationError:
            return NO_FOLDER


def server_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the shared options; it gets them as an :class:`Invocation`."""
    return with_options(function, (*SERVER_OPTIONS, *SECURITY_OPTIONS, *SEVERAL_OPTIONS, *GENERAL_OPTIONS))


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
    console.verbosity = -1 if given["quiet"] else given["verbose"]
    return Invocation(
        console,
        _overrides(context, given, ParameterSource.COMMANDLINE),
        _overrides(context, given, ParameterSource.ENVIRONMENT),
        _path(given["config"]),
        _path(given["state_dir"]),
        _many(context, given) if given.get("all_accounts") else None,
    )


def _many(context: click.Context, given: dict[str, Any]) -> Many:
    for name in ("account", "host", "port", "user"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--all-accounts and --{name} exclude each other", context)
    if min(given["jobs"], given["jobs_per_host"]) < 1:
        raise click.UsageError("--jobs and --jobs-per-host must be at least 1", context)
    return Many(given["jobs"], given["jobs_per_host"])


def _overrides(context: click.Context, given: dict[str, Any], source: ParameterSource) -> Overrides:
    from pop3fetch.account.config import Overrides

    def was_given(name: str) -> bool:
        return name in given and context.get_parameter_source(name) is source

    values = {name: given[name] for name in OVERRIDES if was_given(name)}
    if source is ParameterSource.COMMANDLINE and {"password_file", "password_command"} <= values.keys():
        raise click.UsageError("--password-file and --password-command are mutually exclusive", context)
    if was_given("ipv4") or was_given("ipv6"):
        if given["ipv4"] and given["ipv6"]:
            raise click.UsageError("-4 and -6 exclude each other", context)
        values["family"] = "ipv4" if given["ipv4"] else "ipv6"
    if was_given("no_pipelining"):
        values["pipelining"] = False
    return Overrides(**values)


def _path(value: str | None) -> Path | None:
    return Path(os.path.expanduser(value)) if value else None
