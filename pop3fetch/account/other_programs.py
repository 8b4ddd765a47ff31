"""Other programs that fetch mail: whether their files name a mailbox, and when they last ran.

Nothing in the files is run or evaluated. A mailbox is recognised by its host and its user as words of a line
that is not a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LARGEST = 4 * 1024 * 1024  # octets of a file that are read: a list of 100 000 messages has that many
MOST_FILES = 100  # of a pattern
# Beside the configuration files of getmail are lists, and what editors leave there.
_BESIDE = re.compile(r"oldmail-.*|.*(~|#|\.json|\.swp|\.bak)")


class Program(NamedTuple):
    """The patterns of a program's files, from the home folder: configuration, and lists of messages."""

    name: str
    configuration: tuple[str, ...]
    lists: tuple[str, ...] = ()


PROGRAMS = (
    Program("mpop", (".mpoprc", ".config/mpop/config"), (".mpop_uidls/*",)),
    Program("fetchmail", (".fetchmailrc",), (".fetchids",)),
    Program(
        "getmail", (".config/getmail/*", ".getmail/*"), (".config/getmail/oldmail-*", ".getmail/oldmail-*")
    ),
    Program("fdm", (".fdm.conf",)),
)


class OtherProgram(NamedTuple):
    """A program that is set up for a mailbox by ``file``.

    ``last_run`` in seconds since the epoch, None if it is not known.
    """

    program: str
    file: Path
    last_run: float | None


def find(home: Path, host: str, user: str) -> Iterator[OtherProgram]:
    """Yield the programs of which a configuration file names ``host`` and ``user``."""
    names_host = _words(host)
    names_user = _words(user, user.partition("@")[0])
    for program in PROGRAMS:
        for file in _files(home, program.configuration):
            lines = _read(file).splitlines()
            text = "\n".join(line for line in lines if line.lstrip()[:1] not in ("#", ";"))
            if names_host.search(text) and names_user.search(text):
                lists = _files(home, program.lists)
                times = [
                    _changed(each)
                    for each in lists
                    if host.lower() in each.name.lower() or names_host.search(_read(each))
                ]
                yield OtherProgram(program.name, file, max(times, default=None))


def _words(*names: str) -> re.Pattern[str]:
    """Return the pattern of whole names: ``example.org`` is not in ``mail.example.org``."""
    return re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, names))})(?![\w-]|\.\w)", re.IGNORECASE)


def _files(home: Path, patterns: tuple[str, ...]) -> list[Path]:
    found = [file for pattern in patterns for file in sorted(home.glob(pattern))[:MOST_FILES]]
    is_list = any("oldmail-" in pattern for pattern in patterns)
    return [file for file in found if file.is_file() and (is_list or not _BESIDE.fullmatch(file.name))]


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(LARGEST).decode("utf-8", "replace")
    except OSError:
        return ""


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
