"""Do a job for many accounts side by side (-A); the status is the worst one.

Each thread takes the next account whose server has room for one more session, and whose mailbox is not
in use: two accounts may be two ways to one mailbox, with one record. Questions are asked in the main thread,
which Ctrl-C reaches. An interrupt closes the connections of all sessions, ends the programs that they wait
for, and waits for the orderly ends of those that deliver. The others have nothing to tidy up, and get a
moment.

How many at once, unless --jobs is given, is in ``defaults``: --help shows it without loading this module. If
the system allows fewer threads than there are jobs, there are fewer jobs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pop3fetch.account.settings_table import Account
from pop3fetch.ahead import Answer, Handover, Interrupts, try_to_start
from pop3fetch.cli.main import explain
from pop3fetch.cli.screen.console import Console
from pop3fetch.defaults import ACCOUNTS_AT_ONCE, ACCOUNTS_AT_ONCE_PER_HOST, STREAMS
from pop3fetch.errors import POP3Error
from pop3fetch.status import Status
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from pop3fetch.delivery.opening import Openings

Job = Callable[[Account, Console], int]  # what a command does for one account; returns the exit status
Talk = Callable[[], Any]

CUT_AGAIN = 0.1  # seconds; a session may have been about to connect when the others were cut
MOMENT = 0.5  # seconds that an interrupted session gets if it delivers nothing


class Many(NamedTuple):
    """How many accounts -A processes at once, in all and at one server: --jobs and --jobs-per-host."""

    jobs: int = ACCOUNTS_AT_ONCE
    jobs_per_host: int = ACCOUNTS_AT_ONCE_PER_HOST


class ManyAccounts:
    """The accounts that wait, and the threads that take from them."""

    def __init__(
        self,
        console: Console,
        many: Many,
        job: Job,
        openings: Openings | None = None,
        *,
        as_json: bool = False,
        is_get: bool = False,
    ) -> None:
        """``as_json``: an object on standard output for each account that fails.

        ``is_get``: a terminal shows the progress, and what patience hides hides no failure of another
        account.
        """
        self._console = console
        self._many = many
        self._job = job
        self._openings = openings
        self._waiting: list[Account] = []
        self._busy: list[Account] = []
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._interrupts = Interrupts()
        self._as_json = as_json
        self._is_get = is_get
        self._is_hiding = False  # whether an account has failed within its patience
        self._statuses: list[int] = []
        self.failed: list[str] = []  # names of accounts
        self._failures: list[BaseException] = []
        self._is_alone = False  # whether the main thread does the work
        self._errands: Handover[Answer[Any] | None] = Handover()  # None: a thread has ended

    def fail(self, name: str, error: POP3Error) -> None:
        """Report why an account is not processed, or not to its end."""
        self._explain(name, error)
        self._statuses.append(error.exit_status)
        self.failed.append(name)

    def _explain(self, name: str, error: Exception) -> int:
        console = self._console_of(name)
        status = explain(error, console)
        if self._as_json:
            from pop3fetch.cli.screen.objects import failed_account

            console.json(failed_account(error, status))
        return status

    def run(self, accounts: Sequence[Account]) -> int:
        """Process all accounts; return the worst status, or raise an error that concerns them all."""
        self._waiting = list(accounts)
        threads: list[threading.Thread] = []
        prints = any(account.output in STREAMS for account in accounts)
        if self._is_get and self._console.shows_progress and self._console.verbosity == 0 and not prints:
            from pop3fetch.cli.screen.board import Board

            console = self._console
            console.board = Board(len(accounts), console.draw_block, console.size)
        try:
            self._start(threads, min(self._many.jobs, len(accounts)))
            for _ in range(max(len(threads), 1)):
                self._run_errands()
            worst = max(self._statuses, default=Status.OK)
            return worst or (Status.TRY_LATER if self._is_hiding else Status.OK)
        except BaseException:
            self._stop(threads)
            raise
        finally:
            self._console.wipe()
            self._console.board = None

    def _start(self, threads: list[threading.Thread], count: int) -> None:
        """Start so many threads, or fewer; without any this one does the work."""
        while len(threads) < count:
            thread = threading.Thread(target=self._work, daemon=True)
            if not try_to_start(thread):
                self._console.notice(f"the system allows no more threads: {len(threads)} instead of {count}")
                break
            threads.append(thread)
        if not threads:
            self._is_alone = True
            self._work()

    # -- the main thread ---------------------------------------------------------------------

    def _run_errands(self) -> None:
        """Talk with the person at the terminal for the threads, until one of them ends."""
        while errand := self._errands.get():
            errand.work_out()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failures:
            raise self._failures[0]

    def _stop(self, threads: Sequence[threading.Thread]) -> None:
        self._stopping.set()
        with self._changed:
            self._waiting.clear()
            self._changed.notify_all()
        end = time.monotonic() + MOMENT
        openings = self._openings
        for thread in threads:
            while thread.is_alive() and (time.monotonic() < end or (openings and openings.some_are_left())):
                self._cut()
                thread.join(CUT_AGAIN)

    def _cut(self) -> None:
        """End all that a session may be waiting for."""
        self._interrupts.interrupt()
        if self._openings:
            self._openings.interrupt()
        while self._errands:
            if errand := self._errands.get():
                errand.refuse(KeyboardInterrupt())

    # -- the other threads -------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while account := self._next():
                self._work_on(account)
                with self._changed:
                    self._busy.remove(account)
                    self._changed.notify_all()
        except BaseException as error:  # raised again in the main thread
            self._failures.append(error)
        finally:
            self._errands.put(None)

    def _next(self) -> Account | None:
        """Take the first account that may begin; waits if none may, None at the end."""
        with self._changed:
            while self._waiting:
                for account in self._waiting:
                    if self._may_begin(account):
                        self._waiting.remove(account)
                        self._busy.append(account)
                        return account
                self._changed.wait()
            return None

    def _may_begin(self, account: Account) -> bool:
        sessions = sum(busy.host == account.host for busy in self._busy)
        return sessions < self._many.jobs_per_host and all(
            busy.address != account.address for busy in self._busy
        )

    def _work_on(self, account: Account) -> None:
        board = self._console.board
        if board:
            board.begin(account.name)
        try:
            status = self._job(account, self._console_of(account.name))
        except BrokenPipeError:  # it concerns all accounts: the reader of the output is gone
            raise
        except Exception as error:
            if self._stopping.is_set():  # we have closed the connection
                return
            status = self._explain(account.name, error)
        finally:
            if board:
                board.end(account.name)
        self._finished(account, status)

    def _finished(self, account: Account, status: int) -> None:
        """Take note of how a job has ended."""
        if self._is_get and account.patience is not None and status == Status.TRY_LATER:
            self._is_hiding = True
        else:
            self._statuses.append(status)
        if status:
            self.failed.append(account.name)

    def _console_of(self, name: str) -> Console:
        return self._console.for_account(name, self._in_main_thread, self._interrupts)

    def _in_main_thread(self, talk: Talk) -> Any:
        if self._is_alone:
            return talk()
        errand = Answer(talk)
        self._errands.put(errand)
        return errand.result()
