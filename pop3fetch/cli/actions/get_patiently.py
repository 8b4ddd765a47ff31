"""`pop3fetch get --patience`: temporary failures are silent at first, then reported once a day.

On a terminal and with -v each failure is shown as well.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.account.settings_table import Account
from pop3fetch.cli.main import in_our_terms
from pop3fetch.cli.screen.advice import error_line
from pop3fetch.cli.screen.console import Console, with_notes
from pop3fetch.errors import POP3Error
from pop3fetch.record.patience import Failures, Patience
from pop3fetch.record.place import RecordPlace
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.cli.actions.many_accounts import Job


def get_patiently(get: Job, account: Account, console: Console, state_folder: Path) -> int:
    """Do ``get`` for an account; returns the exit status, raises what is not temporary."""
    limit = account.patience.total_seconds() if account.patience else 0
    patience = Patience(RecordPlace(state_folder, account.address), limit)
    lines: list[str] = []
    try:
        status = get(account, console.hushing(lines))
    except Exception as error:
        known = in_our_terms(error)
        if not (isinstance(known, POP3Error) and known.is_temporary):
            _show(lines, console)
            raise
        lines.insert(0, with_notes(error_line(known), error))
        status = Status.TRY_LATER
    if status == Status.TRY_LATER:
        return _failed(patience, lines, account, console)
    _show(lines, console)  # the run has gone through, but not for these messages
    if over := patience.succeeded():
        console.error(f"fetching from {account.title} works again; it had failed {_history(over)}")
    return status


def _failed(patience: Patience, lines: Sequence[str], account: Account, console: Console) -> int:
    """Count a failed run, and report the failures if it is time; return the exit status."""
    now = time.time()
    try:
        failures = patience.failed(now)
        is_over = patience.is_over(failures, now)
        if is_over and failures.is_due(now):
            patience.reported(failures, now)
            console.error(f"fetching from {account.title} has failed {_history(failures)}: {lines[0]}")
            lines = lines[1:]
        elif console.shows_details:
            _show(lines, console)
            lines = []
        if console.log:  # which has each of them
            for line in lines:
                console.log("error", console.account, line)
        return Status.REFUSED if is_over else Status.TRY_LATER
    except (OSError, POP3Error):  # what cannot be counted must not be hidden
        _show(lines, console)
        return Status.TRY_LATER


def _show(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.error(line)


def _history(failures: Failures) -> str:
    since = datetime.fromtimestamp(failures.since).isoformat(" ", "minutes")
    return f"since {since} ({failures.times} {'run' if failures.times == 1 else 'runs'})"
