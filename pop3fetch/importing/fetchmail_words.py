"""The words of a fetchmailrc, as fetchmail's own lexer takes them apart. Pure.

The longest match wins; if two are equally long, a text in quotes or a keyword wins over a bare text. After
``user``, ``password``, ``is``, ``to`` and ``=`` any word is a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pop3fetch.importing.foreign import Broken
from pop3fetch.values import NamedTuple

Kind = Literal["keyword", "text", "number"]


class Word(NamedTuple):
    """A keyword, a text or a number, and its line."""

    kind: Kind
    text: str
    line: int


_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")
_BARE = re.compile(r"[^=;:, \t\r\n]+")
_NOTHING = re.compile(r"[;:, \t\r]|(?:#[^\n]*)?\\?\n|#[^\n]*\Z")
_NUMBER = re.compile(r"-?[0-9]+")
NOISE = {"with", "and", "has", "wants", "options"}
BEFORE_TEXT = {"user", "password", "is", "to", "="}
NEGATED = {
    "bouncemail", "uidl", "checkalias", "dns", "envelope", "keep", "flush", "limitflush", "fetchall",
    "rewrite", "forcecr", "stripcr", "pass8bits", "pass8", "dropstatus", "dropdelivered", "mimedecode",
    "mimedec", "spambounce", "idle", "forceidle",
}  # fmt: skip
SYNONYMS = {
    "server": "poll",
    "proto": "protocol",
    "local": "localdomains",
    "preauth": "auth",
    "preauthenticate": "auth",
    "authenticate": "auth",
    "username": "user",
    "pass": "password",
    "folders": "folder",
    "smtp": "smtphost",
    "pre": "preconnect",
    "post": "postconnect",
    "pass8": "pass8bits",
    "mimedec": "mimedecode",
    "port": "service",
    "implicit": "ssh",
    "cram": "cram-md5",
    "opie": "otp",
}
PROTOCOLS = {"auto", "pop2", "sdps", "pop3", "imap", "apop", "rpop", "etrn", "odmr", "kpop"}
METHODS = {
    "any", "gssapi", "kerberos", "kerberos4", "kerberos5", "kerberos_v4", "kerberos_v5", "ssh", "implicit",
    "external", "otp", "opie", "cram", "cram-md5", "msn", "ntlm",
}  # fmt: skip
KEYWORDS = {
    *SYNONYMS, *SYNONYMS.values(), *NEGATED, *METHODS, *NOISE, "set", "logfile", "idfile", "pidfile",
    "daemon", "syslog", "invisible", "showdots", "postmaster", "softbounce", "warnings", "tracepolls",
    "defaults", "skip", "via", "aka", "localdomains", "protocol", "service", "interval", "timeout",
    "idletimeout", "qvirtual", "principal", "esmtpname", "esmtppassword", "bad-header", "accept",
    "reject", "fetchdomains", "smtpaddress", "smtpname", "antispam", "mda", "bsmtp", "lmtp",
    "interface", "monitor", "plugin", "plugout", "batchlimit", "fetchlimit", "fetchsizelimit",
    "fastuidl", "expunge", "properties", "is", "here", "there", "to", "no", "ssl", "sslkey", "sslcert",
    "sslproto", "sslcertck", "sslcertfile", "sslcertpath", "sslcommonname", "sslfingerprint", "limit",
}  # fmt: skip


def words(text: str) -> Iterator[Word]:
    """Yield the words of a file; raises Broken."""
    position, line = 0, 1
    last = ""
    while position < len(text):
        if nothing := _NOTHING.match(text, position):
            position = nothing.end()
            line += nothing[0].count("\n")
            continue
        if text[position] == "=":
            yield Word("keyword", "=", line)
            last, position = "=", position + 1
            continue
        word, end = _word(text, position, line, last)
        line += text.count("\n", position, end)
        position = end
        for part in _parted(word):
            # After auth, password is a method.
            last = part.text if part.kind == "keyword" and last != "auth" else ""
            yield part
    yield Word("keyword", "", line)  # the end


def _word(text: str, position: int, line: int, last: str) -> tuple[Word, int]:
    """Return the word at a position, and the position behind it; ``last``: the keyword before it."""
    quoted = _QUOTED.match(text, position)
    bare = _BARE.match(text, position)
    if quoted and (bare is None or quoted.end() >= bare.end()):
        return Word("text", _unescaped(quoted[0][1:-1]), line), quoted.end()
    if bare is None:
        raise Broken(line, f"cannot be read from {text[position]!r} on")
    raw = bare[0]
    if last not in BEFORE_TEXT:
        if _NUMBER.fullmatch(raw):
            return Word("number", raw, line), bare.end()
        if raw in KEYWORDS or (raw.startswith("no") and raw[2:] in NEGATED):
            return Word("keyword", raw, line), bare.end()
        if raw in PROTOCOLS or (raw.lower() in PROTOCOLS and raw.isupper()):
            return Word("keyword", raw.lower(), line), bare.end()
    return Word("text", _unescaped(raw), line), bare.end()


def _parted(word: Word) -> Iterator[Word]:
    """Yield a word by its usual name, ``nokeep`` as two, and nothing for noise."""
    if word.kind != "keyword":
        yield word
    elif word.text not in KEYWORDS and word.text.startswith("no") and word.text[2:] in NEGATED:
        yield word._replace(text="no")
        yield word._replace(text=SYNONYMS.get(word.text[2:], word.text[2:]))
    elif word.text not in NOISE:
        yield word._replace(text=SYNONYMS.get(word.text, word.text))


_ESCAPE = re.compile(r"\\(?:[xX]([0-9A-Fa-f]{0,2})|(0[0-7]{0,2})|([1-9][0-9]{0,2})|(\n)|(.)|\Z)", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "b": "\b", "r": "\r"}


def _unescaped(text: str) -> str:
    r"""Return a text without its escapes: ``\065`` is octal, ``\101`` decimal, ``\x41`` hexadecimal."""
    return _ESCAPE.sub(_character, text)


def _character(escape: re.Match[str]) -> str:
    hexadecimal, octal, decimal, _, other = escape.groups()
    if hexadecimal is not None:
        return _octet(int(hexadecimal or "0", 16))
    if octal is not None:
        return _octet(int(octal, 8))
    if decimal is not None:
        return _octet(int(decimal))
    return _LETTERS.get(other, other) if other is not None else ""


def _octet(value: int) -> str:
    return bytes([value & 0xFF]).decode("utf-8", "surrogateescape")
