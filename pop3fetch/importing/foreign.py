"""The account of another program, its list of fetched messages, and what is found on the way. Pure.

A setting that has no counterpart becomes a finding with its file and line. A finding ``affects`` the account
if what is fetched, deleted or delivered would differ, or if something would be less secure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pop3fetch.values import NamedTuple, veiled

NO_FILTERS = "pop3fetch has no filters; deliver through a program (exec)"
CLEAR_TEXT = (
    "pop3fetch sends no password in clear text unless the account gets allow_insecure_login; "
    'tls = "starttls" is better'
)
NEWER_TLS = "pop3fetch uses TLS 1.2 or newer"
UNVERIFIED = (
    "the server's certificate was not verified; pop3fetch verifies it: if that fails, set tls_fingerprint "
    "or ca_file"
)
REMOTE = (
    "{0}: a server that is not on this machine needs a table of its own, with from or starttls; "
    "see the destinations in pop3fetch-config(5)"
)


class Origin(NamedTuple):
    """A line of a file; 0 is the file as a whole."""

    file: str
    line: int = 0


class Finding(NamedTuple):
    """What a user must know; ``account`` is None if it concerns them all."""

    origin: Origin
    text: str
    affects: bool = False
    account: str | None = None


class Fetched(NamedTuple):
    """A message that another program has fetched: its UID as that lists it, and when, if that is known."""

    uid: bytes
    at: int | None = None


class Secret(NamedTuple):
    """A password that is in a file in clear text."""

    text: str
    origin: Origin

    def __repr__(self) -> str:
        return veiled(self, "text")


class FetchedList(NamedTuple):
    """The file with the list of fetched messages; ``read`` takes what is in it, and raises Broken.

    ``is_locked`` by its program while that uses it. ``has_time_of_file``: nothing in it is later.
    ``elsewhere``: where it may be if there is no file at ``path``.
    """

    path: str
    read: Callable[[bytes], list[Fetched]]
    is_locked: bool = False
    has_time_of_file: bool = False
    elsewhere: tuple[str, ...] = ()


class ForeignAccount(NamedTuple):
    """An account of another program, with the settings that pop3fetch has for it.

    ``origins`` of the settings by their names. ``kept``: its program leaves on the server what it fetched
    earlier, even if it deletes. ``reuses``: its list may have UIDs that the server has given again.
    """

    name: str
    origin: Origin
    settings: Mapping[str, object]
    origins: Mapping[str, Origin]
    findings: tuple[Finding, ...] = ()
    secret: Secret | None = None
    fetched: FetchedList | None = None
    is_default: bool = False
    kept: bool = False
    reuses: bool = False


class Reading(NamedTuple):
    """What is in the files of a program."""

    accounts: tuple[ForeignAccount, ...]
    findings: tuple[Finding, ...] = ()
    lock: str | None = None  # the file that shows that the program is running


class Broken(Exception):
    """A file that its program could not read either."""

    def __init__(self, line: int, reason: str, file: str | None = None) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason
        self.file = file


class Where(NamedTuple):
    """The surroundings that the paths of a program depend on.

    ``user``: who runs the program. ``expand`` replaces a leading ``~`` or ``~user``. ``load`` returns what is
    in a file; raises OSError.
    """

    user: str

    variables: Mapping[str, str]
    expand: Callable[[str], str]
    load: Callable[[str], bytes]


class AccountDraft:
    """An account while it is read."""

    def __init__(self, name: str, origin: Origin) -> None:
        self.name = name
        self.origin = origin
        self.settings: dict[str, object] = {}
        self.origins: dict[str, Origin] = {}
        self.findings: list[Finding] = []
        self.secret: Secret | None = None

    def put(self, key: str, value: object, origin: Origin) -> None:
        """Give the account a setting."""
        self.settings[key] = value
        self.origins[key] = origin

    def note(self, origin: Origin, text: str) -> None:
        """Find what affects nothing."""
        self.findings.append(Finding(origin, text, False, self.name))

    def problem(self, origin: Origin, text: str) -> None:
        """Find what affects the account."""
        self.findings.append(Finding(origin, text, True, self.name))

    def finished(self, **facts: object) -> ForeignAccount:
        """Return the account."""
        return ForeignAccount(
            self.name,
            self.origin,
            self.settings,
            self.origins,
            tuple(self.findings),
            self.secret,
            **facts,  # type: ignore[arg-type]
        )


def is_local(host: str) -> bool:
    """Return whether mail that is passed on to ``host`` stays on this machine; a socket has no host."""
    return host in ("", "localhost", "::1", "[::1]") or host.startswith("127.")


def shell(line: str) -> list[str]:
    """Return the command that runs ``line`` as a shell would."""
    return ["sh", "-c", line]


def lines_of(octets: bytes) -> Iterable[tuple[int, bytes]]:
    """Yield the lines with their numbers, without their ends, which are LF or CRLF."""
    lines = octets.removesuffix(b"\n").split(b"\n") if octets else []
    return enumerate((line.removesuffix(b"\r") for line in lines), 1)
