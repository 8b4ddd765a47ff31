"""Sessions of an account as the command line has them: its notices and its password's question."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pop3fetch.account.credentials import VARIABLE, Password, Sources, without_password
from pop3fetch.account.settings import Account
from pop3fetch.cli.screen.console import Console
from pop3fetch.sessions.sessions import ProcessContext, Sessions


def sessions_of(account: Account, console: Console, state_folder: Path, *, keyring: bool = True) -> Sessions:
    """Return the sessions of an account; ``keyring``: whether its password may come from there."""
    password = Password(account, sources(console, keyring=keyring))
    return Sessions(account, state_folder, password, process_context(console))


def process_context(console: Console) -> ProcessContext:
    """Return what shows the notices of a session, and from -vv on the protocol."""
    trace = console.trace if console.verbosity >= 2 else None

    def notice(text: str) -> None:
        from pop3fetch.cli.screen.advice import noticed

        console.notice(noticed(text))

    return ProcessContext(without_password(os.environ), notice, trace, console.interrupts)


def sources(console: Console, *, keyring: bool = True) -> Sources:
    """Return where this process may look for a password."""
    return Sources(
        home=Path(os.path.expanduser("~")),
        report=console.notice,
        child_environment=without_password(os.environ),
        environment=os.environ.get(VARIABLE),
        ask=_asker(console),
        keyring=keyring,
        interrupts=console.interrupts,
    )


def _asker(console: Console) -> Callable[[str], str] | None:
    """Return what asks on the terminal, or None without one: cron must not wait."""
    if not (console.err.isatty() and _has_terminal()):
        return None

    def ask(question: str) -> str:
        from getpass import getpass

        return console.talk(lambda: getpass(question))

    return ask


def _has_terminal() -> bool:
    """Whether there is a terminal to ask on, also if standard input brings something else."""
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return True
    return sys.stdin is not None and sys.stdin.isatty()
