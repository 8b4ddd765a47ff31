"""A real Dovecot whose connection is cut, or that is killed, anywhere.

By IMAP each message is there once afterwards. By LMTP those may be there twice whose reply was lost, and no
others.
"""

from __future__ import annotations

import os
import random
import re
import socket
import struct
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from pop3fetch.delivery.destination import Settled
from pop3fetch.delivery.servers.address import ServerAddress
from pop3fetch.delivery.servers.mailbox import Mailbox
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.delivery.servers.settling import Settlement
from pop3fetch.delivery.servers.transfer import Transfer
from pop3fetch.errors import DeliveryError
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions
from pop3fetch.pop3.trace import Secrets
from tests.support.delivering import Died, Journal, drafts
from tests.support.dovecot import Dovecot

CUTS = 12
MAIL = [b"Message-ID: <%d@x>\r\nSubject: %d\r\n\r\n%b\r\n" % (n, n, b"x" * 700 * n) for n in range(12)]
WAITS = Settlement(0.6, 0.3)  # this server stores within less what it has received


class CuttingRelay:
    """Relays one connection to a port, and cuts it after so many octets of the client.

    ``then`` is called just before.
    """

    def __init__(self, port: int, octets: int, then: Callable[[], None] = lambda: None) -> None:
        self._port = port
        self._left = octets
        self._then = then
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
        self._then()
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


def counted(dovecot: Dovecot) -> Counter[int]:
    """Return how often each message is there, by its number; all of them must be whole."""
    counts: Counter[int] = Counter()
    for path in dovecot._files("bob"):
        octets = path.read_bytes().replace(b"\r\n", b"\n")
        match = re.search(rb"(?m)^Message-ID: <([0-9]+)@x>$", octets)
        assert match, octets[:200]
        number = int(match[1])
        assert octets[match.start() :] == MAIL[number].replace(b"\r\n", b"\n")
        counts[number] += 1
    return counts


def test_imap_finds_what_a_killed_process_has_stored_under_its_lock(mortal: Dovecot, tmp_path: Path) -> None:
    mortal.clear("bob")
    destination, journal = mailbox(mortal, mortal.imaps_port, tmp_path), Journal(dies="after intend")
    assert destination.deliver(drafts(destination, MAIL[:2]), Journal()) == []
    with pytest.raises(Died):
        destination.deliver(drafts(destination, MAIL[2:3]), journal)
    destination.close()
    mortal.deliver("bob", [MAIL[2]])
    with subprocess.Popen(["true"]) as killed:
        pass
    lock = mortal.maildir("bob") / "dovecot-uidlist.lock"
    lock.write_text(f"{killed.pid}:{os.uname().nodename}")
    owner = (mortal.maildir("bob") / "new").stat()
    os.chown(lock, owner.st_uid, owner.st_gid)
    later = mailbox(mortal, mortal.imaps_port, tmp_path)
    assert later.settle([*journal.intents.values()]) == [Settled.DELIVERED]
    later.close()


POINTS = range(9_000, 46_000, 6_000)  # octets of the client: from the first messages to the last


@pytest.mark.slow  # what was killed may keep its locks for two minutes
def test_imap_at_a_server_that_is_killed_and_started_again_delivers_once(
    mortal: Dovecot, tmp_path: Path
) -> None:
    some_were_there = 0
    for octets in POINTS:
        mortal.clear("bob")
        relay = CuttingRelay(mortal.imaps_port, octets, mortal.kill)
        destination, journal = mailbox(mortal, relay.port, tmp_path), Journal()
        with pytest.raises(DeliveryError):
            destination.deliver(drafts(destination, MAIL), journal)
        destination.close()
        mortal.go_on()
        some_were_there += 0 < mortal.count("bob") < len(MAIL)

        later, intents = mailbox(mortal, mortal.imaps_port, tmp_path), {**journal.intents}
        outcomes = later.settle([*intents.values()]) if intents else []
        found = [index for index, one in zip(intents, outcomes, strict=True) if one is Settled.DELIVERED]
        left = [octets for index, octets in enumerate(MAIL) if index not in {*journal.delivered, *found}]
        if left:
            assert later.deliver(drafts(later, left), Journal()) == []
        later.close()
        assert counted(mortal) == Counter(range(len(MAIL))), f"killed after {octets} octets"
    assert some_were_there


@pytest.mark.slow  # what was killed may keep its locks for two minutes
def test_lmtp_at_a_server_that_is_killed_and_started_again_doubles_only_what_it_reports(
    mortal: Dovecot, tmp_path: Path
) -> None:
    some_were_there = 0
    for octets in POINTS:
        mortal.clear("bob")
        reports: list[str] = []

        def transfer(port: int, reports: list[str] = reports) -> Transfer:
            return Transfer(
                MailServer(
                    ServerAddress("lmtp", "localhost", 24, None),
                    Endpoint("localhost", port),
                    "off",
                    Secrets(),
                    recipients=("bob",),
                    report=reports.append,
                ),
                "0123456789abcdef",
                tmp_path,
            )

        relay = CuttingRelay(mortal.lmtp_port, octets, mortal.kill)
        destination, journal = transfer(relay.port), Journal()
        with pytest.raises(DeliveryError):
            destination.deliver(drafts(destination, MAIL), journal)
        destination.close()
        mortal.go_on()
        some_were_there += 0 < mortal.count("bob") < len(MAIL)

        later, lost = transfer(mortal.lmtp_port), {**journal.intents}
        if lost:
            assert later.settle([*lost.values()]) == [Settled.UNDONE] * len(lost)
            assert f"{len(lost)} message" in reports[0]
        left = {index: octets for index, octets in enumerate(MAIL) if index not in journal.delivered}
        if left:
            assert later.deliver(drafts(later, left.values()), Journal()) == []
        later.close()
        counts = counted(mortal)
        assert counts.keys() == {*range(len(MAIL))}, f"killed after {octets} octets"
        assert {index for index, count in counts.items() if count > 1} <= lost.keys()
        assert max(counts.values()) <= 2
    assert some_were_there
