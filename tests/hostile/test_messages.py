"""The ends of messages: what is content, and what is a reply."""

from __future__ import annotations

import pytest

from pop3fetch.status import Status
from tests.support.hostile_servers import GREETING, ONE, THREE, TWO, Attack, mailbox
from tests.support.scripted_server import Talk

UNPIPELINED = (b"TOP", b"UIDL")
# A message that holds, between bare LFs, an end, replies, and a message that was never sent.
FORGED = (
    b"Subject: forged\r\n\r\nfirst\n.\n+OK\nSubject: smuggled\n\nsmuggled\n.\n+OK\n+OK\n-ERR\n\n"
    b"..\n.\r.\r\n\r.\r\r\nlast\r\n"
)


def as_it_came(octets: bytes) -> bytes:
    """Return what a maildir holds of a message: LF for each CRLF, and no other change."""
    return octets.replace(b"\r\n", b"\n")


# -- the end of a message --------------------------------------------------------------------


@pytest.mark.parametrize("capabilities", [UNPIPELINED, (*UNPIPELINED, b"PIPELINING")])
def test_a_dot_between_bare_line_feeds_ends_nothing(attack: Attack, capabilities: tuple[bytes, ...]) -> None:
    after = attack(mailbox([ONE, FORGED, THREE], capabilities=capabilities))
    after.succeeds()
    assert after.files == [as_it_came(message) for message in (ONE, FORGED, THREE)]


@pytest.mark.parametrize("end", [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b".\r\n"])
def test_nothing_but_its_own_line_is_an_end(attack: Attack, end: bytes) -> None:
    reply = b"+OK\r\nSubject: x\r\n\r\nbody" + end
    after = attack(mailbox([ONE], replies={b"RETR 1\r\n": reply}))
    after.fails(Status.TRY_LATER, "timed out", "RETR").left_alone()


DOTS = b"Subject: dots\r\n\r\n.\r\n..\r\n...\r\n.x\r\n..x\r\n\r\n.\r\n"


@pytest.mark.parametrize("message", [DOTS, b".\r\n", b"..\r\n", b"\r\n.\r\n.\r\n"])
def test_stuffed_dots_and_ends_may_be_cut_anywhere(attack: Attack, message: bytes) -> None:
    def crumbs(talk: Talk) -> None:
        stuffed = b"\r\n".join(b"." + line if line[:1] == b"." else line for line in message.split(b"\r\n"))
        for octet in b"+OK\r\n" + stuffed + b".\r\n":
            talk.say(bytes([octet]))

    after = attack(mailbox([message, TWO], replies={b"RETR 1\r\n": b""}, after={b"RETR 1\r\n": crumbs}))
    after.succeeds()
    assert after.delivered == [message, TWO]


STRANGE = {
    "nul": b"Subject: x\0y\r\n\r\na\0b\0\r\n",
    "bare cr": b"Subject: x\ry\r\n\r\n\ra\r\r\nb\r\r\r\n",
    "bare lf": b"Subject: x\ny\n\nbody\nof\n\r\n",
    "8-bit": bytes(range(128, 256)) + b"\r\n\r\n" + bytes(range(128, 256)) + b"\r\n",
    "no header": b"\r\njust a body\r\n",
    "no body": b"Subject: nothing else\r\n",
    "no empty line": b"no header at all\r\nand no end of it\r\n",
    "from": b"From mallory Thu Jan  1 00:00:00 1970\r\n>From x\r\n\r\nFrom here\r\n",
    "colons": b": x\r\n:\r\n::\r\n \r\n\t\r\n\r\n",
    "empty lines": b"\r\n\r\n\r\n",
    "controls": bytes(set(range(32)) - {10, 13}) + b"\x7f\x1b]0;x\x07\r\n",
    "spaces": b"Subject: x \t \r\n\r\ntrailing \t\r\n",
}


@pytest.mark.parametrize("letter", STRANGE.values(), ids=STRANGE)
def test_octets_pass_whatever_they_are(attack: Attack, letter: bytes) -> None:
    after = attack(mailbox([letter, ONE]))
    after.succeeds()
    assert after.files == [as_it_came(letter), as_it_came(ONE)]


def test_octets_pass_in_crlf_and_at_standard_output_too(attack: Attack) -> None:
    served = mailbox(list(STRANGE.values()))
    after = attack(served, command=("get", "--crlf", "-o", "-", "--all"))
    assert after.ended.out == b"".join(STRANGE.values())


