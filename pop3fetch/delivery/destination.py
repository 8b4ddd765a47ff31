"""What a destination is: drafts go in, a journal learns what is safe.

A message is first a *draft*: written as it arrives, visible to no other program. A batch of drafts is then
delivered in one go. The journal (the account's record) is called twice: with what is about to become
visible, and with what is visible. Each destination keeps that order itself, as only it knows what must
be on the disk in between:

    drafts synced -> journal.intend -> made visible, synced -> journal.done

:meth:`Destination.settle` decides at the next start what a crash left between the two. Programs and
standard output cannot be examined afterwards. So they have no intents, and a message is done as soon
as it is taken: it is delivered at least once.
"""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from pop3fetch.errors import DeliveryError
from pop3fetch.messages import Key, Message

if TYPE_CHECKING:
    from pop3fetch.headers.fields import Identity
    from pop3fetch.step_results import StepResult


class Place(NamedTuple):
    """The place at which a draft is about to become visible; all that :meth:`Destination.settle` needs.

    ``destination`` as :attr:`Destination.name`; ``name``: a file's name; ``offset`` and
    ``length`` in octets if the destination is one file; ``folder``: which folder it was, as
    :attr:`Destination.folder_id`.
    """

    destination: str
    name: str
    offset: int = 0
    length: int = 0
    folder: str = ""


class Settled(Enum):
    """What became of an intent that a crash left behind."""

    DELIVERED = "delivered"
    UNDONE = "undone"


class Draft(ABC):
    """One message on its way: written block by block, invisible until it is delivered."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self.path: str | None = None  # the file that the delivered message is in, if it is a file
        self.place: str | None = None  # where it was delivered to, for people, if that is not a file
        self.identity: Identity | None = None  # for the record
        self.octets = 0  # written so far
        self.received: int | None = None  # octets as the server sent them, with its line ends
        # Once the journal may have the intent, only settling decides, and it needs the draft for that.
        self.intended = False

    @abstractmethod
    def write(self, block: bytes) -> None:
        """Append a block; raises DeliveryError."""

    @abstractmethod
    def discard(self) -> None:
        """Leave no trace; never raises. After the delivery there is nothing left to discard."""


class Journal(Protocol):
    """The record, as a delivery of a batch uses it."""

    def intend(self, drafts: Sequence[Draft], places: Sequence[Place]) -> None:
        """Keep durably that these drafts are about to become visible."""

    def done(self, drafts: Sequence[Draft]) -> None:
        """Keep durably that these drafts are delivered."""

    def undo(self, drafts: Sequence[Draft]) -> None:
        """Keep durably that these drafts did not become visible."""


class Destination(ABC):
    """A place that messages are delivered to."""

    name: str  # as in the record and in errors, e.g. "maildir:/home/alice/Mail"
    keeps_line_ends = False  # whether it is given the line ends of the POP3 server

    @property
    def folder_id(self) -> str:
        """The identity of its folder, whatever the folder's name is; "" if it has none."""
        return ""

    def was(self, place: Place) -> bool:
        """Whether it is the destination of ``place`` under another name, as it was moved."""
        return False

    @abstractmethod
    def prepare(self, known: str | None = None, *, create: bool = False) -> None:
        """Make sure that it can be written to, and create it if it is missing; raises DeliveryError.

        ``known``: the :attr:`folder_id` of a destination that has taken mail before, "" if it is not
        known any more. If such a one is missing, a disk may not be mounted, which is an error unless
        ``create`` is given.
        """

    def examine(self, known: str | None = None) -> Iterator[StepResult]:
        """Yield what `check` shows of it, and change nothing; raises what would stop a delivery.

        ``known`` as in :meth:`prepare`.
        """
        from pop3fetch.step_results import StepResult

        yield StepResult("destination", f"{self.name} cannot be examined without a delivery")

    def begin_anew(self, keys: Iterable[Key]) -> None:  # noqa: B027
        """Take messages as if none of them had been delivered before; raises DeliveryError."""

    @abstractmethod
    def draft(self, message: Message) -> Draft:
        """Begin a message; raises DeliveryError."""

    @abstractmethod
    def deliver(self, drafts: Sequence[Draft], journal: Journal) -> list[tuple[Draft, DeliveryError]]:
        """Deliver a batch; return the drafts that were refused one by one, with the reason.

        Raises DeliveryError if nothing more can be delivered. What ``journal.done`` has not received by
        then is not delivered, and a later settling knows.
        """

    def settle(self, places: Sequence[Place]) -> list[Settled]:
        """Decide what became of intents, in one go; raises DeliveryError if that cannot be decided now."""
        raise NotImplementedError(f"{self.name} has no intents")

    def remove_leftovers(self) -> None:  # noqa: B027
        """Remove what dead runs of this record left; all intents must be settled."""

    def interrupt(self) -> None:  # noqa: B027
        """Stop waiting for a lock or a program, so that :meth:`deliver` ends soon; from any thread."""

    def close(self) -> None:  # noqa: B027
        """Close what is open."""


# Errors of the kernel that the next message would meet as well.
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk reports an error",
}


NOT_MOUNTED = (
    "it is missing, although mail was delivered there before (not mounted?); mount it, or create it "
    "anew with --create"
)


class delivery_errors:  # it is used as a function
    """Turn an error of the kernel into a DeliveryError.

    For every block that is written: a generator would take three times as long.
    """

    def __init__(self, destination: str) -> None:
        self._destination = destination

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and not isinstance(error, DeliveryError):
            reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
            name = f" ({os.fsdecode(error.filename)})" if isinstance(error.filename, str | bytes) else ""
            raise DeliveryError(self._destination, reason + name) from error
