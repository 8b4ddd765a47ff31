"""Messages as they arrive: blank ones, short ones, and how many are retrieved."""

from __future__ import annotations

from pathlib import Path

import pytest

from pop3fetch.errors import IncompleteMessage
from pop3fetch.fetch.plan import Order
from pop3fetch.record.states import State
from pop3fetch.status import Status
from tests.support.fetching import Account, message, numbered, on_disk
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer

DELETE = Order(delete=True)
LARGE = message(2, b"x" * 5000)
LISTED = [len(message(1)), len(LARGE), len(message(3))]


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def retrieved(server: ScriptedServer) -> list[int]:
    """Return the numbers of the messages that were retrieved; ends the server."""
    server.stop()
    return [int(line.split()[1]) for line in server.commands if line.startswith(b"RETR")]


# -- blank messages --------------------------------------------------------------------------------


def sending(content: bytes) -> Mailbox:
    """Return a mailbox that sends ``content`` for the second of three messages, and lists all of it."""
    reply = b"+OK\r\n%b.\r\n" % content
    return Mailbox([message(1), LARGE, message(3)], replies={b"RETR 2\r\n": reply})


@pytest.mark.parametrize("blank", [b"\r\n", b"\r\n\r\n", b" \r\n", b"\t\r\n \r\n", b"\r\n" * 500])
def test_a_blank_message_is_named_and_stays_new(server: StartServer, account: Account, blank: bytes) -> None:
    mailbox = sending(blank)
    outcome = account.fetch(server(mailbox), DELETE)
    assert (outcome.messages, outcome.failures, outcome.status) == (2, 1, Status.REFUSED)
    assert [(number, type(error)) for number, error in account.told.errors] == [(2, IncompleteMessage)]
    assert mailbox.messages == [LARGE]
    mailbox.replies = {}
    assert account.fetch(server(mailbox), DELETE).deleted == 1
    assert account.delivered() == on_disk([message(1), LARGE, message(3)])


@pytest.mark.parametrize("octets", [b"\r\n", b" \r\n\r\n"])
def test_a_message_that_is_listed_as_blank_is_delivered(
    server: StartServer, account: Account, octets: bytes
) -> None:
    mailbox = Mailbox([octets])
    assert account.fetch(server(mailbox), DELETE).messages == 1
    assert account.delivered() == on_disk([octets])
    assert mailbox.messages == []


@pytest.mark.parametrize("crlf", [True, False])
def test_blank_lines_before_a_message_are_a_part_of_it(
    server: StartServer, account: Account, crlf: bool
) -> None:
    octets = b"\r\n" * 3000 + b"text\r\n"
    account.fetch(server(Mailbox([octets])), Order(crlf=crlf))
    assert account.delivered() == [octets if crlf else octets.replace(b"\r\n", b"\n")]


def test_a_long_blank_message_is_delivered(server: StartServer, account: Account) -> None:
    blank = b"\r\n" * 100_000
    account.fetch(server(Mailbox([blank], sizes=[10_000_000])))
    assert account.delivered() == on_disk([blank])


# -- messages far shorter than listed --------------------------------------------------------------

BEGINNING = LARGE[:1000] + b"\r\n"


def test_a_short_message_is_delivered_and_not_deleted(server: StartServer, account: Account) -> None:
    mailbox = sending(BEGINNING)
    outcome = account.fetch(server(mailbox), DELETE)
    assert (outcome.messages, outcome.deleted, outcome.status) == (3, 2, Status.OK)
    assert account.told.short_numbers == [2]
    assert mailbox.messages == [LARGE]
    with account.store() as store:
        states = {uid: row.state for (uid, _), row in store.known().unsettled.items()}
    assert states == {b"uid-1": State.DELETED, b"uid-2": State.SHORT, b"uid-3": State.DELETED}


def test_a_short_message_that_comes_twice_like_that_is_deleted(server: StartServer, account: Account) -> None:
    mailbox = sending(BEGINNING)
    account.fetch(server(mailbox))
    outcome = account.fetch(server(mailbox), DELETE)
    assert (outcome.messages, outcome.deleted) == (0, 3)
    assert account.delivered() == on_disk([message(1), BEGINNING, message(3)])


def test_a_short_message_that_is_whole_in_the_next_session_is_delivered_whole(
    server: StartServer, account: Account
) -> None:
    mailbox = sending(BEGINNING)
    account.fetch(server(mailbox), DELETE)
    mailbox.replies = {}
    outcome = account.fetch(server(mailbox), DELETE)
    assert (outcome.messages, outcome.deleted, mailbox.messages) == (1, 1, [])
    assert account.delivered() == on_disk([message(1), BEGINNING, LARGE, message(3)])


