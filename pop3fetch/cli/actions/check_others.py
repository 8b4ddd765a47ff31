"""The step of `check` that looks for other programs which fetch the same mailbox, by their files and jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pop3fetch.account.credentials import without_password
from pop3fetch.account.settings_table import Account
from pop3fetch.cli.actions.import_ import READERS, default_files, surroundings
from pop3fetch.durable import short
from pop3fetch.errors import FetcherRunning
from pop3fetch.importing.files import require_ended
from pop3fetch.importing.foreign import Broken, ForeignAccount
from pop3fetch.importing.jobs import jobs
from pop3fetch.record.states import DAY
from pop3fetch.step_results import StepResult, warning

STEP = "other programs"
RECENTLY = 7 * DAY  # seconds; a program that ran since then still fetches
ADVICE = (
    "two programs that delete take mail from each other: remove the jobs of one, or the account from its file"
)


def examine_others(account: Account) -> StepResult:
    """Return whether other programs are set up for the mailbox of an account, and still fetch from it."""
    facts, is_active = [], False
    for program in READERS:
        accounts, lock = _accounts(program, account)
        if not accounts:
            continue
        signs = list(_signs(program, lock))
        last_run = max(map(_last_run, accounts))
        is_active = is_active or bool(signs) or not last_run or time.time() - last_run < RECENTLY
        last = f", last run {datetime.fromtimestamp(last_run):%Y-%m-%d %H:%M}" if last_run else ""
        file = short(Path(accounts[0].origin.file))
        facts.append("; ".join([f"{program} is set up for this mailbox in {file}{last}", *signs]))
    if is_active:
        return warning(STEP, "; ".join([*facts, ADVICE]))
    return StepResult(STEP, "; ".join(facts) or f"none of {', '.join(READERS)} is set up for this mailbox")


def _accounts(program: str, account: Account) -> tuple[list[ForeignAccount], str | None]:
    """Return the accounts of a program that are this mailbox, and the file that shows if it is running."""
    found, lock, where = [], None, surroundings()
    for path in default_files(program, where):
        try:
            reading = READERS[program](path, where.load(path), where)
        except (OSError, Broken):  # its program could not read it either
            continue
        lock = lock or reading.lock
        found += [each for each in reading.accounts if _is_same(each, account)]
    return found, lock


def _is_same(foreign: ForeignAccount, account: Account) -> bool:
    users = {str(foreign.settings.get("user", "")).partition("@")[0], (account.user or "").partition("@")[0]}
    return str(foreign.settings.get("host", "")).lower() == account.host.lower() and len(users) == 1


def _last_run(foreign: ForeignAccount) -> float:
    """Return when the list of fetched messages was written, in seconds since the epoch, or 0."""
    try:
        return os.stat(foreign.fetched.path).st_mtime if foreign.fetched else 0
    except OSError:
        return 0


def _signs(program: str, lock: str | None) -> Iterator[str]:
    """Yield what shows that a program is running now, or will."""
    try:
        if lock:
            require_ended(program, lock)
    except FetcherRunning as error:
        yield str(error)
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    for job in jobs(program, Path(config) / "systemd/user", without_password(os.environ)):
        line = f":{job.origin.line}" if job.origin.line else ""
        yield f"{short(Path(job.origin.file))}{line} still runs it"
