"""What is listed, and what tells its messages apart."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.errors import MessageNotFound
from pop3fetch.messages import LARGEST_SIZE, Listing, Message, is_short, stand_in_uid

FIVE = Listing([100, 200, 300, 400, 500], [b"a", b"b", b"c", b"d", b"e"])
GAPS = Listing([100, None, 300, None, 500, None], [b"a", None, b"c", b"only here", b"e", None])
EMPTY = Listing([], [])


# The listing


def test_a_message_knows_its_number() -> None:
    assert Message(0, 100, b"a").number == 1


def test_a_listing_pairs_sizes_with_uids() -> None:
    assert list(FIVE)[1:3] == [Message(1, 200, b"b"), Message(2, 300, b"c")]
    assert FIVE.message(1) == Message(1, 200, b"b")
    assert (len(FIVE), sum(FIVE.sizes), FIVE.last_number, FIVE.unpaired) == (5, 1500, 5, 0)


def test_gaps_are_not_messages() -> None:
    assert list(GAPS) == [Message(0, 100, b"a"), Message(2, 300, b"c"), Message(4, 500, b"e")]
    assert (len(GAPS), sum(GAPS.sizes), GAPS.last_number) == (3, 900, 5)
    assert [index for index in range(-1, 8) if index in GAPS] == [0, 2, 4]
    assert GAPS.message(4) == Message(4, 500, b"e")


@pytest.mark.parametrize(
    ("sizes", "uids", "unpaired"),
    [
        ([1, 2, 3], [b"a", b"b"], 1),
        ([1], [b"a", b"b", b"c"], 2),
        ([1, None], [b"a", b"b"], 1),
        ([1, 2], [None, b"b"], 1),
        ([None, 2], [None, b"b"], 0),
        ([None, 2, 3], [b"a", b"b", None], 2),
    ],
)
def test_a_message_exists_if_both_lists_name_it(
    sizes: list[int | None], uids: list[bytes | None], unpaired: int
) -> None:
    listing = Listing(sizes, uids)
    assert listing.unpaired == unpaired
    both = [index for index, (size, uid) in enumerate(zip(sizes, uids, strict=False)) if size and uid]
    assert list(listing.indexes()) == both


def test_an_empty_maildrop_lists_nothing() -> None:
    assert (len(EMPTY), sum(EMPTY.sizes), EMPTY.last_number, EMPTY.unpaired) == (0, 0, 0, 0)
    assert list(EMPTY) == []
    assert list(EMPTY.indexes()) == EMPTY.with_uid(b"a") == []
    assert 0 not in EMPTY


def test_a_listing_contains_indexes_only() -> None:
    assert 4 in FIVE
    assert 5 not in FIVE
    assert -1 not in FIVE
    assert b"a" not in FIVE


@pytest.mark.parametrize("index", [-1, 1, 3, 5, 6, 10**18])
def test_a_message_that_is_not_there_is_named_by_its_number(index: int) -> None:
    with pytest.raises(MessageNotFound) as caught:
        GAPS.message(index)
    assert caught.value.selector == str(index + 1)


def test_copies_with_one_uid_are_distinguished_by_their_order() -> None:
    listing = Listing([1, 2, 3, None, 5], [b"x", b"y", b"x", b"x", b"x"])
    assert [(message.index, message.occurrence) for message in listing] == [(0, 0), (1, 0), (2, 1), (4, 2)]
    assert [listing.message(index) for index in listing.indexes()] == list(listing)
    assert listing.with_uid(b"x") == [0, 2, 4]
    assert listing.with_uid(b"y") == [1]


def test_uids_are_found_by_their_exact_octets() -> None:
    assert FIVE.with_uid(b"c") == [2]
    assert FIVE.with_uid(b"C") == []
    assert GAPS.with_uid(b"e") == [4]
    assert GAPS.with_uid(b"only here") == []


def test_a_listing_keeps_what_it_was_made_of() -> None:
    sizes: list[int | None] = [1, 2]
    uids: list[bytes | None] = [b"a", b"b"]
    listing = Listing(sizes, uids)
    sizes.clear()
    uids.clear()
    assert list(listing) == [Message(0, 1, b"a"), Message(1, 2, b"b")]


def test_a_size_that_no_record_could_keep_is_listed_as_the_largest_one() -> None:
    assert [message.size for message in Listing([10**19 - 1, 7], [b"a", b"b"])] == [LARGEST_SIZE, 7]


def test_a_listing_is_small_beside_its_uids() -> None:
    sizes, uids = list(range(10_000)), [b"%d" % number for number in range(10_000)]
    tracemalloc.start()
    try:
        listing = Listing(sizes, uids)
        octets, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert octets < 20 * len(listing)


COLUMNS = st.lists(st.tuples(st.none() | st.integers(0, 99), st.none() | st.sampled_from([b"a", b"b", b"c"])))


@given(COLUMNS)
def test_every_way_to_read_a_listing_gives_the_same(rows: list[tuple[int | None, bytes | None]]) -> None:
    listing = Listing([size for size, _ in rows], [uid for _, uid in rows])
    messages = list(listing)
    assert [message.index for message in messages] == list(listing.indexes())
    assert messages == [listing.message(index) for index in range(len(rows)) if index in listing]
    assert sum(message.size for message in messages) == sum(listing.sizes)
    for message in messages:
        assert listing.with_uid(message.uid)[message.occurrence] == message.index


# Reading MESSAGES


def test_a_stand_in_is_a_legal_uid_that_never_changes() -> None:
    uid = stand_in_uid(b"Subject: x\r\n\r\n", 123)
    assert uid == b"digest-acf16784a51890b4f26f5c8439f18fd4dc704c1fb6f86e95"
    assert 1 <= len(uid) <= 70
    assert all(0x21 <= octet <= 0x7E for octet in uid)


@pytest.mark.parametrize(
    "answer",
    [
        b"A: 1\r\nB: 2",
        b"A: 1\r\nB: 2\r\n",
        b"A: 1\r\nB: 2\r\n\r\n",
        b"A: 1\r\nB: 2\r\n\r\na line of the body\r\n",
        b"A: 1\r\nB: 2\n\n",
    ],
)
def test_a_stand_in_does_not_depend_on_how_top_ends(answer: bytes) -> None:
    assert stand_in_uid(answer, 9) == stand_in_uid(b"A: 1\r\nB: 2\r\n", 9)


@pytest.mark.parametrize(
    ("headers", "size"),
    [
        (b"A: 1\r\nB: 2\r\n", 10),
        (b"A: 1\r\nB: 3\r\n", 9),
        (b"A: 1\r\n", 9),
        (b"", 9),
        (b"\r\nA: 1\r\nB: 2\r\n", 9),
    ],
)
def test_a_stand_in_depends_on_headers_and_size(headers: bytes, size: int) -> None:
    assert stand_in_uid(headers, size) != stand_in_uid(b"A: 1\r\nB: 2\r\n", 9)


def test_a_message_without_a_header_has_a_stand_in_of_its_size() -> None:
    assert stand_in_uid(b"\r\nbody\r\n", 9) == stand_in_uid(b"", 9)


@pytest.mark.parametrize(
    ("size", "octets", "short"),
    [(100, 50, False), (101, 50, True), (100, 0, True), (0, 0, False), (100, None, False), (5, 900, False)],
)
def test_less_than_half_of_what_is_listed_is_short(size: int, octets: int | None, short: bool) -> None:
    assert is_short(size, octets) is short
