"""What is deleted on the word of an earlier run: only after a look, and only what is still the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from pop3fetch.errors import ServerErrorResponse, UniqueIdsRefused
from pop3fetch.fetch.plan import Order
from pop3fetch.record.states import DAY
from pop3fetch.status import Status
from tests.support.fetching import Account, message, numbered, on_disk
from tests.support.mail_server import CAPABILITIES, Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer

FIVE = numbered(5)
OTHER = message(9, b"x")  # of the same size as the first
NO_TOP = tuple(name for name in CAPABILITIES if name != b"TOP")
DELETE = Order(delete=True)
AFTER = Order(delete_after=1)
ORDERS = [DELETE, AFTER, Order(everything=True, delete=True, limit=0)]


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


@pytest.fixture
def fetched(server: StartServer, account: Account) -> Mailbox:
    """A mailbox of which all was fetched a while ago."""
    mailbox = Mailbox(FIVE)
    account.fetch(server(mailbox))
    account.now += DAY
    return mailbox


def replace_first(mailbox: Mailbox, octets: bytes) -> None:
    """Let another client delete the first message, and a new one get its UID."""
    mailbox.maildrop[0] = Mailbox([octets]).maildrop[0]
    assert mailbox.uids[0] == b"uid-1"


def looks(server: ScriptedServer) -> list[int]:
    server.stop()
    return [int(line.split()[1]) for line in server.commands if line.startswith(b"TOP")]


@pytest.mark.parametrize("order", [DELETE, AFTER])
def test_a_uid_given_again_with_the_same_size_is_fetched_and_not_deleted_unseen(
    server: StartServer, account: Account, fetched: Mailbox, order: Order
) -> None:
    replace_first(fetched, OTHER)
    scripted = server(fetched)
    outcome = account.fetch(scripted, order)
    assert outcome.messages == 1
    assert account.delivered() == on_disk([*FIVE, OTHER])
    assert fetched.messages == ([] if order is DELETE else [OTHER])
    assert looks(scripted) == [1, 2, 3, 4, 5]


def test_without_top_uid_and_size_alone_decide(
    server: StartServer, account: Account, fetched: Mailbox
) -> None:
    fetched.capabilities = NO_TOP
    scripted = server(fetched)
    assert account.fetch(scripted, DELETE).deleted == 5
    assert looks(scripted) == []


def test_what_this_run_delivered_is_not_looked_at(server: StartServer, account: Account) -> None:
    scripted = server(Mailbox(FIVE))
    assert account.fetch(scripted, DELETE).deleted == 5
    assert looks(scripted) == []


@pytest.mark.parametrize("order", ORDERS)
def test_a_look_that_fails_deletes_nothing(
    server: StartServer, account: Account, fetched: Mailbox, order: Order
) -> None:
    fetched.replies = dict.fromkeys((b"TOP 2 0\r\n", b"RETR 2\r\n"), b"-ERR [SYS/TEMP] not now\r\n")
    outcome = account.fetch(server(fetched), order)
    assert (outcome.messages, outcome.status) == (0, Status.TRY_LATER)
    assert FIVE[1] in fetched.messages
    assert [(number, type(error)) for number, error in account.told.errors] == [(2, ServerErrorResponse)]
    fetched.replies = {}
    account.fetch(server(fetched), order)
    assert account.delivered() == on_disk(FIVE), "nothing comes twice"


def test_a_server_that_keeps_what_it_confirmed_as_deleted_sends_nothing_twice(
    server: StartServer, account: Account, fetched: Mailbox
) -> None:
    everything = fetched.maildrop
    for _ in range(3):
        assert account.fetch(server(fetched), DELETE).deleted == 5
        assert fetched.maildrop == []
        fetched.maildrop = everything  # it was restarted from what it had on the disk
    account.fetch(server(fetched))
    assert account.delivered() == on_disk(FIVE)


def test_one_short_listing_makes_nothing_come_twice(
    server: StartServer, account: Account, fetched: Mailbox
) -> None:
    everything, fetched.maildrop = fetched.maildrop, fetched.maildrop[:1]
    account.fetch(server(fetched))
    fetched.maildrop = everything
    assert account.fetch(server(fetched), DELETE).deleted == 5
    assert account.delivered() == on_disk(FIVE)


@pytest.mark.parametrize("refusal", [b"-ERR no\r\n", b"-ERR [SYS/TEMP] later\r\n"])
@pytest.mark.parametrize("order", [Order(), DELETE])
def test_uidl_refused_by_a_server_that_had_it_ends_the_run(
    server: StartServer, account: Account, fetched: Mailbox, refusal: bytes, order: Order
) -> None:
    fetched.capabilities = (b"TOP", b"PIPELINING", b"SASL PLAIN")
    fetched.replies = {b"UIDL\r\n": refusal}
    scripted = server(fetched)
    with pytest.raises((UniqueIdsRefused, ServerErrorResponse)) as caught:
        account.fetch(scripted, order)
    assert caught.value.exit_status is Status.TRY_LATER
    scripted.stop()
    assert not any(line.startswith((b"RETR", b"TOP", b"DELE")) for line in scripted.commands)
    fetched.replies = {}
    assert account.fetch(server(fetched)).messages == 0
