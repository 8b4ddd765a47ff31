"""The program of $PAGER, which shows a list that is longer than the screen page by page, as git does."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO, cast

from pop3fetch.account.credentials import without_password

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pop3fetch.cli.screen.console import Console

USUAL = "less"
# With these, less and lv show colours and leave the list on the screen; less ends at once if it fits.
DEFAULTS = {"LESS": "FRX", "LV": "-c"}
# What only a shell understands, unless it is quoted.
SHELL = frozenset("|&;<>()$`*?[#~=%")
QUOTED = re.compile(r"""'[^']*'|"[^"$`]*"|\\.""")
MOST_WAITING = 8 * 1024 * 1024  # octets that the program has not read yet; if there are more, we wait for it


def pager_of(environment: Mapping[str, str]) -> str | None:
    """Return the command line of the pager, or None if there is none."""
    given = environment.get("PAGER")
    if given is not None:
        return None if given.strip() in ("", "cat") else given
    is_dumb = environment.get("TERM", "dumb") == "dumb"
    return None if is_dumb or shutil.which(USUAL) is None else USUAL


class Pager:
    """Takes the place of standard output, and starts the program once the screen is full.

    The session never waits for the person who reads, because the server would end it. ``at_end``: start
    the program only at the end, since the same keyboard may be needed for passwords.
    """

    def __init__(self, console: Console, command: str, *, at_end: bool) -> None:
        self._console = console
        self._command = command
        self._at_end = at_end
        self._terminal = console.out
        self.encoding = console.out.encoding or "utf-8"
        self._columns, self._rows = shutil.get_terminal_size()
        self._lines = 0
        self._waiting = bytearray()
        self._program: subprocess.Popen[bytes] | None = None
        self._failed = False

    def __enter__(self) -> None:
        self._console.out = cast("TextIO", self)

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        """Print what is left, and wait until the person has seen enough.

        An interrupted list starts no program. SIGTERM ends one that runs; Ctrl-C does not.
        """
        self._console.out = self._terminal
        if self._lines >= self._rows and kind is None:
            self._start()
        if self._program is None:
            self._terminal.write(self._waiting.decode(self.encoding))
            return
        # For the program, Ctrl-C ends a search and no more.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            if kind is not None and not issubclass(kind, Exception | KeyboardInterrupt):
                self._program.terminate()
            with suppress(BrokenPipeError):
                self._feed(self._program, waits=True)
            self._program.communicate()
        except BaseException:  # SIGTERM
            self._program.terminate()
            self._program.wait()
            raise
        finally:
            signal.signal(signal.SIGINT, before)

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._terminal.fileno()

    def flush(self) -> None:
        """Do nothing: the program gets everything as soon as it reads."""

    def write(self, text: str) -> None:
        """Print whole lines; raises BrokenPipeError once the program has ended."""
        self._waiting += text.encode(self.encoding, self._terminal.errors or "strict")
        for line in text.splitlines():
            # Lines with colours belong to a table, and fit.
            self._lines += 1 if "\x1b" in line else max(1, -(-len(line) // self._columns))
        if (self._lines >= self._rows and not self._at_end) or len(self._waiting) > MOST_WAITING:
            self._start()
        if self._program is not None:
            self._feed(self._program, waits=len(self._waiting) > MOST_WAITING)
        elif self._failed:
            self._terminal.write(self._waiting.decode(self.encoding))
            self._waiting.clear()

    def _start(self) -> None:
        """Start the program, unless that was done or has failed."""
        if self._program or self._failed:
            return
        environment = {**DEFAULTS, **without_password(self._console.environment)}
        try:
            words = shlex.split(self._command)
            # The user's own command: nothing foreign is in it.
            self._program = subprocess.Popen(  # noqa: S603
                ["/bin/sh", "-c", self._command] if SHELL & set(QUOTED.sub("", self._command)) else words,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=self._terminal.fileno(),
                env=environment,
            )
        except (OSError, ValueError) as error:
            self._failed = True
            reason = error.strerror if isinstance(error, OSError) else error
            self._console.warn(f"PAGER={self._command}: {reason}; set another one, or use --no-pager")

    def _feed(self, program: subprocess.Popen[bytes], *, waits: bool) -> None:
        """Write what is waiting into the pipe: all of it, or as much as there is room for."""
        assert program.stdin is not None
        os.set_blocking(program.stdin.fileno(), waits)
        with suppress(BlockingIOError):
            while self._waiting:
                del self._waiting[: os.write(program.stdin.fileno(), self._waiting[: 64 * 1024])]
