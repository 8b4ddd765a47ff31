"""The two kinds of stream under a transport: a bare socket, and TLS over one.

TLS runs over memory buffers and not over :class:`ssl.SSLSocket`. That one costs two system calls
for each record, and servers send small records (Dovecot: under 4 KiB); here one read takes all
that has arrived, and hands on the records in it together.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

CIPHERTEXT_SIZE = 128 * 1024  # octets read from the socket at once
RECORD_SIZE = 16 * 1024  # octets of content in a TLS record at most (RFC 8446 section 5.1)
AHEAD_LIMIT = 1024 * 1024  # octets that may come while a new handshake holds up a write


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

    def write(self, octets: bytes, bound: Callable[[], None]) -> None:
        """Write all octets; ``bound`` is as for :meth:`read_into`."""
        bound()
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
        # Of a new handshake, which a server may ask for in TLS 1.2 (RFC 5246 section 7.4.1.1):
        self._certificate: bytes | None = None  # the one of the first
        self._is_renewing = False
        self._ahead = bytearray()  # content that came in the middle of it

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
        self._certificate = self.tls.getpeercert(binary_form=True)

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
        if self._ahead:
            return self._take_ahead(view)
        size = 0
        # Neither end of the stream says more than the other here: a reply's own end does.
        with suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError, ssl.SSLEOFError):
            while size <= len(view) - RECORD_SIZE:
                read: int = self.tls.read(len(view) - size, view[size:])  # type: ignore[assignment]
                if not read:
                    break
                size += read
        if self._outgoing.pending:  # our part of a new handshake, or of new keys in TLS 1.3
            self._is_renewing = True
            self._drain()
        return size

    def _take_ahead(self, view: memoryview) -> int:
        size = min(len(self._ahead), len(view))
        view[:size] = self._ahead[:size]
        del self._ahead[:size]
        return size

    def write(self, octets: bytes, bound: Callable[[], None]) -> None:
        """Write all octets, after a new handshake if one is under way; ``bound`` as for `shake_hands`."""
        bound()
        while not self._try_write(octets):
            self._drain()
            bound()
            if not self._fill():
                raise ConnectionResetError(errno.ECONNRESET, "the server hung up in a new handshake")
        self._drain()

    def _try_write(self, octets: bytes) -> bool:
        if self._is_renewing:
            self._read_ahead()  # or OpenSSL would find content where it looks for a handshake
        try:
            self.tls.write(octets)
        except ssl.SSLWantReadError:
            self._is_renewing = True
            return False
        if self._is_renewing and self.tls.getpeercert(binary_form=True) != self._certificate:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, "the server has changed its certificate in the session")
        self._is_renewing = False
        return True

    def _read_ahead(self) -> None:
        """Keep the content that has come for the next reads."""
        kept, self._ahead = self._ahead, bytearray()
        view = memoryview(bytearray(2 * RECORD_SIZE))
        while len(kept) < AHEAD_LIMIT and (size := self._decrypt(view)):
            kept += view[:size]
        if len(kept) >= AHEAD_LIMIT:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, "the server begins a handshake and does not end it")
        self._ahead = kept

    def _fill(self) -> bool:
        """Take what has arrived; return whether the stream goes on."""
        self.arrived = size = self.socket.recv_into(self._ciphertext)
        if size:
            self._incoming.write(self._ciphertext[:size])
        else:
            self._incoming.write_eof()
        return size > 0

    def _drain(self) -> None:
        if self._outgoing.pending:
            self.socket.sendall(self._outgoing.read())
