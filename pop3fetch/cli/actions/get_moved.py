"""`get` for a named account whose address may have changed: it goes on with the record of the former one."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

from pop3fetch.cli.screen.console import Console
from pop3fetch.delivery.choice import Choice, parse
from pop3fetch.delivery.destination import Destination
from pop3fetch.fetch.settling import settle
from pop3fetch.record.moving import keep_address, source_of
from pop3fetch.record.place import RecordPlace, account_file, last_address
from pop3fetch.record.store import Store

Opened = Callable[[Choice, str], Destination]  # for the run of a record with this tag


def follow(
    name: str, store: Store, place: RecordPlace, console: Console, *, choice: Choice, opened: Opened
) -> None:
    """Take over what was recorded for the account ``name`` at its former address, if it has changed.

    ``store`` is the record at ``place``. Raises RecordLocked if a run works at the former address, and
    what :class:`Store` and the settling of what a crash left there raise.
    """
    if last_address(place.folder, name) == place.address:
        return
    source = source_of(place, name)
    if source is not None:
        with closing(Store(source)) as former:
            if former.intents():
                with closing(opened(choice, former.tag)) as destination:
                    settle(
                        former,
                        destination,
                        lambda name: opened(parse(name), former.tag),
                        time.time(),
                        console.warn,
                    )
                    destination.remove_leftovers()
            store.take_over(former)
        console.remark(f"what was fetched from {source.address} is known here: {store.path}")
    keep_address(account_file(place.folder, name), place.address)
