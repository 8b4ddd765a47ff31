"""What the server lists, beside what another program has fetched from it. Nothing is fetched or deleted."""

from __future__ import annotations

import os
import time
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from pop3fetch.account.credentials import Password, Sources
from pop3fetch.account.settings_table import Account
from pop3fetch.cli.actions.import_plan import Count, Planned
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.progress import RunReporter
from pop3fetch.cli.sessions import process_context
from pop3fetch.fetch.additions import FORMS
from pop3fetch.fetch.plan import compare
from pop3fetch.fetch.survey import survey
from pop3fetch.messages import Listing
from pop3fetch.record.states import DAY
from pop3fetch.record.store import IMPORTED, ReadOnlyStore
from pop3fetch.sessions.sessions import Sessions


def can_ask(planned: Planned) -> bool:
    """Return whether the server can be asked without running anything that the files contain."""
    account = planned.account
    if account is None or account.tunnel_command or account.uses_oauth:
        return False
    return planned.is_known or not account.password_command


def ask(planned: Planned, program: str, console: Console, state_folder: Path) -> Count:
    """Log in, and count; raises what a session raises, and NoPassword if no file has a password."""
    account = planned.account
    assert account is not None
    if planned.secret is not None:
        account = account._replace(password=planned.secret.text, password_file=None)
    with _sessions(account, console, state_folder, keyring=planned.is_known).log_in() as client:
        listing = survey(client, RunReporter(console), by_number=True)  # which never reads a message
        client.end_look(console.notice)
    return _count(planned, program, listing, account)


def _sessions(account: Account, console: Console, state_folder: Path, *, keyring: bool) -> Sessions:
    process = process_context(console)
    sources = Sources(
        home=Path(os.path.expanduser("~")),
        report=console.notice,
        child_environment=process.child_environment,
        keyring=keyring,
        interrupts=console.interrupts,
    )
    return Sessions(account, state_folder, Password(account, sources), process)


def _count(planned: Planned, program: str, listing: Listing, account: Account) -> Count:
    listed = planned.seen.messages if planned.seen and planned.seen.messages and planned.adds else ()
    times: dict[bytes, deque[int | None]] = defaultdict(deque)
    for uid, at in listed:
        times[uid].append(at)
    assert planned.place is not None
    with closing(ReadOnlyStore(planned.place)) as store:
        unknown = [listing.message(index).uid for index in compare(listing, store.known()).new]
    form: Callable[[bytes], bytes] = FORMS.get(f"{IMPORTED}{program}", bytes)
    matched: list[int | None] = []
    left: list[bytes] = []
    for uid in unknown:  # as it is listed first, then in the program's form
        (matched.append(times[uid].popleft()) if times.get(uid) else left.append(uid))
    for uid in left:
        if times.get(form(uid)):
            matched.append(times[form(uid)].popleft())
    return Count(len(listing), len(matched), len(unknown) - len(matched), _due(planned, account, matched))


def _due(planned: Planned, account: Account, times: list[int | None]) -> int:
    """Return how many of the messages that were fetched at ``times`` the next `get` deletes."""
    if planned.foreign.kept:
        return 0
    if account.delete:
        return len(times)
    if account.delete_after is None:
        return 0
    moment = time.time() - account.delete_after * DAY
    return sum(at is not None and at <= moment for at in times)
