"""What the name of a charset means: the Encoding Standard's labels, read as mail uses them.

Mailers write many names for one charset, and the name of a charset for its superset: windows-1252 goes
out as ISO-8859-1, windows-31J as ISO-2022-JP. The standard (https://encoding.spec.whatwg.org/) lists
the names; the codecs are Python's.
"""

from __future__ import annotations

import re
from codecs import charmap_decode
from collections.abc import Callable
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache, partial

Decoder = Callable[[bytes], str]  # never raises: what cannot be read becomes U+FFFD

UNREADABLE = "\ufffd"

# Found without the table of the standard, since nearly all mail has one of these.
_COMMON = {
    "ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "us-ascii": "cp1252",
    "utf-8": "utf_8",
    "windows-1252": "cp1252",
}

# Encodings of the standard that Python has under another name.
_STANDARD = {
    "iso-8859-8-i": "iso8859_8",
    "koi8-u": "koi8_u",
    "macintosh": "mac_roman",
    "windows-874": "cp874",
    "x-mac-cyrillic": "mac_cyrillic",
}

# Python's codec of a charset: that of the superset by which the standard reads it.
_SUPERSETS = {
    "ascii": "cp1252",
    "cp950": "big5",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859_1": "cp1252",
    "iso8859_9": "cp1254",
    "iso8859_11": "cp874",
    "latin_1": "cp1252",
    "shift_jis": "cp932",
    "tis_620": "cp874",
    "utf_16_le": "utf_16",
}

# The standard does not have these, but mail does.
_OTHERS = {
    "csutf7": "utf_7",
    "big-5": "big5",
    "eucjp-ms": "euc_jp",
    "eucjp-win": "euc_jp",
    "gb-18030": "gb18030",
    "iso-2022-jp-ms": "iso2022_jp",
    "sjis-win": "cp932",
    "x-mac-ce": "mac_latin2",
    "x-mac-croatian": "mac_croatian",
    "x-mac-romanian": "mac_romanian",
}

# Names that mailers make up: win-1251, windows1252, cp-850; iso8859-15, iso-latin-2; utf-8-sig, utf8mb4.
_MADE_UP = re.compile(
    r"(?:x-)?(?:windows|win|cp|ibm|dos|ms)[-_]?([0-9]{3,5})"
    r"|iso[-_]?8859[-_]?([0-9]{1,2})(?:-[ei])?|(?:iso[-_]?)?latin[-_]?([0-9]{1,2})"
    r"|(?:x-)?utf[-_]?8(?:[-_].*|mb[34]|n)?"
)
_CODE_PAGES = {
    "10000": "mac_roman",
    "20127": "cp1252",
    "20866": "koi8_r",
    "20932": "euc_jp",
    "21866": "koi8_u",
    "28591": "cp1252",
    "28592": "iso8859_2",
    "28605": "iso8859_15",
    "50220": "iso2022_jp",
    "50221": "iso2022_jp",
    "50222": "iso2022_jp",
    "51932": "euc_jp",
    "51936": "gb18030",
    "51949": "cp949",
    "52936": "hz",
    "54936": "gb18030",
    "65000": "utf_7",
    "65001": "utf_8",
}

# Only the codecs that Python lists under a charset's name: the others (punycode, idna, unicode_escape) take
# quadratic time or warn. Some of the listed ones do not make text (hex, zlib), or only on Windows (mbcs).
_NO_TEXT = {
    "base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec", "rot_13", "uu_codec", "zlib_codec",
}  # fmt: skip
_NAMES = {**{codec: codec for codec in aliases.values()}, **aliases}
_CODECS = {name.lower(): codec for name, codec in _NAMES.items() if codec not in _NO_TEXT}

_PRINTABLE_ASCII = bytes(range(32, 127))


@lru_cache(maxsize=64)
def decoder(label: str) -> Decoder:
    """Return what decodes the text of a charset; raises LookupError for an unknown label."""
    label = label.lower()
    codec = _COMMON.get(label) or _codec(label)
    return _DECODERS.get(codec) or partial(_by_codec, codec)


