"""When a session in which messages were only looked at may end with QUIT."""

from __future__ import annotations

import pytest

from pop3fetch.sessions.quit import may_quit


@pytest.mark.parametrize(
    ("expire", "after_top", "after_retr"),
    [
        (None, True, False),
        ("NEVER", True, True),
        ("never", True, True),
        ("0", False, False),
        ("1", True, True),
        ("30", True, True),
        ("soon", True, False),
        ("-1", True, False),
    ],
)
def test_quit_is_sent_only_if_the_look_costs_nothing(
    expire: str | None, after_top: bool, after_retr: bool
) -> None:
    assert may_quit(expire, retrieved=False) is after_top
    assert may_quit(expire, retrieved=True) is after_retr
