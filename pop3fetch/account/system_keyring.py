"""The system's keyring: one secret is looked up, stored or removed, within a time limit.

A backend may be absent, locked, broken, or wait forever for a session bus: any exception or missing answer
becomes a ConfigurationError. The secret to store is never in an error.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pop3fetch.ahead import Ahead, Interrupts
from pop3fetch.defaults import KEYRING_TIMEOUT
from pop3fetch.errors import ConfigurationError
from pop3fetch.printable import printable
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from pop3fetch.account.settings_table import Account

SERVICE = "pop3fetch"  # of passwords
STORE_LIMIT = 60.0  # seconds; at `login` the user can unlock the keyring
KEEPS_NOTHING = "it stores nothing"
NO_KEYRING = "NoKeyringError"  # of the library: none of its backends can be used
UNREACHABLE = "no keyring is installed, or it cannot be reached outside a login session"
BUS_VARIABLE = "DBUS_SESSION_BUS_ADDRESS"
RUNTIME_FOLDERS = Path("/run/user")  # of systemd-logind: one per user, removed after the last session
NEEDED = "OAuth 2 needs one; without one, let password_command print the access token"
_NO_KEYRING = "NoKeyringError"

Answer = TypeVar("Answer")


class Entry(NamedTuple):
    """A place for one secret; ``called`` is its name in errors."""

    service: str
    user: str
    called: str


def password_of(account: Account) -> Entry:
    """Return the place for the password of an account."""
    return Entry(SERVICE, account.address, "password")


def session_bus(user: int) -> str | None:
    """Return the address of the session bus of ``user``, if there is one that belongs to the user.

    A job of cron has no variable that names it.
    """
    path = RUNTIME_FOLDERS / str(user) / "bus"
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return f"unix:path={path}" if stat.S_ISSOCK(status.st_mode) and status.st_uid == user else None


def check(entry: Entry, limit: float = STORE_LIMIT) -> None:
    """Raise ConfigurationError if nothing can be stored, as far as that is known without trying."""

    def ask() -> bool:
        import keyring
        from keyring.backends.null import Keyring as NullKeyring

        keyring.get_password(entry.service, entry.user)
        return not isinstance(keyring.get_keyring(), NullKeyring)

    try:
        keeps = _asked(ask, limit)
    except Exception as error:
        raise _no_keyring(f"{_reason(error)}; {NEEDED}") from error
    if not keeps:
        raise _no_keyring(f"{KEEPS_NOTHING}; {NEEDED}")


def look(entry: Entry, limit: float = KEYRING_TIMEOUT, interrupts: Interrupts | None = None) -> str | None:
    """Return the secret, None if there is none; raises ConfigurationError."""

    def get() -> str | None:
        import keyring

        return keyring.get_password(entry.service, entry.user)

    try:
        return _asked(get, limit, interrupts)
    except Exception as error:
        raise _no_keyring(_reason(error)) from error


def keep(entry: Entry, secret: str, limit: float = STORE_LIMIT) -> None:
    """Store a secret that a server has accepted; raises ConfigurationError if the keyring does not."""

    def put() -> bool:
        import keyring

        keyring.set_password(entry.service, entry.user, secret)
        # The null backend accepts everything and stores nothing.
        return keyring.get_password(entry.service, entry.user) == secret

    try:
        kept = _asked(put, limit)
    except Exception as error:
        # Neither its text nor itself as a cause: a backend may quote the secret.
        name = type(error).__name__
        reason = UNREACHABLE if name == NO_KEYRING else f"it could not store the {entry.called} ({name})"
        raise _no_keyring(reason) from None
    if not kept:
        raise _no_keyring(KEEPS_NOTHING)


def remove(entry: Entry, limit: float = STORE_LIMIT) -> bool:
    """Remove the secret, and return whether there was one; raises ConfigurationError."""

    def delete() -> bool:
        import keyring

        if keyring.get_password(entry.service, entry.user) is None:
            return False
        keyring.delete_password(entry.service, entry.user)
        return True

    try:
        return _asked(delete, limit)
    except Exception as error:
        raise _no_keyring(_reason(error)) from error


def _asked(work: Callable[[], Answer], limit: float, interrupts: Interrupts | None = None) -> Answer:
    return Ahead(work, "keyring", interrupts=interrupts).result(limit)


def _reason(error: Exception) -> str:
    # No `except keyring.errors...`: if its import hangs, ours would wait for the same lock.
    if type(error).__name__ == NO_KEYRING:  # whose text advises to install one
        return UNREACHABLE
    text = printable(str(error), 120)
    return text if isinstance(error, TimeoutError) else f"{type(error).__name__}: {text}"


def _no_keyring(reason: str) -> ConfigurationError:
    return ConfigurationError("the system's keyring", reason)
