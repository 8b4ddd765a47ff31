"""`pop3fetch rm`."""

from __future__ import annotations

import click

from pop3fetch.cli.options import (
    JSON_OPTION,
    MESSAGES_ARGUMENT,
    STDIN_OPTION,
    Command,
    Invocation,
    message_options,
    selectors_of,
)

EXAMPLES = """\
pop3fetch rm 2-5 last           delete messages by number
pop3fetch rm --all --dry-run    show what would be deleted"""


@click.command("rm", cls=Command, epilog=EXAMPLES)
@MESSAGES_ARGUMENT
@click.option("--all", "everything", is_flag=True, help="Delete every message.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, without deleting it.")
@STDIN_OPTION
@JSON_OPTION
@message_options
def command(
    invocation: Invocation,
    messages: tuple[str, ...],
    *,
    everything: bool,
    yes: bool,
    dry_run: bool,
    from_stdin: bool,
    as_json: bool,
) -> int:
    """Delete MESSAGES on the server. On a terminal, show them and ask first.

    MESSAGES are numbers, ranges and unique-ids: 3, 2-5, 7-, last, uid:XYZ.
    """
    from pop3fetch.cli.actions.rm import Removal, RemoveOptions
    from pop3fetch.errors import UsageError

    selectors = selectors_of(messages, from_stdin=from_stdin)
    if selectors and everything:
        raise UsageError("--all and MESSAGES are mutually exclusive")
    if not (selectors or invocation.filters or everything):
        raise UsageError("rm needs MESSAGES, a filter or --all")
    asks = not (yes or dry_run) and invocation.console.can_ask
    if everything and not (yes or dry_run or asks):
        raise UsageError("rm --all needs --yes without a terminal to ask on")
    options = RemoveOptions(selectors, invocation.filters, asks=asks, dry_run=dry_run, as_json=as_json)
    removal = Removal(invocation.state_folder_to_read(), options)
    return invocation.for_each_account(removal.run, as_json=as_json)
