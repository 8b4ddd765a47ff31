"""Which destination a person named: ``maildir:DIR``, a bare directory, ``mbox:FILE``, ``-``, ``mbox:-``.

Reads names only; it neither opens nor makes anything.
"""

from __future__ import annotations

import os
import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pop3fetch.errors import UsageError
from pop3fetch.folders import from_home

if TYPE_CHECKING:
    from pop3fetch.delivery.maildir import Maildir
    from pop3fetch.delivery.mbox import Mbox

_KIND = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)


class Kind(Enum):
    """The kinds of destination that have a name."""

    MAILDIR = "maildir"
    MBOX = "mbox"
    OUTPUT = "output"
    MBOX_OUTPUT = "mbox output"


class Choice(NamedTuple):
    """A kind of destination; ``path``, absolute, where it is in the file system."""

    kind: Kind
    path: Path | None = None

    @property
    def is_stream(self) -> bool:
        """Whether it is standard output, which keeps nothing."""
        return self.path is None


def parse(destination: str, *, is_configured: bool = False) -> Choice:
    """Read the name of a destination; raises UsageError.

    ``is_configured``: it is from the configuration file, where a relative path begins at the home folder.
    """
    if destination == "-":
        return Choice(Kind.OUTPUT)
    if destination == "mbox:-":
        return Choice(Kind.MBOX_OUTPUT)
    match = _KIND.fullmatch(destination)
    kind, path = match.groups() if match else ("maildir", destination)
    if kind not in ("maildir", "mbox"):
        # A slip of the pen must not become a folder of that name; ./ before it says that it is meant.
        raise UsageError(f"'{kind}:' is no kind of destination: write maildir:DIR, mbox:FILE or -")
    if not match and path.endswith(".mbox"):
        raise UsageError(f"'{path}' could be a file or a folder: write mbox:{path} or maildir:{path}")
    return Choice(Kind(kind), _absolute(path, destination, is_configured=is_configured))


def _absolute(path: str, destination: str, *, is_configured: bool) -> Path:
    if not path or "\0" in path:
        raise UsageError(f"'{destination}' names no destination: write maildir:DIR, mbox:FILE or -")
    try:
        return Path(os.path.abspath(Path(from_home(path) if is_configured else path).expanduser()))
    except RuntimeError as error:  # as Path says that somebody's home is not known
        raise UsageError(f"the home folder in '{destination}' is not known") from error


def open_in_files(choice: Choice, tag: str, spool_folder: Path) -> Maildir | Mbox:
    """Return the maildir or mbox that was chosen; ``tag`` and ``spool_folder`` are the record's."""
    from pop3fetch.delivery.maildir import Maildir
    from pop3fetch.delivery.mbox import Mbox

    assert choice.path is not None
    if choice.kind is Kind.MBOX:
        return Mbox(choice.path, tag, spool_folder)
    return Maildir(choice.path, tag)
