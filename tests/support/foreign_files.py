"""The files of another program as a test writes them, and what is read from them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pop3fetch.importing.foreign import Finding, ForeignAccount, Reading, Where

HOME = "/home/alice"
Reader = Callable[[str, bytes, Where], Reading]


def where(files: Mapping[str, bytes] | None = None, **variables: str) -> Where:
    """Return the surroundings of a user alice with these ``files``."""

    def load(path: str) -> bytes:
        try:
            return (files or {})[path]
        except KeyError:
            raise FileNotFoundError(2, "No such file or directory", path) from None

    def expand(path: str) -> str:
        return HOME + path.removeprefix("~") if path == "~" or path.startswith("~/") else path

    return Where("alice", variables, expand, load)


class Read(NamedTuple):
    """What was read: the accounts by their names, and lines of all findings."""

    accounts: Mapping[str, ForeignAccount]
    findings: tuple[Finding, ...]

    @property
    def only(self) -> ForeignAccount:
        """The one account."""
        [account] = self.accounts.values()
        return account

    @property
    def problems(self) -> dict[int, str]:
        """What affects an account, by line: the words before the first colon or blank."""
        return {found.origin.line: found.text for found in self.findings if found.affects}

    @property
    def notes(self) -> dict[int, str]:
        """What affects nothing, by line; the last one of a line."""
        return {found.origin.line: found.text for found in self.findings if not found.affects}


def read_by(reader: Reader, text: str | bytes, surroundings: Where | None = None, file: str = "rc") -> Read:
    """Read the text of a configuration file, which may be indented."""
    octets = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
    reading = reader(f"{HOME}/{file}", octets, surroundings or where())
    findings = [*reading.findings, *(each for account in reading.accounts for each in account.findings)]
    return Read({account.name: account for account in reading.accounts}, tuple(findings))


def settings(account: ForeignAccount, *names: str) -> dict[str, Any]:
    """Return the settings of an account, or those of these ``names``."""
    return {key: value for key, value in account.settings.items() if not names or key in names}
