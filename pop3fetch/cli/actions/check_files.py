"""The steps of `check` on the disk: the destination and the record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

from pop3fetch.account.settings_table import Account
from pop3fetch.cli.actions.get import choice_of, delivery_context
from pop3fetch.cli.mail_servers import login_of
from pop3fetch.cli.screen.check import failure
from pop3fetch.cli.screen.console import Console
from pop3fetch.cli.screen.numbers import counted
from pop3fetch.cli.sessions import sessions_of
from pop3fetch.delivery.examination import examine_paths
from pop3fetch.delivery.opening import open_destination
from pop3fetch.durable import is_absent, short
from pop3fetch.errors import POP3Error, RecordError
from pop3fetch.record.patience import Patience
from pop3fetch.record.place import RecordPlace, record_error
from pop3fetch.record.states import CONTRADICTED
from pop3fetch.record.store import ReadOnlyStore
from pop3fetch.step_results import StepResult, Verdict, warning

DAMAGE = ("damaged", "malformed", "not a database")  # words of a RecordError, some of them SQLite's


def examine_destination(
    account: Account, console: Console, state_folder: Path, *, is_configured: bool
) -> Iterator[StepResult]:
    """Yield whether the destination can take mail; nothing is created."""
    try:
        choice = choice_of(account, is_configured=is_configured)
        place = RecordPlace.to_read(state_folder, account.name, account.address)
        sessions = sessions_of(account, console, state_folder)
        context = delivery_context(account, console, place, sessions=sessions)
        destination = open_destination(choice, context)
        known = _known(place, destination.name) if not choice.is_stream else None
        yield from destination.examine(known)
    except POP3Error as error:
        yield failure("destination", error)


def login_at_destination(account: Account) -> Account | None:
    """Return the login at the mail server that messages go to, None if it needs none, or is wrong."""
    try:
        address = choice_of(account).address
        if address and address.user is not None:
            return login_of(address, account.destination, account)
    except POP3Error:  # which is a result of the destination
        pass
    return None


def _known(place: RecordPlace, destination: str) -> str | None:
    """Return the folder_id that a destination had when it took mail, None if it never did."""
    try:
        with closing(ReadOnlyStore(place)) as store:
            places = (intent.place for intent in store.intents())
            intended = (each.folder for each in places if each.destination == destination)
            folder = store.folder_of(destination)
            return next(intended, None) if folder is None else folder
    except RecordError:  # which is a result of its own
        return None


def examine_record(account: Account, state_folder: Path) -> StepResult:
    """Return whether the record can be read and written, what it has, and since when runs fail."""
    try:
        place = RecordPlace.to_read(state_folder, account.name, account.address)
        facts = _facts(place)
        if place.address != account.address:
            facts += f"; `get` will take it over from {place.address}"
        files = [place.database] if place.database.exists() else []
        room = examine_paths(f"the record in {short(place.folder)}", [place.folder, *files])
        troubles = [room.text] if room.verdict is Verdict.WARNING else []
        troubles += [*place.warnings(), *_failures(state_folder, account)]
    except POP3Error as error:
        found = failure("record", error)
        is_damaged = isinstance(error, RecordError) and any(word in error.reason for word in DAMAGE)
        advice = "; restore it from a backup, because without it everything on the server is new"
        return found._replace(text=found.text + advice) if is_damaged else found
    except OSError as error:
        return failure("record", record_error(state_folder, error))
    return warning("record", "; ".join([facts, *troubles])) if troubles else StepResult("record", facts)


def _facts(place: RecordPlace) -> str:
    """Return how many messages a record has, when the last was fetched, and what a run will do with it."""
    if is_absent(place.database):
        return f"nothing was fetched yet; {short(place.database)} will be the record"
    with closing(ReadOnlyStore(place)) as store:
        messages = list(store.fetched())
        left = len(store.intents())
    facts = [f"{counted(len(messages))} in {short(place.database)}"]
    if messages:
        facts.append(f"the last one fetched {datetime.fromtimestamp(messages[-1][1]):%Y-%m-%d %H:%M}")
    doubted = sum(entry.state in CONTRADICTED for entry, _, _ in messages)
    if doubted:
        facts.append(f"{doubted} in doubt, see `pop3fetch record -v`")
    if left:
        facts.append(f"a crash left {counted(left)}, which the next run settles")
    return "; ".join(facts)


def _failures(state_folder: Path, account: Account) -> Iterator[str]:
    """Yield since when the runs with --patience have failed."""
    failures = Patience(RecordPlace(state_folder, account.address), 0).read()
    if failures:
        since = f"{datetime.fromtimestamp(failures.since):%Y-%m-%d %H:%M}"
        times = "once" if failures.times == 1 else f"{failures.times} times"
        yield f"the runs have failed since {since}, {times}"
