"""Nothing is lost and nothing comes twice, however a session ends."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pop3fetch.status import Status
from tests.support.hostile_servers import (
    ONE,
    THREE,
    TWO,
    Attack,
    cutting,
    hanging_up,
    mailbox,
    new_in,
    recorded_in,
    stalling,
)
from tests.support.scripted_server import Script, Talk

UNPIPELINED = (b"TOP", b"UIDL")
ENDS = pytest.mark.parametrize("end", [hanging_up, cutting, stalling], ids=["fin", "rst", "silence"])


# -- deletion --------------------------------------------------------------------------------


def test_dele_comes_when_the_message_and_its_record_are_on_the_disk(attack: Attack) -> None:
    at_dele: list[tuple[int, set[bytes]]] = []

    def look(talk: Talk) -> None:
        at_dele.append((len(new_in(attack.maildir)), recorded_in(attack.state)))

    attack(mailbox(after={b"DELE 1\r\n": look})).succeeds()
    assert at_dele == [(3, {b"uid-1", b"uid-2", b"uid-3"})]


@pytest.mark.parametrize(
    ("reply", "end", "status"),
    [
        (b"-ERR some deleted messages not removed\r\n", None, Status.REFUSED),
        (b"-ERR [SYS/TEMP] later\r\n", None, Status.TRY_LATER),
        (b"", hanging_up, Status.TRY_LATER),
        (b"", cutting, Status.TRY_LATER),
        (b"+O", hanging_up, Status.TRY_LATER),
        (b"BYE\r\n", None, Status.PROTOCOL),
    ],
)
def test_a_quit_that_is_not_confirmed_leaves_all_recorded_and_is_asked_again(
    attack: Attack, reply: bytes, end: Script | None, status: Status
) -> None:
    served = mailbox(replies={b"QUIT\r\n": reply}, after={b"QUIT\r\n": end} if end else {})
    after = attack(served)
    after.fails(status)
    assert after.recorded == {b"uid-1", b"uid-2", b"uid-3"}
    served.replies.clear()
    served.after.clear()
    again = attack(after.server)
    again.succeeds()
    assert again.delivered == [ONE, TWO, THREE]
    assert b"RETR" not in again.verbs
    assert served.messages == []


@ENDS
def test_rm_counts_nothing_as_deleted_before_quit_is_answered(attack: Attack, end: Script) -> None:
    served = mailbox(replies={b"QUIT\r\n": b""}, after={b"QUIT\r\n": end})
    after = attack(served, command=("rm", "--json", "1"))
    after.fails(Status.TRY_LATER, "QUIT")
    assert after.ended.out == b""


# -- messages that break off -----------------------------------------------------------------

HALF = b"+OK\r\nSubject: half\r\n\r\nhalf a li"


def breaking_off(end: Script, capabilities: tuple[bytes, ...] = UNPIPELINED) -> Script:
    return mailbox(replies={b"RETR 2\r\n": HALF}, after={b"RETR 2\r\n": end}, capabilities=capabilities)


@ENDS
def test_half_a_message_never_comes_to_a_maildir(attack: Attack, end: Script) -> None:
    served = breaking_off(end)
    after = attack(served).fails(Status.TRY_LATER)
    assert (after.delivered, after.recorded) == ([ONE], {b"uid-1"})
    assert not {b"DELE", b"QUIT"} & set(after.verbs)


@ENDS
def test_half_a_message_never_comes_to_an_mbox(attack: Attack, end: Script, tmp_path: Path) -> None:
    mbox = tmp_path / "mbox"
    after = attack(breaking_off(end), "-o", f"mbox:{mbox}", command=("get", "--delete"))
    after.fails(Status.TRY_LATER)
    assert b"half" not in mbox.read_bytes()
    assert mbox.read_bytes().count(b"Subject: ") == 1


@ENDS
def test_no_program_is_started_for_half_a_message(attack: Attack, end: Script, tmp_path: Path) -> None:
    log = tmp_path / "log"
    after = attack(breaking_off(end), "--exec", f"sh -c 'cat >> {log}'", command=("get", "--delete"))
    after.fails(Status.TRY_LATER)
    assert log.read_bytes() == ONE.replace(b"\r\n", b"\n")


@ENDS
def test_half_a_message_on_standard_output_stays_new(attack: Attack, end: Script) -> None:
    after = attack(breaking_off(end), command=("get", "-o", "-"))
    after.fails(Status.TRY_LATER)
    assert after.recorded == {b"uid-1"}


@ENDS
def test_what_came_before_the_break_does_not_come_again(attack: Attack, end: Script) -> None:
    served = mailbox(replies={b"RETR 3\r\n": HALF}, after={b"RETR 3\r\n": end}, capabilities=UNPIPELINED)
    after = attack(served).fails(Status.TRY_LATER)
    served.replies.clear()
    served.after.clear()
    again = attack(after.server).succeeds()
    assert again.delivered == [ONE, TWO, THREE]
    assert [line for line in again.commands if line.startswith(b"RETR")] == [b"RETR 3\r\n"]


# -- destinations that fail ------------------------------------------------------------------


@pytest.mark.parametrize(
    "program", ["false", "sh -c 'kill -9 $$'", "sh -c 'cat >/dev/null; exit 75'", "/no/such"]
)
def test_a_program_that_fails_costs_no_message(attack: Attack, program: str) -> None:
    served = mailbox([ONE])
    after = attack(served, "--exec", program, command=("get", "--delete"))
    after.fails(Status.CANNOT_DELIVER, "cannot deliver to exec:").left_alone()
    assert served.messages == [ONE]


def test_a_destination_that_is_not_a_maildir_costs_no_message(attack: Attack) -> None:
    attack.maildir.write_text("no folder")
    served = mailbox()
    attack(served).fails(Status.CANNOT_DELIVER, "cannot deliver to maildir:")
    assert served.messages == [ONE, TWO, THREE]


def test_a_maildir_without_new_is_given_one(attack: Attack) -> None:
    (attack.maildir / "tmp").mkdir(parents=True)
    (attack.maildir / "cur").mkdir()
    assert attack(mailbox()).succeeds().delivered == [ONE, TWO, THREE]


def test_a_maildir_that_disappears_costs_no_message(attack: Attack) -> None:
    def remove(talk: Talk) -> None:
        shutil.rmtree(attack.maildir)

    served = mailbox([ONE], after={b"LIST\r\n": remove})
    after = attack(served)
    assert after.ended.status == Status.CANNOT_DELIVER
    assert after.recorded == set()
    assert served.messages == [ONE]


def test_an_mbox_whose_folder_is_gone_costs_no_message(attack: Attack, tmp_path: Path) -> None:
    served = mailbox()
    mbox = ("-o", f"mbox:{tmp_path}/point/box")
    first = attack(served, *mbox, command=("get",)).succeeds()
    (tmp_path / "point").rename(tmp_path / "disk")
    after = attack(first.server, *mbox, command=("get", "--delete"))
    after.fails(Status.CANNOT_DELIVER)
    assert served.messages == [ONE, TWO, THREE]
    assert not (tmp_path / "point").exists()
