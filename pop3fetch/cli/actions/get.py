"""What `pop3fetch get` does for one account, up to where the server is called.

From there on it is :mod:`pop3fetch.cli.actions.get_deliver`, which loads while the connection comes about.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from pop3fetch.account.config import Account
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.sessions import sessions_of
from pop3fetch.delivery.choice import Choice, Kind, Openings, parse
from pop3fetch.errors import ConfigurationError, UsageError
from pop3fetch.record.place import RecordPlace

if TYPE_CHECKING:
    from pop3fetch.cli.options import Invocation
    from pop3fetch.fetch.plan import Order
    from pop3fetch.messages import Selector

DEFAULT_OUTPUT = "maildir:~/Maildir"


class GetOptions(NamedTuple):
    """The options of `get`; None where an account's own setting counts."""

    output: str | None
    exec: tuple[str, ...] | None
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
    create: bool
    as_json: bool


class Getting:
    """`get`, account by account."""

    def __init__(self, invocation: Invocation, options: GetOptions, selectors: tuple[Selector, ...]) -> None:
        self._invocation = invocation
        self._side_by_side = invocation.many.jobs if invocation.many else 1
        self._options = options
        self._selectors = selectors
        self.openings = Openings()
        self._standard_output = threading.Lock()  # messages of two accounts must not mix there

    def run(self, account: Account, console: Console) -> int:
        """Fetch the messages of an account; returns the exit status, raises what ended it early."""
        account = _with_options(account, self._options)
        choice = self._choice(account)
        is_stream = choice.is_stream
        turn: AbstractContextManager[object] = self._standard_output if is_stream else nullcontext()
        order = self._order(account)
        keeps_nothing = is_stream and order.is_look
        folder = self._invocation.state_folder_to_read() if keeps_nothing else self._invocation.state_folder()
        place = RecordPlace(folder, account.address)
        with turn, sessions_of(account, console, folder) as sessions:
            sessions.check()
            # Before the server hears of it: a second run shall not touch it. A look needs no lock.
            lock = None if is_stream else place.take()
            if lock:
                sessions.begin()
            from pop3fetch.cli.actions.get_deliver import Run
            from pop3fetch.fetch.batch import room_for_drafts

            room = room_for_drafts(self._side_by_side)
            with self.openings.of_a_run() as keep:
                run = Run(sessions, console, place, keep, room=room, as_json=self._options.as_json)
                return run.run(choice, order, lock)

    def _choice(self, account: Account) -> Choice:
        if account.exec:
            return Choice(Kind.PROGRAM, command=account.exec)
        try:
            return parse(account.output or DEFAULT_OUTPUT)
        except UsageError as error:
            if self._options.output is not None:
                raise
            if account.output is None:
                advice = "set HOME, or use --output and --state-dir"
                raise ConfigurationError("the home folder is not known", advice) from error
            where = f"{account.source}: accounts.{account.name}.output"
            raise ConfigurationError(where, error.reason) from error

    def _order(self, account: Account) -> Order:
        from pop3fetch.fetch.plan import Order

        return Order(
            selectors=self._selectors,
            everything=self._options.all,
            lines=self._options.lines,
            limit=account.limit,
            max_size=account.max_size,
            delete=bool(account.delete),
            delete_after=account.delete_after,
            crlf=self._options.crlf or account.crlf,
            mark=self._options.mark,
            dry_run=self._options.dry_run,
            create=self._options.create,
        )


def _with_options(account: Account, options: GetOptions) -> Account:
    """Return the account with the options of this command line before its own settings."""
    changes: dict[str, Any] = {
        name: getattr(options, name)
        for name in ("exec_timeout", "limit", "max_size")
        if getattr(options, name) is not None
    }
    if options.output is not None or options.exec is not None:
        changes |= {"output": options.output, "exec": options.exec}
    if options.delete is not None or options.delete_after is not None:
        changes |= {"delete": options.delete, "delete_after": options.delete_after}
    return account._replace(**changes)
