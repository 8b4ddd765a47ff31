"""What only standard output does: it is read while it is written, and cannot be taken back."""

from __future__ import annotations

import mailbox
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pop3fetch.ahead import Ahead
from pop3fetch.delivery.stream import HarmlessCoder, Stream
from pop3fetch.errors import DeliveryError
from tests.support.delivering import Journal, deliver, draft, drafts, message, messages_of_mboxrd
from tests.support.segments import octet_by_octet

ONE = b"Return-Path: <bob@example.org>\nSubject: one\n\nFrom here\n"
TWO = b"Subject: two\n\nno line end"
BIG = b"Subject: big\n\n" + b"0123456789abcde\n" * (1 << 16)


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell what was read")


class Pipe:
    """A pipe; ``drain`` reads it to its end in another thread."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.read = b""
        self._thread = threading.Thread(target=self._drain)

    def drain(self) -> None:
        self._thread.start()

    def _drain(self) -> None:
        while block := os.read(self.reader, 1 << 16):
            self.read += block

    def close_reader(self) -> None:
        os.close(self.reader)
        self.reader = -1

    def end(self) -> bytes:
        """Close the writing end and return all that came out."""
        os.close(self.writer)
        self.writer = -1
        self._thread.join()
        return self.read

    def close(self) -> None:
        for end in (self.writer, self.reader):
            if end >= 0:
                os.close(end)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


@pytest.mark.parametrize("blocking", [True, False])
def test_a_slow_reader_gets_everything(blocking: bool, pipe: Pipe) -> None:
    os.set_blocking(pipe.writer, blocking)
    pipe.drain()

    deliver(Stream(pipe.writer), ONE, BIG, TWO)

    assert pipe.end() == ONE + BIG + TWO


def test_octets_leave_as_they_arrive(pipe: Pipe) -> None:
    begun = Stream(pipe.writer).draft(message())
    begun.write(b"Subj")
    assert os.read(pipe.reader, 100) == b"Subj"
    begun.write(b"ect")
    assert os.read(pipe.reader, 100) == b"ect"


@pytest.mark.parametrize("mboxrd", [False, True])
def test_a_reader_that_is_gone_is_reported_as_such(mboxrd: bool, pipe: Pipe) -> None:
    pipe.close_reader()
    stream, journal = Stream(pipe.writer, mboxrd=mboxrd), Journal()

    with pytest.raises(BrokenPipeError):
        stream.deliver(drafts(stream, [ONE]), journal)

    assert journal.delivered == []


def test_what_was_read_before_the_reader_went_is_done(pipe: Pipe) -> None:
    stream, journal = Stream(pipe.writer), Journal()
    first = draft(stream, ONE)
    assert os.read(pipe.reader, 1 << 16) == ONE
    stream.deliver([first], journal)
    pipe.close_reader()

    with pytest.raises(BrokenPipeError):
        draft(stream, TWO, index=1)

    assert journal.delivered == [0]


@on_linux
@pytest.mark.parametrize("read", [0, 1, len(ONE) - 1])
def test_what_the_reader_of_a_pipe_leaves_is_not_done(read: int, pipe: Pipe) -> None:
    stream, journal = Stream(pipe.writer), Journal()
    first = draft(stream, ONE)
    os.read(pipe.reader, read)
    pipe.close_reader()

    with pytest.raises(BrokenPipeError):
        stream.deliver([first], journal)

    assert journal.delivered == []


@on_linux
def test_a_delivery_waits_for_a_reader_that_takes_its_time(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream, journal = Stream(pipe.writer), Journal()
    first = draft(stream, ONE)
    looks = []

    def looking(seconds: float) -> bool:
        looks.append(journal.delivered[:])
        if len(looks) == 3:
            os.read(pipe.reader, 1 << 16)
        return False

    monkeypatch.setattr(stream._interrupted, "wait", looking)
    stream.deliver([first], journal)
    assert (looks, journal.delivered) == ([[], [], []], [0])


@on_linux
def test_an_interrupt_ends_the_wait_for_a_reader(pipe: Pipe) -> None:
    stream, journal = Stream(pipe.writer), Journal()
    first = draft(stream, ONE)
    stream.interrupt()
    with pytest.raises(DeliveryError, match="interrupted"):
        stream.deliver([first], journal)
    assert journal.delivered == []


def test_an_interrupt_ends_a_write_to_a_reader_that_does_not_read(pipe: Pipe) -> None:
    stream = Stream(pipe.writer)
    begun = stream.draft(message())
    waiting = Ahead(lambda: begun.write(b"x" * (1 << 22)))
    with pytest.raises(TimeoutError):
        waiting.result(0.1)
    stream.interrupt()
    with pytest.raises(DeliveryError, match="it was interrupted"):
        waiting.result(10)
    begun.discard()


def test_a_look_does_not_wait_for_its_reader(pipe: Pipe) -> None:
    stream, journal = Stream(pipe.writer, awaits_reader=False), Journal()
    stream.deliver([draft(stream, ONE)], journal)
    assert journal.delivered == [0]


def test_a_file_is_synced_before_its_messages_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "out").open("wb") as out:
        synced: list[tuple[int, list[int]]] = []
        journal = Journal()
        monkeypatch.setattr("os.fsync", lambda file: synced.append((file, journal.delivered[:])))
        stream = Stream(out.fileno())
        stream.deliver([draft(stream, ONE)], journal)
        assert synced == [(out.fileno(), [])]
    assert journal.delivered == [0]


def test_nothing_is_done_any_more_once_a_write_has_failed(pipe: Pipe, tmp_path: Path) -> None:
    """An mboxrd message whose end could not be written is not whole, though its blocks were."""
    stream, journal = Stream(pipe.writer, mboxrd=True), Journal()
    first = draft(stream, ONE)
    pipe.close_reader()
    with pytest.raises(BrokenPipeError):
        stream.draft(message(1))

    # What takes the place of the pipe can be written to.
    elsewhere = os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT)
    os.dup2(elsewhere, pipe.writer)
    os.close(elsewhere)
    with pytest.raises(BrokenPipeError):
        stream.deliver([first], journal)

    assert journal.delivered == []
    assert (tmp_path / "file").read_bytes() == b""


def test_an_error_other_than_a_closed_pipe_is_a_delivery_error(pipe: Pipe) -> None:
    with pytest.raises(DeliveryError, match=r"standard output: Bad file descriptor"):
        draft(Stream(pipe.reader), ONE)


# -- mboxrd ----------------------------------------------------------------------------------------


def test_python_splits_an_mbox_from_standard_output(tmp_path: Path) -> None:
    file = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    deliver(Stream(file, mboxrd=True), ONE, TWO, b"Subject: three\n\n\n\n")
    os.close(file)

    box = mailbox.mbox(tmp_path / "out")
    try:
        assert [str(message["subject"]) for message in box] == ["one", "two", "three"]
    finally:
        box.close()


@pytest.mark.parametrize(
    ("part", "seen"),
    [
        (b"", []),
        (b"Subject: ha", []),
        (b"Subject: half\n\nFrom th", [b"Subject: half\n\nFrom th\n"]),
        (b"Subject: half\n\nFro", [b"Subject: half\n\nFro\n"]),
    ],
)
def test_a_discarded_draft_is_not_part_of_the_next_message(
    part: bytes, seen: list[bytes], pipe: Pipe
) -> None:
    pipe.drain()
    stream = Stream(pipe.writer, mboxrd=True)
    stream.deliver([draft(stream, ONE)], Journal())
    begun = draft(stream, part, index=1)
    begun.discard()
    stream.deliver([draft(stream, TWO, index=2)], Journal())

    assert messages_of_mboxrd(pipe.end()) == [ONE, *seen, TWO + b"\n"]


def test_discarding_never_raises(pipe: Pipe) -> None:
    stream = Stream(pipe.writer, mboxrd=True)
    begun = draft(stream, ONE)
    pipe.close_reader()
    begun.discard()


# -- terminals -------------------------------------------------------------------------------------

HARMLESS = [
    (b"", b""),
    (b"plain\n\ttext \n", b"plain\n\ttext \n"),
    ("Zoë — 日本 🙂\n".encode(), "Zoë — 日本 🙂\n".encode()),
    (b"\x1b[31mred\x07\n", rb"\x1b[31mred\x07" + b"\n"),
    (b"over\rwrite\r\n", rb"over\rwrite\r" + b"\n"),
    (b"\0\x08\x7f\x9b", rb"\x00\x08\x7f\x9b"),
    ("\u009b\u202e\ufeffx".encode(), rb"\x9b\u202ex"),  # a byte order mark has no width
    (b"cut \xe2\x82", rb"cut \xe2\x82"),
    (b"\xff\xfe\xc3(\n", rb"\xff\xfe\xc3(" + b"\n"),
]


@pytest.mark.parametrize(("octets", "seen"), HARMLESS)
def test_control_characters_become_visible_however_they_are_cut(octets: bytes, seen: bytes) -> None:
    for blocks in ([octets], octet_by_octet(octets)):
        coder = HarmlessCoder()
        assert b"".join(map(coder.encode, blocks)) + coder.finish() == seen


def test_nothing_on_a_terminal_is_cut_short() -> None:
    coder = HarmlessCoder()
    assert coder.encode(b"x" * 10_000 + b"\x1b") == b"x" * 10_000 + rb"\x1b"


def test_a_terminal_gets_a_harmless_mbox_too(pipe: Pipe) -> None:
    pipe.drain()
    deliver(Stream(pipe.writer, mboxrd=True, harmless=True), b"Subject: \x1b[2J\n\nFrom \xe2\x82")

    (seen,) = messages_of_mboxrd(pipe.end())
    assert seen == rb"Subject: \x1b[2J" + b"\n\nFrom " + rb"\xe2\x82" + b"\n"
