"""What only an mbox does: it is one file, which others write to as well."""

from __future__ import annotations

import mailbox
import os
import pty
import re
import select
import shutil
import subprocess
import termios
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pop3fetch.delivery import mbox_search as standing
from pop3fetch.delivery.destination import Draft, Place, Settled
from pop3fetch.delivery.mbox import Mbox
from pop3fetch.errors import DeliveryError
from tests.support.delivering import (
    TAG,
    Died,
    Journal,
    deliver,
    drafts,
    messages_of_mboxrd,
    no_file_longer_than,
    refuses_to_deliver,
)
from tests.support.file_modes import mode
from tests.support.swapping import USER, swap_before_opening

ONE = b"Return-Path: <bob@example.org>\nFrom: bob@example.org\nSubject: one\n\nFrom here\nto there\n"
SHORT = b"Subject: short\n\n.\n"
TWO = b"From: eve@example.org\nSubject: two\n\nno line end"
THREE = b"From: eve@example.org\nSubject: three\n\n" + b"0123456789abcde\n" * 70_000 + b"\n\n"
FOUR = b"Subject: four\n\n4\n"
OTHERS = b"From carol@example.org Tue Nov 14 22:13:20 2023\nSubject: of others\n\nhello\n\n"

PATIENCE = 10.0  # seconds that another program may take


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return tmp_path / "inbox"


