"""A server of TLS 1.2 that asks for a new handshake in the session; OpenSSL's own, as Python's cannot."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from pop3fetch.delivery.stream import _octets_unread
from pop3fetch.errors import TLSError
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.transport import Transport
from tests.support.sessions import NEVER

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl")
KINDS = pytest.mark.parametrize("kind", [b"r", b"R"], ids=["new handshake", "with a client certificate"])


class SServer:
    """``openssl s_server``: what is typed goes to the client, and what the client sends is shown."""

    def __init__(self, files: Path) -> None:
        command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-tls1_2", "-crlf"]
        self._process = subprocess.Popen(
            [*command, "-cert", files, "-key", files],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.port = int(self.expect(rb"ACCEPT .*:(\d+)")[1])

    def type(self, line: bytes) -> None:
        """Type a line once the one before was read: what is read at once is one command or one text."""
        assert self._process.stdin
        while _octets_unread(self._process.stdin.fileno()):
            os.sched_yield()
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def expect(self, pattern: bytes) -> re.Match[bytes]:
        """Return the first line of its output that matches."""
        assert self._process.stdout
        for line in self._process.stdout:
            if match := re.match(pattern, line):
                return match
        raise AssertionError(f"it ended without {pattern!r}")

    def ask_for_a_handshake(self, kind: bytes) -> None:
        self.type(kind)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def server(authority: trustme.CA, tmp_path: Path) -> Iterator[SServer]:
    files = tmp_path / "both.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(files)
    running = SServer(files)
    yield running
    running.kill()


@pytest.fixture
def line(server: SServer, authority: trustme.CA) -> Iterator[Transport]:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    transport = Transport(Endpoint("127.0.0.1", server.port), NEVER)
    transport.start_tls(context)
    assert transport.tls_version == "TLSv1.2"
    yield transport
    transport.close()


def read(line: Transport) -> bytes:
    return line.read(time.monotonic() + NEVER)


@KINDS
def test_octets_after_the_request_arrive(server: SServer, line: Transport, kind: bytes) -> None:
    server.ask_for_a_handshake(kind)
    server.type(b"+OK one")
    assert read(line) == b"+OK one\r\n"
    line.write(b"CAPA\r\n")
    server.expect(b"CAPA")


@KINDS
def test_what_is_sent_after_the_request_arrives(server: SServer, line: Transport, kind: bytes) -> None:
    server.ask_for_a_handshake(kind)
    assert line.read_pending() == b""
    line.write(b"CAPA\r\n")
    server.expect(b"CAPA")


@KINDS
def test_what_came_before_the_request_and_with_it_is_kept(
    server: SServer, line: Transport, kind: bytes
) -> None:
    server.type(b"+OK ready")
    server.ask_for_a_handshake(kind)
    line.write(b"CAPA\r\n")
    server.expect(b"CAPA")
    assert read(line) == b"+OK ready\r\n"


def test_nothing_is_sent_under_another_certificate(server: SServer, line: Transport) -> None:
    line._tls._certificate = b"another"  # type: ignore[union-attr]
    server.ask_for_a_handshake(b"r")
    server.type(b"+OK one")
    read(line)
    with pytest.raises(TLSError, match="the server has changed its certificate"):
        line.write(b"PASS secret\r\n")
