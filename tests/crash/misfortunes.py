"""What may happen to a run: each is tried out in a trial of its own.

A function beside each kind returns all of its misfortunes that a scenario can have.
"""

from __future__ import annotations

import os
import random
import re
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pop3fetch.status import Status
from tests.crash.strace import Calls, counted, disturbed
from tests.crash.trial import Scenario, Trial, Verdict
from tests.support.command import Ended
from tests.support.launcher import Fault, Launcher
from tests.support.scripted_server import Talk

NEVER = 1_000_000  # more steps than any run takes
PROMPT = 2.0  # seconds in which an interrupted run must have ended
MOMENTS = 0.1  # seconds: about as long as a run takes
STALLED = 0.3  # seconds that a run waits for a silent server

# The errors that the kernel may return for each kind of call.
ERRORS = {
    "openat": ("ENOSPC", "EIO"),
    "mkdir": ("ENOSPC", "EIO"),
    "write": ("ENOSPC", "EIO"),
    "pwrite64": ("ENOSPC", "EIO"),
    "ftruncate": ("EIO",),
    "fsync": ("ENOSPC", "EIO"),
    "link": ("ENOSPC", "EIO"),
    "rename": ("ENOSPC", "EIO"),
    "unlink": ("EIO",),
    "sendto": ("ECONNRESET", "EPIPE"),
}
# Made by the session's thread alone, so that no call of the tidying up fails with them.
FAIL_ONCE = ("openat", "mkdir", "write", "sendto")
AFTER_AN_ERROR = (Status.OK, Status.CANNOT_DELIVER, Status.TRY_LATER)
# SQLite does not report why a file cannot be opened; the configuration may be wrong.
AFTER_AN_OPEN = (*AFTER_AN_ERROR, Status.CONFIGURATION)


@dataclass(frozen=True, slots=True)
class Misfortune(ABC):
    """Something that happens to a run of ``scenario``."""

    scenario: Scenario

    kind = ""  # the column of the summary in which it counts

    @abstractmethod
    def befall(self, trial: Trial) -> None:
        """Make the run to which it happens, and note an end that is wrong."""

    def try_out(self, launcher: Launcher, folder: Path) -> Verdict:
        """Let it happen to one run, and the next one finish; return what became of the messages."""
        with Trial(launcher, folder, self.scenario) as trial:
            self.befall(trial)
            trial.look_between()
            return trial.finish()

    @property
    def names(self) -> set[str]:
        """The names under which it can be chosen."""
        return {self.kind, self.scenario.name}


# -- calls of the system ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kill(Misfortune):
    """The process is killed as it makes the ``number``-th of some calls."""

    calls: Calls
    number: int

    kind = "killed"

    def befall(self, trial: Trial) -> None:
        ended = disturbed(trial, self.calls, f"signal=KILL:when={self.number}")
        if ended.status not in (-signal.SIGKILL, 0):  # now and then a thread makes fewer calls
            trial.verdict.complaints.append(f"status {ended.status} of a run that was to be killed")


@dataclass(frozen=True, slots=True)
class Failure(Misfortune):
    """The ``number``-th of some calls fails; if it is ``lasting``, so do all that follow."""

    calls: Calls
    number: int
    error: str
    lasting: bool = False

    kind = "errors"

    def befall(self, trial: Trial) -> None:
        when = f"{self.number}{'+' * self.lasting}"
        ended = disturbed(trial, self.calls, f"error={self.error}:when={when}")
        fitting = AFTER_AN_OPEN if self.calls.kind == "openat" else AFTER_AN_ERROR
        hindered = self.lasting or self.calls.kind not in FAIL_ONCE
        trial.look_at_an_end_in_order(ended, fitting, hindered=hindered)


def at_calls(launcher: Launcher, scenario: Scenario) -> list[Misfortune]:
    """Return what can happen at each call of the system that a run makes."""
    with TemporaryDirectory() as folder, Trial(launcher, Path(folder), scenario) as trial:
        counts = counted(trial, Path(folder) / "log")
    numbered = ((calls, number) for calls, count in counts.items() for number in range(1, count + 1))
    return [one for calls, number in numbered for one in _at_one_call(scenario, calls, number)]


def _at_one_call(scenario: Scenario, calls: Calls, number: int) -> Iterator[Misfortune]:
    yield Kill(scenario, calls, number)
    for error in ERRORS[calls.kind]:
        yield Failure(scenario, calls, number, error)
    yield Failure(scenario, calls, number, ERRORS[calls.kind][0], lasting=True)


