"""Real servers as processes of their own: begun, waited for, and ended by their PID."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

PATIENCE = 10.0  # seconds for a start, which takes half of one at most


class Daemon:
    """A process that serves until :meth:`end`; it and its children are one group."""

    def __init__(
        self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        with open(log, "ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the tests, which then call end()
            )

    def serves(self, asked: Callable[[], bool]) -> bool:
        """Wait until it answers ``asked``; return whether it did, and end it if not."""
        try:
            if self._answers(asked):
                return True
        except BaseException:
            self.end()
            raise
        self.end()
        return False

    def _answers(self, asked: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError):
                if asked():
                    return True
            time.sleep(0.01)  # not listening yet
        return False

    def end(self) -> None:
        """Kill it at once, and with it every session: no test is worth the second of an orderly end."""
        with suppress(ProcessLookupError):  # it may have died of itself
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def reserve(holder: socket.socket, host: str) -> int:
    """Return a free port, which stays free while ``holder`` is open."""
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host, 0))
    return int(holder.getsockname()[1])


def open_folder(prefix: str) -> Path:
    """Return a new folder that another user gets to: below pytest's own one only root does."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    return folder
