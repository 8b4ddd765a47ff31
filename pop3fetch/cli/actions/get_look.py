"""`pop3fetch get -o - MESSAGES` and `--lines`: a look, which is recorded nowhere."""

from __future__ import annotations

from pop3fetch.delivery.destination import Destination
from pop3fetch.fetch.plan import Order, compare
from pop3fetch.fetch.recall import known_of
from pop3fetch.fetch.reporter import Reporter
from pop3fetch.fetch.show import Look
from pop3fetch.fetch.survey import survey
from pop3fetch.messages import Listing, needs_uids, select
from pop3fetch.pop3.mail_session import MailSession
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.store import ReadOnlyStore
from pop3fetch.sessions.quit import end_look
from pop3fetch.status import Status


def look_at(
    client: MailSession, place: RecordPlace, order: Order, stream: Destination, reporter: Reporter
) -> int:
    """Write the chosen messages to standard output; returns the exit status."""
    by_number = bool(order.selectors or order.everything) and not needs_uids(order.selectors)
    listing = survey(client, reporter, by_number=by_number)
    indexes = _chosen(listing, place, order)[: order.limit]
    if not order.dry_run:
        return Look(client, stream, reporter, crlf=order.crlf).at(listing, indexes, order.lines)
    for index in indexes:
        reporter.would("show", listing.message(index))
    end_look(client, reporter.notice)
    return Status.OK


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
