"""The listed messages that match filters: sizes first, then the headers (TOP) of those that are left.

Headers are read by TOP alone. If RETR stood in for it, as in other looks, QUIT could delete messages that
do not match (RFC 1939 section 8), and a filter would cost as much as the whole mail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pop3fetch.errors import HeadersNotOffered
from pop3fetch.fetch.survey import Looked, tops_of
from pop3fetch.filters import Filters
from pop3fetch.headers.summary import Summary, summarize
from pop3fetch.messages import Listing

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession

TOGETHER = 100  # messages whose headers are requested at first if only some are wanted


class Filtering:
    """Filters at work in one session.

    ``now`` in seconds since the epoch: ages count back from it. ``notice`` takes a line for each message
    that cannot match, because its headers, its date or its size is not known.
    """

    def __init__(
        self, client: MailSession, filters: Filters, now: float, notice: Callable[[str], None]
    ) -> None:
        self._client = client
        self._filters = filters
        self._now = datetime.fromtimestamp(now, UTC)
        self._notice = notice

    def matching(self, listing: Listing, indexes: Iterable[int], limit: int | None = None) -> list[int]:
        """Return those of ``indexes`` that match, in their order, at most ``limit``.

        Raises HeadersNotOffered.
        """
        sized = self.by_size(listing, indexes)
        if not self._filters.need_headers:
            return sized[:limit]
        return [index for index, _ in self.by_headers(sized, limit)]

    def by_size(self, listing: Listing, indexes: Iterable[int]) -> list[int]:
        """Return those of ``indexes`` whose listed size matches."""
        sized = []
        for index in indexes:
            size = listing.message(index).size
            if self._filters.need_size and not size and listing.unpaired:  # LIST lacks it
                self._leave_out(index, "its size is not listed")
            elif self._filters.match_size(size):
                sized.append(index)
        return sized

    def by_headers(self, indexes: Sequence[int], limit: int | None = None) -> Iterator[tuple[int, Summary]]:
        """Yield those of ``indexes`` whose headers match, with these, as they arrive; at most ``limit``.

        Raises HeadersNotOffered.
        """
        if indexes and not self._client.offers("TOP"):
            raise HeadersNotOffered
        # A limit may be reached soon; if not, few round trips are waited for.
        portion = len(indexes) if limit is None else TOGETHER if self._client.pipelines else 1
        first = found = read = 0
        while first < len(indexes) and found != limit:
            for index, looked in tops_of(self._client, indexes[first : first + portion]):
                read += looked.refusal is None
                # What was requested beyond the limit still arrives.
                if found != limit and (summary := self._match(index, looked)):
                    found += 1
                    yield index, summary
            first += portion
            portion *= 2 if self._client.pipelines else 1
        if indexes and not (read or self._client.capabilities()):  # it need not have TOP
            raise HeadersNotOffered

    def _match(self, index: int, looked: Looked) -> Summary | None:
        """Return the headers of a message if they match."""
        if looked.refusal or looked.is_blank:
            self._leave_out(index, str(looked.refusal or "it has no headers"))
            return None
        summary = summarize(looked.headers)
        if self._filters.need_date and summary.date is None:
            self._leave_out(index, "it has no usable date")
        return summary if self._filters.match_headers(summary, self._now) else None

    def _leave_out(self, index: int, why: str) -> None:
        self._notice(f"message {index + 1} cannot match: {why}")
