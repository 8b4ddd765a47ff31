"""The record of an address that has changed: found, taken over and renamed, whatever dies in between."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from pop3fetch.delivery.destination import Place
from pop3fetch.errors import RecordError, RecordLocked
from pop3fetch.headers.fields import Identity
from pop3fetch.messages import Key
from pop3fetch.record.editing import Addition, EditedStore
from pop3fetch.record.moving import keep_address, rename, source_of
from pop3fetch.record.place import RecordPlace, account_file, last_address
from pop3fetch.record.states import Event, State
from pop3fetch.record.store import ADDITIONS, LISTING, MOVED, Entry, Intent, ReadOnlyStore, Store, set_aside
from tests.support.deaths import deaths

NOON = 1_700_000_000
OLD, NEW = "alice@old.example.org", "alice@new.example.org:1995"
BOX = "maildir:/a"
ONE, TWO, COPY = (
    Entry(Key(b"one", 0), 100, Identity(b"1" * 16, proves=True), 98),
    Entry(Key(b"two", 0), 200, None, 198),
    Entry(Key(b"one", 1), 100, Identity(b"2" * 16, proves=True), 98),
)


@pytest.fixture
def old(tmp_path: Path) -> RecordPlace:
    return RecordPlace(tmp_path / "state", OLD)


@pytest.fixture
def new(tmp_path: Path) -> RecordPlace:
    return RecordPlace(tmp_path / "state", NEW)


def fill(place: RecordPlace, entries: Iterable[Entry] = (ONE, TWO, COPY), moment: int = NOON) -> None:
    with closing(Store(place)) as store:
        store.done(entries, BOX, moment, "1:2")


def recorded(place: RecordPlace) -> list[tuple[Entry, int, str]]:
    with closing(ReadOnlyStore(place)) as store:
        return list(store.fetched())


def take_over(old: RecordPlace, new: RecordPlace) -> None:
    with closing(Store(new)) as store, closing(Store(old)) as former:
        store.take_over(former)


# -- taking over -----------------------------------------------------------------------------------


def test_an_empty_record_takes_over_everything(old: RecordPlace, new: RecordPlace) -> None:
    fill(old)
    with closing(EditedStore(old)) as store:
        store.happened(Event.UNLISTED, [TWO.key], NOON + 1)
        store.remember_oversize([Key(b"big", 0)])
        store.add([Addition(b"three", 7)], NOON)
        store.remember("no pipelining", "of the old server")
        known = store.known()
    before = recorded(old)
    take_over(old, new)
    assert recorded(new) == recorded(old) == before
    with closing(Store(new)) as store:
        assert store.known() == known
        assert (store.oversize(), store.folder_of(BOX)) == ({Key(b"big", 0)}, "1:2")
        assert (store.fact(MOVED), store.fact(ADDITIONS), store.fact("no pipelining")) == ("yes", "yes", None)


def test_a_record_with_messages_keeps_them_beside_those_of_the_former(
    old: RecordPlace, new: RecordPlace
) -> None:
    fill(old)
    other = TWO._replace(size=222, identity=Identity(b"3" * 16, proves=True))
    fill(new, [ONE, other], NOON + 9)
    take_over(old, new)
    assert {(entry.key, entry.size, moment) for entry, moment, _ in recorded(new)} == {
        (ONE.key, 100, NOON + 9),
        (other.key, 222, NOON + 9),
        (set_aside(TWO.key), 200, NOON),
        (set_aside(COPY.key), 100, NOON),
    }
    before = recorded(new)
    take_over(old, new)
    assert recorded(new) == before
    with closing(Store(new)) as store:
        assert store.fact(MOVED) is None


def test_no_server_can_give_a_uid_that_was_set_aside() -> None:
    assert set_aside(Key(b"a", 1)) == Key(b" a", 1)
    assert set_aside(set_aside(Key(b"a", 1))) == Key(b"  a", 1)


def test_a_crash_while_taking_over_leaves_all_or_nothing(old: RecordPlace, new: RecordPlace) -> None:
    fill(old)
    rows = recorded(old)
    for _ in deaths(lambda: take_over(old, new)):
        assert recorded(new) in ([], rows)
        assert recorded(old) == rows
    assert recorded(new) == rows


# -- the last address of an account ----------------------------------------------------------------


def test_an_account_has_a_last_address(old: RecordPlace, new: RecordPlace) -> None:
    old.make()
    for name, address in (("work", OLD), ("Wörk/../x", NEW), ("\udce9", "zo\udce9@h"), ("work", NEW)):
        assert last_address(old.folder, name) != address
        keep_address(account_file(old.folder, name), address)
        assert last_address(old.folder, name) == address
    assert {stat.S_IMODE(file.stat().st_mode) for file in old.folder.iterdir()} == {0o600}
    assert len(list(old.folder.iterdir())) == 3


def test_a_crash_leaves_the_old_address_or_the_new_one(old: RecordPlace) -> None:
    old.make()
    file = account_file(old.folder, "work")
    keep_address(file, OLD)
    seen = []
    for _ in deaths(lambda: keep_address(file, NEW)):
        seen.append(last_address(old.folder, "work"))
        keep_address(file, OLD)
    assert (seen[0], seen[-1], set(seen)) == (OLD, NEW, {OLD, NEW})


def test_an_address_that_cannot_be_read_is_not_taken_for_none(old: RecordPlace) -> None:
    account_file(old.folder, "work").mkdir(parents=True)
    with pytest.raises(RecordError):
        last_address(old.folder, "work")
    with pytest.raises(RecordError):
        keep_address(account_file(old.folder, "work"), OLD)


SOURCES = {
    "no file, no record": (None, [], None),
    "no file, and the record of the name": (None, ["work"], "work"),
    "the record is gone": (OLD, [], None),
    "the record is there": (OLD, [OLD], OLD),
    "the same address": (NEW, [NEW], None),
    "another record at the new address": (OLD, [OLD, NEW], OLD),
}


@pytest.mark.parametrize(("last", "records", "expected"), SOURCES.values(), ids=SOURCES)
def test_the_source_is_the_record_of_the_last_address(
    new: RecordPlace, last: str | None, records: list[str], expected: str | None
) -> None:
    new.make()
    for address in records:
        fill(RecordPlace(new.folder, address))
    if last:
        keep_address(account_file(new.folder, "work"), last)
    source = source_of(new, "work")
    assert (source.address if source else None) == expected


READS = {
    "a first run": (None, [], NEW),
    "found by the address": (None, [NEW], NEW),
    "not run at the new address yet": (OLD, [OLD], OLD),
    "run at both": (OLD, [OLD, NEW], NEW),
    "the last address has no record": (OLD, [], OLD),
}


@pytest.mark.parametrize(("last", "records", "expected"), READS.values(), ids=READS)
def test_reading_uses_the_record_that_get_would_use(
    new: RecordPlace, last: str | None, records: list[str], expected: str
) -> None:
    new.make()
    for address in records:
        fill(RecordPlace(new.folder, address))
    if last:
        keep_address(account_file(new.folder, "work"), last)
    assert RecordPlace.to_read(new.folder, "work", NEW).address == expected
    assert RecordPlace.to_read(new.folder, NEW, NEW).address == NEW


# -- renaming --------------------------------------------------------------------------------------


def test_a_renamed_record_is_whole(old: RecordPlace, new: RecordPlace) -> None:
    fill(old)
    for name, address in (("work", OLD), ("home", "carol@example.org")):
        keep_address(account_file(old.folder, name), address)
    with closing(Store(old)) as store:
        store.intend([Intent(Entry(Key(b"i", 0), 1, None), Place(BOX, "name"))])
        store.remember(LISTING, "all of them")
        tag, rows = store.tag, list(store.fetched())
    rename(old, new)
    assert not old.database.exists()
    with closing(Store(new)) as store:
        assert (list(store.fetched()), store.tag, len(store.intents())) == (rows, tag, 1)
        assert (store.fact(MOVED), store.fact(LISTING)) == ("yes", None)
    assert [last_address(old.folder, name) for name in ("work", "home")] == [NEW, "carol@example.org"]


def test_a_renamed_record_takes_nothing_from_the_log_of_a_removed_one(
    old: RecordPlace, new: RecordPlace
) -> None:
    fill(new, [TWO])
    writer = Store(new)
    writer.happened(Event.DELETED, [TWO.key], NOON)
    log = Path(f"{new.database}-wal").read_bytes()
    writer.close()
    new.database.unlink()
    fill(old, [ONE])
    Path(f"{new.database}-wal").write_bytes(log)
    rename(old, new)
    assert [entry for entry, _, _ in recorded(new)] == [ONE]


def test_a_crash_while_renaming_leaves_one_record(old: RecordPlace, new: RecordPlace) -> None:
    fill(old)
    keep_address(account_file(old.folder, "work"), OLD)
    rows = recorded(old)
    states = set()
    for _ in deaths(lambda: rename(old, new)):
        places = [place for place in (old, new) if place.database.exists()]
        assert len(places) == 1
        assert recorded(places[0]) == rows
        states.add((places[0].address, last_address(old.folder, "work")))
        if places == [new]:
            os.rename(new.database, old.database)
        keep_address(account_file(old.folder, "work"), OLD)
    assert {(OLD, OLD), (NEW, OLD), (NEW, NEW)} == states


def test_a_crash_before_the_accounts_follow_loses_no_record(old: RecordPlace, new: RecordPlace) -> None:
    fill(old)
    keep_address(account_file(old.folder, "work"), OLD)
    rename(old, new)
    keep_address(account_file(old.folder, "work"), OLD)  # as a crash leaves it
    assert RecordPlace.to_read(old.folder, "work", NEW).address == NEW
    assert source_of(new, "work") is None


def test_only_what_exists_is_renamed_and_nothing_is_replaced(old: RecordPlace, new: RecordPlace) -> None:
    with pytest.raises(RecordError, match="nothing is recorded of alice@old"):
        rename(old, new)
    fill(old)
    fill(new, [TWO])
    with pytest.raises(RecordError, match="exists already"):
        rename(old, new)
    assert (len(recorded(old)), len(recorded(new))) == (3, 1)


@pytest.mark.parametrize("held", [OLD, NEW])
def test_a_record_in_use_is_not_renamed(old: RecordPlace, new: RecordPlace, held: str) -> None:
    fill(old)
    lock = RecordPlace(old.folder, held).take()
    with pytest.raises(RecordLocked):
        rename(old, new)
    lock.release()
    rename(old, new)


def test_a_record_that_is_read_is_renamed_later(old: RecordPlace, new: RecordPlace) -> None:
    fill(old)
    with closing(Store(old)) as store:
        store.done([ONE._replace(key=Key(b"later", 0))], BOX, NOON)
    reader = ReadOnlyStore(old)
    reader._database.execute("BEGIN")
    list(reader.entries())
    with pytest.raises(RecordLocked):
        rename(old, new)
    reader.close()
    rename(old, new)
    assert len(recorded(new)) == 4
    assert recorded(new)[0][0].state is State.FETCHED
