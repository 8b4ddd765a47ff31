"""The grammar of STAT, LIST, UIDL and CAPA, and the limit of each."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pop3fetch.errors import LineTooLong, MalformedListing, ProtocolViolation
from pop3fetch.pop3.replies import (
    CAPABILITIES_LIMIT,
    LISTING_LIMIT,
    MESSAGES_LIMIT,
    MOST_UNUSABLE,
    Capabilities,
    ListReply,
    lines_of,
    parse_drop_listing,
    parse_scan_line,
    parse_unique_id_line,
    read_capabilities,
    read_listing,
)
from pop3fetch.pop3.wire import CRLF, LF, LINE_LIMIT
from pop3fetch.status import Status
from tests.support.segments import in_pieces

LARGEST = 10**19 - 1
NO_NUMBERS = [
    b"",
    b" ",
    b"-1",
    b"+1",
    b"1_0",
    b"0x1",
    b"1.0",
    b"1e3",
    b"one",
    b"10000000000000000000",  # 20 digits
    "١".encode(),  # ARABIC-INDIC DIGIT ONE, which int() takes
    b"\xb2",
    b"1\0",
    b"\x0b1",
    b"1,",
]

# -- STAT ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "drop"),
    [
        (b"2 320", (2, 320)),
        (b"0 0", (0, 0)),
        (b"2   320", (2, 320)),
        (b"2\t320", (2, 320)),
        (b" 2 320 ", (2, 320)),
        (b"2 320 octets, \xff and words", (2, 320)),
        (b"2 320\toctets", (2, 320)),
        (b"002 0320", (2, 320)),
        (b"9999999999999999999 9999999999999999999", (LARGEST, LARGEST)),
    ],
)
def test_stat_names_messages_and_octets(text: bytes, drop: tuple[int, int]) -> None:
    assert parse_drop_listing(text) == drop


@pytest.mark.parametrize(
    "text",
    [
        *NO_NUMBERS,
        b"5",
        b"X1 2",
        b"1 2t",
        *(b"%b 1" % word for word in NO_NUMBERS),
        *(b"1 %b" % word for word in NO_NUMBERS),
    ],
)
def test_stat_without_two_numbers_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedListing) as refused:
        parse_drop_listing(text)
    assert (refused.value.octets, refused.value.exit_status) == (text, Status.BAD_DATA)


# -- lines of LIST and UIDL ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "scan"),
    [
        (b"1 120", (1, 120)),
        (b"1 0", (1, 0)),
        (b"  1    120  ", (1, 120)),
        (b"\t1\t120", (1, 120)),
        (b"1 120 and words behind", (1, 120)),
        (b"1 120\tand a tab", (1, 120)),
        (b"1 120 \x1b\xff", (1, 120)),
        (b"01 00120", (1, 120)),
        (b"9999999999999999999 9999999999999999999", (LARGEST, LARGEST)),
    ],
)
def test_a_scan_line_is_a_number_and_a_size(line: bytes, scan: tuple[int, int]) -> None:
    assert parse_scan_line(line) == scan


@pytest.mark.parametrize(
    "line",
    [
        *NO_NUMBERS,
        b"1",
        b"1 2t",
        *(b"%b 1" % word for word in NO_NUMBERS),
        *(b"1 %b" % word for word in NO_NUMBERS),
    ],
)
def test_another_scan_line_is_refused(line: bytes) -> None:
    with pytest.raises(MalformedListing, match="LIST") as refused:
        parse_scan_line(line)
    assert refused.value.octets == line


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (b"1 whqtswO00WBw418f9t5JxYwZ", (1, b"whqtswO00WBw418f9t5JxYwZ")),
        *((b"1 %c" % octet, (1, b"%c" % octet)) for octet in (*range(0x21, 0x7F), *range(0x80, 0x100))),
        (b"1   several-spaces", (1, b"several-spaces")),
        (b"\t1\ttabs\t", (1, b"tabs")),
        (b"  1 spaces-around  ", (1, b"spaces-around")),
        (b"1", (1, b"")),
        (b"1 ", (1, b"")),
        (b"1    ", (1, b"")),
        (b"1 " + b"x" * 300, (1, b"x" * 300)),
        (b"1 a b  c", (1, b"a b  c")),
        (b"1 \xe9\xff\x80", (1, b"\xe9\xff\x80")),
        (b"1 ../../etc/passwd", (1, b"../../etc/passwd")),
        (b"1 UID", (1, b"UID")),
        (b"1 uid", (1, b"uid")),
        (b"1 XX", (1, b"XX")),
        (b"9999999999999999999 x", (LARGEST, b"x")),
    ],
)
def test_a_unique_id_is_all_behind_the_number(line: bytes, entry: tuple[int, bytes]) -> None:
    assert parse_unique_id_line(line) == entry


@pytest.mark.parametrize(
    "line",
    [
        *NO_NUMBERS,
        *(b"%b x" % word for word in NO_NUMBERS),
        b"1x",
        *(b"1 a%cb" % octet for octet in (*range(0x20), 0x7F)),
        *(b"1 %cb" % octet for octet in (*range(0x20), 0x7F) if octet != 0x09),  # a tab parts the two
        b"1 a\r",
        b"\r1 a",
    ],
)
def test_another_line_of_uidl_is_refused(line: bytes) -> None:
    with pytest.raises(MalformedListing, match="UIDL") as refused:
        parse_unique_id_line(line)
    assert refused.value.octets == line


@pytest.mark.parametrize("parse", [parse_scan_line, parse_unique_id_line, parse_drop_listing])
@pytest.mark.parametrize("middle", [b" ", b" a", b"\t "])
def test_a_line_of_8_kib_that_fits_nowhere_is_refused_without_backtracking(
    parse: Callable[[bytes], object], middle: bytes
) -> None:
    # A pattern that tries each way to share the spaces out needs 8192 ** 3 steps: an hour.
    with pytest.raises(MalformedListing):
        parse(b"1" + b" " * 4000 + middle * 2000 + b"\x01")


# -- lines out of blocks ---------------------------------------------------------------------------


@pytest.mark.parametrize("line_end", [CRLF, LF])
@given(
    lines=st.lists(st.sampled_from([b"", b"a", b"\r", b"a\rb", b"\0" * 9])),
    rest=st.sampled_from([b"", b"a", b"ab"]),
    sizes=st.lists(st.integers(1, 9), min_size=1),
)
def test_blocks_are_cut_into_lines(
    line_end: bytes, lines: list[bytes], rest: bytes, sizes: list[int]
) -> None:
    pieces = in_pieces(line_end.join([*lines, rest]).replace(line_end, b"|"), sizes)
    blocks = (piece.replace(b"|", line_end) for piece in pieces)  # as content comes: no line end is parted
    assert list(chain(*lines_of(blocks, line_end))) == lines + [rest] * bool(rest)


class Block(bytes):
    """A block that counts how often its octets are searched, and that is put to no other alone."""

    searched = 0

    def split(self, sep: Any = None, maxsplit: Any = -1) -> list[bytes]:
        Block.searched += len(self)
        return super().split(sep, maxsplit)

    def __radd__(self, other: bytes) -> bytes:
        raise AssertionError("the line so far is copied for each block")


def test_a_line_in_very_many_blocks_is_searched_and_put_together_once() -> None:
    count = 128 * 1024
    Block.searched = 0
    blocks = chain((Block(b"x") for _ in range(count)), [CRLF])
    assert list(lines_of(blocks, CRLF, limit=None)) == [[]] * count + [[b"x" * count]]
    assert Block.searched == count


def test_a_line_of_a_list_may_have_8192_octets_and_no_more() -> None:
    line = b"x" * LINE_LIMIT
    assert list(lines_of([line + CRLF], CRLF)) == [[line]]
    for blocks in (
        [line + b"x"],
        [line + b"x" + CRLF],
        [b"x", line],
        [b"a\r\nb", line],
        [b"a\r\n", b"x" + line + CRLF],
    ):
        with pytest.raises(LineTooLong) as refused:
            list(lines_of(blocks, CRLF))
        assert refused.value.exit_status is Status.BAD_DATA


@pytest.mark.parametrize(
    ("blocks", "lines"),
    [
        ([b"x" * LINE_LIMIT + CRLF + b"y" * (LINE_LIMIT + 1) + b"\r\na\r\n"], [b"x" * LINE_LIMIT, b"", b"a"]),
        ([b"x" * LINE_LIMIT], [b"x" * LINE_LIMIT]),
        ([b"x" * LINE_LIMIT, b"x\r\na"], [b"", b"a"]),
        ([b"x" * LINE_LIMIT, b"x"], [b""]),
    ],
)
def test_only_a_line_that_is_longer_becomes_empty(blocks: list[bytes], lines: list[bytes]) -> None:
    assert list(chain(*lines_of(blocks, CRLF, blanks=True))) == lines


def test_a_line_of_a_message_has_no_limit() -> None:
    line = b"x" * LINE_LIMIT * 10
    assert list(lines_of([line, line + CRLF + line], CRLF, limit=None)) == [[], [line + line], [line]]


# -- whole listings --------------------------------------------------------------------------------


def scan(*blocks: bytes, line_end: bytes = CRLF) -> list[int | None]:
    return read_listing(blocks, parse_scan_line, line_end)


@pytest.mark.parametrize(
    ("listing", "entries"),
    [
        (b"", []),
        (b"1 120\r\n2 200\r\n", [120, 200]),
        (b"1 120\r\n3 300\r\n", [120, None, 300]),
        (b"4 400\r\n", [None, None, None, 400]),
        (b"2 200\r\n3 300\r\n1 120\r\n", [120, 200, 300]),
        (b"3 300\r\n1 120\r\n4 400\r\n", [120, None, 300, 400]),
        (b"2 0\r\n1 0\r\n", [0, 0]),
    ],
)
def test_a_listing_is_read_by_index_and_gaps_stay_none(listing: bytes, entries: list[int | None]) -> None:
    assert scan(listing) == entries
    # As content comes: cut anywhere but inside a line end.
    assert (
        scan(*(piece.replace(b"|", CRLF) for piece in in_pieces(listing.replace(CRLF, b"|"), [1]))) == entries
    )
    assert scan(listing.replace(CRLF, LF), line_end=LF) == entries


@pytest.mark.parametrize(
    ("listing", "what"),
    [
        (b"0 120\r\n", "message number 0 is out of range"),
        (b"1 120\r\n0 120\r\n", "message number 0 is out of range"),
        (b"1 120\r\n1 120\r\n", "message number 1 is listed twice"),
        (b"1 120\r\n3 300\r\n1 120\r\n", "message number 1 is listed twice"),
        (b"2 0\r\n1 0\r\n2 0\r\n", "message number 2 is listed twice"),
        (b"%d 1\r\n" % (MESSAGES_LIMIT + 1), "message number 1000001 is out of range"),
        (b"9999999999999999999 1\r\n", "message number 9999999999999999999 is out of range"),
        (b"1 120\r\n\r\n", "a line of LIST is not a number and a size"),
        (b"1 120\n2 200\r\n", "a line of LIST is not a number and a size"),
    ],
)
def test_a_listing_that_cannot_be_is_refused(listing: bytes, what: str) -> None:
    with pytest.raises(MalformedListing) as refused:
        scan(listing)
    assert (refused.value.what, refused.value.exit_status) == (what, Status.BAD_DATA)


@pytest.mark.parametrize(
    "listing",
    [
        b"1 5 2\r\n6\r\n",
        b"1 5\n2\r\n 6\r\n",
        b"1 \r\n2 6\r\n",
        b"1 5\r\n2 \xb2\r\n",
        b"1 5\r\n2 " + b"6" * 20 + CRLF,
    ],
)
def test_lines_in_one_block_are_held_to_the_same_grammar(listing: bytes) -> None:
    with pytest.raises(MalformedListing, match="a line of LIST is not a number and a size"):
        scan(listing)


LONG = b"2 2" + b" " * LINE_LIMIT


@pytest.mark.parametrize(
    ("listing", "entries", "errors"),
    [
        (b"1 1\r\n2 x\r\n3 3\r\n", [1, None, 3], ["a line of LIST is not a number and a size"]),
        (b"1 1\r\nx 2\r\n3 3\r\n", [1, None, 3], ["a line of LIST is not a number and a size"]),
        (b"1 1\r\n\r\n2 2\r\n", [1, 2], ["a line of LIST is not a number and a size"]),
        (b"1 1\r\n2 2\r\n2 2\r\n3 3\r\n", [1, None, 3], ["message number 2 is listed twice"]),
        (b"2 2\r\n1 1\r\n2 5\r\n2 2\r\n", [1, None], 2 * ["message number 2 is listed twice"]),
        # What an unusable line seems to name is not believed to be in another one, before or after it.
        (b"2 x\r\n1 1\r\n2 2\r\n", [1, None], ["a line of LIST is not a number and a size"]),
        (b"1 1\r\n2 2\r\n2 x\r\n", [1, None], ["a line of LIST is not a number and a size"]),
        (b"1 1\r\n2\r\n2 2\r\n", [1, None], ["a line of LIST is not a number and a size"]),
        *(
            (b"1 1\r\n%b\r\n2 2\r\n" % line, [1, second], ["a line of LIST is not a number and a size"])
            for line, second in {b" 2 x": None, b"\t2 x": None, b"2\tx": None, b"2tx": 2, b"t2 x": 2}.items()
        ),
        (b"0 0\r\n1 1\r\n", [1], ["message number 0 is out of range"]),
        (b"1 1\r\n9999999999999999999 9\r\n", [1], ["message number 9999999999999999999 is out of range"]),
        (b"1 1\r\n1000001 9\r\n2 2\r\n", [1, 2], ["message number 1000001 is out of range"]),
        (b"1 1\r\n2 %b\r\n" % (b"9" * 20), [1], ["a line of LIST is not a number and a size"]),
        (b"1 1\r\n%b\r\n3 3\r\n" % LONG, [1, None, 3], ["a line of LIST is not a number and a size"]),
        (b"1 1\r\n" + LONG, [1], ["a line of LIST is not a number and a size"]),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 100_000])
def test_one_unusable_line_leaves_the_others(
    listing: bytes, entries: list[int | None], errors: list[str], size: int
) -> None:
    # As content comes: cut anywhere but inside a line end.
    pieces = (piece.replace(b"|", CRLF) for piece in in_pieces(listing.replace(CRLF, b"|"), [size]))
    unusable: list[ProtocolViolation] = []
    assert read_listing(pieces, parse_scan_line, CRLF, unusable=unusable) == entries
    assert [error.what for error in unusable if isinstance(error, MalformedListing)] == errors


@pytest.mark.parametrize(
    "line", [b"2 a\x1bb", b"2 \0", b"2 a\tb", b"two b", b"2b", b"-2 b", b"1 b", b"2 " + b"b" * LINE_LIMIT]
)
def test_a_message_without_a_usable_line_has_no_unique_id(line: bytes) -> None:
    unusable: list[ProtocolViolation] = []
    listing = b"1 a\r\n%b\r\n3 c\r\n" % line
    entries = read_listing([listing], parse_unique_id_line, CRLF, unusable=unusable)
    assert entries == [b"a" if line != b"1 b" else None, None, b"c"]
    assert [len(error.octets) < 10 for error in unusable] == [True]


def test_of_a_list_with_very_many_unusable_lines_nothing_is_believed() -> None:
    unusable: list[ProtocolViolation] = []
    blocks = [b"1 1\r\n", *[b"x\r\n"] * (MOST_UNUSABLE - 1), b"2 2\r\n"]
    assert read_listing(blocks, parse_scan_line, CRLF, unusable=unusable) == [1, 2]
    calls = 0

    def count(line: bytes) -> tuple[int, int]:
        nonlocal calls
        calls += 1
        return parse_scan_line(line)

    unusable = []
    assert read_listing([*blocks, *[b"x\r\n"] * 9999], count, CRLF, unusable=unusable) == []
    assert calls == 2 + MOST_UNUSABLE, "each costs ten times as much as a line that is right"
    assert len(unusable) == MOST_UNUSABLE


def test_a_line_of_a_list_that_never_ends_takes_no_memory() -> None:
    tracemalloc.start()
    unusable: list[ProtocolViolation] = []
    entries = read_listing(
        [b"1 1\r\n2 ", *[b"x" * 65536] * 900], parse_unique_id_line, CRLF, unusable=unusable
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert entries == [b"1"]
    assert len(unusable) == 1
    assert peak < 1 << 20


def test_an_empty_unique_id_is_listed_and_not_a_gap() -> None:
    listing = b"1\r\n3 c\r\n"
    assert read_listing([listing], parse_unique_id_line, CRLF) == [b"", None, b"c"]
    with pytest.raises(MalformedListing, match="1 is listed twice"):
        read_listing([listing, b"1 a\r\n"], parse_unique_id_line, CRLF)


def test_the_consumer_gets_each_entry_as_it_arrives() -> None:
    told: list[tuple[int, bytes]] = []

    def blocks() -> Iterator[bytes]:
        yield b"2 b\r\n1 a"
        assert told == [(1, b"b")]
        yield b"\r\n"
        assert told == [(1, b"b"), (0, b"a")]

    read_listing(blocks(), parse_unique_id_line, CRLF, lambda index, uid: told.append((index, uid)))


def test_a_maildrop_may_hold_so_many_messages_and_no_more() -> None:
    last = b"%d 7\r\n" % MESSAGES_LIMIT
    entries = scan(last)
    assert (len(entries), entries[0], entries[-1]) == (MESSAGES_LIMIT, None, 7)
    with pytest.raises(MalformedListing, match="1000001 is out of range"):
        scan(last, b"%d 7\r\n" % (MESSAGES_LIMIT + 1))


def test_a_listing_may_have_64_mib_and_no_more() -> None:
    count = LISTING_LIMIT // LINE_LIMIT
    lines = [(b"%d 7" % number).ljust(LINE_LIMIT - 2) + CRLF for number in range(1, count + 1)]
    assert scan(*lines) == [7] * count
    with pytest.raises(MalformedListing, match="a listing is longer than 67108864 octets"):
        scan(*lines, b"4")


def test_a_line_of_a_listing_without_end_is_refused() -> None:
    with pytest.raises(LineTooLong):
        scan(b"1 1\r\n2 2", *[b" " * 100] * 82)


# -- capabilities ----------------------------------------------------------------------------------


def capabilities(*blocks: bytes, line_end: bytes = CRLF) -> Capabilities:
    return read_capabilities(blocks, line_end)


@pytest.mark.parametrize(
    ("reply", "known"),
    [
        (b"", {}),
        (b"TOP\r\nUIDL\r\n", {"TOP": None, "UIDL": None}),
        (b"SASL PLAIN LOGIN\r\n", {"SASL": ["PLAIN", "LOGIN"]}),
        (b"SASL\r\n", {"SASL": []}),
        (b"sasl\r\n", {"SASL": []}),
        (b"SASL\r\nSASL PLAIN\r\n", {"SASL": ["PLAIN"]}),
        (b"SASL PLAIN\r\nsasl LOGIN\r\n", {"SASL": ["PLAIN", "LOGIN"]}),
        (b"top\r\nTop\r\n", {"TOP": None}),
        (b"Implementation Dovecot x\r\n", {"IMPLEMENTATION": ["Dovecot", "x"]}),
        (b"  EXPIRE   0   USER \r\n", {"EXPIRE": ["0", "USER"]}),
        (b"\r\n \r\nTOP\r\n", {"TOP": None}),
        (b"X-\xff \xe9 \x1b\r\n", {"X-\\XFF": ["\\xe9", "\x1b"]}),
        (b"LANG fran\xc3\xa7ais\r\n", {"LANG": ["français"]}),
    ],
)
def test_capabilities_are_read_by_name_in_capitals(reply: bytes, known: Capabilities) -> None:
    assert capabilities(reply) == known
    assert (
        capabilities(*(piece.replace(b"|", CRLF) for piece in in_pieces(reply.replace(CRLF, b"|"), [1])))
        == known
    )
    assert capabilities(reply.replace(CRLF, LF), line_end=LF) == known


def test_capabilities_may_have_64_kib_and_no_more() -> None:
    lines = [b"TOP   \r\n"] * (CAPABILITIES_LIMIT // 8)
    assert capabilities(*lines) == {"TOP": None}
    with pytest.raises(MalformedListing, match="the reply to CAPA is longer than 65536 octets"):
        capabilities(*lines, b"U")


def test_a_capability_without_end_is_refused() -> None:
    with pytest.raises(LineTooLong):
        capabilities(b"TOP\r\n", b"x" * (LINE_LIMIT + 1))


@given(block=st.one_of(st.binary(), st.text("\r\n 0123456789abS\t\0").map(str.encode)))
def test_whatever_a_server_lists_is_read_or_refused(block: bytes) -> None:
    for read in (
        lambda: read_listing([block], parse_scan_line, CRLF),
        lambda: read_listing([block], parse_unique_id_line, LF),
        lambda: read_capabilities([block], CRLF),
        lambda: parse_drop_listing(block),
    ):
        try:
            read()
        except MalformedListing as error:
            assert error.exit_status is Status.BAD_DATA


# -- lists that are known again --------------------------------------------------------------------

SIZES = b"1 120\r\n2 7\r\n4 1\r\n"
ENTRIES = [120, 7, None, 1]


def read(blocks: Iterable[bytes], *, keep: bool = True) -> ListReply[int]:
    listing = ListReply(parse_scan_line, CRLF)
    listing.read(blocks, keep=keep)
    return listing


def digest_of(octets: bytes) -> str:
    return read([octets], keep=False).digest


def test_a_list_that_is_sent_again_is_familiar_and_not_parsed() -> None:
    listing = read([SIZES])
    assert listing.digest == digest_of(SIZES) and listing.entries == []
    assert len(listing.digest) == 48


@pytest.mark.parametrize("octets", [b"", SIZES + b"5 9\r\n", SIZES.replace(b"7", b"8"), SIZES[:-5]])
def test_another_list_is_not_familiar_and_parsed_on_request(octets: bytes) -> None:
    listing = read([octets])
    assert listing.digest != digest_of(SIZES) and listing.entries == []
    listing.parse()
    listing.parse()
    assert listing.entries == scan(octets)


def test_a_list_that_was_not_read_has_nothing() -> None:
    listing = ListReply(parse_scan_line, CRLF)
    assert (listing.digest, listing.entries, listing.unusable) == ("", [], [])


def test_a_list_that_is_kept_is_bounded() -> None:
    lines = b"1 1\r\n" * 200_000
    with pytest.raises(MalformedListing, match=f"a listing is longer than {LISTING_LIMIT} octets"):
        read(lines for _ in range(LISTING_LIMIT // len(lines) + 1))


def test_a_list_that_is_not_kept_is_parsed_as_it_arrives() -> None:
    listing = ListReply(parse_scan_line, CRLF)
    listing.read([SIZES])
    assert listing.entries == ENTRIES
    listing.parse()
    assert listing.entries == ENTRIES


@given(cuts=st.sets(st.sampled_from([cut for cut in range(len(SIZES)) if SIZES[cut : cut + 1] != LF])))
def test_blocks_that_are_kept_may_end_anywhere_but_in_a_line_end(cuts: set[int]) -> None:
    listing = read(SIZES[first:last] for first, last in pairwise([0, *sorted(cuts), len(SIZES)]))
    assert listing.digest == digest_of(SIZES)
    listing.parse()
    assert listing.entries == ENTRIES


def test_what_is_kept_takes_no_more_room_in_tiny_blocks() -> None:
    line = b"1 1" + b" " * 5 + b"\r\n"
    tracemalloc.start()
    try:
        listing = read(line for _ in range(100_000))
        assert tracemalloc.get_traced_memory()[1] < 2 * 100_000 * len(line)
    finally:
        tracemalloc.stop()
    assert listing.entries == []


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize(
    ("content", "entries", "errors"),
    [
        (b"1 1\r\n1 1\r\n2 2\r\n", [None, 2], 1),
        (b"one\r\n1\r\n2 2\r\n", [None, 2], 2),
        (b"1 1" + b" " * LINE_LIMIT + b"\r\n2 2\r\n", [None, 2], 1),
    ],
)
def test_unusable_lines_are_left_out_of_a_list_however_it_is_read(
    content: bytes, entries: list[int | None], errors: int, keep: bool
) -> None:
    listing = ListReply(parse_scan_line, CRLF)
    listing.read([content], keep=keep)
    listing.parse()
    assert (listing.entries, len(listing.unusable)) == (entries, errors)


@pytest.mark.parametrize("keep", [True, False])
def test_what_is_kept_has_the_same_limit(keep: bool) -> None:
    sent: list[int] = []

    def blocks() -> Iterator[bytes]:
        for number in range(1, 1_000_000):
            block = b"%d 1 " % number + b"x" * (LINE_LIMIT - 32) + b"\r\n"
            sent.append(len(block))
            yield block

    with pytest.raises(MalformedListing, match="longer than 67108864 octets"):
        read(blocks(), keep=keep)
    assert sum(sent[:-1]) <= LISTING_LIMIT < sum(sent)
