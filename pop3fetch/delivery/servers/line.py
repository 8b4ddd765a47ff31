"""A connection to a mail server, as the clients of the standard library use one.

``smtplib`` and ``imaplib`` make connections that do not verify a certificate, keep what was sent in clear
text before the handshake, and read without any bound. So they are given this instead of a socket and of a
file: our own transport, and reads that are limited in time, in octets and in lines.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar

from pop3fetch.ahead import Ahead, Interrupts
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.errors import (
    CertificateError,
    ConnectionLost,
    DeliveryError,
    LineTooLong,
    POP3Error,
    ProtocolViolation,
    ServerFailed,
    TimedOut,
)
from pop3fetch.net.dial import dial
from pop3fetch.net.tls import context_for, unverified_context
from pop3fetch.net.transport import Transport
from pop3fetch.status import Status

LINE_LIMIT = 8192  # octets of a line that a server sends
LINES_LIMIT = 10_000  # lines that may come before the one that is awaited
OCTETS_LIMIT = 1 << 20  # octets of them
PROGRESS = 1024  # octets within a time-out that are progress: see pop3.conversation
DATA_TIMEOUT = 600.0  # seconds for the reply to a message (RFC 5321 section 4.5.3.2.6)
TICK = 0.2  # seconds between two looks whether an interrupt has come
GRACE = 1.0  # seconds for replies that are due, after an interrupt
LOOK_TIMEOUT = 10.0  # seconds at most to fetch a refused certificate for its description


_CHALLENGE = re.compile(rb"\+ |334[ -]")  # of IMAP, and of SMTP


class Hurry:
    """Whether a delivery is to end soon, and what it may be waiting for."""

    def __init__(self) -> None:
        self.interrupts = Interrupts()  # of connections that are being made
        self.since: float | None = None
        self._wakes = threading.Event()

    def interrupt(self) -> None:
        """Let the delivery end soon; from any thread."""
        if self.since is None:
            self.since = time.monotonic()
        self._wakes.set()
        self.interrupts.interrupt()

    def wait(self, seconds: float) -> bool:
        """Wait; return whether an interrupt has come."""
        return self._wakes.wait(seconds)


class Line:
    """One connection; ``during`` is the end of the sentence in which it is lost."""

    def __init__(self, transport: Transport, server: MailServer, hurry: Hurry) -> None:
        self.transport = transport
        self.used = time.monotonic()  # when octets came or went
        self._server = server
        self._hurry = hurry
        self._unread = bytearray()
        self._deadline: float | None = None
        self._limit: float | None = None  # seconds, of the deadline
        self._awaited = "the greeting"
        self._lines = self._octets = 0  # that came since something was awaited

    # -- what is awaited -----------------------------------------------------------------------

    def expect(self, awaited: str, *, is_data: bool = False) -> None:
        """Begin to wait for a reply; one that ``is_data`` says that a message is delivered."""
        limit = self._server.timeout
        if is_data and limit is not None:
            limit = max(limit, DATA_TIMEOUT)
        self._awaited, self._limit = awaited, limit
        self._deadline = None if limit is None else time.monotonic() + limit
        self._lines = self._octets = 0

    def has_line(self) -> bool:
        """Whether a line can be read without waiting."""
        if b"\n" not in self._unread and len(self._unread) < LINE_LIMIT:
            with suppress(POP3Error):  # which the next read reports
                self._unread += self.transport.read_pending()
        return b"\n" in self._unread or len(self._unread) >= LINE_LIMIT

    # -- as a file -----------------------------------------------------------------------------

    def readline(self, limit: int = LINE_LIMIT) -> bytes:
        """Return the next line with its end; raises LineTooLong, ProtocolViolation, and as `_fill` does."""
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            if searched >= LINE_LIMIT:
                break
            self._fill()
        if end < 0 or end >= LINE_LIMIT:
            shown = self.blotted(bytes(self._unread[:LINE_LIMIT]))
            raise LineTooLong(f"a line is longer than {LINE_LIMIT} octets", shown)
        line = self._take(end + 1)
        self._lines += 1
        self._octets += len(line)
        if self._lines > LINES_LIMIT or self._octets > OCTETS_LIMIT:
            raise ProtocolViolation(f"{self._awaited} has no end")
        if self._server.trace:
            shown = line.rstrip(b"\r\n")
            if challenge := _CHALLENGE.match(shown):  # it may be enough to test guesses of the password
                shown = challenge[0] + b"(challenge)"
            self._server.trace("<", self.blotted(shown))
        return line

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` octets; raises as `_fill` does."""
        wanted = PROGRESS
        while len(self._unread) < size:
            if len(self._unread) >= wanted and self._limit is not None:
                self._deadline = time.monotonic() + self._limit
                wanted = len(self._unread) + PROGRESS
            self._fill()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken

    def _fill(self) -> None:
        """Wait for more octets; raises TimedOut, ConnectionLost and TLSError."""
        transport, host = self.transport, self.transport.host
        while True:
            now = time.monotonic()
            deadline = self._deadline
            if self._hurry.since is not None:
                due = self._hurry.since + GRACE
                deadline = due if deadline is None else min(due, deadline)
            if deadline is not None and now >= deadline:
                if self._hurry.since is not None:
                    raise ConnectionLost(host, f"while waiting for {self._awaited}", "it was interrupted")
                raise TimedOut(host, f"waiting for {self._awaited} from", self._limit or 0)
            until = now + TICK if deadline is None else min(now + TICK, deadline)
            try:
                octets = transport.read(until)
            except TimedOut:
                continue
            except ConnectionLost as error:
                raise ConnectionLost(host, f"while waiting for {self._awaited}", error.reason) from error
            if not octets:
                raise ConnectionLost(host, f"while waiting for {self._awaited}")
            self._unread += octets
            self.used = time.monotonic()
            return

    # -- as a socket ---------------------------------------------------------------------------

    def write(self, octets: bytes, shown: bytes | None = None) -> None:
        """Write octets, of which a trace shows ``shown``; raises TimedOut, ConnectionLost and TLSError."""
        if self._hurry.since is not None:
            raise ConnectionLost(self.transport.host, "while sending", "it was interrupted")
        if self._server.trace and shown is not None:
            for line in shown.split(b"\r\n"):
                self._server.trace(">", self.blotted(line))
        try:
            self.transport.write(octets)
        except ConnectionLost as error:
            raise ConnectionLost(self.transport.host, "while sending", error.reason) from error
        except TimedOut as error:
            raise TimedOut(error.host, "sending to", error.timeout) from error
        self.used = time.monotonic()

    def close(self) -> None:
        """Close the connection, without a word."""
        self.transport.close()

    # -- what is said of it --------------------------------------------------------------------

    def blotted(self, octets: bytes) -> bytes:
        """Return ``octets`` with the known secrets masked."""
        return self._server.secrets.blot(octets)

    def require_silence(self) -> None:
        """Raise ProtocolViolation if the server has sent anything between its reply and the handshake."""
        with suppress(ConnectionLost):  # which the handshake reports
            self._unread += self.transport.read_pending()
        if self._unread:
            raise ProtocolViolation("it sent something between its reply and the handshake")


