"""DELE and QUIT: which messages a run deletes, and when that is safe.

Only what the record calls done is deleted, and what is proven to be that very message. QUIT lets
a server drop what was retrieved as well (RFC 1939 section 8), so it is said only where all that
this session retrieved is safe; otherwise the line is cut, and a session of its own deletes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from pop3fetch.errors import DeletionUnsafe
from pop3fetch.fetch.context import Surroundings
from pop3fetch.fetch.journal import key_of
from pop3fetch.fetch.outcome import Tally
from pop3fetch.fetch.plan import Order, Plan
from pop3fetch.fetch.survey import survey
from pop3fetch.headers import proves
from pop3fetch.messages import Listing, Message
from pop3fetch.record.states import DAY, Event
from pop3fetch.record.store import Key
from pop3fetch.sessions.quit import say_quit

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession


class Deletion:
    """What ``order`` wants deleted."""

    def __init__(self, around: Surroundings, order: Order, tally: Tally) -> None:
        self._around = around
        self._store = around.store
        self._reporter = around.reporter
        self._order = order
        self._tally = tally

    # -- which -------------------------------------------------------------------------------

    def old_enough(self, listing: Listing, new: set[int]) -> Iterator[Message]:
        """Yield the messages that were delivered before and are to be deleted now."""
        order = self._order
        if order.mark or not (order.delete or order.delete_after is not None):
            return
        delivered = None
        if not order.delete:
            moment = int(self._around.clock()) - (order.delete_after or 0) * DAY
            delivered = self._store.delivered_before(moment)
        marked = self._store.marked()  # and never delivered
        for message in listing:
            key = (message.uid, message.occurrence)
            if (
                message.index in new
                or key in marked
                or key in self._tally.short
                or (order.selectors and not self._delivered_now(key))
            ):
                continue
            if (delivered is None or key in delivered) and not self._could_be_another(message, listing):
                yield message

    def _delivered_now(self, key: tuple[bytes, int]) -> bool:
        return key in self._tally.delivered

    def _could_be_another(self, message: Message, listing: Listing) -> bool:
        """Whether nothing proves that it is the recorded one, and it shares the UID."""
        if not listing.has_copies or self._delivered_now((message.uid, message.occurrence)):
            return False
        recorded = self._store.entry(key_of(message))
        return len(listing.with_uid(message.uid)) > 1 and (recorded is None or not proves(recorded.identity))

    def doomed(self, plan: Plan, fetched: Iterable[Message] | None = None) -> list[Message]:
        """Return what is to be deleted: old messages, and what was delivered whole by this run."""
        if not self._order.deletes_at_once:
            return plan.delete
        if fetched is None:
            fetched = [m for m in plan.fetch if self._delivered_now((m.uid, m.occurrence))]
        whole = (m for m in fetched if (m.uid, m.occurrence) not in self._tally.short)
        return [*plan.delete, *whole]

    # -- how ---------------------------------------------------------------------------------

    def run(self, client: MailSession, doomed: list[Message], *, pipelining: bool) -> None:
        """Delete and say QUIT; in a new session where something retrieved here is not safe."""
        if self._tally.may_quit(client):
            self._delete_and_quit(client, doomed)
            return
        client.close()
        if doomed:
            with self._around.connect(pipelining) as second:
                self._delete_in(second, {key_of(message): message.size for message in doomed})

    def _delete_in(self, client: MailSession, sizes: Mapping[Key, int]) -> None:
        """Delete, in a new session, what still has its UID and size."""
        listing = survey(client, self._reporter)
        doomed = [message for message in listing if sizes.get(key_of(message)) == message.size]
        self._tally.safe = {message.index for message in doomed}
        if self._tally.may_quit(client):
            self._delete_and_quit(client, doomed)
        else:
            unsafe = DeletionUnsafe()
            self._tally.outcome.fail(unsafe)
            self._reporter.warn(str(unsafe))

    def _delete_and_quit(self, client: MailSession, doomed: list[Message]) -> None:
        if not doomed:
            say_quit(client, self._reporter.notice)
            return
        by_index = {message.index: message for message in doomed}
        marked: list[Key] = []
        # If the reply to QUIT is lost, only a look can tell which of them are left.
        self._happened(Event.DELETING, map(key_of, doomed))
        for index, refusal in client.iter_deletions(by_index, then_quit=True):
            if refusal is None:
                marked.append(key_of(by_index[index]))
            else:
                self._tally.skip(by_index[index], refusal)
        # Only now are they deleted (RFC 1939 section 6), and some servers keep them even so.
        self._happened(Event.DELETED, marked)
        self._tally.outcome.deleted += len(marked)
        self._reporter.deleted(len(marked))

    def _happened(self, event: Event, keys: Iterable[Key]) -> None:
        self._store.happened(event, keys, int(self._around.clock()))