# -- steps -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Death(Misfortune):
    """The process is gone before its ``step``-th step, whichever of its threads would have taken it."""

    step: int

    kind = "dead"

    def befall(self, trial: Trial) -> None:
        trial.get(fault=Fault(self.step))


def at_steps(launcher: Launcher, scenario: Scenario) -> list[Misfortune]:
    """Return a death at every step of a run."""
    with TemporaryDirectory() as folder, Trial(launcher, Path(folder), scenario) as trial:
        trial.get(fault=Fault(step=NEVER))
    return [Death(scenario, step) for step in range(1, launcher.steps + 1)]


# -- the line --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BrokenLine(Misfortune):
    """After so many octets of the server the connection is cut; if it is ``silent``, nothing more comes."""

    octets: int
    silent: bool = False

    kind = "line"

    def befall(self, trial: Trial) -> None:
        trial.mailbox.break_after = self.octets
        trial.mailbox.manner = Talk.stall if self.silent else Talk.cut
        ended = trial.get(*trial.options, *(("--timeout", str(STALLED)) if self.silent else ()))
        trial.mailbox.break_after = None
        trial.look_at_an_end_in_order(ended, (Status.OK, Status.TRY_LATER))


def at_octets(launcher: Launcher, scenario: Scenario, *, silent: bool = False) -> list[Misfortune]:
    """Return a broken connection after each octet that the server sends."""
    with TemporaryDirectory() as folder, Trial(launcher, Path(folder), scenario) as trial:
        trial.get()
        said = sum(session.said for session in trial.sessions())
    return [BrokenLine(scenario, octets, silent) for octets in range(said)]


# -- interrupts ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interrupt(Misfortune):
    """A signal comes after so many ``seconds``, also to a run that waits for a silent server."""

    signal: signal.Signals
    seconds: float
    octets: int | None = None  # that the server sends before it is silent

    kind = "signals"

    def befall(self, trial: Trial) -> None:
        trial.mailbox.break_after, trial.mailbox.manner = self.octets, Talk.stall
        sent: list[float] = []

        def send(process: int) -> None:
            with suppress(ProcessLookupError):
                os.kill(process, self.signal)
            sent.append(time.monotonic())

        timers: list[threading.Timer] = []

        def start(process: int) -> None:
            timers.append(threading.Timer(self.seconds, send, (process,)))
            timers[0].start()

        ended = trial.get(trace=start)
        over = time.monotonic()
        timers[0].join()
        trial.mailbox.break_after = None
        if over - sent[0] > PROMPT:
            trial.verdict.complaints.append(f"took {over - sent[0]:.1f} s to end")
        self._look(trial, ended)

    def _look(self, trial: Trial, ended: Ended) -> None:
        if ended.status == -self.signal:
            return  # it came before the program could know better
        status, words = {
            signal.SIGINT: (Status.INTERRUPTED, rb"pop3fetch: interrupted(; [^\n]+)?\n"),
            signal.SIGTERM: (Status.TERMINATED, rb"pop3fetch: terminated(; [^\n]+)?\n"),
        }[self.signal]
        trial.look_at_an_end_in_order(ended, (Status.OK, status))
        if ended.status and not re.fullmatch(words, ended.err):
            trial.verdict.complaints.append(f"said {ended.err!r}")


def at_moments(scenario: Scenario, count: int) -> list[Misfortune]:
    """Return so many interrupts at random moments."""
    return [
        Interrupt(
            scenario,
            random.choice([signal.SIGINT, signal.SIGTERM]),
            random.uniform(0.002, MOMENTS),
            random.choice([None, random.randrange(1000)]),
        )
        for _ in range(count)
    ]


# -- two runs --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rival(Misfortune):
    """A second run begins ``seconds`` after the first."""

    rival: Launcher
    seconds: float

    kind = "rivals"

    def befall(self, trial: Trial) -> None:
        ends: list[Ended] = []
        before = len(trial.sessions())
        second = threading.Timer(self.seconds, lambda: ends.append(trial.get(launcher=self.rival)))
        second.start()
        ends.append(trial.get())
        second.join()
        for ended in ends:
            trial.look_at_an_end_in_order(ended, (Status.OK, Status.TRY_LATER))
        if {ended.status for ended in ends} == {Status.TRY_LATER}:
            trial.verdict.complaints.append("each of two runs left the work to the other")
        if len(trial.sessions()) - before != sum(ended.status == Status.OK for ended in ends):
            trial.verdict.complaints.append("a run that was locked out spoke to the server")


def with_rivals(rival: Launcher, scenario: Scenario, count: int) -> list[Misfortune]:
    """Return so many second runs, begun at random moments."""
    return [Rival(scenario, rival, random.uniform(0, MOMENTS)) for _ in range(count)]
