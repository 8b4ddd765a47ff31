"""The sessions of an account for the command line, with its notices and its question for the password."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pop3fetch.account.credentials import VARIABLE, Password, Sources, without_password
from pop3fetch.account.settings_table import Account
from pop3fetch.cli.screen.console import Console
from pop3fetch.defaults import UNIX_PREFIX
from pop3fetch.sessions.sessions import ProcessContext, Sessions, Waiting

if TYPE_CHECKING:
    from pop3fetch.net.resumption import Handshake, Peer

# The commands that a session sends first after the login: for ``stat``, and for a listing.
COUNT = ("STAT", "QUIT")
LISTING = ("CAPA", "LIST", "UIDL")


def sessions_of(
    account: Account,
    console: Console,
    state_folder: Path,
    *,
    keyring: bool = True,
    resume: Callable[[Peer], Handshake] | None = None,
) -> Sessions:
    """Return the sessions of an account; ``keyring``: whether its password may be there.

    ``resume``: what may resume a TLS session.
    """
    process = process_context(console, account)._replace(resume=resume)

    def ask(question: str) -> str | None:
        if not console.can_ask:
            return None  # cron must not wait
        from getpass import getpass

        ask = partial(getpass, console.wrapped(question.rstrip(), room=1) + " ")
        if console.answers is None:
            return console.talk(ask)
        if question not in console.answers:
            console.answers[question] = console.talk(ask)
        return console.answers[question]

    sources = Sources(
        home=Path(os.path.expanduser("~")),
        report=console.notice,
        child_environment=process.child_environment,
        environment=os.environ.get(VARIABLE),
        ask=ask,
        keyring=keyring,
        interrupts=console.interrupts,
        complain=console.fail,
        find_keyring=find_keyring,
    )
    return Sessions(account, state_folder, Password(account, sources), process)


def find_keyring() -> None:
    """Let the keyring find the session bus of the user, which cron does not name."""
    from pop3fetch.account.system_keyring import BUS_VARIABLE, session_bus

    if BUS_VARIABLE not in os.environ and (address := session_bus(os.geteuid())):
        os.environ[BUS_VARIABLE] = address


def process_context(console: Console, account: Account | None = None) -> ProcessContext:
    """Return what shows the notices of a session, and with -vv the protocol."""
    trace = console.trace if console.verbosity >= 2 else None

    def notice(text: str) -> None:
        from pop3fetch.cli.screen.advice import notice_line
        from pop3fetch.pop3.login import ALTHOUGH_STLS, MAIL_IN_CLEAR_TEXT

        is_warning = text in (ALTHOUGH_STLS, MAIL_IN_CLEAR_TEXT) and not (account and is_local(account))
        show = console.remark if is_warning else console.notice
        show(notice_line(text))

    shows_waiting = console.shows_remarks and not console.account
    return ProcessContext(
        without_password(os.environ),
        notice,
        trace,
        console.interrupts,
        lambda: console.can_ask and not console.keeps_answers,
        Waiting(console.draw_waiting, console.wipe) if shows_waiting else None,
    )


def is_local(account: Account) -> bool:
    """Return whether the server is on this machine, or behind a tunnel."""
    if account.tunnel_command or account.host.startswith(UNIX_PREFIX) or account.host == "localhost":
        return True
    from ipaddress import ip_address

    with suppress(ValueError):  # of a name
        return ip_address(account.host).is_loopback
    return False
