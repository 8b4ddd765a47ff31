"""The real command in a process of its own, in an environment as bare as cron's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.prepared_python import PreparedPython

PATIENCE = 60.0  # seconds that a command may take


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and all it wrote."""

    status: int
    out: bytes
    err: bytes


@dataclass(frozen=True, slots=True)
class Run:
    """Runs ``pop3fetch`` with ``home`` as home; ``environment`` is all that it inherits besides PATH.

    A ``python`` that is prepared saves the start of each process.
    """

    home: Path
    folder: Path
    python: PreparedPython | None = field(default=None, kw_only=True)

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), **homely(self.home)}

    def __call__(
        self,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float = PATIENCE,
    ) -> Ended:
        """Run the command with ``arguments``; ``env`` is added to its environment."""
        words, environment = self.command(*arguments), {**self.environment, **(env or {})}
        if self.python and (forked := self.python.run(words, self.folder, environment, stdin, timeout)):
            return Ended(*forked)
        ended = subprocess.run(
            words,
            cwd=self.folder,
            env=environment,
            input=stdin,
            capture_output=True,
            timeout=timeout,
            start_new_session=True,  # no controlling terminal, on which a password could be asked for
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    def command(self, *arguments: str | Path) -> list[str]:
        """Return the words that start ``pop3fetch`` with ``arguments``."""
        return [sys.executable, "-m", "pop3fetch", *map(str, arguments)]


@dataclass(frozen=True, slots=True)
class RunAt(Run):
    """Runs the command at one ``moment``, in the form of ISO 8601."""

    moment: str

    def command(self, *arguments: str | Path) -> list[str]:
        python, _, _, *words = Run.command(self, *arguments)
        return [python, str(Path(__file__).with_name("at_time.py")), self.moment, *words]


def homely(home: Path) -> dict[str, str]:
    """Return the variables that make ``home``, not the tester's own, the place of all files and secrets."""
    return {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_RUNTIME_DIR": str(home / ".run"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
    }
