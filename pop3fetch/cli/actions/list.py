"""What `pop3fetch list` does for one account."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.cli.screen.console import Console, Foreign
from pop3fetch.cli.screen.numbers import UNKNOWN
from pop3fetch.cli.screen.objects import date_of, listed_message
from pop3fetch.cli.screen.progress import RunReporter
from pop3fetch.fetch.plan import compare
from pop3fetch.fetch.survey import Recorded, headers_of, status_of, survey
from pop3fetch.headers.summary import Summary, one_line, summarize
from pop3fetch.message_words import Selector, select
from pop3fetch.messages import Listing, Message, shown_uid
from pop3fetch.pop3.mail_session import MailSession
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.states import Known
from pop3fetch.record.store import ReadOnlyStore, Store
from pop3fetch.sessions.sessions import Sessions
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from pop3fetch.filters import Filters


class Row(NamedTuple):
    """One listed message; ``summary`` is None without --long. ``has_size``: LIST names its size."""

    message: Message
    new: bool
    has_size: bool
    summary: Summary | None


class ListOptions(NamedTuple):
    """The options of `list`; without ``selectors`` everything is listed."""

    selectors: tuple[Selector, ...]
    filters: Filters | None
    only_new: bool
    long: bool
    reverse: bool
    limit: int | None
    as_json: bool


class List:
    """`list`, account by account; ``state_folder`` has the records, which show what is new."""

    def __init__(self, state_folder: Path, options: ListOptions) -> None:
        self._state_folder = state_folder
        self._options = options

    def run(self, sessions: Sessions, console: Console) -> int:
        """Print the messages of an account as they arrive; returns the exit status."""
        account = sessions.account
        store = ReadOnlyStore(RecordPlace.to_read(self._state_folder, account.name, account.address))
        try:
            known = store.known()
            recorded = Recorded(sessions.account.address, lambda: known.has_unique_ids)
            with sessions.log_in() as client:
                # The reader of a pipe gets each line before the next is waited for, unless another account
                # asks the user, because no server waits for that.
                client.conversation.before_wait = console.flush_if_free
                listing = survey(client, RunReporter(console), recorded)
                self._print(self._rows(client, listing, known, console), listing, store, console)
                client.end_look(console.notice)
        finally:
            store.close()
        return status_of(listing)

    def _rows(self, client: MailSession, listing: Listing, known: Known, console: Console) -> Iterator[Row]:
        options = self._options
        comparison = compare(listing, known)
        new = set(comparison.new)  # a message in doubt is not: only a look could decide
        indexes = select(listing, options.selectors) if options.selectors else list(listing.indexes())
        if options.only_new:
            indexes = [index for index in indexes if index in new]
        if options.reverse:
            indexes.sort(reverse=True)
        found: Iterable[tuple[int, Summary | None]]
        if options.filters:
            from pop3fetch.fetch.filtering import Filtering

            filtering = Filtering(client, options.filters, time.time(), console.notice)
            indexes = filtering.by_size(listing, indexes)
        if options.filters and options.filters.need_headers:
            found = filtering.by_headers(indexes, options.limit)
        else:
            found = _summaries(client, indexes[: options.limit], long=options.long)
        for index, summary in found:
            shown = summary if options.long else None
            yield Row(listing.message(index), index in new, index not in listing.unsized, shown)

    def _print(self, rows: Iterator[Row], listing: Listing, store: Store, console: Console) -> None:
        if self._options.as_json:
            for row in rows:
                fetched_at = None if row.new else store.delivered_at(row.message.key)
                console.json(
                    listed_message(
                        row.message, row.summary, is_new=row.new, fetched_at=fetched_at, has_size=row.has_size
                    )
                )
        elif not console.shows_tables:
            for row in rows:
                size = row.message.size if row.has_size else UNKNOWN
                cells: list[Foreign] = [row.message.number, size, shown_uid(row.message.uid)]
                if row.summary is not None:
                    texts = map(one_line, (row.summary.sender, row.summary.subject))
                    cells += [date_of(row.summary) or "", *texts]
                console.row(*cells)
        else:
            from pop3fetch.cli.screen.list_table import show

            table_rows = ((row.message, "*" if row.new else "", row.summary, row.has_size) for row in rows)
            if not show(console, console.out, table_rows, listing.last_number):
                kind = "matching " if self._options.filters else "new " if self._options.only_new else ""
                console.remark(f"no {kind}messages")


def _summaries(
    client: MailSession, indexes: Iterable[int], *, long: bool
) -> Iterator[tuple[int, Summary | None]]:
    if not long:
        yield from ((index, None) for index in indexes)
        return
    for index, looked in headers_of(client, indexes, decides=False):
        yield index, summarize(looked.headers)
