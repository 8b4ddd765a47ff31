"""What the record knows of a message, and what each event makes of it.

A UID alone proves nothing: servers leave messages out of a listing, give UIDs again, keep what they
confirmed as deleted. So a recorded message that a session contradicts is *in doubt*: it is neither
fetched nor deleted on a guess, and a look decides. Only this table decides which state
follows; :class:`~pop3fetch.record.store.Store` and the steps of a run look it up.

A message that was about to become visible (an intent) is not in this table: settling finds out if it
is delivered, which makes it FETCHED or SHORT, or not, which leaves it NEW.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum, IntEnum
from types import MappingProxyType

from pop3fetch.messages import Key, Message, stands_in
from pop3fetch.values import NamedTuple

DAY = 24 * 60 * 60  # seconds


class State(IntEnum):
    """The states of a message; all but NEW are kept in the database by their numbers."""

    NEW = -1  # not in the record: it will be fetched
    FETCHED = 0  # known: delivered, and the last listing agreed
    SHORT = 1  # delivered, but far shorter than listed: kept on the server until it came twice like that
    DOUBTED = 2  # in doubt: a deletion that was not confirmed, or a look that failed
    MISSING = 3  # in doubt: the last complete listing lacked it
    DELETED = 4  # in doubt if it is listed again: the server has confirmed its deletion
    ADDED = 5  # recorded without the server: the first listing that has it completes it


# Only a look can show whether a message that is listed is the recorded one.
IN_DOUBT = frozenset({State.DOUBTED, State.MISSING, State.DELETED})
# What contradicts the record already: a message that was deleted is gone as expected.
CONTRADICTED = IN_DOUBT - {State.DELETED}


class Unsettled(NamedTuple):
    """The state of a message that is recorded and not FETCHED.

    ``since`` in seconds since the epoch; ``misses``: how many complete listings lacked it, as far as they are
    counted (see :mod:`pop3fetch.record.missing`).
    """

    state: State
    since: int
    misses: int


class Known(NamedTuple):
    """What the record has of an account's messages.

    ``sizes`` by UID, and ``copies`` by key, of those that are FETCHED; ``unsettled`` has all others by key.
    """

    sizes: Mapping[bytes, int] = MappingProxyType({})
    copies: Mapping[Key, int] = MappingProxyType({})
    unsettled: Mapping[Key, Unsettled] = MappingProxyType({})

    def size_of(self, message: Message) -> int | None:
        """Return the size of a FETCHED message, or None."""
        if message.occurrence:
            return self.copies.get(message.key)
        return self.sizes.get(message.uid)

    def fetched(self) -> Iterator[Key]:
        """Yield the keys of the messages that are FETCHED."""
        for uid in self.sizes:
            yield Key(uid, 0)
        yield from self.copies

    def expected(self) -> Iterator[Key]:
        """Yield the keys of the messages that a listing should have, missing ones included."""
        yield from self.fetched()
        yield from (key for key, row in self.unsettled.items() if row.state is not State.DELETED)

    @property
    def has_unique_ids(self) -> bool:
        """Whether the server has listed UIDs of its own, as far as the record shows."""
        return any(not stands_in(uid) for uid, _ in self.expected())


class Event(Enum):
    """What may become known of a recorded message."""

    LISTED = "a listing has what was recorded without the server"
    UNLISTED = "a complete listing lacks it"
    EXPIRED = "complete listings have lacked it for long enough"
    LOOKED_SAME = "a look shows that it is the recorded message"
    LOOKED_OTHER = "a look shows that it is another message"
    LOOK_FAILED = "a look failed, which decides nothing"
    DELETING = "DELE is about to be sent, and the reply to QUIT may be lost"
    DELETED = "the server has replied +OK to DELE and QUIT"


_NEW, _FETCHED, _SHORT, _DOUBTED, _MISSING, _DELETED, _ADDED = State

_NEXT: Mapping[Event, Mapping[State, State]] = {
    Event.LISTED: {_ADDED: _FETCHED},
    Event.UNLISTED: {
        _FETCHED: _MISSING,
        _SHORT: _MISSING,
        _DOUBTED: _MISSING,
        _MISSING: _MISSING,
        _DELETED: _DELETED,
        _ADDED: _MISSING,
    },
    Event.EXPIRED: {_MISSING: _NEW, _DELETED: _NEW},
    Event.LOOKED_SAME: dict.fromkeys((_FETCHED, _SHORT, _DOUBTED, _MISSING, _DELETED, _ADDED), _FETCHED),
    Event.LOOKED_OTHER: dict.fromkeys((_FETCHED, _SHORT, _DOUBTED, _MISSING, _DELETED, _ADDED), _NEW),
    # FETCHED stays so: a contradiction of sizes is seen again in the next session.
    Event.LOOK_FAILED: {_MISSING: _DOUBTED, _DELETED: _DOUBTED, _ADDED: _DOUBTED},
    Event.DELETING: {_FETCHED: _DOUBTED, _ADDED: _DOUBTED},
    Event.DELETED: dict.fromkeys((_FETCHED, _SHORT, _DOUBTED, _ADDED), _DELETED),
}


def next_states(event: Event) -> Mapping[State, State]:
    """Return state to next state for ``event``; a state that is not in it stays as it is."""
    return _NEXT[event]
