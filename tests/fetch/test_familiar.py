"""Runs that find the mailbox as the last one left it, and those that only seem to."""

from __future__ import annotations

from pathlib import Path

import pytest

from pop3fetch.fetch.plan import Order
from pop3fetch.messages import Key
from pop3fetch.record.states import DAY, Event
from pop3fetch.record.store import LISTING
from tests.support.fetching import NOW, Account, message, numbered, on_disk
from tests.support.mail_server import CAPABILITIES, Mailbox, Message
from tests.support.scripted_server import ScriptedServer, StartServer

THREE = numbered(3)
KEEP, DELETE, DELETE_AFTER = Order(), Order(delete=True), Order(delete_after=1)
KNOWN_AGAIN = "the server lists what it listed before: nothing is new"


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def a_run_knows_it_again(account: Account, server: ScriptedServer, order: Order = KEEP) -> bool:
    """Make a run; return whether it saw at once that there is nothing to do."""
    outcome = account.fetch(server, order)
    known = KNOWN_AGAIN in account.told.notices
    assert not (known and outcome.messages)
    return known


def said(server: ScriptedServer) -> list[bytes]:
    server.stop()
    return [line.rstrip() for line in server.commands]


# -- what is familiar ------------------------------------------------------------------------------


def test_a_mailbox_of_which_all_was_fetched_is_known_again(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    assert not a_run_knows_it_again(account, server(mailbox))
    again = server(mailbox)
    assert a_run_knows_it_again(account, again)
    assert said(again)[-4:] == [b"CAPA", b"LIST", b"UIDL", b"QUIT"]
    assert account.delivered() == on_disk(THREE)


@pytest.mark.parametrize("order", [Order(mark=True), Order(limit=3), Order(max_size=1_000_000)])
def test_however_all_came_to_be_recorded(order: Order, server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    assert not a_run_knows_it_again(account, server(mailbox), order)
    assert a_run_knows_it_again(account, server(mailbox))
    assert a_run_knows_it_again(account, server(mailbox), order)


def test_new_messages_are_fetched_and_then_all_is_known(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    assert a_run_knows_it_again(account, server(mailbox))
    mailbox.add(message(4), b"uid-4")
    assert account.fetch(server(mailbox)).messages == 1
    assert a_run_knows_it_again(account, server(mailbox))
    assert account.delivered() == on_disk([*THREE, message(4)])


def test_a_server_without_pipelining_is_known_again(server: StartServer, account: Account) -> None:
    capabilities = tuple(name for name in CAPABILITIES if name != b"PIPELINING")
    mailbox = Mailbox(THREE, capabilities=capabilities)
    account.fetch(server(mailbox))
    assert a_run_knows_it_again(account, server(mailbox))


def test_an_empty_mailbox_is_known_again(server: StartServer, account: Account) -> None:
    mailbox = Mailbox([])
    account.fetch(server(mailbox))
    assert a_run_knows_it_again(account, server(mailbox))
    mailbox.add(THREE[0], b"uid-1")
    assert account.fetch(server(mailbox)).messages == 1


# -- what is not -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order",
    [
        Order(everything=True),
        Order(delete=True),
        Order(delete_after=0),
        Order(dry_run=True),
    ],
)
def test_an_order_for_more_than_new_messages_reads_the_lists(
    order: Order, server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    assert not a_run_knows_it_again(account, server(mailbox), order)


@pytest.mark.parametrize("first", [KEEP, DELETE_AFTER])
def test_a_mailbox_is_known_until_a_deletion_falls_due(
    first: Order, server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox), first)
    account.now = NOW + DAY - 1
    again = server(mailbox)
    assert a_run_knows_it_again(account, again, DELETE_AFTER)
    assert said(again)[-3:] == [b"LIST", b"UIDL", b"QUIT"]
    account.now = NOW + DAY
    assert account.fetch(server(mailbox), DELETE_AFTER).deleted == 3
    assert mailbox.messages == []


@pytest.mark.parametrize("later", [DAY, -DAY])
def test_a_mailbox_that_is_to_be_deleted_is_not_known_whatever_the_clock_shows(
    later: int, server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    account.now = NOW + later
    assert account.fetch(server(mailbox), DELETE).deleted == 3


@pytest.mark.parametrize("order", [DELETE, Order(delete_after=0)])
def test_messages_that_were_only_marked_are_known_unless_they_are_to_be_deleted(
    order: Order, server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox), Order(mark=True))
    assert a_run_knows_it_again(account, server(mailbox), order)
    assert account.fetch(server(mailbox), order._replace(delete_marked=True)).deleted == 3
    assert account.delivered() == []


def test_a_message_that_arrived_after_the_marked_ones_is_fetched_and_deleted(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox), Order(mark=True))
    mailbox.add(message(4), b"uid-4")
    assert account.fetch(server(mailbox), DELETE).deleted == 1
    assert account.delivered() == on_disk([message(4)])
    assert not a_run_knows_it_again(account, server(mailbox), DELETE)
    assert a_run_knows_it_again(account, server(mailbox), DELETE)


def test_messages_that_a_server_lists_again_after_their_deletion_are_deleted_again(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE)
    for _ in range(3):
        whole = list(mailbox.maildrop)
        assert account.fetch(server(mailbox), DELETE).deleted == 3
        mailbox.maildrop = whole
    assert account.delivered() == on_disk(THREE)


def test_a_deletion_that_was_refused_is_made_later(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE[:1], replies={b"DELE 1\r\n": b"-ERR not now\r\n"})
    account.fetch(server(mailbox))
    account.now = NOW + DAY
    for _ in range(2):
        assert account.fetch(server(mailbox), DELETE_AFTER).failures == 1
    mailbox.replies.clear()
    assert account.fetch(server(mailbox), DELETE_AFTER).deleted == 1


@pytest.mark.parametrize("order", [Order(limit=2), Order(max_size=len(THREE[1])), Order(dry_run=True)])
def test_a_mailbox_of_which_something_is_left_is_not_known(
    order: Order, server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox), order)
    assert not a_run_knows_it_again(account, server(mailbox))
    assert account.delivered() == on_disk(THREE)


