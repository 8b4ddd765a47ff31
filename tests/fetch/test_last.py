"""A message at which the far end of a delivery always breaks holds up no other."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from pop3fetch.delivery.destination import Destination
from pop3fetch.delivery.servers.address import ServerAddress
from pop3fetch.delivery.servers.mailbox import Mailbox as ImapMailbox
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.delivery.servers.settling import Settlement
from pop3fetch.delivery.servers.transfer import Transfer
from pop3fetch.errors import DeliveryError
from pop3fetch.fetch.last import MOST_KEPT, and_last, in_turn
from pop3fetch.messages import Listing
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions
from pop3fetch.pop3.trace import Secrets
from pop3fetch.record.store import Store
from tests.support.fetching import Account, message
from tests.support.imap_server import BARE, MINUS, PLUS, ImapServer
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import ClientLeft, ScriptedServer, Talk
from tests.support.transfer_server import CHUNKED, PIPELINED, PLAIN, Accepted, TransferServer

POISON = b"poison"
MESSAGES = [message(number, POISON if number <= 3 else b"") for number in range(1, 8)]
GOOD = sorted(octets for octets in MESSAGES if POISON not in octets)
FIVE = Listing([10] * 5, [b"A", b"B", b"C", b"D", b"E"])


class Relay(TransferServer):
    """Close the connection, or send ``reply``, at the end of a message that it cannot bear."""

    reply = b""

    def end(self, talk: Talk, accepted: Accepted) -> None:
        if POISON not in accepted.octets:
            super().end(talk, accepted)
        elif self.reply:
            talk.say(self.reply)
        else:
            talk.close()
            raise ClientLeft

    def stored(self) -> list[bytes]:
        return sorted(one.octets for one in self.accepted)


class Imap(ImapServer):
    """Close the connection, or send ``reply``, after a message that it cannot bear."""

    reply = b""

    def refuses(self, talk: Talk, octets: bytes) -> bytes:
        if POISON in octets and not self.reply:
            talk.close()
            raise ClientLeft
        return self.reply if POISON in octets else b""

    def stored(self) -> list[bytes]:
        return sorted(self.inbox.messages.values())


def destination(
    server: Relay | Imap, running: ScriptedServer, folder: Path, ca_file: Path
) -> Callable[[Store], Destination]:
    """Return what opens the destination at a scripted server, as in a run of its own."""
    is_imap = isinstance(server, Imap)
    address = (
        ServerAddress("imaps", running.host, running.port, "alice", "INBOX")
        if is_imap
        else ServerAddress("lmtp", running.host, 24, None)
    )
    settings = MailServer(
        address,
        Endpoint(running.host, running.port),
        "implicit" if is_imap else "off",
        Secrets(),
        TLSOptions(ca_file=str(ca_file)),
        timeout=10,
        secret=lambda: "secret",
        refused=lambda refusal: None,
        recipients=("alice",),
        report=lambda text: None,
    )

    def opened(store: Store) -> Destination:
        if is_imap:
            return ImapMailbox(settings, folder, Settlement(0, 0))
        return Transfer(settings, store.tag, folder)

    return opened


SERVERS: dict[str, Callable[[], Relay | Imap]] = {
    "lmtp": lambda: Relay(PLAIN),
    "lmtp, pipelined": lambda: Relay(PIPELINED),
    "lmtp, chunked": lambda: Relay(CHUNKED),
    "imap, LITERAL+": lambda: Imap(PLUS),
    "imap, LITERAL-": lambda: Imap(MINUS),
    "imap, no UIDPLUS": lambda: Imap(BARE),
}
REPLIES = {"cut": b"", "421": b"421 4.3.2 bye\r\n", "451": b"451 4.3.0 later\r\n"}


@pytest.mark.parametrize(
    ("name", "how"),
    [(name, how) for name in SERVERS for how in REPLIES if how != "451" or "imap" not in name],
)
def test_a_message_that_always_breaks_the_delivery_holds_up_no_other(
    tmp_path: Path, server_context: ssl.SSLContext, ca_file: Path, name: str, how: str
) -> None:
    far = SERVERS[name]()
    is_imap = isinstance(far, Imap)
    far.reply = (b"* BYE bye\r\n" if is_imap else REPLIES[how]) if how != "cut" else b""
    account = Account(tmp_path)
    tls = "implicit" if is_imap else None
    with (
        ScriptedServer(Mailbox(MESSAGES)) as pop,
        ScriptedServer(far, tls=tls, context=server_context) as running,
    ):
        opened = destination(far, running, account.place.folder, ca_file)
        runs = 0
        while far.stored() != GOOD:
            runs += 1
            assert runs <= len(MESSAGES), "no run after these would bring more"
            with contextlib.suppress(DeliveryError):
                account.fetch(pop, destination=opened)
    assert len(far.stored()) == len({*far.stored()}), "none came twice"


def test_those_that_broke_come_last_the_latest_at_the_end() -> None:
    kept = and_last(and_last(None, (b"D", 0)), (b"A", 0))
    assert in_turn(kept, FIVE, range(5)) == [1, 2, 4, 3, 0]
    assert in_turn(and_last(kept, (b"D", 0)), FIVE, range(5)) == [1, 2, 4, 0, 3]
    assert in_turn(kept, FIVE, [0, 4]) == [4, 0]
    assert in_turn(and_last(None, (b"D", 1)), FIVE, range(5)) == [0, 1, 2, 3, 4]


def test_what_is_kept_is_bounded() -> None:
    kept = None
    for number in range(MOST_KEPT + 5):
        kept = and_last(kept, (b"%d" % number, 0))
    assert kept is not None
    assert len(kept.split()) == MOST_KEPT
    assert kept.endswith(f"{b'104'.hex()}:0")
