"""A scripted POP3 server on loopback: sends what its script sends, keeps what it receives.

Owns sockets, threads and TLS; what a well-behaved server answers is in :mod:`tests.support.mail_server`.
A script is any function of a :class:`Talk`; it may be as wrong as a test wants it:

    def script(talk: Talk) -> None:
        talk.say(b"+OK hello\\r\\n")
        talk.expect(b"QUIT\\r\\n")
        talk.say(b"+OK bye\\r\\n")

    with ScriptedServer(script) as server:
        ...connect to server.host, server.port...
    assert server.commands == [b"QUIT\\r\\n"]

Each connection is played in a thread of its own. An error in a script, such as a command that it
did not expect, is raised when the server stops.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

PATIENCE = 10.0  # seconds that a script waits for its client: far more than any test needs
MOMENT = 0.2  # seconds in which the end of a client's stream may still be on its way, on a busy machine
# States of a connection whose other side has ended its stream, as Linux numbers them.
TIME_WAIT, CLOSED, CLOSE_WAIT, LAST_ACK, CLOSING = 6, 7, 8, 9, 11


class ClientLeft(Exception):
    """The connection is over; ends the script, and is not an error."""


class Talk:
    """One connection, as its script sees it."""

    def __init__(
        self, connection: socket.socket, context: ssl.SSLContext | None, stopping: threading.Event
    ) -> None:
        self.received = bytearray()
        self.said = 0  # octets that the script gave to be sent
        self.commands: list[bytes] = []
        self.pipelined = False
        self.in_tls = False
        self._socket = connection
        self._context = context
        self._stopping = stopping
        self._unread = bytearray()
        self._allowance: int | None = None
        self._manner: Script = Talk.cut
        connection.settimeout(PATIENCE)
        # Small replies shall not wait for each other: every session would pause for 40 ms.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def is_left(self) -> bool:
        """Whether the client has ended its stream, read or not; then the script is about to end."""
        try:
            state = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        except OSError:  # it is closed on our side
            return True
        return state in (TIME_WAIT, CLOSED, CLOSE_WAIT, LAST_ACK, CLOSING)

    def say(self, octets: bytes) -> None:
        """Send ``octets``, as they are."""
        self.said += len(octets)
        allowed = octets if self._allowance is None else octets[: self._allowance]
        try:
            self._socket.sendall(allowed)
        except (ConnectionError, ssl.SSLError) as error:
            raise ClientLeft from error
        if self._allowance is not None:
            self._allowance -= len(allowed)
            if self._allowance == 0:
                self._break()

    def drip(self, octets: bytes, every: float) -> None:
        """Send one octet each ``every`` seconds."""
        for octet in octets:
            self.say(bytes([octet]))
            if self._stopping.wait(every):
                raise ClientLeft

    def line(self) -> bytes:
        """Return the client's next line with its end, or what is left before the end of the stream."""
        while b"\n" not in self._unread and (octets := self._receive()):
            self._unread += octets
        end = self._unread.find(b"\n") + 1 or len(self._unread)
        line = bytes(self._unread[:end])
        del self._unread[:end]
        if line:
            self.commands.append(line)
            self.pipelined = self.pipelined or bool(self._unread)
        return line

    def take(self, size: int) -> bytes:
        """Return the client's next ``size`` octets, or what is left before the end of the stream."""
        while len(self._unread) < size and (octets := self._receive()):
            self._unread += octets
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken

    def expect(self, line: bytes) -> None:
        """Fail unless the client's next line is ``line``."""
        came = self.line()
        assert came == line, f"the client sent {came!r}, not {line!r}"

    def start_tls(self) -> None:
        """Do the server's part of the handshake; a client that breaks it off has left."""
        assert self._context is not None, "the server has no TLS context"
        assert not self._unread, f"the client did not wait for TLS: {bytes(self._unread)!r}"
        try:
            self._socket = self._context.wrap_socket(self._socket, server_side=True)
        except (OSError, ssl.SSLError) as error:
            raise ClientLeft from error
        self.in_tls = True

    def is_ended_in_order(self) -> bool:
        """Return whether the client ends its stream with nothing more, inside TLS by a close_notify."""
        try:
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.unwrap()
                return not self._unread
        except OSError:
            return False
        return self.line() == b""

    @property
    def channel(self) -> bytes:
        """What only the two ends of the TLS session know of it: ``tls-unique`` (RFC 5929)."""
        assert isinstance(self._socket, ssl.SSLSocket)
        return self._socket.get_channel_binding("tls-unique") or b""

    def expect_nothing_more(self) -> None:
        """Fail if more has come than was read."""
        assert not self._unread, f"the client did not wait: {bytes(self._unread)!r}"

    def lose(self) -> None:
        """Lose what has come and was not read."""
        self._unread.clear()

    @property
    def is_resumed(self) -> bool:
        """Whether the TLS session goes on from an earlier connection."""
        return isinstance(self._socket, ssl.SSLSocket) and bool(self._socket.session_reused)

    def stall(self) -> None:
        """Send nothing more until the client leaves or the server stops."""
        self._socket.settimeout(None)
        while self._receive():
            pass

    def cut(self) -> None:
        """Break the connection (RST); the script ends here."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.drop()
        raise ClientLeft

    def cut_after(self, octets: int, manner: Script | None = None) -> None:
        """Let only so many more octets through, then :meth:`cut`, or break the line in another ``manner``.

        TLS's own are not counted.
        """
        self._allowance, self._manner = octets, manner or Talk.cut
        if octets == 0:
            self._break()

    def _break(self) -> None:
        self._manner(self)
        raise ClientLeft

    def close(self, *, notify: bool = True) -> None:
        """End the stream (FIN), inside TLS after a close_notify, and wait until the client does so too.

        A socket that were closed with octets unread would send RST, and could take our last words with it.
        """
        with suppress(OSError):
            if notify and isinstance(self._socket, ssl.SSLSocket):
                self._say_close_notify(self._socket)
            # Not SSLSocket.shutdown, which would read on in clear text.
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
            self.stall()

    def end_of_input(self) -> None:
        """Make the script see the end of the stream after what has already come."""
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RD)

    def drop(self) -> None:
        """Free the socket."""
        self._socket.close()

    def _receive(self) -> bytes:
        try:
            octets = self._socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            octets = b""
        self.received += octets
        return octets

    @staticmethod
    def _say_close_notify(endpoint: ssl.SSLSocket) -> None:
        endpoint.settimeout(0)  # unwrap() would wait for the client's own
        with suppress(ssl.SSLError, ValueError):  # ValueError if both sides have said it already
            endpoint.unwrap()


Script = Callable[[Talk], None]
StartServer = Callable[..., "ScriptedServer"]  # the fixture: the arguments of ScriptedServer


class ScriptedServer:
    """Plays one script for every connection, or a list of them, one for each connection in turn.

    ``tls="implicit"`` starts TLS before the script; ``context`` serves that and :meth:`Talk.start_tls`.
    ``port`` 0 is one that is free. What has come is complete as soon as the client has left: it is awaited,
    as a client leaves without awaiting the reply to QUIT.
    """

    def __init__(
        self,
        script: Script | Sequence[Script],
        *,
        tls: str | None = None,
        context: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        assert tls in (None, "implicit")
        self.host = host
        self._talks: list[Talk] = []
        self.errors: list[BaseException] = []
        self._script = script
        self._implicit = tls is not None
        self._context = context
        self._stopping = threading.Event()
        self._last: object = None  # the address of our own connection that ends _accept()
        self._players: list[threading.Thread] = []
        self._listener = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    @property
    def talks(self) -> list[Talk]:
        """The connections so far; see :meth:`wait`."""
        self.wait()
        return self._talks

    @property
    def received(self) -> list[bytes]:
        """What has come on each connection: octets, inside TLS the plain text."""
        return [bytes(talk.received) for talk in self.talks]

    @property
    def commands(self) -> list[bytes]:
        """The lines that scripts have taken, over all connections, each with its end."""
        return [line for talk in self.talks for line in talk.commands]

    @property
    def pipelined(self) -> bool:
        """Whether a command was ever seen to come before the reply to the one before."""
        return any(talk.pipelined for talk in self.talks)

    def url(self, user: str = "alice") -> str:
        """Return the account URL of ``user``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'pop3s' if self._implicit else 'pop3'}://{user}@{host}:{self.port}"

    def start(self) -> ScriptedServer:
        """Begin to accept connections."""
        self._accepting.start()
        return self

    def wait(self) -> None:
        """Wait until the scripts of all connections that the client has left have come to their ends."""
        for talk, player in zip(self._talks, self._players, strict=False):
            if player is threading.current_thread():
                continue
            if not talk.is_left:
                player.join(MOMENT)
            if talk.is_left:
                player.join(PATIENCE)

    def stop(self) -> None:
        """End all connections, and raise what went wrong in the scripts."""
        self._end()
        errors, self.errors = self.errors, []
        if len(errors) > 1:
            raise BaseExceptionGroup("scripts failed", errors)
        for error in errors:
            raise error

    def __enter__(self) -> ScriptedServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.stop()
            return
        self._end()
        for failure in self.errors:
            error.add_note(f"The server's script failed: {failure}")

    def _accept(self) -> None:
        while True:
            connection, address = self._listener.accept()
            if address == self._last:
                connection.close()
                return
            talk = Talk(connection, self._context, self._stopping)
            self._talks.append(talk)
            player = threading.Thread(target=self._play, args=(talk, len(self._talks)), daemon=True)
            player.start()
            self._players.append(player)  # only now: who waits joins what is here

    def _play(self, talk: Talk, number: int) -> None:
        try:
            if self._implicit:
                talk.start_tls()
            self._script_of(number)(talk)
            talk.close()
        except ClientLeft:
            pass
        except BaseException as error:  # raised again in the test
            self.errors.append(error)
        finally:
            talk.drop()

    def _script_of(self, number: int) -> Script:
        if callable(self._script):
            return self._script
        assert number <= len(self._script), f"connection {number} was not expected"
        return self._script[number - 1]

    def _end(self) -> None:
        if self._stopping.is_set():
            return
        with socket.socket(self._listener.family) as last:
            # Connections are accepted in order: with this one, none that came before is missed.
            last.bind((self.host, 0))
            self._last = last.getsockname()
            self._stopping.set()
            last.connect((self.host, self.port))
            self._accepting.join(PATIENCE)
        self._listener.close()
        for talk in self._talks:
            talk.end_of_input()
        for player in self._players:
            player.join(2 * PATIENCE)
        self._note_missing_connections()

    def _note_missing_connections(self) -> None:
        if not callable(self._script) and len(self._talks) < len(self._script):
            missed = f"{len(self._talks)} connections came, not {len(self._script)}"
            self.errors.append(AssertionError(missed))
