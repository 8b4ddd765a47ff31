"""`pop3fetch accounts`."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from pop3fetch.cli.options import GENERAL_OPTIONS, JSON_OPTION, Command, Invocation, Many, with_options
from pop3fetch.status import Status

if TYPE_CHECKING:
    from pop3fetch.account.config import Account


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    return with_options(function, GENERAL_OPTIONS)


@click.command("accounts", cls=Command)
@JSON_OPTION
@_options
def command(invocation: Invocation, as_json: bool) -> int:
    """Print the names of the configured accounts, one a line; -v adds host, user and destination."""
    console = invocation.console
    names = invocation.configuration().names()
    if not names:
        console.remark(f"there are no accounts in {invocation.configuration().path}")
    elif as_json:
        for account in _all(invocation):
            console.json(_fields(account))
    elif console.verbosity >= 1:
        for account in _all(invocation):
            console.row(account.name, account.host, account.user, _output(account))
    else:
        for name in names:
            console.row(name)
    return Status.OK


def _all(invocation: Invocation) -> list[Account]:
    return replace(invocation, many=Many(1, 1)).accounts()


def _fields(account: Account) -> dict[str, object]:
    return {
        "name": account.name,
        "host": account.host,
        "port": account.port,
        "user": account.user,
        "output": _output(account),
    }


def _output(account: Account) -> str | None:
    return f"exec:{shlex.join(account.exec)}" if account.exec else account.output