@pytest.mark.parametrize(("size", "is_short"), [(2 * len(LARGE), False), (2 * len(LARGE) + 1, True)])
def test_less_than_half_is_short(server: StartServer, account: Account, size: int, is_short: bool) -> None:
    mailbox = Mailbox([LARGE], sizes=[size])
    account.fetch(server(mailbox), DELETE)
    assert (account.told.short_numbers, mailbox.messages) == (([1], [LARGE]) if is_short else ([], []))


def test_quit_may_not_delete_a_short_message(server: StartServer, account: Account) -> None:
    scripted = server(Mailbox([LARGE], sizes=[20_000]))
    account.fetch(scripted)
    scripted.stop()
    assert scripted.commands[-1] == b"RETR 1\r\n"


# -- messages whose size is not known --------------------------------------------------------------

LACKING = {b"LIST\r\n": b"+OK\r\n1 %d\r\n3 %d\r\n.\r\n" % (len(message(1)), len(message(3)))}


def lacking_a_size(reply: bytes | None) -> Mailbox:
    """Return a mailbox of which LIST lacks the second message, and RETR sends it like that."""
    mailbox = sending(reply) if reply else Mailbox([message(1), LARGE, message(3)])
    mailbox.replies.update(LACKING)
    return mailbox


@pytest.mark.parametrize("order", [DELETE, Order(delete_after=0)])
def test_a_message_whose_size_list_lacks_is_delivered_and_not_deleted(
    server: StartServer, account: Account, order: Order
) -> None:
    mailbox = lacking_a_size(None)
    for fetched in (3, 0):
        outcome = account.fetch(server(mailbox), order)
        assert (outcome.messages, mailbox.messages) == (fetched, [LARGE])
        mailbox.replies = {b"LIST\r\n": b"+OK\r\n.\r\n"}
    mailbox.replies.clear()
    assert account.fetch(server(mailbox), order).deleted == 1
    assert account.delivered() == on_disk([message(1), LARGE, message(3)])


@pytest.mark.parametrize("reply", [BEGINNING, b"\r\n"])
def test_a_message_that_came_short_of_a_size_that_list_lacked_is_fetched_whole(
    server: StartServer, account: Account, reply: bytes
) -> None:
    mailbox = lacking_a_size(reply)
    account.fetch(server(mailbox), DELETE)
    mailbox.replies.clear()
    outcome = account.fetch(server(mailbox), DELETE)
    assert (outcome.messages, mailbox.messages) == (1, [])
    assert LARGE.replace(b"\r\n", b"\n") in account.delivered()


def test_quit_may_not_delete_a_message_whose_size_is_not_known(server: StartServer, account: Account) -> None:
    mailbox = lacking_a_size(BEGINNING)
    mailbox.pops = True
    account.fetch(server(mailbox), DELETE)
    assert mailbox.messages == [LARGE]


def test_a_dry_run_deletes_no_message_whose_size_is_not_known(server: StartServer, account: Account) -> None:
    account.fetch(server(lacking_a_size(None)), DELETE._replace(dry_run=True))
    assert [number for verb, number in account.told.intentions if verb == "delete"] == [1, 3]


# -- a limit ---------------------------------------------------------------------------------------

SIX = numbered(6)


def test_what_fails_does_not_count_against_the_limit(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(SIX, replies=dict.fromkeys((b"RETR 1\r\n", b"RETR 2\r\n"), b"-ERR no\r\n"))
    outcomes = [account.fetch(server(mailbox), Order(limit=2)) for _ in range(2)]
    assert [(outcome.messages, outcome.failures) for outcome in outcomes] == [(2, 2), (2, 2)]
    assert account.delivered() == on_disk(SIX[2:])


def test_no_more_is_retrieved_than_the_limit_allows(server: StartServer, account: Account) -> None:
    scripted = server(Mailbox(SIX, replies={b"RETR 2\r\n": b"-ERR no\r\n"}))
    account.fetch(scripted, Order(limit=3))
    assert retrieved(scripted) == [1, 2, 3, 4]


def test_a_limit_of_nothing_retrieves_nothing(server: StartServer, account: Account) -> None:
    scripted = server(Mailbox(SIX))
    assert account.fetch(scripted, Order(limit=0)).messages == 0
    assert retrieved(scripted) == []


def test_what_is_too_large_is_reported_once(server: StartServer, account: Account) -> None:
    mailbox = Mailbox([message(1), LARGE])
    reports = []
    for order in (Order(max_size=500, dry_run=True), Order(max_size=500), Order(max_size=500)):
        assert account.fetch(server(mailbox), order).status is Status.OK
        reports.append(account.told.oversize_numbers)
    assert reports == [[2], [2], []]
