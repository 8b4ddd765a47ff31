"""Lines that are wrapped at words to the width of a terminal."""

from __future__ import annotations

import re

LEAST = 20  # columns; on fewer, every second word would be alone
INDENT = "  "  # of the lines after the first
# A gap, and what is kept together: a command in backquotes, an assignment, a word in quotes, an option with
# its word.
_WORD = re.compile(
    r"""([ ]*)(\(?(?:see[ ])?`[^`]*`\S*|\w+[ ]=[ ]\S+|"[^"]*"\S*|--(?:tls|host|user)[ ][\w.@-]+\S*|\S+)""",
    re.VERBOSE,
)


def wrapped(text: str, width: int, indent: str = INDENT) -> str:
    """Return ``text`` in lines of at most ``width`` columns; ``indent`` begins all but the first.

    A word that is longer has a line of its own: a path or a fingerprint can be copied whole.
    """
    width = max(width, LEAST)
    lines = [""]
    columns = 0
    for gap, word in _WORD.findall(text):
        wide = _columns(gap) + _columns(word)
        if lines[-1].strip() and columns + wide > width:
            lines.append(indent + word)
            columns = _columns(lines[-1])
        else:
            lines[-1] += gap + word
            columns += wide
        if columns > width:
            columns %= width  # the terminal goes on below
    return "\n".join(lines)


def _columns(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
