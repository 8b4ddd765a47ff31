"""The one door between foreign text and anything that a person or a script reads.

What a server, a message or a certificate says is hostile until it has passed here: escape
sequences, C1 controls, bidirectional overrides and line breaks become visible, and nothing
grows without bound (CWE-150, CWE-117).
"""

from __future__ import annotations

LIMIT = 400  # characters of foreign text in one line: a reply is a hint to a person, not a payload


def printable(foreign: bytes | str, limit: int | None = LIMIT) -> str:
    """Return ``foreign`` as one harmless line of at most ``limit`` characters.

    Octets are read as UTF-8; those that are not, and every character for which
    :meth:`str.isprintable` is false, become escapes such as ``\\x1b`` or ``\\u202e``.
    """
    text = foreign.decode("utf-8", "backslashreplace") if isinstance(foreign, bytes) else foreign
    if not text.isprintable():
        text = "".join(map(_visible, text))
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # an octet that is not UTF-8, as Python hands it on (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
