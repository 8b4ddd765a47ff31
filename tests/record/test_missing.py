"""When a message that listings lack is forgotten."""

from __future__ import annotations

import pytest

from pop3fetch.record.missing import KEPT, MOST_MISSES, is_expired
from pop3fetch.record.states import State, Unsettled


@pytest.mark.parametrize(
    ("misses", "age", "expired"),
    [(MOST_MISSES, KEPT, True), (MOST_MISSES, KEPT - 1, False), (MOST_MISSES - 1, KEPT, False)],
)
def test_days_and_several_listings_must_pass(misses: int, age: int, expired: bool) -> None:
    assert is_expired(Unsettled(State.MISSING, 1000, misses), 1000 + age) is expired
