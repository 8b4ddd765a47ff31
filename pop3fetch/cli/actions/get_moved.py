"""`get` for a named account whose address has changed: it goes on with the record of the former one."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing

from pop3fetch.cli.screen.console import Console
from pop3fetch.delivery.destination import Destination
from pop3fetch.delivery.opening import Choice, DeliveryContext, open_destination, parse
from pop3fetch.fetch.settling import settle
from pop3fetch.record.moving import keep_address, source_of
from pop3fetch.record.place import RecordPlace, account_file
from pop3fetch.record.store import Store


def follow(
    name: str,
    store: Store,
    place: RecordPlace,
    choice: Choice,
    console: Console,
    *,
    delivery: DeliveryContext,
    keep: Callable[[Destination], Destination],
) -> None:
    """Take over what was recorded for the account ``name`` at its former address, if there was one.

    ``store`` is the record at ``place``. Raises RecordLocked if a run works at the former address, and
    what :class:`Store` and the settling of what a crash left there raise.
    """
    source = source_of(place, name)
    if source is not None:
        with closing(Store(source)) as former:
            if former.intents():
                # The tag of their record distinguishes them from those of others.
                theirs = delivery._replace(tag=former.tag)
                with closing(keep(open_destination(choice, theirs))) as destination:
                    settle(
                        former,
                        destination,
                        lambda name: keep(open_destination(parse(name), theirs)),
                        time.time(),
                        console.warn,
                    )
                    destination.remove_leftovers()
            store.take_over(former)
        console.remark(f"what was fetched from {source.address} is known here: {store.path}")
    keep_address(account_file(place.folder, name), place.address)
