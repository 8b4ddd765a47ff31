"""A server with mail in it, and the environment in which commands find it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pop3fetch.demo import MESSAGES
from tests.support.mail_server import Mailbox
from tests.support.scripted_server import ScriptedServer

GREETING = b"+OK ready <1896.697170952@localhost>\r\n"  # with a challenge: APOP needs no TLS

LETTERS = (
    b"From: Bob <bob@example.com>\r\nTo: Alice <alice@example.org>\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Thu, 12 Feb 2026 11:11:00 +0100\r\nMessage-ID: <1@example.com>\r\n\r\nHello.\r\n",
    b"From: carol@example.com\r\nSubject: dots\r\nDate: Fri, 13 Feb 2026 08:00:00 +0000\r\n\r\n.\r\n..\r\n",
    b"Subject: no date\r\n\r\n" + b"x" * 1200 + b"\r\n",
)

# What must not reach a terminal, as it may be in a header, a UID or a reply.
HOSTILE = (
    "[/x][b] :smile: \x1b]0;owned\x07 \x1b[2J\x1b[31m \x9b31m \x9d0;x\x9c \u202e\u2066\u200b \x7f\x00\b\v\f é"
)


@dataclass(frozen=True, slots=True)
class Post:
    """A mailbox that is served; ``environment`` makes it the account of a command."""

    mailbox: Mailbox
    server: ScriptedServer

    @property
    def environment(self) -> dict[str, str]:
        return {"POP3FETCH_ACCOUNT": self.server.url(), "POP3FETCH_PASSWORD": "secret"}

    @property
    def verbs(self) -> list[bytes]:
        """The commands that came, without their arguments and line ends."""
        return [line.split()[0] for line in self.server.commands]


StartPost = Callable[..., Post]


def harmless(octets: bytes) -> bool:
    """Return whether ``octets`` are safe for a terminal, or a program that splits lines and columns."""
    text = octets.decode("utf-8")
    return all(character in "\n\t" or character.isprintable() for character in text)


def delivered(maildir: Path) -> list[bytes]:
    """Return the messages of a maildir, in the order in which they were named."""
    files = sorted((maildir / "new").iterdir(), key=lambda file: int(re.findall(r"Q(\d+)", file.name)[0]))
    return [file.read_bytes() for file in files]


def letters(count: int, octets: int = 100) -> Sequence[bytes]:
    """Return many messages of about a size."""
    return [
        b"Subject: %d\r\n\r\n" % number + b"0123456789abcdef\r\n" * (octets // 18) for number in range(count)
    ]


DEMO = MESSAGES
