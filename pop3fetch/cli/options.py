"""What several commands take: the options of an account, MESSAGES, --json, and the account they mean.

The command line wins over the environment, and the environment over the file. So both are
handed to ``account.config_file`` separately, and a value counts only if it was given.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pop3fetch.account.settings_table import (
    DAYS,
    DELIVERY,
    DESTINATION,
    FILE,
    OPTIONS,
    PROGRAM,
    SECURITY,
    SELECTION,
    SERVER,
)
from pop3fetch.cli.main import HELP, HELP_ALL
from pop3fetch.cli.screen.console import Console, output_errors
from pop3fetch.defaults import ACCOUNTS_AT_ONCE, ACCOUNTS_AT_ONCE_PER_HOST, did_you_mean
from pop3fetch.status import Status
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from click.shell_completion import CompletionItem

    from pop3fetch.account.config_file import Configuration, Overrides
    from pop3fetch.account.settings_table import Account
    from pop3fetch.cli.actions.many_accounts import Job, Many
    from pop3fetch.cli.log import Log
    from pop3fetch.delivery.opening import Openings
    from pop3fetch.errors import POP3Error
    from pop3fetch.filters import Filters
    from pop3fetch.message_words import Selector

Decorator = Callable[[Any], Any]

OWN = "Options"  # sections of --help, beside those of the settings
FILTERS = "Filters"
SEVERAL = "Several accounts"
GENERAL = "General"


class SectionOption(click.Option):
    """An option that --help-all shows under ``section``, and --help by its name only.

    ``setting``: the setting of an account that it gives; ``gives``: the value that a flag means.
    """

    def __init__(
        self,
        *declarations: Any,
        section: str,
        setting: str | None = None,
        gives: object = None,
        **rest: Any,
    ) -> None:
        super().__init__(*declarations, **rest)
        self.section = section
        self.setting = setting
        self.gives = gives


class SharedOption(SectionOption):
    """An option that goes into the :class:`Invocation`."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """Name the variable if its value is wrong."""
        if ctx and self.name and ctx.get_parameter_source(self.name) is ParameterSource.ENVIRONMENT:
            return str(self.envvar)
        return super().get_error_hint(ctx)


class Days(click.types.IntParamType):
    """A whole number of days."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or explain which one to write."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            digits = re.match("[0-9]+", value)
            advice = f"; write {digits[0]}" if digits else ""
            self.fail(f"{value!r} is not a valid day count{advice}", param, ctx)


class Word(click.types.StringParamType):
    """A TEXT, WHEN or SIZE, by its ``name``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what the word means, or explain what to write."""
        from pop3fetch import filters, quantities

        read = {"text": filters.text, "when": quantities.when, "size": quantities.size}[self.name]
        try:
            return read(value)
        except ValueError as error:
            raise click.UsageError(f"{param.opts[0] if param else self.name} {error}", ctx) from None


class FileName(click.types.StringParamType):
    """The name of a file or folder; what opens it explains why it cannot.

    click's own type looks for a translation at each start, which loads a table of all locales.
    """

    name = "path"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Let the shell complete it."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class Command(click.Command):
    """A command whose --help shows its own options first; ``epilog``: the lines of its examples."""

    def make_context(self, *arguments: Any, **settings: Any) -> click.Context:
        """Read the arguments; --help is printed here."""
        with output_errors():
            return super().make_context(*arguments, **settings)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from pop3fetch.cli.help import write_command

        write_command(ctx, formatter, shared=(SERVER, SECURITY, SEVERAL, GENERAL))


