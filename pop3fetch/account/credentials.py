"""The sources of an account's password: an ordered list, asked only when needed.

    --password-file, --password-command   on the command line
    POP3FETCH_PASSWORD          the environment, handed in
    password_file               a file, by its variable or key; if one is given, no later source
                                is tried
    password_command            a program, likewise
    password                    the configuration file, which ``config`` refuses if others can read it
    OAuth 2                     if the account is set up for it: see ``oauth``
    the system's keyring        service ``pop3fetch``, user ``user@host``; may be broken, or hang
    ~/.netrc                    if it is ours alone
    the terminal                if there is one

The sources that are keys are rows of ``settings_table``; what else is said of them follows from there.

A source that is broken is skipped, and reported. It is an error if a source gives something that cannot be a
password. A secret is never in a ``repr``, an error, an argument of a program or a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from pop3fetch.account.settings_table import Account
from pop3fetch.ahead import Interrupts
from pop3fetch.defaults import KEYRING_TIMEOUT
from pop3fetch.errors import ConfigurationError, ConnectionLost, LoginRefused, NoPassword, POP3Error
from pop3fetch.printable import printable
from pop3fetch.values import NamedTuple, veiled, without_login

VARIABLE = "POP3FETCH_PASSWORD"
# As these sources are named.
FILE, KEYRING, NETRC = "the configuration file", "the keyring", "~/.netrc"
OAUTH, TERMINAL = "the OAuth 2 server", "the terminal"
MOST_TYPED = 3  # passwords that are asked for: servers lock accounts after some wrong ones
COMMAND_LIMIT = 120.0  # seconds; the user may have to type the passphrase of a key


class Sources(NamedTuple):
    """What a run may use to find a password.

    ``environment``: the value of POP3FETCH_PASSWORD. ``ask`` puts a question on the terminal, and returns
    None if there is none. ``report`` takes a line about a source that was skipped, ``complain`` the
    refusal of a password that was typed. ``child_environment`` goes to the password command, see
    :func:`without_password`. ``keyring``: look into it, which `login` must not; ``find_keyring`` is called
    before that. The limits are seconds. ``interrupts`` end the waits for a program, the keyring and the
    OAuth 2 server.
    """

    home: Path
    report: Callable[[str], None]
    child_environment: Mapping[str, str]
    environment: str | None = None
    ask: Callable[[str], str | None] | None = None
    keyring: bool = True
    command_limit: float = COMMAND_LIMIT
    keyring_limit: float = KEYRING_TIMEOUT
    interrupts: Interrupts | None = None
    complain: Callable[[LoginRefused], None] = lambda refusal: None
    find_keyring: Callable[[], None] = lambda: None

    def __repr__(self) -> str:
        return veiled(self, "child_environment", "environment")


WAYS = (
    f"set {VARIABLE}, use --password-command or --password-file (password_command, password_file in the "
    "configuration file)"
)


class Password:
    """An account's password: call it to get it; the sources are tried once, at the first call.

    Except for OAuth 2: an access token is valid for about an hour, and each call gets a new one.
    """

    __slots__ = (
        "_account",
        "_report",
        "_secret",
        "_skipped",
        "_sources",
        "_typed",
        "_was_lost",
        "_ways",
        "source",
    )

    def __init__(self, account: Account, sources: Sources, ways: str = WAYS) -> None:
        """``ways``: what the user can do if there is no password."""
        self._ways = ways
        self._account = account
        self._report = sources.report
        self._sources = sources._replace(report=self._skip)
        self._skipped: list[str] = []
        self._secret: str | None = None
        self._typed = 0  # how often it was typed
        self._was_lost = False  # whether a connection was, since then
        self.source = ""  # the name of the source that gave it, of ORDER

    def __repr__(self) -> str:
        return f"<Password of {self._account.address}>"

    def __call__(self) -> str:
        """Return the password; raises NoPassword, which names the ways to give one."""
        if self._secret is not None:
            return self._secret
        for name, source in ORDER.items():
            if self._typed and source is not _from_terminal:
                continue
            found = source(self._account, self._sources)
            if found:
                _check(found, name, self._account)
                self.source = name
                self._typed += source is _from_terminal
                self._secret = None if source is _from_oauth else found
                return found
        skipped = f" ({'; '.join(self._skipped)})" if self._skipped else ""
        # `login` does not read the keyring, to which it writes.
        is_kept = self._sources.keyring and "://" not in self._account.name
        stored = f"store it with {login_command(_name_for_login(self._account))}, " if is_kept else ""
        raise NoPassword(
            f"there is no password for {printable(self._account.title)}{skipped}; {stored}{self._ways}, "
            "write it into ~/.netrc, or run this on a terminal",
            is_missing=True,
        )

    def of_another(self, account: Account) -> Password:
        """Return that of another account, from the same sources but the environment, which has this one's."""
        sources = self._sources._replace(report=self._report, environment=None)
        ways = "set password_command or password_file in a table [destinations.NAME]"
        return Password(account, sources, ways)

    def blame(self, refusal: LoginRefused) -> None:
        """Add to the refusal of a login where the password is from, unless a person has typed it."""
        from pop3fetch.account.registration import password_file_of

        account, file = self._account, self._account.source
        if self.source == TERMINAL:
            return
        is_ours = file is not None and account.password_file == str(password_file_of(file, account.name))
        refusal.source = "" if is_ours else _named(self.source, account)
        if (self.source in (KEYRING, OAUTH) or is_ours) and "://" not in account.name:
            refusal.stored_for = _name_for_login(account)

    def may_be_right_next_time(self, error: POP3Error) -> bool:
        """Whether to log in once more after an error, because a person has typed, or is to type again."""
        if isinstance(error, ConnectionLost) and self._typed and not self._was_lost:
            self._was_lost = True  # the server may not have waited for the person
            return True
        if isinstance(error, LoginRefused) and not error.is_temporary and 0 < self._typed < MOST_TYPED:
            self._sources.complain(error)
            self._secret = None
            return True
        return False

    def _skip(self, line: str) -> None:
        self._skipped.append(line)
        self._report(line)


