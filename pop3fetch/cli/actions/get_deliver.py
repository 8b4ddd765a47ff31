"""What `pop3fetch get` does for one account, from the login on."""

from __future__ import annotations

import math
import os
from collections.abc import Callable

from pop3fetch.account.credentials import without_password
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.numbers import counted, human_size
from pop3fetch.cli.screen.progress import RunReporter
from pop3fetch.delivery.choice import Choice, DeliveryContext, open_destination, parse
from pop3fetch.delivery.destination import Destination
from pop3fetch.fetch.context import Surroundings
from pop3fetch.fetch.outcome import Outcome
from pop3fetch.fetch.plan import Order
from pop3fetch.fetch.run import Fetch
from pop3fetch.record.place import Lock, RecordPlace
from pop3fetch.record.store import Store
from pop3fetch.sessions.sessions import Sessions

Keep = Callable[[Destination], Destination]


class Run:
    """One run of `get` for one account."""

    def __init__(
        self,
        sessions: Sessions,
        console: Console,
        place: RecordPlace,
        keep: Keep,
        *,
        room: int,
        as_json: bool,
    ) -> None:
        """``keep`` takes note of each destination that is opened."""
        self._sessions = sessions
        self._account = sessions.account
        self._console = console
        self._place = place
        self._keep = keep
        self._room = room
        self._as_json = as_json

    def run(self, choice: Choice, order: Order, lock: Lock | None) -> int:
        """Do what ``order`` says; ``lock`` is the record's, if it is held.

        Returns the exit status, raises what ended it early.
        """
        is_stream = choice.is_stream
        reporter = RunReporter(self._console, as_json=self._as_json and not is_stream, draws=not is_stream)
        try:
            if is_stream:
                self._console.flush()
            if is_stream and order.is_look:
                return self._look(choice, order, reporter)
            return self._fetch(choice, order, Store(self._place, lock), reporter)
        finally:
            reporter.end()

    def _look(self, choice: Choice, order: Order, reporter: RunReporter) -> int:
        """Write messages to standard output, and record nothing."""
        from pop3fetch.cli.actions.get_look import look_at

        stream = self._keep(open_destination(choice, self._delivery_context("", awaits_reader=False)))
        with self._sessions.log_in() as client:
            return look_at(client, self._place, order, stream, reporter)

    def _fetch(self, choice: Choice, order: Order, store: Store, reporter: RunReporter) -> int:
        """Deliver messages, and record them."""
        try:
            self._console.notice(f"record: {store.path}")
            for warning in self._place.warnings():
                self._console.notice(warning)
            context = self._delivery_context(store.tag, awaits_reader=True)
            destination = self._keep(open_destination(choice, context))
            around = Surroundings(
                connect=self._sessions.log_in,
                store=store,
                destination=destination,
                reopen=lambda name: self._keep(open_destination(parse(name), context)),
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
            tell = self._console.notice if choice.is_stream else self._console.remark
            tell(_summary(outcome, order, destination.name))
        return outcome.status

    def _delivery_context(self, tag: str, *, awaits_reader: bool) -> DeliveryContext:
        return DeliveryContext(
            tag=tag,
            spool_folder=self._place.folder,
            output=self._console.out.fileno(),
            is_terminal=self._console.out.isatty(),
            awaits_reader=awaits_reader,
            environment=without_password(os.environ),
            account=self._account.name,
            report=self._console.warn,
            limit=self._account.exec_timeout or math.inf,
        )


def _summary(outcome: Outcome, order: Order, where: str) -> str:
    done = "marked as fetched" if order.mark else f"fetched ({human_size(outcome.octets)}) to {where}"
    facts = {
        f"{counted(outcome.messages)} {done}": outcome.messages,
        f"{outcome.deleted} deleted from the server": outcome.deleted,
        f"{outcome.oversize} skipped (larger than {human_size(order.max_size or 0)})": outcome.oversize,
        f"{outcome.failures} failed": outcome.failures,
    }
    return ", ".join(fact for fact, true in facts.items() if true) or "no new messages"
