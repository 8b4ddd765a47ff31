"""Runs of `get` against a server on loopback: what is fetched, reported, recorded and deleted."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from pop3fetch.delivery.destination import Destination, Draft, Journal, Place
from pop3fetch.delivery.maildir import Maildir
from pop3fetch.delivery.mbox import Mbox
from pop3fetch.delivery.opening import open_destination
from pop3fetch.delivery.opening import parse as parse_destination
from pop3fetch.delivery.program import Program
from pop3fetch.errors import (
    ConnectionLost,
    DeliveryError,
    EmptyMessage,
    MessageNotFound,
    ProtocolViolation,
    RecordLocked,
    ServerErrorResponse,
    TimedOut,
)
from pop3fetch.fetch.plan import Order
from pop3fetch.fetch.run import MOST_GIVEN_UP, NO_PIPELINING
from pop3fetch.message_words import parse
from pop3fetch.messages import Key
from pop3fetch.record.states import DAY
from pop3fetch.record.store import MARKED, Entry, Intent, Store
from pop3fetch.status import Status
from tests.support.delivering import delivery_context, messages_of_mboxrd, no_file_longer_than
from tests.support.fetching import NOW, Account, message, numbered, on_disk
from tests.support.mail_server import CAPABILITIES, Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer, Talk
from tests.support.sessions import SOON

THREE = numbered(3)
REFUSED = b"-ERR no\r\n"
DELETE = Order(delete=True)
NO_UIDL = {b"UIDL\r\n": REFUSED}
ONE_AT_A_TIME = tuple(name for name in CAPABILITIES if name != b"PIPELINING")
WITHOUT_UIDL = tuple(name for name in CAPABILITIES if name != b"UIDL")
NO_TOP = tuple(name for name in WITHOUT_UIDL if name != b"TOP")


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


def said(server: ScriptedServer, *verbs: bytes) -> list[bytes]:
    """Return the commands with one of ``verbs`` that all sessions so far have had, without their ends."""
    return [line.rstrip() for line in server.commands if line.split()[0] in verbs]


def last_words(server: ScriptedServer) -> list[bytes]:
    """Return the last command of each session, without its end."""
    server.stop()
    return [talk.commands[-1].rstrip() for talk in server.talks]


# -- fetching --------------------------------------------------------------------------------------


def test_every_new_message_is_delivered_and_kept_on_the_server(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    outcome = account.fetch(server(mailbox))
    assert (outcome.status, outcome.messages, outcome.deleted) == (0, 3, 0)
    assert outcome.octets == sum(map(len, on_disk(THREE)))
    assert account.delivered() == on_disk(THREE)
    assert mailbox.messages == THREE
    assert account.litter() == []
    assert account.recorded() == {b"uid-%d" % n: len(octets) for n, octets in enumerate(THREE, 1)}


def test_what_was_fetched_is_not_fetched_again(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    mailbox.add(message(4), b"uid-4")
    again = server(mailbox)
    assert account.fetch(again).messages == 1
    assert account.delivered() == on_disk([*THREE, message(4)])
    assert said(again, b"RETR") == [b"RETR 4"]


def test_the_listener_gets_all_octets_and_files(server: StartServer, account: Account) -> None:
    account.fetch(server(Mailbox(THREE)))
    told = account.told
    assert told.planned_numbers == [1, 2, 3]
    assert told.octets == sum(map(len, THREE))
    assert sorted(told.delivered_paths) == [1, 2, 3]
    assert [Path(path or "").read_bytes() for path in told.delivered_paths.values()] == [
        octets.replace(b"\r\n", b"\n") for octets in THREE
    ]
    assert (told.warnings, told.errors) == ([], [])


def test_octets_are_kept_but_for_the_line_ends(server: StartServer, account: Account) -> None:
    odd = b"\xff: \0\r\n\r\nbare \r and bare \n, .\n.\n..\r\n.\r\n" + b"long" * 50_000 + b"\r\n"
    account.fetch(server(Mailbox([odd])))
    assert account.delivered() == [odd.replace(b"\r\n", b"\n")]


@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_thousands_of_messages_are_delivered(
    kind: str, server: StartServer, account: Account, tmp_path: Path
) -> None:
    def mbox(store: Store) -> Destination:
        return Mbox(tmp_path / "mbox", store.tag, account.place.folder)

    messages = numbered(3000)
    outcome = account.fetch(server(Mailbox(messages)), destination=mbox if kind == "mbox" else None)
    assert (outcome.messages, outcome.failures) == (3000, 0)
    in_mbox = sorted(messages_of_mboxrd((tmp_path / "mbox").read_bytes())) if kind == "mbox" else None
    assert (in_mbox or account.delivered()) == on_disk(messages)
    assert account.litter() == []


def test_crlf_is_kept_on_request(server: StartServer, account: Account) -> None:
    account.fetch(server(Mailbox(THREE)), Order(crlf=True))
    assert account.delivered() == sorted(THREE)


def test_a_server_of_bare_line_feeds_sends_no_line_ends_to_be_changed(
    server: StartServer, account: Account
) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK\n")
        replies = {
            b"CAPA": b"-ERR\n",
            b"LIST": b"+OK\n1 10\n.\n",
            b"UIDL": b"+OK\n1 one\n.\n",
            b"RETR": b"+OK\nSubject: x\n\na\r\n..\nb\n.\n",
        }
        while line := talk.line():
            talk.say(replies.get(line.split()[0], b"+OK\n"))

    account.fetch(server(script))
    assert account.delivered() == [b"Subject: x\n\na\r\n.\nb\n"]


def test_identical_copies_that_share_a_uid_are_each_delivered_once(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox([THREE[0]] * 3, uids=[b"same"] * 3)
    for _ in range(3):
        account.fetch(server(mailbox))
        assert account.delivered() == on_disk([THREE[0]] * 3)
    account.fetch(server(mailbox), DELETE)
    assert mailbox.messages == []


@pytest.mark.parametrize("good_bye", [b"+OK bye\r\n", None])
def test_of_identical_copies_the_one_that_is_left_is_not_taken_for_the_deleted_one(
    server: StartServer, account: Account, good_bye: bytes | None
) -> None:
    mailbox = Mailbox([THREE[0]] * 3, uids=[b"shared"] * 3)
    account.fetch(server(mailbox), Order(limit=1, delete=True))
    if good_bye:  # confirmed, and not carried out
        mailbox.add(THREE[0], b"shared")
    account.fetch(server(mailbox), Order(limit=1, delete=True))
    account.fetch(server(mailbox), DELETE)
    assert (len(account.delivered()), mailbox.messages) == (3, [])


@pytest.mark.parametrize("capabilities", [WITHOUT_UIDL, NO_TOP])
def test_without_uidl_each_message_comes_once_as_well(
    server: StartServer, account: Account, capabilities: Sequence[bytes]
) -> None:
    mailbox = Mailbox(THREE, capabilities=capabilities, replies=NO_UIDL)
    account.fetch(server(mailbox))
    account.fetch(server(mailbox))
    assert account.delivered() == on_disk(THREE)
    account.fetch(server(mailbox), DELETE)
    assert mailbox.messages == []


def test_a_message_with_an_empty_uid_is_fetched_once(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE, uids=[b"one", b"", b"three"])
    account.fetch(server(mailbox))
    account.fetch(server(mailbox))
    assert account.delivered() == on_disk(THREE)


def test_a_second_run_ends_without_touching_the_server(server: StartServer, account: Account) -> None:
    scripted = server(Mailbox(THREE))
    with account.store(), pytest.raises(RecordLocked):
        account.fetch(scripted)
    scripted.stop()
    assert scripted.talks == []


# -- choosing --------------------------------------------------------------------------------------


def test_chosen_messages_are_fetched_new_or_not_in_the_order_given(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    again = server(mailbox)
    account.fetch(again, Order(selectors=parse(["uid:uid-3", "1"])))
    assert said(again, b"RETR") == [b"RETR 3", b"RETR 1"]
    assert account.delivered() == on_disk([*THREE, THREE[0], THREE[2]])


def test_a_message_that_is_not_there_is_an_error_before_anything_is_fetched(
    server: StartServer, account: Account
) -> None:
    scripted = server(Mailbox(THREE))
    with pytest.raises(MessageNotFound) as caught:
        account.fetch(scripted, Order(selectors=parse(["1", "4"]), delete=True))
    assert caught.value.exit_status is Status.NO_MESSAGE
    assert said(scripted, b"RETR", b"DELE", b"QUIT") == []
    assert account.delivered() == []


def test_all_fetches_all_again(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    assert account.fetch(server(mailbox), Order(everything=True)).messages == 3
    assert account.delivered() == on_disk([*THREE, *THREE])


def test_a_limit_takes_the_first_new_ones(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(numbered(5))
    for done in (2, 4, 5, 5):
        account.fetch(server(mailbox), Order(limit=2))
        assert account.delivered() == on_disk(numbered(done))


def test_what_is_too_large_stays_new(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    outcome = account.fetch(server(mailbox), Order(max_size=len(THREE[1]), delete=True))
    assert (outcome.status, outcome.oversize) == (0, 1)
    assert account.delivered() == on_disk(THREE[:2])
    assert mailbox.messages == THREE[2:]
    account.fetch(server(mailbox))
    assert account.delivered() == on_disk(THREE)


def test_marking_records_and_fetches_nothing(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    scripted = server(mailbox)
    assert account.fetch(scripted, Order(mark=True)).messages == 3
    assert said(scripted, b"RETR", b"DELE") == []
    assert not account.maildir.exists()
    mailbox.add(message(4), b"uid-4")
    account.fetch(server(mailbox))
    assert account.delivered() == [on_disk([message(4)])[0]]


def test_what_was_marked_and_never_delivered_is_never_deleted(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox), Order(mark=True, selectors=parse(["1-2"])))
    account.now += 100 * DAY
    for order in (DELETE, Order(delete_after=1), Order(delete_after=0)):
        account.fetch(server(mailbox), order)
    assert mailbox.messages == THREE[:2]
    account.fetch(server(mailbox), Order(selectors=parse(["1"]), delete=True))
    assert mailbox.messages == THREE[1:2], "whoever asks for it by name gets it delivered and deleted"
    assert account.delivered() == on_disk([THREE[0], THREE[2]])


def test_marking_passes_over_a_uid_that_is_gone(server: StartServer, account: Account) -> None:
    for given, told in (
        (["uid:gone", "uid:uid-2"], "there is no message uid:gone on the server"),
        (["uid:gone", "uid:went"], "there is no message uid:gone on the server, and 1 more are missing"),
    ):
        outcome = account.fetch(server(Mailbox(THREE)), Order(mark=True, selectors=parse(given)))
        assert (outcome.status, account.told.warnings) == (Status.NO_MESSAGE, [told])
        assert list(account.recorded()) == [b"uid-2"]
    with pytest.raises(MessageNotFound):
        account.fetch(server(Mailbox(THREE)), Order(mark=True, selectors=parse(["9", "uid:uid-1"])))
    assert list(account.recorded()) == [b"uid-2"]


def test_marking_leaves_alone_what_was_delivered(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox), Order(limit=2))
    account.fetch(server(mailbox), Order(mark=True, everything=True))
    account.fetch(server(mailbox), Order(mark=True, selectors=parse(["1"])))
    account.fetch(server(mailbox), DELETE)
    assert mailbox.messages == THREE[2:]


@pytest.mark.parametrize("order", [Order(dry_run=True, delete=True), Order(dry_run=True, delete_after=0)])
def test_a_dry_run_names_and_does_nothing(server: StartServer, account: Account, order: Order) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox), Order(limit=1))
    scripted = server(mailbox)
    account.fetch(scripted, order)
    assert sorted(account.told.intentions) == [
        ("delete", 1), ("delete", 2), ("delete", 3), ("fetch", 2), ("fetch", 3),
    ]  # fmt: skip
    assert said(scripted, b"RETR", b"DELE") == []
    assert account.delivered() == on_disk(THREE[:1])
    assert list(account.recorded()) == [b"uid-1"]


def test_a_dry_run_of_a_marking_names_what_it_would_mark(server: StartServer, account: Account) -> None:
    account.fetch(server(Mailbox(THREE)), Order(dry_run=True, mark=True, limit=2))
    assert account.told.intentions == [("mark", 1), ("mark", 2)]
    assert account.recorded() == {}


# -- deleting --------------------------------------------------------------------------------------


def test_what_is_delivered_is_deleted_and_forgotten(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    scripted = server(mailbox)
    outcome = account.fetch(scripted, DELETE)
    assert outcome.deleted == 3
    assert mailbox.messages == []
    assert account.delivered() == on_disk(THREE)
    assert account.recorded() == {}
    assert said(scripted, b"DELE", b"QUIT") == [b"DELE 1", b"DELE 2", b"DELE 3", b"QUIT"]


def test_what_an_earlier_run_has_delivered_is_deleted_as_well(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox), Order(limit=2))
    scripted = server(mailbox)
    account.fetch(scripted, DELETE)
    assert said(scripted, b"RETR") == [b"RETR 3"]
    assert mailbox.messages == []
    assert account.delivered() == on_disk(THREE)


def test_with_chosen_messages_no_other_is_deleted(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    account.fetch(server(mailbox), Order(selectors=parse(["2"]), delete=True))
    assert mailbox.uids == [b"uid-1", b"uid-3"]


def test_days_are_counted_from_the_delivery(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    after = Order(delete_after=3)
    account.fetch(server(mailbox), Order(limit=2, delete_after=3))
    account.now = NOW + DAY
    account.fetch(server(mailbox), after)
    account.now = NOW + 3 * DAY - 1
    account.fetch(server(mailbox), after)
    assert len(mailbox.messages) == 3
    account.now = NOW + 3 * DAY
    account.fetch(server(mailbox), after)
    assert mailbox.messages == THREE[2:]
    account.now = NOW + 4 * DAY
    account.fetch(server(mailbox), after)
    assert mailbox.messages == []
    assert account.delivered() == on_disk(THREE)


def test_after_no_days_all_is_deleted_at_once(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox), Order(delete_after=0))
    assert mailbox.messages == []


def test_a_uid_that_was_given_again_is_fetched_and_not_deleted_unread(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox))
    other = Mailbox([THREE[0], message(99), THREE[2]])
    account.fetch(
        server(
            other,
        ),
        DELETE,
    )
    assert account.delivered() == on_disk([*THREE, message(99)])
    assert other.messages == []


def test_a_uid_that_was_given_again_and_cannot_be_fetched_is_kept(
    server: StartServer, account: Account
) -> None:
    account.fetch(server(Mailbox(THREE)))
    other = Mailbox([THREE[0], message(99)], replies={b"RETR 2\r\n": REFUSED})
    account.fetch(server(other), DELETE)
    assert other.messages == [message(99)]


def test_a_message_that_grew_is_deleted_and_not_fetched_again(server: StartServer, account: Account) -> None:
    account.fetch(server(Mailbox(THREE)))
    grown = Mailbox([THREE[0], b"X-Status: read\r\n" + THREE[1], THREE[2]])
    account.fetch(server(grown), DELETE)
    assert grown.messages == []
    assert account.delivered() == on_disk(THREE)


def test_a_refused_dele_is_named_and_the_others_are_deleted(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE, replies={b"DELE 2\r\n": REFUSED})
    outcome = account.fetch(server(mailbox), DELETE)
    assert (outcome.status, outcome.deleted) == (Status.REFUSED, 2)
    assert [number for number, _ in account.told.errors] == [2]
    assert mailbox.messages == THREE[1:2]
    mailbox.replies.clear()
    account.fetch(server(mailbox), DELETE)
    assert (mailbox.messages, account.delivered()) == ([], on_disk(THREE))


# -- QUIT ------------------------------------------------------------------------------------------


def test_a_refused_quit_is_an_error_and_the_next_run_settles_it(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE, replies={b"QUIT\r\n": b"-ERR some deleted messages not removed\r\n"})
    with pytest.raises(ServerErrorResponse) as caught:
        account.fetch(server(mailbox), DELETE)
    assert caught.value.exit_status is Status.REFUSED
    assert mailbox.messages == THREE
    mailbox.replies.clear()
    outcome = account.fetch(server(mailbox), DELETE)
    assert (mailbox.messages, account.delivered(), outcome.deleted) == ([], on_disk(THREE), 3)


def losing_quit(messages: Sequence[bytes]) -> Mailbox:
    mailbox = Mailbox(messages)
    mailbox.loses_quit = True
    return mailbox


def test_deletions_whose_answer_was_lost_are_settled_by_the_next_run(
    server: StartServer, account: Account
) -> None:
    mailbox = losing_quit(THREE)
    with pytest.raises(ConnectionLost) as caught:
        account.fetch(server(mailbox), DELETE)
    assert caught.value.exit_status is Status.TRY_LATER
    assert mailbox.messages == []
    account.fetch(server(Mailbox([message(4)], uids=[b"uid-4"])), DELETE)
    assert account.delivered() == on_disk(numbered(4))
    assert account.recorded() == {}


def test_a_uid_given_again_after_a_lost_answer_is_a_new_message(
    server: StartServer, account: Account
) -> None:
    with pytest.raises(ConnectionLost):
        account.fetch(server(losing_quit([message(1)])), DELETE)
    other = message(2, b"x")
    assert len(other) == len(message(1))
    mailbox = Mailbox([other])
    account.fetch(server(mailbox), DELETE)
    assert account.delivered() == on_disk([message(1), other])
    assert mailbox.messages == []


def test_deletions_whose_answer_never_comes_are_settled_by_the_next_run(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE, replies={b"QUIT\r\n": b""}, after={b"QUIT\r\n": Talk.stall})
    with pytest.raises(TimedOut):
        account.fetch(server(mailbox), DELETE, timeout=SOON)
    mailbox.replies.clear()
    mailbox.after.clear()
    account.fetch(server(mailbox), DELETE)
    assert (mailbox.messages, account.delivered()) == ([], on_disk(THREE))


@pytest.mark.parametrize("order", [Order(), Order(limit=0), Order(mark=True), Order(dry_run=True)])
@pytest.mark.parametrize("reply", [b"-ERR some deleted messages not removed\r\n", b"BYE\r\n", b"+O", b""])
def test_without_deletions_the_reply_to_quit_is_not_awaited(
    server: StartServer, account: Account, order: Order, reply: bytes
) -> None:
    mailbox = Mailbox(THREE, replies={b"QUIT\r\n": reply}, after={b"QUIT\r\n": Talk.stall})
    scripted = server(mailbox)
    outcome = account.fetch(scripted, order)
    assert (outcome.status, account.told.errors, account.told.notices) == (Status.OK, [], [])
    assert last_words(scripted) == [b"QUIT"]


def test_a_server_that_hung_up_before_quit_is_a_remark(server: StartServer, account: Account) -> None:
    mailbox = Mailbox([], after={b"UIDL\r\n": Talk.cut})
    outcome = account.fetch(server(mailbox))
    assert (outcome.status, account.told.errors) == (Status.OK, [])
    assert all("connection" in notice for notice in account.told.notices)


def test_without_deletions_a_lost_answer_leaves_everything_delivered(
    server: StartServer, account: Account
) -> None:
    assert account.fetch(server(losing_quit(THREE))).status is Status.OK
    again = server(Mailbox(THREE))
    account.fetch(again)
    assert said(again, b"RETR", b"TOP") == []
    assert account.delivered() == on_disk(THREE)


def refuse_the_second(store: Store) -> Destination:
    """Return a program that takes each message but number 2."""
    # What is delivered is counted in the folder of the program.
    script = f'test $POP3FETCH_NUMBER != 2 && cat > "{store.path.parent}/$POP3FETCH_UID"'
    return program(script)


def program(script: str) -> Program:
    return Program(
        ["sh", "-c", script],
        environment={"PATH": os.environ["PATH"]},
        account="alice",
        report=lambda line: None,
    )


def test_quit_is_not_sent_if_a_retrieved_message_is_not_delivered(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE, pops=True)
    scripted = server(mailbox)
    outcome = account.fetch(scripted, destination=refuse_the_second)
    assert outcome.status is Status.CANNOT_DELIVER
    assert [number for number, _ in account.told.errors] == [2]
    assert last_words(scripted) == [b"RETR 3"]
    assert mailbox.messages == THREE
    assert list(account.recorded()) == [b"uid-1", b"uid-3"]


def test_deletions_are_then_made_in_a_session_of_their_own(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE, pops=True)
    scripted = server(mailbox)
    outcome = account.fetch(scripted, DELETE, destination=refuse_the_second)
    assert (outcome.status, outcome.deleted) == (Status.CANNOT_DELIVER, 2)
    assert last_words(scripted) == [b"RETR 3", b"QUIT"]
    assert said(scripted, b"DELE") == [b"DELE 1", b"DELE 3"]
    assert mailbox.messages == [THREE[1]]
    account.fetch(server(mailbox), DELETE)
    assert (mailbox.messages, account.delivered()) == ([], on_disk([THREE[1]]))


def test_a_session_for_deletions_deletes_only_what_is_still_the_same(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE)
    other = Mailbox([message(7), message(3)], uids=[b"uid-1", b"uid-3"])
    scripted = server([mailbox, other])
    account.fetch(scripted, DELETE, destination=refuse_the_second)
    scripted.stop()
    assert other.messages == [message(7)]


OF_ONE_SIZE = [message(number, b"x") for number in range(1, 5)]


@pytest.mark.parametrize("numbers", [[4, 2, 3], [2, 3, 4], [2, 3]])
@pytest.mark.parametrize("is_earlier", [False, True])
def test_a_session_for_deletions_looks_at_what_it_deletes(
    server: StartServer, account: Account, numbers: list[int], is_earlier: bool
) -> None:
    """Meanwhile another message has the unique-id, as on a server whose unique-ids are the numbers."""
    first = Mailbox(OF_ONE_SIZE[:3])
    if is_earlier:
        account.fetch(server(first), destination=refuse_the_second)
    messages = [OF_ONE_SIZE[number - 1] for number in numbers]
    other = Mailbox(messages)
    outcome = account.fetch(server([first, other]), DELETE, destination=refuse_the_second)
    same = [octets for octets, before in zip(messages, OF_ONE_SIZE, strict=False) if octets == before]
    assert [octets for octets in messages if octets not in other.messages] == same[1:]
    assert outcome.deleted == len(same[1:])


@pytest.mark.parametrize("replies", [{}, {b"UIDL\r\n": b"+OK\r\n1 same\x01\r\n2 same\r\n3 c\r\n.\r\n"}])
def test_a_session_for_deletions_does_not_take_one_copy_for_another(
    replies: dict[bytes, bytes], server: StartServer, account: Account
) -> None:
    copy = message(1)
    first = Mailbox([copy, copy, message(3)], uids=[b"same", b"same", b"c"])
    second = Mailbox([copy, copy, message(3)], uids=[b"same", b"same", b"c"], replies=replies)
    if not replies:
        del second.maildrop[0]  # by another client
    account.fetch(server([first, second]), DELETE, destination=refuse_the_second)
    assert second.messages == [copy] * (2 if replies else 1)


@pytest.mark.parametrize("order", [Order(limit=1), Order(mark=True), Order(dry_run=True)])
def test_headers_that_were_had_by_retr_forbid_quit_as_well(
    server: StartServer, account: Account, order: Order
) -> None:
    mailbox = Mailbox(THREE, capabilities=NO_TOP, replies=NO_UIDL, pops=True)
    account.fetch(server(mailbox), order)
    assert mailbox.messages == THREE
    account.fetch(server(mailbox), DELETE)
    account.fetch(server(mailbox), DELETE)
    assert mailbox.messages == ([] if not order.mark else THREE)


def test_headers_of_recorded_messages_that_were_had_by_retr_do_not_forbid_it(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE, capabilities=NO_TOP, replies=NO_UIDL)
    account.fetch(server(mailbox))
    again = server(mailbox)
    account.fetch(again)
    assert last_words(again) == [b"QUIT"]


def test_a_session_for_deletions_deletes_nothing_that_is_not_delivered(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE, capabilities=NO_TOP, replies=NO_UIDL, pops=True)
    account.fetch(server(mailbox), DELETE, destination=refuse_the_second)
    assert mailbox.messages == THREE
    assert len(account.told.warnings) == 1


def test_a_deletion_that_would_lose_mail_is_not_a_success(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE, capabilities=NO_TOP, replies=NO_UIDL, pops=True)
    outcome = account.fetch(server(mailbox), Order(delete=True, limit=1))
    assert (outcome.status, outcome.deleted) == (Status.REFUSED, 0)
    assert mailbox.messages == THREE


# -- one bad message -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (b"-ERR Message 2 expunged.\r\n", Status.REFUSED),
        (b"-ERR [SYS/TEMP] try later\r\n", Status.TRY_LATER),
        (b"-ERR\r\n", Status.REFUSED),
    ],
)
@pytest.mark.parametrize("capabilities", [CAPABILITIES, ONE_AT_A_TIME])
def test_a_refused_message_is_named_and_the_others_go_on(
    server: StartServer, account: Account, reply: bytes, status: Status, capabilities: Sequence[bytes]
) -> None:
    mailbox = Mailbox(THREE, capabilities=capabilities, replies={b"RETR 2\r\n": reply})
    scripted = server(mailbox)
    outcome = account.fetch(scripted, DELETE)
    assert (outcome.status, outcome.messages) == (status, 2)
    assert [number for number, _ in account.told.errors] == [2]
    assert account.delivered() == on_disk([THREE[0], THREE[2]])
    assert mailbox.messages == [THREE[1]]
    assert last_words(scripted) == [b"QUIT"], "it was not retrieved, so nothing forbids QUIT"
    mailbox.replies.clear()
    account.fetch(server(mailbox))
    assert account.delivered() == on_disk(THREE)


def test_a_message_without_uid_and_headers_is_named_and_the_others_go_on(
    server: StartServer, account: Account
) -> None:
    refused = dict.fromkeys((b"TOP 2 0\r\n", b"RETR 2\r\n"), b"-ERR no\r\n")
    outcome = account.fetch(server(Mailbox(THREE, uids=[b"uid-1", b"", b"uid-3"], replies=refused)))
    assert account.delivered() == on_disk([THREE[0], THREE[2]])
    assert [number for number, _ in account.told.errors] == [2]
    assert outcome.status == Status.REFUSED


def test_of_many_failures_the_first_is_kept_and_the_others_are_counted(
    server: StartServer, account: Account
) -> None:
    refusals = {b"RETR %d\r\n" % number: b"-ERR number %d\r\n" % number for number in (2, 3)}
    outcome = account.fetch(server(Mailbox(THREE, replies=refusals)))
    assert (outcome.messages, outcome.failures) == (1, 2)
    assert str(outcome.error) == "the server refused RETR 2: number 2"


@pytest.mark.parametrize("capabilities", [CAPABILITIES, ONE_AT_A_TIME])
def test_a_message_that_comes_empty_is_named_and_stays(
    server: StartServer, account: Account, capabilities: Sequence[bytes]
) -> None:
    mailbox = Mailbox(THREE, capabilities=capabilities, replies={b"RETR 2\r\n": b"+OK\r\n.\r\n"})
    scripted = server(mailbox)
    outcome = account.fetch(scripted)
    assert outcome.status is Status.BAD_DATA
    assert [(number, type(error)) for number, error in account.told.errors] == [(2, EmptyMessage)]
    assert last_words(scripted) == [b"RETR 3"], "no QUIT"
    assert account.delivered() == on_disk([THREE[0], THREE[2]])
    assert account.litter() == []
    mailbox.replies.clear()
    account.fetch(server(mailbox))
    assert account.delivered() == on_disk(THREE)


# As Dovecot 2.3 sends a message whose first line is a dot: it adds none to that.
DOT_FIRST = b"+OK 24 octets\r\n.\r\nafter a dot\r\n\r\n.\r\n"
NO_STATUS = b"\r\n"  # as Exchange Online answers for single messages


@pytest.mark.parametrize("reply", [DOT_FIRST, NO_STATUS])
@pytest.mark.parametrize("capabilities", [CAPABILITIES, ONE_AT_A_TIME])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_message_that_breaks_the_session_holds_up_no_other(
    server: StartServer, account: Account, reply: bytes, capabilities: Sequence[bytes], number: int
) -> None:
    mailbox = Mailbox(THREE, capabilities=capabilities, replies={b"RETR %d\r\n" % number: reply})
    outcome = account.fetch(server(mailbox), DELETE)
    assert (outcome.messages, outcome.failures, outcome.deleted) == (2, 1, 2)
    assert [named for named, _ in account.told.errors] == [number]
    assert mailbox.messages == [THREE[number - 1]]
    mailbox.replies.clear()
    mailbox.add(message(4), b"uid-4")
    again = server(mailbox)
    account.fetch(again, DELETE)
    assert account.delivered() == on_disk(numbered(4))
    assert again.pipelined == (capabilities is CAPABILITIES), "the pipe was not to blame"


def test_a_server_that_breaks_every_session_is_given_up(server: StartServer, account: Account) -> None:
    many = numbered(MOST_GIVEN_UP + 2)
    replies = {b"RETR %d\r\n" % number: NO_STATUS for number in range(1, len(many) + 1)}
    scripted = server(Mailbox(many, capabilities=ONE_AT_A_TIME, replies=replies))
    with pytest.raises(ProtocolViolation):
        account.fetch(scripted)
    assert len(account.told.errors) == MOST_GIVEN_UP
    assert len(last_words(scripted)) == MOST_GIVEN_UP + 1


def test_a_message_without_an_octet_is_delivered_as_such(server: StartServer, account: Account) -> None:
    mailbox = Mailbox([b"", THREE[1]])
    assert account.fetch(server(mailbox)).status == 0
    assert account.delivered() == [b"", *on_disk([THREE[1]])]


# -- a connection that breaks ----------------------------------------------------------------------


def mixing_up_replies(mailbox: Mailbox) -> list[Mailbox]:
    """Return scripts for two sessions: in the first, a status line comes before the dot that it follows."""
    content = THREE[1].replace(b"\r\n.", b"\r\n..")
    mixed = Mailbox(
        THREE,
        replies={b"RETR 2\r\n": b"+OK\r\n" + content + b"+OK\r\n", b"RETR 3\r\n": b".\r\nno status\r\n"},
    )
    return [mixed, mailbox]


def test_mixed_up_replies_are_asked_for_again_one_at_a_time(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE)
    scripted = server(mixing_up_replies(mailbox))
    outcome = account.fetch(scripted, DELETE)
    scripted.stop()
    assert (outcome.status, outcome.messages) == (0, 3)
    assert account.delivered() == on_disk(THREE), "none twice, and no piece of another in one"
    assert [talk.pipelined for talk in scripted.talks] == [True, False]
    assert said(scripted, b"RETR")[-2:] == [b"RETR 2", b"RETR 3"], "the first one had come whole"
    assert mailbox.messages == []


def test_that_replies_are_mixed_up_is_remembered(server: StartServer, account: Account) -> None:
    account.fetch(server(mixing_up_replies(Mailbox(THREE))))
    with account.store() as store:
        assert store.fact(NO_PIPELINING)
    scripted = server(Mailbox(numbered(6)))
    account.fetch(scripted)
    scripted.stop()
    assert not scripted.pipelined
    assert account.delivered() == on_disk(numbered(6))


@pytest.mark.parametrize("order", [Order(), DELETE, Order(everything=True, delete=True), Order(limit=3)])
def test_a_line_that_breaks_in_the_pipe_is_taken_up_again_one_at_a_time(
    server: StartServer, account: Account, order: Order
) -> None:
    five, wanted = numbered(5), order.limit or 5
    mailbox = Mailbox(five)
    cut = Mailbox(five, replies={b"RETR 2\r\n": b"+OK\r\nSubject"}, after={b"RETR 2\r\n": Talk.cut})
    scripted = server([cut, mailbox])
    assert account.fetch(scripted, order).messages == wanted
    scripted.stop()
    assert account.delivered() == on_disk(five[:wanted])
    assert [talk.pipelined for talk in scripted.talks] == [True, False]
    again = [line for line in scripted.talks[1].commands if line.startswith(b"RETR")]
    assert again == [b"RETR %d\r\n" % number for number in range(2, wanted + 1)]
    assert mailbox.messages == ([] if order.delete else five)


def test_a_line_that_breaks_among_the_deletions_is_taken_up_again(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE)
    cut = Mailbox(THREE, after={b"DELE 1\r\n": Talk.cut})
    account.fetch(server([cut, mailbox]), Order(everything=True, delete=True))
    assert mailbox.messages == []
    assert account.delivered() == on_disk(THREE)


def test_what_came_whole_before_the_line_broke_is_delivered(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE, capabilities=ONE_AT_A_TIME, after={b"RETR 2\r\n": Talk.cut})
    with pytest.raises(ConnectionLost):
        account.fetch(server(mailbox))
    assert account.delivered() == on_disk(THREE[:2])
    assert account.litter() == []
    # So that a server which allows two messages a session is emptied all the same.
    account.fetch(server(mailbox))
    assert account.delivered() == on_disk(THREE)


def test_a_silent_server_costs_what_it_has_not_sent(server: StartServer, account: Account) -> None:
    mailbox = Mailbox(THREE, capabilities=ONE_AT_A_TIME)
    mailbox.replies[b"RETR 3\r\n"] = b"+OK\r\nSubject: half of"
    mailbox.after[b"RETR 3\r\n"] = Talk.stall
    with pytest.raises(TimedOut):
        account.fetch(server(mailbox), DELETE, timeout=SOON)
    assert account.delivered() == on_disk(THREE[:2])
    assert account.litter() == []
    assert mailbox.messages == THREE
    account.fetch(server(Mailbox(THREE)), DELETE)
    assert account.delivered() == on_disk(THREE)


# -- a destination that fails ----------------------------------------------------------------------


def test_a_disk_that_is_full_ends_the_run_and_nothing_is_deleted(
    server: StartServer, account: Account
) -> None:
    messages = [*numbered(3), message(4, b"x" * 300_000), message(5)]
    mailbox = Mailbox(messages)
    with no_file_longer_than(200_000), pytest.raises(DeliveryError) as caught:
        account.fetch(server(mailbox), DELETE)
    assert caught.value.exit_status is Status.CANNOT_DELIVER
    assert mailbox.messages == messages
    assert account.litter() == []
    assert account.delivered() == on_disk(messages[:3])
    account.fetch(server(mailbox), DELETE)
    assert (mailbox.messages, account.delivered()) == ([], on_disk(messages))


class Failing(Maildir):
    """Fails in the middle of each delivery, ``when`` the journal is asked to keep something."""

    def __init__(self, folder: Path, tag: str, when: str) -> None:
        super().__init__(folder, tag)
        self._when = when

    def deliver(self, drafts: Sequence[Draft], journal: Journal) -> list[tuple[Draft, DeliveryError]]:
        return super().deliver(drafts, FailingJournal(journal, self._when))


class FailingJournal:
    """Fails ``before intend``, ``after intend``, ``before done`` or ``after done``."""

    def __init__(self, journal: Journal, when: str) -> None:
        self._journal = journal
        self._when = when

    def intend(self, drafts: Sequence[Draft], places: Sequence[Place]) -> None:
        self._fail("before intend")
        self._journal.intend(drafts, places)
        self._fail("after intend")

    def done(self, drafts: Sequence[Draft]) -> None:
        self._fail("before done")
        self._journal.done(drafts)
        self._fail("after done")

    def undo(self, drafts: Sequence[Draft]) -> None:
        self._journal.undo(drafts)

    def _fail(self, when: str) -> None:
        if when == self._when:
            raise DeliveryError("the disk", "it is full")


@pytest.mark.parametrize("when", ["before intend", "after intend", "before done", "after done"])
def test_a_delivery_that_fails_anywhere_is_settled_before_the_run_ends(
    server: StartServer, account: Account, when: str
) -> None:
    mailbox = Mailbox(THREE)
    with pytest.raises(DeliveryError):
        account.fetch(
            server(mailbox), DELETE, destination=lambda store: Failing(account.maildir, store.tag, when)
        )
    assert mailbox.messages == THREE
    assert account.litter() == []
    safe = [] if when == "before intend" else on_disk(THREE)
    assert account.delivered() == safe
    assert len(account.recorded()) == len(safe)
    account.fetch(server(mailbox), DELETE)
    assert (mailbox.messages, account.delivered()) == ([], on_disk(THREE))


# -- what a crash left -----------------------------------------------------------------------------


def crash_between_intent_and_rename(account: Account, octets: bytes, uid: bytes) -> None:
    """Leave what a run leaves that is killed after its intent is kept."""
    with account.store() as store:
        maildir = Maildir(account.maildir, store.tag)
        maildir.prepare()
        (account.maildir / "tmp" / "draft").write_bytes(octets.replace(b"\r\n", b"\n"))
        store.intend([Intent(Entry(Key(uid, 0), len(octets), None), Place(maildir.name, "draft"))])
        (account.maildir / "tmp" / f"1.M2P3Q4.pop3fetch-{store.tag}.host").write_bytes(b"half a mess")
        maildir.close()


def test_what_a_crash_left_is_settled_before_the_server_is_asked(
    server: StartServer, account: Account
) -> None:
    crash_between_intent_and_rename(account, THREE[0], b"uid-1")
    scripted = server(Mailbox(THREE))
    account.fetch(scripted)
    assert said(scripted, b"RETR") == [b"RETR 2", b"RETR 3"]
    assert account.delivered() == on_disk(THREE)
    assert account.litter() == []


def test_what_a_crash_left_in_another_destination_is_settled_there(
    server: StartServer, account: Account
) -> None:
    crash_between_intent_and_rename(account, THREE[0], b"uid-1")
    mbox = account.maildir.with_name("mbox")
    account.fetch(
        server(Mailbox(THREE)), destination=lambda store: Mbox(mbox, store.tag, account.place.folder)
    )
    assert account.delivered() == on_disk(THREE[:1])
    assert sorted(messages_of_mboxrd(mbox.read_bytes())) == on_disk(THREE[1:])
    assert account.litter() == []


def test_what_cannot_be_settled_ends_the_run_before_the_server_is_asked(
    server: StartServer, account: Account
) -> None:
    crash_between_intent_and_rename(account, THREE[0], b"uid-1")
    away = account.maildir.rename(account.maildir.with_name("not mounted"))
    scripted = server(Mailbox(THREE))
    for order in (Order(), DELETE, Order(mark=True), Order(dry_run=True)):
        with pytest.raises(DeliveryError, match="not mounted"):
            account.fetch(scripted, order)
    assert not account.maildir.exists()
    away.rename(account.maildir)
    account.fetch(scripted)
    assert account.delivered() == on_disk(THREE)


def test_what_a_crash_left_at_a_maildir_that_is_gone_is_fetched_again(
    server: StartServer, account: Account
) -> None:
    crash_between_intent_and_rename(account, THREE[0], b"uid-1")
    account.maildir.rename(account.maildir.with_name("away"))
    old = account.maildir
    account.maildir = old.with_name("new")
    account.fetch(server(Mailbox(THREE)))
    assert account.told.warnings == [
        f"maildir:{old} is gone: messages that a crash left there are fetched again"
    ]
    assert account.delivered() == on_disk(THREE)


# -- a destination that is not there ---------------------------------------------------------------


@pytest.mark.parametrize("leaves", [[], [""], ["", "tmp"]])
@pytest.mark.parametrize("kind", ["maildir", "mbox"])
def test_nothing_is_fetched_or_deleted_if_the_disk_with_the_mail_is_not_mounted(
    server: StartServer, account: Account, tmp_path: Path, kind: str, leaves: list[str]
) -> None:
    point = tmp_path / "nas"

    def destination(store: Store) -> Destination:
        choice = parse_destination(f"{kind}:{point}/mail")
        return open_destination(choice, delivery_context(store.tag, account.place.folder))

    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox), destination=destination)
    point.rename(tmp_path / "disk")
    for leaf in leaves if kind == "maildir" else leaves[:1]:
        (point / "mail" / leaf).mkdir(parents=True) if kind == "maildir" else point.mkdir()
    mailbox.add(message(4), b"uid-4")
    for order in (Order(), DELETE, Order(delete_after=0)):
        scripted = server(mailbox)
        with pytest.raises(DeliveryError, match="not mounted"):
            account.fetch(scripted, order, destination=destination)
        assert scripted.commands == []
    assert not [path for path in point.rglob("*") if path.is_file()]
    account.fetch(server(mailbox), Order(create=True), destination=destination)
    assert len([path for path in point.rglob("*") if path.is_file()]) == 1


def test_a_maildir_of_which_only_a_settled_crash_is_recorded_is_missed_as_well(
    server: StartServer, account: Account
) -> None:
    crash_between_intent_and_rename(account, THREE[0], b"uid-1")
    account.fetch(server(Mailbox(THREE[:1])))
    account.maildir.rename(account.maildir.with_name("away"))
    with pytest.raises(DeliveryError, match="not mounted"):
        account.fetch(server(Mailbox(THREE)))


def test_an_mbox_that_a_reader_has_emptied_and_removed_is_made_again(
    server: StartServer, account: Account, tmp_path: Path
) -> None:
    def destination(store: Store) -> Destination:
        return Mbox(tmp_path / "mail" / "box", store.tag, account.place.folder)

    mailbox = Mailbox(THREE)
    account.fetch(server(mailbox), destination=destination)
    (tmp_path / "mail" / "box").unlink()
    mailbox.add(message(4), b"uid-4")
    assert account.fetch(server(mailbox), DELETE, destination=destination).deleted == 4
    assert messages_of_mboxrd((tmp_path / "mail" / "box").read_bytes()) == on_disk([message(4)])


# -- an interrupt ----------------------------------------------------------------------------------


class Interrupted(Maildir):
    """Interrupts the run's own thread as a delivery begins, and then takes its time."""

    def __init__(self, folder: Path, tag: str) -> None:
        super().__init__(folder, tag)
        self._tidied = threading.Event()

    def deliver(self, drafts: Sequence[Draft], journal: Journal) -> list[tuple[Draft, DeliveryError]]:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        self._tidied.wait(SOON)
        return super().deliver(drafts, journal)

    def remove_leftovers(self) -> None:
        super().remove_leftovers()
        self._tidied.set()

    def prepare(self, known: str | None = None, *, create: bool = False) -> None:
        super().prepare()
        self._tidied.clear()


@pytest.mark.usefixtures("heeding")
def test_a_delivery_that_runs_at_an_interrupt_comes_to_its_end_before_anything_is_tidied_up(
    server: StartServer, account: Account
) -> None:
    mailbox = Mailbox(THREE)
    with pytest.raises(KeyboardInterrupt):
        account.fetch(server(mailbox), destination=lambda store: Interrupted(account.maildir, store.tag))
    assert account.litter() == []
    account.fetch(server(mailbox))
    assert account.delivered() == on_disk(THREE)


def test_marking_has_no_destination(account: Account, server: StartServer) -> None:
    account.fetch(server(Mailbox(THREE)), Order(mark=True))
    with account.store() as store:
        assert store.marked() == {(uid, 0) for uid in store.known().sizes}
        assert ":" not in MARKED