def test_a_message_that_is_refused_is_asked_for_again(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE, replies={b"RETR 2\r\n": b"-ERR not now\r\n"})
    for _ in range(2):
        assert account.fetch(server(mailbox)).failures == 1
    mailbox.replies.clear()
    assert account.fetch(server(mailbox)).messages == 1
    assert a_run_knows_it_again(account, server(mailbox))


def test_a_size_that_changes_is_looked_at(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    other = message(20)
    mailbox.maildrop[1] = Message(other, b"uid-2", len(other))
    assert account.fetch(server(mailbox)).messages == 1
    assert account.delivered() == on_disk([*THREE, other])
    assert a_run_knows_it_again(account, server(mailbox))


def test_messages_that_share_a_uid_are_looked_at_each_time(server: StartServer, account: Account) -> None:
    mailbox = Mailbox([THREE[0]] * 2, uids=[b"same"] * 2)
    account.fetch(server(mailbox))
    again = server(mailbox)
    assert not a_run_knows_it_again(account, again)
    assert b"TOP 2 0" in said(again)


@pytest.mark.parametrize("uidl", [b"-ERR no\r\n", b"+OK\r\n1 uid-1\r\n2 \r\n3 uid-3\r\n.\r\n"])
def test_stand_ins_are_made_each_time(uidl: bytes, server: StartServer, account: Account) -> None:
    capabilities = CAPABILITIES if uidl.startswith(b"+OK") else (b"TOP", b"PIPELINING", b"SASL PLAIN")
    mailbox = Mailbox(THREE, replies={b"UIDL\r\n": uidl}, capabilities=capabilities)
    account.fetch(server(mailbox))
    again = server(mailbox)
    assert not a_run_knows_it_again(account, again)
    assert b"TOP 2 0" in said(again)


def test_lists_that_disagree_are_warned_of_each_time(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE, replies={b"UIDL\r\n": b"+OK\r\n1 uid-1\r\n.\r\n"})
    for _ in range(2):
        assert not a_run_knows_it_again(account, server(mailbox))
        assert account.told.warnings == ["LIST and UIDL disagree: 2 messages are in one of them only (2, 3)"]


# -- what was familiar -----------------------------------------------------------------------------


def test_messages_that_were_gone_and_come_back_are_looked_at(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    whole = mailbox.maildrop
    mailbox.maildrop = whole[:1]
    account.fetch(server(mailbox))
    assert a_run_knows_it_again(account, server(mailbox))
    mailbox.maildrop = whole
    back = server(mailbox)
    assert account.fetch(back).messages == 0
    assert [line for line in said(back) if line.startswith(b"TOP")] == [b"TOP 2 0", b"TOP 3 0"]
    assert a_run_knows_it_again(account, server(mailbox))


def test_a_listing_is_not_known_while_a_message_is_in_doubt(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    whole = mailbox.maildrop
    mailbox.maildrop = whole[:2]
    account.fetch(server(mailbox))
    mailbox.maildrop = whole
    mailbox.replies = dict.fromkeys((b"TOP 3 0\r\n", b"RETR 3\r\n"), b"-ERR not now\r\n")
    for _ in range(2):
        assert not a_run_knows_it_again(account, server(mailbox))
        assert [number for number, _ in account.told.errors] == [3]


def test_a_used_uid_is_looked_at_after_the_mailbox_was_empty(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE[:1])
    account.fetch(server(mailbox))
    mailbox.maildrop = []
    account.fetch(server(mailbox))
    other = THREE[0].replace(b"message 1", b"message 9").replace(b"<1@", b"<9@")
    mailbox.add(other, b"uid-1")
    assert account.fetch(server(mailbox)).messages == 1
    assert account.delivered() == on_disk([THREE[0], other])


def test_a_mailbox_whose_record_was_changed_is_compared(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    with account.store() as store:
        store.happened(Event.LOOKED_OTHER, [Key(b"uid-2", 0)], int(account.now))
    assert account.fetch(server(mailbox)).messages == 1


def test_a_run_that_only_reads_writes_nothing(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    before = account.place.database.read_bytes()
    assert a_run_knows_it_again(account, server(mailbox))
    assert account.place.database.read_bytes() == before


def test_lists_that_are_mixed_up_in_the_pipe_are_asked_for_again_one_by_one(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    mailbox.add(message(4), b"uid-4")
    both = [
        b"+OK\r\n%b.\r\n" % b"".join(lines) for lines in (_lines_of_uidl(mailbox), _lines_of_list(mailbox))
    ]
    mailbox.replies.update(zip((b"LIST\r\n", b"UIDL\r\n"), both, strict=True))
    mailbox.after[b"UIDL\r\n"] = lambda _: mailbox.replies.clear()
    scripted = server(mailbox)
    assert account.fetch(scripted).messages == 1
    assert len(scripted.talks) == 1


def _lines_of_list(mailbox: Mailbox) -> list[bytes]:
    return [b"%d %d\r\n" % (number, one.size) for number, one in enumerate(mailbox.maildrop, 1)]


def _lines_of_uidl(mailbox: Mailbox) -> list[bytes]:
    return [b"%d %b\r\n" % (number, one.uid) for number, one in enumerate(mailbox.maildrop, 1)]


@pytest.mark.parametrize("value", ["", "nonsense", "two words", "one more word"])
def test_a_damaged_listing_is_not_recognised(value: str, server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    with account.store() as store:
        store.remember(LISTING, value)
    assert not a_run_knows_it_again(account, server(mailbox))
