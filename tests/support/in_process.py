"""The command line in this process, in an environment as bare as cron's.

Its output goes into files, or to a stream that claims to be a terminal.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from pop3fetch.cli.main import run
from pop3fetch.cli.screen.console import Console
from tests.support.command import Ended
from tests.support.terminal import Screen


class Paper(io.StringIO):
    """What is written, as if it were a terminal; without a descriptor, its width is $COLUMNS."""

    def isatty(self) -> bool:
        return True

    def lines(self, columns: int) -> list[str]:
        """Return what a terminal of this width shows."""
        screen = Screen(columns)
        screen.feed(self.getvalue())
        return screen.lines()


@dataclass(frozen=True, slots=True)
class Here:
    """Runs a command line; its output goes into files."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch

    def __call__(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> Ended:
        """Run a command with ``arguments``; ``env`` is added to its environment."""
        out, err = self.folder / ".out", self.folder / ".err"
        heeded = signal.getsignal(signal.SIGTERM)
        with self.monkeypatch.context() as patch, open(out, "w") as out_file, open(err, "w") as err_file:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.setattr(sys, "stdout", out_file)  # click writes --help there
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            try:
                status = run([*map(str, arguments)], Console(out_file, err_file, os.environ))
            finally:
                signal.signal(signal.SIGTERM, heeded)
        return Ended(status, out.read_bytes(), err.read_bytes())

    def screen(self, *arguments: str | Path, columns: int, env: Mapping[str, str] | None = None) -> Paper:
        """Run a command that asks nothing, on a terminal of so many columns; return what it prints."""
        paper = Paper()
        heeded = signal.getsignal(signal.SIGTERM)
        with self.monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
            patch.setattr(sys, "stdout", paper)
            for name, value in {**(env or {}), "COLUMNS": str(columns)}.items():
                patch.setenv(name, value)
            try:
                run([*map(str, arguments)], Console(paper, paper, os.environ))
            finally:
                signal.signal(signal.SIGTERM, heeded)
        return paper
