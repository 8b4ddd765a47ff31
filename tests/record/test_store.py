"""The record's database: durable, exclusive, and never taken for empty when it is damaged."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pop3fetch.delivery.destination import Place
from pop3fetch.errors import DeliveryError, POP3Error, RecordError, RecordLocked
from pop3fetch.headers.fields import Identity, identity
from pop3fetch.messages import Key
from pop3fetch.record import database as database_module
from pop3fetch.record import store as store_module
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.states import Event, Known, State, Unsettled, next_states
from pop3fetch.record.store import TOGETHER, Entry, Intent, ReadOnlyStore, Store, state_of
from pop3fetch.status import Status

PROOF = Identity(b"i" * 16, proves=True)
ONE = Entry(Key(b"one", 0), 100, PROOF)
TWO = Entry(Key(b"two", 0), 200, None)
COPY = Entry(Key(b"one", 1), 100, PROOF)
WHERE = "maildir:/home/alice/Mail"
NOON = 1_700_000_000  # seconds since the epoch


@pytest.fixture
def place(tmp_path: Path) -> RecordPlace:
    return RecordPlace(tmp_path / "state", "alice@example.org")


@contextmanager
def opened(place: RecordPlace) -> Iterator[Store]:
    store = Store(place)
    try:
        yield store
    finally:
        store.close()


def done(place: RecordPlace, *entries: Entry, moment: int = NOON, destination: str = WHERE) -> None:
    with opened(place) as store:
        store.done(entries, destination, moment)


def sizes(place: RecordPlace) -> Mapping[bytes, int]:
    with opened(place) as store:
        return store.known().sizes


def intents_of(place: RecordPlace) -> list[Intent]:
    with opened(place) as store:
        return store.intents()


def refuses_to_open(place: RecordPlace, kind: Callable[[RecordPlace], Store] = Store) -> POP3Error:
    with pytest.raises(POP3Error) as caught:
        kind(place)
    return caught.value


# -- what is kept ----------------------------------------------------------------------------------


def test_a_new_record_is_empty_and_private(place: RecordPlace) -> None:
    with opened(place) as store:
        assert (store.known(), store.intents(), list(store.entries())) == (Known({}, {}, {}), [], [])
        modes = {path.name: path.stat().st_mode & 0o777 for path in place.folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert place.folder.stat().st_mode & 0o777 == 0o700


def test_the_tag_is_sixteen_digits_and_stays(place: RecordPlace, tmp_path: Path) -> None:
    with opened(place) as store:
        tag = store.tag
    with opened(place) as store:
        assert store.tag == tag
    assert len(bytes.fromhex(tag)) == 8
    with opened(RecordPlace(tmp_path / "other", "alice@example.org")) as other:
        assert other.tag != tag


def test_what_is_done_is_kept_by_uid_and_occurrence(place: RecordPlace) -> None:
    done(place, ONE, TWO, COPY)
    with opened(place) as store:
        assert store.known().sizes == {b"one": 100, b"two": 200}
        assert store.known().copies == {(b"one", 1): 100}
        assert set(store.entries()) == {ONE, TWO, COPY}
        assert store.entry(Key(b"one", 1)) == COPY
        assert store.entry(Key(b"one", 2)) is None


def test_what_is_done_again_replaces_what_was_done(place: RecordPlace) -> None:
    done(place, ONE)
    other = Entry(ONE.key, 999, Identity(b"j" * 16, proves=True))
    done(place, other, moment=NOON + 5)
    with opened(place) as store:
        assert list(store.entries()) == [other]
        assert store.delivered_before(NOON + 4) == set()
        assert (store.delivered_at(ONE.key), store.delivered_at(Key(b"other", 0))) == (NOON + 5, None)


def test_an_intent_lasts_until_it_is_done_or_undone(place: RecordPlace) -> None:
    intents = [
        Intent(ONE, Place("mbox:/b", "draft-1", 50, 10)),
        Intent(TWO, Place("mbox:/b", "draft-2", 9, 41)),
        Intent(COPY, Place("maildir:/a", "1.M2P3")),
    ]
    with opened(place) as store:
        store.intend(intents)
    with opened(place) as store:
        assert store.intents() == [intents[2], intents[1], intents[0]], "in the order of the destination"
        assert store.known().sizes == {}
        store.done([TWO], "mbox:/b", NOON)
        store.undo([COPY.key])
    assert intents_of(place) == [intents[0]]
    assert sizes(place) == {b"two": 200}


@pytest.mark.parametrize("count", [1, TOGETHER - 1, TOGETHER, TOGETHER + 1, 3 * TOGETHER])
def test_all_that_was_intended_for_a_destination_is_delivered_at_once(place: RecordPlace, count: int) -> None:
    octets = [None, 0, 49, 50, 51, 100]  # of which a message that is listed with 100 may be short
    entries = [
        Entry(Key(b"%d" % number, 0), 100, ONE.identity, octets[number % len(octets)])
        for number in range(count)
    ]
    elsewhere = Intent(COPY, Place("maildir:/b", "1.M2P3"))
    with opened(place) as store:
        store.intend([Intent(entry, Place("maildir:/a", "x")) for entry in entries])
        store.intend([elsewhere])
        store.fulfil("maildir:/a", NOON, "1:2")
    with opened(place) as store:
        delivered = [entry._replace(state=state_of(entry.size, entry.octets)) for entry in entries]
        assert sorted(store.entries()) == sorted(delivered)
        assert store.intents() == [elsewhere]
        assert store.folder_of("maildir:/a") == "1:2"
        assert len(store.delivered_before(NOON)) == count
        assert store.delivered_before(NOON - 1) == set()


def test_file_names_need_not_be_text(place: RecordPlace) -> None:
    intent = Intent(ONE, Place("maildir:/home/al\udcffce", "na\udcfeme"))
    with opened(place) as store:
        store.intend([intent])
    assert intents_of(place) == [intent]
    done(place, ONE, destination=intent.place.destination)
    assert sizes(place) == {b"one": 100}


def states(place: RecordPlace) -> dict[bytes, tuple[State, int, int]]:
    """Return the UID of each message that is not FETCHED, with its state, since when, and misses."""
    with opened(place) as store:
        rows = store.known().unsettled.items()
        return {uid: (row.state, row.since, row.misses) for (uid, _), row in rows}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", [state for state in State if state is not State.NEW])
def test_an_event_changes_a_state_as_in_the_table(place: RecordPlace, event: Event, state: State) -> None:
    done(place, ONE._replace(state=state), TWO)
    with opened(place) as store:
        store.happened(event, [ONE.key, Key(b"unknown", 0)], NOON + 5)
        entry = store.entry(ONE.key)
        assert store.entry(TWO.key) == TWO
    then = next_states(event).get(state, state)
    assert entry == (None if then is State.NEW else ONE._replace(state=then))


def test_a_state_has_a_beginning_and_is_counted(place: RecordPlace) -> None:
    done(place, ONE, TWO)
    for moment in (1, 2, 3):
        with opened(place) as store:
            store.happened(Event.UNLISTED, [ONE.key], NOON + moment)
    assert states(place) == {b"one": (State.MISSING, NOON + 1, 3)}
    with opened(place) as store:
        store.happened(Event.LOOKED_SAME, [ONE.key], NOON + 4)
        store.happened(Event.UNLISTED, [ONE.key], NOON + 5)
    assert states(place) == {b"one": (State.MISSING, NOON + 5, 1)}


def test_what_is_not_settled_has_no_size_to_compare(place: RecordPlace) -> None:
    done(place, ONE, TWO, COPY)
    with opened(place) as store:
        store.happened(Event.DELETING, [TWO.key, COPY.key], NOON)
        assert store.known()[:2] == ({b"one": 100}, {})
        assert set(store.known().unsettled) == {(b"two", 0), (b"one", 1)}
        store.resize({COPY.key: 111})
        store.happened(Event.LOOKED_SAME, [COPY.key], NOON)
        assert store.known().copies == {(b"one", 1): 111}


def test_messages_may_change_places(place: RecordPlace) -> None:
    third = Entry(Key(b"one", 2), 300, None)
    done(place, ONE, COPY._replace(size=200), third)
    with opened(place) as store:
        store.rename({ONE.key: third.key, COPY.key: ONE.key, third.key: COPY.key})
        assert [(entry.key.occurrence, entry.size) for entry in store.copies_of(b"one")] == [
            (0, 200),
            (1, 300),
            (2, 100),
        ]


def test_what_is_larger_than_the_limit_is_remembered_once(place: RecordPlace) -> None:
    with opened(place) as store:
        store.remember_oversize([ONE.key, TWO.key])
        store.remember_oversize([ONE.key])
        assert store.oversize() == {ONE.key, TWO.key}


# A record as version 2 made it: the complement of a size meant that the message was in doubt.
VERSION_2 = f"""
CREATE TABLE message (
    uid BLOB NOT NULL, occurrence INTEGER NOT NULL, size INTEGER NOT NULL, identity BLOB,
    delivered INTEGER NOT NULL, destination BLOB NOT NULL, PRIMARY KEY (uid, occurrence)
) WITHOUT ROWID;
CREATE TABLE intent (
    uid BLOB NOT NULL, occurrence INTEGER NOT NULL, size INTEGER NOT NULL, identity BLOB,
    destination BLOB NOT NULL, name BLOB NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    PRIMARY KEY (uid, occurrence)
) WITHOUT ROWID;
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {database_module.APPLICATION_ID};
PRAGMA user_version = 2;
PRAGMA journal_mode = WAL;
INSERT INTO fact VALUES ('tag', '0123456789abcdef');
INSERT INTO fact VALUES ('no pipelining', 'it mixes up replies');
INSERT INTO message VALUES (x'6F6E65', 0, 100, x'{"69" * 16}', 1700000000, x'6D61696C6469723A2F61');
INSERT INTO message VALUES (x'74776F', 0, ~200, NULL, 1700000001, x'6D61696C6469723A2F61');
INSERT INTO message VALUES (x'7A65726F', 0, ~0, NULL, 1700000002, x'6D61726B6564');
INSERT INTO intent VALUES (x'6E6577', 0, 7, NULL, x'6D61696C6469723A2F61', x'312E4D32', 0, 0);
"""


@pytest.mark.parametrize("kind", [Store, ReadOnlyStore])
def test_a_record_of_version_2_is_brought_up(
    place: RecordPlace, kind: Callable[[RecordPlace], Store]
) -> None:
    place.make()
    with sqlite3.connect(place.database, isolation_level=None) as database:
        database.executescript(VERSION_2)
    database.close()
    store = kind(place)
    try:
        assert (store.known().sizes, store.marked()) == ({b"one": 100}, {(b"zero", 0)})
        assert list(store.entries()) == [
            ONE,
            Entry(Key(b"two", 0), 200, None, None, State.DOUBTED),
            Entry(Key(b"zero", 0), 0, None, None, State.DOUBTED, 1700000002),
        ]
        assert store.delivered_before(1700000001) == {(b"one", 0), (b"two", 0)}
        assert [intent.entry.key for intent in store.intents()] == [Key(b"new", 0)]
        assert store.tag == "0123456789abcdef"
        assert store.fact("no pipelining") == "it mixes up replies"
        assert store.oversize() == set()
    finally:
        store.close()


# A record as version 3 made it: the length of an identity showed if it proves anything.
VERSION_3 = f"""
CREATE TABLE destination (name BLOB PRIMARY KEY, folder TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO destination VALUES (x'6D61696C6469723A2F61', '1:2');
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO fact VALUES ('tag', '0123456789abcdef');
CREATE TABLE intent (
    uid BLOB NOT NULL, occurrence INTEGER NOT NULL, size INTEGER NOT NULL, identity BLOB,
    destination BLOB NOT NULL, name BLOB NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    octets INTEGER, folder TEXT NOT NULL DEFAULT '', PRIMARY KEY (uid, occurrence)
) WITHOUT ROWID;
INSERT INTO intent VALUES (x'6E6577', 0, 7, x'2537D057B3963D64095E43C3B2558F73', x'6D626F783A2F6D',
    x'64726166742D31', 10, 20, 7, '1:3');
INSERT INTO intent VALUES (x'7765616B', 0, 8, x'329743C58E6F2BF2', x'6D626F783A2F6D',
    x'64726166742D32', 30, 21, 8, '1:3');
CREATE TABLE message (
    uid BLOB NOT NULL, occurrence INTEGER NOT NULL, size INTEGER NOT NULL, identity BLOB,
    delivered INTEGER NOT NULL, destination BLOB NOT NULL, octets INTEGER,
    state INTEGER NOT NULL DEFAULT 0, since INTEGER NOT NULL DEFAULT 0, misses INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (uid, occurrence)
) WITHOUT ROWID;
INSERT INTO message VALUES (x'64656C65746564', 0, 400, x'329743C58E6F2BF2', 1700000001,
    x'6D61696C6469723A2F61', NULL, 4, 1700000003, 1);
INSERT INTO message VALUES (x'676F6E65', 0, 300, NULL, 1700000001,
    x'6D61696C6469723A2F61', NULL, 3, 1700000002, 1);
INSERT INTO message VALUES (x'6F6E65', 0, 100, x'2537D057B3963D64095E43C3B2558F73', 1700000000,
    x'6D61696C6469723A2F61', 98, 0, 0, 0);
INSERT INTO message VALUES (x'6F6E65', 1, 100, x'329743C58E6F2BF2', 1700000000,
    x'6D61696C6469723A2F61', 98, 0, 0, 0);
INSERT INTO message VALUES (x'73686F7274', 0, 1000, x'2537D057B3963D64095E43C3B2558F73', 1700000000,
    x'6D61696C6469723A2F61', 20, 1, 0, 0);
CREATE TABLE oversize (
    uid BLOB NOT NULL, occurrence INTEGER NOT NULL, PRIMARY KEY (uid, occurrence)
) WITHOUT ROWID;
INSERT INTO oversize VALUES (x'626967', 0);
CREATE INDEX unsettled ON message (state) WHERE state <> 0;
PRAGMA application_id = {database_module.APPLICATION_ID};
PRAGMA user_version = 3;
PRAGMA journal_mode = WAL;
"""


@pytest.mark.parametrize("kind", [Store, ReadOnlyStore])
def test_a_record_of_version_3_is_brought_up(
    place: RecordPlace, kind: Callable[[RecordPlace], Store]
) -> None:
    place.make()
    with sqlite3.connect(place.database, isolation_level=None) as database:
        database.executescript(VERSION_3)
    database.close()
    proof = identity(b"Message-ID: <a@example.org>\r\n\r\n")
    hint = identity(b"Subject: weak\r\n\r\n")
    assert proof and proof.proves and hint and not hint.proves
    store = kind(place)
    try:
        assert list(store.entries()) == [
            Entry(Key(b"deleted", 0), 400, hint, None, State.DELETED),
            Entry(Key(b"gone", 0), 300, None, None, State.MISSING),
            Entry(Key(b"one", 0), 100, proof, 98),
            Entry(Key(b"one", 1), 100, hint, 98),
            Entry(Key(b"short", 0), 1000, proof, 20, State.SHORT),
        ]
        assert store.known().unsettled == {
            (b"deleted", 0): Unsettled(State.DELETED, 1700000003, 1),
            (b"gone", 0): Unsettled(State.MISSING, 1700000002, 1),
            (b"short", 0): Unsettled(State.SHORT, 0, 0),
        }
        assert store.intents() == [
            Intent(Entry(Key(b"new", 0), 7, proof, 7), Place("mbox:/m", "draft-1", 10, 20, "1:3")),
            Intent(Entry(Key(b"weak", 0), 8, hint, 8), Place("mbox:/m", "draft-2", 30, 21, "1:3")),
        ]
        assert (store.oversize(), store.folder_of("maildir:/a")) == ({(b"big", 0)}, "1:2")
        assert store.tag == "0123456789abcdef"
    finally:
        store.close()


def test_renaming_keeps_all_but_the_uid(place: RecordPlace) -> None:
    done(place, ONE, COPY)
    with opened(place) as store:
        store.rename({ONE.key: Key(b"new", 0), COPY.key: Key(b"new", 1)})
        assert store.known().sizes == {b"new": 100}
        assert store.known().copies == {(b"new", 1): 100}
        assert store.entry(Key(b"new", 0)) == Entry(Key(b"new", 0), 100, PROOF)
        assert store.delivered_before(NOON) == {(b"new", 0), (b"new", 1)}


@pytest.mark.parametrize(("moment", "old"), [(NOON - 1, set()), (NOON, {(b"one", 0)})])
def test_old_is_what_was_delivered_up_to_the_moment(
    place: RecordPlace, moment: int, old: set[tuple[bytes, int]]
) -> None:
    done(place, ONE)
    done(place, TWO, moment=NOON + 100)
    with opened(place) as store:
        assert store.delivered_before(moment) == old


def test_what_was_only_marked_is_known_as_such(place: RecordPlace) -> None:
    done(place, ONE, TWO, destination=store_module.MARKED)
    done(place, TWO)
    with opened(place) as store:
        assert store.marked() == {(b"one", 0)}


def test_facts_are_remembered_and_dropped(place: RecordPlace) -> None:
    with opened(place) as store:
        store.remember("greeting", "ready")
        store.remember("greeting", "still ready")
    with opened(place) as store:
        assert store.fact("greeting") == "still ready"
        store.remember("greeting", None)
        assert store.fact("greeting") is None


CHANGES: dict[str, Callable[[Store], object]] = {
    "intend": lambda store: store.intend([Intent(TWO, Place("maildir:/a", "1.M2P3"))]),
    "done": lambda store: store.done([TWO], "maildir:/a", NOON),
    "fulfil": lambda store: store.fulfil("maildir:/a", NOON),
    "undo": lambda store: store.undo([TWO.key]),
    "happened": lambda store: store.happened(Event.UNLISTED, [ONE.key], NOON),
    "resize": lambda store: store.resize({ONE.key: 7}),
    "oversize": lambda store: store.remember_oversize([ONE.key]),
    "rename": lambda store: store.rename({ONE.key: TWO.key}),
    "remember": lambda store: store.remember("greeting", "ready"),
}


def test_a_listing_is_known_until_the_record_changes(place: RecordPlace) -> None:
    done(place, ONE)
    with opened(place) as store:
        assert store.fact(store_module.LISTING) is None
        store.remember(store_module.LISTING, "all of them")
    with opened(place) as store:
        assert store.fact(store_module.LISTING) == "all of them"
        store.remember(store_module.LISTING, "others")
        assert store.fact(store_module.LISTING) == "others"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_the_record_forgets_the_listing(
    change: Callable[[Store], object], place: RecordPlace
) -> None:
    done(place, ONE)
    with opened(place) as store:
        store.remember(store_module.LISTING, "all of them")
        change(store)
        assert store.fact(store_module.LISTING) is None


def test_a_change_that_fails_forgets_no_listing(place: RecordPlace) -> None:
    with opened(place) as store:
        store.remember(store_module.LISTING, "all of them")
        with pytest.raises(RecordError):
            store.remember("greeting", {})  # type: ignore[arg-type]  # which SQLite cannot keep
        assert store.fact(store_module.LISTING) == "all of them"


def test_no_version_that_keeps_a_listing_it_has_changed_opens_the_record(place: RecordPlace) -> None:
    with opened(place):
        pass
    with sqlite3.connect(place.database) as database:
        assert database.execute("PRAGMA user_version").fetchone() >= (2,)
    database.close()


@settings(max_examples=30, deadline=None)
@given(uids=st.dictionaries(st.binary(max_size=300), st.integers(0, 10**18), max_size=20))
def test_uids_are_opaque_octets(tmp_path_factory: pytest.TempPathFactory, uids: dict[bytes, int]) -> None:
    place = RecordPlace(tmp_path_factory.mktemp("state"), "alice@example.org")
    done(place, *(Entry(Key(uid, 0), size, None) for uid, size in uids.items()))
    assert sizes(place) == uids


def test_uids_may_have_any_length(place: RecordPlace) -> None:
    long = Entry(Key(b"\0" * 1_000_000, 0), 1, None)
    done(place, long, Entry(Key(b"\0" * 1_000_001, 0), 2, None))
    with opened(place) as store:
        assert store.entry(long.key) == long
        store.happened(Event.LOOKED_OTHER, [long.key], NOON)
        assert list(store.known().sizes.values()) == [2]


# -- durability ------------------------------------------------------------------------------------

DYING = """
import os, sys
from pathlib import Path
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.states import Event, State, next_states
from pop3fetch.headers.fields import Identity, identity
from pop3fetch.messages import Key
from pop3fetch.record.store import Entry, Store

place = RecordPlace(Path(sys.argv[1]), "alice@example.org")
store = Store(place)
store.done([Entry(Key(b"one", 0), 100, None)], "maildir:/a", 1)
if sys.argv[2] == "in a transaction":
    store._database.execute("BEGIN IMMEDIATE")
    store._database.execute("DELETE FROM message")
print("ready", flush=True)
if sys.argv[2] == "is killed":
    sys.stdin.read()
os._exit(9)
"""


def another_process(place: RecordPlace, how: str) -> subprocess.Popen[bytes]:
    """Return a process that holds the record; it dies without closing it."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", DYING, place.folder, how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout and process.stdout.readline() == b"ready\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@pytest.mark.parametrize("how", ["between transactions", "in a transaction"])
def test_what_was_committed_outlives_the_process(place: RecordPlace, how: str) -> None:
    end(another_process(place, how))
    assert sizes(place) == {b"one": 100}


def test_an_error_within_a_change_changes_nothing(place: RecordPlace) -> None:
    def failing() -> Iterator[Entry]:
        yield TWO
        raise KeyboardInterrupt

    done(place, ONE)
    with opened(place) as store:
        with pytest.raises(KeyboardInterrupt):
            store.done(failing(), WHERE, NOON)
        store.done([COPY], WHERE, NOON)
    with opened(place) as store:
        assert set(store.entries()) == {ONE, COPY}


def test_reopening_undoes_what_was_not_committed(place: RecordPlace) -> None:
    done(place, ONE)
    with opened(place) as store:
        store._database.execute("BEGIN IMMEDIATE")
        store._database.execute("DELETE FROM message")
        store.reopen()
        assert store.known().sizes == {b"one": 100}
        with pytest.raises(RecordLocked):
            Store(place)


# -- one run at a time -----------------------------------------------------------------------------


def test_a_second_run_is_refused_from_the_very_first_one_on(place: RecordPlace) -> None:
    with opened(place):
        error = refuses_to_open(place)
    assert isinstance(error, RecordLocked)
    assert error.exit_status is Status.TRY_LATER
    assert str(place.lock) in str(error)
    Store(place).close()


def test_the_kernel_lets_go_of_the_lock_of_a_run_that_was_killed(place: RecordPlace) -> None:
    process = another_process(place, "is killed")
    assert isinstance(refuses_to_open(place), RecordLocked)
    end(process)
    assert sizes(place) == {b"one": 100}


def test_the_lock_is_released_if_the_record_cannot_be_opened(place: RecordPlace) -> None:
    place.make()
    place.database.write_bytes(b"")
    assert not isinstance(refuses_to_open(place), RecordLocked)
    assert not isinstance(refuses_to_open(place), RecordLocked)


def test_a_lock_that_is_a_link_is_not_followed(place: RecordPlace, tmp_path: Path) -> None:
    place.make()
    place.lock.symlink_to(tmp_path / "elsewhere")
    assert isinstance(refuses_to_open(place), RecordError)
    assert not (tmp_path / "elsewhere").exists()


def test_a_reader_needs_no_lock_and_sees_what_was_committed(place: RecordPlace) -> None:
    with opened(place) as store:
        store.done([ONE], WHERE, NOON)
        reader = ReadOnlyStore(place)
        assert reader.known().sizes == {b"one": 100}
        store.done([TWO], WHERE, NOON)
        assert reader.known().sizes == {b"one": 100, b"two": 200}
        reader.close()
    assert sizes(place) == {b"one": 100, b"two": 200}


def test_a_writer_that_ends_beside_a_reader_loses_nothing(place: RecordPlace) -> None:
    store = Store(place)
    store.done([ONE], WHERE, NOON)
    reader = ReadOnlyStore(place)
    store.close()
    assert reader.known().sizes == {b"one": 100}
    done(place, TWO)
    assert reader.known().sizes == {b"one": 100, b"two": 200}
    reader.close()


def test_a_reader_sees_what_a_killed_run_had_committed(place: RecordPlace) -> None:
    end(another_process(place, "in a transaction"))
    reader = ReadOnlyStore(place)
    assert reader.known().sizes == {b"one": 100}
    reader.close()


def test_a_reader_cannot_write(place: RecordPlace) -> None:
    done(place, ONE)
    reader = ReadOnlyStore(place)
    with pytest.raises(POP3Error):
        reader.happened(Event.UNLISTED, [ONE.key], NOON)
    reader.close()
    assert sizes(place) == {b"one": 100}


def test_to_a_reader_a_record_that_is_not_there_is_empty_and_is_not_made(place: RecordPlace) -> None:
    reader = ReadOnlyStore(place)
    assert reader.known()[:2] == ({}, {})
    reader.close()
    assert not place.folder.exists()


# -- damage ----------------------------------------------------------------------------------------


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    os.truncate(path, 5000)


def cut_in_the_header(path: Path) -> None:
    os.truncate(path, 50)


def overwritten(path: Path) -> None:
    octets = bytearray(path.read_bytes())
    octets[4096:8192] = b"\xff" * 4096
    path.write_bytes(octets)


def text(path: Path) -> None:
    path.write_text("uid-1\nuid-2\n")


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE message (x)")
    database.close()


DAMAGES = [empty, truncated, cut_in_the_header, overwritten, text, foreign]


@pytest.mark.parametrize("kind", [Store, ReadOnlyStore])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_record_is_an_error_and_never_empty(
    place: RecordPlace, damage: Callable[[Path], None], kind: Callable[[RecordPlace], Store]
) -> None:
    done(place, *(Entry(Key(b"uid-%d" % number, 0), number, None) for number in range(2000)))
    damage(place.database)
    with pytest.raises(RecordError) as caught:
        store = kind(place)
        try:
            assert store.known().sizes == {}
        finally:
            store.close()
    assert caught.value.exit_status is Status.CONFIGURATION
    assert str(place.database) in str(caught.value)


def test_a_damaged_record_is_left_as_it_is(place: RecordPlace) -> None:
    done(place, ONE)
    text(place.database)
    refuses_to_open(place)
    assert place.database.read_bytes() == b"uid-1\nuid-2\n"


@pytest.mark.parametrize("kind", [Store, ReadOnlyStore])
def test_a_record_of_a_newer_version_is_an_error(
    place: RecordPlace, kind: Callable[[RecordPlace], Store]
) -> None:
    done(place, ONE)
    with sqlite3.connect(place.database) as database:
        database.execute(f"PRAGMA user_version = {database_module.VERSION + 1}")
    database.close()
    error = refuses_to_open(place, kind)
    assert isinstance(error, RecordError)
    assert f"a newer pop3fetch wrote it (version {database_module.VERSION + 1}, not" in str(error)


def test_a_new_record_takes_nothing_from_the_log_of_one_that_was_removed(place: RecordPlace) -> None:
    end(another_process(place, "between transactions"))  # its log was not taken up
    place.database.unlink()
    assert Path(f"{place.database}-wal").exists()
    assert sizes(place) == {}
    done(place, TWO)
    assert sizes(place) == {b"two": 200}


def test_what_a_crash_left_of_a_new_record_is_not_a_record(place: RecordPlace) -> None:
    place.make()
    place.database.with_suffix(".aside").write_bytes(b"half of it")
    done(place, ONE)
    assert sizes(place) == {b"one": 100}
    assert not place.database.with_suffix(".aside").exists()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    error = refuses_to_open(RecordPlace(tmp_path / "file" / "state", "alice@example.org"))
    assert isinstance(error, RecordError)
    assert "file" in str(error)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_disk_in_trouble_is_not_damage(place: RecordPlace, number: int) -> None:
    with pytest.raises(DeliveryError) as caught, database_module.record_errors(place.database):
        raise OSError(number, os.strerror(number))
    assert caught.value.exit_status is Status.CANNOT_DELIVER
    assert str(place.database) in str(caught.value)


# -- versions --------------------------------------------------------------------------------------


def test_an_older_record_is_brought_up_step_by_step(
    place: RecordPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(place, ONE)
    first = database_module.VERSION
    steps = {
        first: "ALTER TABLE message ADD COLUMN flags INTEGER; CREATE TABLE extra (x)",
        first + 1: "UPDATE message SET flags = 7; INSERT INTO extra VALUES (1)",
    }
    monkeypatch.setattr(database_module, "VERSION", first + 2)
    monkeypatch.setattr(database_module, "_MIGRATIONS", steps)
    with opened(place) as store:
        assert store.known().sizes == {b"one": 100}
        assert list(store._rows("SELECT flags, user_version FROM message, pragma_user_version")) == [
            (7, first + 2)
        ]
    with opened(place) as store:
        assert list(store._rows("SELECT x FROM extra")) == [(1,)], "each step is taken once"


def test_a_step_that_fails_leaves_the_record_as_it_was(
    place: RecordPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(place, ONE)
    first = database_module.VERSION
    with monkeypatch.context() as newer:
        newer.setattr(database_module, "VERSION", first + 1)
        newer.setattr(database_module, "_MIGRATIONS", {first: "DELETE FROM message; SELECT no_such_thing"})
        assert isinstance(refuses_to_open(place), RecordError)
    assert sizes(place) == {b"one": 100}


# Read by one thread while another opens it anew, as after Ctrl-C; in a process of its own, for SQLite's
# module would take ours with it.
READING = """
import sys, threading
from pathlib import Path
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.states import Event, State, next_states
from pop3fetch.messages import Key
from pop3fetch.record.store import Entry, Store

store = Store(RecordPlace(Path(sys.argv[1]), "alice@example.org"))
store.done([Entry(Key(b"%d" % number, 0), 1, None) for number in range(2000)], "maildir:/x", 0)
read = []
over = threading.Event()

def read_on():
    while not over.is_set():
        read.append(len(store.known().sizes))

reader = threading.Thread(target=read_on)
reader.start()
for _ in range(100):
    store.reopen()
over.set()
reader.join()
store.close()
sys.exit(set(read) != {2000})
"""


def test_a_record_is_opened_anew_while_another_thread_reads_it(place: RecordPlace) -> None:
    ended = subprocess.run([sys.executable, "-W", "error", "-c", READING, place.folder], capture_output=True)
    assert (ended.returncode, ended.stderr) == (0, b"")


# -- the place of a new record ---------------------------------------------------------------------


def test_a_dangling_link_is_not_replaced_by_an_empty_record(place: RecordPlace, tmp_path: Path) -> None:
    place.make()
    place.database.symlink_to(tmp_path / "not mounted" / "record")
    for kind in (Store, ReadOnlyStore):
        error = refuses_to_open(place, kind)
        assert isinstance(error, RecordError)
        link = f"it is a link to {tmp_path}/not mounted/record"
        assert error.reason == f"{link}, which does not exist; is its disk mounted?"
    assert place.database.is_symlink()


def test_a_state_folder_that_is_a_dangling_link_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "state").symlink_to(tmp_path / "not mounted")
    with pytest.raises(RecordError, match=r"it is a link to .*/not mounted, which does not exist"):
        RecordPlace(tmp_path / "state", "alice@host:1").make()


def test_a_new_record_takes_the_place_of_nothing(place: RecordPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    place.make()
    monkeypatch.setattr("pop3fetch.record.store.is_absent", lambda path: True)
    place.database.write_bytes(b"what came in between")
    refuses_to_open(place)
    assert place.database.read_bytes() == b"what came in between"
    assert not place.database.with_suffix(".aside").exists()


def test_each_change_reaches_the_medium_itself_if_the_system_has_a_way(place: RecordPlace) -> None:
    done(place, ONE)
    with closing(database_module.open_database(place.database)) as database:
        assert database.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
        assert database.execute("PRAGMA fullfsync").fetchone() == (1,)


def test_a_file_system_without_hard_links_can_keep_a_record(
    place: RecordPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no hard links")

    monkeypatch.setattr("os.link", refuse)
    done(place, ONE)
    assert sizes(place) == {b"one": 100}


def test_what_a_run_left_aside_that_died_is_removed(place: RecordPlace) -> None:
    done(place, ONE)
    aside = place.database.with_suffix(".aside")
    os.link(place.database, aside)
    assert sizes(place) == {b"one": 100}
    assert not aside.exists()


@pytest.mark.parametrize(
    ("blocks", "inodes", "kind"), [(0, 9, DeliveryError), (9, 0, DeliveryError), (9, 9, RecordError)]
)
def test_a_disk_without_room_for_another_file_is_full(
    place: RecordPlace, monkeypatch: pytest.MonkeyPatch, blocks: int, inodes: int, kind: type[POP3Error]
) -> None:
    free = os.statvfs(place.folder.parent)
    room = os.statvfs_result((*free[:4], blocks, 100, inodes, inodes, *free[8:]))
    monkeypatch.setattr("os.statvfs", lambda folder: room)
    error = sqlite3.OperationalError("unable to open database file")
    error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
    with pytest.raises(kind), database_module.record_errors(place.database):
        raise error
