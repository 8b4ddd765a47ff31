"""The options that every command with a server shares, and what they come to: an account.

The command line wins over the environment, and the environment over the file; so both are
handed to ``account.config`` apart, and a value counts only if it was given.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from pop3fetch.account.settings import (
    DELIVERY,
    FILE,
    FOLDER,
    OPTIONS,
    SECURITY,
    SELECTION,
    SERVER,
    Option,
)
from pop3fetch.cli.screen.console import Console, output_errors

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from pop3fetch.account.config import Configuration, Overrides
    from pop3fetch.account.settings import Account
    from pop3fetch.errors import POP3Error

Decorator = Callable[[Any], Any]

OWN = "Options"  # sections of --help, beside those of the settings
SEVERAL = "Several accounts"
GENERAL = "General"


class SharedOption(click.Option):
    """An option that goes into the :class:`Invocation`; --help shows it under ``section``.

    ``setting``: the name of what it gives of the account; ``gives``: the value, if it is a flag for one.
    """

    def __init__(
        self, *declarations: Any, section: str, setting: str | None = None, gives: object = None, **rest: Any
    ) -> None:
        super().__init__(*declarations, **rest)
        self.section = section
        self.setting = setting
        self.gives = gives

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Name the variable if that is what is wrong."""
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


def _complete_account(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from pop3fetch.account.config import load
    from pop3fetch.errors import POP3Error

    try:
        names = load(_path(ctx.params.get("config"))).names()
    except POP3Error:
        return []
    return [name for name in names if name.startswith(incomplete)]


def _complete_folder(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type=FOLDER)]


shared_option = functools.partial(click.option, cls=SharedOption)


def setting_options(section: str) -> Decorator:
    """Return what gives a command the options of the settings in a ``section``, in the table's order."""

    def decorate(command: Any) -> Any:
        for setting, option in reversed(OPTIONS):
            if option.section == section:
                command = _option(setting, option)(command)
        return command

    return decorate


def _option(setting: str, option: Option) -> Decorator:
    words, takes = option.usage.split(), option.takes
    names = [word for word in words if word.startswith("-")]
    kinds: dict[object, Any] = {FILE: click.Path(), FOLDER: str}
    kind = click.Choice(takes) if isinstance(takes, tuple) else kinds.get(takes, takes)
    return shared_option(
        *names,
        setting if option.gives is None else f"{setting}_{option.gives}",
        section=OWN if option.section in (DELIVERY, SELECTION) else option.section,
        setting=setting,
        gives=option.gives,
        metavar=None if takes is bool else words[-1],
        is_flag=takes is bool,
        type=kind,
        envvar=f"POP3FETCH_{setting.upper()}" if option.variable else None,
        shell_complete=_complete_folder if takes == FOLDER else None,
        help=option.help,
    )


SERVER_OPTIONS = (
    shared_option("-a", "--account", section=SERVER, setting="account", metavar="NAME|URL",
                  envvar="POP3FETCH_ACCOUNT", shell_complete=_complete_account,
                  help="An account of the configuration file, or pop3s://user@host[:port]."),
    setting_options(SERVER),
    setting_options(SECURITY),
)  # fmt: skip
SEVERAL_OPTIONS = (
    shared_option("-A", "--all-accounts", section=SEVERAL, is_flag=True,
                  help="Work on every account of the configuration file."),
    shared_option("--jobs", section=SEVERAL, type=int, metavar="N", default=8, help="On so many at once: 8."),
    shared_option("--jobs-per-host", section=SEVERAL, type=int, metavar="N", default=4,
                  help="On so many at once on one server: 4."),
)  # fmt: skip
GENERAL_OPTIONS = (
    shared_option("-c", "--config", section=GENERAL, type=click.Path(), metavar="FILE",
                  envvar="POP3FETCH_CONFIG",
                  help="The configuration file instead of the platform's own place."),
    shared_option("--state-dir", section=GENERAL, type=click.Path(), metavar="DIR",
                  envvar="POP3FETCH_STATE_DIR",
                  help="Where the records are kept, instead of the platform's own place."),
    shared_option("-q", "--quiet", section=GENERAL, is_flag=True, help="Say less on standard error."),
    shared_option("-v", "--verbose", section=GENERAL, count=True,
                  help="Say more; -vv shows the protocol, secrets blotted out."),
)  # fmt: skip
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
STDIN_OPTION = click.option(
    "--stdin", "from_stdin", is_flag=True, help="Read MESSAGES from standard input, one a line."
)


