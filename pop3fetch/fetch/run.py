"""`get`: plan, retrieve, deliver, delete, in an order that loses nothing at a crash.

    settle what a crash left -> survey, and nothing more if the lists are familiar -> recall, with a
    look at what is in doubt or is to be deleted -> plan -> retrieve, delivering in batches
    -> DELE for what the record calls done -> QUIT

This module calls the steps and decides what a broken session means; each step has a module of its own.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

from pop3fetch.errors import (
    ConnectionLost,
    MessageNotFound,
    PipeliningBroken,
    POP3Error,
    ProtocolViolation,
    ServerFailed,
    TimedOut,
)
from pop3fetch.fetch.context import Context
from pop3fetch.fetch.deleting import Deletion
from pop3fetch.fetch.plan import Order, Plan, choose
from pop3fetch.fetch.recall import Recall, Remembered
from pop3fetch.fetch.retrieving import Outcome, Retrieval, Tally, entry_of
from pop3fetch.fetch.settling import settle
from pop3fetch.fetch.survey import Recorded, headers_of, listing_of
from pop3fetch.headers.fields import identity
from pop3fetch.messages import Key, Listing, Message
from pop3fetch.record.states import Known
from pop3fetch.record.store import BROKE_AT, MARKED, REPLIES_LOST

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession
    from pop3fetch.pop3.replies import Overview

NO_PIPELINING = "no pipelining"  # the fact that this server mixes up pipelined replies
MANY = 10  # messages: a first run over so many reports it before it begins
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
        deletes = order.deletes and not order.mark
        self._deletion = Deletion(context, order, self._tally) if deletes else None
        self._current: Plan | None = None  # of the last session that has retrieved messages
        self._retrieval: Retrieval | None = None  # of this session
        self._there: set[Key] = set()  # what was in the destination before, of messages that may come again
        self._mixed_up = False  # whether pipelined replies were, in this run
        self._given_up: set[Key] = set()  # messages that broke a session
        self._left_alone: set[Key] = set()  # those that the destination may have several times

    def run(self) -> Outcome:
        """Fetch; raises the error that ended the run, with everything delivered so far recorded."""
        destination = self._context.destination
        delivers = not (self._order.dry_run or self._order.mark)
        intents = self._store.intents()
        if not self._order.mark:
            known = self._store.folder_of(destination.name)  # if mail is there, or may be
            if known is None:
                places = (intent.place for intent in intents)
                known = next(
                    (place.folder for place in places if place.destination == destination.name), None
                )
            if delivers:
                destination.prepare(known, create=self._order.create)
            elif known is not None and not self._order.create:
                list(destination.examine(known))  # if it is missing, nothing would be fetched or deleted
        if intents:
            self._settle()
        if delivers:
            destination.remove_leftovers()
        try:
            pipelining = self._store.fact(NO_PIPELINING) is None
            while True:
                remembered = Remembered(self._store, self._order, self._context.clock())
                client = self._context.connect(pipelining)
                try:
                    with client:
                        self._session(client, remembered)
                    return self._tally.outcome
                except (ProtocolViolation, ConnectionLost, TimedOut) as error:
                    self._require_another_session(client, error)
                    pipelining = False
        except BaseException as error:
            self._tidy_up(error)
            raise

    def _settle(self) -> None:
        context = self._context
        settle(self._store, context.destination, context.reopen, context.clock(), self._reporter.warn)

    def _tidy_up(self, end: BaseException) -> None:
        """Decide at once what the next run would have to: nothing of ours stays behind."""
        if self._retrieval:
            self._retrieval.end()  # or what it is delivering would be taken for leftovers
        with suppress(POP3Error):
            self._store.reopen()
            if isinstance(end, ServerFailed) and end.broke_at:
                from pop3fetch.fetch.last import and_last, and_lost

                kept = self._store.fact(BROKE_AT)
                self._store.remember(BROKE_AT, and_last(kept, end.broke_at))
                if end.may_have_it:
                    fact = REPLIES_LOST + self._context.destination.name
                    self._store.remember(fact, and_lost(self._store.fact(fact), end.broke_at))
            self._settle()
            self._context.destination.remove_leftovers()
            if self._current:
                from pop3fetch.fetch.early_end import standing

                delivered = self._tally.delivered
                self._context.ended_early(end, standing(self._context, self._order, self._current, delivered))

    # -- a session that breaks ---------------------------------------------------------------

    def _require_another_session(self, client: MailSession, error: POP3Error) -> None:
        """Raise ``error``, unless another session, with one command at a time, may go on."""
        if client.broke_in_the_pipe:
            if isinstance(error, PipeliningBroken):
                self._mixed_up = True
                self._store.remember(NO_PIPELINING, str(error))
            self._reporter.notice(f"{error}; again, one command at a time")
            return
        culprit = None
        if self._retrieval and isinstance(error, ProtocolViolation) and len(self._given_up) < MOST_GIVEN_UP:
            # One message that breaks the protocol does not keep the others away.
            culprit = self._retrieval.give_up(client.broken_at(), error)
        if culprit is None:
            raise error
        if not self._given_up and self._mixed_up:
            self._store.remember(NO_PIPELINING, None)  # it was the message, and not the pipe
        self._given_up.add(culprit.key)

    # -- a session ---------------------------------------------------------------------------

    def _session(self, client: MailSession, remembered: Remembered) -> None:
        """Do what is left to do, and send QUIT; raises what a session and a destination raise."""
        self._retrieval = None
        listed = client.overview_unless(remembered.digests, remembered.load)
        if listed is None:
            self._reporter.notice("the server lists what it listed before: nothing is new")
            client.say_quit(self._reporter.notice)
            return
        overview, digests = listed
        known = remembered.load().result()
        plan = self._plan(client, overview, known)
        self._tally.outcome.oversize = len(plan.oversize)
        if plan.oversize:
            self._report_oversize(plan.oversize)
        doomed: list[Message] = []
        if self._order.dry_run:
            from pop3fetch.fetch.dry_run import rehearse

            rehearse(client, plan, self._context.would)
        elif self._order.mark:
            self._mark(client, plan.wanted(0, self._order.limit))
            self._report_missing(plan.listing)
        else:
            self._retrieve(client, plan, is_first=not any(known))
            self._tally.safe.difference_update(plan.listing.unsized)  # they may not be whole
            if self._deletion:
                doomed = plan.deletions(self._tally.delivered - self._tally.short)
        if self._deletion and doomed:
            pipelining = self._store.fact(NO_PIPELINING) is None
            self._deletion.run(client, plan.listing, doomed, pipelining=pipelining)
        elif self._tally.may_quit(client):
            client.say_quit(self._reporter.notice)
        if not self._tally.unrecorded and not doomed:  # a server may list again what it has deleted
            remembered.keep(digests, plan.listing)

    def _report_oversize(self, messages: list[Message]) -> None:
        """Report each message that is larger than the limit, once in its life."""
        reported = self._store.oversize()
        unreported = [message for message in messages if message.key not in reported]
        for message in unreported:
            self._reporter.oversize(message)
        if unreported and not self._order.dry_run:
            self._store.remember_oversize(message.key for message in unreported)

    def _report_missing(self, listing: Listing) -> None:
        """Report the UIDs that should be marked and are not listed: the others are marked all the same."""
        missing = [selector for selector in self._order.selectors if not selector.indexes(listing)]
        for selector in missing:
            self._tally.outcome.fail(MessageNotFound(str(selector)))
        if missing:
            more = f", and {len(missing) - 1} more are missing" if len(missing) > 1 else ""
            self._reporter.warn(f"{self._tally.outcome.error}{more}")

    def _retrieve(self, client: MailSession, plan: Plan, *, is_first: bool) -> None:
        """Retrieve and deliver in portions: as many messages as the limit still allows.

        What fails does not count, so that messages which always fail do not keep all others away.
        """
        if is_first and plan.count >= MANY:
            self._reporter.first_run(plan.count)
        destination = self._context.destination
        if self._current is None and (self._order.selectors or self._order.everything):
            self._there = self._store.delivered_to(destination.name)
            destination.begin_anew(plan.wanted_again())
        self._current = plan
        crlf = self._order.crlf or destination.keeps_line_ends or not client.ends_lines_with_crlf
        limit, tried, room = self._order.limit, 0, PORTION
        while True:
            if limit is not None:
                room = max(0, limit - self._tally.outcome.messages)
            messages = plan.wanted(tried, tried + room)
            if not messages:
                break
            self._retrieval = Retrieval(self._context, self._tally, messages, crlf=crlf)
            self._retrieval.run(client)
            tried += len(messages)
        if self._there and destination.folder_id:  # it keeps messages, unlike a program
            self._tally.outcome.again = len(self._tally.delivered & self._there)

    # -- what is to be done ------------------------------------------------------------------

    def _plan(self, client: MailSession, overview: Overview, known: Known) -> Plan:
        server = Recorded(self._context.account, lambda: known.has_unique_ids)
        listing = listing_of(client, overview, self._reporter, server)
        recall = Recall(client, self._store, self._reporter, self._context.clock())
        new = recall.new(listing, known)
        filtering = None
        if self._order.filters:
            from pop3fetch.fetch.filtering import Filtering

            clock, notice = self._context.clock, self._reporter.notice
            filtering = Filtering(client, self._order.filters, clock(), notice)
        old: list[Message] = []
        if self._deletion:
            candidates = self._deletion.old_enough(listing, new | recall.undecided.keys())
            if filtering:
                indexes = filtering.matching(listing, (message.index for message in candidates))
                candidates = map(listing.message, indexes)
            old, others = recall.confirm(listing, candidates)
            new.update(others)
        done = self._tally.delivered | self._given_up | self._left_alone
        chosen = choose(listing, new, self._order, done)
        if filtering:
            chosen = filtering.matching(listing, chosen)
        broke_at = None if self._order.selectors else self._store.fact(BROKE_AT)
        if broke_at:
            chosen = self._in_turn(broke_at, listing, chosen, new | recall.undecided.keys())
        for index, error in recall.undecided.items():  # no look could decide
            self._tally.skip(listing.message(index), error)
        for index, error in listing.unreadable.items():
            self._tally.skip(Message(index, 0, b""), error)
        for error in listing.unusable:
            self._tally.outcome.fail(error)
        unknown = len(recall.undecided) + len(listing.unreadable) + len(listing.unusable)
        self._tally.unrecorded = len(new) + unknown
        looked_at = (client.retrieved | client.topped) - new - recall.undecided.keys()
        recorded = {index for index in looked_at if index in listing}
        marked = self._store.marked() if recorded else set()  # and never delivered
        self._tally.safe = {index for index in recorded if listing.message(index).key not in marked}
        return Plan(listing, chosen, self._order, old, new)

    def _in_turn(
        self, broke_at: str, listing: Listing, chosen: list[int], undelivered: Collection[int]
    ) -> list[int]:
        """Return the chosen indexes, those at which a delivery broke last, and none that is left alone."""
        from pop3fetch.fetch.last import in_turn

        if not self._order.dry_run:
            self._forget_breaks([message.key for message in listing if message.index not in undelivered])
        if not (self._order.everything or self._order.mark):
            chosen = self._leave_alone(listing, chosen)
        return in_turn(broke_at, listing, chosen)

    def _forget_breaks(self, delivered: Collection[Key]) -> None:
        """Forget that deliveries broke at messages that are delivered by now."""
        from pop3fetch.fetch.last import without

        for fact in (BROKE_AT, REPLIES_LOST + self._context.destination.name):
            kept = self._store.fact(fact)
            left = without(kept, delivered)
            if left != kept:
                self._store.remember(fact, left)

    def _leave_alone(self, listing: Listing, chosen: list[int]) -> list[int]:
        """Skip the messages to which too many replies were lost; return the other chosen indexes."""
        from pop3fetch.fetch.last import left_alone

        name = self._context.destination.name
        alone = left_alone(self._store.fact(REPLIES_LOST + name), listing, chosen)
        for index, runs in alone.items():
            message = listing.message(index)
            self._left_alone.add(message.key)
            reason = f"the reply to it was lost in {runs} runs, so it may be there {runs} times"
            self._tally.skip(
                message,
                ServerFailed(destination=name, reason=reason, fatal=False, unless_named=message.number),
            )
        return [index for index in chosen if index not in alone]

    def _mark(self, client: MailSession, messages: list[Message]) -> None:
        by_index = {message.index: message for message in messages}
        entries = [
            entry_of(by_index[index], identity(looked.headers))
            for index, looked in headers_of(client, by_index)
        ]
        self._store.done(entries, MARKED, int(self._context.clock()))
        self._tally.unrecorded -= len(entries)
        self._tally.outcome.messages += len(entries)
