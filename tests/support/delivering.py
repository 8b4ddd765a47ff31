"""What the tests of destinations share: journals that look, and ways to hand a message in."""

from __future__ import annotations

import re
import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from pop3fetch.delivery.destination import Destination, Draft, Place
from pop3fetch.delivery.opening import DeliveryContext
from pop3fetch.errors import DeliveryError
from pop3fetch.messages import Message
from tests.support.segments import in_pieces

TAG = "0123456789abcdef"


def delivery_context(tag: str, spool_folder: Path) -> DeliveryContext:
    """Return what a destination needs of a run; standard output and programs are those of this process."""
    return DeliveryContext(
        tag=tag,
        spool_folder=spool_folder,
        output=1,
        is_terminal=False,
        awaits_reader=True,
        environment={},
        account="alice",
        report=lambda line: None,
        limit=60,
    )


class Died(BaseException):
    """Simulates the end of the process: it is never caught, and nothing is tidied up."""


class Journal:
    """Remembers what is reported, and looks at the disk each time; dies if it is set to."""

    def __init__(self, look: Callable[[], object] = lambda: None, dies: str = "") -> None:
        """``dies``: ``before intend``, ``after intend``, ``before done``, ``after done``."""
        self.intents: dict[int, Place] = {}  # by message index, in the order of the destination
        self.delivered: list[int] = []
        self.seen: list[tuple[str, object]] = []
        self._look = look
        self._dies = dies

    def intend(self, drafts: Sequence[Draft], places: Sequence[Place]) -> None:
        self.seen.append(("intend", self._look()))
        self._die("before intend")
        for draft, place in zip(drafts, places, strict=True):
            draft.intended = True
            self.intents[draft.message.index] = place
        self._die("after intend")

    def done(self, drafts: Sequence[Draft]) -> None:
        self.seen.append(("done", self._look()))
        self._die("before done")
        for draft in drafts:
            self.delivered.append(draft.message.index)
            self.intents.pop(draft.message.index, None)
        self._die("after done")

    def undo(self, drafts: Sequence[Draft]) -> None:
        self.seen.append(("undo", self._look()))
        for draft in drafts:
            self.intents.pop(draft.message.index)

    def _die(self, when: str) -> None:
        if when == self._dies:
            raise Died


def message(index: int = 0, octets: bytes = b"", uid: bytes = b"uid") -> Message:
    return Message(index, len(octets), uid)


def drafts(
    destination: Destination, messages: Iterable[bytes], sizes: Sequence[int] = (1000,), first: int = 0
) -> list[Draft]:
    """Write a draft of each message, in blocks of ``sizes``; the first one's index is ``first``."""
    return [draft(destination, octets, sizes, index) for index, octets in enumerate(messages, first)]


def draft(destination: Destination, octets: bytes, sizes: Sequence[int] = (1000,), index: int = 0) -> Draft:
    begun = destination.draft(message(index, octets))
    for block in in_pieces(octets, list(sizes)):
        begun.write(block)
    return begun


def deliver(destination: Destination, *messages: bytes) -> Journal:
    """Deliver ``messages`` in one batch, none of which may be refused."""
    journal = Journal()
    destination.prepare()
    assert destination.deliver(drafts(destination, messages), journal) == []
    return journal


def refuses_to_deliver(destination: Destination, *messages: bytes) -> DeliveryError:
    """Return the error that ends a delivery."""
    with pytest.raises(DeliveryError) as caught:
        deliver(destination, *messages)
    return caught.value


@contextmanager
def no_file_longer_than(octets: int) -> Iterator[None]:
    """Let the kernel refuse to write beyond ``octets``, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def messages_of_mboxrd(octets: bytes) -> list[bytes]:
    """Split an mbox after its description in mbox(5), and take the quoting off."""
    if not octets:
        return []
    assert octets.startswith(b"From ")
    assert octets.endswith(b"\n\n")
    pieces = (piece + b"\n\n" for piece in octets[:-2].split(b"\n\nFrom "))  # for a regex it is slow
    return [re.sub(rb"(?m)^>(>*From )", rb"\1", piece.partition(b"\n")[2][:-1]) for piece in pieces]
