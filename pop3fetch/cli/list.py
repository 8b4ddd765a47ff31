"""`pop3fetch list`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import click

from pop3fetch.account.config import Account
from pop3fetch.cli.console import Console
from pop3fetch.cli.options import JSON_OPTION, STDIN_OPTION, Invocation, server_options
from pop3fetch.cli.progress import RunReporter
from pop3fetch.cli.selection import messages_argument, selectors_of
from pop3fetch.cli.session import Sessions
from pop3fetch.cli.work import for_each_account
from pop3fetch.errors import Status
from pop3fetch.headers import Summary, summarize
from pop3fetch.messages import Listing, Message, Selector, select
from pop3fetch.plan import Known, compare
from pop3fetch.pop3.client import POP3Client
from pop3fetch.recall import known_of
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.store import ReadOnlyStore
from pop3fetch.survey import headers_of, survey

NOTHING = Summary(None, None, None, None, None)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list; ``summary`` is None without --long."""

    message: Message
    new: bool
    summary: Summary | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall be listed."""

    selectors: tuple[Selector, ...]
    only_new: bool
    long: bool


@click.command("list")
@messages_argument
@click.option("-l", "--long", is_flag=True, help="Add date, sender and subject.")
@click.option("--new", "only_new", is_flag=True, help="List only new messages.")
@STDIN_OPTION
@JSON_OPTION
@server_options
def command(
    invocation: Invocation,
    messages: tuple[str, ...],
    long: bool,
    only_new: bool,
    from_stdin: bool,
    as_json: bool,
) -> int:
    """List the messages on the server: number, size in octets, and unique-id.

    MESSAGES are numbers, ranges and unique-ids: 3, 2-5, 7-, last, uid:XYZ.
    """
    wanted = Wanted(selectors_of(messages, from_stdin=from_stdin), only_new, long)

    def job(account: Account, console: Console) -> int:
        known = _known(invocation, account)
        with Sessions(account, console).log_in() as client:
            rows = _rows(client, wanted, known, console)
            if as_json:
                for row in rows:
                    console.json({**console.account_field, **_as_json(row)})
            elif console.shows_tables:
                _show_table(console, rows, long)
            else:
                for row in rows:
                    console.row(*_cells(row))
            client.quit()
        return Status.OK

    return for_each_account(invocation, job)


def _known(invocation: Invocation, account: Account) -> Known:
    store = ReadOnlyStore(RecordPlace(invocation.state_folder(), account.address))
    try:
        return known_of(store)
    finally:
        store.close()


def _rows(client: POP3Client, wanted: Wanted, known: Known, console: Console) -> Iterator[Row]:
    listing = survey(client, RunReporter(console))
    comparison = compare(listing, known)
    new = {*comparison.new, *comparison.changed}
    indexes = select(listing, wanted.selectors) if wanted.selectors else list(listing.indexes())
    if wanted.only_new:
        indexes = [index for index in indexes if index in new]
    for index, summary in _summaries(client, indexes) if wanted.long else ((i, None) for i in indexes):
        yield Row(_message(listing, index), index in new, summary)


def _message(listing: Listing, index: int) -> Message:
    return listing.message(index)


def _summaries(client: POP3Client, indexes: list[int]) -> Iterator[tuple[int, Summary]]:
    for index, headers in headers_of(client, indexes):
        yield index, NOTHING if headers is None else summarize(headers)


def _cells(row: Row) -> list[bytes | str | int | None]:
    message, summary = row.message, row.summary
    cells: list[bytes | str | int | None] = [message.number, message.size, message.uid]
    if summary is not None:
        date = summary.date.isoformat() if summary.date else ""
        cells += [date, summary.sender, summary.subject]
    return cells


def _as_json(row: Row) -> dict[str, object]:
    message, summary = row.message, row.summary
    shown: dict[str, object] = {
        "number": message.number,
        "size": message.size,
        "uid": message.uid.decode("utf-8", "backslashreplace"),
        "new": row.new,
    }
    if summary is not None:
        shown |= {
            "date": summary.date.isoformat() if summary.date else None,
            "from": summary.sender,
            "to": summary.to,
            "subject": summary.subject,
            "message_id": summary.message_id,
        }
    return shown


def _show_table(console: Console, rows: Iterator[Row], long: bool) -> None:
    from pop3fetch.cli.table import show

    show(console, ((row.message, row.new, row.summary) for row in rows), long=long)
