"""The kinds of destination, and the schemes of those that are mail servers: a table of all.

A new one begins here. ``opening`` makes its destination, and mypy asks for that.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

from pop3fetch.defaults import STREAMS
from pop3fetch.values import NamedTuple


class Kind(Enum):
    """The kinds of destination."""

    MAILDIR = "maildir"
    MBOX = "mbox"
    OUTPUT = "output"
    MBOX_OUTPUT = "mbox output"
    PROGRAM = "program"
    SERVER = "server"


PATHS = {Kind.MAILDIR: "DIR", Kind.MBOX: "FILE"}  # the kinds that are named with a path, and what it is of
STREAM_NAMES = dict(zip((Kind.OUTPUT, Kind.MBOX_OUTPUT), STREAMS, strict=True))

Protocol = Literal["LMTP", "SMTP", "IMAP"]


class Scheme(NamedTuple):
    """What the scheme of a mail server's URL means; ``login_port`` is the port if the URL has a user."""

    protocol: Protocol
    port: int
    login_port: int
    implicit_tls: bool


SCHEMES = {
    "lmtp": Scheme("LMTP", 24, 24, implicit_tls=False),
    "smtp": Scheme("SMTP", 25, 587, implicit_tls=False),  # RFC 6409
    "smtps": Scheme("SMTP", 465, 465, implicit_tls=True),
    "imap": Scheme("IMAP", 143, 143, implicit_tls=False),
    "imaps": Scheme("IMAP", 993, 993, implicit_tls=True),
}
