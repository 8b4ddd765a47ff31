"""Changes of a record by hand: what each does, and that a crash leaves the old record or the new one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pop3fetch.delivery.destination import Place
from pop3fetch.headers.fields import Identity
from pop3fetch.messages import Key
from pop3fetch.record.editing import Addition, EditedStore
from pop3fetch.record.place import RecordPlace
from pop3fetch.record.states import State
from pop3fetch.record.store import (
    ADDITIONS,
    BROKE_AT,
    LISTING,
    MARKED,
    REPLIES_LOST,
    Entry,
    Intent,
    ReadOnlyStore,
)
from tests.support.deaths import deaths

NOON = 1_700_000_000
PROOF = Identity(b"p" * 16, proves=True)
BOX = "maildir:/a"


@pytest.fixture
def place(tmp_path: Path) -> RecordPlace:
    return RecordPlace(tmp_path / "state", "alice@example.org")


@pytest.fixture
def store(place: RecordPlace) -> Iterator[EditedStore]:
    with closing(EditedStore(place)) as store:
        yield store


def recorded(place: RecordPlace) -> list[tuple[Entry, int, str]]:
    with closing(ReadOnlyStore(place)) as store:
        return list(store.fetched())


# -- adding ----------------------------------------------------------------------------------------

ADDITIONS_AND_ROWS: dict[str, tuple[Addition, tuple[Entry, int, str]]] = {
    "a UID alone": (Addition(b"a"), (Entry(Key(b"a", 0), 0, None, None, State.ADDED, NOON), NOON, "added")),
    "octets": (
        Addition(b"\xe9\0 \\x41", 7, MARKED),
        (Entry(Key(b"\xe9\0 \\x41", 0), 0, None, None, State.ADDED, 7), 7, "marked"),
    ),
    "a time that has not come": (
        Addition(b"a", NOON + 9),
        (Entry(Key(b"a", 0), 0, None, None, State.ADDED, NOON), NOON, "added"),
    ),
    "a size": (
        Addition(b"a", 7, "imported:mpop", 100),
        (Entry(Key(b"a", 0), 100, None, None, State.FETCHED, 7), 7, "imported:mpop"),
    ),
    "a UID that may be reused": (
        Addition(b"a", 7, may_be_reused=True),
        (Entry(Key(b"a", 0), 0, None, None, State.DOUBTED, 7), 7, "added"),
    ),
    "a delivery": (
        Addition(b"a", 7, BOX, 100, PROOF, 98),
        (Entry(Key(b"a", 0), 100, PROOF, 98, State.FETCHED), 7, BOX),
    ),
    "a short one": (
        Addition(b"a", 7, BOX, 100, PROOF, 9),
        (Entry(Key(b"a", 0), 100, PROOF, 9, State.SHORT), 7, BOX),
    ),
    "the third of its UID": (
        Addition(b"a", 7, BOX, 100, occurrence=2),
        (Entry(Key(b"a", 2), 100, None), 7, BOX),
    ),
}


@pytest.mark.parametrize(("addition", "row"), ADDITIONS_AND_ROWS.values(), ids=ADDITIONS_AND_ROWS)
def test_an_addition_is_recorded(
    place: RecordPlace, store: EditedStore, addition: Addition, row: tuple[Entry, int, str]
) -> None:
    assert store.add([addition], NOON + 0.9) == 1
    assert recorded(place) == [row]
    assert store.fact(ADDITIONS)


def test_messages_that_share_a_uid_are_counted_in_each_list(store: EditedStore) -> None:
    assert store.add([Addition(b"a"), Addition(b"b"), Addition(b"a")], NOON) == 3
    assert store.add([Addition(b"a"), Addition(b"a"), Addition(b"a")], NOON) == 1
    assert [entry.key for entry in store.copies_of(b"a")] == [(b"a", 0), (b"a", 1), (b"a", 2)]


def test_what_is_recorded_is_not_replaced(place: RecordPlace, store: EditedStore) -> None:
    store.done([Entry(Key(b"a", 0), 100, PROOF, 98)], BOX, NOON)
    before = recorded(place)
    assert store.add([Addition(b"a", 1, MARKED, 7, may_be_reused=True)], NOON + 9) == 0
    assert recorded(place) == before


def test_the_time_of_a_hundred_thousand_does_not_run_away(store: EditedStore) -> None:
    uids = [b"%08x-%d" % (number * 2654435761 % 2**32, number) for number in range(100_000)]
    begun = time.process_time()
    assert store.add(map(Addition, uids), NOON) == 100_000
    assert time.process_time() - begun < 20, "one by one they would take minutes"


# -- forgetting ------------------------------------------------------------------------------------


def test_forgetting_takes_all_that_share_a_uid(place: RecordPlace, store: EditedStore) -> None:
    store.add(map(Addition, (b"a", b"a", b"b")), NOON)
    store.remember_oversize([Key(b"a", 0), Key(b"c", 0)])
    assert store.forget([b"a"]) == 2
    assert [entry.key.uid for entry, _, _ in recorded(place)] == [b"b"]
    assert store.oversize() == {Key(b"c", 0)}


def test_forgetting_all_keeps_what_is_known_of_the_destination(store: EditedStore) -> None:
    store.done([Entry(Key(b"a", 0), 1, None)], BOX, NOON, "1:2")
    store.add([Addition(b"b")], NOON)
    tag = store.tag
    assert store.forget_all() == 2
    assert (list(store.entries()), store.fact(ADDITIONS)) == ([], None)
    assert (store.tag, store.folder_of(BOX)) == (tag, "1:2")


@pytest.mark.parametrize(
    "forget",
    [lambda store: store.forget([b"a"]), lambda store: store.forget_all()],
    ids=["one", "all"],
)
def test_forgetting_drops_at_which_messages_deliveries_broke(
    store: EditedStore, forget: Callable[[EditedStore], int]
) -> None:
    facts = (BROKE_AT, f"{REPLIES_LOST}lmtp://one", f"{REPLIES_LOST}lmtp://two", "other")
    for fact in facts:
        store.remember(fact, "61:0")
    forget(store)
    assert [store.fact(fact) for fact in facts] == [None, None, None, "61:0"]


def test_a_destination_is_forgotten_with_what_a_crash_left_there(store: EditedStore) -> None:
    for number, box in enumerate((BOX, BOX, "mbox:/m")):
        entry = Entry(Key(b"%d" % number, 0), 1, None)
        store.done([entry._replace(key=Key(b"done", number))], box, NOON, "1:2")
        store.intend([Intent(entry, Place(box, "name"))])
    assert store.destinations() == {BOX, "mbox:/m"}
    assert store.forget_destination(BOX) == 2
    assert store.destinations() == {"mbox:/m"}
    assert [intent.place.destination for intent in store.intents()] == ["mbox:/m"]
    assert len(list(store.entries())) == 3, "what was delivered there stays recorded"


# -- each is one change ----------------------------------------------------------------------------

CHANGES: dict[str, Callable[[EditedStore], object]] = {
    "add": lambda store: store.add([Addition(b"c"), Addition(b"d")], NOON),
    "forget": lambda store: store.forget([b"a", b"b"]),
    "forget all": lambda store: store.forget_all(),
    "forget a destination": lambda store: store.forget_destination(BOX),
}


def prepared(place: RecordPlace) -> None:
    with closing(EditedStore(place)) as store:
        store.done([Entry(Key(uid, 0), 1, None) for uid in (b"a", b"b")], BOX, NOON, "1:2")
        store.intend([Intent(Entry(Key(uid, 0), 1, None), Place(BOX, "name")) for uid in (b"i", b"j")])
        store.remember_oversize([Key(b"a", 0), Key(b"b", 0)])
        store.remember(LISTING, "all of them")


def contents(place: RecordPlace) -> tuple[object, ...]:
    with closing(ReadOnlyStore(place)) as store:
        known = list(store.fetched()), store.intents(), store.destinations(), store.oversize()
        return *known, store.fact(LISTING), store.fact(ADDITIONS)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_crash_leaves_the_old_record_or_the_new_one(
    tmp_path: Path, change: Callable[[EditedStore], object]
) -> None:
    place = RecordPlace(tmp_path / "state", "alice@example.org")
    prepared(place)
    old = contents(place)

    def operation() -> None:
        with closing(EditedStore(place)) as store:
            change(store)

    seen = []
    for _ in deaths(operation):
        seen.append(contents(place))
        if seen[-1] != old:
            break
    assert seen[0] == old
    assert set(map(repr, seen[:-1])) <= {repr(old)}
    operation()
    assert contents(place) == seen[-1], "what was half done is done again with the same result"
    assert contents(place) != old
