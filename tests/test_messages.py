"""What is listed, and what MESSAGES selects of it."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.errors import MessageNotFound, UidShared, UsageError
from pop3fetch.messages import (
    LARGEST_SIZE,
    Last,
    Listing,
    Message,
    Numbers,
    Selector,
    Uid,
    is_short,
    parse,
    select,
    shown_uid,
    stand_in_uid,
)
from pop3fetch.status import Status

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


def test_gaps_are_no_messages() -> None:
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
def test_a_message_is_there_when_both_lists_name_it(
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


def test_copies_with_one_uid_are_told_apart_by_their_order() -> None:
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
def test_every_way_to_read_a_listing_tells_the_same(rows: list[tuple[int | None, bytes | None]]) -> None:
    listing = Listing([size for size, _ in rows], [uid for _, uid in rows])
    messages = list(listing)
    assert [message.index for message in messages] == list(listing.indexes())
    assert messages == [listing.message(index) for index in range(len(rows)) if index in listing]
    assert sum(message.size for message in messages) == sum(listing.sizes)
    for message in messages:
        assert listing.with_uid(message.uid)[message.occurrence] == message.index


# Reading MESSAGES


@pytest.mark.parametrize(
    ("word", "selector"),
    [
        ("3", Numbers(3, 3)),
        ("003", Numbers(3, 3)),
        ("2-5", Numbers(2, 5)),
        ("4-4", Numbers(4, 4)),
        ("7-", Numbers(7, None)),
        ("9999999999999999999", Numbers(10**19 - 1, 10**19 - 1)),
        ("last", Last()),
        ("uid:XYZ", Uid(b"XYZ")),
        ("uid:uid:1", Uid(b"uid:1")),
        ("uid:3", Uid(b"3")),
        ("uid: a b ", Uid(b" a b ")),
        ("uid:ü", Uid(b"\xc3\xbc")),
        ("uid:\udcfc", Uid(b"\xfc")),
    ],
)
def test_a_word_is_read(word: str, selector: Selector) -> None:
    assert parse([word]) == (selector,)


def test_words_are_read_in_any_mix() -> None:
    assert parse(iter(["last", "2-3", "uid:x"])) == (Last(), Numbers(2, 3), Uid(b"x"))


@pytest.mark.parametrize(
    "word",
    [
        *(
            "",
            " ",
            "x",
            "-",
            "-3",
            "--",
            "3--",
            "3-5-7",
            "+3",
            "1_0",
            "1.0",
            "3 ",
            " 3",
            "3\n",
            "3-\n",
        ),
        *(
            "٣",
            "³",
            "0x3",
            "Last",
            "LAST",
            "UID:x",
            "uid",
            "uid:",
            "uid:\ud800",
            "all",
            ",",
            "1,",
            ",1",
            "1,,2",
            "last:",
            "last:0",
            "last:-1",
            "last:x",
        ),
        *("0", "00", "0-", "0-3", "5-2", "3-0", "10000000000000000000", "1-10000000000000000000"),
    ],
)
def test_a_word_that_names_no_message_is_a_usage_error(word: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(["1", word])
    assert caught.value.exit_status is Status.USAGE
    assert isinstance(caught.value, ValueError)


def test_a_usage_error_says_what_to_write() -> None:
    with pytest.raises(UsageError) as caught:
        parse(["\x1b[31mx"])
    assert str(caught.value) == r"'\x1b[31mx' is not a message; use 3, 2-5, 7-, last or uid:XYZ"


def test_a_range_that_runs_backwards_is_called_so() -> None:
    with pytest.raises(UsageError, match=r"^the range 5-2 runs backwards$"):
        parse(["5-2"])


@pytest.mark.parametrize("word", ["3", "2-5", "7-", "last", "uid:XYZ", r"uid:\xfc"])
def test_a_selector_is_shown_as_it_was_written(word: str) -> None:
    assert str(parse([word])[0]) == word


def test_a_uid_that_is_no_text_is_shown_with_escapes() -> None:
    assert str(Uid(b"\xfc")) == r"uid:\xfc"


# Selecting


@pytest.mark.parametrize(
    ("listing", "words", "indexes"),
    [
        (FIVE, "3", [2]),
        (FIVE, "2-4", [1, 2, 3]),
        (FIVE, "1-5", [0, 1, 2, 3, 4]),
        (FIVE, "5-", [4]),
        (FIVE, "last", [4]),
        (FIVE, "uid:d", [3]),
        (FIVE, "5 1 3", [4, 0, 2]),
        (FIVE, "4- 1- last uid:a 2-3 2", [3, 4, 0, 1, 2]),
        (FIVE, "", []),
        (EMPTY, "", []),
        (GAPS, "1-5", [0, 2, 4]),
        (GAPS, "2-4", [2]),
        (GAPS, "4-", [4]),
        (GAPS, "last", [4]),
        (Listing([1, 2, 3], [b"x", b"y", b"x"]), "3 uid:x", [2, 0]),
    ],
)
def test_messages_are_selected_in_the_order_given_each_once(
    listing: Listing, words: str, indexes: list[int]
) -> None:
    assert select(listing, parse(words.split())) == indexes


@pytest.mark.parametrize(
    ("listing", "word"),
    [
        (FIVE, "6"),
        (FIVE, "9999999999999999999"),
        (FIVE, "4-6"),
        (FIVE, "6-9"),
        (FIVE, "6-"),
        (FIVE, "uid:f"),
        (FIVE, "uid:A"),
        (GAPS, "2"),
        (GAPS, "4"),
        (GAPS, "5-6"),
        (GAPS, "uid:b"),
        (EMPTY, "1"),
        (EMPTY, "1-"),
        (EMPTY, "last"),
    ],
)
def test_a_selector_that_matches_nothing_is_an_error(listing: Listing, word: str) -> None:
    with pytest.raises(MessageNotFound) as caught:
        select(listing, parse([word]))
    assert caught.value.selector == word
    assert caught.value.exit_status is Status.NO_MESSAGE


def test_one_wrong_selector_spoils_the_whole_selection() -> None:
    with pytest.raises(MessageNotFound, match="there is no message 9 on the server"):
        select(FIVE, parse(["1", "9", "10"]))


# Where the server has no UIDs


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
    ("uid", "shown"),
    [
        (b"plain", "plain"),
        (b"caf\xe9-1", "caf\\xe9-1"),
        (b"caf\\xe9-1", "caf\\x5cxe9-1"),
        (b"a\\b\\xE9", "a\\b\\xE9"),
        ("caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode(), "caf\N{LATIN SMALL LETTER E WITH ACUTE}"),
        ("a\u202eb\x85".encode(), "a\\xe2\\x80\\xaeb\\xc2\\x85"),
        (b"a\x85", "a\\x85"),
        (b"a,b c", "a,b c"),
    ],
)
def test_a_uid_is_selected_as_it_is_shown_and_as_it_is(uid: bytes, shown: str) -> None:
    assert shown_uid(uid) == shown
    listing = Listing([1, 1, 1], [b"other", uid, b"\\"])
    for word in (f"uid:{shown}", "uid:" + uid.decode("utf-8", "surrogateescape")):
        assert select(listing, parse([word])) == [1]


PIECES = st.sampled_from([b"\\", b"x", b"e9", b"\xe9", b"5c", b"\x85", b"\xc2", b"a"])
LOOKALIKES = st.lists(PIECES, min_size=1).map(b"".join)


@given(uids=st.lists(LOOKALIKES, unique=True, min_size=1))
def test_what_is_shown_selects_one_uid_however_alike_they_look(uids: list[bytes]) -> None:
    listing = Listing([1] * len(uids), uids)
    for index, uid in enumerate(uids):
        assert shown_uid(uid).isprintable()
        assert select(listing, parse([f"uid:{shown_uid(uid)}"])) == [index]


@pytest.mark.parametrize(
    ("word", "selected"),
    [
        ("1,3", [0, 2]),
        ("3,1-2,last", [2, 0, 1, 4]),
        ("last:2", [3, 4]),
        ("last:9", [0, 1, 2, 3, 4]),
        ("5-,1", [4, 0]),
    ],
)
def test_lists_and_the_last_ones(word: str, selected: list[int]) -> None:
    listing = Listing([1] * 5, [b"%d" % number for number in range(5)])
    assert select(listing, parse([word])) == selected


def test_a_uid_that_must_name_one_message_names_several() -> None:
    listing = Listing([1] * 3, [b"same", b"other", b"same"])
    assert select(listing, parse(["uid:same"])) == [0, 2]
    with pytest.raises(UidShared, match="1, 3"):
        select(listing, parse(["2", "uid:same"]), one_each=True)


@pytest.mark.parametrize(
    ("size", "octets", "short"),
    [(100, 50, False), (101, 50, True), (100, 0, True), (0, 0, False), (100, None, False), (5, 900, False)],
)
def test_less_than_half_of_what_is_listed_is_short(size: int, octets: int | None, short: bool) -> None:
    assert is_short(size, octets) is short
