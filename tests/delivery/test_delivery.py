"""One suite that every destination passes; what each has of its own is tested beside it."""

from __future__ import annotations

import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import ClassVar

import pytest

from pop3fetch.delivery.destination import Destination, Draft, Settled
from pop3fetch.delivery.kinds import Kind
from pop3fetch.delivery.maildir import Maildir
from pop3fetch.delivery.mbox import Mbox
from pop3fetch.delivery.program import Program
from pop3fetch.delivery.stream import Stream
from pop3fetch.errors import DeliveryError
from pop3fetch.messages import Message
from pop3fetch.status import Status
from tests.support.delivering import (
    TAG,
    Died,
    Journal,
    deliver,
    draft,
    drafts,
    messages_of_mboxrd,
    no_file_longer_than,
    refuses_to_deliver,
)
from tests.support.file_modes import mode, umask

USUAL = b"Return-Path: <bob@example.org>\nSubject: hello\n\nworld\n"
ODD = {
    "usual": USUAL,
    "empty": b"",
    "one LF": b"\n",
    "no header": b"\nbody\n",
    "no body": b"Subject: hello\n",
    "CRLF": USUAL.replace(b"\n", b"\r\n"),
    "NUL": b"Subject: \0\n\n\0\0\n",
    "8-bit": b"Subject: \xff\xfe\n\n" + bytes(range(128, 256)) + b"\n",
    "bare CR": b"Subject: a\rb\n\n\r\r\n\rc\n",
    "From_ lines": b"From x\nSubject: y\n\nFrom z\n>From z\n>>From z\n> From z\n",
    "a dot": b"Subject: x\n\n.\n..\n",
    "a long line": b"Subject: " + b"x" * 300_000 + b"\n\ny\n",
    "no last line end": b"Subject: x\n\nthe end",
    "2 MB": b"Subject: x\n\n" + b"0123456789abcde\n" * (1 << 17),
}
THREE = [USUAL, b"Subject: two\n\nFrom here\n", USUAL]  # identical copies are delivered each


class Site(ABC):
    """A destination as seen from outside; ``open`` gives a new object, like a new run."""

    kind: ClassVar[Kind]
    drafts_in: ClassVar[str] = ""  # the folder of the drafts, if they are files

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: list[Destination] = []

    def open(self) -> Destination:
        self._opened.append(self.make())
        return self._opened[-1]

    def close(self) -> None:
        for destination in self._opened:
            destination.close()

    @abstractmethod
    def make(self) -> Destination: ...

    @abstractmethod
    def visible(self) -> list[bytes]:
        """Return the messages that are there for others to see."""

    def shows(self, messages: list[bytes]) -> list[bytes]:
        """Return what is visible of ``messages`` once they are delivered."""
        return messages

    def litter(self) -> list[str]:
        """Return the files that are there besides delivered messages."""
        return []


def numbers(name: str) -> list[int]:
    """Return the numbers in a unique name, by which messages are in their order."""
    return [int(number) for number in re.findall("[0-9]+", name.partition(".pop3fetch")[0])]


class MaildirSite(Site):
    kind = Kind.MAILDIR
    drafts_in = "Maildir/tmp"

    def make(self) -> Maildir:
        return Maildir(self.folder / "Maildir", TAG)

    def visible(self) -> list[bytes]:
        new = sorted(self.folder.glob("Maildir/new/*"), key=lambda path: numbers(path.name))
        return [path.read_bytes() for path in new]

    def litter(self) -> list[str]:
        return os.listdir(self.folder / self.drafts_in)


class MboxSite(Site):
    kind = Kind.MBOX
    drafts_in = "state"

    def make(self) -> Mbox:
        return Mbox(self.folder / "inbox", TAG, self.folder / self.drafts_in, patience=0)

    def visible(self) -> list[bytes]:
        mbox = self.folder / "inbox"
        return messages_of_mboxrd(mbox.read_bytes()) if mbox.exists() else []

    def shows(self, messages: list[bytes]) -> list[bytes]:
        return [
            message + b"\n" if message and not message.endswith(b"\n") else message for message in messages
        ]

    def litter(self) -> list[str]:
        return [
            *os.listdir(self.folder / self.drafts_in),
            *(path.name for path in self.folder.glob("inbox?*")),
        ]


