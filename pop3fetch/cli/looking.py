"""`pop3fetch get -o - MESSAGES` and `--lines`: a look, which is recorded nowhere."""

from __future__ import annotations

from pop3fetch.cli.console import Console
from pop3fetch.cli.session import Sessions
from pop3fetch.delivery.choice import parse
from pop3fetch.look import Look
from pop3fetch.messages import Listing, select
from pop3fetch.plan import Order, compare
from pop3fetch.recall import known_of
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.store import ReadOnlyStore
from pop3fetch.reporter import Reporter
from pop3fetch.survey import survey


def look_at(
    sessions: Sessions,
    place: RecordPlace,
    order: Order,
    lines: int | None,
    reporter: Reporter,
    console: Console,
) -> int:
    """Write the chosen messages to standard output; returns the exit status."""
    from pop3fetch.cli.get import open_stream

    with sessions.log_in() as client:
        listing = survey(client, reporter)
        indexes = _chosen(listing, place, order)[: order.limit]
        look = Look(client, open_stream(parse("-"), console), reporter, crlf=order.crlf)
        return look.at(listing, indexes, lines)


def _chosen(listing: Listing, place: RecordPlace, order: Order) -> list[int]:
    if order.selectors:
        return select(listing, order.selectors)
    if order.everything:
        return list(listing.indexes())
    store = ReadOnlyStore(place)
    try:
        return compare(listing, known_of(store)).new
    finally:
        store.close()
