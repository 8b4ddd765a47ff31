"""One connection: read, write, start TLS, close. Octets only; it knows no reply from another.

Foreign exceptions become our own here, at the call, and nowhere else.
"""

from __future__ import annotations

import socket
import ssl
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pop3fetch.errors import CertificateError, ConnectionLost, TimedOut
from pop3fetch.pop3.dial import Endpoint, dial
from pop3fetch.pop3.tls import (
    TLSSession,
    channel_binding,
    check_fingerprint,
    describe,
    handshake_error,
    session_of,
)

READ_SIZE = 64 * 1024  # octets: four TLS records, or what a socket has at once


_open: weakref.WeakSet[Transport] = weakref.WeakSet()


def abort_all() -> None:
    """Cut every open connection: whoever waits for one is told that it is lost."""
    for transport in list(_open):
        transport.abort()


class Transport:
    """A connection to a server; ``timeout`` in seconds, None to wait for ever."""

    def __init__(self, connected: socket.socket, endpoint: Endpoint, timeout: float | None) -> None:
        self._socket = connected
        self._view = memoryview(bytearray(READ_SIZE))
        self.host = endpoint.host
        self.port = endpoint.port
        self.timeout = timeout
        _open.add(self)

    @classmethod
    def connect(cls, endpoint: Endpoint, timeout: float | None) -> Transport:
        """Connect; raises UnknownHost, ConnectionFailed or TimedOut."""
        return cls(dial(endpoint, timeout), endpoint, timeout)

    @property
    def tls(self) -> ssl.SSLSocket | None:
        """The TLS layer, however it began, or None."""
        return self._socket if isinstance(self._socket, ssl.SSLSocket) else None

    def read(self, deadline: float | None) -> bytes:
        """Return the octets that arrive next, b"" at the end of the stream.

        ``deadline`` is a time of :func:`time.monotonic`. Raises TimedOut, ConnectionLost, TLSError.
        """
        with self._translated():
            self._socket.settimeout(self._patience(deadline))
            size = self._socket.recv_into(self._view)
        return bytes(self._view[:size])

    def read_pending(self) -> bytes:
        """Return what has arrived already, b"" where nothing has."""
        with suppress(BlockingIOError, ssl.SSLWantReadError), self._translated():
            self._socket.settimeout(0)
            return bytes(self._view[: self._socket.recv_into(self._view)])
        return b""

    def write(self, octets: bytes) -> None:
        """Write all octets; raises TimedOut, ConnectionLost or TLSError."""
        with self._translated():
            self._socket.settimeout(self.timeout)
            self._socket.sendall(octets)

    def start_tls(self, context: ssl.SSLContext, fingerprint: str | None = None) -> None:
        """Make the handshake under one deadline, and compare the pinned fingerprint.

        Raises TLSError, CertificateError, TimedOut or ConnectionLost.
        """
        self._socket.settimeout(self.timeout)
        try:
            tls = context.wrap_socket(self._socket, server_hostname=self.host, do_handshake_on_connect=False)
            self._socket = tls
            tls.do_handshake()
        except TimeoutError as error:
            raise self._timed_out() from error
        except ssl.SSLError as error:
            raise handshake_error(self.host, error) from error
        except (OSError, ValueError) as error:
            raise ConnectionLost(self.host, "in the TLS handshake", _reason(error)) from error
        if fingerprint:
            check_fingerprint(tls, fingerprint, self.host)

    @property
    def tls_version(self) -> str:
        """The version of TLS in use, empty outside TLS."""
        return (self.tls.version() or "") if self.tls else ""

    def tls_session(self) -> TLSSession | None:
        """Return version, cipher and certificate, or None outside TLS."""
        return session_of(self.tls) if self.tls else None

    def certificate_error(self, reason: str) -> CertificateError:
        """Return the error that describes the server's certificate, which ``reason`` refused."""
        assert self.tls is not None
        certificate = describe(self.tls)
        return CertificateError(self.host, reason, str(certificate), certificate.fingerprint)

    def channel_binding(self) -> tuple[str, bytes] | None:
        """Return type and data of the channel binding, or None outside TLS."""
        return channel_binding(self.tls) if self.tls else None

    def abort(self) -> None:
        """Cut the connection from another thread."""
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection, without a word."""
        with suppress(OSError):
            self._socket.close()

    def _patience(self, deadline: float | None) -> float | None:
        if deadline is None:
            return None
        # Zero would make the socket non-blocking: let a past deadline fail as a time-out.
        return max(deadline - time.monotonic(), 1e-6)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as error:
            raise self._timed_out() from error
        except (BlockingIOError, ssl.SSLWantReadError):
            raise
        except ssl.SSLError as error:
            raise handshake_error(self.host, error) from error
        except OSError as error:
            raise ConnectionLost(self.host, "", _reason(error)) from error

    def _timed_out(self) -> TimedOut:
        return TimedOut(self.host, "", self.timeout or 0)


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error) or "it broke"
