"""`pop3fetch get`."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from typing import Any

import click

from pop3fetch.account.config import Account
from pop3fetch.account.credentials import without_password
from pop3fetch.cli.console import Console
from pop3fetch.cli.options import JSON_OPTION, STDIN_OPTION, Invocation, server_options
from pop3fetch.cli.progress import RunReporter
from pop3fetch.cli.selection import messages_argument, selectors_of
from pop3fetch.cli.session import Sessions
from pop3fetch.cli.work import for_each_account
from pop3fetch.delivery.choice import Choice, parse
from pop3fetch.delivery.destination import Destination
from pop3fetch.errors import UsageError
from pop3fetch.fetch import Fetch, Outcome, Surroundings
from pop3fetch.plan import Order
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.store import Store

DEFAULT_OUTPUT = "maildir:~/Maildir"


class Octets(click.ParamType):  # type: ignore[type-arg]
    """A number of octets such as 500000, 64K or 10M."""

    name = "octets"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from pop3fetch.account.keys import octets

        try:
            return octets(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True, slots=True)
class Wishes:
    """The options of `get`; None where an account's own setting counts."""

    output: str | None
    exec: str | None
    exec_timeout: float | None
    crlf: bool
    lines: int | None
    all: bool
    mark: bool
    delete: bool | None
    delete_after: int | None
    limit: int | None
    max_size: int | None
    dry_run: bool


