"""What `pop3fetch get` does for one account, from the login on."""

from __future__ import annotations

import math
import os

from pop3fetch.account.config import Account
from pop3fetch.account.credentials import without_password
from pop3fetch.cli.console import Console
from pop3fetch.cli.progress import RunReporter
from pop3fetch.cli.session import Sessions
from pop3fetch.cli.wording import counted, human_size
from pop3fetch.delivery.choice import Choice, Kind, open_in_files, parse
from pop3fetch.delivery.destination import Destination
from pop3fetch.fetch.outcome import Outcome
from pop3fetch.fetch.plan import Order
from pop3fetch.fetch.run import Fetch
from pop3fetch.fetch.surroundings import Surroundings
from pop3fetch.record.place import Lock, RecordPlace
from pop3fetch.record.store import Store


class Run:
    """One run of `get` for one account."""

    def __init__(
        self, sessions: Sessions, console: Console, place: RecordPlace, *, room: int, as_json: bool
    ) -> None:
        self._sessions = sessions
        self._account = sessions.account
        self._console = console
        self._place = place
        self._room = room
        self._as_json = as_json

    def run(self, choice: Choice | None, order: Order, lock: Lock | None) -> int:
        """Do what ``order`` says; ``choice`` is None for a program, ``lock`` the record's where it is held.

        Returns the exit status, raises what ended it early.
        """
        is_stream = choice is not None and choice.is_stream
        reporter = RunReporter(self._console, as_json=self._as_json and not is_stream, draws=not is_stream)
        try:
            if choice and is_stream and order.is_look:
                return self._look(choice, order, reporter)
            return self._fetch(choice, order, Store(self._place, lock), reporter)
        finally:
            reporter.end()

    def _look(self, choice: Choice, order: Order, reporter: RunReporter) -> int:
        """Write messages to standard output, and record nothing."""
        from pop3fetch.cli.looking import look_at

        stream = open_stream(choice, self._console, awaits_reader=False)
        with self._sessions.log_in() as client:
            address = self._sessions.account.address
            return look_at(client, self._place, order, stream, reporter, account=address)

    def _fetch(self, choice: Choice | None, order: Order, store: Store, reporter: RunReporter) -> int:
        """Deliver messages, and record them."""
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
                reporter=reporter,
                room=self._room,
                account=self._account.address,
            )
            try:
                outcome = Fetch(around, order).run()
            finally:
                destination.close()
        finally:
            store.close()
        reporter.end()
        if not order.dry_run:
            # Beside messages on standard output, which `less` may be showing, a remark is in the way.
            tell = self._console.notice if choice and choice.is_stream else self._console.remark
            tell(_summary(outcome, order, destination.name))
        return outcome.status


def _summary(outcome: Outcome, order: Order, where: str) -> str:
    done = "marked as fetched" if order.mark else f"fetched ({human_size(outcome.octets)}) to {where}"
    facts = {
        f"{counted(outcome.messages)} {done}": outcome.messages,
        f"{outcome.deleted} deleted from the server": outcome.deleted,
        f"{outcome.oversize} skipped (larger than {human_size(order.max_size or 0)})": outcome.oversize,
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
        if choice.is_stream:
            return open_stream(choice, self._console, awaits_reader=True)
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


def open_stream(choice: Choice, console: Console, *, awaits_reader: bool) -> Destination:
    """Return standard output as a destination; on a terminal control characters are made harmless.

    ``awaits_reader``: whether what a pipe's reader has not read is not delivered.
    """
    from pop3fetch.delivery.stream import Stream

    console.flush()
    is_mbox = choice.kind is Kind.MBOX_OUTPUT
    return Stream(
        console.out.fileno(), mboxrd=is_mbox, harmless=console.out.isatty(), awaits_reader=awaits_reader
    )
