"""`pop3fetch accounts`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from pop3fetch.account.config import Account
from pop3fetch.cli.options import (
    JSON_OPTION,
    PLACE_OPTIONS,
    VERBOSITY_OPTIONS,
    Invocation,
    Many,
    with_options,
)
from pop3fetch.errors import Status


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    return with_options(function, (*PLACE_OPTIONS, *VERBOSITY_OPTIONS))


@click.command("accounts")
@JSON_OPTION
@_options
def command(invocation: Invocation, as_json: bool) -> int:
    """Print the names of the configured accounts, one a line; -v adds host, user and destination."""
    console = invocation.console
    if not as_json and console.verbosity < 1:
        for name in invocation.configuration().names():
            console.row(name)
        return Status.OK
    for account in _all(invocation):
        if as_json:
            console.json(
                {
                    "name": account.name,
                    "host": account.host,
                    "port": account.port,
                    "user": account.user,
                    "output": account.output,
                }
            )
        else:
            console.row(account.name, account.host, account.user, account.output)
    return Status.OK


def _all(invocation: Invocation) -> list[Account]:
    return replace(invocation, many=Many(1, 1)).accounts()
