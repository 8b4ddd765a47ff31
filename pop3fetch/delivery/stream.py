"""Standard output: messages one after another, as they arrive.

Nothing can be taken back, so nothing is kept back either: a draft is written straight through. It
counts as delivered when all of it was written, and synced if that is a file; or read, if it is a pipe
and the system knows that. In mboxrd form the messages can be split again; for a terminal, control
characters become visible.
"""

from __future__ import annotations

import array
import codecs
import fcntl
import os
import re
import select
import stat
import termios
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from pop3fetch.delivery.destination import Destination, Draft, Journal, delivery_errors
from pop3fetch.delivery.mbox_format import Encoder
from pop3fetch.durable import sync_file, write_all
from pop3fetch.errors import DeliveryError
from pop3fetch.messages import Message
from pop3fetch.printable import printable

if TYPE_CHECKING:
    from pop3fetch.step_results import StepResult

NAME = "standard output"
LONGEST_LOOK = 0.05  # seconds between two looks at how much of a pipe was read

_BETWEEN_BLANKS = re.compile(r"[^\n\t]+")


class Coder(Protocol):
    """What changes the octets of one message on their way."""

    def encode(self, block: bytes) -> bytes:
        """Return what can be written now."""

    def finish(self) -> bytes:
        """Return the rest."""