class Greeter(Protocol):
    """A client that has read the greeting."""

    def request_tls(self) -> None:
        """Ask for TLS, up to the reply; raises if it is not offered or refused."""

    def tls_started(self) -> None:
        """Forget what was received in clear text."""


G = TypeVar("G", bound=Greeter)


def opened(server: MailServer, hurry: Hurry, greet: Callable[[Line], G]) -> G:
    """Connect, start TLS as the server's settings demand, and return a client that was greeted.

    ``greet`` makes it, and reads the greeting. Raises POP3Error.
    """
    name = server.endpoint.tls_name or server.endpoint.host
    # Before connecting, so that an error in a local file is reported first.
    context = None if server.tls == "off" else context_for(name, server.tls_options)
    dialling = Ahead(lambda: dial(server.endpoint, server.timeout), interrupts=hurry.interrupts)
    line = Line(Transport(server.endpoint, server.timeout, dialling), server, hurry)
    try:
        line.expect("the greeting")
        if context and server.tls == "implicit":
            line.transport.start_tls(context, server.tls_options.fingerprint)
        client = greet(line)
        if context and server.tls == "starttls":
            client.request_tls()
            line.require_silence()
            line.transport.start_tls(context, server.tls_options.fingerprint)
            client.tls_started()
        return client
    except CertificateError as error:
        line.close()
        raise error if error.fingerprint else _described(error, server, greet) from error
    except BaseException:
        line.close()
        raise


def _described(
    error: CertificateError, server: MailServer, greet: Callable[[Line], Greeter]
) -> CertificateError:
    """Return ``error`` with the certificate in it, which a second connection fetches without verifying."""
    limit = min(server.timeout or LOOK_TIMEOUT, LOOK_TIMEOUT)
    look = server._replace(timeout=limit, trace=None)
    line = None
    try:
        line = Line(Transport(server.endpoint, limit), look, Hurry())
        line.expect("the greeting")
        if server.tls == "starttls":
            greet(line).request_tls()
        line.transport.start_tls(unverified_context())
        return line.transport.described(error, server.tls_options.ca_file or "")
    except POP3Error:
        return error  # less to show, and still the same refusal
    finally:
        if line:
            line.close()


@contextmanager
def server_errors(destination: str) -> Iterator[None]:
    """Turn what a server or its line does wrong into ServerFailed, which ends the delivery."""
    try:
        yield
    except DeliveryError:
        raise
    except POP3Error as error:
        raise ServerFailed(destination=destination, reason=str(error), status=error.exit_status) from error
    except KeyboardInterrupt as error:  # of our own, while it was connected
        if threading.current_thread() is threading.main_thread():
            raise
        raise ServerFailed(
            destination=destination, reason="it was interrupted", status=Status.TRY_LATER
        ) from error
