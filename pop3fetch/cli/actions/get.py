"""What `pop3fetch get` does for one account: settings, lock, connection, destination, fetch, summary.

Imports inside the functions are loaded while the connection is established.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from pop3fetch.account.credentials import without_password
from pop3fetch.account.settings_table import Account
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.sessions import LISTING, sessions_of
from pop3fetch.delivery.kinds import Kind
from pop3fetch.delivery.opening import Choice, DeliveryContext, Openings, open_destination, parse
from pop3fetch.errors import ConfigurationError, UsageError
from pop3fetch.record.place import FAILING, RecordPlace, last_address
from pop3fetch.status import Status
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from pop3fetch.cli.options import Invocation
    from pop3fetch.cli.screen.dry_run import DryRun
    from pop3fetch.cli.screen.objects import Object
    from pop3fetch.cli.screen.progress import RunReporter
    from pop3fetch.delivery.servers.address import ServerAddress
    from pop3fetch.delivery.servers.server import MailServer
    from pop3fetch.fetch.context import Context
    from pop3fetch.fetch.plan import Order, Standing
    from pop3fetch.fetch.retrieving import Outcome
    from pop3fetch.message_words import Selector
    from pop3fetch.net.resumption import Handshake, Peer, Resumption
    from pop3fetch.sessions.sessions import Sessions

DEFAULT_OUTPUT = "maildir:~/Maildir"


class GetOptions(NamedTuple):
    """The options of `get` that are not settings of an account."""

    lines: int | None
    all: bool
    mark: bool
    dry_run: bool
    create: bool
    delete_marked: bool
    as_json: bool
    every: str | None
    log_file: str | None
    log_json: bool


class Get:
    """`get`, account by account."""

    def __init__(self, invocation: Invocation, options: GetOptions, selectors: tuple[Selector, ...]) -> None:
        self._invocation = invocation
        self._side_by_side = invocation.many.jobs if invocation.many else 1
        self._options = options
        self._selectors = selectors
        self.openings = Openings()
        self._outcomes: list[Outcome] = []  # if they are summed up at the end
        self._standard_output = threading.Lock()  # messages of two accounts must not be mixed
        self.ended_early: list[Standing] = []
        self._resumption: Resumption | None = None  # of TLS sessions, if the process stays

    def run(self, account: Account, console: Console, objects: list[Object] | None = None) -> int:
        """Fetch the messages of an account; returns the exit status, raises what ended it early.

        ``objects`` gets the JSON of each message that is delivered.
        """
        if (account.patience is not None and console.hushed is None) or (account.on_new and objects is None):
            return self._run_and_follow_up(account, console)
        choice = choice_of(account, is_configured="output" not in self._invocation.options)
        order = self._order(account)
        is_look = choice.is_stream and order.is_look  # which is recorded nowhere
        folder = self._invocation.state_folder_to_read() if is_look else self._invocation.state_folder()
        place = RecordPlace(folder, account.address)
        turn: AbstractContextManager[object] = self._standard_output if choice.is_stream else nullcontext()
        going = sessions_of(account, console, folder, resume=self._resume_for(account))
        with turn, going as sessions, self.openings.of_a_run() as keep:
            sessions.check()  # before anything is written to the state folder
            lock = None if choice.is_stream else place.take()  # before we disturb the session of another run
            if lock:
                sessions.begin(LISTING)
            from pop3fetch.cli.screen.progress import RunReporter
            from pop3fetch.fetch.batch import room_for_drafts
            from pop3fetch.fetch.context import Context
            from pop3fetch.fetch.run import Fetch
            from pop3fetch.record.store import Store

            reporter = RunReporter(console, choice, self._options.as_json, None if is_look else objects)
            try:
                if is_look:
                    from pop3fetch.cli.actions.get_look import look_at

                    stream = keep(open_destination(choice, delivery_context(account, console, place)))
                    dry_run = self._dry_run(console, stream.name) if order.dry_run else None
                    return look_at(sessions, folder, order, stream, reporter, dry_run=dry_run)
                with closing(Store(place, lock)) as store:
                    console.detail(f"record: {store.path}")
                    for line in place.warnings():
                        console.notice(line)
                    delivery = delivery_context(account, console, place, store.tag, sessions)
                    if account.name != place.address != last_address(folder, account.name):
                        from pop3fetch.cli.actions.get_moved import follow

                        follow(account.name, store, place, choice, console, delivery=delivery, keep=keep)
                    with closing(keep(open_destination(choice, delivery))) as destination:
                        context = Context(
                            connect=sessions.log_in,
                            store=store,
                            destination=destination,
                            reopen=lambda name: keep(open_destination(parse(name), delivery)),
                            reporter=reporter,
                            room=room_for_drafts(self._side_by_side),
                            account=account.address,
                            ended_early=self._ended_early,
                        )
                        if order.dry_run:
                            return self._rehearse(context, order, console)
                        outcome = Fetch(context, order).run()
                    if outcome.status != Status.TRY_LATER and account.patience is None:
                        with suppress(OSError):  # what runs with patience counted
                            place.beside(FAILING).unlink()
            finally:
                reporter.end()
        if self._invocation.many or console.takes_results:
            self._conclude(console, order, outcome, reporter)
        return outcome.status

    def _run_and_follow_up(self, account: Account, console: Console) -> int:
        """Do what patience and --on-new do at the end of a run."""
        if account.patience is not None and console.hushed is None:
            from pop3fetch.cli.actions.get_patiently import get_patiently

            return get_patiently(self.run, account, console, self._invocation.state_folder_to_read())
        from pop3fetch.cli.actions.on_new import get_and_run

        get, environment = partial(self.run, account, console), without_password(os.environ)
        return get_and_run(account.on_new or (), get, account.name, environment, console)

    def _resume_for(self, account: Account) -> Callable[[Peer], Handshake] | None:
        if self._options.every is None:
            return None
        from pop3fetch.net.resumption import Resumption

        self._resumption = self._resumption or Resumption()
        return partial(self._resumption.handshake, account.address)

    def _conclude(self, console: Console, order: Order, outcome: Outcome, reporter: RunReporter) -> None:
        """Keep the outcome for the sums of all accounts, and show the summary."""
        if self._invocation.many and not console.keeps_answers:
            self._outcomes.append(outcome)
        if reporter.choice and console.takes_results:
            from pop3fetch.cli.screen.summary import summary

            # `less` may be showing the messages on standard output; a remark would disturb it.
            show = console.notice if reporter.choice.is_stream else console.remark
            show(summary(outcome, order, reporter.choice.name))

    def report(self, accounts: int, failed: Sequence[str]) -> None:
        """Show the sums of all accounts, and which of them failed."""
        console = self._invocation.console
        if console.takes_results:
            from pop3fetch.cli.screen.summary import summary_of_all

            outcomes = None if self._options.dry_run else self._outcomes
            console.remark(summary_of_all(accounts, outcomes, failed))

    def _ended_early(self, end: BaseException, standing: Standing) -> None:
        if self._options.every is None:  # a process that stays would collect them forever
            self.ended_early.append(standing)
        if isinstance(end, Exception):  # an interrupt ends all runs, and is reported once
            from pop3fetch.cli.screen.early_end import note_what_is_safe

            note_what_is_safe(end, [standing])

    def _dry_run(self, console: Console, destination: str) -> DryRun:
        from pop3fetch.cli.screen.dry_run import DryRun

        return DryRun(console, destination, as_json=self._options.as_json)

    def _rehearse(self, context: Context, order: Order, console: Console) -> int:
        from pop3fetch.fetch.run import Fetch

        dry_run = self._dry_run(console, context.destination.name)
        outcome = Fetch(context._replace(would=dry_run.would), order).run()
        dry_run.end(outcome, order)
        return outcome.status

    def _order(self, account: Account) -> Order:
        from pop3fetch.fetch.plan import Order

        if self._options.log_json and self._invocation.console.log is None:
            raise UsageError("--log-json needs --log-file")
        if self._options.delete_marked and not account.delete and account.delete_after is None:
            raise UsageError("--delete-marked needs --delete or --delete-after")
        return Order(
            selectors=self._selectors,
            filters=self._invocation.filters,
            everything=self._options.all,
            lines=self._options.lines,
            limit=account.limit,
            max_size=account.max_size,
            delete=bool(account.delete),
            delete_after=account.delete_after,
            crlf=account.crlf,
            mark=self._options.mark,
            dry_run=self._options.dry_run,
            create=self._options.create,
            delete_marked=self._options.delete_marked,
        )


def choice_of(account: Account, *, is_configured: bool = True) -> Choice:
    """Return the destination of an account; ``is_configured``: it is from the file, if it is given at all."""
    if account.exec:
        return Choice(Kind.PROGRAM, command=account.exec)
    if account.destination is not None:
        from pop3fetch.cli.mail_servers import choice_of_table

        return choice_of_table(account.destination)
    try:
        return parse(account.output or DEFAULT_OUTPUT, is_configured=is_configured)
    except UsageError as error:
        if not is_configured:
            raise
        if account.output is None:
            advice = "set HOME, or use --output and --state-dir"
            raise ConfigurationError("the home folder is not known", advice) from error
        where = f"{account.source}: accounts.{account.name}.output"
        raise ConfigurationError(where, error.reason) from error


def _mail_server(address: ServerAddress, sessions: Sessions | None, console: Console) -> MailServer:
    from pop3fetch.cli.mail_servers import MailServers

    assert sessions is not None  # only standard output needs none
    return MailServers(sessions, console).at(address)


def delivery_context(
    account: Account,
    console: Console,
    place: RecordPlace,
    tag: str | None = None,
    sessions: Sessions | None = None,
) -> DeliveryContext:
    """Return what destinations need; nothing is recorded unless there is the ``tag`` of a record.

    ``sessions``: of the account, for the passwords of mail servers.
    """
    console.flush()  # earlier output comes before the messages on standard output
    output = -1
    with suppress(OSError):  # a stream without a descriptor: only a delivery to it fails
        output = console.out.fileno()
    return DeliveryContext(
        tag=tag or "",
        spool_folder=place.folder,
        output=output,
        is_terminal=console.out.isatty(),
        awaits_reader=tag is not None,
        environment=without_password(os.environ),
        account=account.name,
        report=console.warn,
        limit=account.exec_timeout or math.inf,
        mail_server=lambda address: _mail_server(address, sessions, console),
    )
