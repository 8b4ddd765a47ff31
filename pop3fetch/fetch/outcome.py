"""The result of a run: for its caller, and for its own next steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pop3fetch.delivery.destination import Draft
from pop3fetch.errors import POP3Error
from pop3fetch.fetch.context import Reporter
from pop3fetch.messages import Key, Message
from pop3fetch.record.states import is_short
from pop3fetch.sessions.quit import quit_may_cost
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.pop3.mail_session import MailSession


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
        self._reporter.delivered(message, draft.octets, draft.path)

    def skip(self, message: Message, error: POP3Error) -> None:
        """Take note of a message that stays as it is."""
        self.outcome.fail(error)
        self._reporter.skipped(message, error)

    def may_quit(self, client: MailSession) -> bool:
        """Whether QUIT deletes only what is safe, even if the server deletes all that was retrieved."""
        return client.retrieved <= self.safe and not quit_may_cost(client, self.safe)
