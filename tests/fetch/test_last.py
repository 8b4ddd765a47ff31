"""A message at which the far end of a delivery always breaks holds up no other."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pop3fetch.delivery.destination import Destination
from pop3fetch.delivery.servers.address import ServerAddress
from pop3fetch.delivery.servers.mailbox import Mailbox as ImapMailbox
from pop3fetch.delivery.servers.server import MailServer
from pop3fetch.delivery.servers.settling import Settlement
from pop3fetch.delivery.servers.transfer import Transfer
from pop3fetch.errors import DeliveryError, ServerFailed
from pop3fetch.fetch.last import (
    MOST_KEPT,
    MOST_LOST,
    and_last,
    and_lost,
    in_turn,
    left_alone,
    without,
)
from pop3fetch.fetch.plan import Order
from pop3fetch.fetch.retrieving import Outcome
from pop3fetch.message_words import Numbers
from pop3fetch.messages import Key, Listing
from pop3fetch.net.dial import Endpoint
from pop3fetch.net.tls import TLSOptions
from pop3fetch.pop3.trace import Secrets
from pop3fetch.record.store import BROKE_AT, REPLIES_LOST, Store
from pop3fetch.status import Status
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
    is_healthy = False

    def end(self, talk: Talk, accepted: Accepted) -> None:
        if POISON not in accepted.octets or self.is_healthy:
            super().end(talk, accepted)
        elif self.reply:
            talk.say(self.reply)
        else:
            talk.close()
            raise ClientLeft

    def stored(self) -> list[bytes]:
        return sorted(one.octets for one in self.accepted)


class Forgetful(Relay):
    """Store each message that it cannot bear, and close the connection before the reply, or garble that."""

    def end(self, talk: Talk, accepted: Accepted) -> None:
        if POISON in accepted.octets and not self.is_healthy:
            self.accepted.append(accepted)
        Relay.end(self, talk, accepted)


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


@dataclass
class Forgotten:
    """One account whose LMTP server stores the second of three messages, and never replies to it."""

    account: Account
    far: Forgetful
    mailbox: Mailbox
    pop: ScriptedServer
    opened: Callable[[Store], Destination]

    def run(self, order: Order = Order(), **options: Any) -> Outcome | None:  # noqa: B008  # it is frozen
        """Make a run; return None if a delivery broke it."""
        with contextlib.suppress(DeliveryError):
            return self.account.fetch(self.pop, order, destination=self.opened, **options)
        return None

    def copies(self) -> int:
        return sum(POISON in octets for octets in self.far.stored())


@pytest.fixture(params=["lmtp", "lmtp, pipelined", "lmtp, chunked", "lmtp, garbled"])
def forgotten(
    tmp_path: Path, server_context: ssl.SSLContext, ca_file: Path, request: pytest.FixtureRequest
) -> Iterator[Forgotten]:
    how = request.param.partition(", ")[2]
    far = Forgetful({"pipelined": PIPELINED, "chunked": CHUNKED}.get(how, PLAIN))
    far.reply = b"so what?\r\n" if how == "garbled" else b""
    account = Account(tmp_path)
    mailbox = Mailbox(
        [message(1, b"cheese"), message(2, POISON), message(3)]
    )  # the first two are equally long
    with ScriptedServer(mailbox) as pop, ScriptedServer(far) as running:
        yield Forgotten(account, far, mailbox, pop, destination(far, running, account.place.folder, ca_file))


def test_a_message_whose_reply_is_always_lost_is_left_alone_after_three_runs(forgotten: Forgotten) -> None:
    outcomes = [forgotten.run() for _ in range(8)]
    assert forgotten.copies() == MOST_LOST == 3
    assert len(forgotten.far.stored()) == 2 + MOST_LOST, "the others came once"
    assert outcomes[:MOST_LOST] == [None] * MOST_LOST
    for outcome in outcomes[MOST_LOST:]:
        assert outcome is not None
        assert (outcome.messages, outcome.failures, outcome.status) == (0, 1, Status.CANNOT_DELIVER)
    ((number, error),) = forgotten.account.told.errors
    assert isinstance(error, ServerFailed)
    assert (number, error.unless_named) == (2, 2)
    assert forgotten.account.recorded().keys() == {b"uid-1", b"uid-3"}, "it stays new"


@pytest.mark.parametrize(
    "order", [Order((Numbers(2, 2),)), Order(everything=True)], ids=["by its number", "with all"]
)
def test_a_message_that_is_left_alone_is_sent_again_if_it_is_asked_for(
    forgotten: Forgotten, order: Order
) -> None:
    for _ in range(MOST_LOST + 1):
        forgotten.run()
    before = forgotten.copies()
    assert forgotten.run(order) is None
    assert forgotten.copies() == before + 1


def test_a_message_that_was_left_alone_and_then_delivered_counts_as_any_other(forgotten: Forgotten) -> None:
    for _ in range(MOST_LOST + 1):
        forgotten.run()
    forgotten.far.is_healthy = True
    outcome = forgotten.run(Order((Numbers(2, 2),)))
    assert outcome is not None
    assert outcome.messages == 1
    outcome = forgotten.run()
    assert outcome is not None
    assert (outcome.messages, outcome.failures) == (0, 0)
    with forgotten.account.store() as store:
        assert [store.fact(name) for name in (BROKE_AT, REPLIES_LOST + "lmtp://127.0.0.1")] == [None, None]


def test_a_message_that_is_left_alone_goes_to_another_destination(forgotten: Forgotten) -> None:
    for _ in range(MOST_LOST + 1):
        forgotten.run()
    assert forgotten.account.fetch(forgotten.pop).messages == 1  # to the maildir
    assert len(forgotten.account.delivered()) == 1


def test_a_message_stays_left_alone_after_a_look_that_failed(forgotten: Forgotten) -> None:
    for _ in range(MOST_LOST):
        forgotten.run()
    forgotten.mailbox.remove(forgotten.mailbox.maildrop[:1])  # the message left alone may be that one
    forgotten.mailbox.replies = dict.fromkeys((b"TOP 1 0\r\n", b"RETR 1\r\n"), b"-ERR not now\r\n")
    assert forgotten.run() is not None
    (error,) = (error for _, error in forgotten.account.told.errors)
    assert not isinstance(error, ServerFailed), "the look has failed"
    forgotten.mailbox.replies = {}
    assert forgotten.run() is not None
    assert forgotten.copies() == MOST_LOST
    assert [type(error) for _, error in forgotten.account.told.errors] == [ServerFailed]


def test_a_rehearsal_and_a_mark_of_what_is_left_alone(forgotten: Forgotten) -> None:
    for _ in range(MOST_LOST):
        forgotten.run()
    assert forgotten.run(Order(dry_run=True)) is not None
    assert forgotten.account.told.intentions == []
    assert [number for number, _ in forgotten.account.told.errors] == [2]
    marked = forgotten.run(Order(mark=True))
    assert marked is not None
    assert (marked.messages, marked.failures) == (1, 0)


def test_replies_are_counted_for_each_message() -> None:
    lost = None
    for _ in range(MOST_LOST):
        assert left_alone(lost, FIVE, range(5)) == {}
        lost = and_lost(and_lost(lost, (b"B", 0)), (b"C", 1))
    assert left_alone(lost, FIVE, range(5)) == {1: MOST_LOST}
    assert left_alone(and_lost(lost, (b"B", 0)), FIVE, range(5)) == {1: MOST_LOST + 1}
    assert left_alone(lost, FIVE, [0, 2]) == {}
    assert left_alone(without(lost, [Key(b"B", 0)]), FIVE, range(5)) == {}
    assert without(without(lost, [Key(b"B", 0)]), [Key(b"C", 1)]) is None
    assert without(None, []) is None


def test_those_that_broke_come_last_the_latest_at_the_end() -> None:
    kept = and_last(and_last(None, (b"D", 0)), (b"A", 0))
    assert in_turn(kept, FIVE, range(5)) == [1, 2, 4, 3, 0]
    assert in_turn(and_last(kept, (b"D", 0)), FIVE, range(5)) == [1, 2, 4, 0, 3]
    assert in_turn(kept, FIVE, [0, 4]) == [4, 0]
    assert in_turn(and_last(None, (b"D", 1)), FIVE, range(5)) == [0, 1, 2, 3, 4]


def test_what_is_kept_is_bounded() -> None:
    kept: str | None = None
    lost: str | None = None
    for number in range(MOST_KEPT + 5):
        key = (b"%d" % (number // MOST_LOST), 0)
        kept, lost = and_last(kept, key), and_lost(lost, key)
        # Or a message that is left alone would come again once those that broke later are delivered.
        assert number % 500 or set(lost.split()) <= set(kept.split())
    for number in range(MOST_KEPT):
        kept = and_last(kept, (b"other %d" % number, 0))
    assert kept is not None
    assert lost is not None
    assert len(lost.split()) == len(kept.split()) == MOST_KEPT
    assert kept.endswith(f"{b'other 2999'.hex()}:0")
