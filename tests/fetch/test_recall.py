"""What the record makes of a listing: which messages are new, and where it must look first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from pop3fetch.fetch.recall import Recall, known_of
from pop3fetch.fetch.survey import survey
from pop3fetch.headers import identity
from pop3fetch.record.store import Entry, Key
from tests.fetching import NOW, Account, log_in, message, numbered
from tests.mailbox import Mailbox
from tests.server import StartServer

MANY = numbered(8)
REFUSED = b"-ERR no\r\n"
NO_HEADERS = b"\r\nno field at all\r\n"  # so that there is no identity


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def record(account: Account, messages: Iterable[bytes], uids: Iterable[bytes]) -> None:
    """Record ``messages`` as fetched; equal UIDs are copies."""
    seen: dict[bytes, int] = {}
    entries = []
    for octets, uid in zip(messages, uids, strict=True):
        occurrence = seen.get(uid, 0)
        seen[uid] = occurrence + 1
        entries.append(Entry(Key(uid, occurrence), len(octets), identity(octets)))
    with account.store() as store:
        store.done(entries, "maildir:/somewhere", int(NOW))


def uids(count: int, name: bytes = b"uid-%d") -> list[bytes]:
    return [name % number for number in range(1, count + 1)]


class Session:
    """One session in which the record is asked what is new; ``tops`` are the numbers it looked at."""

    def __init__(self, server: StartServer, account: Account, mailbox: Mailbox) -> None:
        scripted = server(mailbox)
        with account.store() as store, log_in(scripted) as client:
            listing = survey(client, account.told)
            self.new = [
                index + 1 for index in Recall(client, store, account.told).new(listing, known_of(store))
            ]
        scripted.stop()
        self.tops = [int(line.split()[1]) for line in scripted.commands if line.startswith(b"TOP")]


def new_after(
    server: StartServer, account: Account, messages: Sequence[bytes], uids: Sequence[bytes]
) -> list[int]:
    """Return the numbers that are new in one more session."""
    return Session(server, account, Mailbox(messages, uids=uids)).new


def test_on_a_first_run_all_is_new_and_nothing_is_looked_at(server: StartServer, account: Account) -> None:
    session = Session(server, account, Mailbox(MANY))
    assert (session.new, session.tops) == ([1, 2, 3, 4, 5, 6, 7, 8], [])


def test_what_is_recorded_is_not_new_and_not_looked_at(server: StartServer, account: Account) -> None:
    record(account, MANY[:6], uids(6))
    session = Session(server, account, Mailbox(MANY))
    assert (session.new, session.tops) == ([7, 8], [])


def test_odd_uids_are_compared_octet_by_octet(server: StartServer, account: Account) -> None:
    odd = [b"\xff\xfe", b"with blanks  in it", b"'; DROP TABLE message; --", b"x" * 4000, b"X" * 4000]
    record(account, MANY[:4], odd[:4])
    assert new_after(server, account, MANY[:5], odd) == [5]
    assert list(account.recorded()) == sorted(odd[:4])


# -- sizes that have changed -----------------------------------------------------------------------


def test_another_size_with_the_same_headers_is_the_same_message(
    server: StartServer, account: Account
) -> None:
    record(account, MANY, uids(8))
    grown = MANY[2].replace(b"Subject:", b"X-Status: read\r\nSubject:")
    session = Session(server, account, Mailbox([*MANY[:2], grown, *MANY[3:]]))
    assert (session.new, session.tops) == ([], [3])
    assert account.recorded()[b"uid-3"] == len(grown)


def test_the_new_size_is_remembered(server: StartServer, account: Account) -> None:
    record(account, MANY, uids(8))
    resized = [octets + b"one more line\r\n" for octets in MANY]
    Session(server, account, Mailbox(resized))
    assert Session(server, account, Mailbox(resized)).tops == []


def test_another_size_with_other_headers_is_a_new_message(server: StartServer, account: Account) -> None:
    record(account, MANY, uids(8))
    other = message(99)
    session = Session(server, account, Mailbox([*MANY[:2], other, *MANY[3:]]))
    assert session.new == [3]
    assert account.recorded()[b"uid-3"] == len(MANY[2]), "until it is delivered it is not recorded"


def test_another_size_without_an_identity_is_a_new_message(server: StartServer, account: Account) -> None:
    record(account, [NO_HEADERS], [b"uid"])
    assert new_after(server, account, [NO_HEADERS + b"more\r\n"], [b"uid"]) == [1]


# Of these Subject and To are all that tells them apart: many messages have the same.
WEAK = b"To: root\r\nSubject: backup done\r\n\r\nabc\r\n"


def test_weak_headers_do_not_make_a_message_of_another_size_the_same(
    server: StartServer, account: Account
) -> None:
    record(account, [WEAK], [b"uid"])
    assert new_after(server, account, [WEAK + b"more\r\n"], [b"uid"]) == [1]


def test_weak_headers_tell_apart_what_has_the_same_size_and_uid(
    server: StartServer, account: Account
) -> None:
    other = WEAK.replace(b"done", b"lost")
    record(account, [WEAK, WEAK], [b"uid", b"uid"])
    assert new_after(server, account, [WEAK, other], [b"uid", b"uid"]) == [2]
    with account.store() as store:
        store.doubt_all()
    assert new_after(server, account, [other], [b"uid"]) == [1]


def test_weak_headers_recognise_nothing_under_another_uid(server: StartServer, account: Account) -> None:
    record(account, [WEAK] * 6, uids(6))
    assert new_after(server, account, [WEAK], [b"new"]) == [1]


def test_another_size_that_cannot_be_looked_at_is_a_new_message(
    server: StartServer, account: Account
) -> None:
    record(account, MANY, uids(8))
    grown = MANY[2] + b"one more line\r\n"
    mailbox = Mailbox([*MANY[:2], grown], replies={b"TOP 3 0\r\n": REFUSED, b"RETR 3\r\n": REFUSED})
    assert Session(server, account, mailbox).new == [3]


# -- messages that are gone ------------------------------------------------------------------------


def test_what_a_complete_listing_lacks_is_forgotten(server: StartServer, account: Account) -> None:
    record(account, MANY, uids(8))
    assert new_after(server, account, MANY[4:], uids(8)[4:]) == []
    assert list(account.recorded()) == uids(8)[4:]


def test_nothing_is_forgotten_after_an_incomplete_listing(server: StartServer, account: Account) -> None:
    record(account, MANY, uids(8))
    partly = b"+OK\r\n" + b"".join(b"%d uid-%d\r\n" % (n, n) for n in (1, 2, 4)) + b".\r\n"
    assert Session(server, account, Mailbox(MANY[:4], replies={b"UIDL\r\n": partly})).new == []
    assert new_after(server, account, MANY, uids(8)) == []


def test_nothing_is_forgotten_where_a_stand_in_cannot_be_had(server: StartServer, account: Account) -> None:
    names = [*uids(7), b""]
    Session(server, account, Mailbox(MANY, uids=names))
    with account.store() as store, log_in(server(Mailbox(MANY, uids=names))) as client:
        listing = survey(client, account.told)
        stand_in = listing.message(7).uid
        store.done([Entry(Key(m.uid, 0), m.size, None) for m in listing], "maildir:/x", int(NOW))
    refusing = {b"TOP 8 0\r\n": REFUSED, b"RETR 8\r\n": REFUSED}
    assert Session(server, account, Mailbox(MANY, uids=names, replies=refusing)).new == []
    assert stand_in in account.recorded()


def test_a_uid_that_was_forgotten_is_new_again(server: StartServer, account: Account) -> None:
    record(account, MANY[:2], uids(2))
    new_after(server, account, MANY[1:2], [b"uid-2"])
    assert new_after(server, account, [MANY[0], MANY[1]], uids(2)) == [1]


def test_an_empty_listing_forgets_nothing_and_puts_all_in_doubt(
    server: StartServer, account: Account
) -> None:
    record(account, MANY, uids(8))
    assert new_after(server, account, [], []) == []
    session = Session(server, account, Mailbox(MANY))
    assert (session.new, session.tops) == ([], [1, 2, 3, 4, 5, 6, 7, 8])
    assert Session(server, account, Mailbox(MANY)).tops == [], "the doubt is over"


def test_after_an_empty_listing_a_uid_given_again_is_a_new_message(
    server: StartServer, account: Account
) -> None:
    record(account, MANY, uids(8))
    new_after(server, account, [], [])
    new_after(server, account, [], [])
    other = message(9, b"x")  # of the same size as the first
    assert len(other) == len(MANY[0])
    assert new_after(server, account, [other, *MANY[1:]], uids(8)) == [1]


def test_after_an_empty_listing_a_message_without_an_identity_is_known_by_its_size(
    server: StartServer, account: Account
) -> None:
    record(account, [NO_HEADERS, NO_HEADERS], uids(2))
    new_after(server, account, [], [])
    assert new_after(server, account, [NO_HEADERS, NO_HEADERS + b"more\r\n"], uids(2)) == [2]


# -- unique-ids that are shared --------------------------------------------------------------------


def test_identical_copies_are_each_recorded(server: StartServer, account: Account) -> None:
    copies = [MANY[0]] * 3
    record(account, copies[:2], [b"uid"] * 2)
    assert new_after(server, account, copies, [b"uid"] * 3) == [3]
    assert new_after(server, account, copies[:1], [b"uid"]) == []
    with account.store() as store:
        assert store.copies() == {}, "the second one is gone"


def test_other_messages_that_share_a_uid_are_told_apart_by_their_headers(
    server: StartServer, account: Account
) -> None:
    first, second, third = message(1), message(2, b"x"), message(3, b"x")
    assert len(first) == len(second) == len(third)
    record(account, [first, second], [b"uid"] * 2)
    # The first was removed by somebody else; the third must not pass for the second.
    assert 2 in new_after(server, account, [second, third], [b"uid"] * 2)


# -- when the server has changed all unique-ids ----------------------------------------------------


def test_after_a_renumbering_old_messages_are_recognised_by_their_headers(
    server: StartServer, account: Account
) -> None:
    record(account, MANY[:6], uids(6))
    session = Session(server, account, Mailbox(MANY, uids=uids(8, b"new-%d")))
    assert session.new == [7, 8]
    assert account.told.warnings == [
        "the server has changed all unique-ids: 6 of 8 messages"
        " were recognised by their headers and are not fetched again"
    ]
    assert list(account.recorded()) == uids(6, b"new-%d")
    assert Session(server, account, Mailbox(MANY, uids=uids(8, b"new-%d"))).tops == []


def test_a_renumbering_is_seen_through_after_an_empty_listing_as_well(
    server: StartServer, account: Account
) -> None:
    record(account, MANY, uids(8))
    new_after(server, account, [], [])  # the server in the middle of its migration
    assert new_after(server, account, MANY, uids(8, b"new-%d")) == []


def test_after_a_renumbering_copies_are_recognised_as_often_as_they_are_recorded(
    server: StartServer, account: Account
) -> None:
    record(account, [*MANY[:5], MANY[0]], uids(6))
    copies = [MANY[0]] * 3
    assert new_after(server, account, copies, uids(3, b"new-%d")) == [3]


def test_after_a_renumbering_the_size_counts_beside_the_headers(
    server: StartServer, account: Account
) -> None:
    record(account, MANY, uids(8))
    assert new_after(server, account, [MANY[0], MANY[1] + b"more\r\n"], uids(2, b"new-%d")) == [2]


def test_after_a_renumbering_what_cannot_be_looked_at_is_new(server: StartServer, account: Account) -> None:
    record(account, [*MANY[:7], NO_HEADERS], uids(8))
    refusing = {b"TOP 1 0\r\n": REFUSED, b"RETR 1\r\n": REFUSED}
    mailbox = Mailbox([MANY[0], MANY[1], NO_HEADERS], uids=uids(3, b"new-%d"), replies=refusing)
    assert Session(server, account, mailbox).new == [1, 3]


def test_a_server_that_refuses_uidl_now_and_then_sends_nothing_twice(
    server: StartServer, account: Account
) -> None:
    record(account, MANY[:2], uids(2))
    refusing = Mailbox(MANY[:3], replies={b"UIDL\r\n": REFUSED})
    session = Session(server, account, refusing)
    assert (session.new, set(session.tops)) == ([3], {1, 2, 3})
    assert new_after(server, account, MANY[:3], uids(3)) == [3]
    assert list(account.recorded()) == uids(2)


def test_after_a_renumbering_only_messages_of_a_recorded_size_are_looked_at(
    server: StartServer, account: Account
) -> None:
    record(account, MANY, uids(8))
    session = Session(server, account, Mailbox([message(99), MANY[0]], uids=uids(2, b"new-%d")))
    assert (session.new, session.tops) == ([1], [2])


def test_where_no_message_is_recognised_nothing_is_said(server: StartServer, account: Account) -> None:
    record(account, MANY[:6], uids(6))
    session = Session(server, account, Mailbox(MANY[6:], uids=uids(8)[6:]))
    assert session.new == [1, 2]
    assert account.told.warnings == []
    assert account.recorded() == {}


def test_a_mailbox_emptied_of_a_handful_is_no_renumbering(server: StartServer, account: Account) -> None:
    record(account, MANY[:5], uids(5))
    session = Session(server, account, Mailbox(MANY[5:], uids=uids(8)[5:]))
    assert (session.new, session.tops) == ([1, 2, 3], [])
    assert account.told.warnings == []
    assert account.recorded() == {}