class ProgramSite(Site):
    kind = Kind.PROGRAM

    def make(self) -> Program:
        (self.folder / "drop").mkdir(exist_ok=True)
        command = ["sh", "-c", 'cat > "$DROP/$POP3FETCH_NUMBER"']
        environment = {"PATH": os.environ["PATH"], "DROP": str(self.folder / "drop")}
        return Program(command, environment=environment, account="work", report=pytest.fail)

    def visible(self) -> list[bytes]:
        dropped = sorted(self.folder.glob("drop/*"), key=lambda path: int(path.name))
        return [path.read_bytes() for path in dropped]


class StreamSite(Site):
    kind = Kind.OUTPUT
    mboxrd = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.file = os.open(folder / "out", os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def close(self) -> None:
        super().close()
        os.close(self.file)

    def make(self) -> Stream:
        return Stream(self.file, mboxrd=self.mboxrd)

    def visible(self) -> list[bytes]:
        octets = (self.folder / "out").read_bytes()
        return [octets] if octets else []

    def shows(self, messages: list[bytes]) -> list[bytes]:
        return [b"".join(messages)] if any(messages) else []


class MboxStreamSite(StreamSite):
    kind = Kind.MBOX_OUTPUT
    mboxrd = True

    def visible(self) -> list[bytes]:
        return messages_of_mboxrd((self.folder / "out").read_bytes())

    shows = MboxSite.shows


IN_FILES: list[type[Site]] = [MaildirSite, MboxSite]
STREAMS: list[type[Site]] = [StreamSite, MboxStreamSite]
ALL: list[type[Site]] = [*IN_FILES, ProgramSite, *STREAMS]
NOT_STREAMS: list[type[Site]] = [*IN_FILES, ProgramSite]


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    site: Site = request.param(tmp_path)
    yield site
    site.close()


def on(sites: list[type[Site]]) -> pytest.MarkDecorator:
    names = [kind.__name__.removesuffix("Site").lower() for kind in sites]
    return pytest.mark.parametrize("site", sites, indirect=True, ids=names)


def test_every_kind_of_destination_passes_this_suite() -> None:
    assert {site.kind for site in ALL} == set(Kind) - {Kind.SERVER}  # which has tests/delivery/servers


# -- octets ----------------------------------------------------------------------------------------


@on(ALL)
@pytest.mark.parametrize("name", ODD)
def test_a_message_arrives_octet_for_octet(site: Site, name: str) -> None:
    deliver(site.open(), ODD[name])

    assert site.visible() == site.shows([ODD[name]])
    assert site.litter() == []


@on(ALL)
@pytest.mark.parametrize("sizes", [[1], [2, 3], [5, 1]])
def test_blocks_may_end_anywhere(site: Site, sizes: list[int]) -> None:
    small = [message for message in ODD.values() if len(message) < 1000]
    destination = site.open()
    destination.prepare()

    destination.deliver(drafts(destination, small, sizes), Journal())

    assert site.visible() == site.shows(small)


@on(ALL)
def test_the_octets_of_a_draft_are_counted(site: Site) -> None:
    destination = site.open()
    destination.prepare()

    written = drafts(destination, [b"", b"From x\n", USUAL])

    assert [draft.octets for draft in written] == [0, 7, len(USUAL)]
    for each in written:
        each.discard()


@on(ALL)
def test_messages_arrive_in_their_order_batch_by_batch(site: Site) -> None:
    destination = site.open()
    destination.prepare()
    journal = Journal()

    for first, batch in ((0, THREE[:2]), (2, THREE[2:])):
        assert destination.deliver(drafts(destination, batch, first=first), journal) == []

    assert site.visible() == site.shows(THREE)
    assert journal.delivered == [0, 1, 2]
    assert site.litter() == []


@on(ALL)
def test_a_draft_may_be_begun_while_the_one_before_it_is_delivered(site: Site) -> None:
    destination = site.open()
    destination.prepare()
    waiting = draft(destination, USUAL)
    following: list[Draft] = []

    class Meanwhile(Journal):
        def done(self, delivered: object) -> None:
            following.append(draft(destination, b"Subject: later\n\n", index=1))

    destination.deliver([waiting], Meanwhile())
    destination.deliver(following, Journal())

    assert site.visible() == site.shows([USUAL, b"Subject: later\n\n"])


@on(ALL)
def test_what_other_runs_have_delivered_stays(site: Site) -> None:
    deliver(site.open(), *THREE[:1])
    second = site.open()
    second.prepare()

    second.deliver(drafts(second, THREE[1:], first=1), Journal())

    assert site.visible() == site.shows(THREE)


# -- order -----------------------------------------------------------------------------------------


@on(IN_FILES)
def test_nothing_is_visible_when_it_is_intended_and_all_when_it_is_done(site: Site) -> None:
    destination = site.open()
    destination.prepare()
    journal = Journal(site.visible)

    destination.deliver(drafts(destination, THREE), journal)

    assert journal.seen == [("intend", []), ("done", site.shows(THREE))]
    assert journal.intents == {}


@on([ProgramSite, *STREAMS])
def test_what_cannot_be_settled_is_not_intended_and_is_visible_when_it_is_done(site: Site) -> None:
    destination = site.open()
    destination.prepare()
    journal = Journal(site.visible)

    destination.deliver(drafts(destination, THREE), journal)

    assert {told for told, _ in journal.seen} == {"done"}
    assert journal.seen[-1] == ("done", site.shows(THREE))


@on(IN_FILES)
def test_the_places_of_a_batch_distinguish_its_messages(site: Site) -> None:
    destination = site.open()
    destination.prepare()
    journal = Journal(dies="before done")
    with pytest.raises(Died):
        destination.deliver(drafts(destination, THREE), journal)

    places = journal.intents.values()

    assert {place.destination for place in places} == {destination.name}
    assert len({place.name for place in places}) == 3
    assert [place.offset for place in places] == sorted(place.offset for place in places)


# -- private files ---------------------------------------------------------------------------------


@on(IN_FILES)
@pytest.mark.parametrize("mask", [0, 0o077, 0o777])
def test_files_and_folders_are_private_whatever_the_umask(site: Site, mask: int) -> None:
    modes: list[tuple[bool, int]] = []

    def look() -> None:
        modes.extend((path.is_dir(), mode(path)) for path in site.folder.rglob("*"))

    with umask(mask):
        destination = site.open()
        destination.prepare()
        destination.deliver(drafts(destination, [USUAL] * 3), Journal(look))

    assert set(modes) == {(True, 0o700), (False, 0o600)}


# -- discarding ------------------------------------------------------------------------------------


@on(NOT_STREAMS)
def test_a_discarded_draft_leaves_no_trace(site: Site) -> None:
    destination = site.open()
    destination.prepare()
    for unfinished in drafts(destination, [b"", USUAL, ODD["2 MB"]]):
        unfinished.discard()
        unfinished.discard()

    assert site.visible() == []
    assert site.litter() == []
    destination.deliver(drafts(destination, THREE), Journal())
    assert site.visible() == site.shows(THREE)


@on(ALL)
def test_discarding_what_was_delivered_changes_nothing(site: Site) -> None:
    destination = site.open()
    destination.prepare()
    delivered = drafts(destination, THREE)
    destination.deliver(delivered, Journal())

    for each in delivered:
        each.discard()

    assert site.visible() == site.shows(THREE)


# -- failures --------------------------------------------------------------------------------------


def a_file_for_a_folder(folder: Path) -> Destination:
    (folder / "file").touch()
    return Maildir(folder / "file", TAG)


def a_file_above_the_maildir(folder: Path) -> Destination:
    (folder / "file").touch()
    return Maildir(folder / "file/Maildir", TAG)


def an_mbox_below_a_file(folder: Path) -> Destination:
    (folder / "file").touch()
    return Mbox(folder / "file/inbox", TAG, folder / "state")


def an_mbox_that_is_a_folder(folder: Path) -> Destination:
    return Mbox(folder, TAG, folder / "state")


def an_mbox_that_is_a_pipe(folder: Path) -> Destination:
    os.mkfifo(folder / "pipe")
    return Mbox(folder / "pipe", TAG, folder / "state")


def a_state_folder_that_is_a_file(folder: Path) -> Destination:
    (folder / "file").touch()
    return Mbox(folder / "inbox", TAG, folder / "file")


def no_program(folder: Path) -> Destination:
    return Program([str(folder / "none")], environment={}, account="work", report=pytest.fail)


def a_closed_stream(folder: Path) -> Destination:
    return Stream(12345)


UNUSABLE = [
    (a_file_for_a_folder, "Not a directory"),
    (a_file_above_the_maildir, "Not a directory"),
    (an_mbox_below_a_file, "Not a directory"),
    (an_mbox_that_is_a_folder, "Is a directory"),
    (an_mbox_that_is_a_pipe, "it is not a regular file"),
    (a_state_folder_that_is_a_file, "Not a directory"),
    (no_program, "there is no such program"),
    (a_closed_stream, "Bad file descriptor"),
]


@pytest.mark.parametrize(("make", "reason"), UNUSABLE, ids=[make.__name__ for make, _ in UNUSABLE])
def test_what_cannot_be_written_to_is_refused_beforehand(
    make: Callable[[Path], Destination], reason: str, tmp_path: Path
) -> None:
    destination = make(tmp_path)
    with pytest.raises(DeliveryError, match=reason) as caught:
        destination.prepare()
    destination.close()

    assert caught.value.destination == destination.name
    assert caught.value.fatal
    assert caught.value.exit_status is Status.CANNOT_DELIVER


@on(IN_FILES)
def test_a_disk_that_is_full_while_a_message_arrives_leaves_nothing(site: Site) -> None:
    destination = site.open()
    destination.prepare()
    begun = destination.draft(Message(0, 0, b"uid"))

    with no_file_longer_than(10_000), pytest.raises(DeliveryError, match="File too large") as caught:
        for _ in range(100):
            begun.write(b"X: " + b"x" * 1000 + b"\n")
    begun.discard()

    assert caught.value.fatal
    assert site.visible() == []
    assert site.litter() == []


def test_a_disk_that_is_full_while_a_program_waits_for_its_message_ends_the_delivery(tmp_path: Path) -> None:
    destination = ProgramSite(tmp_path).open()
    waiting = draft(destination, USUAL * 20)
    with no_file_longer_than(1000), pytest.raises(DeliveryError) as caught:
        destination.deliver([waiting], Journal())
    waiting.discard()

    assert caught.value.fatal
    assert os.listdir(tmp_path / "drop") == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("mboxrd", [False, True])
def test_a_stream_to_a_full_disk_ends_the_delivery_with_nothing_done(mboxrd: bool) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        error = refuses_to_deliver(Stream(full, mboxrd=mboxrd), USUAL)
    finally:
        os.close(full)

    assert str(error) == "cannot deliver to standard output: the disk is full"
    assert error.fatal


# -- crashes ---------------------------------------------------------------------------------------

MOMENTS = ["before intend", "after intend", "before done", "after done"]


@on(IN_FILES)
@pytest.mark.parametrize("moment", MOMENTS)
def test_after_a_crash_each_message_is_delivered_exactly_once(site: Site, moment: str) -> None:
    dying = site.open()
    dying.prepare()
    journal = Journal(dies=moment)
    with pytest.raises(Died):
        dying.deliver(drafts(dying, THREE), journal)

    settled, missing = next_run(site, journal)

    assert settled == site.shows([THREE[index] for index in range(3) if index not in missing])
    assert sorted(site.visible()) == sorted(site.shows(THREE))
    assert site.litter() == []


@on(IN_FILES)
@pytest.mark.parametrize("moment", ["after intend", "before done"])
def test_a_second_crash_while_settling_changes_nothing(site: Site, moment: str) -> None:
    dying = site.open()
    dying.prepare()
    journal = Journal(dies=moment)
    with pytest.raises(Died):
        dying.deliver(drafts(dying, THREE), journal)

    # Decided, but never recorded.
    again = site.open()
    decisions = again.settle(list(journal.intents.values()))
    once_more = site.open()

    assert once_more.settle(list(journal.intents.values())) == decisions
    next_run(site, journal)
    assert sorted(site.visible()) == sorted(site.shows(THREE))
    assert site.litter() == []


@on(IN_FILES)
def test_drafts_of_a_run_that_died_before_any_intent_are_removed(site: Site) -> None:
    dying = site.open()
    dying.prepare()
    drafts(dying, THREE)
    assert len(site.litter()) == 3

    next_run(site, Journal())

    assert site.litter() == []


@on(IN_FILES)
def test_drafts_of_other_records_are_left_alone(site: Site) -> None:
    destination = site.open()
    destination.prepare()
    mine = draft(destination, USUAL)
    (name,) = site.litter()
    mine.discard()
    folder = site.folder / site.drafts_in
    others = [name.replace(TAG, "f" * 16), "1700000000.M1P2Q3.mail.example.org", "draft", ".x"]
    for other in others:
        (folder / other).touch()

    destination.remove_leftovers()

    assert sorted(os.listdir(folder)) == sorted(others)


@on(IN_FILES)
def test_there_may_be_nothing_to_clear_away_before_the_first_run(site: Site) -> None:
    site.open().remove_leftovers()

    assert list(site.folder.iterdir()) == []


@on(IN_FILES)
def test_what_is_not_there_decides_nothing(site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
    dying = site.open()
    dying.prepare()
    journal = Journal(dies="before done")
    with pytest.raises(Died):
        dying.deliver(drafts(dying, THREE), journal)
    elsewhere = tmp_path_factory.mktemp("unmounted") / "folder"
    site.folder.rename(elsewhere)

    with pytest.raises(DeliveryError):
        site.open().settle(list(journal.intents.values()))

    elsewhere.rename(site.folder)
    assert site.open().settle(list(journal.intents.values())) == [Settled.DELIVERED] * 3


def next_run(site: Site, journal: Journal) -> tuple[list[bytes], list[int]]:
    """Settle what a crash left and deliver the rest of THREE.

    Return what was visible when all was settled, and the indexes that were delivered then.
    """
    destination = site.open()
    delivered = list(journal.delivered)
    outcomes = destination.settle(list(journal.intents.values()))
    delivered += [i for i, what in zip(journal.intents, outcomes, strict=True) if what is Settled.DELIVERED]
    destination.prepare()
    destination.remove_leftovers()
    settled = site.visible()
    missing = [index for index in range(3) if index not in delivered]
    again = chain.from_iterable(drafts(destination, [THREE[index]], first=index) for index in missing)
    destination.deliver(list(again), Journal())
    return settled, missing


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@on(ALL)
def test_no_file_stays_open(site: Site) -> None:
    before = len(os.listdir("/proc/self/fd"))
    destination = site.open()
    destination.prepare()
    destination.deliver(drafts(destination, THREE), Journal())
    for each in drafts(destination, THREE[:2], first=3):
        each.discard()
    destination.close()

    assert len(os.listdir("/proc/self/fd")) == before