@lru_cache(maxsize=64)
def extends_ascii(label: str) -> bool:
    """Return whether ASCII text is the same in the charset; raises LookupError for an unknown label."""
    return decoder(label)(_PRINTABLE_ASCII) == _PRINTABLE_ASCII.decode("ascii")


def _codec(label: str) -> str:
    from webencodings.labels import LABELS  # takes a millisecond, and most mail does not need it

    for name in (label, label.removeprefix("x-"), label.replace("_", "-")):
        standard = LABELS.get(name)
        # What browsers must not decode at all (iso-2022-kr, hz) has the encoding "replacement".
        codec = _STANDARD.get(standard or "") or _OTHERS.get(name)
        codec = codec or _CODECS.get(normalize_encoding(standard or name))
        codec = codec or _CODECS.get(normalize_encoding(name))
        if codec:
            return _SUPERSETS.get(codec, codec)
    match = _MADE_UP.fullmatch(label)
    if match is None:
        raise LookupError(label)
    page, part, latin = match.groups()
    if page:
        codec = _CODE_PAGES.get(page) or _CODECS.get(f"cp{page}")
    else:
        codec = _CODECS.get(f"iso8859_{part}" if part else f"latin{latin}" if latin else "utf_8")
    if codec is None:
        raise LookupError(label)
    return _SUPERSETS.get(codec, codec)


def _by_codec(codec: str, octets: bytes) -> str:
    return octets.decode(codec, "replace").removeprefix("\ufeff")


def _by_table(codec: str, octets: bytes) -> str:
    return charmap_decode(octets, "replace", _table(codec))[0]


@lru_cache
def _table(codec: str) -> str:
    """Return what the octets are in a code page of Windows: those that it lacks are control characters."""
    characters = [bytes([octet]).decode(codec, "replace") for octet in range(256)]
    for octet in range(0x80, 0xA0):
        if characters[octet] == UNREADABLE:
            characters[octet] = chr(octet)
    for octet, character in _MORE_LETTERS.get(codec, ()):
        characters[octet] = character
    return "".join(characters)


_MORE_LETTERS = {"cp1255": ((0xCA, "\u05ba"),), "koi8_u": ((0xAE, "ў"), (0xBE, "Ў"))}


def _utf_7(octets: bytes) -> str:
    """Decode UTF-7; half a surrogate pair, which Python leaves as it is, cannot be encoded again."""
    text = octets.decode("utf_7", "replace")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace").removeprefix("\ufeff")


def _utf_16(octets: bytes) -> str:
    marked = octets.startswith((b"\xff\xfe", b"\xfe\xff"))
    return octets.decode("utf_16" if marked else "utf_16_le", "replace")


_GB_PAIR = re.compile(rb"([\x81-\xfe](?:[0-9][\x81-\xfe][0-9]|[@-~\x80-\xfe]))|\x80")
_GB_EURO = b"\xa2\xe3"
# Python reads GB 18030 of the year 2000, which had no better place for these than the private use area.
_GB_2022 = str.maketrans(
    "\ue5e5\ue7c7\ue78d\ue78e\ue78f\ue790\ue791\ue792\ue793\ue794\ue795\ue796"
    "\ue81e\ue826\ue82b\ue82c\ue832\ue843\ue854\ue864",
    "\u3000\u1e3f\ufe10\ufe12\ufe11\ufe13\ufe14\ufe15\ufe16\ufe17\ufe18\ufe19"
    "\u9fb4\u9fb5\u9fb6\u9fb7\u9fb8\u9fb9\u9fba\u9fbb",
)


def _gb18030(octets: bytes) -> str:
    if b"\x80" in octets:  # the euro sign of GBK, or a part of a pair
        octets = _GB_PAIR.sub(lambda pair: pair[1] or _GB_EURO, octets)
    return octets.decode("gb18030", "replace").translate(_GB_2022)


# Hong Kong's supplement (HKSCS) of Big5 is around the characters of Microsoft's Big5, and Python's codec for
# it reads some of those otherwise.
_BIG5_RUN = re.compile(
    rb"""
    ( (?> (?: [\x81-\xa0\xc6-\xc8\xfa-\xfe] [@-~\xa1-\xfe] | \xf9\xfe )+ ) )
    | (?> (?: (?! \xf9\xfe ) [\xa1-\xc5\xc9-\xf9] [@-~\xa1-\xfe] | [\0-\x7f] )+ )
    | .
    """,
    re.DOTALL | re.VERBOSE,
)


