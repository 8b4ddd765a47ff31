"""The streams of a run, and all that is printed on them.

Data goes to standard output, everything else to standard error. Foreign text passes
:func:`~pop3fetch.printable.printable` here, whether it goes to a terminal, a pipe or a trace.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TextIO

from pop3fetch.errors import POP3Error
from pop3fetch.printable import printable

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

Foreign = bytes | str | int | None


@dataclass(frozen=True, slots=True)
class Console:
    """Standard output and error; ``verbosity`` is -1 for --quiet, 0, 1 for -v, 2 for -vv.

    ``account`` stands in front of each line where several are at work.
    """

    out: TextIO
    err: TextIO
    environment: Mapping[str, str]
    verbosity: int = 0
    account: str = ""
    _turn: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def of_process(cls) -> Console:
        """Return the console of this process."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(AttributeError, ValueError):
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        return cls(sys.stdout, sys.stderr, os.environ)

    def with_verbosity(self, verbosity: int) -> Console:
        return replace(self, verbosity=verbosity)

    def for_account(self, name: str) -> Console:
        """Return the same console with the name of an account in front of its lines."""
        return replace(self, account=name)

    @property
    def account_field(self) -> dict[str, object]:
        """What a JSON object says of the account where several are at work."""
        return {"account": self.account} if self.account else {}

    @property
    def shows_tables(self) -> bool:
        """Whether standard output is a terminal, for people."""
        return self.out.isatty()

    @property
    def shows_progress(self) -> bool:
        """Whether standard error is a terminal on which a line can be drawn anew."""
        return self.err.isatty() and self.verbosity >= 0 and self.environment.get("TERM") != "dumb"

    # -- data --------------------------------------------------------------------------------

    def row(self, *cells: Foreign) -> None:
        """Print a line of data, tab-separated; no cell can hold a tab or a line end."""
        if self.account:
            cells = (self.account, *cells)
        with self._turn:
            self.out.write("\t".join(_cell(cell) for cell in cells) + "\n")

    def text(self, text: str) -> None:
        """Print a line for people, or of words that need no tabs."""
        with self._turn:
            self.out.write(f"{self._label}{printable(text, None)}\n")

    def json(self, value: Mapping[str, object]) -> None:
        """Print one JSON object as a line; escapes in it are JSON's own."""
        with self._turn:
            self.out.write(json.dumps(value) + "\n")

    def rich(self, *, stderr: bool = False) -> RichConsole:
        """Return rich's console on one of the streams; only for terminals, for it is slow to come."""
        from rich.console import Console as RichConsole

        return RichConsole(file=self.err if stderr else self.out, markup=False, emoji=False, highlight=False)

    # -- everything else ---------------------------------------------------------------------

    def text_on_err(self, text: str, foreign: bytes = b"") -> None:
        """Print a line for people on standard error."""
        with self._turn:
            self.err.write(f"{self._label}{text}{printable(foreign)}\n")

    def error(self, text: str) -> None:
        """Print a line about what went wrong; not even --quiet hides it."""
        self._say("pop3fetch: ", text)

    def warn(self, text: str) -> None:
        """Print a line that every user must see."""
        self._say("pop3fetch: ", text)

    def notice(self, text: str) -> None:
        """Print a line under -v."""
        if self.verbosity >= 1:
            self._say("pop3fetch: ", text)

    def trace(self, mark: str, octets: bytes) -> None:
        """Print a line of the protocol under -vv."""
        self._say(f"{mark} ", printable(octets))

    def fail(self, error: POP3Error) -> None:
        """Print the line of an error; under -vv what caused it, too."""
        self.error(str(error))
        cause = error.__cause__
        while cause is not None and self.verbosity >= 2:
            self._say("= ", f"caused by {type(cause).__name__}: {cause}")
            cause = cause.__cause__

    def bug(self, error: Exception) -> None:
        """Print a line about an error that should not be, and under -vv where it came from."""
        self.error(f"internal error: {type(error).__name__}: {error}; please report it")
        if self.verbosity >= 2 or "POP3FETCH_DEBUG" in self.environment:
            import traceback

            traceback.print_exception(error, file=self.err)

    @property
    def _label(self) -> str:
        return f"{printable(self.account)}: " if self.account else ""

    def _say(self, head: str, text: str) -> None:
        with self._turn, suppress(OSError, ValueError):
            # What a sentence holds of foreign text was bounded when it was made.
            self.err.write(f"{head}{self._label}{printable(text, None)}\n")
            self.err.flush()

    # -- the end -----------------------------------------------------------------------------

    def flush(self) -> None:
        """Write out what is buffered; raises BrokenPipeError."""
        self.out.flush()

    def close(self) -> None:
        """Make sure that nothing is left to be written at the interpreter's end."""
        try:
            self.out.flush()
        except (OSError, ValueError):
            # The reader is gone: the interpreter would complain when it flushes once more.
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self.out.fileno())


def _cell(value: Foreign) -> str:
    if isinstance(value, int):
        return str(value)
    return printable(value, None) if value is not None else ""
