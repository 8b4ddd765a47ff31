"""RETR: each message becomes a draft as it arrives, is delivered in a batch, recorded and counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from pop3fetch.delivery.destination import Draft, Place
from pop3fetch.errors import EmptyMessage, IncompleteMessage, POP3Error
from pop3fetch.fetch.batch import Batcher
from pop3fetch.fetch.context import Context, Reporter
from pop3fetch.headers.fields import IDENTITY_LIMIT as HEADERS_LIMIT
from pop3fetch.headers.fields import Identity, identity
from pop3fetch.messages import Key, Message, is_short
from pop3fetch.pop3.wire import with_lf
from pop3fetch.record.store import Entry, Intent, Store, state_of
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession


class Outcome:
    """What a run has done; ``error`` is the first one of its ``failures``.

    ``again``: messages that the destination had received before.
    """

    messages: int = 0
    octets: int = 0
    again: int = 0
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


class Tally:
    """What the steps of a run share about messages, over all its sessions."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.outcome = Outcome()
        self.delivered: set[Key] = set()
        self.short: set[Key] = set()  # of them, those far shorter than listed: kept on the server
        self.safe: set[int] = set()  # indexes that this session's QUIT may delete: they are on the disk
        self.unrecorded = 0  # messages that this session has found new, and that are not recorded yet

    def count(self, draft: Draft) -> None:
        """Take note of a message that is delivered and recorded."""
        message = draft.message
        key = message.key
        self.unrecorded -= 1
        self.delivered.add(key)
        if is_short(message.size, draft.received):
            self.short.add(key)
            self.unrecorded += 1  # the next run is to look at it again
            self._reporter.short(message, draft.received or 0)
        else:
            self.safe.add(message.index)
        self.outcome.messages += 1
        self.outcome.octets += draft.octets
        self._reporter.delivered(draft)

    def skip(self, message: Message, error: POP3Error) -> None:
        """Take note of a message that stays as it is."""
        self.outcome.fail(error)
        self._reporter.skipped(message, error)

    def may_quit(self, client: MailSession) -> bool:
        """Whether QUIT deletes only what is safe, even if the server deletes all that was retrieved."""
        return client.retrieved <= self.safe and not client.quit_may_cost(self.safe)


def entry_of(message: Message, identity: Identity | None, octets: int | None = None) -> Entry:
    """Return what the record keeps of a message; ``octets``: how many of it were received."""
    return Entry(message.key, message.size, identity, octets, state_of(message.size, octets))


class RecordJournal:
    """Keep durably what a delivery intends and has done; ``clock`` gives seconds since the epoch."""

    def __init__(
        self, store: Store, destination: str, clock: Callable[[], float] = time.time, folder: str = ""
    ) -> None:
        """``destination`` and ``folder`` are its name and its folder_id."""
        self._store = store
        self._destination = destination
        self._clock = clock
        self._folder = folder
        self._intended: Sequence[Draft] = ()

    def intend(self, drafts: Sequence[Draft], places: Sequence[Place]) -> None:
        self._intended = drafts
        for draft in drafts:
            draft.intended = True
        self._store.intend(
            Intent(entry_of(draft.message, draft.identity, draft.received), place)
            for draft, place in zip(drafts, places, strict=True)
        )

    def done(self, drafts: Sequence[Draft]) -> None:
        moment = int(self._clock())
        if drafts and drafts == self._intended:
            self._store.fulfil(self._destination, moment, self._folder)
        else:
            entries = [entry_of(draft.message, draft.identity, draft.received) for draft in drafts]
            self._store.done(entries, self._destination, moment, self._folder)

    def undo(self, drafts: Sequence[Draft]) -> None:
        self._store.undo(draft.message.key for draft in drafts)


class Retrieval:
    """The messages that one session retrieves; ``crlf`` keeps its line ends."""

    def __init__(self, context: Context, tally: Tally, messages: list[Message], *, crlf: bool) -> None:
        self._context = context
        self._tally = tally
        self._messages = messages
        self._line_ends: Callable[[bytes], bytes] = bytes if crlf else with_lf  # bytes() changes nothing
        self._batcher: Batcher | None = None
        # Dovecot 2.3 ends a message whose first line is a dot right there, and sends the rest of it.
        self._empty: Message | None = None  # the last one, if it came so

    def run(self, client: MailSession) -> None:
        """Retrieve and deliver; raises what a session and a destination raise."""
        context = self._context
        context.reporter.planned(self._messages)
        sizes = {message.index: message.size for message in self._messages}
        destination = context.destination
        journal = RecordJournal(context.store, destination.name, context.clock, destination.folder_id)
        count, skip = self._tally.count, self._tally.skip
        with Batcher(
            destination, journal, count, lambda draft, error: skip(draft.message, error), room=context.room
        ) as batcher:
            self._batcher = batcher
            for message, incoming in zip(self._messages, client.retrieve_many(sizes, sizes), strict=True):
                self._empty = None
                if incoming.refusal:
                    skip(message, incoming.refusal)
                    continue
                draft = destination.draft(message)
                try:
                    draft.identity = identity(self._write(draft, incoming.blocks))
                except (IncompleteMessage, EmptyMessage) as error:
                    draft.discard()
                    skip(message, error)
                    self._empty = message if isinstance(error, EmptyMessage) else None
                except BaseException as error:
                    if not isinstance(error, Exception):  # Ctrl-C and SIGTERM: await no reader any more
                        destination.interrupt()
                    draft.discard()
                    raise
                else:
                    batcher.add(draft)

    def end(self) -> None:
        """Wait until no delivery runs, after an interrupt, too."""
        if self._batcher:
            self._batcher.end()

    def give_up(self, index: int | None, error: POP3Error) -> Message | None:
        """Skip and return the message over which the protocol broke, at ``index`` if any, else None."""
        if self._empty:  # it is skipped already
            return self._empty
        culprit = next((one for one in self._messages if one.index == index), None)
        if culprit:
            self._tally.skip(culprit, error)
        return culprit

    def _write(self, draft: Draft, blocks: Iterator[bytes]) -> bytes:
        """Write the message; return its first 64 KiB as they came.

        Raises EmptyMessage if it has no octet, and IncompleteMessage if it has nothing but white space,
        although the server lists much more.
        """
        head = b""
        received = 0
        blank = b""  # is not written before something else has come: standard output takes nothing back
        for block in blocks:
            received += len(block)
            self._context.reporter.progress(len(block))
            if len(head) < HEADERS_LIMIT:
                head = (head + block)[:HEADERS_LIMIT]
                if len(head) < HEADERS_LIMIT and head.isspace():
                    blank = head
                    continue
            draft.write(self._line_ends(blank + block if blank else block))
            blank = b""
        message = draft.message
        if not received and message.size:
            raise EmptyMessage(message.number)
        if blank:
            if is_short(message.size, received):
                raise IncompleteMessage(message.number, message.size)
            draft.write(self._line_ends(blank))
        draft.received = received
        return head
