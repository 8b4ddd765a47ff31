"""IMAP at a real Dovecot whose connection is cut anywhere: each message is there once afterwards."""

from __future__ import annotations

import random
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

from pop3fetch.delivery.destination import Settled
from pop3fetch.delivery.servers.address import ServerAddress
from pop3fetch.delivery.servers.mailbox import Mailbox
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.delivery.servers.settling import Settlement
from pop3fetch.errors import DeliveryError
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions
from pop3fetch.pop3.trace import Secrets
from tests.support.delivering import Journal, drafts
from tests.support.dovecot import Dovecot

CUTS = 12
MAIL = [b"Message-ID: <%d@x>\r\nSubject: %d\r\n\r\n%b\r\n" % (n, n, b"x" * 700 * n) for n in range(12)]
WAITS = Settlement(0.6, 0.3)  # this server stores within less what it has received


class CuttingRelay:
    """Relays one connection to a port, and cuts it after so many octets of the client."""

    def __init__(self, port: int, octets: int) -> None:
        self._port = port
        self._left = octets
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", self._port))
        threading.Thread(target=self._answer, args=(server, client), daemon=True).start()
        with suppress(OSError):
            while octets := client.recv(4096):
                server.sendall(octets[: self._left])
                self._left -= len(octets)
                if self._left <= 0:
                    break
        reset = struct.pack("ii", 1, 0)
        for end in (client, server) if random.random() < 0.5 else (client,):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        for end in (client, server, self._listener):
            end.close()

    @staticmethod
    def _answer(server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while octets := server.recv(4096):
                client.sendall(octets)


def mailbox(dovecot: Dovecot, port: int, folder: Path) -> Mailbox:
    server = MailServer(
        ServerAddress("imaps", "localhost", dovecot.imaps_port, "bob", "INBOX"),
        Endpoint("localhost", port),
        "implicit",
        Secrets(),
        TLSOptions(ca_file=str(dovecot.ca_file)),
        secret=lambda: dovecot.users["bob"],
    )
    destination = Mailbox(server, folder, WAITS)
    destination.prepare("known")
    return destination


def test_a_connection_that_is_cut_anywhere_loses_and_doubles_nothing(stores: Dovecot, tmp_path: Path) -> None:
    settled = []
    for _ in range(CUTS):
        stores.clear("bob")
        octets = random.randrange(1500, 65_000)
        destination, journal = (
            mailbox(stores, CuttingRelay(stores.imaps_port, octets).port, tmp_path),
            Journal(),
        )
        with suppress(DeliveryError):
            destination.deliver(drafts(destination, MAIL), journal)
        destination.close()

        later = mailbox(stores, stores.imaps_port, tmp_path)
        intents = {**journal.intents}
        outcomes = later.settle([*intents.values()]) if intents else []
        settled += outcomes
        found = [index for index, one in zip(intents, outcomes, strict=True) if one is Settled.DELIVERED]
        done = {*journal.delivered, *found}
        left = [octets for index, octets in enumerate(MAIL) if index not in done]
        if left:
            assert later.deliver(drafts(later, left), Journal()) == []
        later.close()
        there = sorted(path.read_bytes().replace(b"\n", b"\r\n") for path in stores._files("bob"))
        assert there == sorted(MAIL), f"cut after {octets} octets"
    assert Settled.DELIVERED in settled or Settled.UNDONE in settled