class Group(Command, click.Group):
    """A command that has commands of its own: options may come before or after their names."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Hand options that come before the name of a command on to it."""
        rest = click.Command.parse_args(self, ctx, list(args))
        before = args[: len(args) - len(rest)]
        return super().parse_args(ctx, [*rest[:1], *before, *rest[1:]] if rest else args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not ctx.resilient_parsing:
            raise click.UsageError(f"no such command: {args[0]}{did_you_mean(args[0], self.commands)}", ctx)
        return super().resolve_command(ctx, args)


def complete_name(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the accounts of the configuration file, or what follows @: its destinations."""
    from pop3fetch.account.config_file import load
    from pop3fetch.errors import POP3Error

    try:
        configuration = load(_path(ctx.params.get("config")))
    except POP3Error:
        return []
    is_account = parameter.name == "account"
    names = configuration.names() if is_account else [f"@{name}" for name in configuration.destinations]
    return [name for name in names if name.startswith(incomplete)]


def _complete(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem] | list[str]:
    from pop3fetch.cli.completion import complete_destination, complete_program

    if parameter.name != "output":
        return complete_program(incomplete)
    is_name = incomplete.startswith("@")
    return complete_name(ctx, parameter, incomplete) if is_name else complete_destination(incomplete)


section_option = functools.partial(click.option, cls=SectionOption)
shared_option = functools.partial(click.option, cls=SharedOption)


def setting_options(section: str, command: Any) -> Any:
    """Give a command the options of the settings in a ``section``, in the table's order."""
    kinds: dict[object, Any] = {FILE: FileName(), DESTINATION: str, PROGRAM: str, DAYS: Days()}
    for setting, option in reversed(OPTIONS):
        if option.section != section:
            continue
        words, takes = option.usage.split(), option.takes
        decorate = shared_option(
            *(word for word in words if word.startswith("-")),
            setting if option.gives is None else f"{setting}_{option.gives}",
            section=OWN if section in (DELIVERY, SELECTION) else section,
            setting=setting,
            gives=option.gives,
            metavar=None if takes is bool else words[-1],
            is_flag=takes is bool or None,  # False would make the value optional
            multiple=option.several,
            type=click.Choice(takes) if isinstance(takes, tuple) else kinds.get(takes, takes),
            envvar=f"POP3FETCH_{setting.upper()}" if option.variable else None,
            shell_complete=_complete if takes in (DESTINATION, PROGRAM) else None,
            help=option.help,
        )
        command = decorate(command)
    return command


SERVER_OPTIONS = (
    shared_option("-a", "--account", section=SERVER, setting="account", metavar="NAME|URL",
                  envvar="POP3FETCH_ACCOUNT", shell_complete=complete_name,
                  help="An account's name, or pop3s://user@host[:port]."),
    functools.partial(setting_options, SERVER),
    functools.partial(setting_options, SECURITY),
)  # fmt: skip
SEVERAL_OPTIONS = (
    shared_option("-A", "--all-accounts", section=SEVERAL, is_flag=True,
                  help="Use every account of the configuration file."),
    shared_option("--jobs", section=SEVERAL, type=int, metavar="N", default=ACCOUNTS_AT_ONCE,
                  help=f"Accounts to process in parallel (default: {ACCOUNTS_AT_ONCE})."),
    shared_option("--jobs-per-host", section=SEVERAL, type=int, metavar="N",
                  default=ACCOUNTS_AT_ONCE_PER_HOST,
                  help=f"The same, for accounts on one server (default: {ACCOUNTS_AT_ONCE_PER_HOST})."),
)  # fmt: skip
GENERAL_OPTIONS = (
    shared_option("-c", "--config", section=GENERAL, type=FileName(), metavar="FILE",
                  envvar="POP3FETCH_CONFIG",
                  help="The configuration file."),
    shared_option("--state-dir", section=GENERAL, type=FileName(), metavar="DIR",
                  envvar="POP3FETCH_STATE_DIR",
                  help="The folder of the records."),
    shared_option("-q", "--quiet", section=GENERAL, is_flag=True, help="Print less on standard error."),
    shared_option("-v", "--verbose", section=GENERAL, count=True,
                  help="Print more; -vv shows the protocol, secrets masked."),
)  # fmt: skip
FILTER_OPTIONS = (
    shared_option("--from", "sender", section=FILTERS, type=Word("text"),
                  help="Only messages whose sender contains TEXT, in any case."),
    shared_option("--to", section=FILTERS, type=Word("text"),
                  help="Only messages whose recipients contain TEXT."),
    shared_option("--subject", section=FILTERS, type=Word("text"),
                  help="Only messages whose subject contains TEXT."),
    shared_option("--since", section=FILTERS, type=Word("when"),
                  help="Only messages dated WHEN or later: 2026-11-01, 2026-11-01T12:00, 12h, 7d, 4w."),
    shared_option("--before", section=FILTERS, type=Word("when"),
                  help="Only messages dated before WHEN."),
    shared_option("--larger", section=FILTERS, type=Word("size"),
                  help="Only messages larger than SIZE: 500000, 64K, 10M."),
    shared_option("--smaller", section=FILTERS, type=Word("size"),
                  help="Only messages smaller than SIZE."),
)  # fmt: skip
FILTER_NAMES = ("sender", "to", "subject", "since", "before", "larger", "smaller")
JSON_OPTION = click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
MESSAGES_ARGUMENT = click.argument("messages", nargs=-1, metavar="[MESSAGES]...")
STDIN_OPTION = click.option(
    "--stdin", "from_stdin", is_flag=True, help="Read MESSAGES from standard input, one per line."
)
# Of standard input: as many messages as a listing may have, with unique-ids longer than they should be.
LINES_LIMIT, OCTETS_LIMIT = 1_000_000, 64 * 1024 * 1024

NO_FOLDER = "/proc/no-home/pop3fetch"  # which neither exists nor can be made


class Invocation(NamedTuple):
    """One command line: the account, the folders, the verbosity, and the filters."""

    console: Console
    options: Overrides
    environment: Overrides
    config: Path | None
    state_dir: Path | None
    many: Many | None = None
    filters: Filters | None = None  # None unless there is one
    open_log: Callable[[str], Log] | None = None  # if the configuration file may name one

    def configuration(self) -> Configuration:
        """Read the configuration file; raises ConfigurationError."""
        from pop3fetch.account.config_file import load

        configuration = load(self.config)
        for warning in configuration.warnings():
            self.console.notice(warning)
        if self.open_log and self.console.log is None and (log_file := configuration.log_file()):
            self.console.log = self.open_log(log_file)
        return configuration

    def account(self) -> Account:
        """Return the account that is meant; raises ConfigurationError or UsageError."""
        from pathlib import Path

        from pop3fetch.account.config_file import Configuration, needs_file

        # A run whose server is on the command line does not read a file that has nothing for it.
        read = self.config is not None or needs_file(self.options, self.environment)
        configuration = self.configuration() if read else Configuration(Path())
        return configuration.account(self.options, self.environment)

    def accounts(
        self, configuration: Configuration, wrong: Callable[[str, POP3Error], None]
    ) -> list[Account]:
        """Return all accounts of the file; ``wrong`` gets the name and the error of each invalid one.

        Raises UsageError.
        """
        from pop3fetch.account.config_file import Overrides
        from pop3fetch.errors import ConfigurationError

        # -A is an option, and wins over the variables that choose an account.
        environment = self.environment.without("account", "host", "port", "user")
        accounts = []
        for name in configuration.names():
            try:
                options = Overrides(self.options, account=name)
                accounts.append(configuration.account(options, environment))
            except ConfigurationError as error:
                wrong(name, error)
        return accounts

    def one_by_one(self) -> Invocation:
        """Return the same with one account at a time: a person can answer only one question at a time."""
        return self._replace(many=self.many._replace(jobs=1)) if self.many else self

    def for_each_account(
        self,
        job: Job,
        openings: Openings | None = None,
        *,
        as_json: bool = False,
        is_get: bool = False,
        logs_in: bool = True,
        at_end: Callable[[int, Sequence[str]], None] = lambda accounts, failed: None,
    ) -> int:
        """Do ``job`` for the account that is meant, or for all of them; return the exit status.

        ``openings``: the destinations that the job delivers to, which an interrupt must reach. ``as_json``:
        an object for each account that fails. ``is_get``: it fetches. ``at_end`` gets how
        many accounts there were, and the names of those that failed; all this only if there are several.
        """
        if self.many is None:
            return job(self.account(), self.console)
        from pop3fetch.cli.actions.many_accounts import ManyAccounts

        many = ManyAccounts(self.console, self.many, job, openings, as_json=as_json, is_get=is_get)
        accounts = self.chosen_accounts(many.fail, logs_in=logs_in)
        invalid = len(many.failed)
        status = many.run(accounts)
        at_end(len(accounts) + invalid, many.failed)
        return status

    def chosen_accounts(
        self, wrong: Callable[[str, POP3Error], None], *, logs_in: bool = True
    ) -> list[Account]:
        """Return the account that is meant, or all of them; ``wrong`` gets each invalid one and its error.

        Raises ConfigurationError and UsageError.
        """
        if self.many is None:
            return [self.account()]
        from pop3fetch.errors import ConfigurationError

        configuration = self.configuration()
        if not configuration.names():
            raise ConfigurationError(
                str(configuration.path), "it has no accounts; `pop3fetch login ADDRESS` adds one"
            )
        if logs_in:
            self._refuse_to_share_secrets(configuration.servers())
        return self.accounts(configuration, wrong)

    def _refuse_to_share_secrets(self, servers: Collection[str]) -> None:
        """Raise UsageError if one secret would go to several servers: it was meant for only one."""
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
                f"{source} would give one password to {len(servers)} servers; give each account its own "
                "with `pop3fetch login`, password_command, password_file or ~/.netrc"
            )

    def state_folder(self) -> Path:
        """Return the folder of the records; raises ConfigurationError if there is none."""
        from pop3fetch.record.place import default_state_folder

        return self.state_dir or default_state_folder()

    def state_folder_to_read(self) -> Path:
        """Return the folder of the records, or one that does not exist if the user has no home folder."""
        from pop3fetch.errors import ConfigurationError

        try:
            return self.state_folder()
        except ConfigurationError:
            from pathlib import Path

            return Path(NO_FOLDER)


def with_options(command: Callable[..., Any], options: tuple[Decorator, ...]) -> Callable[..., Any]:
    """Give a command ``options``; it gets those that are shared as an :class:`Invocation`."""

    @functools.wraps(command)
    def gathered(**given: Any) -> Any:
        context = click.get_current_context()
        console: Console = context.find_root().obj
        console.verbosity = -1 if given["quiet"] else given["verbose"]
        filters = None
        if {*map(given.get, FILTER_NAMES)} != {None}:
            from pop3fetch.filters import Filters

            filters = Filters(**{name: given[name] for name in FILTER_NAMES})
        invocation = Invocation(
            console,
            _overrides(context, ParameterSource.COMMANDLINE),
            _overrides(context, ParameterSource.ENVIRONMENT),
            _path(given["config"]),
            _path(given["state_dir"]),
            _many(context) if given.get("all_accounts") else None,
            filters,
        )
        shared = {option.name for option in context.command.params if isinstance(option, SharedOption)}
        return command(invocation, **{name: value for name, value in given.items() if name not in shared})

    decorated: Any = gathered
    for option in reversed((*options, HELP_ALL, HELP)):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]