def _big5(octets: bytes) -> str:
    return "".join(
        run[0].decode("big5hkscs" if run[1] else "cp950", "replace") for run in _BIG5_RUN.finditer(octets)
    )


# Python reads octets that are not in Shift_JIS as characters of the private use area.
_NOT_SHIFT_JIS = dict.fromkeys(range(0xF8F0, 0xF8F4), UNREADABLE)


def _shift_jis(octets: bytes) -> str:
    return octets.decode("cp932", "replace").translate(_NOT_SHIFT_JIS)


# The two Japanese charsets below have the characters of cp932 in another order of octets. Python's own codecs
# for them lack the rows that NEC and IBM added.


def _cp932(row: int, cell: int) -> bytes:
    """Return a character of JIS X 0208, by its row and cell from 0, in cp932."""
    lead = 0x81 + row // 2
    trail = cell + 0x9F if row % 2 else cell + 0x40 + (cell >= 0x3F)
    return bytes([lead if lead < 0xA0 else lead + 0x40, trail])


_JIS_PAIR = re.compile(rb"[!-~]{2}")
_ISO_2022_JP_ESCAPE = re.compile(rb"\x1b(\$[@B]|\$\(D|\([BIJ])")
_KATAKANA = bytes.maketrans(bytes(range(0x21, 0x60)), bytes(range(0xA1, 0xE0)))
_ROMAN = {0x5C: "¥", 0x7E: "‾"}
_EUC_JP_PAIR = re.compile(rb"\x8e([\xa1-\xdf])|([\xa1-\xfe]{2})|[\x80-\xff]")
_EUC_JP_SUPPLEMENT = re.compile(rb"((?:\x8f[\xa1-\xfe]{2})++)")


def _jis(octets: bytes) -> str:
    pairs = _JIS_PAIR.sub(lambda pair: _cp932(pair[0][0] - 0x21, pair[0][1] - 0x21), octets)
    return pairs.decode("cp932", "replace")


def _jis_x_0212(octets: bytes) -> str:
    """Decode the supplement of JIS X 0208, in the form of EUC-JP."""
    return octets.decode("euc_jp", "replace").replace("~", "～")


def _iso_2022_jp(octets: bytes) -> str:
    shifts: dict[bytes, Decoder] = {
        b"$@": _jis,
        b"$B": _jis,
        b"$(D": lambda run: _jis_x_0212(
            _JIS_PAIR.sub(lambda pair: bytes([0x8F, pair[0][0] | 0x80, pair[0][1] | 0x80]), run)
        ),
        b"(B": _shift_jis,
        b"(I": lambda run: _shift_jis(run.translate(_KATAKANA)),
        b"(J": lambda run: _shift_jis(run).translate(_ROMAN),
    }
    first, *rest = _ISO_2022_JP_ESCAPE.split(octets)
    runs = (shifts[shift](run) for shift, run in zip(rest[::2], rest[1::2], strict=True))
    return "".join((_shift_jis(first), *runs))


def _euc_jp(octets: bytes) -> str:
    runs = []
    for index, run in enumerate(_EUC_JP_SUPPLEMENT.split(octets)):
        if index % 2:
            runs.append(_jis_x_0212(run))
            continue
        pairs = _EUC_JP_PAIR.sub(
            lambda pair: pair[1] or (_cp932(pair[2][0] - 0xA1, pair[2][1] - 0xA1) if pair[2] else b"\xff"),
            run,
        )
        runs.append(_shift_jis(pairs))
    return "".join(runs)


_DECODERS: dict[str, Decoder] = {
    **{codec: partial(_by_table, codec) for codec in ("koi8_u", "cp874", *map("cp125{}".format, range(9)))},
    "big5": _big5,
    "cp932": _shift_jis,
    "euc_jp": _euc_jp,
    "gb18030": _gb18030,
    "iso2022_jp": _iso_2022_jp,
    "utf_16": _utf_16,
    "utf_7": _utf_7,
}
