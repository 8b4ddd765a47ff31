"""The way through a command: the server on its standard input and output (``ssh mail nc …``)."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from pop3fetch.errors import ConnectionFailed

PATIENCE = 2.0  # seconds for a tunnel to end by itself once its line is closed


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A command, by its words and without a shell, and all of its environment."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)


class TunnelSocket(socket.socket):
    """Our end of the line to a running tunnel; to close it ends the command."""

    process: subprocess.Popen[bytes] | None = None

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """Read; a command that has failed is an error, and no end of the stream like another."""
        size = super().recv_into(buffer, nbytes, flags)
        if not size and (status := self._failure()):
            raise ConnectionResetError(0, f"the tunnel command ended with status {status}")
        return size

    def _failure(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(PATIENCE) if self.process else None
        return None

    def close(self) -> None:
        super().close()
        process, self.process = self.process, None
        if process is not None:
            _end(process)


def connect_by(tunnel: Tunnel, host: str, port: int) -> socket.socket:
    """Return a socket whose other end is the command's standard input and output.

    Its standard error and terminal are ours: there ssh asks and complains. Raises ConnectionFailed.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = subprocess.Popen(  # noqa: S603 (the user's own command)
                tunnel.command,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env=dict(tunnel.environment),
            )
    except OSError as error:
        ours.close()
        reason = f"the tunnel command {tunnel.command[0]}: {error.strerror}"
        raise ConnectionFailed(host, port, reason) from error
    line = TunnelSocket(fileno=ours.detach())
    line.process = process
    return line


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
