"""`pop3fetch check`."""

from __future__ import annotations

import click

from pop3fetch.cli.options import JSON_OPTION, Command, Invocation, server_options

EXAMPLES = """\
pop3fetch check -a work        examine one account
pop3fetch check -A --json      examine all, for a script"""


@click.command("check", cls=Command, epilog=EXAMPLES)
@JSON_OPTION
@server_options
def command(invocation: Invocation, as_json: bool) -> int:
    """Examine an account from end to end: one line per step, with what to do.

    Nothing is fetched, deleted or recorded. The login is tried once.
    """
    from pop3fetch.cli.actions.check import Check

    return Check(invocation, as_json=as_json).run()
