"""Work on one account, or on many side by side (-A); the status is the worst one's.

Every account is worked on in a thread of its own, and no more at once than asked for, in all
and on one server. An interrupt cuts the lines of all of them and waits for their orderly ends.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from pop3fetch.account.config import Account
from pop3fetch.cli.console import Console
from pop3fetch.cli.options import Invocation, Many
from pop3fetch.errors import POP3Error, Status

Job = Callable[[Account, Console], int]


def for_each_account(invocation: Invocation, job: Job) -> int:
    """Do ``job`` for every account that is meant; return the exit status."""
    accounts = invocation.accounts()
    if invocation.many is None:
        return job(accounts[0], invocation.console)
    return _ManyAccounts(invocation.console, invocation.many, job).run(accounts)


class _ManyAccounts:
    def __init__(self, console: Console, many: Many, job: Job) -> None:
        self._console = console
        self._many = many
        self._job = job
        self._polite: dict[str, threading.Semaphore] = defaultdict(
            lambda: threading.Semaphore(many.jobs_per_host)
        )

    def run(self, accounts: list[Account]) -> int:
        for account in accounts:
            self._polite[account.host]  # made here: a defaultdict is not for many threads
        threads = ThreadPoolExecutor(self._many.jobs, thread_name_prefix="account")
        futures: list[Future[int]] = []
        try:
            futures = [threads.submit(self._one, account) for account in _by_turns(accounts)]
            return max((future.result() for future in futures), default=Status.OK)
        except BaseException:
            for future in futures:
                future.cancel()
            _abort_all()
            raise
        finally:
            threads.shutdown()

    def _one(self, account: Account) -> int:
        console = self._console.for_account(account.name)
        with self._polite[account.host]:
            try:
                return self._job(account, console)
            except POP3Error as error:
                console.fail(error)
                return error.exit_status


def _by_turns(accounts: list[Account]) -> list[Account]:
    """Return the accounts with the servers taking turns, so that no server's queue holds up others."""
    seen: dict[str, int] = defaultdict(int)
    turns: list[tuple[int, Account]] = []
    for account in accounts:
        turns.append((seen[account.host], account))
        seen[account.host] += 1
    return [account for _, account in sorted(turns, key=lambda turn: turn[0])]


def _abort_all() -> None:
    from pop3fetch.pop3.transport import abort_all

    abort_all()
