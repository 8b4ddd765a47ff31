"""Signals end a run whenever they arrive, even if Python drops what their handlers raise."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pop3fetch.cli.signals import BEAT, Terminated, heed, status_of_second
from pop3fetch.status import Status
from tests.support.command import PATIENCE, Run
from tests.support.scripted_server import StartServer, Talk

ENDS = [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)]


pytestmark = pytest.mark.usefixtures("heeding")


@pytest.mark.parametrize(
    ("end", "status"), [(KeyboardInterrupt(), Status.INTERRUPTED), (Terminated(), Status.TERMINATED)]
)
def test_a_second_signal_ends_the_run_even_behind_another_error(end: BaseException, status: Status) -> None:
    broken = RuntimeError("release unlocked lock")
    broken.__context__ = end
    assert (status_of_second(end), status_of_second(broken)) == (status, status)


def test_what_is_no_second_signal_is_raised() -> None:
    with pytest.raises(SystemExit):
        status_of_second(SystemExit(3))


class Thing:
    """Gets a signal in its finaliser."""

    def __init__(self, number: signal.Signals) -> None:
        self._number = number

    def __del__(self) -> None:
        signal.raise_signal(self._number)


def in_a_finaliser(number: signal.Signals) -> None:
    Thing(number)


def in_a_callback(number: signal.Signals) -> None:
    things = {threading.Event()}
    reference = weakref.ref(next(iter(things)), lambda _: signal.raise_signal(number))
    things.clear()
    assert reference() is None


def in_a_generator(number: signal.Signals) -> None:
    def generator() -> Iterator[None]:
        try:
            yield
        finally:
            signal.raise_signal(number)

    next(generator())


@pytest.mark.parametrize(("number", "error"), ENDS)
@pytest.mark.parametrize("place", [in_a_finaliser, in_a_callback, in_a_generator])
def test_what_was_dropped_is_raised_again(
    number: signal.Signals, error: type[BaseException], place: Callable[[signal.Signals], None]
) -> None:
    with pytest.raises(error):
        place(number)
        threading.Event().wait(PATIENCE)


@pytest.mark.parametrize(("number", "error"), ENDS)
def test_it_is_raised_until_it_counts(number: signal.Signals, error: type[BaseException]) -> None:
    class Deaf:
        def __del__(self) -> None:
            Thing(number)
            threading.Event().wait(PATIENCE)  # which the second one ends

    with pytest.raises(error):
        Deaf()
        threading.Event().wait(PATIENCE)


def test_it_is_raised_once() -> None:
    with pytest.raises(Terminated):
        in_a_finaliser(signal.SIGTERM)
        threading.Event().wait(PATIENCE)
    assert signal.getitimer(signal.ITIMER_REAL)[1] == BEAT
    signal.raise_signal(signal.SIGALRM)


@pytest.mark.parametrize(("number", "error"), ENDS)
def test_a_signal_just_before_a_wait_is_noticed(number: signal.Signals, error: type[BaseException]) -> None:
    silent, mine = socket.socketpair()
    mine.settimeout(PATIENCE)

    def come() -> None:
        # As if it arrived too late to end a system call: Python knows, and no thread is woken.
        signal.pthread_kill(threading.get_ident(), number)

    with silent, mine, pytest.raises(error):
        threading.Timer(0.05, come).start()
        mine.recv(1)


def test_no_lock_stays_taken() -> None:
    """Also with Python 3.14, which may call a handler between taking a lock and the block of `with`."""
    lock = threading.Lock()
    for _ in range(200):
        with pytest.raises(KeyboardInterrupt):
            threading.Timer(0.001, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)).start()
            while True:
                with lock:
                    pass
        assert not lock.locked()


@pytest.mark.parametrize(("number", "error"), ENDS)
def test_the_wait_for_a_lock_ends(number: signal.Signals, error: type[BaseException]) -> None:
    lock = threading.Lock()
    waiting = threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), number))
    with lock, pytest.raises(error):
        waiting.start()
        with lock:
            pass
    waiting.join()


def test_other_errors_are_raised_as_before(heeding: None) -> None:
    told: list[type[BaseException]] = []
    sys.unraisablehook = lambda unraisable: told.append(unraisable.exc_type)
    heed()
    heed()

    class Broken:
        def __del__(self) -> None:
            raise LookupError

    Broken()
    assert told == [LookupError]


AT_EXIT = """
import atexit, signal
from pop3fetch.cli.signals import heed

atexit.register(lambda: print(signal.getitimer(signal.ITIMER_REAL)))  # what comes first is called last
heed()
"""


def test_the_beat_ends_before_python_gives_its_handlers_up() -> None:
    ended = subprocess.run([sys.executable, "-W", "error", "-c", AT_EXIT], capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"(0.0, 0.0)\n", b"")


# A process whose command gets the signal in a finaliser, as it begins to wait for the server.
IN_A_FINALISER = """
import signal, socket, sys
from pop3fetch.cli.main import run

class Thing:
    def __del__(self):
        signal.raise_signal(int(sys.argv[1]))

def watch(frame, event, called):
    # `stat` reads itself, for `get` another thread does.
    if event != "c_call":
        return
    waits = (frame.f_code.co_qualname, called.__name__) == ("Handover.get", "acquire")
    if waits or called.__qualname__ == "socket.recv_into":
        sys.setprofile(None)
        Thing()

sys.setprofile(watch)
sys.exit(run(sys.argv[2:]))
"""

# And one that gets it when it has let go of a lock of threading's own, and does not know it yet. A
# thread that it starts must not run first, or else it waits for none.
IN_A_LOCK = """
import signal, sys
from pop3fetch.cli.main import run

def watch(frame, event, called):
    if (event, frame.f_code.co_name) == ("return", "_release_save"):
        sys.setprofile(None)
        signal.raise_signal(int(sys.argv[1]))

sys.setswitchinterval(60)
sys.setprofile(watch)
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.parametrize("command", ["get", "stat"])
@pytest.mark.parametrize("program", [IN_A_FINALISER, IN_A_LOCK], ids=["in a finaliser", "in a lock"])
@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (signal.SIGTERM, Status.TERMINATED, b"pop3fetch: terminated\n"),
        (signal.SIGINT, Status.INTERRUPTED, b"pop3fetch: interrupted\n"),
    ],
)
def test_a_command_that_waits_for_its_server_ends(
    run: Run,
    server: StartServer,
    tmp_path: Path,
    number: signal.Signals,
    status: Status,
    words: bytes,
    command: str,
    program: str,
) -> None:
    url = server(Talk.stall).url()
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            str(number.value),
            command,
            "-a",
            url,
            "--state-dir",
            str(tmp_path),
        ],
        env=run.environment,
        capture_output=True,
        timeout=PATIENCE / 2,  # the command itself would wait that long twice
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, b"", words)


AT_THE_LAST_LINE = """
import signal, sys
from pop3fetch.cli import main, signals
import pop3fetch.cli.main

signals.heed()
pop3fetch.cli.main.run = lambda words: signal.raise_signal(int(words[0]))
main()
"""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, Status.TERMINATED), (signal.SIGINT, Status.INTERRUPTED)]
)
def test_one_more_signal_at_the_last_line_ends_the_process(
    run: Run, number: signal.Signals, status: Status
) -> None:
    words = [sys.executable, "-c", AT_THE_LAST_LINE, str(number.value)]
    ended = subprocess.run(words, env=run.environment, capture_output=True, timeout=PATIENCE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (status, b"", b"")
