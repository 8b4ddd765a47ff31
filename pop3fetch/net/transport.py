"""One connection: read, write, start TLS, close. Octets only; it knows no reply from another.

Foreign exceptions become our own here, at the call, and nowhere else.
"""

from __future__ import annotations

import socket
import ssl
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

from pop3fetch.ahead import Ahead
from pop3fetch.errors import CertificateError, ConnectionLost, POP3Error, TimedOut
from pop3fetch.net.dial import Endpoint, dial
from pop3fetch.net.names import certificate_name
from pop3fetch.net.streams import PlainStream, TLSStream
from pop3fetch.net.tls import (
    TLSSession,
    channel_binding,
    check_fingerprint,
    describe,
    handshake_error,
    session_error,
    session_of,
)

READ_SIZE = 64 * 1024  # octets: four TLS records, or what a socket has at once

# A quick server wakes us for each of its records, and Dovecot's have 4 KiB: that costs both sides more
# than what is in it. So after crumbs, a rest lets more of them gather.
CRUMBS = 64 * 1024  # octets: less than that is
REST = 0.0005  # seconds

_open: weakref.WeakSet[Transport] = weakref.WeakSet()


def abort_all() -> None:
    """Cut every open connection: whoever waits for one is told that it is lost."""
    for transport in list(_open):
        transport.abort()


class Transport:
    """A connection to a server; ``timeout`` in seconds, None to wait for ever."""

    def __init__(self, connected: socket.socket, endpoint: Endpoint, timeout: float | None) -> None:
        self._socket = connected
        self._stream: PlainStream | TLSStream = PlainStream(connected)
        self._view = memoryview(bytearray(READ_SIZE))
        self._socket_timeout: float | None = -1.0  # what the socket's time-out was last set to
        self._has_spoken = False
        self.host = endpoint.host
        self.port = endpoint.port
        self.server_name = certificate_name(endpoint.host)
        self.timeout = timeout
        _open.add(self)

    @classmethod
    def connect(
        cls, endpoint: Endpoint, timeout: float | None, dialling: Ahead[socket.socket] | None = None
    ) -> Transport:
        """Connect, or take the connection that is being made already.

        Raises UnknownHost, ResolverFailed, ConnectionFailed or TimedOut.
        """
        connected = dialling.result() if dialling else dial(endpoint, timeout)
        return cls(connected, endpoint, timeout)

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The TLS layer, however it began, or None."""
        return self._stream.tls if isinstance(self._stream, TLSStream) else None

    def read(self, deadline: float | None, *, gather: bool = False) -> bytes:
        """Return the octets that arrive next, b"" at the end of the stream.

        ``deadline`` is a time of :func:`time.monotonic`; ``gather``: much is under way, and shall come
        in few reads. Raises TimedOut, ConnectionLost, TLSError.
        """
        try:
            size = self._stream.read_into(self._view, self._until(deadline, gather=gather))
        except OSError as error:
            raise self._translated(error) from error
        return bytes(self._view[:size])

    def read_pending(self) -> bytes:
        """Return what has arrived already, b"" where nothing has; raises ConnectionLost or TLSError."""
        try:
            size = self._stream.read_into(self._view, lambda: self._set_timeout(0))
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
            self._stream.write(octets, self._until(self._deadline()))
        except OSError as error:
            raise self._translated(error) from error

    def start_tls(self, context: ssl.SSLContext, fingerprint: str | None = None) -> None:
        """Make the handshake under one deadline, and compare the pinned fingerprint.

        Raises TLSError, CertificateError, TimedOut or ConnectionLost.
        """
        try:
            stream = TLSStream(self._socket, context, self.server_name)
            stream.shake_hands(self._until(self._deadline()))
        except ssl.SSLError as error:
            raise handshake_error(self.host, error, first=not self._has_spoken) from error
        except (OSError, ValueError) as error:
            raise self._translated(error, "in the TLS handshake") from error
        # Only now: whoever asks for the TLS layer shall not find one that failed.
        self._stream = stream
        if fingerprint:
            check_fingerprint(stream.tls, fingerprint, self.host)

    def _deadline(self) -> float | None:
        return None if self.timeout is None else time.monotonic() + self.timeout

    def _until(self, deadline: float | None, *, gather: bool = False) -> Callable[[], None]:
        """Return what bounds the next wait, so that all waits together end in time."""

        def bound() -> None:
            if gather and self._stream.arrived < CRUMBS:
                time.sleep(REST)
            self._wait_at_most(None if deadline is None else deadline - time.monotonic())

        return bound

    @property
    def tls_version(self) -> str:
        """The version of TLS in use, empty outside TLS."""
        return (self.tls.version() or "") if self.tls else ""

    def tls_session(self) -> TLSSession | None:
        """Return version, cipher and certificate, or None outside TLS."""
        return session_of(self.tls) if self.tls else None

    def described(self, error: CertificateError) -> CertificateError:
        """Return ``error`` with the server's certificate, which it refuses."""
        assert self.tls is not None
        certificate = describe(self.tls)
        facts = (error.reason, str(certificate), certificate.fingerprint, error.cause)
        return CertificateError(self.host, *facts)

    def channel_binding(self) -> tuple[str, bytes] | None:
        """Return type and data of the channel binding, or None outside TLS."""
        return channel_binding(self.tls) if self.tls else None

    def abort(self) -> None:
        """Cut the connection from another thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, without a word."""
        with suppress(OSError):
            self._socket.close()

    def _wait_at_most(self, seconds: float | None) -> None:
        """Bound the next wait for the server.

        A system call for each read is spared: what is set may be a tenth too long.
        """
        known = self._socket_timeout
        if seconds is None:
            self._set_timeout(None)
        elif known is None or not known * 0.9 <= seconds <= known:
            # Zero would make the socket non-blocking: let a past deadline fail as a time-out.
            self._set_timeout(max(seconds, 1e-6))

    def _set_timeout(self, seconds: float | None) -> None:
        if seconds != self._socket_timeout:
            self._socket.settimeout(seconds)
            self._socket_timeout = seconds

    def _translated(self, error: OSError | ValueError, during: str = "") -> POP3Error:
        if isinstance(error, TimeoutError):
            return TimedOut(self.host, during, self.timeout or 0)
        if isinstance(error, ssl.SSLError):
            return session_error(self.host, error)
        return ConnectionLost(self.host, during, _reason(error))


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error) or "it broke"
