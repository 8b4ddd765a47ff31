"""The words of an fdm.conf, with its macros, conditions and included files. Pure.

Commands, ``$(...)`` and ``%(...)``, are words of their own kind; none is run.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Literal

from pop3fetch.account.secret import text_of
from pop3fetch.importing.foreign import Broken, Origin
from pop3fetch.values import NamedTuple

Kind = Literal["word", "text", "number", "command", "unknown", "symbol", "define", "end"]
VALUES = ("text", "number", "command", "unknown")
MOST_FILES = 100  # that include each other
LONGEST_TEXT = 1 << 16  # characters, with the macros in it


class Word(NamedTuple):
    """A word and its place. ``unknown`` is a text that has the output of a command in it."""

    kind: Kind
    text: str
    origin: Origin


_PLAIN = re.compile(r"[A-Za-z_-][A-Za-z0-9_-]*")
_NUMBER = re.compile(r"[0-9]+")
_MACRO = re.compile(r"([$%])(?:\{([A-Za-z0-9][A-Za-z0-9_-]*)\}|([A-Za-z0-9][A-Za-z0-9_-]*))")
_DEFINES = re.compile(r"\s*=(?!=)")
_SYMBOL = re.compile(r"[=!]=|[=!~+(),<>{}*]")
_BLANK = re.compile(r"[ \t\r]+|#[^\n]*")
_LETTERS = {"r": "\r", "n": "\n", "t": "\t"}


class Words:
    """The words of a file and of what it includes, one by one, as macros are defined on the way."""

    def __init__(self, file: str, octets: bytes, load: Callable[[str], tuple[str, bytes]]) -> None:
        """``load`` returns the path and the octets of an included file; raises OSError."""
        self._load = load
        self._files: list[_File] = [_File(file, text_of(octets), self)]
        self._opened = 1
        self.macros: dict[str, Word] = {}
        self.depth = 0  # of ifdef
        self.skips = False
        self._peeked: Word | None = None

    def peek(self) -> Word:
        """Return the next word, which stays the next one; raises Broken."""
        while self._peeked is None:
            word = self._files[-1].following()
            if word.kind == "end" and len(self._files) > 1:
                self._files.pop()
            elif word.kind == "end" and self.depth:
                raise Broken(word.origin.line, "endif is missing", word.origin.file)
            elif word.kind == "end" or not self.skips:
                self._peeked = word
        return self._peeked

    def take(self) -> Word:
        """Return the next word."""
        word, self._peeked = self.peek(), None
        return word

    def include(self, path: str, origin: Origin) -> None:
        """Go on with another file; raises Broken."""
        self._opened += 1
        if self._opened > MOST_FILES:
            raise Broken(origin.line, "includes too many files", origin.file)
        try:
            name, octets = self._load(path)
        except OSError as error:
            raise Broken(origin.line, f"{path}: {error.strerror}", origin.file) from error
        self._files.append(_File(name, text_of(octets), self))


class _File:
    """The words of one file."""

    def __init__(self, name: str, text: str, words: Words) -> None:
        self.name = name
        self._text = text
        self._words = words
        self._at = 0
        self._line = 1

    def broken(self, reason: str) -> Broken:
        return Broken(self._line, reason, self.name)

    def following(self) -> Word:
        while self._skip_blanks() and self._at < len(self._text):
            origin = Origin(self.name, self._line)
            character = self._text[self._at]
            if character in "'\"":
                self._at += 1
                kind, text = self._quoted(character)
                return Word(kind, text, origin)
            if character in "$%":
                return self._macro(origin)
            if word := self._match(_PLAIN):
                if word in ("ifdef", "ifndef", "endif"):
                    self._condition(word)
                    continue
                return Word("word", word, origin)
            if number := self._match(_NUMBER):
                return Word("number", number, origin)
            if symbol := self._match(_SYMBOL):
                return Word("symbol", symbol, origin)
            raise self.broken(f"cannot be read from {character!r} on")
        return Word("end", "", Origin(self.name, self._line))

    def _match(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            return ""
        self._at = match.end()
        self._line += match[0].count("\n")
        return match[0]

    def _skip_blanks(self) -> bool:
        while self._match(_BLANK) or self._text.startswith("\n", self._at):
            if self._text.startswith("\n", self._at):
                self._at += 1
                self._line += 1
        return True

    def _condition(self, word: str) -> None:
        words = self._words
        if word == "endif":
            if not words.depth:
                raise self.broken("endif without ifdef")
            words.depth -= 1
            words.skips = words.skips and words.depth > 0
            return
        self._skip_blanks()
        match = _MACRO.match(self._text, self._at)
        if match is None:
            raise self.broken(f"{word} needs a macro")
        self._at = match.end()
        is_known = match[1] + (match[2] or match[3]) in words.macros
        words.skips = words.skips or is_known == (word == "ifndef")
        words.depth += 1

    def _macro(self, origin: Origin) -> Word:
        """Return a command, the name of a macro that is defined here, or the value of one."""
        if self._text.startswith("(", self._at + 1):
            self._at += 2
            return Word("command", self._command(), origin)
        match = _MACRO.match(self._text, self._at)
        if match is None:
            raise self.broken("a macro needs a name")
        self._at = match.end()
        name = match[1] + (match[2] or match[3])
        if defines := _DEFINES.match(self._text, self._at):
            self._at = defines.end()
            self._line += defines[0].count("\n")
            return Word("define", name, origin)
        if name not in self._words.macros:
            if self._words.skips:
                return Word("text", "", origin)
            raise self.broken(f"the macro {name} is not defined")
        return self._words.macros[name]._replace(origin=origin)

    def _command(self) -> str:
        """Return the text up to the parenthesis that ends a command."""
        start, depth = self._at, 0
        while self._at < len(self._text):
            character = self._text[self._at]
            self._at += 1
            if character in "'\"":
                self._quoted(character)
            elif character == "\n":
                self._line += 1
            elif character == "(":
                depth += 1
            elif character == ")":
                if not depth:
                    return self._text[start : self._at - 1]
                depth -= 1
        raise self.broken("a ) is missing")

    def _quoted(self, quote: str) -> tuple[Kind, str]:
        """Return the kind and the text up to the quote that ends it; only in ``"`` there are escapes."""
        kind: Kind = "text"
        parts: list[str] = []
        room = LONGEST_TEXT
        while self._at < len(self._text):
            room -= len(parts[-1]) if parts else 0
            if room < 0:
                raise self.broken(f"a text is longer than {LONGEST_TEXT} characters")
            character = self._text[self._at]
            match = _MACRO.match(self._text, self._at) if quote == '"' else None
            if character == quote:
                self._at += 1
                return kind, "".join(parts)
            if match and match[2]:
                self._at = match.end()
                # An unknown macro is left out.
                value = self._words.macros.get(match[1] + match[2])
                parts.append(value.text if value else "")
                kind = "unknown" if value and value.kind in ("command", "unknown") else kind
                continue
            if character == "\\" and quote == '"':
                self._at += 1
                character = self._text[self._at : self._at + 1]
                parts.append(_LETTERS.get(character, character))
            else:
                parts.append(character)
            self._line += character == "\n"
            self._at += 1
        raise self.broken(f"a {quote} is missing")


def loader(file: str, load: Callable[[str], bytes]) -> Callable[[str], tuple[str, bytes]]:
    """Return what opens an included file: by its path, else beside the main ``file``."""

    def open_included(path: str) -> tuple[str, bytes]:
        beside = posixpath.normpath(f"{posixpath.dirname(file) or '.'}/{path}")
        if posixpath.isabs(path):
            try:
                return path, load(path)
            except FileNotFoundError:
                pass
        return beside, load(beside)

    return open_included
