"""`pop3fetch get --every`: one process that fetches again and again, each account by its own clock.

Signals become errands of the main thread: SIGHUP reads the configuration again, SIGUSR1 fetches now. SIGTERM
ends the process in an orderly way, and so does SIGHUP if its terminal was closed.
"""

from __future__ import annotations

import errno
import gc
import os
import random
import signal
import time
from collections.abc import Callable, Sequence
from threading import Condition
from types import FrameType
from typing import TYPE_CHECKING

from pop3fetch.account.settings_table import Account
from pop3fetch.ahead import Answer
from pop3fetch.cli.actions.many_accounts import Job, Many, ManyAccounts
from pop3fetch.cli.main import explain
from pop3fetch.cli.options import Invocation
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.service_manager import READY, RELOADING, STOPPING, WATCHDOG, ServiceManager
from pop3fetch.cli.signals import Terminated
from pop3fetch.record.patience import REPORT_AGAIN
from pop3fetch.record.place import RecordPlace
from pop3fetch.sessions.login_delay import LoginDelay
from pop3fetch.sessions.refused_logins import FIRST_PAUSE, LONGEST_PAUSE
from pop3fetch.status import Status
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from pop3fetch.delivery.opening import Openings

LONGEST_WAIT = 60 * 60  # seconds after failures, unless the interval is longer
MOST_DOUBLINGS = 30  # enough for the shortest interval to reach the longest wait
GARBAGE = 700  # objects between two searches for cycles; a short run makes none
JITTER = (0.9, 1.1)  # so that many accounts do not come back to a server at the same moment

Jitter = Callable[[float, float], float]


class Pace:
    """How long an account waits before its next run; seconds."""

    def __init__(self, interval: float, jitter: Jitter = random.uniform) -> None:
        self._interval = interval
        self._jitter = jitter
        self._failures = 0

    def wait_after(self, status: int) -> float:
        """Return the wait after a run that ended with ``status``; it doubles with each failure in a row."""
        if status not in (Status.TRY_LATER, Status.REFUSED, Status.NO_LOGIN):
            self._failures = 0
            return self._interval
        doublings = min(self._failures, MOST_DOUBLINGS)
        self._failures += 1
        if status == Status.NO_LOGIN:
            return max(self._interval, min(FIRST_PAUSE << doublings, LONGEST_PAUSE))
        wait: float = min(self._interval * 2.0 ** (doublings + 1), LONGEST_WAIT) * self._jitter(*JITTER)
        return max(self._interval, wait)


