"""Octets of a server, delivered to the state machine in every way that TCP may deliver them.

A reply means the same whole, octet by octet, cut in two at any place, and with the next reply attached.
:func:`hear` tries them all and returns the one result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle

import pytest

from pop3fetch.errors import CommandNotAllowed, POP3Error, ProtocolViolation, SessionEnded
from pop3fetch.pop3.machine import (
    AUTHORIZATION,
    COMMANDS,
    TRANSACTION,
    Content,
    Event,
    Reply,
    Session,
    SessionState,
)
from pop3fetch.pop3.wire import CRLF, StatusLine

NEXT = StatusLine(False, b"next")  # the reply that :func:`hear` attaches


@dataclass(frozen=True, slots=True)
class Heard:
    """What a session made of some octets: ``events``, neighbouring blocks of content joined; ``error``."""

    events: tuple[Event, ...]
    error: POP3Error | None = None
    kinds: tuple[type[Event], ...] = field(init=False)  # tuples of different kinds are equal

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", tuple(map(type, self.events)))

    def means_the_same_as(self, other: Heard) -> bool:
        same = (self.events, self.kinds) == (other.events, other.kinds)
        return same and type(self.error) is type(other.error)


# -- sessions to begin with --------------------------------------------------------------------


def in_state(state: SessionState, line_end: bytes = CRLF) -> Session:
    """Return a session that was greeted and, for TRANSACTION, logged in."""
    session = Session()
    feed(session, [b"+OK ready" + line_end])
    if state is TRANSACTION:
        session.send("PASS", "secret")
        feed(session, [b"+OK" + line_end])
    assert session.state is state
    return session


def asking(
    name: str, *arguments: str | bytes | int, state: SessionState | None = None, line_end: bytes = CRLF
) -> Callable[[], Session]:
    """Return what makes sessions that await the reply to a command of :data:`COMMANDS`.

    ``state`` is TRANSACTION if the command is valid there.
    """
    state = state or (TRANSACTION if TRANSACTION in COMMANDS[name].states else AUTHORIZATION)

    def make() -> Session:
        session = in_state(state, line_end)
        session.send(name, *arguments)
        return session

    return make


def having_heard(make: Callable[[], Session], octets: bytes) -> Callable[[], Session]:
    """Return what makes sessions that ``octets`` have reached, but not yet all of a line."""

    def make_again() -> Session:
        session = make()
        assert feed(session, [octets]) == Heard(())
        return session

    return make_again


# -- ways to cut octets --------------------------------------------------------------------------


def octet_by_octet(octets: bytes) -> list[bytes]:
    return [octets[place : place + 1] for place in range(len(octets))]


def in_two(octets: bytes, places: Iterable[int] | None = None) -> Iterator[list[bytes]]:
    """Yield ``octets`` cut in two at each of ``places``, or everywhere."""
    for place in range(1, len(octets)) if places is None else places:
        yield [octets[:place], octets[place:]]


def in_pieces(octets: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Yield pieces of these sizes, the sizes over and over again."""
    place = 0
    for size in cycle(sizes):
        if place >= len(octets):
            return
        yield octets[place : place + size]
        place += size


# -- hearing -------------------------------------------------------------------------------------


def events(session: Session, pieces: Iterable[bytes]) -> Iterator[Event]:
    """Yield each event as it happens, until QUIT ends the session or an error leaves it.

    There are at most as many as octets, and two that may have waited for the first one. So a machine that
    reads the same octets again and again fails at once.
    """
    most = 2
    for piece in pieces:
        session.receive(piece)
        most += len(piece)
        while not session.over and (event := session.next_event()) is not None:
            assert most, "more events than octets"
            most -= 1
            yield event


def feed(session: Session, pieces: Iterable[bytes]) -> Heard:
    """Return what ``session`` makes of ``pieces``; after an error, check that it is over for good."""
    heard: list[Event] = []
    try:
        for event in events(session, pieces):
            if isinstance(event, Content) and heard and isinstance(heard[-1], Content):
                event = Content(heard.pop().octets + event.octets)  # type: ignore[union-attr]
            heard.append(event)
    except POP3Error as error:
        assert_it_is_over(session)
        return Heard(tuple(heard), error)
    return Heard(tuple(heard))


def assert_it_is_over(session: Session) -> None:
    for attempt in (lambda: session.send("NOOP"), lambda: session.respond(b"*"), session.next_event):
        with pytest.raises(SessionEnded):
            attempt()


def hear(make: Callable[[], Session], octets: bytes, places: Iterable[int] | None = None) -> Heard:
    """Return what sessions of ``make`` read in ``octets``, which is the same in every way.

    ``places``: the places to cut in two; by default all.
    """
    session = make()
    whole = feed(session, [octets])
    for pieces in (octet_by_octet(octets), *in_two(octets, places)):
        assert feed(make(), pieces).means_the_same_as(whole), pieces
    if whole.error or not session.awaited:
        for cut in (lambda octets: [octets], octet_by_octet):
            _hear_next(make(), octets, cut, whole)
    return whole


def _hear_next(session: Session, octets: bytes, cut: Callable[[bytes], list[bytes]], whole: Heard) -> None:
    octets += b"-ERR next" + session.line_end
    if _ask_next(session):
        replies = () if whole.error else (Reply("CAPA", NEXT),)
        expected = Heard((*whole.events, *replies), whole.error)
        assert feed(session, cut(octets)).means_the_same_as(expected)
    else:
        _assert_next_is_unasked(session, feed(session, cut(octets)), whole)


def _ask_next(session: Session) -> bool:
    """Send one command more behind those that await their replies; return whether it may be."""
    if not session.awaited:
        return False
    try:
        session.send("CAPA")
    except CommandNotAllowed:
        return False
    return True


def _assert_next_is_unasked(session: Session, heard: Heard, whole: Heard) -> None:
    if whole.error or session.state not in (AUTHORIZATION, TRANSACTION):
        assert heard.means_the_same_as(whole)
    else:
        # After STLS the event itself is withheld if the octets arrive at once.
        assert whole.events[: len(heard.events)] == heard.events
        assert type(heard.error) is ProtocolViolation
