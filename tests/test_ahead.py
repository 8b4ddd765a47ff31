"""What comes about in the background."""

from __future__ import annotations

from queue import SimpleQueue
from threading import Event

import pytest

from pop3fetch.ahead import Ahead
from pop3fetch.errors import UnknownHost


def test_the_result_is_awaited_where_it_is_wanted() -> None:
    wanted = Event()
    ahead = Ahead(lambda: wanted.wait(10) and "connected")
    wanted.set()
    assert ahead.result() == "connected"


def test_what_goes_wrong_is_raised_where_the_result_is_wanted() -> None:
    def fail() -> None:
        raise UnknownHost("mail.example.org", "")

    with pytest.raises(UnknownHost, match=r"mail\.example\.org"):
        Ahead(fail).result()


def test_work_that_hangs_is_given_up_in_time() -> None:
    never = Event()
    with pytest.raises(TimeoutError, match=r"did not answer within 0\.01 s"):
        Ahead(never.wait).result(0.01)
    never.set()


def test_a_result_that_nobody_wants_any_more_is_disposed_of() -> None:
    disposed: SimpleQueue[str] = SimpleQueue()
    Ahead(lambda: "a connection").abandon(disposed.put)
    assert disposed.get(timeout=10) == "a connection"
