"""What `pop3fetch get` does for one account."""

from __future__ import annotations

import math
import os
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from pop3fetch.account.config import Account
from pop3fetch.account.credentials import without_password
from pop3fetch.cli.console import Console
from pop3fetch.cli.get import Wishes
from pop3fetch.cli.progress import RunReporter
from pop3fetch.cli.session import Sessions
from pop3fetch.cli.wording import counted, human_size
from pop3fetch.delivery.choice import Choice, Kind, open_in_files, parse
from pop3fetch.delivery.destination import Destination
from pop3fetch.errors import ConfigurationError, UsageError
from pop3fetch.fetch.plan import Order
from pop3fetch.fetch.run import Fetch, Outcome, Surroundings
from pop3fetch.messages import Selector
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.store import Store

DEFAULT_OUTPUT = "maildir:~/Maildir"


class Getting:
    """`get`, account by account; ``state_folder`` has the records."""

    def __init__(self, state_folder: Path, wishes: Wishes, selectors: tuple[Selector, ...]) -> None:
        self._state_folder = state_folder
        self._wishes = wishes
        self._selectors = selectors
        self._standard_output = threading.Lock()  # messages of two accounts must not mix there

    def run(self, account: Account, console: Console) -> int:
        """Fetch the messages of an account; returns the exit status, raises what ended it early."""
        account = _with_wishes(account, self._wishes)
        choice = self._choice(account)
        is_stream = _is_stream(choice)
        reporter = RunReporter(console, as_json=self._wishes.as_json and not is_stream, draws=not is_stream)
        run = Run(account, console, RecordPlace(self._state_folder, account.address), reporter)
        turn: AbstractContextManager[object] = self._standard_output if is_stream else nullcontext()
        with turn:
            try:
                order = self._order(account)
                return (
                    run.look(choice, order)
                    if choice and is_stream and order.is_look
                    else run.fetch(choice, order)
                )
            finally:
                reporter.end()

    def _choice(self, account: Account) -> Choice | None:
        """Return the destination in files or standard output, or None for a program."""
        if account.exec:
            return None
        try:
            return parse(account.output or DEFAULT_OUTPUT)
        except UsageError as error:
            if self._wishes.output is not None:
                raise
            where = f"{account.source}: accounts.{account.name}.output"
            raise ConfigurationError(where, error.reason) from error

    def _order(self, account: Account) -> Order:
        return Order(
            selectors=self._selectors,
            everything=self._wishes.all,
            lines=self._wishes.lines,
            limit=account.limit,
            max_size=account.max_size,
            delete=bool(account.delete),
            delete_after=account.delete_after,
            crlf=self._wishes.crlf or account.crlf,
            mark=self._wishes.mark,
            dry_run=self._wishes.dry_run,
        )


def _with_wishes(account: Account, wishes: Wishes) -> Account:
    """Return the account with the options of this command line before its own settings."""
    changes: dict[str, Any] = {
        name: getattr(wishes, name)
        for name in ("exec_timeout", "limit", "max_size")
        if getattr(wishes, name) is not None
    }
    if wishes.output is not None or wishes.exec is not None:
        changes |= {"output": wishes.output, "exec": wishes.exec}
    if wishes.delete is not None or wishes.delete_after is not None:
        changes |= {"delete": wishes.delete, "delete_after": wishes.delete_after}
    return replace(account, **changes)


class Run:
    """One run of `get` for one account."""

    def __init__(self, account: Account, console: Console, place: RecordPlace, reporter: RunReporter) -> None:
        self._account = account
        self._console = console
        self._place = place
        self._reporter = reporter
        self._sessions = Sessions(account, console, place.folder)

    def look(self, choice: Choice, order: Order) -> int:
        """Write messages to standard output, and record nothing; returns the exit status."""
        from pop3fetch.cli.looking import look_at

        stream = open_stream(choice, self._console)
        with self._sessions.log_in() as client:
            return look_at(client, self._place, order, stream, self._reporter)

    def fetch(self, choice: Choice | None, order: Order) -> int:
        """Deliver messages, and record them; returns the exit status."""
        store = Store(self._place)
        try:
            self._console.notice(f"record: {store.path}")
            for warning in self._place.warnings():
                self._console.notice(warning)
            opener = Opener(self._account, self._console, store)
            destination = opener.program() if choice is None else opener.open(choice)
            around = Surroundings(
                connect=self._sessions.log_in,
                store=store,
                destination=destination,
                reopen=lambda name: opener.open(parse(name)),
                reporter=self._reporter,
            )
            try:
                outcome = Fetch(around, order).run()
            finally:
                destination.close()
        finally:
            store.close()
        self._reporter.end()
        if not order.dry_run:
            # Beside messages on standard output, which `less` may be showing, a remark is in the way.
            tell = self._console.notice if _is_stream(choice) else self._console.remark
            tell(_summary(outcome, order, destination.name))
        return outcome.status


def _is_stream(choice: Choice | None) -> bool:
    return choice is not None and choice.path is None


def _summary(outcome: Outcome, order: Order, where: str) -> str:
    done = "marked as fetched" if order.mark else f"fetched ({human_size(outcome.octets)}) to {where}"
    facts = {
        f"{counted(outcome.messages)} {done}": outcome.messages,
        f"{outcome.deleted} deleted from the server": outcome.deleted,
        f"{outcome.oversize} left for their size": outcome.oversize,
        f"{outcome.failures} failed": outcome.failures,
    }
    return ", ".join(fact for fact, true in facts.items() if true) or "no new messages"


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
        return open_in_files(choice, self._store.tag, self._store.path.parent)

    def program(self) -> Destination:
        """Return the program that takes each message."""
        from pop3fetch.delivery.program import Program

        return Program(
            self._account.exec or (),
            environment=without_password(os.environ),
            account=self._account.name,
            report=self._console.warn,
            limit=self._account.exec_timeout or math.inf,
        )


def open_stream(choice: Choice, console: Console) -> Destination:
    """Return standard output as a destination; on a terminal control characters are made harmless."""
    from pop3fetch.delivery.stream import Stream

    console.flush()
    is_mbox = choice.kind is Kind.MBOX_OUTPUT
    return Stream(console.out.fileno(), mboxrd=is_mbox, harmless=console.out.isatty())
