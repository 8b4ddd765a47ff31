"""The table of states: its content, and that no message is stuck in it."""

from __future__ import annotations

import pytest

from pop3fetch.messages import Key, Message, stand_in_uid
from pop3fetch.record.states import Event, Known, State, Unsettled, next_states

RECORDED = [state for state in State if state is not State.NEW]

# What each event makes of FETCHED, SHORT, DOUBTED, MISSING, DELETED and ADDED.
FOLLOWING = {
    Event.LISTED: "FETCHED SHORT DOUBTED MISSING DELETED FETCHED",
    Event.UNLISTED: "MISSING MISSING MISSING MISSING DELETED MISSING",
    Event.EXPIRED: "FETCHED SHORT DOUBTED NEW NEW ADDED",
    Event.LOOKED_SAME: "FETCHED FETCHED FETCHED FETCHED FETCHED FETCHED",
    Event.LOOKED_OTHER: "NEW NEW NEW NEW NEW NEW",
    Event.LOOK_FAILED: "FETCHED SHORT DOUBTED DOUBTED DOUBTED DOUBTED",
    Event.DELETING: "DOUBTED SHORT DOUBTED MISSING DELETED DOUBTED",
    Event.DELETED: "DELETED DELETED DELETED MISSING DELETED DELETED",
}


@pytest.mark.parametrize("event", Event)
def test_each_event_is_followed_by(event: Event) -> None:
    following = next_states(event)
    assert [following.get(state, state).name for state in RECORDED] == FOLLOWING[event].split()


@pytest.mark.parametrize("event", Event)
def test_only_recorded_messages_change(event: Event) -> None:
    assert State.NEW not in next_states(event)


@pytest.mark.parametrize("event", Event)
def test_no_event_changes_a_message_twice(event: Event) -> None:
    following = next_states(event)
    assert {state: following.get(then, then) for state, then in following.items()} == following


@pytest.mark.parametrize("state", RECORDED)
def test_a_look_settles_each_state(state: State) -> None:
    assert next_states(Event.LOOKED_SAME)[state] is State.FETCHED
    assert next_states(Event.LOOKED_OTHER)[state] is State.NEW


@pytest.mark.parametrize("state", RECORDED)
def test_a_look_that_fails_neither_settles_nor_forgets(state: State) -> None:
    then = next_states(Event.LOOK_FAILED).get(state, state)
    assert then in RECORDED
    assert (then is State.FETCHED) is (state is State.FETCHED)


def test_only_a_look_and_time_forget_a_message() -> None:
    forgetting = {event for event in Event if State.NEW in next_states(event).values()}
    assert forgetting == {Event.LOOKED_OTHER, Event.EXPIRED}
    assert set(next_states(Event.EXPIRED)) == {State.MISSING, State.DELETED}


@pytest.mark.parametrize("state", RECORDED)
def test_an_unlisted_message_can_be_forgotten_in_the_end(state: State) -> None:
    missing = next_states(Event.UNLISTED)[state]
    assert next_states(Event.EXPIRED)[missing] is State.NEW


# -- what the record knows -------------------------------------------------------------------------

KNOWN = Known(
    sizes={b"a": 10, b"b": 20},
    copies={Key(b"a", 1): 11},
    unsettled={
        Key(b"c", 0): Unsettled(State.MISSING, 0, 1),
        Key(b"c", 1): Unsettled(State.DELETED, 0, 0),
    },
)


@pytest.mark.parametrize(
    ("uid", "occurrence", "size"),
    [(b"a", 0, 10), (b"b", 0, 20), (b"a", 1, 11), (b"b", 1, None), (b"a", 2, None), (b"c", 0, None)],
)
def test_a_size_is_known_of_what_is_fetched(uid: bytes, occurrence: int, size: int | None) -> None:
    assert KNOWN.size_of(Message(0, 99, uid, occurrence)) == size


def test_a_listing_should_have_all_that_was_not_deleted() -> None:
    fetched = [Key(b"a", 0), Key(b"b", 0), Key(b"a", 1)]
    assert list(KNOWN.fetched()) == fetched
    assert list(KNOWN.expected()) == [*fetched, Key(b"c", 0)]


STAND_IN = Key(stand_in_uid(b"Subject: x\r\n\r\n", 9), 0)
MISSING, DELETED = Unsettled(State.MISSING, 0, 1), Unsettled(State.DELETED, 0, 0)


@pytest.mark.parametrize(
    ("known", "has_them"),
    [
        (KNOWN, True),
        (Known(), False),
        (Known(sizes={STAND_IN.uid: 9}), False),
        (Known(sizes={STAND_IN.uid: 9, b"a": 10}), True),
        (Known(unsettled={Key(b"a", 0): MISSING}), True),
        (Known(unsettled={Key(b"a", 0): DELETED}), False),
        (Known(unsettled={STAND_IN: MISSING}), False),
    ],
)
def test_a_server_has_unique_ids_if_one_of_its_own_is_expected(known: Known, has_them: bool) -> None:
    assert known.has_unique_ids is has_them
