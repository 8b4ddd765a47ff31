"""`pop3fetch get -o - MESSAGES` and `--lines`: a look, which is recorded nowhere."""

from __future__ import annotations

import time
from pathlib import Path

from pop3fetch.cli.screen.dry_run import DryRun
from pop3fetch.delivery.destination import Destination
from pop3fetch.fetch.context import Reporter
from pop3fetch.fetch.dry_run import rehearse
from pop3fetch.fetch.plan import Action, Order, compare
from pop3fetch.fetch.recall import recorded_in
from pop3fetch.fetch.show import Look
from pop3fetch.fetch.survey import status_of, survey
from pop3fetch.message_words import needs_uids, select
from pop3fetch.messages import Listing
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.store import known_at
from pop3fetch.sessions.sessions import Sessions


def look_at(
    sessions: Sessions,
    state_folder: Path,
    order: Order,
    stream: Destination,
    reporter: Reporter,
    *,
    dry_run: DryRun | None = None,
) -> int:
    """Write the chosen messages to standard output, or name them to ``dry_run``; returns the exit status."""
    by_number = bool(order.selectors or order.everything) and not needs_uids(order.selectors)
    account = sessions.account
    place = RecordPlace.to_read(state_folder, account.name, account.address)
    recorded = recorded_in(place, account.address)
    with sessions.log_in() as client:
        listing = survey(client, reporter, recorded, by_number=by_number)
        indexes = _chosen(listing, place, order)
        if order.filters:
            from pop3fetch.fetch.filtering import Filtering

            filtering = Filtering(client, order.filters, time.time(), reporter.notice)
            indexes = filtering.matching(listing, indexes, order.limit)
        indexes = indexes[: order.limit]
        if dry_run is None:
            look = Look(client, stream, reporter, crlf=order.crlf)
            return look.at(listing, indexes, order.lines) or status_of(listing)
        rehearse(client, [Action("show", listing.message(index)) for index in indexes], dry_run.would)
        client.end_look(reporter.notice)
    dry_run.end()
    return status_of(listing)


def _chosen(listing: Listing, place: RecordPlace, order: Order) -> list[int]:
    if order.selectors:
        return select(listing, order.selectors)
    if order.everything:
        return list(listing.indexes())
    return compare(listing, known_at(place)).new
