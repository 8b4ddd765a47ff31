"""One connection: read, write, start TLS, close. Octets only; it knows no reply from another.

Foreign exceptions become our own here, at the call, and nowhere else.

TLS runs over memory buffers and not over :class:`ssl.SSLSocket`. That one costs two system calls
for each record, and servers send small records (Dovecot: under 4 KiB); here one read takes all
that has arrived, and hands on the records in it together.
"""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from pop3fetch.ahead import Ahead, Interrupts
from pop3fetch.errors import CertificateError, ConnectionLost, POP3Error, TimedOut
from pop3fetch.net.dial import Endpoint, certificate_name, dial
from pop3fetch.net.tls import channel_binding, handshake_error, session_error

if TYPE_CHECKING:
    from pop3fetch.net.certificate import TLSSession
    from pop3fetch.net.resumption import Handshake, Peer

READ_SIZE = 64 * 1024  # octets: four TLS records, or what a socket has at once

CIPHERTEXT_SIZE = 128 * 1024  # octets read from the socket at once, inside TLS
RECORD_SIZE = 16 * 1024  # octets of content in a TLS record at most (RFC 8446 section 5.1)
AHEAD_LIMIT = 1024 * 1024  # octets that may come while a new handshake holds up a write


class Transport:
    """A connection to a server; ``timeout`` in seconds, None to wait forever."""

    def __init__(
        self,
        endpoint: Endpoint,
        timeout: float | None,
        dialling: Ahead[socket.socket] | None = None,
        interrupts: Interrupts | None = None,
    ) -> None:
        """Connect, or take the connection that is being made already.

        Raises UnknownHost, ResolverFailed, ConnectionFailed or TimedOut.
        """
        self._socket = dialling.result() if dialling else dial(endpoint, timeout)
        self._tls: TLSStream | None = None
        self._handshake: Handshake | None = None  # if sessions are resumed
        self.failed_to_resume = False  # known once it is closed
        self._view = memoryview(bytearray(READ_SIZE))
        self._has_spoken = False
        self.host = endpoint.host
        self.port = endpoint.port
        self.server_name = certificate_name(endpoint.tls_name or endpoint.host)
        self.timeout = timeout
        if interrupts:
            interrupts.watch(self)

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS layer, however it began, or None."""
        return self._tls.tls if self._tls else None

    def read(self, deadline: float | None) -> bytes:
        """Return the octets that arrive next, b"" at the end of the stream.

        ``deadline`` is a time of :func:`time.monotonic`. Raises TimedOut, ConnectionLost, TLSError.
        """
        try:
            if self._tls:
                size = self._tls.read_into(self._view, lambda: self._wait_until(deadline))
            else:
                self._wait_until(deadline)
                size = self._socket.recv_into(self._view)
        except OSError as error:
            raise self._translated(error) from error
        return bytes(self._view[:size])

    def read_pending(self) -> bytes:
        """Return what has arrived already, b"" if nothing has; raises ConnectionLost or TLSError."""
        try:
            self._socket.setblocking(False)
            if self._tls:
                size = self._tls.read_into(self._view, lambda: None)
            else:
                size = self._socket.recv_into(self._view)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise self._translated(error) from error
        if not size:
            raise ConnectionLost(self.host, "")
        return bytes(self._view[:size])

    def write(self, octets: bytes) -> None:
        """Write all octets; raises TimedOut, ConnectionLost or TLSError."""
        self._has_spoken = True
        try:
            deadline = None if self.timeout is None else time.monotonic() + self.timeout
            self._wait_until(deadline)
            if self._tls:
                self._tls.write(octets, lambda: self._wait_until(deadline))
            else:
                self._socket.sendall(octets)
        except OSError as error:
            raise self._translated(error) from error

    def start_tls(
        self,
        context: ssl.SSLContext,
        fingerprint: str | None = None,
        resume: Callable[[Peer], Handshake] | None = None,
    ) -> None:
        """Make the handshake under one deadline, and compare the pinned fingerprint.

        ``resume``: what may resume an earlier session. Raises TLSError, CertificateError, TimedOut or
        ConnectionLost.
        """
        if resume:
            from pop3fetch.net.resumption import Peer

            self._handshake = resume(Peer(context, self.host, self.port, self.server_name))
        try:
            session = self._handshake.session if self._handshake else None
            stream = TLSStream(self._socket, context, self.server_name, session)
            deadline = None if self.timeout is None else time.monotonic() + self.timeout
            stream.shake_hands(lambda: self._wait_until(deadline))
        except ssl.SSLError as error:
            raise handshake_error(self.host, error, first=not self._has_spoken) from error
        except (OSError, ValueError) as error:
            raise self._translated(error, "in the TLS handshake") from error
        # Only now: who asks for the TLS layer shall not find one that failed.
        self._tls = stream
        if fingerprint:
            from pop3fetch.net.certificate import check_fingerprint

            check_fingerprint(stream.tls, fingerprint, self.host)

    def _wait_until(self, deadline: float | None) -> None:
        """Bound the next wait for the server, so that all waits together end in time."""
        # Zero would make the socket non-blocking: let a past deadline fail as a time-out.
        self._socket.settimeout(None if deadline is None else max(deadline - time.monotonic(), 1e-6))

    @property
    def tls_version(self) -> str:
        """The version of TLS in use, empty outside TLS."""
        return (self.tls.version() or "") if self.tls else ""

    def tls_session(self) -> TLSSession | None:
        """Return version, cipher and certificate, or None outside TLS."""
        from pop3fetch.net.certificate import session_of

        return session_of(self.tls) if self.tls else None

    def described(self, error: CertificateError, ca_file: str) -> CertificateError:
        """Return ``error`` with the server's certificate, which it refuses, and what was trusted."""
        from pop3fetch.net.certificate import describe

        assert self.tls is not None
        certificate = describe(self.tls)
        facts = (error.reason, certificate.facts(), certificate.fingerprint, error.cause)
        return CertificateError(self.host, *facts, ca_file)

    def channel_binding(self) -> tuple[str, bytes] | None:
        """Return type and data of the channel binding, or None outside TLS."""
        return channel_binding(self.tls) if self.tls else None

    def interrupt(self) -> None:
        """Cut the connection from another thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def finish(self) -> None:
        """End what we send: the server can read all of it before the end of the stream."""
        with suppress(OSError):
            if self._tls:
                self._tls.finish()
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection, without a word unless :meth:`finish` came first."""
        if self._handshake:
            if self._tls:
                self._handshake.keep(self._tls.tls)
            else:
                self._handshake.fail()
                self.failed_to_resume = self._handshake.session is not None
            self._handshake = None
        with suppress(OSError):
            self._socket.close()

    def _translated(self, error: OSError | ValueError, during: str = "") -> POP3Error:
        if isinstance(error, TimeoutError):
            return TimedOut(self.host, during and f"{during} with", self.timeout or 0)
        if isinstance(error, ssl.SSLError):
            return session_error(self.host, error)
        return ConnectionLost(self.host, during, getattr(error, "strerror", None) or str(error) or "it broke")


