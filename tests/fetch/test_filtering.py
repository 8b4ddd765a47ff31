"""Filters in a session: which headers are read, and which messages are chosen by them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pop3fetch.errors import HeadersNotOffered
from pop3fetch.fetch.filtering import TOGETHER, Filtering
from pop3fetch.fetch.survey import survey
from pop3fetch.filters import Filters
from tests.support.fetching import NOW, Told, log_in
from tests.support.mail_server import CAPABILITIES, Mailbox
from tests.support.scripted_server import ScriptedServer, StartServer, Talk

BOB = b"From: Bob <bob@example.com>\r\nDate: Sun, 12 Nov 2023 10:00:00 +0000\r\n\r\n"
CAROL = b"From: Carol <carol@example.com>\r\nDate: Mon, 13 Nov 2023 10:00:00 +0000\r\n\r\n"
LARGE = BOB + b"x" * 1000 + b"\r\n"
FOUR = [BOB, CAROL, LARGE, CAROL]
NO_TOP = tuple(name for name in CAPABILITIES if name != b"TOP")
REFUSED = b"-ERR not today\r\n"

FROM_BOB = Filters(sender="bob")


def matching(
    scripted: ScriptedServer, filters: Filters, told: Told | None = None, limit: int | None = None
) -> list[int]:
    """Return the numbers of the messages that match."""
    told = told or Told()
    with log_in(scripted) as client:
        listing = survey(client, told)
        indexes = Filtering(client, filters, NOW, told.notice).matching(listing, listing.indexes(), limit)
        client.say_quit(told.notice)
    scripted.stop()
    return [index + 1 for index in indexes]


def tops(scripted: ScriptedServer) -> list[bytes]:
    return [line.rstrip() for line in scripted.commands if line.startswith((b"TOP", b"RETR"))]


@pytest.mark.parametrize(
    ("filters", "numbers", "asked"),
    [
        (Filters(), [1, 2, 3, 4], []),
        (Filters(larger=1000), [3], []),
        (Filters(smaller=1000), [1, 2, 4], []),
        (FROM_BOB, [1, 3], [1, 2, 3, 4]),
        (Filters(sender="bob", larger=1000), [3], [3]),
        (Filters(sender="bob", smaller=1000), [1], [1, 2, 4]),
        (Filters(sender="nobody"), [], [1, 2, 3, 4]),
        (Filters(sender="bob", larger=5000), [], []),
        (Filters(since=datetime(2023, 11, 13, tzinfo=UTC)), [2, 4], [1, 2, 3, 4]),
        (Filters(sender="carol", before=datetime(2023, 11, 13, tzinfo=UTC)), [], [1, 2, 3, 4]),
    ],
)
def test_headers_are_read_only_of_what_has_the_size(
    server: StartServer, filters: Filters, numbers: list[int], asked: list[int]
) -> None:
    scripted = server(Mailbox(FOUR))
    assert matching(scripted, filters) == numbers
    assert tops(scripted) == [b"TOP %d 0" % number for number in asked]


def test_an_age_counts_back_from_now(server: StartServer) -> None:
    now = datetime.fromtimestamp(NOW, UTC)
    age = now - datetime(2023, 11, 13, tzinfo=UTC)
    assert matching(server(Mailbox(FOUR)), Filters(before=age)) == [1, 3]


def test_a_limit_ends_the_reading_of_headers_without_ending_the_session(server: StartServer) -> None:
    scripted = server(Mailbox([*[CAROL] * (TOGETHER - 1), *[BOB] * (4 * TOGETHER)]))
    assert matching(scripted, FROM_BOB, limit=2) == [TOGETHER, TOGETHER + 1]
    assert len(tops(scripted)) == 3 * TOGETHER
    assert scripted.commands[-1] == b"QUIT\r\n"


def test_a_limit_ends_the_reading_at_once_if_commands_go_one_at_a_time(server: StartServer) -> None:
    one_at_a_time = [name for name in CAPABILITIES if name != b"PIPELINING"]
    scripted = server(Mailbox([CAROL, BOB, BOB, BOB], capabilities=one_at_a_time))
    assert matching(scripted, FROM_BOB, limit=2) == [2, 3]
    assert tops(scripted) == [b"TOP 1 0", b"TOP 2 0", b"TOP 3 0"]


def test_a_limit_of_sizes_is_one(server: StartServer) -> None:
    assert matching(server(Mailbox(FOUR)), Filters(smaller=1000), limit=2) == [1, 2]


def test_headers_are_requested_before_the_first_arrives(server: StartServer) -> None:
    many = range(2, 2 * TOGETHER)
    top = b"+OK\r\n" + BOB + b".\r\n"

    def answer_all_at_once(talk: Talk) -> None:
        for number in many:
            talk.expect(b"TOP %d 0\r\n" % number)
        talk.say(top * (len(many) + 1))

    first = b"TOP 1 0\r\n"
    mailbox = Mailbox([BOB] * (len(many) + 1), replies={first: b""}, after={first: answer_all_at_once})
    assert len(matching(server(mailbox), FROM_BOB)) == len(many) + 1


# -- messages that cannot match -----------------------------------------------------------------


def test_a_refused_top_matches_nothing_and_is_named(server: StartServer) -> None:
    scripted, told = server(Mailbox(FOUR, replies={b"TOP 3 0\r\n": REFUSED})), Told()
    assert matching(scripted, FROM_BOB, told) == [1]
    assert told.notices == ["message 3 cannot match: the server refused TOP 3: not today"]
    assert b"RETR 3" not in tops(scripted)


def test_blank_headers_match_nothing_and_are_named(server: StartServer) -> None:
    scripted, told = server(Mailbox(FOUR, replies={b"TOP 3 0\r\n": b"+OK\r\n\r\n.\r\n"})), Told()
    assert matching(scripted, FROM_BOB, told) == [1]
    assert told.notices == ["message 3 cannot match: it has no headers"]


@pytest.mark.parametrize(
    "filters",
    [Filters(since=datetime(1970, 1, 1, tzinfo=UTC)), Filters(before=datetime(2038, 1, 1, tzinfo=UTC))],
)
def test_a_message_without_a_usable_date_matches_no_date_and_is_named(
    server: StartServer, filters: Filters
) -> None:
    told = Told()
    mailbox = Mailbox([BOB, b"From: Bob\r\n\r\n", b"From: Bob\r\nDate: soon\r\n\r\n"])
    assert matching(server(mailbox), filters, told) == [1]
    assert told.notices == [f"message {number} cannot match: it has no usable date" for number in (2, 3)]


def test_a_date_is_not_missed_if_no_filter_is_on_it(server: StartServer) -> None:
    told = Told()
    assert matching(server(Mailbox([b"From: Bob\r\n\r\n"])), FROM_BOB, told) == [1]
    assert told.notices == []


@pytest.mark.parametrize("filters", [Filters(smaller=1000), Filters(larger=0)])
def test_a_message_that_list_lacks_has_no_size_to_match(server: StartServer, filters: Filters) -> None:
    mailbox = Mailbox([BOB, CAROL], replies={b"LIST\r\n": b"+OK\r\n1 50\r\n.\r\n"})
    told = Told()
    assert matching(server(mailbox), filters, told) == [1]
    assert told.notices == ["message 2 cannot match: its size is not listed"]


def test_a_size_of_nothing_that_is_listed_is_a_size(server: StartServer) -> None:
    assert matching(server(Mailbox([BOB, CAROL], sizes=[0, 50])), Filters(smaller=10)) == [1]


# -- servers without TOP ------------------------------------------------------------------------


def test_without_top_no_filter_on_headers_is_tried(server: StartServer) -> None:
    scripted = server(Mailbox(FOUR, capabilities=NO_TOP))
    with pytest.raises(HeadersNotOffered):
        matching(scripted, FROM_BOB)
    scripted.stop()
    assert tops(scripted) == []


@pytest.mark.parametrize("filters", [Filters(larger=1000), Filters(sender="bob", larger=5000)])
def test_without_top_sizes_decide(server: StartServer, filters: Filters) -> None:
    expected = [] if filters.sender else [3]
    assert matching(server(Mailbox(FOUR, capabilities=NO_TOP)), filters) == expected


def test_a_server_without_capa_may_have_top(server: StartServer) -> None:
    assert matching(server(Mailbox(FOUR, capabilities=None)), FROM_BOB) == [1, 3]


def test_a_server_without_capa_that_refuses_every_top_does_not_have_it(server: StartServer) -> None:
    refusals = {b"TOP %d 0\r\n" % number: b"-ERR unknown command\r\n" for number in range(1, 5)}
    with pytest.raises(HeadersNotOffered):
        matching(server(Mailbox(FOUR, capabilities=None, replies=refusals)), FROM_BOB)
    refusals.popitem()
    assert matching(server(Mailbox(FOUR, capabilities=None, replies=refusals)), FROM_BOB) == []


def test_a_server_that_announces_top_may_refuse_every_one(server: StartServer) -> None:
    refusals = {b"TOP %d 0\r\n" % number: REFUSED for number in range(1, 5)}
    told = Told()
    assert matching(server(Mailbox(FOUR, replies=refusals)), FROM_BOB, told) == []
    assert len(told.notices) == 4