NO_FOLDER = Path("/proc/no-home/pop3fetch")  # which neither exists nor can be made


class Many(NamedTuple):
    """How accounts are worked on under -A."""

    jobs: int
    jobs_per_host: int


class Invocation(NamedTuple):
    """One command line: the account, the folders, and the verbosity."""

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
        from pop3fetch.account.config import Overrides
        from pop3fetch.errors import ConfigurationError

        # -A is an option, and wins over the variables that say which account is meant.
        environment = self.environment.without("account", "host", "port", "user")
        accounts = []
        for name in configuration.names():
            try:
                options = Overrides(self.options, account=name)
                accounts.append(configuration.account(options, environment))
            except ConfigurationError as error:
                wrong(name, error)
        return accounts

    def refuse_to_share_secrets(self, servers: Collection[str]) -> None:
        """Raise UsageError if one secret would go to several servers: it was meant for one of them."""
        from pop3fetch.account.credentials import VARIABLE
        from pop3fetch.errors import UsageError

        sources = {
            VARIABLE: os.environ.get(VARIABLE),
            "POP3FETCH_PASSWORD_FILE": self.environment.get("password_file"),
            "POP3FETCH_PASSWORD_COMMAND": self.environment.get("password_command"),
            "--password-file": self.options.get("password_file"),
            "--password-command": self.options.get("password_command"),
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


def with_options(command: Callable[..., Any], options: tuple[Decorator, ...]) -> Callable[..., Any]:
    """Give a command ``options``; it gets those that are shared as an :class:`Invocation`."""

    @functools.wraps(command)
    def gathered(**parameters: Any) -> Any:
        context = click.get_current_context()
        shared = {option.name for option in context.command.params if isinstance(option, SharedOption)}
        own = {name: value for name, value in parameters.items() if name not in shared}
        return command(_invocation(context), **own)

    decorated: Any = gathered
    for option in reversed(options):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


# Of every command that talks to a server.
server_options = functools.partial(
    with_options, options=(*SERVER_OPTIONS, *SEVERAL_OPTIONS, *GENERAL_OPTIONS)
)


def _invocation(context: click.Context) -> Invocation:
    given = context.params
    console: Console = context.find_root().obj
    console.verbosity = -1 if given["quiet"] else given["verbose"]
    return Invocation(
        console,
        _overrides(context, ParameterSource.COMMANDLINE),
        _overrides(context, ParameterSource.ENVIRONMENT),
        _path(given["config"]),
        _path(given["state_dir"]),
        _many(context) if given.get("all_accounts") else None,
    )


def _many(context: click.Context) -> Many:
    for name in ("account", "host", "port", "user"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--all-accounts and --{name} exclude each other", context)
    many = Many(context.params["jobs"], context.params["jobs_per_host"])
    if min(many) < 1:
        raise click.UsageError("--jobs and --jobs-per-host must be at least 1", context)
    return many


def _overrides(context: click.Context, source: ParameterSource) -> Overrides:
    """Return what the command line, or the environment, gives of the account; raises click.UsageError."""
    from pop3fetch.account.config import Overrides

    values = Overrides()
    names: dict[str, str] = {}
    for option in context.command.params:
        if not isinstance(option, SharedOption) or option.setting is None or option.name is None:
            continue
        if context.get_parameter_source(option.name) is source:
            other = names.setdefault(option.setting, option.opts[0])
            if other != option.opts[0]:
                raise click.UsageError(f"{other} and {option.opts[0]} exclude each other", context)
            values[option.setting] = context.params[option.name] if option.gives is None else option.gives
    if source is ParameterSource.COMMANDLINE and {"password_file", "password_command"} <= values.keys():
        raise click.UsageError("--password-file and --password-command are mutually exclusive", context)
    return values


def _path(value: str | None) -> Path | None:
    return Path(os.path.expanduser(value)) if value else None