@click.command("get")
@messages_argument
@click.option("-o", "--output", metavar="DEST", help="maildir:DIR, mbox:FILE, - or mbox:- (standard output).")
@click.option("--exec", metavar="CMD", help="Give each message to the standard input of CMD.")
@click.option(
    "--exec-timeout", type=click.FloatRange(0), metavar="SECONDS", help="How long CMD may take: 600."
)
@click.option("--crlf", is_flag=True, help="Keep CRLF; else line ends become LF.")
@click.option("--lines", type=click.IntRange(0), metavar="N", help="Only headers and N lines (with -o -).")
@click.option("--all", is_flag=True, help="Every message, fetched before or not.")
@click.option("--mark", is_flag=True, help="Record the messages as fetched without fetching them.")
@click.option("--delete/--keep", default=None, help="Delete what is delivered from the server, or keep it.")
@click.option(
    "--delete-after", type=click.IntRange(0), metavar="DAYS", help="Delete what was fetched so long ago."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N messages.")
@click.option("--max-size", type=Octets(), metavar="OCTETS", help="Leave larger messages: 500000, 10M.")
@click.option("--dry-run", is_flag=True, help="Name what would be done.")
@STDIN_OPTION
@JSON_OPTION
@server_options
def command(
    invocation: Invocation, messages: tuple[str, ...], from_stdin: bool, as_json: bool, **options: Any
) -> int:
    """Fetch every new message, or exactly MESSAGES, each exactly once.

    MESSAGES are numbers, ranges and unique-ids: 3, 2-5, 7-, last, uid:XYZ. Without an output
    they go to the account's, or to ~/Maildir.
    """
    wishes = Wishes(**options)
    order = Order(
        selectors=selectors_of(messages, from_stdin=from_stdin),
        everything=wishes.all,
        crlf=wishes.crlf,
        mark=wishes.mark,
        dry_run=wishes.dry_run,
    )
    _refuse_contradictions(wishes, order)

    def job(account: Account, console: Console) -> int:
        return Run(invocation, _with_wishes(account, wishes), console, order).run(wishes, as_json=as_json)

    return for_each_account(invocation, job)


def _refuse_contradictions(wishes: Wishes, order: Order) -> None:
    if wishes.output is not None and wishes.exec is not None:
        raise UsageError("--output and --exec exclude each other")
    if wishes.all and order.selectors:
        raise UsageError("--all and MESSAGES exclude each other")
    if wishes.lines is not None and wishes.output not in ("-",):
        raise UsageError("--lines needs --output -")
    if wishes.mark and (wishes.output or wishes.exec or wishes.delete):
        raise UsageError(
            "--mark fetches and deletes nothing: --output, --exec and --delete do not go with it"
        )
    if _is_look(wishes, order) and (wishes.delete or wishes.delete_after is not None):
        raise UsageError(
            "messages that are only looked at (-o - MESSAGES) are not deleted; see `pop3fetch rm`"
        )


def _is_look(wishes: Wishes, order: Order) -> bool:
    """Whether nothing is recorded: --lines, or chosen messages to standard output."""
    return wishes.lines is not None or (wishes.output == "-" and bool(order.selectors))


def _with_wishes(account: Account, wishes: Wishes) -> Account:
    """Return the account with the options of this command line before its own settings."""
    changes: dict[str, Any] = {
        name: getattr(wishes, name)
        for name in ("exec_timeout", "limit", "max_size")
        if getattr(wishes, name) is not None
    }
    if wishes.output is not None:
        changes |= {"output": wishes.output, "exec": None}
    if wishes.exec is not None:
        changes |= {"output": None, "exec": tuple(shlex.split(wishes.exec))}
    if wishes.delete is not None or wishes.delete_after is not None:
        changes |= {"delete": bool(wishes.delete), "delete_after": wishes.delete_after}
    return replace(account, **changes)


class Run:
    """`get` for one account."""

    def __init__(self, invocation: Invocation, account: Account, console: Console, order: Order) -> None:
        self._account = account
        self._console = console
        self._place = RecordPlace(invocation.state_folder(), account.address)
        self._sessions = Sessions(account, console)
        self._order = replace(
            order,
            limit=account.limit,
            max_size=account.max_size,
            crlf=order.crlf or account.crlf,
            delete=bool(account.delete),
            delete_after=account.delete_after,
        )

    def run(self, wishes: Wishes, *, as_json: bool) -> int:
        """Run; returns the exit status, raises what ended the run early."""
        choice = None if self._account.exec else parse(self._account.output or DEFAULT_OUTPUT)
        reporter = RunReporter(self._console, as_json=as_json and not (choice and choice.is_stream))
        try:
            if _is_look(wishes, self._order):
                return self._look(wishes.lines, reporter)
            return self._fetch(choice, reporter)
        finally:
            reporter.end()

    def _look(self, lines: int | None, reporter: RunReporter) -> int:
        from pop3fetch.cli.looking import look_at

        return look_at(self._sessions, self._place, self._order, lines, reporter, self._console)

    def _fetch(self, choice: Choice | None, reporter: RunReporter) -> int:
        store = Store(self._place)
        try:
            self._console.notice(f"record: {store.path}")
            opener = Opener(self._account, self._console, store)
            destination = opener.program() if choice is None else opener.open(choice)
            around = Surroundings(
                self._sessions.log_in, store, destination, lambda name: opener.open(parse(name)), reporter
            )
            try:
                outcome = Fetch(around, self._order).run()
            finally:
                destination.close()
        finally:
            store.close()
        reporter.end()
        self._summarise(outcome)
        return outcome.status

    def _summarise(self, outcome: Outcome) -> None:
        if self._order.dry_run:
            return
        what = "marked as fetched" if self._order.mark else f"fetched, {outcome.octets} octets"
        summary = f"{outcome.messages} messages {what}"
        if self._console.shows_progress and outcome.messages:
            self._console.warn(summary)
        else:
            self._console.notice(summary)


class Opener:
    """Make destinations for one account, marked with its record's tag."""

    def __init__(self, account: Account, console: Console, store: Store) -> None:
        self._account = account
        self._console = console
        self._store = store

    def open(self, choice: Choice) -> Destination:
        """Return the destination that was chosen, or that the record names."""
        if choice.path is None:
            return open_stream(choice, self._console)
        if choice.kind == "mbox":
            from pop3fetch.delivery.mbox import Mbox

            return Mbox(choice.path, self._store.tag, self._store.path.parent)
        from pop3fetch.delivery.maildir import Maildir

        return Maildir(choice.path, self._store.tag)

    def program(self) -> Destination:
        """Return the program that takes each message."""
        from pop3fetch.delivery.program import Program

        return Program(
            self._account.exec or (),
            limit=self._account.exec_timeout,
            environment=without_password(os.environ),
            account=self._account.name,
            report=self._console.warn,
        )


def open_stream(choice: Choice, console: Console) -> Destination:
    """Return standard output as a destination; on a terminal control characters are made harmless."""
    from pop3fetch.delivery.stream import Stream

    console.flush()
    return Stream(console.out.fileno(), mboxrd=choice.kind == "mbox", harmless=console.out.isatty())
