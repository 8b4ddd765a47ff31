"""`get`: plan, retrieve, deliver, delete, in an order that loses nothing whatever dies.

    settle what a crash left -> survey -> recall -> plan -> retrieve, delivering in batches
    -> DELE for what the record calls done -> QUIT

QUIT lets a server drop what was retrieved (RFC 1939 section 8), so it is said only where every
message retrieved in the session is delivered and recorded; otherwise the line is cut, and what
is still to be deleted is deleted in a session of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pop3fetch.ahead import Ahead
from pop3fetch.delivery.destination import Destination, Draft
from pop3fetch.errors import (
    ConnectionLost,
    DeletionUnsafe,
    EmptyMessage,
    PipeliningBroken,
    POP3Error,
    ProtocolViolation,
    TimedOut,
)
from pop3fetch.fetch.batch import BATCH_MESSAGES, Batcher
from pop3fetch.fetch.leaving import say_quit
from pop3fetch.fetch.plan import Known, Order, Plan, make_plan
from pop3fetch.fetch.recall import Recall, known_of
from pop3fetch.fetch.reporter import Reporter
from pop3fetch.fetch.survey import headers_of, survey
from pop3fetch.headers import LIMIT as HEADERS_LIMIT
from pop3fetch.headers import identity, proves
from pop3fetch.messages import Listing, Message
from pop3fetch.pop3.wire import with_lf
from pop3fetch.record.journal import RecordJournal, entry_of, key_of
from pop3fetch.record.settling import Reopen, settle
from pop3fetch.record.store import MARKED, Key, Store
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.pop3.client import POP3Client

DAY = 24 * 60 * 60  # seconds
NO_PIPELINING = "no pipelining"  # the fact that this server mixes up pipelined replies
MOST_GIVEN_UP = 10  # messages over which a server may break a session each

Connect = Callable[[bool], "POP3Client"]  # (pipelining) -> a client that is logged in


@dataclass(slots=True)
class Outcome:
    """What a run has done; ``error`` is the first one of its ``failures``."""

    messages: int = 0
    octets: int = 0
    deleted: int = 0
    oversize: int = 0
    failures: int = 0
    error: POP3Error | None = None

    @property
    def status(self) -> Status:
        """The exit status: the first error's."""
        return self.error.exit_status if self.error else Status.OK

    def fail(self, error: POP3Error) -> None:
        """Count a message that stays as it was; a server may refuse a hundred thousand."""
        self.failures += 1
        self.error = self.error or error


class Surroundings(NamedTuple):
    """What a run works with: ``connect`` gives a client that is logged in, ``reopen`` a destination
    that an earlier run delivered to, ``clock`` seconds since the epoch; ``room``: drafts in a batch."""

    connect: Connect
    store: Store
    destination: Destination
    reopen: Reopen
    reporter: Reporter
    clock: Callable[[], float] = time.time
    room: int = BATCH_MESSAGES


