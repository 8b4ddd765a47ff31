"""`pop3fetch accounts`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from pop3fetch.cli.options import GENERAL_OPTIONS, JSON_OPTION, Command, Invocation, with_options
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.account.config_file import Configuration
    from pop3fetch.errors import POP3Error


EXAMPLES = """\
pop3fetch accounts -v                   show servers and destinations, too
pop3fetch accounts --json | jq .host    print the server of each account"""


@click.command("accounts", cls=Command, epilog=EXAMPLES)
@JSON_OPTION
@partial(with_options, options=GENERAL_OPTIONS)
def command(invocation: Invocation, as_json: bool) -> int:
    """List the configured accounts by name; -v adds host, port, user and destination."""
    console = invocation.console
    configuration = invocation.configuration()
    if not configuration.names():
        console.remark(f"there are no accounts in {configuration.path}")
    elif as_json or console.verbosity >= 1:
        return _describe(invocation, configuration, as_json=as_json)
    else:
        for name in configuration.names():
            console.row(name)
    return Status.OK


def _describe(invocation: Invocation, configuration: Configuration, *, as_json: bool) -> int:
    from pop3fetch.cli.actions.get import choice_of
    from pop3fetch.cli.screen.objects import account_object
    from pop3fetch.errors import ConfigurationError

    console = invocation.console
    errors: list[POP3Error] = []
    for account in invocation.accounts(configuration, lambda name, error: errors.append(error)):
        try:
            destination = str(choice_of(account))
        except ConfigurationError as wrong:
            errors.append(wrong)
            continue
        if as_json:
            console.json(account_object(account, destination))
        elif console.shows_tables:
            port = f", port {account.port}" if account.port else ""
            console.text(f"{account.name}: {account.user or 'no user'} at {account.host}{port}")
            console.text(f"    {destination}")
        else:
            console.row(account.name, account.host, account.port or None, account.user, destination)
    for error in errors:
        console.fail(error)
    return errors[0].exit_status if errors else Status.OK
