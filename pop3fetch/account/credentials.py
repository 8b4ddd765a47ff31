"""Where an account's password comes from: an ordered list of sources, asked only when needed.

    POP3FETCH_PASSWORD          the environment, handed in
    password_command            a program; once given it decides: where it fails there is no password
    password                    the configuration file, which ``config`` refuses where others can read it
    the system's keyring        service ``pop3fetch``, user ``user@host``; may be broken, or hang
    ~/.netrc                    where it is ours alone
    the terminal                where there is one

A source that is broken is passed over, and reported. A secret is never in a ``repr``, an error,
an argument of a program or a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pop3fetch.account.config import Account
from pop3fetch.errors import ConfigurationError, NoPassword
from pop3fetch.printable import printable

VARIABLE = "POP3FETCH_PASSWORD"
SERVICE = "pop3fetch"
COMMAND_LIMIT = 120.0  # seconds; somebody may have to type the passphrase of a key
KEYRING_LIMIT = 5.0  # seconds; without a session bus a backend may wait for ever
STORE_LIMIT = 60.0  # seconds; at `login` somebody is there to unlock the keyring

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a run may use to find a password.

    ``environment``: the value of POP3FETCH_PASSWORD; ``ask`` puts a question on the terminal, None
    where there is none; ``report`` takes a line about a source that was passed over;
    ``child_environment`` goes to the password command, see :func:`without_password`;
    ``keyring``: look into it, which `login` must not. The limits are seconds.
    """

    home: Path
    report: Callable[[str], None]
    child_environment: Mapping[str, str] = field(repr=False)
    environment: str | None = field(default=None, repr=False)
    ask: Callable[[str], str] | None = None
    keyring: bool = True
    command_limit: float = COMMAND_LIMIT
    keyring_limit: float = KEYRING_LIMIT


class Password:
    """An account's password: call it to get it; the sources are asked once, and at the first call."""

    __slots__ = ("_account", "_passed_over", "_secret", "_sources")

    def __init__(self, account: Account, sources: Sources) -> None:
        self._account = account
        self._sources = replace(sources, report=self._pass_over(sources.report))
        self._passed_over: list[str] = []
        self._secret: str | None = None

    def __repr__(self) -> str:
        return f"<Password of {self._account.address}>"

    def __call__(self) -> str:
        """Return the password; raises NoPassword, which names the ways to give one."""
        if self._secret is None:
            self._secret = self._found()
        return self._secret

    def _found(self) -> str:
        for source in ORDER:
            secret = source(self._account, self._sources)
            if secret:
                return secret
        passed_over = f" ({'; '.join(self._passed_over)})" if self._passed_over else ""
        raise NoPassword(
            f"there is no password for {printable(self._account.address)}{passed_over}: set {VARIABLE}, "
            "use --password-command or password_command, store it with `pop3fetch login`, write it into "
            "~/.netrc, or run this on a terminal"
        )

    def _pass_over(self, report: Callable[[str], None]) -> Callable[[str], None]:
        def remember(line: str) -> None:
            self._passed_over.append(line)
            report(line)

        return remember


def without_password(environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` as any program that we start may see it: without POP3FETCH_PASSWORD."""
    return {name: value for name, value in environment.items() if name != VARIABLE}


def store(account: Account, secret: str, limit: float = STORE_LIMIT) -> None:
    """Keep the password in the system's keyring; raises ConfigurationError where it does not.

    To be called only once the server has taken it.
    """

    def keep() -> bool:
        import keyring

        keyring.set_password(SERVICE, account.address, secret)
        # The null backend takes everything and keeps nothing.
        return keyring.get_password(SERVICE, account.address) == secret

    try:
        kept = _in_time(keep, limit)
    except Exception as error:
        # Neither its text nor itself as a cause: a backend may quote what it was given.
        raise _no_keyring(f"it could not store the password ({type(error).__name__})") from None
    if not kept:
        raise _no_keyring("it does not keep what it is given")


def forget(account: Account, limit: float = STORE_LIMIT) -> bool:
    """Take the password out of the system's keyring; tell whether one was there."""

    def remove() -> bool:
        import keyring

        if keyring.get_password(SERVICE, account.address) is None:
            return False
        keyring.delete_password(SERVICE, account.address)
        return True

    try:
        return _in_time(remove, limit)
    except Exception as error:
        raise _no_keyring(_told(error)) from error


def _from_environment(account: Account, sources: Sources) -> str | None:
    return sources.environment


def _from_command(account: Account, sources: Sources) -> str | None:
    if account.password_command is None:
        return None
    # Not passed over where it fails: who names a command wants its answer, not an old one.
    from pop3fetch.account.password_command import first_line

    return first_line(account.password_command, sources.child_environment, sources.command_limit)


def _from_configuration(account: Account, sources: Sources) -> str | None:
    return account.password


def _from_keyring(account: Account, sources: Sources) -> str | None:
    if not sources.keyring:
        return None

    def look() -> str | None:
        import keyring

        return keyring.get_password(SERVICE, account.address)

    try:
        return _in_time(look, sources.keyring_limit)
    except Exception as error:
        sources.report(f"the keyring was passed over: {_told(error)}")
        return None


def _from_netrc(account: Account, sources: Sources) -> str | None:
    if account.user is None:
        return None
    from pop3fetch.account import netrc

    try:
        return netrc.password(sources.home / ".netrc", account.host, account.user)
    except ConfigurationError as error:
        sources.report(f"~/.netrc was passed over: {printable(error.reason)}")
        return None


def _from_terminal(account: Account, sources: Sources) -> str | None:
    return sources.ask(f"Password of {printable(account.address)}: ") if sources.ask else None


ORDER: tuple[Callable[[Account, Sources], str | None], ...] = (
    _from_environment,
    _from_command,
    _from_configuration,
    _from_keyring,
    _from_netrc,
    _from_terminal,
)


def _in_time(work: Callable[[], Answer], limit: float) -> Answer:
    """Return what ``work`` returns, or raises, within ``limit`` seconds; raises TimeoutError after that.

    It runs in a daemon thread: one that hangs in a backend must not keep the process from its end.
    """
    from concurrent.futures import Future
    from threading import Thread

    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(work())
        except Exception as error:
            answer.set_exception(error)

    thread = Thread(target=run, name="keyring", daemon=True)
    thread.start()
    thread.join(limit)
    if not answer.done():
        raise TimeoutError(f"it did not answer within {limit:g} s")
    return answer.result()


def _told(error: Exception) -> str:
    # No `except keyring.errors...`: where its import hangs, ours would wait for the same lock.
    text = printable(str(error), 120)
    return text if isinstance(error, TimeoutError) else f"{type(error).__name__}: {text}"


def _no_keyring(reason: str) -> ConfigurationError:
    return ConfigurationError(
        "the system's keyring",
        f"{reason}; without one, use password_command or set {VARIABLE}",
    )
