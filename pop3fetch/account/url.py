"""An account that is given as a URL (RFC 2384): text in, its parts out.

    pop3s://user@host[:port]             TLS from the first octet
    pop3://user@host[:port]              TLS as ``auto`` says
    pop://user;AUTH=+APOP@host[:port]    the same, by RFC 2384; AUTH works with all three

A URL is an argument that other users can read, so a password in it is refused; and as whatever
looks wrong may be a mistyped password, no error here shows a part of the URL.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from pop3fetch.errors import UsageError

PLAIN_SCHEMES = ("pop3", "pop")
TLS_SCHEME = "pop3s"
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


class AccountURL(NamedTuple):
    """The parts of an account's URL, percent-decoded; ``secured``: it began with ``pop3s:``."""

    secured: bool
    host: str
    port: int | None = None
    user: str | None = None
    auth: str | None = None

    def settings(self) -> dict[str, object]:
        """Return what the URL says, by the names of an account's keys."""
        said = {"host": self.host, "port": self.port, "user": self.user, "auth": self.auth}
        said["tls"] = "implicit" if self.secured else None
        return {key: value for key, value in said.items() if value is not None}


def is_url(text: str) -> bool:
    """Tell a URL from the name of an account."""
    return SCHEME.match(text) is not None


def parse(text: str) -> AccountURL:
    """Return the parts of an account's URL; raises UsageError."""
    scheme = SCHEME.match(text)
    if scheme is None or scheme[1].lower() not in (TLS_SCHEME, *PLAIN_SCHEMES):
        raise _wrong("its scheme must be pop3s:, pop3: or pop:")
    rest = text[scheme.end() :]
    login, at, location = rest.rpartition("@")
    if ":" in login:
        raise _wrong(
            "it must not hold a password: other users could read it. Leave out `:` and what follows, "
            "or write %3A where the colon belongs to the user name"
        )
    if any(character in rest.removesuffix("/") for character in "/?#"):
        raise _wrong("nothing may follow the host and the port; in a user name write %2F, %3F and %23")
    user, auth = _login(login) if at else (None, None)
    match = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?", location.removesuffix("/"))
    if match is None:
        raise _wrong("its end must be a host, or a host, a colon and the number of a port")
    port = int(match[2]) if match[2] else None
    return AccountURL(scheme[1].lower() == TLS_SCHEME, _decoded(match[1]), port, user, auth)


def _login(login: str) -> tuple[str | None, str | None]:
    """Return user and method of ``user;AUTH=method``; either may be missing (RFC 2384 section 5)."""
    user, semicolon, parameter = login.partition(";")
    if not semicolon:
        return _decoded(user), None
    key, _, method = parameter.partition("=")
    if key.upper() != "AUTH":
        raise _wrong("only ;AUTH=METHOD may follow the user; write %3B where the ; belongs to its name")
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
        raise _wrong("its percent-encoded octets are no UTF-8") from None


def _wrong(reason: str) -> UsageError:
    return UsageError(f"--account: the URL cannot be used: {reason}")