# Of every command that talks to a server.
server_options = functools.partial(
    with_options, options=(*SERVER_OPTIONS, *SEVERAL_OPTIONS, *GENERAL_OPTIONS)
)
# Of those that work on chosen messages.
message_options = functools.partial(
    with_options, options=(*FILTER_OPTIONS, *SERVER_OPTIONS, *SEVERAL_OPTIONS, *GENERAL_OPTIONS)
)


def _many(context: click.Context) -> Many:
    from pop3fetch.cli.actions.many_accounts import Many

    for name in ("account", "host", "port", "user"):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--all-accounts and --{name} are mutually exclusive", context)
    many = Many(context.params["jobs"], context.params["jobs_per_host"])
    if min(many) < 1:
        raise click.UsageError("--jobs and --jobs-per-host must be at least 1", context)
    return many


def _overrides(context: click.Context, source: ParameterSource) -> Overrides:
    """Return the settings from the command line, or the environment; raises click.UsageError."""
    from pop3fetch.account.config_file import Overrides

    values = Overrides()
    names: dict[str, str] = {}
    for option in context.command.params:
        if not isinstance(option, SharedOption) or option.setting is None or option.name is None:
            continue
        if context.get_parameter_source(option.name) is source:
            other = names.setdefault(option.setting, option.opts[0])
            if other != option.opts[0]:
                raise click.UsageError(f"{other} and {option.opts[0]} are mutually exclusive", context)
            values[option.setting] = context.params[option.name] if option.gives is None else option.gives
    if source is ParameterSource.COMMANDLINE and {"password_file", "password_command"} <= values.keys():
        raise click.UsageError("--password-file and --password-command are mutually exclusive", context)
    return values


def _path(value: str | None) -> Path | None:
    from pathlib import Path

    return Path(os.path.expanduser(value)) if value else None


def selectors_of(words: Sequence[str], *, from_stdin: bool) -> tuple[Selector, ...]:
    """Return what MESSAGES selects, with the lines of standard input if ``from_stdin``.

    Raises UsageError. Ends the command if no message is named on standard input: that must not mean
    all messages.
    """
    given = list(words)
    if from_stdin:
        # Octets as the command line would bring them: a unique-id may contain any.
        octets = sys.stdin.buffer.read(OCTETS_LIMIT + 1) if sys.stdin else b""
        if len(octets) > OCTETS_LIMIT or octets.count(b"\n") > LINES_LIMIT:
            from pop3fetch.errors import UsageError

            raise UsageError(
                f"standard input is not a list of messages: it has more than {LINES_LIMIT} lines"
                f" or {OCTETS_LIMIT >> 20} MiB"
            )
        given += [os.fsdecode(line.strip()) for line in octets.split(b"\n") if line.strip()]
        if not given:
            raise click.exceptions.Exit(Status.OK)
    if not given:
        return ()
    from pop3fetch.message_words import parse

    return parse(given)
