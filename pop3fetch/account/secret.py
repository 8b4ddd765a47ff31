"""The octets of a secret: from a file or a program to the text that a login sends.

Old servers store passwords in Latin-1, so any octets are possible: those that are not UTF-8 become lone
surrogates (PEP 383), and are sent unchanged.
"""

from __future__ import annotations


def text_of(octets: bytes) -> str:
    """Return octets as text; those that are not UTF-8 become lone surrogates."""
    return octets.decode("utf-8", "surrogateescape")


def first_line(octets: bytes) -> str:
    """Return the first line without its end, which is LF or CRLF."""
    line, end, _ = octets.partition(b"\n")
    return text_of(line.removesuffix(b"\r") if end else line)
