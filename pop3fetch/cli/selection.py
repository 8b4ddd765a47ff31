"""MESSAGES, from the command line and from standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from pop3fetch.messages import Selector, parse
from pop3fetch.status import Status


def messages_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its MESSAGES."""
    return click.argument("messages", nargs=-1, metavar="[MESSAGES]...")(function)


def selectors_of(words: Sequence[str], *, from_stdin: bool) -> tuple[Selector, ...]:
    """Return what MESSAGES selects, with the lines of standard input where they are wanted.

    Raises UsageError. Ends the command where standard input was to name messages, and named
    none: that must not be taken for no choice at all.
    """
    given = list(words)
    if from_stdin:
        given += _lines_of_stdin()
        if not given:
            raise click.exceptions.Exit(Status.OK)
    return parse(given)


def _lines_of_stdin() -> list[str]:
    # Octets as the command line would bring them: a unique-id may hold any.
    octets = sys.stdin.buffer.read() if sys.stdin else b""
    return [os.fsdecode(line.strip()) for line in octets.splitlines() if line.strip()]
