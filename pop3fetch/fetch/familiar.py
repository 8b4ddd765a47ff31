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
from pop3fetch.messages import Listing, stands_in
from pop3fetch.pop3.replies import UNFAMILIAR, Digests
from pop3fetch.record.store import LISTING, Store


class Familiar:
    """What the record remembers of the listing of which it has everything."""

    def __init__(self, store: Store, order: Order) -> None:
        self._store = store
        self._may_be = order.wants_only_what_is_new

    def digests(self) -> Digests:
        """Return the digests of the listing that need not be read, UNFAMILIAR where there is none."""
        words = (self._store.fact(LISTING) or "").split() if self._may_be else []
        return Digests(*words) if len(words) == len(Digests._fields) else UNFAMILIAR

    def remember(self, digests: Digests, listing: Listing) -> None:
        """Keep the ``digests`` of a listing of which everything is recorded now."""
        if self._may_be and self.digests() != digests and _tells_all_apart(listing):
            # Whoever could not keep them reads the listing once more.
            with suppress(POP3Error):
                self._store.remember(LISTING, " ".join(digests))


def _tells_all_apart(listing: Listing) -> bool:
    """Whether each message has a unique-id of its own; else some must be looked at in each run anew."""
    return not (listing.unpaired or listing.has_copies or any(map(stands_in, listing.uids)))
