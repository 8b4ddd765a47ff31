"""Group commit: what is delivered together, which thread waits for which, and what a failure does."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest

from pop3fetch.delivery.destination import Destination, Draft, Journal
from pop3fetch.errors import ConnectionLost, DeliveryError, POP3Error
from pop3fetch.fetch.batch import BATCH_MESSAGES, BATCH_OCTETS, Batcher
from pop3fetch.fetch.show import NoJournal
from tests.support.delivering import message

LOST = ConnectionLost("mail.example.org", "while waiting for the reply to RETR")
FULL = DeliveryError("the disk", "it is full")
PATIENCE = 10.0  # seconds that one thread waits for the other; no test needs them


class Note(Draft):
    """A draft that is nowhere."""

    discarded = False

    def write(self, block: bytes) -> None:
        self.octets += len(block)

    def discard(self) -> None:
        self.discarded = True


class Gate(Destination):
    """Holds each batch until the gate is open; refuses or fails if it is set to."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.name = "the gate"
        self.batches: list[list[int]] = []
        self.arrived = threading.Event()
        self.open = threading.Event()
        self.refusals: dict[int, DeliveryError] = {}
        self.failure: BaseException | None = None
        self.intends = False
        self.interruptions = 0
        if is_open:
            self.open.set()

    def prepare(self, known: str | None = None, *, create: bool = False) -> None: ...

    def draft(self, message: object) -> Draft:
        raise NotImplementedError

    def deliver(self, drafts: Sequence[Draft], journal: Journal) -> list[tuple[Draft, DeliveryError]]:
        self.arrived.set()
        assert self.open.wait(PATIENCE)
        if self.intends:
            for draft in drafts:
                draft.intended = True
        if self.failure:
            raise self.failure
        self.batches.append([draft.message.index for draft in drafts])
        return [
            (draft, self.refusals[draft.message.index])
            for draft in drafts
            if draft.message.index in self.refusals
        ]

    def interrupt(self) -> None:
        self.interruptions += 1
        self.open.set()

    @property
    def indexes(self) -> list[int]:
        return [index for batch in self.batches for index in batch]


class Heard:
    """What is reported to the session's thread, and in which thread."""

    def __init__(self) -> None:
        self.delivered: list[int] = []
        self.refused: list[tuple[int, POP3Error]] = []
        self.threads: set[threading.Thread] = set()

    def deliver(self, draft: Draft) -> None:
        self.delivered.append(draft.message.index)
        self.threads.add(threading.current_thread())

    def refuse(self, draft: Draft, error: DeliveryError) -> None:
        self.refused.append((draft.message.index, error))
        self.threads.add(threading.current_thread())


@pytest.fixture
def heard() -> Heard:
    return Heard()


def batcher_to(gate: Gate, heard: Heard) -> Batcher:
    return Batcher(gate, NoJournal(), heard.deliver, heard.refuse)


def note(index: int, octets: int = 1) -> Note:
    written = Note(message(index))
    written.octets = octets
    return written


def test_all_drafts_are_delivered_in_order_and_reported_in_the_sessions_thread(heard: Heard) -> None:
    gate = Gate()
    with batcher_to(gate, heard) as batcher:
        for index in range(500):
            batcher.add(note(index))
    assert gate.indexes == heard.delivered == list(range(500))
    assert heard.threads == {threading.current_thread()}


def test_without_a_draft_nothing_is_delivered(heard: Heard) -> None:
    gate = Gate()
    with batcher_to(gate, heard):
        pass
    assert (gate.batches, heard.delivered) == ([], [])


def test_what_arrives_while_a_batch_is_delivered_waits_for_the_next(heard: Heard) -> None:
    gate = Gate(is_open=False)
    with batcher_to(gate, heard) as batcher:
        batcher.add(note(0))
        assert gate.arrived.wait(PATIENCE)
        for index in range(1, 4):
            batcher.add(note(index))
        gate.open.set()
    assert gate.batches == [[0], [1, 2, 3]]


@pytest.mark.parametrize(("count", "octets"), [(BATCH_MESSAGES, 1), (1, BATCH_OCTETS)])
def test_a_full_batch_makes_the_session_wait(heard: Heard, count: int, octets: int) -> None:
    gate = Gate(is_open=False)
    with batcher_to(gate, heard) as batcher:
        batcher.add(note(0))
        assert gate.arrived.wait(PATIENCE)
        for index in range(1, count + 1):
            batcher.add(note(index, octets))
        opening = threading.Timer(0.01, gate.open.set)
        opening.start()
        batcher.add(note(count + 1))
        assert gate.open.is_set()
        opening.join()
    assert [len(batch) for batch in gate.batches] == [1, count, 1]