class HarmlessCoder:
    """Make all control characters but LF and TAB visible, as :func:`printable` does."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def encode(self, block: bytes) -> bytes:
        return _harmless(self._decoder.decode(block))

    def finish(self) -> bytes:
        return _harmless(self._decoder.decode(b"", final=True))


def _harmless(text: str) -> bytes:
    return _BETWEEN_BLANKS.sub(lambda words: printable(words[0], None), text).encode()


class StreamDraft(Draft):
    """A message that is being written."""

    def __init__(self, message: Message, stream: Stream, coders: Sequence[Coder]) -> None:
        super().__init__(message)
        self._stream = stream
        self._coders = coders
        self._begun = False
        self._finished = False
        self.end = 0  # octets that were written to standard output when it was

    def write(self, block: bytes) -> None:
        """Write a block through; raises BrokenPipeError if the reader is gone."""
        octets = block
        for coder in self._coders:
            octets = coder.encode(octets)
        self._put(octets)
        self.octets += len(block)

    def finish(self) -> None:
        """Write what the coders have held back, once; raises as :meth:`write` does."""
        if self._finished:
            return
        octets = b""
        for coder in self._coders:
            octets = coder.encode(octets) + coder.finish()
        self._put(octets)
        self._finished = True
        self.end = self._stream.position

    def _put(self, octets: bytes) -> None:
        self._begun = self._begun or bool(octets)
        self._stream.write(octets)

    def discard(self) -> None:
        """Complete what was begun, so that the next message is not taken for a part of it."""
        if self._begun:
            with suppress(OSError):
                self.finish()
        self._finished = True


class Stream(Destination):
    """An open file descriptor; nothing else may be buffered for it."""

    def __init__(
        self, out: int, *, mboxrd: bool = False, harmless: bool = False, awaits_reader: bool = True
    ) -> None:
        """``awaits_reader``: whether a message counts as delivered only once a pipe was read."""
        self.name = NAME
        self._awaits_reader = awaits_reader
        self._interrupted = threading.Event()
        self._out = out
        self._mboxrd = mboxrd
        self._harmless = harmless
        self._last: StreamDraft | None = None
        self._finishing = threading.Lock()
        self._failure: OSError | None = None
        self.position = 0  # octets written so far

    def prepare(self, known: str | None = None, *, create: bool = False) -> None:
        with delivery_errors(self.name):
            os.fstat(self._out)

    def examine(self, known: str | None = None) -> Iterator[StepResult]:
        from pop3fetch.step_results import StepResult

        self.prepare(known)
        yield StepResult("destination", f"{self.name} keeps nothing: its reader must")

    def draft(self, message: Message) -> StreamDraft:
        """Begin a message, after the end of the one before it; raises as :meth:`write` does."""
        if self._last is not None:
            self._finish(self._last)
        self._last = StreamDraft(message, self, self._coders())
        return self._last

    def _coders(self) -> list[Coder]:
        coders: list[Coder] = []
        if self._mboxrd:
            coders.append(Encoder(time.time()))
        if self._harmless:
            coders.append(HarmlessCoder())
        return coders

    def deliver(self, drafts: Sequence[Draft], journal: Journal) -> list[tuple[Draft, DeliveryError]]:
        ends: list[int] = []
        for draft in drafts:
            assert isinstance(draft, StreamDraft)
            self._finish(draft)
            ends.append(draft.end)
        count = bisect_right(ends, self._safe_up_to(ends[-1]))
        journal.done(drafts[:count])
        if count < len(drafts):
            raise BrokenPipeError
        return []

    def _safe_up_to(self, end: int) -> int:
        """Return how many octets are safe: up to ``end``, or fewer if the reader of a pipe has left.

        A file is synced. A pipe must be read, as far as the system knows that. Raises DeliveryError.
        """
        with delivery_errors(self.name):
            kind = os.fstat(self._out).st_mode
            if stat.S_ISREG(kind):
                sync_file(self._out)
        if not (stat.S_ISFIFO(kind) and self._awaits_reader):
            return end
        pause = 0.001
        while (read := self.position - _octets_unread(self._out)) < end:
            if _has_no_reader(self._out):
                break
            if self._interrupted.wait(pause):
                raise DeliveryError(self.name, "it was interrupted")
            pause = min(2 * pause, LONGEST_LOOK)
        return read

    def interrupt(self) -> None:
        """End each wait for a reader, before and after a message is written; from any thread."""
        self._interrupted.set()

    def _finish(self, draft: StreamDraft) -> None:
        # The last draft of a batch may be finished by the delivery, or by the draft that follows it.
        with self._finishing:
            draft.finish()

    def write(self, octets: bytes) -> None:
        """Write all of ``octets``; raises BrokenPipeError and DeliveryError, and from then on always."""
        if self._failure is not None:
            raise self._failure
        try:
            try:
                self._write_all(octets)
            except BrokenPipeError:
                raise
            except OSError:
                with delivery_errors(self.name):
                    raise
        except OSError as error:
            self._failure = error
            raise
        self.position += len(octets)

    def _write_all(self, octets: bytes) -> None:
        """Write all of ``octets``; raises OSError, and DeliveryError if it must wait after an interrupt.

        No write to a full pipe blocks, because nothing could end that in another thread than the main one.
        """
        if not self._may_wait:
            write_all(self._out, octets)
            return
        view = memoryview(octets)
        poll = select.poll()
        poll.register(self._out, select.POLLOUT)
        while view:
            while not poll.poll(0 if self._interrupted.is_set() else LONGEST_LOOK * 1000):
                if self._interrupted.is_set():
                    raise DeliveryError(NAME, "it was interrupted")
            with suppress(BlockingIOError):  # another process that writes there was quicker
                view = view[os.write(self._out, view[: select.PIPE_BUF]) :]

    @cached_property
    def _may_wait(self) -> bool:
        """Whether a write may wait for room: not if it goes to a file, or can only fail."""
        is_writable = fcntl.fcntl(self._out, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        return is_writable and not stat.S_ISREG(os.fstat(self._out).st_mode)


def _octets_unread(pipe: int) -> int:
    """Return how much of a pipe was written and not read, 0 if the system does not report it."""
    count = array.array("i", [0])
    try:
        fcntl.ioctl(pipe, termios.FIONREAD, count)
    except OSError:
        return 0
    return count[0]


def _has_no_reader(pipe: int) -> bool:
    """Return whether nothing can read from a pipe any more."""
    poll = select.poll()
    poll.register(pipe, 0)  # both are reported whatever is asked for
    # Linux reports an error, the others that it was hung up.
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
