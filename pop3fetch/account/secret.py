"""The octets of a secret: from a variable, a file or a program to the text that a login sends.

Old servers keep passwords in Latin-1, so any octets may come: those that are not UTF-8 are kept as
lone surrogates (PEP 383), and leave as they came. Control characters are refused instead of
being sent: one in a password is a file with the wrong line ends, or with more than the password in it.
"""

from __future__ import annotations

import re

from pop3fetch.errors import NoPassword
from pop3fetch.printable import printable

CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


def text_of(octets: bytes) -> str:
    """Return octets as text; those that are not UTF-8 become lone surrogates."""
    return octets.decode("utf-8", "surrogateescape")


def first_line(octets: bytes) -> str:
    """Return the first line without its end, which is LF or CRLF."""
    line, end, _ = octets.partition(b"\n")
    return text_of(line.removesuffix(b"\r") if end else line)


def without_line_end(text: str) -> str:
    """Return ``text`` without one trailing LF or CRLF."""
    return text[:-1].removesuffix("\r") if text.endswith("\n") else text


def checked(secret: str, source: str) -> str:
    """Return ``secret`` if a login can send it; raises NoPassword, which names the ``source`` alone."""
    if CONTROLS.search(secret):
        raise NoPassword(
            f"the password from {printable(source)} contains a control character, such as a tab or a "
            "second line end; remove it"
        )
    try:
        secret.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # not even as a cause: it carries the secret
        raise NoPassword(
            f"the password from {printable(source)} contains half a surrogate pair, which is not a character"
        ) from None
    return secret
