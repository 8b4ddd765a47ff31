"""A look at messages: to standard output, recorded nowhere, and nothing deleted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pop3fetch.delivery.destination import Destination, Draft, Place
from pop3fetch.errors import IncompleteMessage, POP3Error
from pop3fetch.fetch.context import Reporter
from pop3fetch.messages import Listing, Message, is_short
from pop3fetch.pop3.wire import with_lf
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession
    from pop3fetch.pop3.pipeline import IncomingMessage


class NoJournal:
    """Keep nothing: a look is recorded nowhere."""

    def intend(self, drafts: Sequence[Draft], places: Sequence[Place]) -> None:
        pass

    def done(self, drafts: Sequence[Draft]) -> None:
        pass

    def undo(self, drafts: Sequence[Draft]) -> None:
        pass


class Look:
    """Retrieve messages, or their headers and ``lines`` lines, to a destination that keeps nothing."""

    def __init__(
        self, client: MailSession, destination: Destination, reporter: Reporter, *, crlf: bool
    ) -> None:
        self._client = client
        self._destination = destination
        self._reporter = reporter
        self._keep_line_ends = crlf or not client.ends_lines_with_crlf
        self._status: Status = Status.OK

    def at(self, listing: Listing, indexes: list[int], lines: int | None) -> Status:
        """Show the messages in this order, and end the session; returns the exit status."""
        for incoming in self._messages(indexes, lines):
            if incoming.refusal:
                self._skip(listing.message(incoming.index), incoming.refusal)
            else:
                self._show(listing.message(incoming.index), incoming, is_whole=lines is None)
        self._client.end_look(self._reporter.notice)
        return self._status

    def _messages(self, indexes: list[int], lines: int | None) -> Iterator[IncomingMessage]:
        if lines is None:
            return self._client.retrieve_many(indexes)
        return self._client.top_many(indexes, lines)

    def _show(self, message: Message, incoming: IncomingMessage, *, is_whole: bool) -> None:
        draft = self._destination.draft(message)
        octets, is_blank = 0, True
        for block in incoming.blocks:
            octets += len(block)
            is_blank = is_blank and block.isspace()
            draft.write(block if self._keep_line_ends else with_lf(block))
        self._destination.deliver([draft], NoJournal())
        if is_whole and is_blank and is_short(message.size, octets):
            self._skip(message, IncompleteMessage(message.number, message.size))

    def _skip(self, message: Message, error: POP3Error) -> None:
        self._reporter.skipped(message, error)
        if self._status is Status.OK:
            self._status = error.exit_status
