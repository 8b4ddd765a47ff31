"""The manual pages as tests read them: their source in mdoc(7), by sections.

This knows as much of mdoc as the pages use; mandoc checks the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parents[2] / "man"
_ESCAPES = {r"\-": "-", r"\(aq": "'", r"\(ti": "~", r"\e": "\\", r"\&": ""}
_ESCAPE = re.compile("|".join(map(re.escape, _ESCAPES)))


@dataclass(frozen=True, slots=True)
class Page:
    """One page of the manual."""

    path: Path

    def sections(self) -> dict[str, list[str]]:
        """Return the lines of each section, and of each subsection as ``SECTION/subsection``."""
        found: dict[str, list[str]] = {}
        section = ""
        lines: list[str] = []
        for line in self.path.read_text("utf-8").splitlines():
            macro, _, title = line.partition(" ")
            if macro in (".Sh", ".Ss"):
                section = title if macro == ".Sh" else section
                lines = found.setdefault(title if macro == ".Sh" else f"{section}/{title}", [])
            else:
                lines.append(line)
        return found

    def under(self, section: str) -> list[str]:
        """Return the lines of a section with those of its subsections."""
        return [
            line
            for title, lines in self.sections().items()
            if title == section or title.startswith(f"{section}/")
            for line in lines
        ]

    def prose(self, section: str) -> str:
        """Return the words of a section without its macros, on one line."""
        bare = (re.sub(r"^\.[A-Z][a-z] ?", "", line) for line in self.under(section))
        return " ".join(" ".join(bare).split())

    def examples(self) -> dict[str, str]:
        """Return the literal displays by the sentence before each, as a reader would copy them."""
        found = {}
        sentence: list[str] = []
        text: list[str] | None = None
        for line in (line for lines in self.sections().values() for line in lines):
            if line.startswith(".Bd -literal"):
                text = []
            elif line == ".Ed" and text is not None:
                found[" ".join(sentence).rstrip(":")] = "".join(f"{_plain(kept)}\n" for kept in text)
                sentence, text = [], None
            elif text is not None:
                text.append(line)
            elif line.startswith((".Pp", ".El")) or (sentence and sentence[-1].endswith(".")):
                sentence = [] if line.startswith(".") else [line]
            else:
                sentence.append(line)
        return found


MAIN = Page(_FOLDER / "pop3fetch.1")
CONFIG = Page(_FOLDER / "pop3fetch-config.5")
RECIPES = Page(_FOLDER / "pop3fetch-recipes.7")
PAGES = (MAIN, CONFIG, RECIPES)


def options(lines: Iterable[str]) -> set[str]:
    """Return the options that lists in ``lines`` have an entry for, as they are typed."""
    return {f"-{name}" for line in _entries(lines) for name in re.findall(r"\bFl (\S+)", line)}


def entries(lines: Iterable[str], macro: str) -> set[str]:
    """Return the words of the entries that ``macro`` marks; without one, the entries' first words."""
    if not macro:
        return {line.split()[1] for line in _entries(lines)}
    marked = [
        line.removeprefix(f".It {macro} ") for line in _entries(lines) if line.startswith(f".It {macro} ")
    ]
    return {word for words in marked for word in words.split(" , ")}


def _entries(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if line.startswith(".It ")]


def words(lines: Iterable[str], macro: str) -> set[str]:
    """Return what ``macro`` marks at the beginning of lines."""
    marked = (line.removeprefix(f".{macro} ") for line in lines if line.startswith(f".{macro} "))
    return {word for line in marked for word in re.split("[ ,.;:()]+", line) if word}


def _plain(line: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPES[match[0]], line)
