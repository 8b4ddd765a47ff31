"""The collaborators of a run: server, record, destination and listener."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from pop3fetch.delivery.destination import Destination, Draft
from pop3fetch.errors import POP3Error
from pop3fetch.fetch.batch import BATCH_MESSAGES
from pop3fetch.fetch.settling import Reopen
from pop3fetch.messages import Message
from pop3fetch.record.store import Store
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from pop3fetch.fetch.plan import Standing, Would
    from pop3fetch.pop3.mail_session import MailSession

Connect = Callable[[bool], "MailSession"]  # (pipelining) -> a client that is logged in


class Reporter(Protocol):
    """The listener of a run; every call comes from the thread that runs the session.

    The rooms below the command line print nothing themselves.
    """

    def notice(self, text: str) -> None:
        """Take a line for users who asked for details."""

    def warn(self, text: str) -> None:
        """Take a line that every user must see."""

    def first_run(self, messages: int) -> None:
        """Take how many messages a run is about to fetch that finds nothing recorded."""

    def planned(self, messages: Sequence[Message]) -> None:
        """Take the messages that are about to be fetched."""

    def progress(self, octets: int) -> None:
        """Count octets that have arrived."""

    def delivered(self, draft: Draft) -> None:
        """Note that a message is delivered."""

    def skipped(self, message: Message, error: POP3Error) -> None:
        """Note that a message stays new, and why."""

    def short(self, message: Message, octets: int) -> None:
        """Note that a message was delivered, but is far shorter than listed."""

    def oversize(self, message: Message) -> None:
        """Note, once for each message, that it is larger than the limit and is skipped."""

    def agrees(self, question: str) -> bool:
        """Return whether the user says yes; False if no user can be asked."""


class Context(NamedTuple):
    """The collaborators of a run.

    ``connect`` returns a client that is logged in, ``reopen`` a destination of an earlier run, ``clock``
    seconds since the epoch. ``room``: drafts in a batch. ``account``: its address, for errors.
    ``would`` takes what a dry run would do, ``ended_early`` what ends the run and how it stands then.
    """

    connect: Connect
    store: Store
    destination: Destination
    reopen: Reopen
    reporter: Reporter
    clock: Callable[[], float] = time.time
    room: int = BATCH_MESSAGES
    account: str = ""
    would: Would = lambda verbs, message, summary: None
    ended_early: Callable[[BaseException, Standing], None] = lambda end, standing: None
