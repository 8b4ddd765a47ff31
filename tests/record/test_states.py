"""The table of states: its content, and that no message is stuck in it."""

from __future__ import annotations

import pytest

from pop3fetch.record.states import Event, State, next_states

RECORDED = [state for state in State if state is not State.NEW]


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
