"""Values with names, and a repr without what is secret."""

from __future__ import annotations

import typing

import pytest

from pop3fetch.values import NamedTuple, veiled

if typing.TYPE_CHECKING:
    from collections.abc import Sequence


class Key(NamedTuple):
    """A key and its owner."""

    owner: str
    digits: str
    copies: Sequence[str] = ()

    @property
    def title(self) -> str:
        return f"{self.owner}'s key"

    def __str__(self) -> str:
        return self.title


class Same(typing.NamedTuple):
    """A key and its owner."""

    owner: str
    digits: str
    copies: typing.Sequence[str] = ()


def test_a_named_tuple_is_what_that_of_the_library_is() -> None:
    key, same = Key("alice", "1234"), Same("alice", "1234")
    assert (*key,) == (*same,) == ("alice", "1234", ())
    assert repr(key) == repr(same).replace("Same", "Key")
    assert key._replace(digits="5").digits == "5"
    assert (Key._fields, Key._field_defaults) == (Same._fields, Same._field_defaults)
    assert key._asdict() == same._asdict()
    assert (Key.__doc__, Key.__name__, Key.__module__) == (Same.__doc__, "Key", __name__)
    assert isinstance(key, tuple)
    with pytest.raises(AttributeError):
        key.owner = "bob"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Key("alice")  # type: ignore[call-arg]


def test_a_named_tuple_has_its_own_methods() -> None:
    assert (Key("alice", "1234").title, str(Key("bob", "1"))) == ("alice's key", "bob's key")


def test_all_but_the_secret_fields_is_shown() -> None:
    assert veiled(Key("alice", "1234"), "digits") == "Key(owner='alice', copies=())"


def test_a_field_that_is_not_there_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        veiled(Key("alice", "1234"), "digit")
