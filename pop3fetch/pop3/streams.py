"""The two kinds of stream under a transport: a bare socket, and TLS over one.

TLS runs over memory buffers and not over :class:`ssl.SSLSocket`. That one costs two system calls
for each record, and servers send small records (Dovecot: under 4 KiB); here one read takes all
that has arrived, and hands on the records in it together.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

CIPHERTEXT_SIZE = 128 * 1024  # octets read from the socket at once
RECORD_SIZE = 16 * 1024  # octets of content in a TLS record at most (RFC 8446 section 5.1)


class PlainStream:
    """A socket without TLS."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.arrived = 0  # octets that the last read of the socket brought

    def read_into(self, view: memoryview, bound: Callable[[], None]) -> int:
        """Return how many octets were read into ``view``, 0 at the end of the stream.

        ``bound`` is called before each wait, and sets the socket's time-out.
        """
        bound()
        self.arrived = self.socket.recv_into(view)
        return self.arrived

    def write(self, octets: bytes) -> None:
        """Write all octets."""
        self.socket.sendall(octets)


class TLSStream:
    """TLS over a socket, whose time-out is the caller's; raises OSError and ssl.SSLError.

    ``name``: whose certificate is expected, None where the context does not check it.
    """

    def __init__(self, connected: socket.socket, context: ssl.SSLContext, name: str | None) -> None:
        self.socket = connected
        self.arrived = 0  # octets that the last read of the socket brought
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ciphertext = memoryview(bytearray(CIPHERTEXT_SIZE))
        # As octets, the name spares the import of a codec: it is in ASCII already.
        expected = name.encode("ascii") if name is not None else None
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=expected)

    def shake_hands(self, bound: Callable[[], None]) -> None:
        """Make the handshake; an alert that is due is sent also where it fails.

        ``bound`` is called before each wait, and sets the socket's time-out.
        """
        try:
            while not self._try_handshake():
                bound()
                self._fill()
        finally:
            with suppress(OSError):
                self._drain()

    def _try_handshake(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._drain()
            return False
        return True

    def read_into(self, view: memoryview, bound: Callable[[], None]) -> int:
        """Return how many octets were read into ``view``, 0 at the end of the stream.

        Takes all records that have arrived while they fit. ``view`` holds a record at least;
        ``bound`` is as for :meth:`shake_hands`: a record may come an octet at a time.
        """
        while not (size := self._decrypt(view)):
            bound()
            if not self._fill():
                return self._decrypt(view)
        return size

    def _decrypt(self, view: memoryview) -> int:
        size = 0
        # Neither end of the stream says more than the other here: a reply's own end does.
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            while size <= len(view) - RECORD_SIZE:
                read: int = self.tls.read(len(view) - size, view[size:])  # type: ignore[assignment]
                if not read:
                    break
                size += read
        return size

    def write(self, octets: bytes) -> None:
        """Write all octets."""
        self.tls.write(octets)
        self._drain()

    def _fill(self) -> bool:
        """Take what has arrived; return whether the stream goes on."""
        self.arrived = size = self.socket.recv_into(self._ciphertext)
        if size:
            self._incoming.write(self._ciphertext[:size])
        else:
            self._incoming.write_eof()
        return size > 0

    def _drain(self) -> None:
        octets = self._outgoing.read()
        if octets:
            self.socket.sendall(octets)
