"""The decoding of a field: raw octets, and encoded words (RFC 2047) in text and in addresses.

Encoded words are decoded here because :mod:`email.header` takes seconds for 60 KB of hostile ones, raises on
malformed ones, and would double the time of a listing. All of this takes linear time, and never raises.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby

from pop3fetch.headers.charsets import UNREADABLE, decoder, extends_ascii
from pop3fetch.headers.fields import first_fields

_READABLE = 10  # characters, of which one may be unreadable: a text that was cut is still in its charset

# The charset parameter of Content-Type (RFC 2045 section 5.1, RFC 2231 section 4), in its simple forms. It
# is not looked for inside a quoted string.
_CHARSET = rb"""(?xi)
    (?: [^"] | " (?: [^"\\] | \\. )*+ " )*?
    (?<= [;\s] ) charset \*? 0? \*? \s*+ = [\s"'\\]*+ (?: [\w-]*+ ' [\w-]*+ ' (?= \w ) )? ([\w:.+-]{1,40})
"""


def raw_text(octets: bytes, headers: bytes) -> str:
    """Decode a field of ``headers``: as UTF-8 (RFC 6532), else by their charset, else as windows-1252.

    ISO-2022-JP has no 8-bit octets, but escape sequences. Text that is UTF-8 but for a few octets was cut.
    """
    try:
        text = octets.decode("utf-8")
        if "\x1b" not in text or not text.isascii():
            return text
    except UnicodeDecodeError:
        text = None
    # Its Roman set would make a yen sign of the backslash, which quotes what follows it in an address.
    own = _by_charset_of(headers, octets.replace(b"\x1b(J", b"\x1b(B"))
    if own is not None:
        return own
    if text is not None:
        return text
    text = octets.decode("utf-8", "replace")
    unreadable = text.count(UNREADABLE)
    others = len(text) - len(text.encode("ascii", "ignore"))
    return text if others > 2 * unreadable else decoder("windows-1252")(octets)


def _by_charset_of(headers: bytes, octets: bytes) -> str | None:
    """Decode by the charset in Content-Type; None if it has none, or the text is not in it."""
    content_type = first_fields(headers, (b"content-type",)).get(b"content-type", b"")
    match = re.match(_CHARSET, b";" + content_type)
    try:
        label = match[1].decode("ascii") if match else ""
        if not extends_ascii(label):
            return None
        text = decoder(label)(octets)
    except LookupError:
        return None
    return text if text.count(UNREADABLE) * _READABLE <= len(text) else None


# `=?charset*language?encoding?text?=` (RFC 2047 section 2, RFC 2231 section 5). Blanks and question marks in
# the text are against the RFC but seen. It ends before the next `=?`, so that each character is read once.
# The groups are atomic: possessive ones that look ahead fail in Python 3.11.2 of Debian 12 (cpython#106052).
_LANGUAGE = r"(?:\*[\w-]{0,40})?"
_INSIDE = r"=(?!\?[^=])|\?(?!=)"
_WORD = rf"=\?([\w:.+-]{{0,40}}){_LANGUAGE}\?([BbQq])\?((?>(?:[ -<>@-~]|{_INSIDE})*))\?="
_ENCODED_WORD = re.compile(_WORD, re.ASCII)
_ENCODED_WORDS = re.compile(rf"{_WORD}(?>(?:\s*+{_WORD})*)", re.ASCII)

LINE_END = re.compile(r"\r\n|[\t-\r\u2028\u2029]")


def decode_text(text: str) -> str:
    """Decode the encoded words of an unstructured field, such as Subject."""
    return _ENCODED_WORDS.sub(lambda words: _decode(words[0]), text) if "=?" in text else text


def _decode(words: str) -> str:
    """Decode adjacent encoded words; those that are malformed stay as they are.

    White space between them does not count (RFC 2047 section 6.2). Words of one charset are joined
    before they are decoded, since many mailers cut in the middle of a character.
    """
    decoded = ""
    failed = False
    for charset, group in groupby(_ENCODED_WORD.finditer(words), key=lambda word: word[1].lower()):
        adjacent = list(group)
        text = _characters(charset, _octets(adjacent))
        if decoded and (failed or text is None):
            decoded += " "
        failed = text is None
        decoded += words[adjacent[0].start() : adjacent[-1].end()] if text is None else text
    return decoded


def _characters(charset: str, octets: bytes) -> str | None:
    """Decode octets; None if their charset is unknown, unless they can only be ASCII or UTF-8."""
    try:
        return decoder(charset)(octets)
    except LookupError:
        pass
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _octets(words: Sequence[re.Match[str]]) -> bytes:
    """Decode adjacent words of one charset; some mailers cut even in the middle of an octet."""
    octets: list[bytes] = []
    for encoding, group in groupby(words, key=lambda word: word[2].lower()):
        texts = [word[3] for word in group]
        if encoding == "q":
            # Python's decoder takes `==` for one equals sign.
            octets.append(binascii.a2b_qp("".join(texts).replace("==", "=3D="), header=True))
        else:
            octets.append(_base64(texts))
    return b"".join(octets)


_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BASE64_RUN = re.compile(r"[A-Za-z0-9+/]+")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/=]+")
_URL_SAFE = str.maketrans("-_", "+/")
_UNUSED_BITS = (0, 63, 15, 3)  # of the last character, by the number of characters modulo 4


def _base64(texts: Iterable[str]) -> bytes:
    """Decode base64, of which the padding may be lost, too long, or followed by more.

    A text goes on in the next one if it ends in the middle of an octet: then bits that should be unused
    are set.
    """
    joined: list[str] = []
    length = 0  # since the last padding
    for text in texts:
        text = _NOT_BASE64.sub("", text.translate(_URL_SAFE))
        end = text.rpartition("=")[2]
        length = len(end) + (length if len(end) == len(text) else 0)
        joined.append(text)
        if not (end and _BASE64.index(end[-1]) & _UNUSED_BITS[length % 4]):
            joined.append("=")
            length = 0
    runs = _BASE64_RUN.findall("".join(joined))
    return b"".join(binascii.a2b_base64(run[: len(run) - (len(run) % 4 == 1)] + "==") for run in runs)


# Addresses (RFC 5322 section 3.4) are taken apart before they are decoded (RFC 2047 section 6.2). An
# encoded word is a name, or part of one: what it says is quoted so that it cannot be taken for an address.

_SPECIALS = r'()<>\[\]:;@\\,"'
_NEEDS_QUOTES = re.compile(rf"[{_SPECIALS}.]")
_PLAIN = rf"(?>(?:[^{_SPECIALS}?=\x00-\x1f\x7f-\U0010ffff]|{_INSIDE})*)"
# What mailers leave unencoded in a name, although RFC 2047 section 5 forbids it: parentheses and quotes that
# match, and other special characters unless there is a blank, which would make it a list of addresses.
_BARE = rf"(?>(?:[^()\\\"?=\x00- \x7f-\U0010ffff]|{_INSIDE})*)"
_BARE_TEXT = rf"{_BARE}(?>(?:(?:\({_BARE}\)|\"{_BARE}\"){_BARE})*)"
_NAME_TEXT = rf"(?:{_PLAIN}(?>(?:\({_PLAIN}\){_PLAIN})*)\?=|{_BARE_TEXT}\?=)"
_NAME_WORD = rf"=\?[\w.+-]{{0,40}}{_LANGUAGE}\?[BbQq]\?{_NAME_TEXT}"
_FLAT_COMMENT = r"\((?:[^()\\]|\\.)*+\)"
_COMMENT = rf"\((?:[^()\\]|\\.|\((?:[^()\\]|\\.|{_FLAT_COMMENT})*+\))*+\)"


@lru_cache
def _address_token() -> re.Pattern[str]:
    """Return what matches one token; a field that is not made of them is malformed."""
    return re.compile(
        rf"""(?P<words>(?a:{_NAME_WORD}(?>(?:\s*+{_NAME_WORD})*)))"""
        rf"""|(?P<quoted>"(?:[^"\\]|\\.)*+")"""
        rf"""|(?P<comment>{_COMMENT})"""
        r"""|(?P<angle><[^<>"()\\]*+(?:>|\Z))"""
        r"""|(?P<end>[,;:])"""
        r"""|(?P<at>@\s*+(?:\[[^\[\]\\"()]*+\])?)"""
        rf"""|(?P<plain>[^{_SPECIALS}=]++|=)""",
        re.DOTALL,
    )


_ELEMENT_ENDS = re.compile(r"([,;])")

_Token = tuple[str, str]  # the name of a group, and its text


def decode_addresses(text: str) -> str:
    """Decode the names of a field of addresses, such as From; the addresses stay what they are."""
    if "=?" not in text:
        return text
    token = _address_token()
    decoded: list[str] = []
    element: list[_Token] = []
    position = 0
    while match := token.match(text, position):  # no search: it would look behind what is malformed
        position = match.end()
        kind = match.lastgroup or ""
        if kind in ("angle", "end"):
            decoded += (_decode_element(element, named=kind == "angle" or match[0] == ":"), match[0])
            element = []
        else:
            element.append((kind, match[0]))
    if position != len(text):
        return _decode_safe_words(text)
    return "".join(decoded) + _decode_element(element, named=False)


def _decode_element(tokens: list[_Token], *, named: bool) -> str:
    """Decode a name before an address in angle brackets (``named``), or what has no such address.

    Without one, the words around an @ are an address. If only a decoded word has an @, the empty ``<>``
    shows that it is not an address.
    """
    is_address = any(
        kind == "at" or (kind == "quoted" and "@" in text and not named) for kind, text in tokens
    )
    texts = [
        text if "=?" not in text or (is_address and kind != "comment") else _decode_token(kind, text)
        for kind, text in tokens
    ]
    decoded = "".join(texts)
    names = (text for (kind, _), text in zip(tokens, texts, strict=True) if kind != "comment")
    pretends = not (named or is_address) and any("@" in text for text in names)
    return f"{decoded.rstrip()} <>" if pretends else decoded


def _decode_name(words: str) -> str:
    decoded = _decode(words)
    return decoded if decoded.isprintable() else LINE_END.sub(" ", decoded)


_IN_QUOTES = re.compile(r'["\\]')
_IN_COMMENT = re.compile(r'["\\()]')
_ESCAPE = r"\\\g<0>"


def _decode_token(kind: str, text: str) -> str:
    if kind == "words":
        name = _decode_name(text)
        return f'"{_IN_QUOTES.sub(_ESCAPE, name)}"' if _NEEDS_QUOTES.search(name) else name
    if kind == "quoted":
        return _ENCODED_WORDS.sub(lambda words: _IN_QUOTES.sub(_ESCAPE, _decode_name(words[0])), text)
    if kind == "comment":
        return _ENCODED_WORDS.sub(
            lambda words: (
                f'"{_IN_COMMENT.sub(_ESCAPE, name)}"'
                if _NEEDS_QUOTES.search(name := _decode_name(words[0]))
                else name
            ),
            text,
        )
    return text


def _decode_safe_words(text: str) -> str:
    """Decode a field that is not well-formed: only names that have no special characters."""
    elements = _ELEMENT_ENDS.split(text)
    for index, element in enumerate(elements):
        name, bracket, rest = element.partition("<")
        if "=?" in name and not {"@", "("} & set(name):
            safe = _ENCODED_WORDS.sub(
                lambda words: (
                    words[0] if _NEEDS_QUOTES.search(decoded := _decode_name(words[0])) else decoded
                ),
                name,
            )
            elements[index] = safe + bracket + rest
    return "".join(elements)
