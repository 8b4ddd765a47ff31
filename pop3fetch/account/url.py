"""An account that is given as a URL (RFC 2384): text in, settings out.

    pop3s://user@host[:port]             TLS from the first octet
    pop3://user@host[:port]              TLS as with ``auto``
    pop://user;AUTH=+APOP@host[:port]    the same, by RFC 2384; AUTH works with all three

A URL is an argument that other users can read, so a password in it is refused. Anything that looks wrong may
be a mistyped password, so no error here shows a part of the URL.
"""

from __future__ import annotations

import re

from pop3fetch.errors import UsageError

PLAIN_SCHEMES = ("pop3", "pop")
TLS_SCHEME = "pop3s"
SCHEME = r"(?ai)([a-z][a-z0-9+.-]*)://"


def is_url(text: str) -> bool:
    """Return whether it is a URL, and not the name of an account."""
    return re.match(SCHEME, text) is not None


def parse(text: str) -> dict[str, object]:
    """Return the settings that a URL gives, percent-decoded; raises UsageError.

    ``tls`` is among them only if the URL begins with ``pop3s:``.
    """
    scheme = re.match(SCHEME, text)
    if scheme is None or scheme[1].lower() not in (TLS_SCHEME, *PLAIN_SCHEMES):
        raise _wrong("its scheme must be pop3s:, pop3: or pop:")
    rest = text[scheme.end() :]
    login, at, location = rest.rpartition("@")
    if ":" in login:
        raise _wrong(
            "it must not contain a password, because other users could read it; leave out `:` and what "
            "follows, or write %3A if the colon belongs to the user name"
        )
    if any(character in rest.removesuffix("/") for character in "/?#"):
        raise _wrong("nothing may follow the host and the port; in a user name write %2F, %3F and %23")
    user, auth = _login(login) if at else (None, None)
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?", location.removesuffix("/"))
    if match is None:
        raise _wrong("its end must be a host, or a host, a colon and the number of a port")
    settings: dict[str, object] = {"host": _decoded(match[1]), "user": user, "auth": auth}
    settings["port"] = int(match[2]) if match[2] else None
    settings["tls"] = "implicit" if scheme[1].lower() == TLS_SCHEME else None
    return {name: value for name, value in settings.items() if value is not None}


def _login(login: str) -> tuple[str | None, str | None]:
    """Return user and method of ``user;AUTH=method``; either may be missing (RFC 2384 section 5)."""
    user, semicolon, parameter = login.partition(";")
    if not semicolon:
        return _decoded(user), None
    key, _, method = parameter.partition("=")
    if key.upper() != "AUTH":
        raise _wrong("only ;AUTH=METHOD may follow the user; write %3B if the ; belongs to its name")
    # `*` leaves the choice to us; a `+` marks what is not a SASL mechanism, as in +APOP.
    auth = "auto" if _decoded(method) == "*" else _decoded(method).removeprefix("+")
    return (_decoded(user) if user else None), auth


def _decoded(part: str) -> str:
    if "%" not in part:
        return part
    if re.search(r"%(?![0-9a-fA-F]{2})", part):
        raise _wrong("a % must be followed by two hexadecimal digits")
    from urllib.parse import unquote

    try:
        return unquote(part, errors="strict")
    except UnicodeDecodeError:
        raise _wrong("its percent-encoded octets are not UTF-8") from None


def _wrong(reason: str) -> UsageError:
    return UsageError(f"--account: the URL cannot be used: {reason}")
