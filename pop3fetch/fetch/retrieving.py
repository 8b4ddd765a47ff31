"""RETR: each message becomes a draft as it arrives, and is delivered in a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from pop3fetch.delivery.destination import Draft
from pop3fetch.errors import BlankMessage, EmptyMessage, POP3Error
from pop3fetch.fetch.batch import Batcher
from pop3fetch.fetch.context import Context
from pop3fetch.fetch.journal import RecordJournal
from pop3fetch.fetch.outcome import Tally
from pop3fetch.headers import IDENTITY_LIMIT as HEADERS_LIMIT
from pop3fetch.headers import identity
from pop3fetch.messages import Message
from pop3fetch.pop3.wire import with_lf
from pop3fetch.record.states import is_short

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession


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
                except (BlankMessage, EmptyMessage) as error:
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

        Raises EmptyMessage if it has no octet, and BlankMessage if it has nothing but white space,
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
                raise BlankMessage(message.number, message.size)
            draft.write(self._line_ends(blank))
        draft.received = received
        return head
