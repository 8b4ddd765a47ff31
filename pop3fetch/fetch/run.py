"""`get`: plan, retrieve, deliver, delete, in an order that loses nothing whatever dies.

    settle what a crash left -> survey, and nothing more where the lists are familiar -> recall
    -> plan -> retrieve, delivering in batches
    -> DELE for what the record calls done -> QUIT

This module is the way through, and decides what a broken session means; each step has its own.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pop3fetch.errors import (
    ConnectionLost,
    PipeliningBroken,
    POP3Error,
    ProtocolViolation,
    TimedOut,
)
from pop3fetch.fetch.deleting import Deletion
from pop3fetch.fetch.familiar import Familiar
from pop3fetch.fetch.leaving import say_quit
from pop3fetch.fetch.outcome import Outcome, Tally
from pop3fetch.fetch.plan import Known, Order, Plan, make_plan
from pop3fetch.fetch.recall import Loading, Recall
from pop3fetch.fetch.retrieving import Retrieval
from pop3fetch.fetch.surroundings import Surroundings
from pop3fetch.fetch.survey import headers_of, survey_unless
from pop3fetch.headers import identity
from pop3fetch.messages import Listing, Message
from pop3fetch.pop3.overview import UNFAMILIAR, Digests
from pop3fetch.record.journal import entry_of
from pop3fetch.record.settling import settle
from pop3fetch.record.store import MARKED

if TYPE_CHECKING:
    from pop3fetch.pop3.client import POP3Client

NO_PIPELINING = "no pipelining"  # the fact that this server mixes up pipelined replies
MOST_GIVEN_UP = 10  # messages over which a server may break a session each


class Fetch:
    """One run of `get` for one account."""

    def __init__(self, around: Surroundings, order: Order) -> None:
        self._around = around
        self._store = around.store
        self._reporter = around.reporter
        self._order = order
        self._tally = Tally(around.reporter)
        self._familiar = Familiar(self._store, order)
        self._deletion = Deletion(around, order, self._tally)
        self._retrieval: Retrieval | None = None  # of this session
        self._mixed_up = False  # whether pipelined replies were, in this run
        self._given_up: set[tuple[bytes, int]] = set()  # messages that broke a session

    def run(self) -> Outcome:
        """Fetch; raises the error that ended the run, with everything delivered so far recorded."""
        destination = self._around.destination
        settle(self._store, destination, self._around.reopen)
        if not (self._order.dry_run or self._order.mark):
            destination.prepare()
            destination.remove_leftovers()
        try:
            self._sessions()
        except BaseException:
            self._tidy_up()
            raise
        return self._tally.outcome

    def _tidy_up(self) -> None:
        """Decide at once what the next run would have to: nothing of ours stays behind."""
        if self._retrieval:
            self._retrieval.end()  # or what it is delivering would be taken for leftovers
        with suppress(POP3Error):
            self._store.reopen()
            settle(self._store, self._around.destination, self._around.reopen)
            self._around.destination.remove_leftovers()

    # -- sessions ----------------------------------------------------------------------------

    def _sessions(self) -> None:
        pipelining = self._may_pipeline()
        while True:
            familiar, loading = self._familiar.digests(), Loading(self._store)
            if familiar == UNFAMILIAR:
                loading.begin()  # it will be needed
            client = self._around.connect(pipelining)
            try:
                with client:
                    self._session(client, familiar, loading)
                return
            except (ProtocolViolation, ConnectionLost, TimedOut) as error:
                if client.broke_in_the_pipe:
                    self._doubt_pipelining(error)
                elif not self._give_up_a_message(client, error):
                    raise
                pipelining = False

    def _may_pipeline(self) -> bool:
        return self._store.fact(NO_PIPELINING) is None

    def _doubt_pipelining(self, error: POP3Error) -> None:
        if isinstance(error, PipeliningBroken):
            self._mixed_up = True
            self._store.remember(NO_PIPELINING, str(error))
        self._reporter.notice(f"{error}; again, one command at a time")

    def _give_up_a_message(self, client: POP3Client, error: POP3Error) -> bool:
        """Return whether the protocol was broken over one message: the others shall not wait for it."""
        retrieval = self._retrieval
        if not (retrieval and isinstance(error, ProtocolViolation)) or len(self._given_up) == MOST_GIVEN_UP:
            return False
        culprit = retrieval.give_up([str(reply) for reply in client.conversation.session.awaited], error)
        if culprit is None:
            return False
        if not self._given_up and self._mixed_up:
            self._store.remember(NO_PIPELINING, None)  # it was the message, and not the pipe
        self._given_up.add((culprit.uid, culprit.occurrence))
        return True

    def _session(self, client: POP3Client, familiar: Digests, loading: Loading) -> None:
        self._retrieval = None
        told = survey_unless(familiar, client, self._reporter, loading.begin)
        if told is None:
            self._reporter.notice("the server lists what it listed before: nothing is new")
            say_quit(client, self._reporter.notice)
            return
        listing, digests = told
        self._do(client, self._plan(client, listing, loading.result()))
        if not self._tally.unrecorded:
            self._familiar.remember(digests, listing)

    def _do(self, client: POP3Client, plan: Plan) -> None:
        self._tally.outcome.oversize = len(plan.oversize)
        for message in plan.oversize:
            self._reporter.notice(f"message {message.number} has {message.size} octets: over the limit")
        if self._order.dry_run:
            self._name(plan)
        elif self._order.mark:
            self._mark(client, plan.fetch)
        else:
            self._retrieve_and_delete(client, plan)
            return
        if self._tally.may_quit(client):
            say_quit(client, self._reporter.notice)

    def _retrieve_and_delete(self, client: POP3Client, plan: Plan) -> None:
        crlf = self._order.crlf or not client.ends_lines_with_crlf
        self._retrieval = Retrieval(self._around, self._tally, plan.fetch, crlf=crlf)
        self._retrieval.run(client)
        self._deletion.run(client, self._deletion.doomed(plan), pipelining=self._may_pipeline())

    # -- what is to be done ------------------------------------------------------------------

    def _plan(self, client: POP3Client, listing: Listing, known: Known) -> Plan:
        new = set(Recall(client, self._store, self._reporter).new(listing, known))
        self._tally.unrecorded = len(new)
        self._tally.safe = self._recorded_as_delivered(client.retrieved - new, listing)
        old = self._deletion.old_enough(listing, new)
        return make_plan(listing, new, self._order, old, self._tally.delivered | self._given_up)

    def _recorded_as_delivered(self, indexes: set[int], listing: Listing) -> set[int]:
        marked = self._store.marked() if indexes else set()
        messages = (listing.message(index) for index in indexes)
        return {message.index for message in messages if (message.uid, message.occurrence) not in marked}

    def _name(self, plan: Plan) -> None:
        what = "mark" if self._order.mark else "fetch"
        for message in plan.fetch:
            self._reporter.would(what, message)
        for message in self._deletion.doomed(plan, plan.fetch):
            self._reporter.would("delete", message)

    def _mark(self, client: POP3Client, messages: list[Message]) -> None:
        by_index = {message.index: message for message in messages}
        entries = [
            entry_of(by_index[index], identity(headers) if headers is not None else None)
            for index, headers in headers_of(client, by_index)
        ]
        self._store.done(entries, MARKED, int(self._around.clock()))
        self._tally.unrecorded -= len(entries)
        self._tally.outcome.messages += len(entries)
