"""What `pop3fetch get` does for one account, up to where the server is called.

From there on it is :mod:`pop3fetch.cli.fetching`, which loads while the connection comes about.
"""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from pop3fetch.account.config import Account
from pop3fetch.cli.console import Console
from pop3fetch.cli.get import Wishes
from pop3fetch.cli.session import Sessions
from pop3fetch.delivery.choice import Choice, parse
from pop3fetch.errors import ConfigurationError, UsageError
from pop3fetch.record.place import RecordPlace

if TYPE_CHECKING:
    from pop3fetch.cli.options import Invocation
    from pop3fetch.fetch.plan import Order
    from pop3fetch.messages import Selector

DEFAULT_OUTPUT = "maildir:~/Maildir"


class Getting:
    """`get`, account by account."""

    def __init__(self, invocation: Invocation, wishes: Wishes, selectors: tuple[Selector, ...]) -> None:
        self._invocation = invocation
        self._side_by_side = invocation.many.jobs if invocation.many else 1
        self._wishes = wishes
        self._selectors = selectors
        self._standard_output = threading.Lock()  # messages of two accounts must not mix there

    def run(self, account: Account, console: Console) -> int:
        """Fetch the messages of an account; returns the exit status, raises what ended it early."""
        account = _with_wishes(account, self._wishes)
        choice = self._choice(account)
        is_stream = choice is not None and choice.is_stream
        turn: AbstractContextManager[object] = self._standard_output if is_stream else nullcontext()
        order = self._order(account)
        keeps_nothing = is_stream and order.is_look
        folder = self._invocation.state_folder_to_read() if keeps_nothing else self._invocation.state_folder()
        place = RecordPlace(folder, account.address)
        with turn, Sessions(account, console, folder) as sessions:
            sessions.check()
            # Before the server hears of it: a second run shall not touch it. A look needs no lock.
            lock = None if is_stream else place.take()
            if lock:
                sessions.begin()
            from pop3fetch.cli.fetching import Run
            from pop3fetch.delivery.open_files import room_for_drafts
            from pop3fetch.fetch.batch import BATCH_MESSAGES

            room = room_for_drafts(self._side_by_side, BATCH_MESSAGES)
            run = Run(sessions, console, place, room=room, as_json=self._wishes.as_json)
            return run.run(choice, order, lock)

    def _choice(self, account: Account) -> Choice | None:
        """Return the destination in files or standard output, or None for a program."""
        if account.exec:
            return None
        try:
            return parse(account.output or DEFAULT_OUTPUT, is_configured=self._wishes.output is None)
        except UsageError as error:
            if self._wishes.output is not None:
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
            everything=self._wishes.all,
            lines=self._wishes.lines,
            limit=account.limit,
            max_size=account.max_size,
            delete=bool(account.delete),
            delete_after=account.delete_after,
            crlf=self._wishes.crlf or account.crlf,
            mark=self._wishes.mark,
            dry_run=self._wishes.dry_run,
            create=self._wishes.create,
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
    return account._replace(**changes)
