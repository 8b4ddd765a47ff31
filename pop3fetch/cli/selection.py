"""MESSAGES, from the command line and from standard input."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from pop3fetch.messages import Selector, parse


def messages_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its MESSAGES."""
    return click.argument("messages", nargs=-1, metavar="[MESSAGES]...")(function)


def selectors_of(words: Sequence[str], *, from_stdin: bool) -> tuple[Selector, ...]:
    """Return what MESSAGES selects, with the lines of standard input where they are wanted.

    Raises UsageError.
    """
    given = list(words)
    if from_stdin:
        given += [line.strip() for line in sys.stdin if line.strip()]
    return parse(given)
