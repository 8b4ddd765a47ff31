"""What `pop3fetch stat --new` does for one account."""

from __future__ import annotations

from pathlib import Path

from pop3fetch.account.settings_table import Account
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.progress import RunReporter
from pop3fetch.fetch.plan import compare
from pop3fetch.fetch.survey import Recorded, status_of, survey
from pop3fetch.pop3.mail_session import MailSession
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.store import known_at
from pop3fetch.status import Status


def count_new(
    client: MailSession, account: Account, console: Console, state_folder: Path
) -> tuple[Status, int]:
    """Return the exit status of a listing, and how many of its messages are new."""
    known = known_at(RecordPlace.to_read(state_folder, account.name, account.address))
    recorded = Recorded(account.address, lambda: known.has_unique_ids)
    listing = survey(client, RunReporter(console), recorded)
    return status_of(listing), len(compare(listing, known).new)