def test_a_refused_draft_is_reported_and_the_others_are_delivered(heard: Heard) -> None:
    gate = Gate()
    gate.refusals = {1: FULL}
    with batcher_to(gate, heard) as batcher:
        for index in range(3):
            batcher.add(note(index))
    assert (heard.delivered, heard.refused) == ([0, 2], [(1, FULL)])


@pytest.mark.parametrize("intended", [False, True])
def test_a_failure_is_raised_in_the_session_and_discards_what_is_not_intended(
    heard: Heard, intended: bool
) -> None:
    gate = Gate(is_open=False)
    gate.failure, gate.intends = FULL, intended
    notes = [note(index) for index in range(3)]
    with pytest.raises(DeliveryError) as caught, batcher_to(gate, heard) as batcher:
        batcher.add(notes[0])
        assert gate.arrived.wait(PATIENCE)
        batcher.add(notes[1])
        gate.open.set()
        batcher.end()
        batcher.add(notes[2])
    assert caught.value is FULL
    assert [written.discarded for written in notes] == [not intended, True, True]
    assert heard.delivered == []


def test_a_failure_of_the_last_batch_is_raised_at_the_end(heard: Heard) -> None:
    gate = Gate()
    gate.failure = FULL
    with pytest.raises(DeliveryError) as caught, batcher_to(gate, heard) as batcher:
        batcher.add(note(0))
    assert caught.value is FULL


def test_failure_of_a_delivery_is_raised_in_place_of_an_error_of_the_session(heard: Heard) -> None:
    """A session that broke may be followed by another one, but a delivery that failed ends the run."""
    gate = Gate()
    gate.failure, gate.intends = FULL, True
    with pytest.raises(DeliveryError) as caught, batcher_to(gate, heard) as batcher:
        batcher.add(note(0))
        raise LOST
    assert caught.value is FULL


def test_after_an_error_of_the_session_what_came_whole_is_delivered(heard: Heard) -> None:
    gate = Gate()
    with pytest.raises(ConnectionLost), batcher_to(gate, heard) as batcher:
        batcher.add(note(0))
        raise LOST
    assert gate.indexes == heard.delivered == [0]
    assert gate.interruptions == 0


def test_after_an_interrupt_what_waits_is_discarded_and_what_runs_comes_to_its_end(heard: Heard) -> None:
    gate = Gate(is_open=False)
    waiting = note(1)
    with pytest.raises(KeyboardInterrupt), batcher_to(gate, heard) as batcher:
        batcher.add(note(0))
        assert gate.arrived.wait(PATIENCE)
        batcher.add(waiting)
        raise KeyboardInterrupt
    assert gate.interruptions == 1
    assert gate.indexes == heard.delivered == [0]
    assert waiting.discarded


@pytest.mark.usefixtures("heeding")
def test_an_interrupt_of_the_last_wait_does_not_leave_a_delivery_behind(heard: Heard) -> None:
    gate = Gate(is_open=False)

    def interrupt() -> None:
        assert gate.arrived.wait(PATIENCE)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt), batcher_to(gate, heard) as batcher:
        batcher.add(note(0))
    interrupting.join()
    assert gate.interruptions == 1
    assert gate.indexes == [0]


# -- how many drafts may be open at once ------------------------------------------------------------

SCRIPT = """
import resource, sys
soft, hard, runs, most = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from pop3fetch.fetch.batch import room_for_drafts
print(room_for_drafts(runs, most), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "runs", "expected"),
    [
        pytest.param(256, 4096, 1, (400, 4096), id="the limit is raised"),
        pytest.param(256, 20000, 8, (400, 8192), id="not further than it can be needed"),
        pytest.param(1024, 1024, 1, (400, 1024), id="what there is suffices for one"),
        pytest.param(1024, 1024, 8, (57, 1024), id="several share it"),
        pytest.param(128, 128, 1, (12, 128), id="little is left"),
        pytest.param(64, 64, 8, (1, 64), id="one at a time"),
        pytest.param(10000, 20000, 1, (400, 10000), id="what is enough is left alone"),
    ],
)
def test_drafts_are_as_many_as_files_may_be_open(
    soft: int, hard: int, runs: int, expected: tuple[int, int]
) -> None:
    arguments = map(str, (soft, hard, runs, 400))
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, *arguments], capture_output=True, check=True
    )
    assert tuple(map(int, ended.stdout.split())) == (*expected, hard)