@pytest.fixture
def spools(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def mbox(inbox: Path, spools: Path) -> Mbox:
    return Mbox(inbox, TAG, spools, patience=0)


def with_last_line_end(message: bytes) -> bytes:
    return message if message.endswith(b"\n") else message + b"\n"


# -- the file --------------------------------------------------------------------------------------


def test_a_message_is_between_a_from_line_and_an_empty_line(mbox: Mbox, inbox: Path) -> None:
    deliver(mbox, ONE, TWO)

    from_line = rb"From %b [A-Z][a-z]{2} [A-Z][a-z]{2} [ 1-3][0-9] [0-9:]{8} [0-9]{4}\n"
    expected = b"%b%b\n%b%b\n\n" % (
        from_line % rb"bob@example\.org",
        re.escape(ONE.replace(b"\nFrom here", b"\n>From here")),
        from_line % b"MAILER-DAEMON",
        re.escape(TWO),
    )
    assert re.fullmatch(expected, inbox.read_bytes())


ENDS = [
    (b"", b""),
    (b"\n", b"\n"),
    (b"x", b"\n\n"),
    (b"x\n", b"\n"),
    (b"x\n\n", b""),
    (b"x\r\n", b"\n"),
    (b"x\r\n\r\n", b""),
    (OTHERS, b""),
    (OTHERS[:-1], b"\n"),
    (OTHERS[:-2], b"\n\n"),
]


@pytest.mark.parametrize(("before", "padding"), ENDS)
def test_a_from_line_follows_an_empty_line_however_the_mbox_ends(
    before: bytes, padding: bytes, mbox: Mbox, inbox: Path
) -> None:
    inbox.write_bytes(before)

    deliver(mbox, ONE)

    octets = inbox.read_bytes()
    assert octets.startswith(before + padding)
    assert messages_of_mboxrd(octets.removeprefix(before + padding)) == [ONE]


def test_lines_that_end_in_crlf_keep_their_ends(mbox: Mbox, inbox: Path) -> None:
    message = b"Return-Path: <bob@example.org>\r\nSubject: x\r\n\r\nFrom here\r\n"

    deliver(mbox, message)

    assert inbox.read_bytes().startswith(b"From bob@example.org ")
    assert inbox.read_bytes().endswith(b"\n" + message.replace(b"\r\nFrom h", b"\r\n>From h") + b"\n")


def test_a_new_mbox_is_private_and_an_old_one_keeps_its_mode(mbox: Mbox, inbox: Path) -> None:
    mbox.prepare()
    assert mode(inbox) == 0o600
    assert inbox.read_bytes() == b""

    inbox.chmod(0o660)
    deliver(mbox, ONE)
    assert mode(inbox) == 0o660


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_is_followed(exists: bool, inbox: Path, spools: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(inbox)
    if exists:
        inbox.touch()

    deliver(Mbox(link, TAG, spools), ONE)

    assert link.is_symlink()
    assert messages_of_mboxrd(inbox.read_bytes()) == [ONE]


def test_a_link_and_its_file_are_locked_by_the_same_name(inbox: Path, spools: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(inbox)
    (tmp_path / "inbox.lock").touch()
    with pytest.raises(DeliveryError, match="locked by another program"):
        Mbox(tmp_path / "link", TAG, spools, patience=0).prepare()


def test_the_path_of_a_message_is_that_of_the_mbox(mbox: Mbox, inbox: Path) -> None:
    mbox.prepare()
    assert [draft.path for draft in drafts(mbox, [ONE])] == [str(inbox)]


# -- other programs --------------------------------------------------------------------------------


def test_python_reads_what_was_delivered(mbox: Mbox, inbox: Path) -> None:
    deliver(mbox, ONE, TWO, THREE)
    inbox.write_bytes(inbox.read_bytes() + OTHERS)
    deliver(mbox, ONE)

    box = mailbox.mbox(inbox)
    try:
        subjects = [str(message["subject"]) for message in box]
        bodies = [box.get_bytes(key) for key in box.iterkeys()]
        senders = [(box.get_message(key).get_from() or "").split()[0] for key in box.iterkeys()]
    finally:
        box.close()

    assert subjects == ["one", "two", "three", "of others", "one"]
    quoted = ONE.replace(b"\nFrom here", b"\n>From here")
    assert bodies[:3] == [quoted, with_last_line_end(TWO), THREE]
    assert senders[0] == "bob@example.org"


MUTT_ASKS_NOTHING = "quit=yes delete=yes confirmappend=no confirmcreate=no move=no"
needs_mutt = pytest.mark.skipif(not shutil.which("mutt"), reason="mutt is not installed")


def mutt(inbox: Path, keys: str) -> None:
    """Let mutt open ``inbox`` and press ``keys``, on a terminal as it must be."""
    options = f"set {MUTT_ASKS_NOTHING} mbox_type=mbox folder={inbox.parent}"
    terminal, its_end = pty.openpty()
    termios.tcsetwinsize(its_end, (24, 80))  # ncurses 6.5 refuses the 0 by 0 that a new one has
    words = ["mutt", "-n", "-F", "/dev/null", "-f", str(inbox), "-e", options, "-e", f"push '{keys}'"]
    with subprocess.Popen(
        words, stdin=its_end, stdout=its_end, stderr=its_end, start_new_session=True
    ) as process:
        os.close(its_end)
        try:
            while select.select([terminal], [], [], PATIENCE)[0] and os.read(terminal, 4096):
                pass
        except OSError:  # how Linux reports that the other end is closed
            pass
        finally:
            os.close(terminal)
            process.kill()


@needs_mutt
def test_mutt_reads_what_was_delivered(
    mbox: Mbox, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    deliver(mbox, ONE, TWO, THREE)

    mutt(inbox, f"<tag-pattern>~s two|~s three<enter><tag-prefix><copy-message>{tmp_path}/copy<enter><exit>")

    copies = messages_of_mboxrd((tmp_path / "copy").read_bytes())
    subjects = [re.findall(rb"(?m)^Subject: (.*)", copy) for copy in copies]
    assert subjects == [[b"two"], [b"three"]]


@pytest.mark.skipif(not shutil.which("formail"), reason="procmail is not installed")
def test_procmail_splits_what_was_delivered(mbox: Mbox, inbox: Path) -> None:
    deliver(mbox, ONE, TWO, THREE)

    command = ["formail", "-s", "sh", "-c", "grep ^Subject:"]
    split = subprocess.run(command, input=inbox.read_bytes(), capture_output=True, timeout=PATIENCE)

    assert split.stdout.splitlines() == [b"Subject: one", b"Subject: two", b"Subject: three"]


# -- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [b"", OTHERS, OTHERS[:-2]])
def test_a_failure_while_appending_is_cut_back(before: bytes, mbox: Mbox, inbox: Path, spools: Path) -> None:
    inbox.write_bytes(before)
    mbox.prepare()
    batch = drafts(mbox, [ONE, b"Subject: x\n\n" + b"x" * 300 + b"\n"])
    journal = Journal()
    with no_file_longer_than(len(before) + 400), pytest.raises(DeliveryError, match="File too large"):
        mbox.deliver(batch, journal)

    assert inbox.read_bytes() == before
    assert mbox.settle(list(journal.intents.values())) == [Settled.UNDONE] * 2
    mbox.remove_leftovers()
    assert os.listdir(spools) == []
    assert not inbox.with_name("inbox.lock").exists()


def test_what_was_delivered_before_a_failure_stays_delivered(mbox: Mbox, inbox: Path) -> None:
    deliver(mbox, ONE)
    before = inbox.read_bytes()
    with no_file_longer_than(len(before) + 100):
        assert refuses_to_deliver(mbox, TWO * 2).fatal
    assert inbox.read_bytes() == before


# -- after a crash ---------------------------------------------------------------------------------


def dead_run(mbox: Mbox, *messages: bytes, moment: str = "before done") -> list[Place]:
    """Die at ``moment``; return the places of what was intended."""
    journal = Journal(dies=moment)
    mbox.prepare()
    with pytest.raises(Died):
        mbox.deliver(drafts(mbox, messages), journal)
    return list(journal.intents.values())


def cuts(whole: bytes) -> list[int]:
    """Return the places to cut: both ends, the ends of lines, and some in between."""
    return sorted({0, 1, 4, 5, 30, len(whole) // 2, len(whole) - 2, len(whole) - 1})


@pytest.mark.parametrize("before", [b"", OTHERS, OTHERS[:-2]])
def test_a_part_at_the_end_is_completed_wherever_the_crash_was(
    before: bytes, mbox: Mbox, inbox: Path, spools: Path
) -> None:
    inbox.write_bytes(before)
    first, second = dead_run(mbox, ONE, TWO)
    octets = inbox.read_bytes()
    for cut in cuts(octets[first.offset :]):
        inbox.write_bytes(octets[: first.offset + cut])

        settled = Mbox(inbox, TAG, spools).settle([first, second])

        expected = [(place.offset, first.offset + cut) for place in (first, second)]
        assert settled == [Settled.DELIVERED if end > start else Settled.UNDONE for start, end in expected]
        whole = [
            place.offset + place.length
            for place, what in zip((first, second), settled, strict=True)
            if what is Settled.DELIVERED
        ]
        assert inbox.read_bytes() == octets[: max(whole, default=first.offset)]


@pytest.mark.parametrize("behind", [b"", OTHERS])
@pytest.mark.parametrize("before", [b"", OTHERS[:-2]])
def test_a_part_in_the_room_for_all_of_it_is_completed(
    before: bytes, behind: bytes, mbox: Mbox, inbox: Path, spools: Path
) -> None:
    inbox.write_bytes(before)
    places = dead_run(mbox, ONE, TWO)
    octets = inbox.read_bytes()
    start = places[0].offset
    for cut in cuts(octets[start:]):
        # The kernel ended the run here, or the power came back with these blocks on the disk.
        inbox.write_bytes(octets[: start + cut].ljust(len(octets), b"\0") + behind)
        assert Mbox(inbox, TAG, spools).settle(places) == [Settled.DELIVERED] * 2
        assert inbox.read_bytes() == octets + behind


class Meanwhile(Journal):
    """Lets something happen once the record has the intents."""

    def __init__(self, happen: Callable[[], object]) -> None:
        super().__init__()
        self._happen = happen

    def intend(self, drafts: Sequence[Draft], places: Sequence[Place]) -> None:
        super().intend(drafts, places)
        self._happen()


def die_at_write(mbox: Mbox, messages: Sequence[bytes], number: int) -> list[Place]:
    """Die before the ``number``-th write to the mbox, from 0; return the places of what was intended."""
    left = number

    with pytest.MonkeyPatch.context() as patched:

        def last(call: Callable[..., int]) -> Callable[..., int]:
            def counted(*arguments: object) -> int:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Died
                return call(*arguments)

            return counted

        def arm() -> None:
            for name in ("pwrite", "ftruncate"):
                patched.setattr(os, name, last(getattr(os, name)))

        journal = Meanwhile(arm)
        mbox.prepare()
        with pytest.raises(Died):
            mbox.deliver(drafts(mbox, messages), journal)
    return list(journal.intents.values())


def settle(mbox: Mbox, places: Sequence[Place], messages: Sequence[bytes]) -> None:
    """Settle, and deliver what is undone, as the next run does."""
    pairs = zip(messages, mbox.settle(places), strict=True)
    if undone := [message for message, settled in pairs if settled is Settled.UNDONE]:
        deliver(mbox, *undone)


@pytest.fixture
def link(inbox: Path, spools: Path) -> Mbox:
    """Another account's mbox, which is the same file."""
    link = inbox.with_name("link")
    inbox.touch()
    os.link(inbox, link)
    return Mbox(link, "f" * 16, spools, patience=0)


ROOM, PADDING, FIRST, SECOND, END = range(5)  # what is written to an mbox that lacks line ends


@pytest.mark.parametrize("write", [ROOM, PADDING, FIRST, SECOND, END])
def test_whatever_write_is_the_last_another_account_may_append_before_it_is_settled(
    write: int, mbox: Mbox, link: Mbox, inbox: Path
) -> None:
    """The other account finds neither a room that lacks its line ends, nor a place that is its own."""
    inbox.write_bytes(OTHERS[:-2])
    places = die_at_write(mbox, [ONE, THREE], write)
    deliver(link, FOUR)
    behind = inbox.read_bytes()

    settle(mbox, places, [ONE, THREE])
    of_others = OTHERS.partition(b"\n")[2][:-1]
    in_order = [of_others, FOUR, ONE, THREE] if write == ROOM else [of_others, ONE, THREE, FOUR]
    assert messages_of_mboxrd(inbox.read_bytes()) == in_order
    assert inbox.read_bytes().startswith(behind) == (write == ROOM)


def test_nuls_of_another_message_are_not_taken_for_room(mbox: Mbox, link: Mbox, inbox: Path) -> None:
    zeros = b"Subject: zeros\n\n" + bytes(10_000) + b"\n"
    places = die_at_write(mbox, [ONE, FOUR, ONE], 0)
    deliver(link, zeros)
    settle(mbox, places, [ONE, FOUR, ONE])
    assert messages_of_mboxrd(inbox.read_bytes()) == [zeros, ONE, FOUR, ONE]


def test_nuls_that_a_mail_program_has_moved_are_not_taken_for_room(mbox: Mbox, inbox: Path) -> None:
    inbox.write_bytes(OTHERS * 10)
    places = die_at_write(mbox, [ONE], 0)
    octets = OTHERS[:-1] + bytes(10_000) + b"\n\n" + OTHERS
    inbox.write_bytes(octets)
    assert mbox.settle(places) == [Settled.UNDONE]
    assert inbox.read_bytes() == octets


@pytest.mark.parametrize("behind", [b"", OTHERS])
def test_part_that_ends_anywhere_in_a_whole_room_is_completed(behind: bytes, mbox: Mbox, inbox: Path) -> None:
    """The kernel ends a write of a process that was killed, between two pages for one."""
    places = dead_run(mbox, ONE, TWO)
    octets = inbox.read_bytes()
    room = bytes(len(octets) - 2) + b"\n\n"
    for cut in range(len(octets)):
        inbox.write_bytes(octets[:cut] + room[cut:] + behind)
        assert mbox.settle(places) == [Settled.DELIVERED] * 2
        assert inbox.read_bytes() == octets + behind


def test_room_that_lacks_its_last_octet_is_completed(mbox: Mbox, link: Mbox, inbox: Path) -> None:
    places = die_at_write(mbox, [ONE, TWO], 1)
    with inbox.open("r+b") as file:
        file.truncate(inbox.stat().st_size - 1)
    deliver(link, THREE)
    settle(mbox, places, [ONE, TWO])
    assert messages_of_mboxrd(inbox.read_bytes()) == [ONE, with_last_line_end(TWO), THREE]


@pytest.fixture
def on_a_disk(tmp_path: Path, spools: Path) -> Mbox:
    # Patient: a disk that comes back brings a dot-lock along, whose owner is gone.
    return Mbox(tmp_path / "disk" / "inbox", TAG, spools, patience=PATIENCE)


def unmount(mbox: Mbox, *, leave_folder: bool) -> Path:
    """Move the folder of the mbox away; return its new path."""
    disk = mbox.file.parent
    away = disk.rename(disk.with_name("away"))
    if leave_folder:
        disk.mkdir()
    return away


@pytest.mark.parametrize("leave_folder", [True, False])
def test_nothing_is_delivered_to_a_folder_that_replaces_the_first(
    on_a_disk: Mbox, leave_folder: bool
) -> None:
    on_a_disk.prepare()
    unmount(on_a_disk, leave_folder=leave_folder)

    journal = Journal()
    with pytest.raises(DeliveryError, match="not mounted" if not leave_folder else "moved or replaced"):
        on_a_disk.deliver(drafts(on_a_disk, [ONE]), journal)

    assert not on_a_disk.file.exists()
    assert (journal.delivered, journal.intents) == ([], {})


@pytest.mark.parametrize("leave_folder", [True, False])
def test_message_is_not_done_in_an_mbox_whose_folder_was_moved_away(
    on_a_disk: Mbox, leave_folder: bool
) -> None:
    on_a_disk.prepare()
    known = on_a_disk.folder_id
    disk = on_a_disk.file.parent
    journal = Meanwhile(lambda: unmount(on_a_disk, leave_folder=leave_folder))

    with pytest.raises(DeliveryError, match="moved or replaced") as caught:
        on_a_disk.deliver(drafts(on_a_disk, [ONE, TWO]), journal)

    assert caught.value.fatal
    assert (journal.delivered, sorted(journal.intents)) == ([], [0, 1])
    places = list(journal.intents.values())
    assert {place.folder for place in places} == {known}
    with pytest.raises(DeliveryError, match="not mounted"):
        on_a_disk.settle(places)
    if leave_folder:
        disk.rmdir()
    disk.with_name("away").rename(disk)
    assert on_a_disk.settle(places) == [Settled.DELIVERED] * 2
    assert messages_of_mboxrd(on_a_disk.file.read_bytes()) == [ONE, with_last_line_end(TWO)]


def test_message_is_not_done_in_an_mbox_that_was_moved_away(mbox: Mbox, inbox: Path) -> None:
    mbox.prepare()
    journal = Meanwhile(lambda: inbox.rename(inbox.with_name("read")))

    with pytest.raises(DeliveryError, match="moved or replaced"):
        mbox.deliver(drafts(mbox, [ONE]), journal)

    assert mbox.settle(list(journal.intents.values())) == [Settled.UNDONE]


def test_disk_that_goes_while_an_mbox_is_prepared_is_not_made_anew(
    on_a_disk: Mbox, spools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_disk.prepare()
    known = on_a_disk.folder_id
    at_the_spools = Mbox(on_a_disk.file, TAG, spools, patience=0)

    def go(path: Path) -> None:
        if path == spools:
            unmount(on_a_disk, leave_folder=True)

    monkeypatch.setattr("pop3fetch.delivery.mbox.make_folder", go)
    with pytest.raises(DeliveryError, match="moved or replaced"):
        at_the_spools.prepare(known)
    assert not on_a_disk.file.exists()


def test_disk_that_goes_while_an_mbox_is_settled_decides_nothing(
    on_a_disk: Mbox, spools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = dead_run(on_a_disk, ONE)
    is_missing = Mbox._is_missing

    def go_after(mbox: Mbox, known: str) -> bool:
        answer = is_missing(mbox, known)
        unmount(mbox, leave_folder=True)
        return answer

    monkeypatch.setattr(Mbox, "_is_missing", go_after)
    with pytest.raises(DeliveryError, match="moved or replaced"):
        Mbox(on_a_disk.file, TAG, spools, patience=0).settle(places)
    assert not on_a_disk.file.exists()


@pytest.mark.parametrize(
    ("intended", "begun"),
    [([ONE], [THREE]), ([THREE], [ONE]), ([ONE, ONE], [SHORT]), ([SHORT], [ONE, THREE])],
)
@pytest.mark.parametrize(
    "behind", [[], [b"Subject: behind\n\n.\n"]], ids=["nothing behind", "a message behind"]
)
def test_room_of_another_account_is_not_taken_for_ones_own(
    inbox: Path,
    spools: Path,
    intended: list[bytes],
    begun: list[bytes],
    behind: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One account died with an intent and no room; another one made its room at the same offset, and died."""

    def die(*_: object) -> None:
        raise Died

    def left(tag: str, messages: list[bytes], step: str) -> list[Place]:
        journal = Journal()
        mbox = Mbox(inbox, tag, spools)
        mbox.prepare()
        with monkeypatch.context() as patch, pytest.raises(Died):
            patch.setattr(f"pop3fetch.delivery.mbox.{step}", die)
            patch.setattr("os.ftruncate", lambda *_: None)  # nothing cuts the room back
            mbox.deliver(drafts(mbox, messages), journal)
        return list(journal.intents.values())

    other = "f" * 16
    ours, theirs = left(TAG, intended, "_append"), left(other, begun, "_copy")
    deliver(Mbox(inbox, "e" * 16, spools), *behind)

    assert Mbox(inbox, TAG, spools).settle(ours) == [Settled.UNDONE] * len(intended)
    assert Mbox(inbox, other, spools).settle(theirs) == [Settled.DELIVERED] * len(begun)
    assert messages_of_mboxrd(inbox.read_bytes()) == [*begun, *behind]


@pytest.mark.parametrize("is_there", [True, False])
def test_mbox_whose_folder_was_not_recorded_must_be_there(is_there: bool, mbox: Mbox, inbox: Path) -> None:
    if is_there:
        inbox.touch()
        mbox.prepare("")
    else:
        with pytest.raises(DeliveryError, match="not mounted"):
            mbox.prepare("")
        assert not inbox.exists()
        mbox.prepare("", create=True)
    assert inbox.exists()


def test_blocks_that_a_power_cut_has_lost_are_written_again(mbox: Mbox, inbox: Path, spools: Path) -> None:
    inbox.write_bytes(b"no line end")
    large = b"Subject: x\n\n" + b"0123456789abcde\n" * 1000
    places = dead_run(mbox, large, TWO)
    octets = inbox.read_bytes()
    for first, last in ((11, 8192), (4096, 8192), (8192, len(octets)), (11, len(octets))):
        inbox.write_bytes(octets[:first] + bytes(last - first) + octets[last:])
        assert Mbox(inbox, TAG, spools).settle(places) == [Settled.DELIVERED] * 2
        assert inbox.read_bytes() == octets


def test_many_messages_are_settled_with_one_reading_of_the_mbox(
    mbox: Mbox, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [b"Message-ID: <%d>\n\nx\n" % number for number in range(50)]
    inbox.write_bytes(OTHERS * 1000)
    places = dead_run(mbox, *messages)
    inbox.write_bytes(b"From x Tue Nov 14 22:13:20 2023\n\n\n" + inbox.read_bytes())  # a reader was here
    read = 0
    pread = os.pread

    def counting(file: int, length: int, offset: int) -> bytes:
        nonlocal read
        octets = pread(file, length, offset)
        read += len(octets)
        return octets

    monkeypatch.setattr("os.pread", counting)
    assert mbox.settle(places) == [Settled.DELIVERED] * 50
    assert read < 8 * inbox.stat().st_size


def test_an_earlier_message_of_the_same_octets_is_not_taken_for_it(mbox: Mbox, inbox: Path) -> None:
    deliver(mbox, ONE)
    (place,) = dead_run(mbox, ONE, moment="after intend")
    assert mbox.settle([place]) == [Settled.UNDONE]


@pytest.fixture
def one_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all From_ lines have one time."""
    monkeypatch.setattr("time.time", lambda: 1_700_000_000.0)


@pytest.mark.usefixtures("one_second")
def test_a_message_of_the_last_batch_is_not_taken_for_its_twin_in_this_one(mbox: Mbox) -> None:
    mbox.prepare()
    last, this = drafts(mbox, [ONE]), drafts(mbox, [ONE])
    mbox.deliver(last, Journal())
    journal = Journal(dies="after intend")
    with pytest.raises(Died):
        mbox.deliver(this, journal)
    assert mbox.settle(list(journal.intents.values())) == [Settled.UNDONE]


@pytest.mark.usefixtures("one_second")
def test_a_message_is_not_taken_for_its_twin_in_the_same_batch(mbox: Mbox, inbox: Path) -> None:
    places = dead_run(mbox, ONE, ONE)
    inbox.write_bytes(inbox.read_bytes()[: places[1].offset])  # a power cut
    assert mbox.settle(places) == [Settled.DELIVERED, Settled.UNDONE]


def test_a_message_that_was_read_before_the_room_of_the_next_one_is_found(mbox: Mbox, inbox: Path) -> None:
    first, second = dead_run(mbox, ONE, TWO)
    octets = inbox.read_bytes()[: second.offset] + bytes(second.length - 2) + b"\n\n"
    header = octets.index(b"\n\n") + 1
    inbox.write_bytes(octets[:header] + b"Status: RO\n" + octets[header:])
    assert mbox.settle([first, second])[0] is Settled.DELIVERED


@pytest.mark.parametrize("count", [1, 2])
def test_a_message_that_was_read_at_its_place_is_found(mbox: Mbox, inbox: Path, count: int) -> None:
    inbox.write_bytes(OTHERS)
    places = dead_run(mbox, *[ONE, TWO][:count])
    octets = inbox.read_bytes()
    for place in reversed(places):
        header = octets.index(b"\n\n", place.offset) + 1
        octets = octets[:header] + b"Status: RO\n" + octets[header:]
    inbox.write_bytes(octets + OTHERS)
    assert mbox.settle(places) == [Settled.DELIVERED] * count


@pytest.mark.parametrize("behind", [b"", b"\n", b"\n\n" + OTHERS])
def test_a_message_that_more_empty_lines_follow_is_found(mbox: Mbox, inbox: Path, behind: bytes) -> None:
    (place,) = dead_run(mbox, ONE)
    inbox.write_bytes(OTHERS + inbox.read_bytes() + behind)
    assert mbox.settle([place]) == [Settled.DELIVERED]


def test_nor_is_it_if_others_have_appended_since(mbox: Mbox, inbox: Path) -> None:
    twin = ONE.replace(b"\nFrom here", b"\n>From here")
    inbox.write_bytes(b"From bob@example.org Tue Nov 14 22:13:20 2023\n" + twin + b"\n")
    (place,) = dead_run(mbox, ONE, moment="after intend")
    inbox.write_bytes(inbox.read_bytes() + OTHERS)
    assert mbox.settle([place]) == [Settled.UNDONE]


@pytest.mark.parametrize("more", [b"more\n", b"\nFrom: here on\n"])
def test_a_longer_message_that_begins_as_it_is_not_taken_for_it(
    more: bytes, mbox: Mbox, inbox: Path, spools: Path
) -> None:
    (place,) = dead_run(mbox, ONE, moment="after intend")
    longer = (spools / place.name).read_bytes().removesuffix(b"\n") + more + b"\n"
    inbox.write_bytes(OTHERS + longer + OTHERS)
    assert mbox.settle([place]) == [Settled.UNDONE]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root delivers for others")
def test_root_does_not_follow_a_link_that_the_owner_has_just_put_there(
    tmp_path: Path, spools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, secret = tmp_path / "home/Mail", tmp_path / "secret"
    for each in (folder, secret):
        each.mkdir(parents=True)
        (each / "box").touch()
    for path in (folder.parent, folder, folder / "box"):
        os.chown(path, USER, USER)
    swap_before_opening(folder / "box", folder, secret, monkeypatch)
    with pytest.raises(DeliveryError, match="link"):
        deliver(Mbox(folder / "box", TAG, spools), ONE)
    assert (secret / "box").read_bytes() == b""


def test_settling_writes_again_what_an_error_may_have_dropped(
    mbox: Mbox, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error of fsync the kernel may call pages clean that never reached the disk."""
    (place,) = dead_run(mbox, ONE)
    written: list[tuple[int, int]] = []
    pwrite = os.pwrite

    def noting(file: int, octets: bytes, offset: int) -> int:
        written.append((offset, len(octets)))
        return pwrite(file, octets, offset)

    monkeypatch.setattr("os.pwrite", noting)
    before = inbox.read_bytes()
    assert mbox.settle([place]) == [Settled.DELIVERED]
    assert (place.offset, place.length) in written
    assert inbox.read_bytes() == before


def test_line_ends_added_for_the_sake_of_the_from_line_may_stay(mbox: Mbox, inbox: Path) -> None:
    inbox.write_bytes(b"no line end")
    places = dead_run(mbox, ONE, TWO)
    for part in (b"", b"\n", b"\n\n"):
        inbox.write_bytes(b"no line end" + part)
        assert mbox.settle(places) == [Settled.UNDONE] * 2
        assert inbox.read_bytes() == b"no line end" + part


def test_mail_of_others_behind_a_whole_message_is_never_touched(mbox: Mbox, inbox: Path) -> None:
    places = dead_run(mbox, ONE, TWO)
    octets = inbox.read_bytes() + OTHERS
    inbox.write_bytes(octets)

    assert mbox.settle(places) == [Settled.DELIVERED] * 2
    assert inbox.read_bytes() == octets


def test_mail_of_others_behind_a_part_is_never_touched(mbox: Mbox, inbox: Path) -> None:
    places = dead_run(mbox, ONE, TWO)
    octets = inbox.read_bytes()[:40] + b"\n\n" + OTHERS
    inbox.write_bytes(octets)

    assert mbox.settle(places) == [Settled.UNDONE] * 2
    assert inbox.read_bytes() == octets


STATUS = b"Status: RO\nX-Status: A\nContent-Length: 0\n"
MOVED = [ONE, TWO, THREE, b"", b"\n\nx\n", b"Subject: no body\n"]
LONG = b"X: " + b"x" * 200_000 + b"\n\ny\n"  # a header of such a length is compared as it is


@pytest.mark.parametrize(
    ("message", "status"),
    [*((message, status) for message in MOVED for status in (b"", STATUS)), (LONG, b"")],
)
@pytest.mark.parametrize("others", [b"", OTHERS * 50, OTHERS[:-2]])
def test_a_message_that_a_mail_program_has_moved_in_the_mbox_is_found(
    message: bytes, status: bytes, others: bytes, mbox: Mbox, inbox: Path
) -> None:
    inbox.write_bytes(OTHERS + b"x\n" * 50 + b"\n")
    (place,) = dead_run(mbox, message)
    delivered = inbox.read_bytes()[place.offset :]
    header = delivered.index(b"\n\n") + 1
    rewritten = others + (b"\n\n" if others.endswith(b"hello") else b"")
    rewritten += delivered[:header] + status + delivered[header:] + OTHERS
    inbox.write_bytes(rewritten)

    assert mbox.settle([place]) == [Settled.DELIVERED]
    assert inbox.read_bytes() == rewritten


@pytest.mark.parametrize(
    "changed", [ONE[:-1] + b"!\n", ONE.replace(b"one", b"One"), ONE[:-9], b"X: y\n" + ONE]
)
def test_a_message_that_only_resembles_it_is_not_taken_for_it(
    changed: bytes, mbox: Mbox, inbox: Path, spools: Path
) -> None:
    (place,) = dead_run(mbox, ONE, moment="after intend")
    deliver(Mbox(inbox, "f" * 16, spools), changed)
    octets = inbox.read_bytes() + OTHERS
    inbox.write_bytes(octets)

    assert mbox.settle([place]) == [Settled.UNDONE]
    assert inbox.read_bytes() == octets


@pytest.mark.parametrize("distance", range(-40, 5))
def test_a_message_is_found_wherever_the_blocks_end_in_which_the_mbox_is_read(
    distance: int, mbox: Mbox, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "BLOCK", 1 << 10)
    (place,) = dead_run(mbox, ONE)
    start = b"From x Tue Nov 14 22:13:20 2023\n\n"
    inbox.write_bytes(start.ljust(standing.BLOCK + distance, b".") + b"\n\n" + inbox.read_bytes() + OTHERS)

    assert mbox.settle([place]) == [Settled.DELIVERED]


@needs_mutt
@pytest.mark.parametrize("message", [ONE, TWO, THREE])
def test_a_message_that_mutt_has_marked_is_found(
    message: bytes, mbox: Mbox, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    inbox.write_bytes(OTHERS * 2)
    (place,) = dead_run(mbox, message)
    delivered = inbox.read_bytes()

    mutt(inbox, "<delete-message><last-entry><flag-message><quit>")

    assert inbox.read_bytes().count(b"Subject: of others") == 1
    assert len(inbox.read_bytes()) != len(delivered)
    assert mbox.settle([place]) == [Settled.DELIVERED]


def test_an_mbox_that_was_taken_away_has_no_messages(mbox: Mbox, inbox: Path) -> None:
    places = dead_run(mbox, ONE, TWO)
    inbox.unlink()

    assert mbox.settle(places) == [Settled.UNDONE] * 2
    assert not inbox.exists()


@pytest.mark.parametrize(
    ("change", "settled"),
    [
        (lambda octets: octets, Settled.DELIVERED),
        (lambda octets: octets + OTHERS, Settled.DELIVERED),
        (lambda octets: octets[:-1], Settled.UNDONE),
        (lambda octets: octets[:-10], Settled.UNDONE),
        (lambda octets: OTHERS * 9, Settled.UNDONE),
        (lambda octets: b"", Settled.UNDONE),
    ],
)
def test_if_the_spool_is_gone_its_place_in_the_mbox_decides(
    change: Callable[[bytes], bytes], settled: Settled, mbox: Mbox, inbox: Path, spools: Path
) -> None:
    inbox.write_bytes(OTHERS)
    (place,) = dead_run(mbox, ONE)
    inbox.write_bytes(change(inbox.read_bytes()))
    octets = inbox.read_bytes()

    os.truncate(spools / place.name, 0)
    assert mbox.settle([place]) == [settled]
    (spools / place.name).unlink()
    assert mbox.settle([place]) == [settled]
    assert inbox.read_bytes() == octets
