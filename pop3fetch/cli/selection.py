"""MESSAGES, from the command line and from standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from pop3fetch.errors import UsageError
from pop3fetch.messages import Selector, parse
from pop3fetch.status import Status

# Of standard input: as many messages as a listing may have, with unique-ids longer than they should be.
LINES_LIMIT, OCTETS_LIMIT = 1_000_000, 64 * 1024 * 1024


def messages_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command its MESSAGES."""
    return click.argument("messages", nargs=-1, metavar="[MESSAGES]...")(function)


def selectors_of(words: Sequence[str], *, from_stdin: bool) -> tuple[Selector, ...]:
    """Return what MESSAGES selects, with the lines of standard input if they are wanted.

    Raises UsageError. Ends the command if standard input was to name messages, and named
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
    octets = sys.stdin.buffer.read(OCTETS_LIMIT + 1) if sys.stdin else b""
    if len(octets) > OCTETS_LIMIT or octets.count(b"\n") > LINES_LIMIT:
        raise UsageError(
            f"standard input is no list of messages: it has more than {LINES_LIMIT} lines"
            f" or {OCTETS_LIMIT >> 20} MiB"
        )
    return [os.fsdecode(line.strip()) for line in octets.split(b"\n") if line.strip()]
