"""What a delivery records, and what becomes of what a crash left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from pop3fetch.delivery.destination import Destination, Draft, Place
from pop3fetch.delivery.maildir import Maildir
from pop3fetch.delivery.mbox import Mbox
from pop3fetch.errors import DeliveryError
from pop3fetch.fetch.retrieving import RecordJournal, entry_of
from pop3fetch.fetch.settling import settle
from pop3fetch.fetch.show import NoJournal
from pop3fetch.headers.fields import Identity
from pop3fetch.messages import Key, Message
from pop3fetch.record.store import Entry, Intent, Store
from tests.support.delivering import Died, messages_of_mboxrd
from tests.support.fetching import NOW, Account

ONE, TWO, THREE = b"Subject: one\n\n1\n", b"Subject: two\n\n22\n", b"Subject: three\n\n333\n"
WHO = Identity(b"who it is", proves=True)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


# -- what a delivery records -----------------------------------------------------------------------


def test_a_journal_keeps_uid_size_identity_place_and_time(account: Account) -> None:
    with account.store() as store:
        maildir = Maildir(account.maildir, store.tag)
        maildir.prepare()
        draft = maildir.draft(Message(4, 99, b"uid", 2))
        draft.identity = WHO
        journal = RecordJournal(store, maildir.name, lambda: 1234.9)
        entry = Entry(Key(b"uid", 2), 99, WHO)

        journal.intend([draft], [Place(maildir.name, draft.name)])
        assert draft.intended
        assert store.intents() == [Intent(entry, Place(maildir.name, draft.name))]

        journal.done([draft])
        assert store.intents() == []
        assert list(store.entries()) == [entry]
        assert store.delivered_before(1233) == set()
        assert store.delivered_before(1234) == {(b"uid", 2)}
        maildir.close()


def test_a_message_is_recorded_by_uid_and_occurrence() -> None:
    message = Message(7, 5, b"uid", 1)
    assert message.key == Key(b"uid", 1)
    assert entry_of(message, None) == Entry(Key(b"uid", 1), 5, None)


def test_a_look_is_kept_nowhere() -> None:
    journal = NoJournal()
    journal.intend([], [])
    journal.done([])
    journal.undo([])


# -- settling --------------------------------------------------------------------------------------


class DyingJournal(RecordJournal):
    """Keeps the intents, and then ends the run as a crash would."""

    def intend(self, drafts: Sequence[Draft], places: Sequence[Place]) -> None:
        super().intend(drafts, places)
        raise Died


def nowhere(name: str) -> Destination:
    raise AssertionError(f"{name} was reopened")


warned: list[str] = []


@pytest.fixture(autouse=True)
def nothing_was_warned_of() -> None:
    warned.clear()


def die_delivering(store: Store, destination: Maildir | Mbox, *messages: bytes) -> list[Place]:
    """Leave what a run leaves that dies once its intents are kept; return their places."""
    destination.prepare()
    drafts: list[Draft] = []
    for index, octets in enumerate(messages):
        drafts.append(destination.draft(Message(index, len(octets), b"uid-%d" % (index + 1))))
        drafts[-1].write(octets)
    with pytest.raises(Died):
        destination.deliver(drafts, DyingJournal(store, destination.name))
    destination.close()
    return [intent.place for intent in store.intents()]


def test_an_intent_whose_draft_exists_is_finished(account: Account) -> None:
    with account.store() as store:
        die_delivering(store, Maildir(account.maildir, store.tag), ONE, TWO)
        assert account.delivered() == []
        settle(store, Maildir(account.maildir, store.tag), nowhere, NOW, warned.append)
    assert account.delivered() == [ONE, TWO]
    assert account.recorded() == {b"uid-1": len(ONE), b"uid-2": len(TWO)}


INFOS = ["", ":2,", ":2,FS", ";2,S", "!2,S", ",S=15,W=16:2,"]


@pytest.mark.parametrize("moved_to", ["new/{}", *(f"cur/{{}}{info}" for info in INFOS)])
def test_an_intent_whose_name_is_found_was_delivered(account: Account, moved_to: str) -> None:
    with account.store() as store:
        (place,) = die_delivering(store, Maildir(account.maildir, store.tag), ONE)
        (account.maildir / "tmp" / place.name).rename(account.maildir / moved_to.format(place.name))
        settle(store, Maildir(account.maildir, store.tag), nowhere, NOW, warned.append)
        assert store.delivered_before(int(NOW)) == {(b"uid-1", 0)}
    assert account.recorded() == {b"uid-1": len(ONE)}
    assert account.delivered() == [ONE]


@pytest.mark.parametrize("name", ["1.M2P3Q4.other", "{}5", "x{}"])
def test_an_intent_whose_draft_is_nowhere_was_not_delivered(account: Account, name: str) -> None:
    with account.store() as store:
        (place,) = die_delivering(store, Maildir(account.maildir, store.tag), ONE)
        (account.maildir / "tmp" / place.name).unlink()  # as Dovecot does after 36 hours
        (account.maildir / "new" / name.format(place.name)).touch()
        settle(store, Maildir(account.maildir, store.tag), nowhere, NOW, warned.append)
        assert store.intents() == []
    assert account.recorded() == {}


@pytest.mark.parametrize("kind", [Maildir, Mbox])
def test_destination_has_taken_mail_if_settling_finds_some(
    account: Account, tmp_path: Path, kind: type[Maildir | Mbox]
) -> None:
    place = tmp_path / "disk" / "mail"
    with account.store() as store:
        tag = store.tag

        def mail() -> Maildir | Mbox:
            return Mbox(place, tag, account.place.folder) if kind is Mbox else Maildir(place, tag)

        (intended,) = die_delivering(store, mail(), ONE)
        if kind is Mbox:
            place.write_bytes((account.place.folder / intended.name).read_bytes())
        folder = mail().folder_id
        settle(store, mail(), nowhere, NOW, warned.append)
        assert folder
        assert store.folder_of(mail().name) == folder


@pytest.mark.parametrize("subfolder", ["tmp", "new", "cur"])
def test_one_folder_of_a_maildir_may_be_missing(account: Account, subfolder: str) -> None:
    with account.store() as store:
        die_delivering(store, Maildir(account.maildir, store.tag), ONE)
        shutil.rmtree(account.maildir / subfolder)
        maildir = Maildir(account.maildir, store.tag)
        maildir.prepare("")
        settle(store, maildir, nowhere, NOW, warned.append)
        maildir.close()
    assert account.recorded() == ({} if subfolder == "tmp" else {b"uid-1": len(ONE)})


def test_a_maildir_that_was_moved_is_known_by_its_folder(account: Account, tmp_path: Path) -> None:
    with account.store() as store:
        die_delivering(store, Maildir(account.maildir, store.tag), ONE)
        moved = account.maildir.rename(tmp_path / "moved")
        settle(store, Maildir(moved, store.tag), nowhere, NOW, warned.append)
    assert account.recorded() == {b"uid-1": len(ONE)}
    assert [path.read_bytes() for path in moved.glob("new/*")] == [ONE]


@pytest.mark.parametrize("kind", [Maildir, Mbox])
def test_what_was_intended_at_a_destination_that_is_gone_is_undone(
    account: Account, tmp_path: Path, kind: type[Maildir | Mbox]
) -> None:
    gone = tmp_path / "gone" / "place"
    with account.store() as store:
        tag = store.tag

        def old() -> Maildir | Mbox:
            return Mbox(gone, tag, account.place.folder) if kind is Mbox else Maildir(gone, tag)

        die_delivering(store, old(), ONE)
        gone.parent.rename(tmp_path / "away")
        settle(store, Maildir(account.maildir, tag), lambda _: old(), NOW, warned.append)
        assert store.intents() == []
    assert warned == [f"{old().name} is gone: messages that a crash left there are fetched again"]
    assert account.recorded() == {}


def test_settling_again_changes_nothing(account: Account) -> None:
    with account.store() as store:
        die_delivering(store, Maildir(account.maildir, store.tag), ONE)
        intents = store.intents()
        settle(store, Maildir(account.maildir, store.tag), nowhere, NOW, warned.append)
        store.intend(intents)  # as if this run had died before it could keep the outcome
        settle(store, Maildir(account.maildir, store.tag), nowhere, NOW, warned.append)
    assert account.delivered() == [ONE]


def test_in_an_mbox_its_content_decides(account: Account, tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    with account.store() as store:

        def mbox() -> Mbox:
            return Mbox(inbox, store.tag, account.place.folder)

        places = die_delivering(store, mbox(), ONE, TWO, THREE)
        spools = [(account.place.folder / place.name).read_bytes() for place in places]
        inbox.write_bytes(spools[0] + spools[1][:-7])  # so far it came
        settle(store, mbox(), nowhere, NOW, warned.append)
        mbox().remove_leftovers()
    assert messages_of_mboxrd(inbox.read_bytes()) == [ONE, TWO]
    assert account.recorded() == {b"uid-1": len(ONE), b"uid-2": len(TWO)}
    assert account.litter() == []


def test_intents_are_settled_at_the_destinations_that_they_name(account: Account, tmp_path: Path) -> None:
    opened: dict[str, Destination] = {}
    with account.store() as store:
        intents = []
        for number, folder in enumerate((tmp_path / "one", tmp_path / "two"), 1):
            die_delivering(store, Maildir(folder, store.tag), b"%d\n" % number)
            (intent,) = store.intents()
            intents.append(intent._replace(entry=Entry(Key(b"uid-%d" % number, 0), number, None)))
            store.undo([intent.entry.key])
            (folder / "tmp" / f"1.pop3fetch-{store.tag}.leftover").touch()
        store.intend(intents)

        def reopen(name: str) -> Destination:
            opened[name] = Maildir(Path(name.removeprefix("maildir:")), store.tag)
            return opened[name]

        settle(store, Maildir(account.maildir, store.tag), reopen, NOW, warned.append)
    assert account.recorded() == {b"uid-1": 1, b"uid-2": 2}
    assert opened.keys() == {f"maildir:{tmp_path}/one", f"maildir:{tmp_path}/two"}
    assert [path.read_bytes() for path in sorted(tmp_path.glob("*/new/*"))] == [b"1\n", b"2\n"]
    assert list(tmp_path.glob("*/tmp/*")) == []
    assert not account.maildir.exists()


def test_what_cannot_be_decided_stays_undecided(account: Account) -> None:
    with account.store() as store:
        die_delivering(store, Maildir(account.maildir, store.tag), ONE)
        intents = store.intents()
        away = account.maildir.rename(account.maildir.with_name("away"))
        with pytest.raises(DeliveryError):
            settle(store, Maildir(account.maildir, store.tag), nowhere, NOW, warned.append)
        assert store.intents() == intents
        assert not account.maildir.exists()
        away.rename(account.maildir)
        settle(store, Maildir(account.maildir, store.tag), nowhere, NOW, warned.append)
    assert account.delivered() == [ONE]


def test_only_leftovers_of_this_record_are_removed(account: Account) -> None:
    with account.store() as store:
        ours = f"1.M2P3Q4.pop3fetch-{store.tag}.host"
        others = [f"1.M2P3Q4.pop3fetch-{'0' * 16}.host", "1.M2P3.host"]
        maildir = Maildir(account.maildir, store.tag)
        maildir.prepare()
        for name in (ours, *others):
            (account.maildir / "tmp" / name).touch()
        maildir.remove_leftovers()
        maildir.close()
    assert sorted(os.listdir(account.maildir / "tmp")) == sorted(others)
