"""`pop3fetch get`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from pop3fetch.account.settings_table import DELIVERY, DETAILS, SELECTION, UNATTENDED
from pop3fetch.cli.options import (
    JSON_OPTION,
    MESSAGES_ARGUMENT,
    STDIN_OPTION,
    Command,
    FileName,
    Invocation,
    message_options,
    section_option,
    selectors_of,
    setting_options,
)
from pop3fetch.defaults import STREAMS

if TYPE_CHECKING:
    from pop3fetch.account.config_file import Overrides
    from pop3fetch.cli.actions.get import GetOptions
    from pop3fetch.cli.log import Log

EXAMPLES = """\
pop3fetch get --delete-after 30    fetch new mail, delete it 30 days later
pop3fetch get -o mbox:inbox 1-3    fetch three messages into a file"""


@click.command("get", cls=Command, epilog=EXAMPLES)
@MESSAGES_ARGUMENT
@partial(setting_options, DELIVERY)
@click.option("--lines", type=int, metavar="N", help="Print only the headers and the first N lines.")
@click.option("--all", is_flag=True, help="Fetch every message, not only the new ones.")
@click.option("--mark", is_flag=True, help="Record messages as fetched without fetching them.")
@partial(setting_options, SELECTION)
@partial(setting_options, DETAILS)
@section_option(
    "--delete-marked",
    section=DETAILS,
    is_flag=True,
    help="Also delete messages that were only marked as fetched.",
)
@section_option(
    "--create", section=DETAILS, is_flag=True, help="Create the destination anew if it is missing."
)
@click.option("--dry-run", is_flag=True, help="Show what would be done, without doing it.")
@STDIN_OPTION
@JSON_OPTION
@partial(setting_options, UNATTENDED)
@section_option(
    "--every",
    section=UNATTENDED,
    metavar="DURATION",
    help="Stay, and fetch again and again: every 5m, 1h. SIGTERM ends it.",
)
@section_option(
    "--log-file",
    section=UNATTENDED,
    metavar="FILE",
    envvar="POP3FETCH_LOG_FILE",
    type=FileName(),
    help="Write a line per event to FILE, or to the system's log: syslog.",
)
@section_option(
    "--log-json", section=UNATTENDED, is_flag=True, help="Write each line of the log as a JSON object."
)
@message_options
def command(invocation: Invocation, messages: tuple[str, ...], from_stdin: bool, **options: Any) -> int:
    """Fetch every new message, or exactly MESSAGES, each exactly once. MESSAGES are numbers, ranges and
    unique-ids: 3, 2-5, 7-, last, uid:XYZ.
    """
    from pop3fetch.account.config_file import Overrides, wrong_option
    from pop3fetch.cli.actions.get import Get, GetOptions
    from pop3fetch.errors import UsageError

    own = GetOptions(**options)
    invocation.options.checked(wrong_option)  # a wrong one ends the run before a file is read
    if own.lines is not None and own.lines < 0:
        raise UsageError(f"--lines must be at least 0, not {own.lines}")
    selectors = selectors_of(messages, from_stdin=from_stdin)
    _refuse_contradictions(own, invocation.options, chosen=bool(selectors))
    interval = 0.0 if own.every is None else _seconds(own.every)
    invocation = invocation._replace(open_log=partial(_open_log, as_json=own.log_json))
    if own.log_file is not None:
        invocation.console.log = _open_log(own.log_file, as_json=own.log_json)
    if own.lines is not None:
        invocation = invocation._replace(options=Overrides(invocation.options, output="-"))
    get = Get(invocation, own, selectors)
    if own.every is not None:
        from pop3fetch.cli.actions.get_every import get_every

        return get_every(invocation, get.run, get.openings, interval)
    as_json = own.as_json and invocation.options.get("output") not in STREAMS
    try:
        return invocation.for_each_account(
            get.run, get.openings, as_json=as_json, is_get=True, at_end=get.report
        )
    except BaseException as end:
        if get.ended_early and not isinstance(end, Exception):
            from pop3fetch.cli.screen.early_end import note_what_is_safe
            from pop3fetch.cli.signals import behind

            if invocation.many and behind(end.__context__):  # a second one: not all accounts have told
                raise
            note_what_is_safe(end, get.ended_early)
        raise


def _open_log(target: str, *, as_json: bool) -> Log:
    from pop3fetch.cli.log import open_log

    return open_log(target, as_json=as_json)


def _seconds(every: str) -> float:
    from pop3fetch.errors import UsageError
    from pop3fetch.quantities import duration

    try:
        seconds = duration(every).total_seconds()
    except ValueError as error:
        raise UsageError(f"--every {error}") from None
    if not seconds:
        raise UsageError("--every must be at least 1s")
    return seconds


def _refuse_contradictions(own: GetOptions, given: Overrides, *, chosen: bool) -> None:
    from pop3fetch.errors import UsageError

    is_stream = given.get("output") in STREAMS
    is_look = own.lines is not None or (is_stream and chosen)
    deletes = given.get("delete") or "delete_after" in given
    keeps = given.get("delete") is False
    contradictions = {
        "--output and --exec are mutually exclusive": {"output", "exec"} <= given.keys(),
        "--all and MESSAGES are mutually exclusive": own.all and chosen,
        "--lines prints to standard output: it cannot be combined with --exec or another --output": (
            own.lines is not None and ("exec" in given or given.get("output", "-") != "-")
        ),
        "--delete, --keep and --delete-after are mutually exclusive": {"delete", "delete_after"}
        <= given.keys(),
        "--mark fetches and deletes nothing, so it cannot be combined with --output, --exec, --lines or "
        "--delete": own.mark
        and ("output" in given or "exec" in given or own.lines is not None or deletes or own.delete_marked),
        "--delete-marked and --keep are mutually exclusive": own.delete_marked and keeps,
        "messages that are only looked at (-o - MESSAGES) are not deleted; see `pop3fetch rm`": (
            is_look and (deletes or own.delete_marked)
        ),
        "--every fetches new messages, so it cannot be combined with MESSAGES, --all, --mark, --lines or "
        "--dry-run": own.every is not None
        and (chosen or own.all or own.mark or own.dry_run or own.lines is not None),
    }
    for sentence, found in contradictions.items():
        if found:
            raise UsageError(sentence)
