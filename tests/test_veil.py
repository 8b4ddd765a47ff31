"""A repr without what is secret."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from pop3fetch.veil import veiled


class Key(NamedTuple):
    owner: str
    digits: str


def test_all_but_the_secret_fields_is_shown() -> None:
    assert veiled(Key("alice", "1234"), "digits") == "Key(owner='alice')"


def test_a_field_that_is_not_there_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        veiled(Key("alice", "1234"), "digit")