class TLSStream:
    """TLS over a socket, whose time-out is the caller's; raises OSError and ssl.SSLError.

    ``name``: whose certificate is expected, None if the context does not check it. ``session`` is resumed.
    """

    def __init__(
        self,
        connected: socket.socket,
        context: ssl.SSLContext,
        name: str | None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.socket = connected
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ciphertext = memoryview(bytearray(CIPHERTEXT_SIZE))
        # As octets, the name spares the import of a codec: it is in ASCII already.
        expected = name.encode("ascii") if name is not None else None
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=expected, session=session)
        # Of a new handshake, which a server may ask for in TLS 1.2 (RFC 5246 section 7.4.1.1):
        self._certificate: bytes | None = None  # the one of the first
        self._is_renewing = False
        self._ahead = bytearray()  # content that came in the middle of it

    def shake_hands(self, bound: Callable[[], None]) -> None:
        """Make the handshake; an alert that is due is sent even if it fails.

        ``bound`` is called before each wait, and sets the socket's time-out.
        """
        try:
            while True:
                try:
                    self.tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    self._drain()
                bound()
                self._fill()
        except (OSError, ValueError):
            with suppress(OSError):
                self._drain()
            raise
        self._drain()  # or what follows would arrive without the end of the handshake
        self._certificate = self.tls.getpeercert(binary_form=True)

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
            size = min(len(self._ahead), len(view))
            view[:size] = self._ahead[:size]
            del self._ahead[:size]
            return size
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

    def write(self, octets: bytes, bound: Callable[[], None]) -> None:
        """Write all octets, after a new handshake if one is under way; ``bound`` as for `shake_hands`."""
        while not self._try_write(octets):
            self._drain()
            bound()
            if not self._fill():
                raise ConnectionResetError(errno.ECONNRESET, "the server hung up in a new handshake")
        self._drain()

    def finish(self) -> None:
        """Send close_notify (RFC 8446 section 6.1), and do not await the server's."""
        with suppress(ssl.SSLError):
            self.tls.unwrap()
        self._drain()

    def _try_write(self, octets: bytes) -> bool:
        if self._is_renewing:
            self._read_ahead()  # or OpenSSL would find content in place of a handshake
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
        size = self.socket.recv_into(self._ciphertext)
        if size:
            self._incoming.write(self._ciphertext[:size])
        else:
            self._incoming.write_eof()
        return size > 0

    def _drain(self) -> None:
        if self._outgoing.pending:
            self.socket.sendall(self._outgoing.read())