class Fetch:
    """One run of `get` for one account."""

    def __init__(self, around: Surroundings, order: Order) -> None:
        self._around = around
        self._store = around.store
        self._reporter = around.reporter
        self._order = order
        self._outcome = Outcome()
        self._delivered: set[tuple[bytes, int]] = set()  # (UID, occurrence), over all sessions
        self._safe: set[int] = set()  # indexes that this session's QUIT may delete: they are on the disk
        self._mixed_up = False  # whether pipelined replies were, in this run
        self._given_up: set[tuple[bytes, int]] = set()  # those that broke a session
        self._wanted: list[Message] = []  # what this session retrieves
        # Dovecot 2.3 ends a message whose first line is a dot right there, and sends the rest of it.
        self._empty: Message | None = None  # the last one, where it came so
        self._batcher: Batcher | None = None
        self._keep_line_ends = order.crlf

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
        return self._outcome

    def _tidy_up(self) -> None:
        """Decide at once what the next run would have to: nothing of ours stays behind."""
        if self._batcher:
            self._batcher.end()  # or what it is delivering would be taken for leftovers
        with suppress(POP3Error):
            self._store.reopen()
            settle(self._store, self._around.destination, self._around.reopen)
            self._around.destination.remove_leftovers()

    # -- sessions ----------------------------------------------------------------------------

    def _sessions(self) -> None:
        pipelining = self._store.fact(NO_PIPELINING) is None
        while True:
            client = self._around.connect(pipelining)
            try:
                with client:
                    self._session(client)
                return
            except (ProtocolViolation, ConnectionLost, TimedOut) as error:
                if client.broke_in_the_pipe:
                    self._doubt_pipelining(error)
                elif not self._give_up_a_message(client, error):
                    raise
                pipelining = False

    def _doubt_pipelining(self, error: POP3Error) -> None:
        if isinstance(error, PipeliningBroken):
            self._mixed_up = True
            self._store.remember(NO_PIPELINING, str(error))
        self._reporter.notice(f"{error}; again, one command at a time")

    def _give_up_a_message(self, client: POP3Client, error: POP3Error) -> bool:
        """Return whether the protocol was broken over one message: the others shall not wait for it."""
        if not isinstance(error, ProtocolViolation) or len(self._given_up) == MOST_GIVEN_UP:
            return False
        culprit = self._empty
        if culprit is None:
            awaited = [str(reply) for reply in client.conversation.session.awaited]
            culprit = next((one for one in self._wanted if awaited == [f"RETR {one.number}"]), None)
            if culprit is None:
                return False
            self._skip(culprit, error)
        if not self._given_up and self._mixed_up:
            self._store.remember(NO_PIPELINING, None)  # it was the message, and not the pipe
        self._given_up.add((culprit.uid, culprit.occurrence))
        return True

    def _session(self, client: POP3Client) -> None:
        self._keep_line_ends = self._order.crlf or not client.ends_lines_with_crlf
        self._wanted, self._empty = [], None
        plan = self._plan(client, *self._listed_and_known(client))
        self._outcome.oversize = len(plan.oversize)
        for message in plan.oversize:
            self._reporter.notice(f"message {message.number} has {message.size} octets: over the limit")
        if self._order.dry_run:
            self._name(plan)
        elif self._order.mark:
            self._mark(client, plan.fetch)
        else:
            self._retrieve(client, plan.fetch)
            self._delete(client, self._doomed(plan))
            return
        if self._may_quit(client):
            say_quit(client, self._reporter.notice)

    def _recorded_as_delivered(self, indexes: set[int], listing: Listing) -> set[int]:
        marked = self._store.marked() if indexes else set()
        messages = (listing.message(index) for index in indexes)
        return {message.index for message in messages if (message.uid, message.occurrence) not in marked}

    def _may_quit(self, client: POP3Client) -> bool:
        return client.retrieved <= self._safe

    def _listed_and_known(self, client: POP3Client) -> tuple[Listing, Known]:
        """Ask the server and the record side by side: with 100 000 messages, each takes its time."""
        loading = Ahead(lambda: known_of(self._store))
        try:
            listing = survey(client, self._reporter)
        finally:
            known = loading.result()  # in any case, or it would go on reading what is closed
        return listing, known

    def _plan(self, client: POP3Client, listing: Listing, known: Known) -> Plan:
        new = set(Recall(client, self._store, self._reporter).new(listing, known))
        self._safe = self._recorded_as_delivered(client.retrieved - new, listing)
        return make_plan(
            listing, new, self._order, self._old_enough(listing, new), self._delivered | self._given_up
        )

    def _old_enough(self, listing: Listing, new: set[int]) -> Iterator[Message]:
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
            if message.index in new or key in marked or (order.selectors and key not in self._delivered):
                continue
            if (delivered is None or key in delivered) and not self._could_be_another(message, listing):
                yield message

    def _could_be_another(self, message: Message, listing: Listing) -> bool:
        """Whether nothing proves that it is the recorded one, and it shares the UID."""
        if not listing.has_copies or (message.uid, message.occurrence) in self._delivered:
            return False
        recorded = self._store.entry(key_of(message))
        return len(listing.with_uid(message.uid)) > 1 and (recorded is None or not proves(recorded.identity))

    def _name(self, plan: Plan) -> None:
        what = "mark" if self._order.mark else "fetch"
        for message in plan.fetch:
            self._reporter.would(what, message)
        for message in self._doomed(plan, plan.fetch):
            self._reporter.would("delete", message)

    def _mark(self, client: POP3Client, messages: list[Message]) -> None:
        by_index = {message.index: message for message in messages}
        entries = [
            entry_of(by_index[index], identity(headers) if headers is not None else None)
            for index, headers in headers_of(client, by_index)
        ]
        self._store.done(entries, MARKED, int(self._around.clock()))
        self._outcome.messages += len(entries)

    # -- retrieving --------------------------------------------------------------------------

    def _retrieve(self, client: POP3Client, messages: list[Message]) -> None:
        self._reporter.planned(messages)
        self._wanted = messages
        sizes = {message.index: message.size for message in messages}
        destination = self._around.destination
        journal = RecordJournal(self._store, destination.name, self._around.clock)
        room = self._around.room
        with Batcher(destination, journal, self._count, self._refuse, room=room) as batcher:
            self._batcher = batcher
            for message, retrieval in zip(messages, client.retrieve_many(sizes, sizes), strict=True):
                self._empty = None
                if retrieval.refusal:
                    self._skip(message, retrieval.refusal)
                    continue
                draft = self._draft(message, retrieval.blocks)
                if draft is not None:
                    batcher.add(draft)

    def _draft(self, message: Message, blocks: Iterator[bytes]) -> Draft | None:
        """Return the message as a draft, or None where it came empty."""
        draft = self._around.destination.draft(message)
        try:
            head = self._write(draft, blocks)
            if not draft.octets and message.size:
                raise EmptyMessage(message.number)
            draft.identity = identity(head)
        except EmptyMessage as error:
            draft.discard()
            self._skip(message, error)
            self._empty = message
            return None
        except BaseException:
            draft.discard()
            raise
        return draft

    def _write(self, draft: Draft, blocks: Iterator[bytes]) -> bytes:
        """Write the message; return its first 64 KiB as they came."""
        head = b""
        for block in blocks:
            if len(head) < HEADERS_LIMIT:
                head = (head + block)[:HEADERS_LIMIT]
            draft.write(block if self._keep_line_ends else with_lf(block))
            self._reporter.progress(len(block))
        return head

    def _count(self, draft: Draft) -> None:
        message = draft.message
        self._safe.add(message.index)
        self._delivered.add((message.uid, message.occurrence))
        self._outcome.messages += 1
        self._outcome.octets += draft.octets
        self._reporter.delivered(message, draft.octets, draft.path)

    def _refuse(self, draft: Draft, error: POP3Error) -> None:
        self._skip(draft.message, error)

    def _skip(self, message: Message, error: POP3Error) -> None:
        self._outcome.fail(error)
        self._reporter.skipped(message, error)

    # -- deleting ----------------------------------------------------------------------------

    def _doomed(self, plan: Plan, fetched: Iterable[Message] | None = None) -> list[Message]:
        """Return what is to be deleted: old messages, and what was delivered by this run."""
        if not self._order.deletes_at_once:
            return plan.delete
        if fetched is None:
            fetched = [m for m in plan.fetch if (m.uid, m.occurrence) in self._delivered]
        return [*plan.delete, *fetched]

    def _delete(self, client: POP3Client, doomed: list[Message]) -> None:
        """Delete and say QUIT; in a new session where something retrieved here is not safe."""
        if self._may_quit(client):
            self._delete_and_quit(client, doomed)
            return
        client.close()
        if doomed:
            with self._around.connect(self._store.fact(NO_PIPELINING) is None) as second:
                self._delete_in(second, {key_of(message): message.size for message in doomed})

    def _delete_in(self, client: POP3Client, sizes: Mapping[Key, int]) -> None:
        """Delete, in a new session, what still has its UID and size."""
        doomed = [
            message
            for message in survey(client, self._reporter)
            if sizes.get(key_of(message)) == message.size
        ]
        self._safe = {message.index for message in doomed}
        if self._may_quit(client):
            self._delete_and_quit(client, doomed)
        else:
            unsafe = DeletionUnsafe()
            self._outcome.fail(unsafe)
            self._reporter.warn(str(unsafe))

    def _delete_and_quit(self, client: POP3Client, doomed: list[Message]) -> None:
        if not doomed:
            say_quit(client, self._reporter.notice)
            return
        by_index = {message.index: message for message in doomed}
        marked: list[Key] = []
        # Where the answer to QUIT is lost, only a look will tell whether a UID was given again.
        self._store.doubt(key_of(message) for message in doomed)
        for index, refusal in client.delete_many(by_index, then_quit=True):
            if refusal is None:
                marked.append(key_of(by_index[index]))
            else:
                self._skip(by_index[index], refusal)
        # Only now are they deleted (RFC 1939 section 6), and their UIDs may be given again.
        self._store.forget(marked)
        self._outcome.deleted += len(marked)
        self._reporter.deleted(len(marked))
