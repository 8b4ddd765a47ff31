"""What `pop3fetch record` does for one account: show, list, export, add, forget."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from pop3fetch.account.settings_table import Account
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.numbers import counted
from pop3fetch.cli.screen.objects import exported_message, record_object, recorded_message
from pop3fetch.delivery.opening import parse
from pop3fetch.delivery.servers.acceptances import Acceptances, file_of
from pop3fetch.durable import is_absent
from pop3fetch.errors import MessageNotFound, UsageError
from pop3fetch.message_words import Uid
from pop3fetch.messages import shown_uid, unescaped_uid
from pop3fetch.record.editing import Addition, EditedStore
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.states import CONTRADICTED
from pop3fetch.record.store import ReadOnlyStore

IN_THE_RECORD = "in the record"
NAMES = len("first fetch")  # columns of the longest name that `record` shows


class Record:
    """The record of one account. Reading needs no lock; a change waits for no run: it raises RecordLocked."""

    def __init__(self, state_folder: Path, account: Account, console: Console) -> None:
        self._place = RecordPlace.to_read(state_folder, account.name, account.address)
        self._console = console

    def show(self, *, as_json: bool) -> None:
        """Print where the record is, how many messages it has, and what is wrong with it."""
        console = self._console
        with closing(ReadOnlyStore(self._place)) as store:
            messages = list(store.fetched())
            left = [intent.place.destination for intent in store.intents()]
        doubted = [entry for entry, _, _ in messages if entry.state in CONTRADICTED]
        times = [fetched_at for _, fetched_at, _ in messages]
        facts = record_object(str(self._place.database), times, len(doubted))
        if as_json:
            console.json(facts)
        else:
            for name, value in facts.items():
                words, shown = name.replace("_", " "), str("-" if value is None else value)
                if console.shows_tables:
                    console.text(f"{words:<{NAMES}}  {shown}")
                else:
                    console.row(words, shown)
        for entry in doubted:
            console.notice(f"in doubt: {shown_uid(entry.key.uid)} ({entry.state.name.lower()})")
        for destination in sorted(set(left)):
            count = counted(left.count(destination))
            console.warn(f"a crash left {count} in {destination}: the next `pop3fetch get` settles that")

    def list(self, *, as_json: bool) -> None:
        """Print UID, size, time and destination of each message, in the order of time."""
        console = self._console
        with closing(ReadOnlyStore(self._place)) as store:
            messages = store.fetched()
            if as_json:
                for message in messages:
                    console.json(recorded_message(*message))
            elif console.shows_tables:
                from pop3fetch.cli.screen.record_table import lines_of

                console.print_lines(console.out, lines_of(console.account, list(messages)))
            else:
                for message in messages:
                    cells = recorded_message(*message).values()
                    console.row(*(None if cell is None else str(cell) for cell in cells))

    def export(self) -> None:
        """Print all that is recorded of each message."""
        with closing(ReadOnlyStore(self._place)) as store:
            for message in store.fetched():
                self._console.json(exported_message(*message))

    def add(self, additions: Sequence[Addition]) -> None:
        """Record messages as fetched."""
        with closing(EditedStore(self._place)) as store:
            added = store.add(additions, time.time())
        known = f"; {len(additions) - added} recorded before" if added < len(additions) else ""
        self._console.remark(f"{counted(added)} recorded as fetched{known}")

    def forget(self, uids: Sequence[Uid]) -> None:
        """Make messages new again, or all of them if no UID is given; raises MessageNotFound."""
        forgotten = 0
        if not is_absent(self._place.database):
            with closing(EditedStore(self._place)) as store:
                wanted = [_recorded(store, uid) for uid in uids]
                forgotten = store.forget(wanted) if uids else store.forget_all()
                # Before the lock is released: a run would add to the same file.
                with closing(Acceptances(file_of(self._place.folder, store.tag), "")) as accepted:
                    accepted.forget_uids(wanted)
        elif uids:
            raise MessageNotFound(str(uids[0]), IN_THE_RECORD)
        self._console.remark(f"{counted(forgotten)} forgotten")

    def forget_destination(self, given: str) -> None:
        """Give up what a crash left in a destination; raises UsageError if it is unknown."""
        with closing(ReadOnlyStore(self._place)) as store:
            known = store.destinations()
        name = given
        if given not in known:
            name = parse(given).name
        if name not in known:
            has = f"its destinations are {', '.join(sorted(known))}" if known else "it has none"
            raise UsageError(f"{given} is not a destination of this record; {has}")
        with closing(EditedStore(self._place)) as store:
            left = store.forget_destination(name)
        again = f"; {counted(left)} that a crash left there will be fetched again" if left else ""
        self._console.remark(f"{name} is forgotten{again}")


def _recorded(store: EditedStore, uid: Uid) -> bytes:
    """Return the UID that is recorded, as it is shown, or as the server sends it; raises MessageNotFound."""
    for octets in (unescaped_uid(uid.octets), uid.octets):
        if store.copies_of(octets):
            return octets
    raise MessageNotFound(str(uid), IN_THE_RECORD)
