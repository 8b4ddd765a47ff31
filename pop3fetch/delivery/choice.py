"""DEST: which destination a person means."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pop3fetch.errors import UsageError

KINDS = ("maildir", "mbox")
STANDARD_OUTPUT = "-"


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen destination: ``kind`` is ``maildir`` or ``mbox``; no ``path`` is standard output.

    Standard output takes plain octets where the kind is ``maildir``, and mboxrd where it is ``mbox``.
    """

    kind: str
    path: Path | None

    @property
    def is_stream(self) -> bool:
        """Whether it is standard output."""
        return self.path is None


def parse(dest: str) -> Choice:
    """Return what ``maildir:DIR``, ``mbox:FILE``, a bare directory, ``-`` or ``mbox:-`` means.

    Raises UsageError.
    """
    kind, colon, rest = dest.partition(":")
    if not colon or kind not in KINDS:
        kind, rest = "maildir", dest
    if rest == STANDARD_OUTPUT and dest != "maildir:-":
        return Choice(kind, None)
    if not rest:
        raise UsageError(f"the output {dest!r} names no {'file' if kind == 'mbox' else 'folder'}")
    return Choice(kind, Path(rest).expanduser().absolute())
