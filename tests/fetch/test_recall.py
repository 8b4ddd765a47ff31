"""What the record makes of a listing: which messages are new, and which need a look first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from pop3fetch.fetch.plan import Order
from pop3fetch.fetch.recall import Recall
from pop3fetch.fetch.survey import survey
from pop3fetch.headers.fields import former_identity, identity
from pop3fetch.messages import Key
from pop3fetch.record.missing import KEPT, MOST_MISSES
from pop3fetch.record.states import Event, State
from pop3fetch.record.store import LISTING, Entry
from pop3fetch.status import Status
from tests.support.fetching import NOW, Account, log_in, message, numbered, on_disk
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import StartServer

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
            recall = Recall(client, store, account.told, account.now)
            self.new = [index + 1 for index in sorted(recall.new(listing, store.known()))]
            self.undecided = [index + 1 for index in recall.undecided]
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


# -- sizes that are not listed ---------------------------------------------------------------------

ALIKE = [b"Subject: %d\r\n\r\nhello\r\n" % number for number in range(3)]  # headers that prove nothing


@pytest.mark.parametrize("messages", [MANY[:3], ALIKE, [NO_HEADERS] * 3], ids=["proof", "weak", "none"])
@pytest.mark.parametrize("first", [False, True])
def test_a_message_whose_size_list_lacks_for_once_is_still_the_same(
    messages: list[bytes], first: bool, server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(messages)
    without = {b"LIST\r\n": b"+OK\r\n1 %d\r\n3 %d\r\n.\r\n" % (len(messages[0]), len(messages[2]))}
    for lacks in (first, not first, False):
        mailbox.replies = without if lacks else {}
        account.fetch(server(mailbox))
        assert account.delivered() == on_disk(messages)


@pytest.mark.parametrize("messages", [MANY[:3], ALIKE, [NO_HEADERS] * 3], ids=["proof", "weak", "none"])
def test_a_message_that_uidl_lacks_for_once_is_not_new(
    messages: list[bytes], server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(messages)
    for lacks in (False, True, False, False):
        mailbox.replies = {b"UIDL\r\n": b"+OK\r\n1 uid-1\r\n3 uid-3\r\n.\r\n"} if lacks else {}
        outcome = account.fetch(server(mailbox))
        assert outcome.status == (Status.BAD_DATA if lacks and messages != MANY[:3] else Status.OK)
        assert account.delivered() == on_disk(messages)


@pytest.mark.parametrize("messages", [MANY[:3], ALIKE, [NO_HEADERS] * 3], ids=["proof", "weak", "none"])
def test_what_was_deleted_and_is_listed_without_its_unique_id_is_not_new_at_once(
    messages: list[bytes], server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(messages)
    account.fetch(server(mailbox), Order(delete=True))
    mailbox.maildrop = list(mailbox.removed)  # the server takes the deletions back
    for lacks in (True, False):
        mailbox.replies = {b"UIDL\r\n": b"+OK\r\n1 uid-1\r\n3 uid-3\r\n.\r\n"} if lacks else {}
        account.fetch(server(mailbox))
        assert account.delivered() == on_disk(messages)


@pytest.mark.parametrize("messages", [MANY[:3], ALIKE, [NO_HEADERS] * 3], ids=["proof", "weak", "none"])
@pytest.mark.parametrize("order", [Order(), Order(delete=True)])
@pytest.mark.parametrize("first", [False, True])
def test_a_message_with_neither_unique_id_nor_size_waits_for_one(
    messages: list[bytes], order: Order, first: bool, server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(messages, uids=[b"uid-1", b"", b"uid-3"])
    lists = b"+OK\r\n1 %d\r\n3 %d\r\n.\r\n" % (len(messages[0]), len(messages[2]))
    for lacks in (first, not first, False):
        lacks = lacks and bool(mailbox.messages)
        mailbox.replies = {b"LIST\r\n": lists} if lacks else {}
        outcome = account.fetch(server(mailbox), order)
        assert outcome.status == (Status.BAD_DATA if lacks else Status.OK)
    assert account.delivered() == on_disk(messages)


def test_a_size_that_list_lacks_for_once_is_not_forgotten(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(MANY[:2])
    account.fetch(server(mailbox))
    mailbox.replies = {b"LIST\r\n": b"+OK\r\n.\r\n"}
    account.fetch(server(mailbox))
    assert account.recorded() == {b"uid-1": len(MANY[0]), b"uid-2": len(MANY[1])}


def test_a_message_that_uidl_always_lacks_is_fetched_in_the_end(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(ALIKE)
    account.fetch(server(mailbox))
    mailbox.maildrop[1] = Mailbox([ALIKE[1].replace(b"hello", b"howdy")], uids=[b""]).maildrop[0]
    mailbox.replies = {b"UIDL\r\n": b"+OK\r\n1 uid-1\r\n3 uid-3\r\n.\r\n"}
    assert [account.fetch(server(mailbox)).messages for _ in range(4)] == [0, 0, 1, 0]


@pytest.mark.parametrize("other", [b"Subject: 1\r\n\r\nhallo\r\n", b"Subject: 1\r\n\r\nhello!\r\n", ALIKE[2]])
def test_another_message_under_its_unique_id_is_new_if_list_lacks_the_size(
    other: bytes, server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(ALIKE)
    account.fetch(server(mailbox))
    mailbox.maildrop[1] = Mailbox([other], uids=[b"uid-2"]).maildrop[0]
    mailbox.replies[b"LIST\r\n"] = b"+OK\r\n1 %d\r\n3 %d\r\n.\r\n" % (len(ALIKE[0]), len(ALIKE[2]))
    fetched = account.fetch(server(mailbox)).messages
    assert fetched == (1 if len(other) != len(ALIKE[1]) or b"1" not in other else 0)


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
    assert b"uid-3" not in account.recorded(), "until it is delivered it is not recorded"


def test_another_size_without_an_identity_is_a_new_message(server: StartServer, account: Account) -> None:
    record(account, [NO_HEADERS], [b"uid"])
    assert new_after(server, account, [NO_HEADERS + b"more\r\n"], [b"uid"]) == [1]


# These differ only in Subject and To: many messages do.
WEAK = b"To: root\r\nSubject: backup done\r\n\r\nabc\r\n"


def test_weak_headers_do_not_make_a_message_of_another_size_the_same(
    server: StartServer, account: Account
) -> None:
    record(account, [WEAK], [b"uid"])
    assert new_after(server, account, [WEAK + b"more\r\n"], [b"uid"]) == [1]


def test_weak_headers_distinguish_messages_of_the_same_size_and_uid(
    server: StartServer, account: Account
) -> None:
    other = WEAK.replace(b"done", b"lost")
    record(account, [WEAK, WEAK], [b"uid", b"uid"])
    assert new_after(server, account, [WEAK, other], [b"uid", b"uid"]) == [2]
    with account.store() as store:
        store.happened(Event.DELETING, [Key(b"uid", 0)], int(NOW))
    assert new_after(server, account, [other], [b"uid"]) == [1]


# Without Message-ID: of a device without a clock, and of a script that sends twice in a second.
READINGS = [b"From: sensor\r\nSubject: reading %d\r\n\r\nabc\r\n" % number for number in range(2)]
JOBS = [
    b"From: cron\r\nDate: Thu, 1 Jan 2026 00:00:00 +0000\r\n\r\nabc%d\r\n" % number for number in range(2)
]
STAMPED = [b"Received: by mx id %d\r\n%b" % (number, job) for number, job in enumerate(JOBS)]
without_message_id = pytest.mark.parametrize("two", [READINGS, STAMPED], ids=["sender", "sender and date"])


@without_message_id
def test_sender_and_date_do_not_make_two_messages_one(
    server: StartServer, account: Account, two: list[bytes]
) -> None:
    record(account, two[:1], [b"uid"])
    with account.store() as store:
        store.happened(Event.DELETING, [Key(b"uid", 0)], int(NOW))
    assert new_after(server, account, two[1:], [b"uid"]) == [1]


@pytest.mark.parametrize("two", [READINGS, JOBS, STAMPED], ids=["sender", "sender and date", "stamped"])
def test_sender_and_date_recognise_nothing_under_another_uid(
    server: StartServer, account: Account, two: list[bytes]
) -> None:
    record(account, two[:1], [b"gone"])
    assert new_after(server, account, two[1:], [b"uid"]) == [1]


def test_a_message_without_message_id_is_recognised_by_what_a_server_has_added(
    server: StartServer, account: Account
) -> None:
    record(account, STAMPED, [b"one", b"two"])
    assert new_after(server, account, STAMPED, [b"three", b"four"]) == []


@without_message_id
def test_what_an_older_version_has_recorded_by_sender_and_date_is_the_same(
    server: StartServer, account: Account, two: list[bytes]
) -> None:
    entry = Entry(Key(b"uid", 0), len(two[0]), former_identity(two[0]))
    with account.store() as store:
        store.done([entry], "maildir:/somewhere", int(NOW))
        store.happened(Event.DELETING, [entry.key], int(NOW))
    assert new_after(server, account, two[:1], [b"uid"]) == []


def test_a_message_with_message_id_is_not_one_that_had_none(server: StartServer, account: Account) -> None:
    named = b"Message-ID: <1@x>\r\n\r\n"
    weak = b"Subject: %b\r\n\r\n" % (b"x" * (len(named) - len(b"Subject: \r\n\r\n")))
    record(account, [weak], [b"uid"])
    with account.store() as store:
        store.happened(Event.DELETING, [Key(b"uid", 0)], int(NOW))
    assert new_after(server, account, [named], [b"uid"]) == [1]


def test_weak_headers_recognise_nothing_under_another_uid(server: StartServer, account: Account) -> None:
    record(account, [WEAK] * 6, uids(6))
    assert new_after(server, account, [WEAK], [b"new"]) == [1]


def refusing(*numbers: int) -> dict[bytes, bytes]:
    """Return the replies of a server that shows nothing of these messages."""
    commands = [line for n in numbers for line in (b"TOP %d 0\r\n" % n, b"RETR %d\r\n" % n)]
    return dict.fromkeys(commands, REFUSED)


def test_another_size_that_cannot_be_looked_at_decides_nothing(server: StartServer, account: Account) -> None:
    record(account, MANY, uids(8))
    grown = [*MANY[:2], MANY[2] + b"more\r\n", *MANY[3:]]
    session = Session(server, account, Mailbox(grown, replies=refusing(3)))
    assert (session.new, session.undecided) == ([], [3])
    assert Session(server, account, Mailbox(grown)).new == [], "the next look tells"


# -- messages that are not listed ------------------------------------------------------------------

LONG = KEPT + 1  # seconds


def test_what_one_listing_lacks_is_not_forgotten(server: StartServer, account: Account) -> None:
    record(account, MANY, uids(8))
    assert new_after(server, account, MANY[4:], uids(8)[4:]) == []
    session = Session(server, account, Mailbox(MANY))
    assert (session.new, session.tops) == ([], [1, 2, 3, 4]), "a look decides"
    assert Session(server, account, Mailbox(MANY)).tops == [], "the doubt is over"


@pytest.mark.parametrize(
    ("listings", "seconds", "is_known"),
    [
        (MOST_MISSES + 1, LONG, False),
        (MOST_MISSES, LONG, True),
        (MOST_MISSES + 1, KEPT - 1, True),
        (20, 0, True),
        (20, -LONG, True),  # the clock was set back
    ],
)
def test_what_listings_lack_is_forgotten_after_days_and_several_of_them(
    server: StartServer, account: Account, listings: int, seconds: float, is_known: bool
) -> None:
    record(account, MANY, uids(8))
    for _ in range(listings - 1):
        new_after(server, account, MANY[1:], uids(8)[1:])
    account.now += seconds
    new_after(server, account, MANY[1:], uids(8)[1:])
    with account.store() as store:
        assert (store.entry(Key(b"uid-1", 0)) is not None) is is_known


def test_a_message_that_was_missing_and_is_listed_starts_to_count_anew(
    server: StartServer, account: Account
) -> None:
    record(account, MANY, uids(8))
    for _ in range(MOST_MISSES):
        new_after(server, account, MANY[1:], uids(8)[1:])
    account.now += LONG
    new_after(server, account, MANY, uids(8))
    new_after(server, account, MANY[1:], uids(8)[1:])
    assert new_after(server, account, MANY, uids(8)) == []


def test_counting_what_is_missing_writes_to_the_record_a_few_times_only(
    server: StartServer, account: Account
) -> None:
    record(account, MANY, uids(8))
    for _ in range(MOST_MISSES):
        new_after(server, account, MANY[1:], uids(8)[1:])
    with account.store() as store:
        store.remember(LISTING, "any change would drop this")
    new_after(server, account, MANY[1:], uids(8)[1:])
    with account.store() as store:
        assert store.fact(LISTING) is not None


def test_a_missing_message_that_comes_back_and_cannot_be_looked_at_stays_in_doubt(
    server: StartServer, account: Account
) -> None:
    record(account, MANY, uids(8))
    new_after(server, account, MANY[1:], uids(8)[1:])
    for _ in range(2):
        session = Session(server, account, Mailbox(MANY, replies=refusing(1)))
        assert (session.new, session.undecided) == ([], [1])
    assert Session(server, account, Mailbox(MANY)).new == []


def test_a_uid_that_is_given_again_to_another_message_is_new(server: StartServer, account: Account) -> None:
    record(account, MANY, uids(8))
    new_after(server, account, MANY[1:], uids(8)[1:])
    other = message(9, b"x")
    assert len(other) == len(MANY[0])
    assert new_after(server, account, [other, *MANY[1:]], uids(8)) == [1]


def test_nothing_is_missing_after_an_incomplete_listing(server: StartServer, account: Account) -> None:
    record(account, MANY, uids(8))
    partly = b"+OK\r\n" + b"".join(b"%d uid-%d\r\n" % (n, n) for n in (1, 2, 4)) + b".\r\n"
    session = Session(server, account, Mailbox(MANY[:4], replies={b"UIDL\r\n": partly}))
    assert session.new == [], "the one without a UID is recognised by its headers"
    assert new_after(server, account, MANY, uids(8)) == []
    assert set(account.recorded()) == set(uids(8))


def test_nothing_is_missing_if_a_stand_in_cannot_be_had(server: StartServer, account: Account) -> None:
    names = [*uids(7), b""]
    with account.store() as store, log_in(server(Mailbox(MANY, uids=names))) as client:
        listing = survey(client, account.told)
        stand_in = listing.message(7).uid
        store.done([Entry(Key(m.uid, 0), m.size, None) for m in listing], "maildir:/x", int(NOW))
    assert Session(server, account, Mailbox(MANY, uids=names, replies=refusing(8))).new == []
    assert stand_in in account.recorded()


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


@pytest.mark.parametrize("event", [Event.DELETING, Event.DELETED])
def test_a_deleted_message_that_is_listed_again_is_looked_at(
    server: StartServer, account: Account, event: Event
) -> None:
    record(account, MANY, uids(8))
    with account.store() as store:
        store.happened(event, [Key(b"uid-2", 0), Key(b"uid-3", 0)], int(NOW))
    other = message(9, b"xx")
    assert len(other) == len(MANY[1])
    session = Session(server, account, Mailbox([MANY[0], other, *MANY[2:]]))
    assert (session.new, session.tops) == ([2], [2, 3])


def test_a_deleted_message_does_not_prove_a_renumbering(server: StartServer, account: Account) -> None:
    record(account, MANY[:6], uids(6))
    with account.store() as store:
        store.happened(Event.DELETED, [Key(uid, 0) for uid in uids(6)], int(NOW))
    session = Session(server, account, Mailbox(MANY[6:], uids=[b"x", b"y"]))
    assert (session.new, session.tops) == ([1, 2], [])


# -- before something is deleted -------------------------------------------------------------------


class Confirmation(Session):
    """One session in which messages are looked at before they are deleted."""

    def __init__(self, server: StartServer, account: Account, mailbox: Mailbox) -> None:
        scripted = server(mailbox)
        with account.store() as store, log_in(scripted) as client:
            listing = survey(client, account.told)
            recall = Recall(client, store, account.told, account.now)
            recall.new(listing, store.known())
            same, others = recall.confirm(listing, list(listing))
            self.same = [message.number for message in same]
            self.others = [index + 1 for index in others]
            self.undecided = [index + 1 for index in recall.undecided]
        scripted.stop()
        self.tops = [int(line.split()[1]) for line in scripted.commands if line.startswith(b"TOP")]


def test_before_a_deletion_each_message_is_looked_at_once(server: StartServer, account: Account) -> None:
    record(account, MANY, uids(8))
    with account.store() as store:
        store.happened(Event.DELETING, [Key(b"uid-2", 0)], int(NOW))
    other = message(9, b"x")
    looks = Confirmation(server, account, Mailbox([other, *MANY[1:]], replies=refusing(5)))
    assert (looks.same, looks.others, looks.undecided) == ([2, 3, 4, 6, 7, 8], [1], [5])
    assert looks.tops == [2, 1, 3, 4, 5, 6, 7, 8]
    with account.store() as store:
        assert store.entry(Key(b"uid-1", 0)) is None, "it is new even if this run does not fetch it"
        assert store.entry(Key(b"uid-5", 0)) is not None


def test_without_top_uid_and_size_alone_decide(server: StartServer, account: Account) -> None:
    record(account, MANY, uids(8))
    scripted = Mailbox([message(9, b"x"), *MANY[1:]], capabilities=(b"UIDL", b"SASL PLAIN"))
    looks = Confirmation(server, account, scripted)
    assert (looks.same, looks.others, looks.tops) == ([1, 2, 3, 4, 5, 6, 7, 8], [], [])


# -- messages that came far shorter than listed ----------------------------------------------------


def short(account: Account, octets: int, listed: int) -> None:
    with account.store() as store:
        store.done([Entry(Key(b"uid-1", 0), listed, identity(MANY[0]), octets, State.SHORT)], "maildir:/x", 1)


@pytest.mark.parametrize(("octets", "new"), [(len(MANY[0]), []), (len(MANY[0]) - 7, [1])])
def test_a_short_message_is_retrieved_once_more(
    server: StartServer, account: Account, octets: int, new: list[int]
) -> None:
    short(account, octets, 5000)
    mailbox = Mailbox(MANY[:1], sizes=[5000])
    session = Session(server, account, mailbox)
    assert (session.new, session.tops) == (new, [])
    assert (b"uid-1" in account.recorded()) is not bool(new), "the second time settles it"


def test_a_look_that_shows_less_than_was_received_decides_nothing(
    server: StartServer, account: Account
) -> None:
    """The headers alone have come before, or all of it: the server may not have the rest now."""
    short(account, len(MANY[0]), 5000)
    replies = {b"RETR 1\r\n": b"+OK\r\n" + MANY[0].partition(b"\r\n\r\n")[0] + b"\r\n\r\n.\r\n"}
    session = Session(server, account, Mailbox(MANY[:1], sizes=[5000], replies=replies))
    assert (session.new, session.undecided) == ([], [1])
    assert Session(server, account, Mailbox(MANY[:1], sizes=[5000])).new == []


def test_headers_alone_do_not_settle_a_short_message_that_was_missing(
    server: StartServer, account: Account
) -> None:
    short(account, len(MANY[0]) - 7, 5000)
    with account.store() as store:
        store.happened(Event.UNLISTED, [Key(b"uid-1", 0)], int(NOW))
    session = Session(server, account, Mailbox(MANY[:1], sizes=[5000]))
    assert (session.new, session.tops) == ([1], [])


def test_headers_alone_do_not_settle_a_short_message_under_another_uid(
    server: StartServer, account: Account
) -> None:
    short(account, len(MANY[0]) - 7, 5000)
    session = Session(server, account, Mailbox(MANY[:1], uids=[b"other"], sizes=[5000]))
    assert session.new == [1]


# -- looks that show nothing -----------------------------------------------------------------------


BLANK = b"+OK\r\n\r\n\r\n.\r\n"


def blank(number: int) -> dict[bytes, bytes]:
    return dict.fromkeys((b"TOP %d 0\r\n" % number, b"RETR %d\r\n" % number), BLANK)


@pytest.mark.parametrize("size", [0, 5000])
def test_another_size_decides_nothing_if_the_look_is_blank(
    server: StartServer, account: Account, size: int
) -> None:
    record(account, MANY[:1], uids(1))
    session = Session(server, account, Mailbox(MANY[:1], sizes=[size], replies=blank(1)))
    assert (session.new, session.undecided) == ([], [1])
    assert b"uid-1" in account.recorded()


def test_a_message_that_was_missing_stays_in_doubt_if_the_look_is_blank(
    server: StartServer, account: Account
) -> None:
    record(account, MANY, uids(8))
    with account.store() as store:
        store.happened(Event.UNLISTED, [Key(b"uid-2", 0)], int(NOW))
    session = Session(server, account, Mailbox(MANY, replies=blank(2)))
    assert (session.new, session.undecided) == ([], [2])
    with account.store() as store:
        assert store.known().unsettled[Key(b"uid-2", 0)].state is State.DOUBTED


def test_a_message_is_not_deleted_after_a_blank_look(server: StartServer, account: Account) -> None:
    record(account, MANY, uids(8))
    looks = Confirmation(server, account, Mailbox(MANY, replies=blank(5)))
    assert (looks.same, looks.others, looks.undecided) == ([1, 2, 3, 4, 6, 7, 8], [], [5])


def test_a_message_that_is_really_blank_is_another_one(server: StartServer, account: Account) -> None:
    record(account, MANY[:1], uids(1))
    session = Session(server, account, Mailbox([b"\r\n\r\n"], uids=[b"uid-1"]))
    assert (session.new, session.undecided) == ([1], [])


# -- lists that lack a message in turn -------------------------------------------------------------


@pytest.mark.parametrize("is_first", [b"LIST", b"UIDL"])
def test_a_message_that_one_list_lacks_and_then_the_other_is_not_new(
    server: StartServer, account: Account, is_first: bytes
) -> None:
    lists = {
        b"LIST": b"".join(b"%d %d\r\n" % (n + 1, len(MANY[n])) for n in range(7)),
        b"UIDL": b"".join(b"%d uid-%d\r\n" % (n + 1, n + 1) for n in range(7)),
    }
    for verb in sorted(lists, key=lambda verb: verb != is_first):
        mailbox = Mailbox(MANY, replies={verb + b"\r\n": b"+OK\r\n" + lists[verb] + b".\r\n"})
        told = account.fetch(server(mailbox))
        assert told.messages == (8 if verb == is_first else 0)


def test_a_deleted_message_is_recognised_by_its_headers_if_uidl_lacks_it(
    server: StartServer, account: Account
) -> None:
    account.fetch(server(Mailbox(MANY[:2])), Order(delete=True))
    later = Mailbox([*MANY[:2], message(9, b"x")])
    later.replies = {b"UIDL\r\n": b"+OK\r\n1 uid-1\r\n.\r\n"}
    assert Session(server, account, later).new == [3], "the server took the deletions back"


def test_a_deleted_message_that_had_a_stand_in_is_recognised_under_its_uid(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(MANY[:2], uids=[b"", b"uid-2"])
    account.fetch(server(mailbox), Order(delete=True))
    later = Mailbox([*MANY[:2], message(1, b"y")])
    assert Session(server, account, later).new == [3], "the server took the deletions back"


@pytest.mark.parametrize("replies", [{}, {b"TOP 1 0\r\n": REFUSED}])
def test_a_deleted_message_that_had_a_stand_in_is_recognised_by_all_of_it_if_list_lacks_it(
    server: StartServer, account: Account, replies: dict[bytes, bytes]
) -> None:
    account.fetch(server(Mailbox(MANY[:2], replies={b"UIDL\r\n": b"+OK\r\n.\r\n"})), Order(delete=True))
    other = MANY[1] + b"one more line\r\n"
    later = Mailbox([MANY[0], other], uids=[b"uid-1", b"uid-2"])
    later.replies = {b"LIST\r\n": b"+OK\r\n.\r\n", **replies}
    assert Session(server, account, later).new == [2], "the server took one of the deletions back"


def test_a_deleted_message_is_not_new_if_the_look_at_all_of_it_is_refused(
    server: StartServer, account: Account
) -> None:
    account.fetch(server(Mailbox(MANY[:2], replies={b"UIDL\r\n": b"+OK\r\n.\r\n"})), Order(delete=True))
    later = Mailbox(MANY[:2], uids=[b"uid-1", b"uid-2"])
    later.replies = {b"LIST\r\n": b"+OK\r\n.\r\n", b"RETR 1\r\n": REFUSED}
    session = Session(server, account, later)
    assert (session.new, session.undecided) == ([], [1])


def test_a_message_that_list_lacked_is_recognised_after_its_deletion_if_uidl_lacks_it(
    server: StartServer, account: Account
) -> None:
    account.fetch(server(Mailbox(MANY[:2], replies={b"LIST\r\n": b"+OK\r\n.\r\n"})), Order(delete=True))
    later = Mailbox([*MANY[:2], message(9, b"x")])
    later.replies = {b"UIDL\r\n": b"+OK\r\n1 uid-1\r\n.\r\n"}
    assert Session(server, account, later).new == [3], "the server took the deletions back"


@pytest.mark.parametrize("first", [None, b"LIST", b"UIDL"])
@pytest.mark.parametrize("second", [None, b"LIST", b"UIDL"])
@pytest.mark.parametrize("count", [2, 8])
def test_a_deletion_that_is_taken_back_is_recognised_whatever_the_lists_lack(
    first: bytes | None, second: bytes | None, count: int, server: StartServer, account: Account
) -> None:
    def lists_of(messages: list[bytes], lacking: bytes | None) -> dict[bytes, bytes]:
        """Return a list without all messages but the first, if one is lacking."""
        lines = {b"LIST": b"1 %d" % len(messages[0]), b"UIDL": b"1 uid-1"}
        return {lacking + b"\r\n": b"+OK\r\n" + lines[lacking] + b"\r\n.\r\n"} if lacking else {}

    messages = MANY[:count]
    mailbox = Mailbox(messages, replies=lists_of(messages, first))
    account.fetch(server(mailbox))
    with account.store() as store:
        store.happened(Event.DELETED, list(store.known().fetched()), int(NOW))
    later = [*messages, message(9, b"x")]
    session = Session(server, account, Mailbox(later, replies=lists_of(later, second)))
    assert session.new == [count + 1], "the server took the deletions back"


# -- unique-ids that are shared --------------------------------------------------------------------


def test_identical_copies_are_each_recorded(server: StartServer, account: Account) -> None:
    copies = [MANY[0]] * 3
    record(account, copies[:2], [b"uid"] * 2)
    assert new_after(server, account, copies, [b"uid"] * 3) == [3]
    assert new_after(server, account, copies[:1], [b"uid"]) == []
    assert new_after(server, account, copies[:2], [b"uid"] * 2) == [], "the second one is back"


def test_other_messages_that_share_a_uid_are_distinguished_by_their_headers(
    server: StartServer, account: Account
) -> None:
    first, second, third = message(1), message(2, b"x"), message(3, b"x")
    assert len(first) == len(second) == len(third)
    record(account, [first, second], [b"uid"] * 2)
    # Another client has removed the first one; the second has its place now, and the third is new.
    assert new_after(server, account, [second, third], [b"uid"] * 2) == [2]


def test_messages_that_share_a_uid_and_move_up_are_recognised(server: StartServer, account: Account) -> None:
    copies = [message(1), message(2, b"x"), message(3, b"x"), message(4, b"x")]
    record(account, copies, [b"uid"] * 4)
    assert new_after(server, account, copies[1:], [b"uid"] * 3) == []
    assert new_after(server, account, copies[2:], [b"uid"] * 2) == []
    assert new_after(server, account, [*copies[2:], copies[0]], [b"uid"] * 3) == []


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


def test_after_a_renumbering_sizes_may_differ_if_the_headers_are_unique(
    server: StartServer, account: Account
) -> None:
    twins = [MANY[0], MANY[0] + b"1\r\n"]
    record(account, [*MANY, twins[1]], uids(9))
    moved = [b"X-Moved: yes\r\n" + octets for octets in (*MANY, twins[1])]
    session = Session(server, account, Mailbox(moved, uids=uids(9, b"new-%d")))
    assert session.new == [1, 9], "two have the same headers, and nothing tells which is which"
    assert account.recorded()[b"new-2"] == len(moved[1])


def test_a_few_messages_under_new_uids_are_recognised_by_size_and_headers(
    server: StartServer, account: Account
) -> None:
    record(account, MANY[:3], uids(3))
    session = Session(server, account, Mailbox(MANY[:4], uids=[b"uid-1", b"x", b"y", b"z"]))
    assert (session.new, session.tops) == ([4], [2, 3])
    assert account.told.warnings == []


def test_after_a_renumbering_a_look_that_fails_decides_nothing(server: StartServer, account: Account) -> None:
    record(account, [*MANY[:7], NO_HEADERS], uids(8))
    again = [MANY[0], MANY[1], NO_HEADERS]
    session = Session(server, account, Mailbox(again, uids=uids(3, b"new-%d"), replies=refusing(1)))
    assert (session.new, session.undecided) == ([3], [1])
    assert new_after(server, account, again[:2], uids(2, b"new-%d")) == []


def test_stand_ins_of_a_server_that_learns_uidl_are_recognised(server: StartServer, account: Account) -> None:
    bare = [b"Subject: job\r\n\r\noutput %d\r\n" % number for number in range(3)]
    without = Mailbox(bare, capabilities=(b"TOP", b"SASL PLAIN"), replies={b"UIDL\r\n": REFUSED})
    with account.store() as store, log_in(server(without)) as client:
        listing = survey(client, account.told)
        entries = [Entry(m.key, m.size, None) for m in listing]
        store.done(entries, "maildir:/x", int(NOW))
    assert new_after(server, account, bare, uids(3)) == []
    assert list(account.recorded()) == uids(3)


def test_after_a_renumbering_only_messages_of_a_recorded_size_are_looked_at(
    server: StartServer, account: Account
) -> None:
    record(account, MANY, uids(8))
    session = Session(server, account, Mailbox([message(99), MANY[0]], uids=[b"uid-2", b"new"]))
    assert (session.new, session.tops) == ([1], [2, 1])


def test_if_no_message_is_recognised_nothing_is_reported(server: StartServer, account: Account) -> None:
    record(account, MANY[:6], uids(6))
    session = Session(server, account, Mailbox(MANY[6:], uids=uids(8)[6:]))
    assert session.new == [1, 2]
    assert account.told.warnings == []


def test_a_few_messages_of_another_size_are_recognised_if_all_are_found(
    server: StartServer, account: Account
) -> None:
    record(account, MANY[:3], uids(3))
    moved = [b"X-Moved: yes\r\n" + octets for octets in MANY]
    assert new_after(server, account, moved[1:4], uids(3, b"new-%d")) == [1, 2, 3]
    assert new_after(server, account, moved[:4], uids(4, b"new-%d")) == [4]
    assert account.told.warnings == []
