"""`pop3fetch rm`."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass

import click

from pop3fetch.account.config import Account
from pop3fetch.cli.console import Console
from pop3fetch.cli.options import JSON_OPTION, STDIN_OPTION, Invocation, server_options
from pop3fetch.cli.progress import RunReporter
from pop3fetch.cli.selection import messages_argument, selectors_of
from pop3fetch.cli.session import Sessions
from pop3fetch.cli.work import for_each_account
from pop3fetch.errors import POP3Error, Status, UsageError
from pop3fetch.messages import Message, Selector, select
from pop3fetch.pop3.client import POP3Client
from pop3fetch.record.journal import key_of
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.store import Store
from pop3fetch.survey import survey


@dataclass(frozen=True, slots=True)
class Wish:
    """What shall be deleted; without ``selectors`` everything."""

    selectors: tuple[Selector, ...]
    confirmed: bool
    dry_run: bool


@click.command("rm")
@messages_argument
@click.option("--all", "everything", is_flag=True, help="Every message.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Name what would be deleted.")
@STDIN_OPTION
@JSON_OPTION
@server_options
def command(
    invocation: Invocation,
    messages: tuple[str, ...],
    everything: bool,
    yes: bool,
    dry_run: bool,
    from_stdin: bool,
    as_json: bool,
) -> int:
    """Delete messages on the server.

    MESSAGES are numbers, ranges and unique-ids: 3, 2-5, 7-, last, uid:XYZ. On a terminal it
    shows what it would delete, and asks.
    """
    selectors = selectors_of(messages, from_stdin=from_stdin)
    if bool(selectors) == everything:
        raise UsageError("rm needs MESSAGES or --all, and not both")
    asks = sys.stdin.isatty() and invocation.console.err.isatty()
    if everything and not (yes or dry_run or asks):
        raise UsageError("rm --all needs --yes where there is no terminal to ask on")
    wish = Wish(selectors, yes or not asks, dry_run)

    def job(account: Account, console: Console) -> int:
        reporter = RunReporter(console, as_json=as_json)
        with Sessions(account, console).log_in() as client:
            chosen = _chosen(client, wish, reporter)
            if dry_run:
                for message in chosen:
                    reporter.would("delete", message)
            elif chosen and (wish.confirmed or _agreed(chosen, console)):
                return _delete(client, chosen, reporter, _Forgetful(invocation, account))
            client.quit()
        return Status.OK

    return for_each_account(invocation, job)


def _chosen(client: POP3Client, wish: Wish, reporter: RunReporter) -> list[Message]:
    listing = survey(client, reporter)
    if not wish.selectors:
        return list(listing)
    return [listing.message(index) for index in select(listing, wish.selectors)]


def _agreed(messages: list[Message], console: Console) -> bool:
    for message in messages:
        console.text_on_err(f"{message.number}\t{message.size}\t", message.uid)
    count = "1 message" if len(messages) == 1 else f"{len(messages)} messages"
    return click.confirm(f"Delete {count} from the server?", err=True)


def _delete(client: POP3Client, messages: list[Message], reporter: RunReporter, forgetful: _Forgetful) -> int:
    """Delete, and end the session; nothing counts as deleted before QUIT was answered +OK."""
    by_index = {message.index: message for message in messages}
    status: int = Status.OK
    deleted: list[Message] = []
    for index, refusal in client.delete_many(by_index, then_quit=True):
        if refusal:
            reporter.skipped(by_index[index], refusal)
            status = status or refusal.exit_status
        else:
            deleted.append(by_index[index])
    reporter.deleted(len(deleted))
    forgetful.forget(deleted)
    return status


class _Forgetful:
    """Take deleted messages out of the record, for their UIDs may be given again.

    A record that another run holds, or that is not there, is left alone: the next complete
    listing shows the same.
    """

    def __init__(self, invocation: Invocation, account: Account) -> None:
        self._place = RecordPlace(invocation.state_folder(), account.address)

    def forget(self, messages: list[Message]) -> None:
        if not self._place.database.exists():
            return
        with suppress(POP3Error):
            store = Store(self._place)
            try:
                store.forget(key_of(message) for message in messages)
            finally:
                store.close()
