"""The one door between foreign text and anything that a person or a script reads.

Text from a server, a message or a certificate is hostile until it has passed here: escape sequences, C1
controls, bidirectional overrides and line breaks become visible, and its length is limited (CWE-150,
CWE-117).
"""

from __future__ import annotations

LIMIT = 400  # characters of foreign text in one line: a reply is a hint to a person, not a payload

# Harmless, though not str.isprintable(). A blank of any width is shown as a blank. The joiners shape Persian
# words and emoji; Arabic and its neighbours have signs below numbers. Characters without a shape of their own
# (soft hyphen, zero-width space, marks of direction, byte order mark, the tags of a flag) are left out.
_BLANKS = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_JOINERS = "\u200c\u200d"
_SIGNS = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
_SHAPELESS = "\u00ad\u061c\u180e\u200b\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"
_TAGS = map(chr, range(0xE0020, 0xE0080))
_HARMLESS = {
    **dict.fromkeys(_BLANKS, " "),
    **dict(zip(_JOINERS + _SIGNS, _JOINERS + _SIGNS, strict=True)),
    **dict.fromkeys((*_SHAPELESS, *_TAGS), ""),
}


def printable(foreign: bytes | str, limit: int | None = LIMIT) -> str:
    """Return ``foreign`` as one harmless line of at most ``limit`` characters.

    Octets are read as UTF-8. Other octets, control characters and characters that move text become escapes
    such as ``\\x1b`` or ``\\u202e``; blanks of all widths become a blank.
    """
    text = foreign.decode("utf-8", "backslashreplace") if isinstance(foreign, bytes) else foreign
    if not text.isprintable():
        text = "".join(map(_visible, text))
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def _visible(character: str) -> str:
    if character.isprintable():
        return character
    if character in _HARMLESS:
        return _HARMLESS[character]
    # Emoji and ideographs that this version of Python does not know: nothing else will be assigned there.
    if "\U0001f000" <= character <= "\U0001faff" or "\U00020000" <= character <= "\U0002fffd":
        return character
    if "\udc80" <= character <= "\udcff":  # an octet that is not UTF-8, as Python hands it on (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
