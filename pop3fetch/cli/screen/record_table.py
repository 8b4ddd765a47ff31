"""The table of recorded messages on a terminal. Nothing is cut: unique-ids are there to be copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from pop3fetch.cli.screen.numbers import human_size
from pop3fetch.messages import shown_uid
from pop3fetch.printable import printable
from pop3fetch.record.store import Entry

SIZE = len("999 kB")


def lines_of(account: str, messages: Sequence[tuple[Entry, int, str]]) -> Iterator[str]:
    """Yield a heading, and for each message when it was fetched, its size, destination and unique-id.

    ``account``: its name if there are several, else "".
    """
    if account:
        yield printable(account)
    shown = {destination: printable(destination) for _, _, destination in messages}
    width = max(map(len, ("destination", *shown.values())))
    if messages:
        yield f"{'fetched':16}  {'size':>{SIZE}}  {'destination':{width}}  uid"
    for entry, fetched_at, destination in messages:
        time = datetime.fromtimestamp(fetched_at).astimezone()
        size = human_size(entry.size) if entry.size else ""
        uid = shown_uid(entry.key.uid)
        yield f"{time:%Y-%m-%d %H:%M}  {size:>{SIZE}}  {shown[destination]:{width}}  {uid}"
