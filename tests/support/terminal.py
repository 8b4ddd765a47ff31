"""The real command on a terminal, and what a person would see there."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
import unicodedata
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.command import PATIENCE, Run
from tests.support.prepared_python import Forked

# The shell opens the terminal anew, so that it becomes the one that controls the session.
ON_TERMINAL = (
    'exec <>"$0" 2>&0; test -p /dev/stdout || exec >&0; '
    'if test -n "$FED"; then printf %s "$FED" | "$@"; else exec "$@"; fi'
)

TYPES = "xterm-256color"
_SEQUENCE = re.compile(r"\x1b\[([0-9;]*)([A-Za-z])")


@dataclass(frozen=True, slots=True)
class Seen:
    """How a command ended, all that came to the terminal, and what it wrote into a pipe."""

    status: int
    raw: bytes
    out: bytes
    columns: int

    @property
    def screen(self) -> list[str]:
        """The lines on the terminal at the end."""
        screen = Screen(self.columns)
        screen.feed(self.raw.decode("utf-8"))
        return screen.lines()


@dataclass(frozen=True, slots=True)
class Terminal:
    """Runs ``pop3fetch`` with a terminal as standard input, output and error."""

    run: Run

    def __call__(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        columns: int = 80,
        rows: int = 24,
        answers: Sequence[tuple[bytes, bytes]] = (),
        piped: bool = False,
        fed: str = "",
    ) -> Seen:
        """Run the command; ``answers`` are typed when the text before each was shown.

        ``piped``: standard output goes into a pipe. ``fed``: standard input is a pipe with this in it.
        """
        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        words, folder = self.run.command(*arguments), self.run.folder
        environment = {**self.run.environment, "TERM": TYPES, "TZ": "CET-1", **(env or {})}
        process: subprocess.Popen[bytes] | Forked | None = None
        if self.run.python and not piped and not fed:
            process = self.run.python.begin(words, folder, environment, [theirs] * 3, on_terminal=True)
        if process is None:
            process = subprocess.Popen(
                ["sh", "-c", ON_TERMINAL, os.ttyname(theirs), *words],
                cwd=folder,
                env={"FED": fed, **environment},
                stdout=subprocess.PIPE if piped else theirs,
                start_new_session=True,
            )
        os.close(theirs)
        try:
            raw, out = _converse(process, ours, list(answers))
        finally:
            process.kill()
            status = process.wait()
            os.close(ours)
            if process.stdout:
                process.stdout.close()
        return Seen(status, raw, out, columns)


def _converse(
    process: subprocess.Popen[bytes] | Forked, ours: int, answers: list[tuple[bytes, bytes]]
) -> tuple[bytes, bytes]:
    shown, out = bytearray(), bytearray()
    sources = {ours: shown}
    if process.stdout:
        sources[process.stdout.fileno()] = out
    answered = 0
    deadline = time.monotonic() + PATIENCE
    while sources:
        assert time.monotonic() < deadline, f"no end: {bytes(shown)!r}"
        for ready in select.select(list(sources), [], [], 1)[0]:
            octets = b""
            with suppress(OSError):  # EIO: no process has the terminal open any more
                octets = os.read(ready, 65536)
            if not octets:
                del sources[ready]
                continue
            sources[ready] += octets
        if answers and answers[0][0] in shown[answered:]:
            answered = len(shown)
            os.write(ours, answers.pop(0)[1])
    process.wait(PATIENCE)
    assert not answers, f"not asked: {answers}"
    return bytes(shown), bytes(out)


class Screen:
    """As much of a terminal as we need; any other output is an error.

    Lines are as long as they get, but wider ones than ``columns`` are wrapped as terminals do.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._lines: list[list[str]] = [[]]
        self._row = self._column = 0

    def feed(self, text: str) -> None:
        place = 0
        while place < len(text):
            if sequence := _SEQUENCE.match(text, place):
                self._obey(sequence[1], sequence[2])
                place = sequence.end()
            else:
                self._put(text[place])
                place += 1

    def lines(self) -> list[str]:
        """Return the lines without blanks at their ends."""
        shown = ["".join(line).rstrip() for line in self._lines]
        while shown and not shown[-1]:
            shown.pop()
        return shown

    def _obey(self, argument: str, what: str) -> None:
        if what == "m":
            return
        if what == "A":
            self._row = max(self._row - int(argument or 1), 0)
            return
        known = {("", "K"), ("0", "K"), ("", "J")}
        assert (argument, what) in known, f"the screen does not know CSI {argument}{what}"
        del self._lines[self._row][self._column :]
        if what == "J":
            del self._lines[self._row + 1 :]

    def _put(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._row += 1
            self._column = 0
            if self._row == len(self._lines):
                self._lines.append([])
        elif character == "\t":
            self._write(" " * (8 - self._column % 8))
        else:
            joins = character in "\u200c\u200d"
            assert joins or character.isprintable(), f"{character!r} came to the terminal"
            self._write_wide(character)

    def _write_wide(self, character: str) -> None:
        width = cells(character)
        if self._column + width > self._columns:
            self._put("\n")
        if width == 0:
            self._lines[self._row][self._column - 1] += character
            return
        self._write(character)
        self._write_nothing(width - 1)

    def _write_nothing(self, count: int) -> None:
        """Fill the second cell of a wide character."""
        for _ in range(count):
            self._place("")

    def _write(self, text: str) -> None:
        for character in text:
            self._place(character)

    def _place(self, cell: str) -> None:
        line = self._lines[self._row]
        line.extend(" " * (self._column + 1 - len(line)))
        line[self._column] = cell
        self._column += 1


def cells(text: str) -> int:
    """Return how many columns ``text`` takes."""
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
