"""A hundred messages that something on the way might change, as they are on the wire before stuffing.

Each has an identity of its own in its first field, so that a test can tell which one was changed.
"""

from __future__ import annotations

LONG_HEADER = b"X-Long: " + b"y" * 20_000 + b"\r\n"
BODIES = [
    b"",
    b"\r\n",
    b"plain\r\n",
    b"no line end",
    b".\r\n",
    b"..\r\n",
    b".",
    b".\r\nMAIL FROM:<x>\r\n",
    b"\r\n.\r\n",
    b"line\n.\nsmuggled\n",
    b"line\r\n.\nsmuggled\r\n",
    b"line\n.\r\nsmuggled\r\n",
    b"bare \n LF\r\n",
    b"\n\n\n",
    b"8-bit \xe4\xf6\xfc\xff\r\n",
    b"UTF-8 \xc3\xa4\r\n",
    b"From me to you\r\n>From\r\n",
    b"x" * 300_000 + b"\r\n",
    b"\x1a\x04\x1b[31m\r\n",
    b"tabs\t and blanks  \r\n \r\n",
    b"~{5+}\r\nhello\r\n",
    b"P2 APPEND INBOX {5}\r\n",
    b")\r\nP2 OK done\r\n",
    b"QUIT\r\nRSET\r\nBDAT 5 LAST\r\n",
    b"\r\n\r\n\r\n",
]
HEADERS = [b"", b"Subject: \xe4\r\n", LONG_HEADER, b"From: a@b\r\n folded\r\nTo: c\r\nDate: nonsense\r\n"]
# What a server may drop or store as something else: bare CRs, and NULs.
ODD_BODIES = [b"bare \r CR\r\n", b"CR at the end\r", b"\r\r\n", b"NUL \0\r\n"]


def message(number: int, header: bytes, body: bytes) -> bytes:
    """Return a message with a Message-ID of its own."""
    return b"Message-ID: <nasty-%d@example.org>\r\n%b\r\n%b" % (number, header, body)


NASTY = [
    message(number, header, body)
    for number, (header, body) in enumerate((header, body) for header in HEADERS for body in BODIES)
]
ODD = [message(1000 + number, b"", body) for number, body in enumerate(ODD_BODIES)]
assert len(NASTY) == 100
# Servers and programs that look for the Message-ID find none.
NAMELESS = b"Subject: <nasty-1100@example.org>\r\n\r\n.\r\nno Message-ID, and no Date\r\n"
LARGE = b"Message-ID: <nasty-2000@example.org>\r\n\r\n" + (b"0123456789abcdef" * 64 + b"\r\n") * 52_000
assert len(LARGE) > 50 << 20


def number_of(octets: bytes) -> int:
    """Return which of the messages it is."""
    return int(octets.partition(b"<nasty-")[2].partition(b"@")[0])


def with_crlf(octets: bytes) -> bytes:
    """Return a message with CRLF for each LF."""
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
