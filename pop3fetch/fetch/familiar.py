"""A listing that is known again as a whole, so that it need not be compared message by message.

Most runs find the mailbox as the last one left it. So where a run leaves nothing that the record
has not, the record keeps the digests of what the server listed, and the next run compares those.
Any change of the record drops them (:class:`~pop3fetch.record.store.Store` sees to it): they say
no more than that a comparison with this very record would find nothing new.
"""

from __future__ import annotations

from contextlib import suppress

from pop3fetch.errors import POP3Error
from pop3fetch.fetch.plan import Order
from pop3fetch.messages import Listing
from pop3fetch.pop3.overview import UNFAMILIAR, Digests, Overview
from pop3fetch.record.store import Store


class Familiar:
    """What the record remembers of the listing of which it has everything."""

    def __init__(self, store: Store, order: Order) -> None:
        self._store = store
        self._may_be = order.wants_only_what_is_new

    def digests(self) -> Digests:
        """Return the digests of the listing that need not be read, UNFAMILIAR where there is none."""
        words = (self._store.listing() or "").split() if self._may_be else []
        return Digests(*words) if len(words) == len(Digests._fields) else UNFAMILIAR

    def remember(self, digests: Digests, overview: Overview, listing: Listing) -> None:
        """Keep the ``digests`` of a listing of which everything is recorded now."""
        if self._may_be and _says_all(overview, listing) and self.digests() != digests:
            # Whoever could not keep them reads the listing once more.
            with suppress(POP3Error):
                self._store.know_listing(" ".join(digests))


def _says_all(overview: Overview, listing: Listing) -> bool:
    """Whether the two lists tell the messages apart: no message must be looked at, in each run anew."""
    has_all_uids = overview.unique_ids is not None and b"" not in overview.unique_ids
    return has_all_uids and not listing.unpaired and not listing.has_copies
