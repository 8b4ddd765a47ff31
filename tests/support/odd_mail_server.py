"""A mailbox that does by the letter of the RFCs what hurts, or loses the line when it matters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.support.mail_server import Mailbox, Message
from tests.support.scripted_server import ClientLeft, Script, Talk

QUIT = b"QUIT\r\n"


class OddMailbox(Mailbox):
    """Like its base; and it ``pops``: what was retrieved is deleted at QUIT (RFC 1939 section 8).

    With ``loses_quit`` QUIT is obeyed, and its answer never sent. ``break_after`` lets the next
    connection say so many octets, and then its ``manner`` of breaking is what happens to it.
    ``said`` counts the octets of all connections; ``removed`` is what QUITs have removed.
    """

    def __init__(self, messages: Iterable[bytes], *, pops: bool = False, **more: Any) -> None:
        super().__init__(messages, **more)
        self.pops = pops
        self.loses_quit = False
        self.break_after: int | None = None
        self.manner: Script = Talk.cut
        self.said = 0
        self.removed: list[Message] = []

    def remove(self, deleted: Iterable[Message]) -> None:
        gone = list(deleted)
        self.removed += gone
        super().remove(gone)

    def __call__(self, talk: Talk) -> None:
        allowed, self.break_after = self.break_after, None
        maildrop = list(self.maildrop)
        say = talk.say

        def say_unless_it_is_lost(octets: bytes) -> None:
            nonlocal allowed
            if talk.commands[-1:] == [QUIT] and octets.startswith(b"+OK"):
                if self.pops:
                    self.remove(maildrop[number - 1] for number in self._retrieved(talk))
                if self.loses_quit:
                    talk.cut()
            say(octets[:allowed])
            self.said += len(octets)
            if allowed is not None:
                allowed -= len(octets)
                if allowed <= 0:
                    self._break(talk)

        talk.say = say_unless_it_is_lost  # type: ignore[method-assign]
        super().__call__(talk)

    def _break(self, talk: Talk) -> None:
        self.manner(talk)
        raise ClientLeft

    def _retrieved(self, talk: Talk) -> list[int]:
        answered = (line for line in talk.commands if self.replies.get(line, b"+OK").startswith(b"+OK"))
        return [int(line.split()[1]) for line in answered if line.startswith(b"RETR ")]