class Repeats:
    """Which errors of an account need not be printed: they were in its last run, and within a day."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._printed: dict[str, float] = {}  # when
        self._of_this_run: set[str] = set()

    def know(self, line: str) -> bool:
        """Take note of an error, and return whether it is known."""
        self._of_this_run.add(line)
        now = self._now()
        if line in self._printed and now - self._printed[line] < REPORT_AGAIN:
            return True
        self._printed[line] = now
        return False

    def next_run(self) -> None:
        """Forget the errors that have gone."""
        self._printed = {line: when for line, when in self._printed.items() if line in self._of_this_run}
        self._of_this_run.clear()


class Clock(NamedTuple):
    """The time in seconds, and how to wait for a change, for so many seconds by this clock."""

    now: Callable[[], float] = time.monotonic
    wait: Callable[[Condition, float | None], object] = Condition.wait


class GetEvery(ManyAccounts):
    """The accounts of a process that stays."""

    def __init__(
        self,
        invocation: Invocation,
        job: Job,
        openings: Openings,
        interval: float,
        clock: Clock = Clock(),  # noqa: B008  # immutable
    ) -> None:
        """``interval`` in seconds."""
        super().__init__(invocation.console, invocation.many or Many(1, 1), job, openings)
        self._invocation = invocation
        self._interval = interval
        self._clock = clock
        self._paces: dict[str, Pace] = {}
        self._repeats: dict[str, Repeats] = {}
        self._due: dict[str, float] = {}  # by the names of accounts, on the clock
        self._again: set[str] = set()  # accounts whose run is not to be waited for when it ends
        self._is_settled = False  # whether the first run has ended
        self._ends_with_terminal = False
        self._manager = ServiceManager(os.environ)

    def run(self, accounts: Sequence[Account]) -> int:
        """Fetch until a signal ends the process; returns OK for SIGTERM."""
        self._console.keep_answers()
        is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # by nohup
        self._ends_with_terminal = not is_ignored and _foreground() == os.getpgrp()
        signal.signal(signal.SIGHUP, self._hung_up)
        signal.signal(signal.SIGUSR1, self._as_errand(self._fetch_now))
        self._manager.notify(READY, f"STATUS=fetching {len(accounts)} accounts every {self._interval:g} s")
        try:
            return super().run(accounts)
        except Terminated:
            return Status.OK
        finally:
            self._manager.notify(STOPPING)

    # -- the main thread ---------------------------------------------------------------------

    def _as_errand(self, work: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
        # To hand over is safe in a signal's handler: it waits for nothing.
        return lambda number, frame: self._errands.put(Answer(work))

    def _hung_up(self, number: int, frame: FrameType | None) -> None:
        """Read the configuration again; or end, if the terminal of the process was closed."""
        if self._ends_with_terminal and _foreground() is None:
            signal.raise_signal(signal.SIGTERM)
        self._as_errand(self._reload)(number, frame)

    def _run_errands(self) -> None:
        while True:
            try:
                errand = self._errands.get(self._manager.beat)
            except TimeoutError:
                self._manager.notify(WATCHDOG)
                continue
            if errand is None:  # a thread has ended, which it does not by itself
                break
            errand.work_out()
        self._raise_failure()

    def _reload(self) -> None:
        """Read the configuration again; if it is wrong, go on with the accounts as they are."""
        self._manager.notify(RELOADING)
        try:
            accounts = self._invocation.chosen_accounts(self.fail)
        except Exception as error:
            explain(error, self._console)
        else:
            with self._changed:
                self._waiting = list(accounts)
                self._changed.notify_all()
        self._manager.notify(READY)

    def _console_of(self, name: str) -> Console:
        console = super()._console_of(name if self._invocation.many else "")
        console.knows = self._repeats.setdefault(name, Repeats(self._clock.now)).know
        return console

    def _fetch_now(self) -> None:
        with self._changed:
            self._due.clear()
            self._again = {account.name for account in self._busy}
            self._changed.notify_all()

    # -- the other threads -------------------------------------------------------------------

    def _next(self) -> Account | None:
        """Take the next account that is due and may begin; waits for it. None at the end."""
        with self._changed:
            while not self._stopping.is_set():
                now = self._clock.now()
                # The one that has waited longest comes first.
                for account in sorted(self._waiting, key=self._due_of):
                    if self._due_of(account) <= now and self._may_begin(account):
                        self._busy.append(account)
                        return account
                later = [due for account in self._waiting if (due := self._due_of(account)) > now]
                self._clock.wait(self._changed, min(later) - now if later else None)
            return None

    def _due_of(self, account: Account) -> float:
        return self._due.get(account.name, 0.0)

    def _finished(self, account: Account, status: int) -> None:
        pace = self._paces.setdefault(account.name, Pace(self._interval))
        wait = max(pace.wait_after(status), self._login_delay(account))
        if account.name in self._repeats:
            self._repeats[account.name].next_run()
        with self._changed:
            if not self._is_settled:
                # All modules are loaded, so a search for cycles need not look at them again and is quick.
                gc.freeze()
                gc.collect()
                gc.set_threshold(GARBAGE)
                self._is_settled = True
            self._due[account.name] = self._clock.now() + (0 if account.name in self._again else wait)
            self._again.discard(account.name)

    def _login_delay(self, account: Account) -> float:
        """Return for how many seconds the server wants no further login."""
        place = RecordPlace(self._invocation.state_folder_to_read(), account.address)
        return LoginDelay(place).left(time.time())


def _foreground() -> int | None:
    """Return the group of processes that reads what is typed at our terminal.

    None if no terminal is open, and 0 if that is not known.
    """
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno())
    except OSError as error:
        return None if error.errno in (errno.ENXIO, errno.EIO) else 0


def get_every(invocation: Invocation, job: Job, openings: Openings, interval: float) -> int:
    """Fetch every ``interval`` seconds until a signal ends the process; return the exit status."""
    service = GetEvery(invocation, job, openings, interval)
    return service.run(invocation.chosen_accounts(service.fail))
