"""`pop3fetch record`, and its own commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pop3fetch.cli.options import (
    GENERAL_OPTIONS,
    JSON_OPTION,
    STDIN_OPTION,
    Command,
    FileName,
    Group,
    Invocation,
    Word,
    selectors_of,
    server_options,
    with_options,
)
from pop3fetch.errors import UsageError
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.account.settings_table import Account
    from pop3fetch.cli.actions.record import Record
    from pop3fetch.cli.screen.console import Console
    from pop3fetch.quantities import When


EXAMPLES = {
    "record": """\
pop3fetch record            show the record of the default account
pop3fetch record list -A    list the messages fetched from every account""",
    "list": """\
pop3fetch record list -a work        list what was fetched from one account
pop3fetch record list | tail -n 3    list the last three messages""",
    "export": """\
pop3fetch record export > fetched.jsonl                   keep a copy
pop3fetch record export | jq 'select(.size > 1000000)'    print large messages""",
    "add": """\
pop3fetch record add fetched.jsonl           record what a copy has
pop3fetch record add --fetched-at 7d uids    record the unique-ids in a file""",
    "forget": """\
pop3fetch record forget uid:XYZ    fetch one message again
pop3fetch record forget --all      fetch every message again""",
    "forget-destination": """\
pop3fetch record forget-destination maildir:/old    give up a lost folder
pop3fetch record forget-destination mbox:/old       give up a lost file""",
    "rename": """\
pop3fetch record rename bob@old.example bob@new.example     follow a new host
pop3fetch record rename bob@h.example bob@h.example:1995    follow a new port""",
}


def _with_record(invocation: Invocation, work: Callable[[Record], None], *, only_one: bool = False) -> int:
    """Do some work on the record of each account that is meant; ``only_one``: never on several."""
    if only_one and invocation.many:
        raise UsageError("a change needs one account; choose it with -a instead of -A")
    folder = invocation.state_folder()

    def job(account: Account, console: Console) -> int:
        from pop3fetch.cli.actions.record import Record

        work(Record(folder, account, console))
        return Status.OK

    return invocation.one_by_one().for_each_account(job, logs_in=False)


@click.group("record", cls=Group, epilog=EXAMPLES["record"], invoke_without_command=True)
@JSON_OPTION
@server_options
def command(invocation: Invocation, as_json: bool) -> int:
    """Show the record of fetched messages: its file, messages, first and last fetch, messages in doubt."""
    if click.get_current_context().invoked_subcommand is not None:
        return Status.OK
    return _with_record(invocation, lambda record: record.show(as_json=as_json))


@command.command("list", cls=Command, epilog=EXAMPLES["list"], short_help="List the fetched messages.")
@JSON_OPTION
@server_options
def list_messages(invocation: Invocation, as_json: bool) -> int:
    """List the fetched messages: unique-id, size, time and destination."""
    return _with_record(invocation, lambda record: record.list(as_json=as_json))


@command.command(
    "export", cls=Command, epilog=EXAMPLES["export"], short_help="Print the record as JSON lines."
)
@server_options
def export(invocation: Invocation) -> int:
    """Print all that is recorded of each message: one JSON object per line."""
    return _with_record(invocation, lambda record: record.export())


@command.command("add", cls=Command, epilog=EXAMPLES["add"], short_help="Record messages as fetched.")
@click.argument("file", type=FileName())
@click.option(
    "--fetched-at", type=Word("when"), metavar="WHEN", help="When they were fetched (default: now)."
)
@server_options
def add(invocation: Invocation, file: str, fetched_at: When | None) -> int:
    """Record messages as fetched, without the server.

    FILE, or standard input if it is -, has JSON lines of `record export`, or unique-ids, one per line.
    """
    from pop3fetch.cli.actions.record_lines import read

    additions = read(_octets_of(file), file, _seconds(fetched_at))
    return _with_record(invocation, lambda record: record.add(additions), only_one=True)


def _octets_of(file: str) -> bytes:
    """Return what is in a file, or on standard input; raises UsageError."""
    if file == "-":
        return sys.stdin.buffer.read() if sys.stdin else b""
    try:
        return Path(file).expanduser().read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error


def _seconds(when: When | None) -> int | None:
    """Return the moment that a WHEN means, in seconds since the epoch."""
    from pop3fetch.quantities import moment

    return None if when is None else int(moment(when, datetime.now(UTC)).timestamp())


@command.command("forget", cls=Command, epilog=EXAMPLES["forget"], short_help="Make messages new again.")
@click.argument("messages", nargs=-1, metavar="[uid:XYZ]...")
@click.option("--all", "everything", is_flag=True, help="Forget every message.")
@STDIN_OPTION
@server_options
def forget(invocation: Invocation, messages: tuple[str, ...], *, everything: bool, from_stdin: bool) -> int:
    """Make messages new again: the next run fetches those that are still on the server."""
    from pop3fetch.message_words import Uid

    selectors = selectors_of(messages, from_stdin=from_stdin)
    uids = [selector for selector in selectors if isinstance(selector, Uid)]
    if len(uids) < len(selectors):
        raise UsageError("only uid:XYZ names a message here, because numbers are those of one session")
    if everything == bool(uids):
        raise UsageError("record forget needs either uid:XYZ or --all")
    return _with_record(invocation, lambda record: record.forget(uids), only_one=True)


@command.command(
    "forget-destination",
    cls=Command,
    epilog=EXAMPLES["forget-destination"],
    short_help="Forget a destination that is gone for good.",
)
@click.argument("destination", metavar="DEST")
@server_options
def forget_destination(invocation: Invocation, destination: str) -> int:
    """Forget a destination that is gone for good: messages that a crash left there are fetched again.

    DEST is one of --output.
    """
    return _with_record(invocation, lambda record: record.forget_destination(destination))


@command.command(
    "rename", cls=Command, epilog=EXAMPLES["rename"], short_help="Use the record for another address."
)
@click.argument("old")
@click.argument("new")
@partial(with_options, options=GENERAL_OPTIONS)
def rename(invocation: Invocation, old: str, new: str) -> int:
    """Use the record of the address OLD for NEW: user@host, with the port if it is not 995 or 110.

    An account of the configuration file needs this only if its name changes together with its address.
    """
    from pop3fetch.record import moving
    from pop3fetch.record.place import RecordPlace

    if old == new:
        raise UsageError("OLD and NEW are the same address")
    folder = invocation.state_folder()
    moving.rename(RecordPlace(folder, old), RecordPlace(folder, new))
    invocation.console.remark(f"the record of {old} is now that of {new}")
    return Status.OK
