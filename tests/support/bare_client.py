"""A POP3 client as simple as can be, to check the servers with, and our own client against.

Shares no code with pop3fetch, and trusts the server: it belongs to tests alone.
"""

from __future__ import annotations

import socket
import ssl
from types import TracebackType

PATIENCE = 10.0  # seconds


class BareClient:
    """A connection that has read the greeting; lines go out and come in with their ends."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None = None) -> None:
        self._socket = socket.create_connection((host, port), PATIENCE)
        if context:
            self._socket = context.wrap_socket(self._socket, server_hostname=host, suppress_ragged_eofs=False)
        self._stream = self._socket.makefile("rb")
        try:
            self.greeting = self.line()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> BareClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, octets: bytes) -> None:
        """Send ``octets`` as they are."""
        self._socket.sendall(octets)

    def line(self) -> bytes:
        """Return the next line, empty at the end of the stream."""
        return self._stream.readline()

    def rest(self) -> bytes:
        """Return all that comes before the end of the stream."""
        return self._stream.read()

    def ends_with_notice(self) -> bool:
        """Return whether the stream's end is one that TLS has announced."""
        try:
            return self.rest() == b""
        except ssl.SSLError as error:  # SSLEOFError, but for Python 3.11.2
            assert "EOF" in str(error), error
            return False

    def ask(self, command: str) -> bytes:
        """Send a command and return the first line of the reply."""
        self.send(command.encode() + b"\r\n")
        return self.line()

    def ask_long(self, command: str) -> bytes:
        """Send a command and return the content of its multi-line reply, unstuffed."""
        status = self.ask(command)
        assert status.startswith(b"+OK"), status
        content, at_start = [], True
        while (line := self.line()) != b".\r\n" or not at_start:
            assert line, "the stream ended in the middle of a reply"
            content.append(line.removeprefix(b".") if at_start else line)
            at_start = line.endswith(b"\r\n")  # a bare LF is content, and what follows it is not stuffed
        return b"".join(content)

    def login(self, user: str, password: str) -> None:
        """Log in with USER and PASS."""
        for command in (f"USER {user}", f"PASS {password}"):
            reply = self.ask(command)
            assert reply.startswith(b"+OK"), reply

    def start_tls(self, context: ssl.SSLContext, name: str = "localhost") -> None:
        """Send STLS and do the handshake."""
        assert self.ask("STLS").startswith(b"+OK")
        self._stream.close()
        self._socket = context.wrap_socket(self._socket, server_hostname=name)
        self._stream = self._socket.makefile("rb")

    def close(self) -> None:
        """End the connection."""
        self._stream.close()
        self._socket.close()
