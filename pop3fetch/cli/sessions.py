"""The sessions of an account for the command line, with its notices and its question for the password."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from pop3fetch.account.credentials import VARIABLE, Password, Sources, without_password
from pop3fetch.account.settings_table import Account
from pop3fetch.cli.screen.console import Console
from pop3fetch.sessions.sessions import ProcessContext, Sessions


def sessions_of(account: Account, console: Console, state_folder: Path, *, keyring: bool = True) -> Sessions:
    """Return the sessions of an account; ``keyring``: whether its password may be there."""
    process = process_context(console)

    def ask(question: str) -> str | None:
        if not (console.err.isatty() and _has_terminal()):
            return None  # cron must not wait
        from getpass import getpass

        if console.answers is None:
            return console.talk(lambda: getpass(question))
        if question not in console.answers:
            console.answers[question] = console.talk(lambda: getpass(question))
        return console.answers[question]

    sources = Sources(
        home=Path(os.path.expanduser("~")),
        report=console.notice,
        child_environment=process.child_environment,
        environment=os.environ.get(VARIABLE),
        ask=ask,
        keyring=keyring,
        interrupts=console.interrupts,
        find_keyring=find_keyring,
    )
    return Sessions(account, state_folder, Password(account, sources), process)


def find_keyring() -> None:
    """Let the keyring find the session bus of the user, which cron does not name."""
    from pop3fetch.account.system_keyring import BUS_VARIABLE, session_bus

    if BUS_VARIABLE not in os.environ and (address := session_bus(os.geteuid())):
        os.environ[BUS_VARIABLE] = address


def process_context(console: Console) -> ProcessContext:
    """Return what shows the notices of a session, and with -vv the protocol."""
    trace = console.trace if console.verbosity >= 2 else None

    def notice(text: str) -> None:
        from pop3fetch.cli.screen.advice import noticed

        console.notice(noticed(text))

    return ProcessContext(
        without_password(os.environ),
        notice,
        trace,
        console.interrupts,
        lambda: console.can_ask and console.answers is None,
    )


def _has_terminal() -> bool:
    """Return whether there is a terminal to ask on, even if standard input is something else."""
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return True
    return sys.stdin is not None and sys.stdin.isatty()
