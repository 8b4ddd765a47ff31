"""Numbers, lists and unique-ids that no honest server sends, and odd ones that some send."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from pop3fetch.fetch.survey import MOST_UNPAIRED
from pop3fetch.status import Status
from tests.support.hostile_servers import (
    HOSTILE_WORDS,
    ONE,
    THREE,
    TWO,
    Attack,
    mailbox,
)
from tests.support.mail_server import Mailbox

ARABIC = "١".encode()


def listed(lines: Sequence[bytes]) -> bytes:
    return b"+OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b".\r\n"


# -- numbers ---------------------------------------------------------------------------------

NO_NUMBERS = [
    b"-1", b"+2", b"1_0", b"0x1", b"1e3", b"1.0", b"", b" ", b"x", b"\xff", ARABIC, b"9" * 20, b"9" * 5000,
    b"1\x00", b"\x1b[31m1",
]  # fmt: skip


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_an_invalid_number_in_list_is_bad_data(attack: Attack, number: bytes) -> None:
    after = attack(mailbox(replies={b"LIST\r\n": listed([number + b" 30"])}))
    after.fails(Status.BAD_DATA, "LIST").left_alone()


@pytest.mark.parametrize("size", [size for size in NO_NUMBERS if size.strip()] + [b""])
def test_an_invalid_size_in_list_is_bad_data(attack: Attack, size: bytes) -> None:
    after = attack(mailbox(replies={b"LIST\r\n": listed([b"1 " + size])}))
    after.fails(Status.BAD_DATA, "LIST").left_alone()


@pytest.mark.parametrize("number", [number for number in NO_NUMBERS if number.strip()])
def test_an_invalid_number_in_uidl_is_bad_data(attack: Attack, number: bytes) -> None:
    after = attack(mailbox(replies={b"UIDL\r\n": listed([number + b" uid"])}))
    after.fails(Status.BAD_DATA, "UIDL").left_alone()


@pytest.mark.parametrize("text", [b"", b"1", b"-1 30", b"1 -30", b"x y", b"9" * 5000 + b" 1", ARABIC + b" 1"])
def test_an_invalid_drop_listing_is_bad_data(attack: Attack, text: bytes) -> None:
    after = attack(mailbox(replies={b"STAT\r\n": b"+OK " + text + b"\r\n"}), command=("stat",))
    after.fails(Status.BAD_DATA, "STAT")


@pytest.mark.parametrize(
    "lines",
    [
        [b"0 30"],
        [b"1 30", b"1 30"],
        [b"1 30", b"2 30", b"1 30", b"2 30"],
        [b"9999999999999999999 30"],
        [b"1000001 30"],
    ],
)
@pytest.mark.parametrize("command", [b"LIST\r\n", b"UIDL\r\n"])
def test_numbers_twice_or_out_of_range_are_bad_data(
    attack: Attack, command: bytes, lines: Sequence[bytes]
) -> None:
    after = attack(mailbox(replies={command: listed(lines)}))
    after.fails(Status.BAD_DATA, "message number").left_alone()


# -- one unusable line among others ----------------------------------------------------------

UIDS = [b"1 uid-1", b"2 uid-2", b"3 uid-3"]
SIZES = [b"1 24", b"2 24", b"3 26"]
# Lists in which a line is unusable, and the numbers of the messages without a UID, or without a size, that
# can be believed.
UNUSABLE = {
    "a size that is no number": (b"LIST", [SIZES[0], b"2 x", SIZES[2]], [], [2]),
    "a size that is too large": (b"LIST", [SIZES[0], b"2 " + b"9" * 20, SIZES[2]], [], [2]),
    "no size": (b"LIST", [SIZES[0], b"2", SIZES[2]], [], [2]),
    "a size of a number twice": (b"LIST", [*SIZES, b"2 25"], [], [2]),
    "an empty line in LIST": (b"LIST", [b"", *SIZES], [], []),
    "a number that LIST cannot have": (b"LIST", [*SIZES, b"1000001 5"], [], []),
    "a line of LIST without end": (b"LIST", [SIZES[0], b"2 " + b"2" * 9000, SIZES[2]], [], [2]),
    "control characters": (b"UIDL", [UIDS[0], b"2 uid\x1b[2J-2", UIDS[2]], [2], []),
    "no number": (b"UIDL", [UIDS[0], b"uid-2", UIDS[2]], [2], []),
    "another message's number": (b"UIDL", [UIDS[0], b"3 uid-2", UIDS[2]], [2, 3], []),
    "a number twice": (b"UIDL", [*UIDS, b"2 uid-9"], [2], []),
    "the number 0": (b"UIDL", [UIDS[0], b"0 uid-2", UIDS[2]], [2], []),
    "a line of UIDL without end": (b"UIDL", [UIDS[0], b"2 " + b"u" * 9000, UIDS[2]], [2], []),
    "a line too many": (b"UIDL", [*UIDS, b"\xff\xfe\x00"], [], []),
}  # fmt: skip
WITH_ONE_UNUSABLE_LINE = pytest.mark.parametrize(
    ("command", "lines", "nameless", "sizeless"), UNUSABLE.values(), ids=UNUSABLE.keys()
)


def with_lines(command: bytes, lines: Sequence[bytes]) -> Mailbox:
    return mailbox(replies={command + b"\r\n": listed(lines)})


def without(numbers: Sequence[int]) -> list[bytes]:
    return [octets for number, octets in enumerate([ONE, TWO, THREE], 1) if number not in numbers]


@WITH_ONE_UNUSABLE_LINE
def test_one_unusable_line_does_not_stop_the_other_messages(
    attack: Attack, command: bytes, lines: list[bytes], nameless: list[int], sizeless: list[int]
) -> None:
    served = with_lines(command, lines)
    after = attack(served).goes_on(Status.BAD_DATA)
    assert sorted(after.delivered) == sorted(without(nameless))
    assert served.messages == [[ONE, TWO, THREE][number - 1] for number in (*nameless, *sizeless)]
    for number in nameless:
        assert f"message {number} stays on the server: the server broke the protocol: LIST" in after.error
        assert b" %d 0\r\n" % number not in after.received
        assert b" %d\r\n" % number not in after.received
    served.replies.clear()
    again = attack(after.server).succeeds()
    assert sorted(again.delivered) == sorted([ONE, TWO, THREE])
    assert served.messages == []


@WITH_ONE_UNUSABLE_LINE
@pytest.mark.parametrize("times", [1, 3])
def test_an_unusable_line_makes_nothing_new_that_was_fetched(
    attack: Attack, command: bytes, lines: list[bytes], nameless: list[int], sizeless: list[int], times: int
) -> None:
    served = mailbox()
    keep = ("get", "-o", attack.maildir)
    first = attack(served, command=keep).succeeds()
    for _ in range(times):
        served.replies[command + b"\r\n"] = listed(lines)
        after = attack(first.server, command=keep).goes_on(Status.BAD_DATA)
        served.replies.clear()
    assert sorted(after.delivered) == sorted([ONE, TWO, THREE])
    again = attack(first.server, command=keep).succeeds()
    assert sorted(again.delivered) == sorted([ONE, TWO, THREE])
    assert len(again.recorded) == 3
    served.replies[command + b"\r\n"] = listed(lines)
    attack(first.server).goes_on(Status.BAD_DATA)
    assert served.messages == [[ONE, TWO, THREE][number - 1] for number in (*nameless, *sizeless)]
    served.replies.clear()
    last = attack(first.server).succeeds()
    assert (sorted(last.delivered), served.messages) == (sorted([ONE, TWO, THREE]), [])


@WITH_ONE_UNUSABLE_LINE
def test_an_unusable_line_is_named_by_each_command_which_goes_on(
    attack: Attack, command: bytes, lines: list[bytes], nameless: list[int], sizeless: list[int]
) -> None:
    served = with_lines(command, lines)
    shown = attack(served, command=("list",)).goes_on(Status.BAD_DATA)
    numbers = [int(line.split(b"\t")[0]) for line in shown.ended.out.splitlines()]
    assert numbers == [number for number in (1, 2, 3) if number not in nameless]
    looked = attack(shown.server, command=("get", "-o", "-", "1")).goes_on(Status.BAD_DATA)
    assert looked.ended.out == ONE.replace(b"\r\n", b"\n")
    if nameless:
        refused = attack(shown.server, command=("rm", "--yes", str(nameless[0])))
        refused.goes_on(Status.NO_MESSAGE, f"there is no message {nameless[0]}")
    attack(shown.server, command=("rm", "--yes", "1")).goes_on(Status.BAD_DATA)
    assert served.messages == [TWO, THREE]


@WITH_ONE_UNUSABLE_LINE
@pytest.mark.parametrize("options", [("rm", "--all", "--yes"), ("get", "--mark")])
def test_a_message_without_a_usable_unique_id_is_neither_removed_nor_marked(
    attack: Attack,
    command: bytes,
    lines: list[bytes],
    nameless: list[int],
    sizeless: list[int],
    options: tuple[str, ...],
) -> None:
    served = with_lines(command, lines)
    after = attack(served, command=options).goes_on(Status.BAD_DATA)
    left = [[ONE, TWO, THREE][number - 1] for number in nameless]
    assert served.messages == (left if "rm" in options else [ONE, TWO, THREE])
    served.replies.clear()
    assert attack(after.server).succeeds().delivered == left


ALICE = b"Message-ID: <%d@example.com>\r\n"


@pytest.mark.parametrize("spoilt", [0, 1, 2])
@pytest.mark.parametrize("field", [b"Subject: %d\r\n", ALICE])
@pytest.mark.parametrize("recorded", [[1, 1], [1, 2], [1, 22]])
@pytest.mark.parametrize("added", [[1], [2], [22]])
def test_an_unusable_line_does_not_let_one_copy_pass_for_another(
    attack: Attack, spoilt: int, field: bytes, recorded: list[int], added: list[int]
) -> None:
    messages = [field % number + b"\r\nHello.\r\n" for number in (*recorded, *added)]
    served = mailbox(messages[: len(recorded)], uids=[b"same"] * len(recorded))
    first = attack(served, command=("get", "-o", attack.maildir)).succeeds()
    served.add(messages[-1], b"same")
    lines = [b"%d same" % number for number in range(1, len(messages) + 1)]
    lines[spoilt % len(lines)] += b"\x01"
    served.replies[b"UIDL\r\n"] = listed(lines)
    attack(first.server).goes_on(Status.BAD_DATA, "UIDL")
    served.replies.clear()
    last = attack(first.server).succeeds()
    assert sorted(last.delivered) == sorted(messages)


def test_of_very_many_unusable_lines_a_few_are_named(attack: Attack) -> None:
    lines = [b"1 uid-1", *(b"%d \x01" % number for number in range(2, 500))]
    served = mailbox([ONE] * 499, replies={b"UIDL\r\n": listed(lines)})
    after = attack(served).goes_on(Status.BAD_DATA, "488 more lines are unusable", "398 more stay")
    assert (after.delivered, len(served.messages)) == ([ONE], 498)
    assert after.error.count("\n") < 120


# -- lists that disagree ---------------------------------------------------------------------


def test_order_gaps_and_further_words_are_free(attack: Attack) -> None:
    after = attack(
        mailbox(
            replies={
                b"LIST\r\n": listed([b"3  31 octets", b" 1\t29\tfrom bob"]),
                b"UIDL\r\n": listed([b"1   c", b"3 a"]),
            }
        )
    )
    after.succeeds()
    assert after.delivered == [ONE, THREE]
    assert after.received.index(b"DELE 1") < after.received.index(b"DELE 3")
    assert b" 2\r\n" not in after.received


@pytest.mark.parametrize(
    ("sizes", "uids", "numbers"),
    [
        ([b"1 29"], [b"1 a", b"2 b", b"3 c"], [1, 2, 3]),
        ([b"1 29", b"2 29", b"3 31"], [b"3 c"], [1, 2, 3]),
        ([b"1 29", b"3 31"], [b"2 b", b"3 c"], [1, 2, 3]),
        ([b"1 29", b"2 29"], [b"3 c"], [1, 2, 3]),
        ([], [b"1 a"], [1]),
        ([b"1 29"], [], [1]),
    ],
)
def test_messages_in_one_list_only_are_fetched_and_named(
    attack: Attack, sizes: list[bytes], uids: list[bytes], numbers: list[int]
) -> None:
    after = attack(mailbox(replies={b"LIST\r\n": listed(sizes), b"UIDL\r\n": listed(uids)}))
    assert after.ended.status == 0
    assert after.error.startswith("pop3fetch: LIST and UIDL disagree: ")
    assert after.delivered == [[ONE, TWO, THREE][number - 1] for number in numbers]


def test_of_many_unpaired_unique_ids_only_some_are_requested(attack: Attack) -> None:
    uids = listed([b"%d uid-%d" % (number, number) for number in range(1, 5000)])
    after = attack(mailbox([ONE], replies={b"UIDL\r\n": uids}))
    assert after.ended.status == Status.REFUSED, "what cannot be retrieved is named"
    assert "LIST and UIDL disagree: 4998 messages" in after.error
    assert after.delivered == [ONE]
    assert after.received.count(b"RETR") == 1 + MOST_UNPAIRED


@pytest.mark.parametrize("size", [0, 1, 2**31, 2**63, 10**19 - 1])
def test_a_wrong_size_costs_no_message(attack: Attack, size: int) -> None:
    first = attack(mailbox([ONE, TWO], sizes=[size, size]), command=("get", "-o", attack.maildir)).succeeds()
    assert first.delivered == [ONE, TWO]
    again = attack(first.server).succeeds()
    assert again.verbs.count(b"RETR") == (2 if size > 1 else 0), "far shorter than listed: once more"
    assert again.delivered == [ONE, TWO]
    assert b"RETR" not in attack(first.server).succeeds().verbs
    assert first.server.talks[-1].commands[-1] == b"QUIT\r\n"


# -- unique-ids ------------------------------------------------------------------------------

NAMES = [
    b"../../../../etc/passwd", b"/etc/passwd", b".", b"..", b"new/../../x", b"-rf", b"~", b"$(id)", b"`id`",
    b"con", b"x" * 300, b"a:2,S",
]  # fmt: skip


def test_no_unique_id_becomes_a_file_name(attack: Attack) -> None:
    after = attack(mailbox([ONE] * len(NAMES), uids=NAMES), command=("get", "-o", attack.maildir))
    after.succeeds()
    assert after.recorded == set(NAMES)
    made = {path for path in attack.folder.rglob("*") if path.is_file()}
    assert {path.parent for path in made} == {attack.folder, attack.maildir / "new", attack.state}
    assert not [path for path in made if any(name.decode() in path.name for name in NAMES[5:] + NAMES[:2])]


DATA = [
    b"'", b'"', b"[x]", b"#", b"%s", b"\\", b"a", b"A", b";", b"x'; DROP TABLE message; --", b"\xff\xfe",
    b"\xc3\xa9", b"{}", b"&amp;", b"0", b"~",
]  # fmt: skip


def test_unique_ids_are_octets_that_the_record_keeps_exactly(attack: Attack) -> None:
    served = mailbox([b"%d\r\n" % number for number in range(len(DATA))], uids=DATA)
    keep = ("get", "-o", attack.maildir)
    first = attack(served, command=keep).succeeds()
    assert len(first.delivered) == len(DATA)
    again = attack(first.server, command=keep).succeeds()
    assert again.recorded == set(DATA)
    assert b"RETR" not in again.verbs


@pytest.mark.parametrize("uid", [b"a\x1b[31mb", b"a\x00b", b"a\x7fb", b"a\tb", b"a\rb", b"\x01"])
def test_control_characters_in_a_unique_id_are_bad_data(attack: Attack, uid: bytes) -> None:
    attack(mailbox([ONE], uids=[uid])).fails(Status.BAD_DATA, "UIDL").left_alone()


@pytest.mark.parametrize(
    "replies", [{b"UIDL\r\n": listed([b"1", b"2 ", b"3 \t "])}, {b"UIDL\r\n": b"-ERR\r\n"}]
)
def test_a_message_without_unique_id_is_fetched_once_all_the_same(
    attack: Attack, replies: dict[bytes, bytes]
) -> None:
    announced = (b"UIDL",) if b"-ERR\r\n" not in replies.values() else ()
    served = mailbox([ONE, TWO, ONE], replies=replies, capabilities=(b"TOP", b"USER", *announced))
    keep = ("get", "-o", attack.maildir)
    first = attack(served, command=keep).succeeds()
    assert first.delivered == [ONE, TWO, ONE]
    assert attack(first.server, command=keep).succeeds().delivered == [ONE, TWO, ONE]


@pytest.mark.parametrize("messages", [[ONE, ONE], [ONE, TWO], [TWO, ONE]])
def test_messages_that_share_a_unique_id_come_each_once(attack: Attack, messages: list[bytes]) -> None:
    served = mailbox(messages, uids=[b"same", b"same"])
    keep = ("get", "-o", attack.maildir)
    first = attack(served, command=keep).succeeds()
    assert first.delivered == messages
    assert attack(first.server, command=keep).succeeds().delivered == messages


FROM = b"From: bob@example.com\r\n"


@pytest.mark.parametrize(
    ("one", "two"), [(FROM + ONE, b"Date: x\r\n" + TWO), (FROM + ONE, TWO), (ONE, FROM + TWO)]
)
def test_a_message_that_comes_before_its_twin_is_fetched(attack: Attack, one: bytes, two: bytes) -> None:
    served = mailbox([one], uids=[b"same"])
    first = attack(served, command=("get", "-o", attack.maildir)).succeeds()
    served.maildrop.insert(0, mailbox([two], uids=[b"same"]).maildrop[0])
    after = attack(first.server).succeeds()
    assert {one, two} <= set(after.delivered)
    assert served.messages == []


def test_by_a_shared_unique_id_and_a_size_alone_nothing_is_deleted(attack: Attack) -> None:
    one, two = b"\r\none, of no headers\r\n", b"\r\ntwo, of no headers\r\n"
    served = mailbox([one], uids=[b"same"])
    first = attack(served, command=("get", "-o", attack.maildir)).succeeds()
    served.maildrop.insert(0, mailbox([two], uids=[b"same"]).maildrop[0])
    attack(first.server).succeeds()
    assert served.messages == [two], "it was never read"


def test_json_of_hostile_unique_ids_is_json(attack: Attack) -> None:
    uids = [
        b'"},{"number":9,"x":"',
        b"\xff\\u0000",
        HOSTILE_WORDS.translate(None, bytes(range(32)) + b"\x7f"),
    ]
    after = attack(mailbox([ONE] * 3, uids=uids), command=("list", "--json"))
    objects = [json.loads(line) for line in after.ended.out.splitlines()]
    assert [one["number"] for one in objects] == [1, 2, 3]
    assert objects[0]["uid"].encode() == uids[0]
