"""Passwords in a ``.netrc`` file: machine, login and password, as curl reads them.

A word in double quotes may contain blanks, and the escapes ``\\n``, ``\\r``, ``\\t``, ``\\"`` and ``\\\\``.
In any other word a backslash is an ordinary character. Octets that are not UTF-8 stay unchanged.

The standard library's module keeps only the last of several entries for one machine, although two mailboxes
on one server are usual. Its errors quote the word that is wrong, which may be a password.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pop3fetch.account.config_file import OTHERS
from pop3fetch.account.secret import text_of
from pop3fetch.errors import ConfigurationError

LARGEST = 1 << 20  # octets; a larger file is not a .netrc
VALUED = ("machine", "login", "user", "account", "password")
BLANKS = " \t\r\f\v"  # not those of Unicode, which a password may contain
WORD = re.compile(rf'"((?:[^"\\]|\\.)*)(")?|([^{BLANKS}]+)')
ESCAPE = re.compile(r"\\(.)")
CONTROL = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; ``machine`` is None for ``default``, ``login`` if the entry names none."""

    machine: str | None
    login: str | None = None
    password: str | None = field(default=None, repr=False)


def password(file: Path, host: str, user: str) -> str | None:
    """Return the password that ``file`` has for ``user`` at ``host``, None if it has none.

    The first entry for the machine counts that has the user as its login, or no login; then a
    ``default`` with this login. Raises ConfigurationError if the file cannot be read, or if it has a
    password for us that others can read, too.
    """
    try:
        text, private = _read(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(str(file), f"cannot be read: {error.strerror}") from error
    try:
        found = _matching(list(entries(text)), host, user)
    except ValueError as error:
        raise ConfigurationError(str(file), str(error)) from None
    if found is not None and not private:
        raise ConfigurationError(str(file), "others can read or own it; chown and chmod 600 it")
    return found


def entries(text: str) -> Iterator[Entry]:
    """Yield the entries of a .netrc file; raises ValueError, which never quotes the file."""
    machine: str | None = None
    values: dict[str, str] | None = None
    words = _words(text)
    for word in words:
        keyword = word.lower()
        if keyword in ("machine", "default"):
            if values is not None:
                yield _entry(machine, values)
            machine, values = (next(words, "") if keyword == "machine" else None), {}
        elif keyword in VALUED and values is not None:
            values["login" if keyword == "user" else keyword] = next(words, "")
        else:
            raise ValueError("has a word where a keyword such as machine, login or password must be")
    if values is not None:
        yield _entry(machine, values)


def _entry(machine: str | None, values: dict[str, str]) -> Entry:
    return Entry(machine, values.get("login"), values.get("password"))


def _words(text: str) -> Iterator[str]:
    """Yield the words, unquoted, without comments and macros.

    A # at the place of a keyword begins a comment; elsewhere it belongs to a value. A macro ends at an empty
    line (ftp(1)), and is ignored.
    """
    value_follows = in_macro = False
    for line in text.split("\n"):
        if in_macro:
            in_macro = bool(line.strip(BLANKS))
            continue
        for match in WORD.finditer(line):
            word = _unquoted(match)
            if not value_follows and match[0].startswith("#"):
                break
            if not value_follows and word.lower() == "macdef":
                in_macro = True
                break
            value_follows = not value_follows and word.lower() in VALUED
            yield word


def _unquoted(match: re.Match[str]) -> str:
    quoted, end, bare = match.groups()
    if quoted is None:
        return bare
    if end is None:
        raise ValueError("has a quoted word without its end")
    return ESCAPE.sub(lambda escape: CONTROL.get(escape[1], escape[1]), quoted)


def _matching(found: list[Entry], host: str, user: str) -> str | None:
    for entry in found:
        ours = entry.machine is not None and entry.machine.lower() == host
        if ours and entry.login in (None, user) and entry.password:
            return entry.password
    for entry in found:
        # Without a login, the one password would go to every server.
        if entry.machine is None and entry.login == user and entry.password:
            return entry.password
    return None


def _read(file: Path) -> tuple[str, bool]:
    """Return the file's text, and whether it is ours alone."""
    with file.open("rb") as stream:
        status = os.fstat(stream.fileno())
        others = status.st_mode & OTHERS
        return text_of(stream.read(LARGEST)), status.st_uid == os.geteuid() and not others