# -- whose words are whose -------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"+OK one more\r\n", b"\r\n", b"-", b"* BYE\r\n"])
def test_an_answer_too_many_behind_the_greeting_is_an_error(attack: Attack, said: bytes) -> None:
    after = attack(mailbox(greeting=GREETING + said))
    assert after.ended.status in (Status.PROTOCOL, Status.TRY_LATER)
    after.told_nothing().left_alone()


@pytest.mark.parametrize("command", [b"CAPA\r\n", b"LIST\r\n", b"UIDL\r\n", b"RETR 1\r\n"])
def test_an_answer_too_many_is_an_error_and_nothing_is_deleted(attack: Attack, command: bytes) -> None:
    replies = {
        b"CAPA\r\n": b"+OK\r\nTOP\r\nUIDL\r\n.\r\n",
        b"LIST\r\n": b"+OK\r\n1 29\r\n.\r\n",
        b"UIDL\r\n": b"+OK\r\n1 uid-1\r\n.\r\n",
        b"RETR 1\r\n": b"+OK\r\n" + ONE + b".\r\n",
    }
    served = mailbox([ONE], capabilities=UNPIPELINED, replies={command: replies[command] + b"+OK 1 more\r\n"})
    after = attack(served)
    after.fails(Status.PROTOCOL, "not requested")
    assert b"DELE" not in after.received
    assert served.messages == [ONE]


@pytest.mark.parametrize(
    "reply", [b"", b"OK\r\n", b"\r\n", b"+\r\n", b"250 ok\r\n", b"+OKAY\r\n", b"Subject: x\r\n"]
)
@pytest.mark.parametrize("command", [b"LIST\r\n", b"RETR 1\r\n"])
def test_an_answer_without_a_status_is_an_error(attack: Attack, command: bytes, reply: bytes) -> None:
    after = attack(mailbox([ONE], capabilities=UNPIPELINED, replies={command: reply}))
    after.fails(Status.PROTOCOL if reply else Status.TRY_LATER).left_alone()


@pytest.mark.parametrize("capabilities", [UNPIPELINED, (*UNPIPELINED, b"PIPELINING")])
@pytest.mark.parametrize("refusal", [b"-ERR\r\n", b"-ERR no such luck\r\n", b"-ERR [SYS/PERM] broken\r\n"])
def test_a_refused_message_is_skipped_and_fetched_the_next_time(
    attack: Attack, capabilities: tuple[bytes, ...], refusal: bytes
) -> None:
    served = mailbox(capabilities=capabilities, replies={b"RETR 2\r\n": refusal})
    after = attack(served)
    after.fails(Status.NO_LOGIN if b"PERM" in refusal else Status.REFUSED, "message 2 stays on the server")
    assert (after.delivered, served.messages) == ([ONE, THREE], [TWO])
    served.replies.clear()
    again = attack(after.server)
    assert again.succeeds().delivered == [ONE, THREE, TWO]


def test_a_refusal_with_a_body_is_an_error_and_loses_nothing(attack: Attack) -> None:
    served = mailbox(replies={b"RETR 2\r\n": b"-ERR no\r\nand why\r\n.\r\n"}, capabilities=UNPIPELINED)
    after = attack(served)
    refused, broken = after.error.splitlines()
    assert refused.startswith("pop3fetch: message 2 stays on the server: ")
    assert broken.startswith("pop3fetch: the server broke the protocol: octets that were not requested")
    assert (after.ended.status, after.delivered) == (Status.PROTOCOL, [ONE])
    assert served.messages == [ONE, TWO, THREE]


@pytest.mark.parametrize(
    "mixed",
    [
        b"+OK\r\nSubject: one\r\n\r\nHello.\r\n+OK\r\n.\r\n",
        b"+OK\r\nSubject: one\r\n\r\nHello.\r\n.\r\n.\r\n",
        b"+OK\r\n.\r\nSubject: one\r\n\r\nHello.\r\n.\r\n",
    ],
)
def test_mixed_up_answers_never_delete_a_message(attack: Attack, mixed: bytes) -> None:
    served = mailbox(replies={b"RETR 1\r\n": mixed, b"DELE 1\r\n": b"+OK\r\n"})
    after = attack(served)
    assert after.ended.status in (0, Status.PROTOCOL, Status.BAD_DATA)
    assert TWO in after.delivered or TWO in served.messages
    assert THREE in after.delivered or THREE in served.messages


def test_no_deletion_is_on_its_way_before_all_messages_are_there(attack: Attack) -> None:
    after = attack(mailbox())
    after.succeeds()
    assert after.verbs.index(b"DELE") > len(after.verbs) - 1 - after.verbs[::-1].index(b"RETR")
    seen = after.talks[0].commands.index(b"DELE 1\r\n")
    assert b"RETR" not in b"".join(after.talks[0].commands[seen:])