def login_command(name: str) -> str:
    """Return the command that stores a secret of an account, for a person; ``name`` may be empty."""
    if not name:
        return "`pop3fetch login` and the same options"
    import shlex

    words = [name] if name.startswith("@") else ["-a", name]
    return f"`{printable(shlex.join(['pop3fetch', 'login', *words]))}`"


def _name_for_login(account: Account) -> str:
    """Return the account's name if a file or a destination gives it one, or nothing."""
    return account.name if account.source is not None or account.name.startswith("@") else ""


def without_password(environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``environment`` as any program that we start may see it.

    Without POP3FETCH_PASSWORD, and without the login in POP3FETCH_PROXY.
    """
    seen = {name: value for name, value in environment.items() if name != VARIABLE}
    if proxy := seen.get("POP3FETCH_PROXY"):
        seen["POP3FETCH_PROXY"] = without_login(proxy)
    return seen


def _from_environment(account: Account, sources: Sources) -> str | None:
    if account.password_by_option or sources.environment is None:
        return None
    text = sources.environment  # as a shell may give it: with one LF or CRLF at the end
    return text[:-1].removesuffix("\r") if text.endswith("\n") else text


def _from_file(account: Account, sources: Sources) -> str | None:
    if account.password_file is None:
        return None
    from pop3fetch.account import password_file

    return password_file.password(account.password_file, sources.command_limit)


def _from_command(account: Account, sources: Sources) -> str | None:
    if account.password_command is None:
        return None
    # Not skipped if it fails: the user wants the command's password, not an old one.
    from pop3fetch.account.password_command import first_line

    return first_line(
        account.password_command, sources.child_environment, sources.command_limit, sources.interrupts
    )


def _from_oauth(account: Account, sources: Sources) -> str | None:
    if not account.uses_oauth or not sources.keyring:
        return None
    from pop3fetch.account.oauth.flow import access_token

    sources.find_keyring()
    return access_token(account, sources.report, sources.keyring_limit, sources.interrupts)


def _from_keyring(account: Account, sources: Sources) -> str | None:
    if not sources.keyring:
        return None
    from pop3fetch.account.system_keyring import look, password_of

    sources.find_keyring()
    try:
        return look(password_of(account), sources.keyring_limit, sources.interrupts)
    except ConfigurationError as error:
        sources.report(f"the keyring was skipped: {error.reason}")
        return None


def _from_netrc(account: Account, sources: Sources) -> str | None:
    if account.user is None:
        return None
    from pop3fetch.account import netrc

    try:
        return netrc.password(sources.home / ".netrc", account.host, account.user)
    except ConfigurationError as error:
        sources.report(f"~/.netrc was skipped: {printable(error.reason)}")
        return None


def _from_terminal(account: Account, sources: Sources) -> str | None:
    if sources.ask is None:
        return None
    try:
        return sources.ask(f"Password of {printable(account.title)}: ")
    except EOFError:  # Ctrl-D
        return None
    except UnicodeDecodeError:  # not even as a cause: it carries the octets
        raise NoPassword("the password from the terminal is not in the encoding of its locale") from None


# Each with the name that an error gives it.
ORDER: Mapping[str, Callable[[Account, Sources], str | None]] = {
    VARIABLE: _from_environment,
    "the password file": _from_file,
    "the password command": _from_command,
    FILE: lambda account, sources: account.password,
    OAUTH: _from_oauth,
    KEYRING: _from_keyring,
    NETRC: _from_netrc,
    TERMINAL: _from_terminal,
}


def _check(secret: str, source: str, account: Account) -> None:
    """Raise NoPassword, which names only its ``source``, if a login cannot send the secret.

    A control character usually means that a file has the wrong line ends, or more in it than the password.
    """
    if any(character < " " or character == "\x7f" for character in secret):
        raise NoPassword(
            f"the password from {_named(source, account)} contains a control character, such as a tab or a "
            "second line end; remove it"
        )
    try:
        secret.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # not even as a cause: it carries the secret
        raise NoPassword(
            f"the password from {_named(source, account)} contains half a surrogate pair, which is not a "
            "character"
        ) from None


def _named(source: str, account: Account) -> str:
    if source == "the password file":
        return printable(f"{source} {account.password_file}")
    if source == "the password command" and account.password_command:
        # Its other words may be secrets.
        return printable(f"{source} ({account.password_command[0]})")
    if source == FILE and account.source is not None:
        return printable(f"{source} {account.source}")
    return source
