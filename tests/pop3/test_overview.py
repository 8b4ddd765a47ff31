"""Lists that are known again by their digests, and parsed only where they are not."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.errors import LineTooLong, MalformedListing, ProtocolViolation
from pop3fetch.pop3.overview import UNFAMILIAR, Digests, Overview, OverviewReader, RecognisingReader
from pop3fetch.pop3.replies import LISTING_LIMIT, SCAN_LISTING
from pop3fetch.pop3.wire import CRLF, LF, LINE_LIMIT

SIZES = b"1 120\r\n2 7\r\n4 1\r\n"
UNIQUE_IDS = b"1 A\r\n2 B\r\n4 D\r\n"
OVERVIEW = ([120, 7, None, 1], [b"A", b"B", None, b"D"])


def read(sizes: bytes, unique_ids: bytes, familiar: Digests = UNFAMILIAR) -> OverviewReader:
    reader = OverviewReader(CRLF, familiar)
    reader.sizes.feed(sizes)
    reader.sizes_end()
    reader.unique_ids.feed(unique_ids)
    reader.unique_ids_end()
    return reader


DIGESTS = read(SIZES, UNIQUE_IDS).digests


def sizes_reader(familiar: str = DIGESTS.sizes) -> RecognisingReader[int]:
    return RecognisingReader(SCAN_LISTING, CRLF, familiar)


def test_lists_that_are_said_again_are_familiar_and_not_parsed() -> None:
    reader = read(SIZES, UNIQUE_IDS, DIGESTS)
    assert reader.is_familiar
    assert (reader.sizes.entries, reader.unique_ids.entries) == ([], [])


@pytest.mark.parametrize(
    ("sizes", "unique_ids"),
    [
        (SIZES + b"5 9\r\n", UNIQUE_IDS + b"5 E\r\n"),
        (SIZES.replace(b"7", b"8"), UNIQUE_IDS),
        (SIZES, UNIQUE_IDS.replace(b"D", b"E")),
        (SIZES, UNIQUE_IDS + b"5 E\r\n"),
        (SIZES, b""),
        (b"", UNIQUE_IDS),
        (b"", b""),
        (UNIQUE_IDS.replace(b"A", b"1").replace(b"B", b"2").replace(b"D", b"3"), SIZES),
    ],
)
def test_other_lists_are_not_and_say_the_same_as_ever(sizes: bytes, unique_ids: bytes) -> None:
    reader = read(sizes, unique_ids, DIGESTS)
    assert not reader.is_familiar
    assert reader.digests != DIGESTS
    assert reader.overview() == read(sizes, unique_ids).overview()


def test_an_overview_has_the_columns_and_the_digests() -> None:
    assert read(SIZES, UNIQUE_IDS).overview() == Overview(*OVERVIEW)
    assert [len(digest) for digest in DIGESTS] == [48, 48]


def test_no_uidl_is_no_column() -> None:
    for familiar in (UNFAMILIAR, DIGESTS._replace(unique_ids=read(b"", b"").digests.unique_ids)):
        reader = OverviewReader(CRLF, familiar)
        reader.sizes.feed(SIZES)
        reader.sizes_end()
        assert not reader.is_familiar
        assert reader.overview() == Overview(OVERVIEW[0], None)


def test_nothing_is_familiar_to_who_knows_nothing() -> None:
    assert not read(b"", b"").is_familiar


@given(cuts=st.sets(st.sampled_from([cut for cut in range(len(SIZES)) if SIZES[cut : cut + 1] != LF])))
def test_blocks_may_end_anywhere_but_in_a_line_end(cuts: set[int]) -> None:
    reader = sizes_reader()
    for first, last in pairwise([0, *sorted(cuts), len(SIZES)]):
        reader.feed(SIZES[first:last])
    assert reader.is_familiar
    reader.read()
    assert reader.entries == OVERVIEW[0]


def test_another_list_is_parsed_at_its_end_and_only_once() -> None:
    reader = sizes_reader()
    reader.feed(b"1 5\r\n")
    assert reader.entries == []
    reader.end()
    reader.read()
    assert reader.entries == [5]


def test_where_nothing_may_be_familiar_it_is_parsed_as_it_arrives() -> None:
    reader = sizes_reader(UNFAMILIAR.sizes)
    reader.feed(SIZES)
    assert reader.entries == OVERVIEW[0]


def test_as_soon_as_sizes_are_others_it_is_said_and_unique_ids_are_parsed_as_they_arrive() -> None:
    said: list[str] = []
    reader = OverviewReader(CRLF, DIGESTS, lambda: said.append("unlike"))
    reader.sizes.feed(b"1 5\r\n")
    assert said == []
    reader.sizes_end()
    assert (said, reader.sizes.entries) == (["unlike"], [5])
    reader.unique_ids.feed(b"1 A\r\n")
    assert reader.unique_ids.entries == [b"A"]


def test_where_unique_ids_alone_are_others_both_lists_are_parsed_at_their_end() -> None:
    said: list[str] = []
    reader = OverviewReader(CRLF, DIGESTS, lambda: said.append("unlike"))
    reader.sizes.feed(SIZES)
    reader.sizes_end()
    reader.unique_ids.feed(b"1 X\r\n")
    assert (said, reader.sizes.entries, reader.unique_ids.entries) == ([], [], [])
    reader.unique_ids_end()
    assert (reader.sizes.entries, reader.unique_ids.entries) == (OVERVIEW[0], [b"X"])


def test_what_is_kept_takes_no_more_room_in_tiny_blocks() -> None:
    line = b"1 1" + b" " * 5 + b"\r\n"
    tracemalloc.start()
    try:
        reader = sizes_reader()
        for _ in range(100_000):
            reader.feed(line)
        assert tracemalloc.get_traced_memory()[1] < 2 * 100_000 * len(line)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"1 1\r\n1 1\r\n", MalformedListing),
        (b"one\r\n", MalformedListing),
        (b"1 1" + b" " * LINE_LIMIT + b"\r\n", LineTooLong),
    ],
)
def test_what_no_server_may_say_is_an_error_at_its_end(
    content: bytes, error: type[ProtocolViolation]
) -> None:
    reader = sizes_reader()
    reader.feed(content)
    with pytest.raises(error):
        reader.end()


@pytest.mark.parametrize("familiar", [DIGESTS.sizes, UNFAMILIAR.sizes])
def test_what_is_kept_has_the_same_limit(familiar: str, feed_forever: Callable[[], bytes]) -> None:
    reader = sizes_reader(familiar)
    fed = 0
    with pytest.raises(MalformedListing, match="longer than 67108864 octets"):
        while True:
            reader.feed(block := feed_forever())
            fed += len(block)
    assert LISTING_LIMIT - len(block) < fed <= LISTING_LIMIT


@pytest.fixture
def feed_forever() -> Callable[[], bytes]:
    """Return what gives numbered lines, as many as one wants, padded to 8 KiB a line."""
    numbers = iter(range(1, 1_000_000))
    return lambda: b"%d 1 " % next(numbers) + b"x" * (LINE_LIMIT - 32) + b"\r\n"
