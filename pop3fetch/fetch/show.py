"""A look at messages: to standard output, recorded nowhere, and nothing deleted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pop3fetch.delivery.destination import Destination
from pop3fetch.errors import POP3Error
from pop3fetch.fetch.context import Reporter
from pop3fetch.fetch.journal import NoJournal
from pop3fetch.messages import Listing
from pop3fetch.pop3.wire import with_lf
from pop3fetch.sessions.quit import end_look
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.pop3.client import POP3Client
    from pop3fetch.pop3.pipeline import Retrieval


class Look:
    """Retrieve messages, or their headers and ``lines`` lines, to a destination that keeps nothing."""

    def __init__(
        self, client: POP3Client, destination: Destination, reporter: Reporter, *, crlf: bool
    ) -> None:
        self._client = client
        self._destination = destination
        self._reporter = reporter
        self._keep_line_ends = crlf or not client.ends_lines_with_crlf
        self._status: Status = Status.OK

    def at(self, listing: Listing, indexes: list[int], lines: int | None) -> Status:
        """Show the messages in this order, and end the session; returns the exit status."""
        for retrieval in self._retrievals(indexes, lines):
            if retrieval.refusal:
                self._skip(listing, retrieval.index, retrieval.refusal)
            else:
                self._show(listing, retrieval)
        end_look(self._client, self._reporter.notice)
        return self._status

    def _retrievals(self, indexes: list[int], lines: int | None) -> Iterator[Retrieval]:
        if lines is None:
            return self._client.retrieve_many(indexes)
        return self._client.top_many(indexes, lines)

    def _show(self, listing: Listing, retrieval: Retrieval) -> None:
        draft = self._destination.draft(listing.message(retrieval.index))
        for block in retrieval.blocks:
            draft.write(block if self._keep_line_ends else with_lf(block))
        self._destination.deliver([draft], NoJournal())

    def _skip(self, listing: Listing, index: int, error: POP3Error) -> None:
        self._reporter.skipped(listing.message(index), error)
        if self._status is Status.OK:
            self._status = error.exit_status
