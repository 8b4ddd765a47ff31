"""What the words of MESSAGES select of a listing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.errors import MessageNotFound, UidShared, UsageError
from pop3fetch.message_words import Last, Numbers, Selector, Uid, parse, select
from pop3fetch.messages import Listing, shown_uid
from pop3fetch.status import Status
from tests.test_messages import EMPTY, FIVE, GAPS


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


def test_a_usage_error_shows_what_to_write() -> None:
    with pytest.raises(UsageError) as caught:
        parse(["\x1b[31mx"])
    assert str(caught.value) == r"'\x1b[31mx' is not a message; use 3, 2-5, 7-, last or uid:XYZ"


def test_a_range_that_runs_backwards_is_called_so() -> None:
    with pytest.raises(UsageError, match=r"^the range 5-2 runs backwards; use 2-5$"):
        parse(["5-2"])


@pytest.mark.parametrize("word", ["3", "2-5", "7-", "last", "uid:XYZ", r"uid:\xfc"])
def test_a_selector_is_shown_as_it_was_written(word: str) -> None:
    assert str(parse([word])[0]) == word


def test_a_uid_that_is_not_text_is_shown_with_escapes() -> None:
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
    ("listing", "words", "missing"),
    [
        (FIVE, "6", "is no message 6"),
        (FIVE, "9999999999999999999", "is no message 9999999999999999999"),
        (FIVE, "4-6", "is no message 6"),
        (FIVE, "4-8", "are no messages 6-8"),
        (FIVE, "6-9", "are no messages 6-9"),
        (FIVE, "6-", "is no message 6 or higher"),
        (FIVE, "uid:f", "is no message uid:f"),
        (FIVE, "uid:A", "is no message uid:A"),
        (FIVE, "1 9 2-7 uid:x", "are no messages 9, 6-7, uid:x"),
        (FIVE, " ".join(map(str, range(6, 30))), f"are no messages {', '.join(map(str, range(6, 26)))}, …"),
        (GAPS, "2", "is no message 2"),
        (GAPS, "4", "is no message 4"),
        (GAPS, "5-6", "is no message 6"),
        (GAPS, "uid:b", "is no message uid:b"),
        (EMPTY, "1", "is no message 1"),
        (EMPTY, "1-", "is no message"),
        (EMPTY, "last", "is no message"),
        (EMPTY, "last 3", "is no message 3"),
    ],
)
def test_missing_messages_are_named_and_no_others(listing: Listing, words: str, missing: str) -> None:
    with pytest.raises(MessageNotFound) as caught:
        select(listing, parse(words.split()))
    assert str(caught.value) == f"there {missing} on the server"
    assert caught.value.exit_status is Status.NO_MESSAGE


# If the server has no UIDs


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


def test_selectors_of_different_kinds_are_different_and_all_are_true() -> None:
    values: list[Selector] = [Numbers(1, None), Last(), Last(2), Uid(b"1"), Uid(b"")]
    assert all(values)
    assert len(set(values)) == len(values)
