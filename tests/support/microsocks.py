"""A real SOCKS5 proxy for tests: Debian's microsocks on a free port of loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

HOST = "127.0.0.1"
PATIENCE = 10.0  # seconds for a start, which takes a hundredth of one
PAUSE = 0.01  # seconds between two looks whether it listens


def missing() -> str | None:
    """Return why there is no proxy here, or None if there is one."""
    return None if shutil.which("microsocks") else "microsocks is not installed (Debian: microsocks)"


@contextmanager
def running(user: str = "", password: str = "") -> Iterator[int]:
    """Run a proxy, which asks for ``password`` if one is given; yield its port."""
    with socket.socket() as holder:
        # Kept until microsocks listens: with SO_REUSEADDR both may bind, and no other process gets the port.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((HOST, 0))
        port: int = holder.getsockname()[1]
        words = ["microsocks", "-i", HOST, "-p", str(port)]
        with subprocess.Popen(
            [*words, "-u", user, "-P", password] if password else words, stderr=subprocess.DEVNULL
        ) as process:
            try:
                _await_listening(process, port)
                yield port
            finally:
                process.kill()


def _await_listening(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with suppress(ConnectionRefusedError):
            socket.create_connection((HOST, port), PATIENCE).close()
            return
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"microsocks ended with {process.wait(PAUSE)}")
    raise AssertionError("microsocks does not listen")
