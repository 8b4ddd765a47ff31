"""One connection, in clear text and inside TLS: what arrives, how long it may take, how it breaks."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
import trustme

from pop3fetch.ahead import Interrupts
from pop3fetch.errors import ConnectionLost, NotATLSPort, POP3Error, TimedOut, TLSError
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.transport import READ_SIZE, TLSStream, Transport
from pop3fetch.status import Status
from tests.support.scripted_server import Script, ScriptedServer, StartServer, Talk
from tests.support.sessions import NEVER, SOON, everything_sent, play

BOTH = pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])


@pytest.fixture(scope="session")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Return a client's context that verifies."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


Open = Callable[..., "Opening"]


class Opening:
    """A server that plays a script, and a transport to it."""

    def __init__(self, server: ScriptedServer, transport: Transport) -> None:
        self.server = server
        self.transport = transport

    def read(self, patience: float = NEVER) -> bytes:
        return self.transport.read(time.monotonic() + patience)

    def read_all(self) -> bytes:
        return b"".join(iter(self.read, b""))


@pytest.fixture
def opened(server: StartServer, trusting: ssl.SSLContext) -> Iterator[Open]:
    """Start a server with a script and connect to it; TLS is active on both sides if it is wanted."""
    transports: list[Transport] = []

    def start(script: Script, *, tls: bool = False, timeout: float | None = NEVER) -> Opening:
        running = server(script, tls="implicit" if tls else None)
        transport = Transport(Endpoint(running.host, running.port), timeout)
        transports.append(transport)
        if tls:
            transport.start_tls(trusting)
        return Opening(running, transport)

    yield start
    for transport in transports:
        transport.close()


def silence(talk: Talk) -> None:
    talk.stall()


def leaves_at_once(talk: Talk) -> None:
    talk.expect(b"NOOP\r\n")
    talk.cut()


def beneath_tls(talk: Talk, octets: bytes) -> None:
    """Send octets on the connection itself, past its TLS."""
    with suppress(OSError):
        socket.socket.sendall(talk._socket, octets)


# Reading and writing


@BOTH
def test_what_is_sent_arrives_up_to_the_end_of_the_stream(tls: bool, opened: Open) -> None:
    sent = bytes(range(256)) * 4000

    def script(talk: Talk) -> None:
        talk.expect(b"RETR 1\r\n")
        talk.say(sent)

    opening = opened(script, tls=tls)
    opening.transport.write(b"RETR 1\r\n")
    assert opening.read_all() == sent
    assert opening.read() == b""
    assert everything_sent(opening.server) == [b"RETR 1\r\n"]


@BOTH
def test_a_stream_that_ends_without_notice_ends_all_the_same(tls: bool, opened: Open) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK")
        talk.close(notify=False)

    assert opened(script, tls=tls).read_all() == b"+OK"


@BOTH
def test_a_reset_is_a_lost_connection(tls: bool, opened: Open) -> None:
    opening = opened(leaves_at_once, tls=tls)
    opening.transport.write(b"NOOP\r\n")
    with pytest.raises(ConnectionError) as raised:
        opening.read()
    assert isinstance(raised.value, ConnectionLost)
    assert raised.value.exit_status is Status.TRY_LATER
    assert "reset" in raised.value.reason


@BOTH
def test_writing_to_a_server_that_has_left_is_a_lost_connection(tls: bool, opened: Open) -> None:
    opening = opened(leaves_at_once, tls=tls)
    with pytest.raises(ConnectionLost):
        while True:  # the first octets may be on their way before the reset comes back
            opening.transport.write(b"NOOP\r\n")


@BOTH
def test_a_reset_is_seen_before_anything_is_written(tls: bool, opened: Open) -> None:
    transport = opened(leaves_at_once, tls=tls).transport
    transport.write(b"NOOP\r\n")
    with pytest.raises(ConnectionLost, match="reset"):
        while True:
            assert transport.read_pending() == b""


@BOTH
def test_writing_to_a_server_that_does_not_read_is_a_time_out(tls: bool, opened: Open) -> None:
    opening = opened(lambda talk: talk.drip(bytes(1000), every=0.05), tls=tls, timeout=SOON)
    with pytest.raises(TimedOut):
        opening.transport.write(bytes(32 * 1024 * 1024))


# Time


@BOTH
@pytest.mark.parametrize("patience", [SOON, 0, -1])
def test_silence_ends_at_the_deadline(patience: float, tls: bool, opened: Open) -> None:
    opening = opened(silence, tls=tls)
    begun = time.monotonic()
    with pytest.raises(TimeoutError) as raised:
        opening.read(patience)
    assert isinstance(raised.value, TimedOut)
    assert raised.value.exit_status is Status.TRY_LATER
    assert max(patience, 0) * 0.9 <= time.monotonic() - begun < SOON + 1


def test_a_record_that_comes_octet_by_octet_ends_at_the_deadline(opened: Open) -> None:
    def script(talk: Talk) -> None:
        beneath_tls(talk, b"\x17\x03\x03\x40\x00")  # of 16 KiB
        while not talk._stopping.wait(0.02):
            beneath_tls(talk, b"x")

    opening = opened(script, tls=True)
    begun = time.monotonic()
    with pytest.raises(TimedOut):
        opening.read(SOON)
    assert time.monotonic() - begun < SOON + 1


@BOTH
def test_without_a_deadline_a_read_waits(tls: bool, opened: Open) -> None:
    opening = opened(lambda talk: talk.drip(b"+OK", every=0.05), tls=tls, timeout=None)
    received = b""
    while octets := opening.transport.read(None):
        received += octets
    assert received == b"+OK"


# What has arrived already


@BOTH
def test_what_has_not_arrived_is_not_waited_for(tls: bool, opened: Open) -> None:
    def script(talk: Talk) -> None:
        play(talk, (b"NOOP\r\n", b"+OK\r\n"))
        talk.stall()

    transport = opened(script, tls=tls).transport
    assert transport.read_pending() == b""
    transport.write(b"NOOP\r\n")
    looks = iter(transport.read_pending, None)
    assert next(filter(None, looks)) == b"+OK\r\n"
    assert next(looks) == b""


@BOTH
def test_a_read_waits_again_after_a_look_at_what_has_arrived(tls: bool, opened: Open) -> None:
    def script(talk: Talk) -> None:
        talk.expect(b"NOOP\r\n")
        talk.drip(b"+OK\r\n", every=0.01)

    opening = opened(script, tls=tls)
    assert opening.transport.read_pending() == b""
    opening.transport.write(b"NOOP\r\n")
    assert opening.read_all() == b"+OK\r\n"


@BOTH
def test_the_end_of_the_stream_is_seen_before_anything_is_written(tls: bool, opened: Open) -> None:
    opening = opened(lambda talk: talk.say(b"bye"), tls=tls)
    assert opening.read_all() == b"bye"
    with pytest.raises(ConnectionLost, match="the server closed the connection"):
        opening.transport.read_pending()


# Closing, from here and from elsewhere


@BOTH
def test_closing_is_seen_by_the_server_and_may_be_repeated(tls: bool, opened: Open) -> None:
    opening = opened(silence, tls=tls)
    opening.transport.close()
    opening.transport.close()
    assert everything_sent(opening.server) == [b""]
    with pytest.raises(ConnectionLost):
        opening.transport.write(b"NOOP\r\n")


@BOTH
def test_what_was_sent_arrives_before_the_end_and_tls_announces_it(tls: bool, opened: Open) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK")  # is never read: closing alone would reset the connection
        talk.expect(b"QUIT\r\n")
        assert talk.is_ended_in_order()

    opening = opened(script, tls=tls)
    opening.transport.write(b"QUIT\r\n")
    opening.transport.finish()
    opening.server.stop()


@BOTH
def test_a_connection_that_is_broken_can_be_ended(tls: bool, opened: Open) -> None:
    opening = opened(leaves_at_once, tls=tls)
    opening.transport.write(b"NOOP\r\n")
    opening.server.stop()
    opening.transport.finish()
    opening.transport.close()
    opening.transport.finish()


@BOTH
def test_interrupt_from_another_thread_ends_a_read(tls: bool, opened: Open) -> None:
    opening = opened(silence, tls=tls, timeout=None)
    interrupts = Interrupts()
    interrupts.watch(opening.transport)
    timer = threading.Timer(0.05, interrupts.interrupt)
    timer.start()
    with suppress(ConnectionLost):
        assert opening.transport.read(None) == b""
    timer.join()


def test_a_connection_that_is_closed_can_be_cut(opened: Open) -> None:
    opening = opened(silence)
    opening.transport.close()
    opening.transport.interrupt()


# The handshake


def test_outside_tls_there_is_nothing_to_describe(opened: Open) -> None:
    transport = opened(silence).transport
    assert transport.tls is None
    assert transport.tls_version == ""
    assert transport.tls_session() is None
    assert transport.channel_binding() is None


def test_inside_tls_the_session_is_described(opened: Open) -> None:
    transport = opened(silence, tls=True).transport
    session = transport.tls_session()
    assert session is not None
    assert session.version == transport.tls_version == "TLSv1.3"
    assert session.cipher.startswith("TLS_")
    assert "127.0.0.1" in session.certificate.names


@contextmanager
def a_failed_handshake(
    opening: Opening, context: ssl.SSLContext, error: type[POP3Error]
) -> Iterator[list[str]]:
    said: list[str] = []
    with pytest.raises(error) as raised:
        opening.transport.start_tls(context)
    assert opening.transport.tls is None, "a layer that failed is taken for TLS"
    said.append(str(raised.value))
    yield said


def test_silence_in_the_handshake_ends_in_time(opened: Open, trusting: ssl.SSLContext) -> None:
    with a_failed_handshake(opened(silence, timeout=SOON), trusting, TimedOut) as said:
        assert said == ["timed out after 0.25 s in the TLS handshake with 127.0.0.1"]


def test_a_handshake_that_comes_octet_by_octet_ends_in_time(opened: Open, trusting: ssl.SSLContext) -> None:
    def script(talk: Talk) -> None:
        talk.drip(b"\x16\x03\x03\x40\x00" + bytes(1000), every=0.02)

    begun = time.monotonic()
    with a_failed_handshake(opened(script, timeout=SOON), trusting, TimedOut):
        assert time.monotonic() - begun < SOON + 1


def test_a_server_that_hangs_up_in_the_handshake_is_named(opened: Open, trusting: ssl.SSLContext) -> None:
    with a_failed_handshake(opened(lambda talk: talk.close()), trusting, TLSError) as said:
        assert "hung up" in said[0]


def test_a_reset_in_the_handshake_is_a_lost_connection(opened: Open, trusting: ssl.SSLContext) -> None:
    opening = opened(leaves_at_once)
    opening.transport.write(b"NOOP\r\n")
    with a_failed_handshake(opening, trusting, ConnectionLost) as said:
        assert "in the TLS handshake" in said[0]


def test_a_handshake_whose_end_cannot_be_sent_is_a_lost_connection(
    server: StartServer, trusting: ssl.SSLContext
) -> None:
    running = server(silence, tls="implicit")
    with socket.create_connection((running.host, running.port), NEVER) as connected:
        stream = TLSStream(connected, trusting, running.host)
        with pytest.raises(BrokenPipeError):  # what follows would reach the server without it
            stream.shake_hands(lambda: connected.shutdown(socket.SHUT_WR))


@pytest.mark.parametrize("greeting", [b"+OK ready\r\n", b"* OK IMAP4rev1\r\n", b"220 mail ESMTP\r\n"])
def test_a_server_in_clear_text_is_recognised(
    greeting: bytes, opened: Open, trusting: ssl.SSLContext
) -> None:
    def script(talk: Talk) -> None:
        talk.say(greeting)
        talk.stall()

    with a_failed_handshake(opened(script), trusting, NotATLSPort) as said:
        assert "does not seem to speak TLS" in said[0]


def test_clear_text_after_stls_is_not_taken_for_a_wrong_port(opened: Open, trusting: ssl.SSLContext) -> None:
    def script(talk: Talk) -> None:
        talk.expect(b"STLS\r\n")
        talk.say(b"+OK begin\r\n")
        talk.take(1)  # the client's hello is on its way
        talk.say(b"+OK and on in clear text\r\n")
        talk.stall()

    opening = opened(script)
    opening.transport.write(b"STLS\r\n")
    assert opening.transport.read(None).startswith(b"+OK begin")
    with a_failed_handshake(opening, trusting, TLSError) as said:
        assert "does not seem to speak TLS" not in said[0]


def test_an_alert_names_the_reason(opened: Open, trusting: ssl.SSLContext) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"\x15\x03\x03\x00\x02\x02\x28")  # fatal, handshake_failure
        talk.stall()

    with a_failed_handshake(opened(script), trusting, TLSError) as said:
        assert "handshake failure" in said[0]


@pytest.mark.parametrize(
    "octets", [b"+OK this is clear text\r\n", b"\x17\x03\x03\x00\x20" + bytes(32)], ids=["text", "record"]
)
def test_what_is_not_by_the_server_breaks_the_connection(octets: bytes, opened: Open) -> None:
    def script(talk: Talk) -> None:
        talk.expect(b"NOOP\r\n")
        beneath_tls(talk, octets)
        talk.stall()

    opening = opened(script, tls=True)
    opening.transport.write(b"NOOP\r\n")
    with pytest.raises(TLSError) as raised:
        opening.read()
    assert raised.value.exit_status is Status.PROTOCOL


def test_a_read_takes_no_more_than_a_block(opened: Open) -> None:
    opening = opened(lambda talk: talk.say(bytes(10 * READ_SIZE)), tls=True)
    sizes = [len(octets) for octets in iter(opening.read, b"")]
    assert sum(sizes) == 10 * READ_SIZE
    assert max(sizes) <= READ_SIZE
