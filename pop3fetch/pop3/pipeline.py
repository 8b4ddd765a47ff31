"""Pipelining: keep a window of commands outstanding, and take their replies in order.

RFC 2449 section 6.6 makes the client responsible that neither side blocks the other. Dovecot stops
reading commands while more than 4096 octets of its output wait, so a client that writes without
reading can hang. Here the outstanding commands always fit in any socket buffer (512 of some 12
octets), so a write never waits for the server. The outstanding replies are limited in octets, which
limits what an abandoned session wastes. The window is refilled before each read: as continuously as
replies arrive, and with many commands to a write.

So 200 messages take one round trip, and not 200: the benchmark rows ``far-keep`` and ``far-list`` would take
10 s instead of 0.5 s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pop3fetch.errors import ServerErrorResponse
from pop3fetch.pop3.conversation import Conversation
from pop3fetch.pop3.machine import Reply
from pop3fetch.pop3.wire import StatusLine


class Request(NamedTuple):
    """A command with its arguments, and the octets of content that are expected for it."""

    name: str
    arguments: tuple[int, ...] = ()
    expected: int = 0


class IncomingMessage(NamedTuple):
    """A message as it arrives: ``refusal`` if the server replied -ERR, else its ``blocks``.

    Blocks are octets, unstuffed, with CRLF; no line end is split between two of them.
    """

    index: int  # type: ignore[assignment]  # instead of the method of tuples
    refusal: ServerErrorResponse | None
    blocks: Iterator[bytes]


Deletion = tuple[int, ServerErrorResponse | None]  # the index, and why the server did not mark it


class Window(NamedTuple):
    """How many commands, and octets of their replies, may be outstanding."""

    commands: int
    octets: int


REFILL = 16  # commands at least in one write: each costs a system call and a TLS record
WIDE = Window(commands=512, octets=8 * 1024 * 1024)
ONE_AT_A_TIME = Window(commands=1, octets=1)


def pipelined(
    conversation: Conversation, requests: Iterable[Request], window: Window
) -> Iterator[tuple[Request, StatusLine]]:
    """Send ``requests`` through a window, and yield each with the status line of its reply.

    A request is taken only when it is sent. Read the content of a multi-line reply before the next status
    line.
    """
    left = iter(requests)
    outstanding: deque[Request] = deque()
    octets = 0

    def top_up() -> None:
        nonlocal octets
        if outstanding and len(outstanding) > window.commands - REFILL:
            return
        while not outstanding or (len(outstanding) < window.commands and octets < window.octets):
            request = next(left, None)
            if request is None:
                break
            conversation.send(request.name, *request.arguments)
            outstanding.append(request)
            octets += request.expected
        conversation.flush()

    conversation.refuse_unread()
    conversation.top_up = top_up
    try:
        top_up()
        while outstanding:
            event = conversation.next_event()
            assert isinstance(event, Reply)
            yield outstanding[0], event.status
            octets -= outstanding.popleft().expected
            if not outstanding:
                top_up()
    finally:
        conversation.top_up = None
        if conversation.session.awaited and not conversation.session.over:
            conversation.close("pipelined replies were not read")
