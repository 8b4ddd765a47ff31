"""Connections through a command that has the server on standard input and output (``ssh mail nc …``)."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from pop3fetch.errors import ConnectionFailed
from pop3fetch.values import NamedTuple, veiled

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

EXIT_TIMEOUT = 2.0  # seconds for a tunnel to end by itself after its connection is closed


class Tunnel(NamedTuple):
    """A command as a list of words, run without a shell, and its whole environment."""

    command: tuple[str, ...]
    environment: Mapping[str, str]

    def __repr__(self) -> str:
        return veiled(self, "environment")


class TunnelSocket(socket.socket):
    """Our end of the connection to a running tunnel; closing it ends the command."""

    process: subprocess.Popen[bytes] | None = None

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Read; if the command has failed, the end of the stream is an error."""
        try:
            size = super().recv_into(buffer, nbytes, flags)
        except ConnectionError:
            self._explain()
            raise
        if not size:
            self._explain()
        return size

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """Write all; if the command has failed, that explains a broken connection."""
        try:
            super().sendall(data, flags)
        except ConnectionError:
            self._explain()
            raise

    def _explain(self) -> None:
        """Raise an error if the command has failed."""
        status = None
        with suppress(subprocess.TimeoutExpired):
            status = self.process.wait(EXIT_TIMEOUT) if self.process else None
        if status:
            how = f"ended with status {status}" if status > 0 else f"was ended by signal {-status}"
            raise ConnectionResetError(0, f"the tunnel command {how}")

    def close(self) -> None:
        super().close()
        process, self.process = self.process, None
        if process is None:
            return
        try:
            process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def connect_by(tunnel: Tunnel, host: str, port: int) -> socket.socket:
    """Return a socket whose other end is the command's standard input and output.

    It shares our standard error and terminal, for the questions and errors of ssh. Raises ConnectionFailed.
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
