"""The manual page as tests read it: its source in mdoc(7), by sections.

Knows as much of mdoc as the page uses; what a page looks like is mandoc's business.
"""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "man" / "pop3fetch.1"

_ESCAPES = {r"\-": "-", r"\(aq": "'", r"\(ti": "~", r"\e": "\\", r"\&": ""}
_ESCAPE = re.compile("|".join(map(re.escape, _ESCAPES)))


def sections() -> dict[str, list[str]]:
    """Return the lines of each section, and of each subsection as ``SECTION/subsection``."""
    found: dict[str, list[str]] = {}
    section = ""
    lines: list[str] = []
    for line in PAGE.read_text("utf-8").splitlines():
        macro, _, title = line.partition(" ")
        if macro in (".Sh", ".Ss"):
            section = title if macro == ".Sh" else section
            lines = found.setdefault(title if macro == ".Sh" else f"{section}/{title}", [])
        else:
            lines.append(line)
    return found


def under(section: str) -> list[str]:
    """Return the lines of a section with those of its subsections."""
    return [
        line
        for title, lines in sections().items()
        if title == section or title.startswith(f"{section}/")
        for line in lines
    ]


def options(lines: list[str]) -> set[str]:
    """Return the options that lists in ``lines`` have an entry for, as they are typed."""
    return {f"-{name}" for line in _entries(lines) for name in re.findall(r"\bFl (\S+)", line)}


def entries(lines: list[str], macro: str) -> set[str]:
    """Return the words of the entries that ``macro`` marks; without one, the entries' first words."""
    if not macro:
        return {line.split()[1] for line in _entries(lines)}
    marked = [
        line.removeprefix(f".It {macro} ") for line in _entries(lines) if line.startswith(f".It {macro} ")
    ]
    return {word for words in marked for word in words.split(" , ")}


def _entries(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(".It ")]


def words(lines: list[str], macro: str) -> set[str]:
    """Return what ``macro`` marks at the beginning of lines."""
    return {line.split()[1] for line in lines if line.startswith(f".{macro} ")}


def examples(section: str) -> dict[str, str]:
    """Return the literal displays of a section by the sentence before each, as a reader would copy them."""
    found = {}
    sentence: list[str] = []
    text: list[str] | None = None
    for line in under(section):
        if line.startswith(".Bd -literal"):
            text = []
        elif line == ".Ed" and text is not None:
            found[" ".join(sentence).rstrip(":")] = "".join(f"{_plain(kept)}\n" for kept in text)
            sentence, text = [], None
        elif text is not None:
            text.append(line)
        elif line in (".Pp", ".El"):
            sentence = []
        else:
            sentence.append(line)
    return found


def _plain(line: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPES[match[0]], line)


def prose(section: str) -> str:
    """Return the words of a section without its macros, on one line."""
    bare = (re.sub(r"^\.[A-Z][a-z] ?", "", line) for line in under(section))
    return " ".join(" ".join(bare).split())
