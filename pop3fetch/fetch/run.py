"""`get`: plan, retrieve, deliver, delete, in an order that loses nothing whatever dies.

    settle what a crash left -> survey, and nothing more if the lists are familiar -> recall, with a
    look at what is in doubt or is to be deleted -> plan -> retrieve, delivering in batches
    -> DELE for what the record calls done -> QUIT

This module is the way through, and decides what a broken session means; each step has its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from pop3fetch.errors import (
    ConnectionLost,
    PipeliningBroken,
    POP3Error,
    ProtocolViolation,
    TimedOut,
    UniqueIdsRefused,
)
from pop3fetch.fetch.compare import Known
from pop3fetch.fetch.context import Context
from pop3fetch.fetch.deleting import Deletion
from pop3fetch.fetch.journal import entry_of, settle
from pop3fetch.fetch.outcome import Outcome, Tally
from pop3fetch.fetch.plan import Order, Plan, make_plan
from pop3fetch.fetch.recall import Recall, Remembered
from pop3fetch.fetch.retrieving import Retrieval
from pop3fetch.fetch.survey import headers_of, listing_of
from pop3fetch.headers import identity
from pop3fetch.messages import Key, Listing, Message
from pop3fetch.record.store import MARKED
from pop3fetch.sessions.quit import say_quit

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession

NO_PIPELINING = "no pipelining"  # the fact that this server mixes up pipelined replies
PORTION = 100_000  # messages that are retrieved in one go: what is known of each takes some 100 octets
MOST_GIVEN_UP = 10  # messages over which a server may break a session each


class Fetch:
    """One run of `get` for one account."""

    def __init__(self, context: Context, order: Order) -> None:
        self._context = context
        self._store = context.store
        self._reporter = context.reporter
        self._order = order
        self._tally = Tally(context.reporter)
        self._deletion = Deletion(context, order, self._tally)
        self._retrieval: Retrieval | None = None  # of this session
        self._mixed_up = False  # whether pipelined replies were, in this run
        self._given_up: set[Key] = set()  # messages that broke a session

    def run(self) -> Outcome:
        """Fetch; raises the error that ended the run, with everything delivered so far recorded."""
        destination = self._context.destination
        delivers = not (self._order.dry_run or self._order.mark)
        if delivers:
            destination.prepare(self._known_folder(), create=self._order.create)
        self._settle()
        if delivers:
            destination.remove_leftovers()
        try:
            pipelining = self._may_pipeline
            while True:
                remembered = Remembered(self._store, self._order)
                client = self._context.connect(pipelining)
                try:
                    with client:
                        self._session(client, remembered)
                    return self._tally.outcome
                except (ProtocolViolation, ConnectionLost, TimedOut) as error:
                    self._require_another_session(client, error)
                    pipelining = False
        except BaseException:
            self._tidy_up()
            raise

    def _known_folder(self) -> str | None:
        """Return the folder_id of the destination if the record knows it: mail is there, or may be."""
        name = self._context.destination.name
        known = self._store.folder_of(name)
        places = (intent.place for intent in self._store.intents())
        intended = next((place.folder for place in places if place.destination == name), None)
        return intended if known is None else known

    def _settle(self) -> None:
        context = self._context
        settle(self._store, context.destination, context.reopen, context.clock(), self._reporter.warn)

    def _tidy_up(self) -> None:
        """Decide at once what the next run would have to: nothing of ours stays behind."""
        if self._retrieval:
            self._retrieval.end()  # or what it is delivering would be taken for leftovers
        with suppress(POP3Error):
            self._store.reopen()
            self._settle()
            self._context.destination.remove_leftovers()

    # -- a session that breaks ---------------------------------------------------------------

    @property
    def _may_pipeline(self) -> bool:
        return self._store.fact(NO_PIPELINING) is None

    def _require_another_session(self, client: MailSession, error: POP3Error) -> None:
        """Raise ``error``, unless another session, with one command at a time, may go on."""
        if client.broke_in_the_pipe:
            if isinstance(error, PipeliningBroken):
                self._mixed_up = True
                self._store.remember(NO_PIPELINING, str(error))
            self._reporter.notice(f"{error}; again, one command at a time")
        elif not self._give_up_a_message(client, error):
            raise error

    def _give_up_a_message(self, client: MailSession, error: POP3Error) -> bool:
        """Return whether the protocol was broken over one message: the others shall not wait for it."""
        retrieval = self._retrieval
        if not (retrieval and isinstance(error, ProtocolViolation)) or len(self._given_up) == MOST_GIVEN_UP:
            return False
        culprit = retrieval.give_up(client.broken_at(), error)
        if culprit is None:
            return False
        if not self._given_up and self._mixed_up:
            self._store.remember(NO_PIPELINING, None)  # it was the message, and not the pipe
        self._given_up.add(culprit.key)
        return True

    # -- a session ---------------------------------------------------------------------------

    def _session(self, client: MailSession, remembered: Remembered) -> None:
        """Do what is left to do, and send QUIT; raises what a session and a destination raise."""
        self._retrieval = None
        told = client.overview_unless(remembered.digests, remembered.load)
        if told is None:
            self._reporter.notice("the server lists what it listed before: nothing is new")
            say_quit(client, self._reporter.notice)
            return
        overview, digests = told
        known = remembered.known()
        if overview.unique_ids is None and known.has_unique_ids:
            raise UniqueIdsRefused(self._context.account)
        listing = listing_of(client, overview, self._reporter)
        plan = self._plan(client, listing, known)
        self._report_oversize(plan.oversize)
        if self._order.dry_run:
            for action in plan:
                self._reporter.would(*action)
        elif self._order.mark:
            self._mark(client, plan.wanted(0, self._order.limit))
        else:
            crlf = self._order.crlf or not client.ends_lines_with_crlf
            for messages in self._portions(plan):
                self._retrieval = Retrieval(self._context, self._tally, messages, crlf=crlf)
                self._retrieval.run(client)
            doomed = plan.deletions(self._tally.whole)
            self._deletion.run(client, listing, doomed, pipelining=self._may_pipeline)
        if (self._order.dry_run or self._order.mark) and self._tally.may_quit(client):
            say_quit(client, self._reporter.notice)
        if not self._tally.unrecorded:
            remembered.keep(digests, listing)

    def _report_oversize(self, messages: list[Message]) -> None:
        """Report each message that is larger than the limit, once in its life."""
        self._tally.outcome.oversize = len(messages)
        reported = self._store.oversize() if messages else set()
        unreported = [message for message in messages if message.key not in reported]
        for message in unreported:
            self._reporter.oversize(message)
        if unreported and not self._order.dry_run:
            self._store.remember_oversize(message.key for message in unreported)

    def _portions(self, plan: Plan) -> Iterator[list[Message]]:
        """Yield what to retrieve at once: as many messages as the limit still allows.

        What fails does not count, so that messages which always fail do not keep all others away.
        """
        if self._order.limit is None:
            for first in range(0, len(plan), PORTION):
                yield plan.wanted(first, first + PORTION)
            return
        tried = 0
        while tried < len(plan) and (room := self._order.limit - self._tally.outcome.messages) > 0:
            yield plan.wanted(tried, tried + room)
            tried += room

    # -- what is to be done ------------------------------------------------------------------

    def _plan(self, client: MailSession, listing: Listing, known: Known) -> Plan:
        recall = Recall(client, self._store, self._reporter, self._context.clock())
        new = recall.new(listing, known)
        not_old = new | recall.undecided.keys() if recall.undecided else new
        candidates = list(self._deletion.old_enough(listing, not_old))
        old, others = recall.confirm(listing, candidates)
        new.update(others)
        for index, error in recall.undecided.items():  # no look could decide
            self._tally.skip(listing.message(index), error)
        for index, error in listing.unreadable.items():  # neither UID nor headers
            self._tally.skip(Message(index, 0, b""), error)
        self._tally.unrecorded = len(new) + len(recall.undecided) + len(listing.unreadable)
        looked_at = (client.retrieved | client.topped) - new - recall.undecided.keys()
        recorded = {index for index in looked_at if index in listing}
        marked = self._store.marked() if recorded else set()  # and never delivered
        self._tally.safe = {index for index in recorded if listing.message(index).key not in marked}
        return make_plan(listing, new, self._order, old, self._tally.delivered | self._given_up)

    def _mark(self, client: MailSession, messages: list[Message]) -> None:
        by_index = {message.index: message for message in messages}
        entries = [
            entry_of(by_index[index], identity(looked.headers))
            for index, looked in headers_of(client, by_index)
        ]
        self._store.done(entries, MARKED, int(self._context.clock()))
        self._tally.unrecorded -= len(entries)
        self._tally.outcome.messages += len(entries)
