"""What comes about in the background."""

from __future__ import annotations

import signal
from queue import SimpleQueue
from threading import Event, Thread
from threading import enumerate as enumerate_threads

import pytest

from pop3fetch.ahead import Ahead, Handover, Interrupts, pause
from pop3fetch.errors import UnknownHost


def test_the_result_is_awaited_when_it_is_used() -> None:
    wanted = Event()
    ahead = Ahead(lambda: wanted.wait(10) and "connected")
    wanted.set()
    assert ahead.result() == "connected"


def test_an_error_is_raised_when_the_result_is_used() -> None:
    def fail() -> None:
        raise UnknownHost("mail.example.org", "")

    with pytest.raises(UnknownHost, match=r"mail\.example\.org"):
        Ahead(fail).result()


def test_work_that_hangs_is_given_up_in_time() -> None:
    never = Event()
    with pytest.raises(TimeoutError, match=r"did not answer within 0\.01 s"):
        Ahead(never.wait).result(0.01)
    never.set()


def test_an_abandoned_result_is_disposed_of() -> None:
    disposed: SimpleQueue[str] = SimpleQueue()
    Ahead(lambda: "a connection").abandon(disposed.put)
    assert disposed.get(timeout=10) == "a connection"


@pytest.mark.parametrize("is_early", [True, False])
def test_interrupt_ends_waits_that_begin_before_and_after_it(is_early: bool) -> None:
    never, interrupts = Event(), Interrupts()
    if is_early:
        interrupts.interrupt()
    waiting = Ahead(never.wait, interrupts=interrupts)
    interrupts.interrupt()
    with pytest.raises(KeyboardInterrupt):
        waiting.result(10)
    with pytest.raises(KeyboardInterrupt):
        pause(600, interrupts)
    never.set()


def test_interrupt_ends_a_wait_of_another_thread() -> None:
    never, interrupts = Event(), Interrupts()
    waiting = Ahead(lambda: Ahead(never.wait, interrupts=interrupts).result())
    interrupts.interrupt()
    with pytest.raises(KeyboardInterrupt):
        waiting.result(10)
    never.set()


def test_a_pause_ends_in_time() -> None:
    pause(0.01)


def test_what_must_be_waited_for_is_not_left() -> None:
    wanted = Event()
    waiting = Ahead(lambda: Ahead(lambda: wanted.wait(10) and "written").result())
    Interrupts().interrupt()
    wanted.set()
    assert waiting.result() == "written"


@pytest.fixture
def threadless(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", start)


@pytest.mark.usefixtures("threadless")
def test_without_a_thread_the_work_is_done_when_it_is_wanted() -> None:
    done: list[str] = []
    ahead = Ahead(lambda: done.append("work"))
    assert done == []
    ahead.result()
    assert done == ["work"]
    ahead = Ahead(lambda: done.append("work"))
    ahead.abandon(lambda result: done.append("disposed"))
    assert done == ["work"]


@pytest.mark.usefixtures("threadless")
def test_without_a_thread_no_limit_is_kept_and_so_the_work_is_not_done() -> None:
    with pytest.raises(TimeoutError, match="no thread"):
        Ahead(lambda: "a secret").result(1)


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_was_abandoned_is_left_in_silence() -> None:
    never, disposed, interrupts = Event(), SimpleQueue[object](), Interrupts()
    ahead = Ahead(never.wait, interrupts=interrupts)
    ahead.abandon(disposed.put)
    interrupts.interrupt()
    for thread in enumerate_threads():
        if thread.name.endswith("(_dispose)"):
            thread.join(10)
            assert not thread.is_alive()
    never.set()
    assert disposed.empty()


def test_a_signal_when_the_time_is_just_over_does_not_prolong_a_wait() -> None:
    # A timed get() of a SimpleQueue waited for ever in a few of 10 000 (Python 3.11).
    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    try:
        for _ in range(2000):
            with pytest.raises(TimeoutError):
                Handover[int]().get(0.0002)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_what_is_handed_over_comes_in_order() -> None:
    handover = Handover[int]()
    assert not handover
    for number in range(3):
        handover.put(number)
    assert handover
    assert [handover.get(0) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(TimeoutError):
        handover.get(0)
    Thread(target=handover.put, args=(7,)).start()
    assert handover.get() == 7
