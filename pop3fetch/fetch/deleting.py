"""DELE and QUIT: which messages a run deletes, and when that is safe.

Only what the record calls done is deleted, and what is proven to be that very message. QUIT lets
a server drop what was retrieved as well (RFC 1939 section 8), so it is sent only if all that this
session retrieved is safe; otherwise the connection is closed, and another session deletes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from pop3fetch.errors import DeletionUnsafe
from pop3fetch.fetch.context import Context
from pop3fetch.fetch.plan import Order
from pop3fetch.fetch.recall import Recall
from pop3fetch.fetch.retrieving import Tally
from pop3fetch.fetch.survey import Recorded, survey
from pop3fetch.headers.fields import proves
from pop3fetch.messages import Key, Listing, Message, stands_in
from pop3fetch.record.states import Event

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession


class Deletion:
    """What ``order`` wants deleted."""

    def __init__(self, context: Context, order: Order, tally: Tally) -> None:
        self._context = context
        self._store = context.store
        self._reporter = context.reporter
        self._order = order
        self._tally = tally

    # -- which -------------------------------------------------------------------------------

    def old_enough(self, listing: Listing, new: set[int]) -> Iterator[Message]:
        """Yield the messages that were delivered before and are to be deleted now, before filters."""
        order = self._order
        # What other runs have delivered is not what was asked for now.
        only_own = bool(order.selectors or (order.filters and order.delete))
        delivered = None
        if not order.delete:
            delivered = self._store.delivered_before(order.due(self._context.clock()))
        spared = set() if order.delete_marked else self._store.marked()  # never delivered
        for message in listing:
            if message.index in new:
                continue
            key = message.key
            if key in spared or key in self._tally.short or (only_own and key not in self._tally.delivered):
                continue
            if (delivered is None or key in delivered) and not self._could_be_another(message, listing):
                yield message

    def _could_be_another(self, message: Message, listing: Listing) -> bool:
        """Whether nothing proves that it is the recorded one, and it shares the UID."""
        if not listing.has_copies or message.key in self._tally.delivered:
            return False
        recorded = self._store.entry(message.key)
        return len(listing.with_uid(message.uid)) > 1 and (recorded is None or not proves(recorded.identity))

    # -- how ---------------------------------------------------------------------------------

    def run(self, client: MailSession, listing: Listing, doomed: list[Message], *, pipelining: bool) -> None:
        """Delete the ``doomed`` and send QUIT; in a new session if something retrieved here is not safe."""
        if self._tally.may_quit(client):
            self._delete_and_quit(client, listing, doomed)
            return
        client.close()
        sizes = {message.key: message.size for message in doomed}
        copies = {message.uid: len(listing.with_uid(message.uid)) for message in doomed}
        has_unique_ids = not all(stands_in(key.uid) for key in sizes)
        recorded = Recorded(self._context.account, lambda: has_unique_ids)
        with self._context.connect(pipelining) as second:
            listing = survey(second, self._reporter, recorded)
            # What still has its UID and size, and its place among those that share the UID.
            same = [
                message
                for message in listing
                if sizes.get(message.key) == message.size
                and len(listing.with_uid(message.uid)) == copies[message.uid]
            ]
            recall = Recall(second, self._store, self._reporter, self._context.clock())
            doomed, _ = recall.confirm(listing, same)
            for index, error in recall.undecided.items():
                self._tally.skip(listing.message(index), error)
            for error in listing.unusable:
                self._tally.outcome.fail(error)
            self._tally.safe = {message.index for message in doomed}
            if self._tally.may_quit(second):
                self._delete_and_quit(second, listing, doomed)
            else:
                unsafe = DeletionUnsafe()
                self._tally.outcome.fail(unsafe)
                self._reporter.warn(str(unsafe))

    def _delete_and_quit(self, client: MailSession, listing: Listing, doomed: list[Message]) -> None:
        if not doomed:
            client.say_quit(self._reporter.notice)
            return
        by_index = {message.index: message for message in doomed}
        marked: set[int] = set()
        # If the reply to QUIT is lost, only a look can show which of them are left.
        self._happened(Event.DELETING, (message.key for message in doomed))
        for index, refusal in client.iter_deletions(by_index, then_quit=True):
            if refusal is None:
                marked.add(index)
            else:
                self._tally.skip(by_index[index], refusal)
        # Only now are they deleted (RFC 1939 section 6), and some servers keep them even so.
        self._happened(Event.DELETED, (by_index[index].key for index in marked))
        self._store.rename(moved_up(listing, marked))
        self._tally.outcome.deleted += len(marked)

    def _happened(self, event: Event, keys: Iterable[Key]) -> None:
        self._store.happened(event, keys, int(self._context.clock()))


def moved_up(listing: Listing, deleted: Collection[int]) -> dict[Key, Key]:
    """Return old to new keys of messages that share a UID, once those at the ``deleted`` indexes are gone.

    The next listing counts those that are left from 0; so the deleted ones get the places behind them.
    """
    keys: dict[Key, Key] = {}
    uids = {listing.message(index).uid for index in deleted} if listing.has_copies else set()
    for uid in uids - {b""}:  # the UID of a message whose UID was not requested
        copies = listing.with_uid(uid)
        in_order = sorted(range(len(copies)), key=lambda place: copies[place] in deleted)
        keys |= {Key(uid, old): Key(uid, new) for new, old in enumerate(in_order) if new != old}
    return keys
