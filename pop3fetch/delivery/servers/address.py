"""The URL of a destination that is a server: text in, address out.

    lmtp://HOST[:24]   lmtp:///PATH       a UNIX socket
    smtp://[USER@]HOST[:PORT]             port 587 with a user, else 25
    smtps://[USER@]HOST[:465]
    imap://USER@HOST[:143][/MAILBOX]      INBOX if no mailbox is given
    imaps://USER@HOST[:993][/MAILBOX]

User and mailbox are percent-decoded. A URL is an argument that other users can read, so a password in it is
refused, and no error shows a part of what may be one.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from pop3fetch.defaults import UNIX_PREFIX
from pop3fetch.delivery.kinds import SCHEMES, Protocol
from pop3fetch.errors import UsageError
from pop3fetch.values import NamedTuple

INBOX = "INBOX"

_LOCATION = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s/?#@%\\]+)(?::([0-9]{1,5}))?")


class ServerAddress(NamedTuple):
    """A server that takes messages; ``mailbox`` is that of IMAP. ``host`` may be ``unix:/path``."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    mailbox: str = ""

    def __str__(self) -> str:
        """The URL in one form for one destination, by which the record knows it."""
        if self.host.startswith(UNIX_PREFIX):
            return f"{self.scheme}://{quote(self.host.removeprefix(UNIX_PREFIX))}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = "" if self.user is None else f"{quote(self.user, safe='@+')}@"
        port = "" if self.port == _usual_port(self.scheme, self.user) else f":{self.port}"
        mailbox = f"/{quote(self.mailbox)}" if self.mailbox else ""
        return f"{self.scheme}://{user}{host}{port}{mailbox}"

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        if self.host.startswith(UNIX_PREFIX) or self.host == "localhost":
            return True
        from ipaddress import ip_address

        try:
            return ip_address(self.host).is_loopback
        except ValueError:  # a name
            return False

    @property
    def protocol(self) -> Protocol:
        """The protocol by which messages go to the server."""
        return SCHEMES[self.scheme].protocol


def parse(url: str) -> ServerAddress:
    """Return the address that a URL names; raises UsageError."""
    scheme, colon, rest = url.partition("://")
    scheme = scheme.lower()
    if not colon or scheme not in SCHEMES:
        *others, last = (f"{scheme}://" for scheme in SCHEMES)
        raise _wrong(f"it must begin with {', '.join(others)} or {last}")
    protocol = SCHEMES[scheme].protocol
    if protocol == "LMTP" and rest.startswith("/"):
        return ServerAddress(scheme, UNIX_PREFIX + _decoded(rest), 0)
    authority, _slash, path = rest.partition("/")
    login, at, location = authority.rpartition("@")
    if ":" in login:
        raise _wrong(
            "it must not contain a password, which other users could read; use `pop3fetch login @NAME`, or "
            "password_command in a table [destinations.NAME]"
        )
    match = _LOCATION.fullmatch(location)
    if match is None or int(match[2] or 1) not in range(1, 65_536):
        raise _wrong("it must name a host, or a host, a colon and the number of a port")
    user = _decoded(login) if at else None
    if protocol == "LMTP" and at:
        raise _wrong("LMTP has no login; the recipient is given by --recipient")
    is_imap = protocol == "IMAP"
    if is_imap and not user:
        raise _wrong("it must name a user: imaps://USER@HOST/MAILBOX")
    if path and not is_imap:
        raise _wrong("nothing may follow the host and the port")
    mailbox = (_decoded(path) or INBOX) if is_imap else ""
    mailbox = INBOX if mailbox.upper() == INBOX else mailbox
    host = match[1].strip("[]").lower()
    return ServerAddress(scheme, host, int(match[2] or _usual_port(scheme, user)), user, mailbox)


def _usual_port(scheme: str, user: str | None) -> int:
    return SCHEMES[scheme].port if user is None else SCHEMES[scheme].login_port


def _decoded(part: str) -> str:
    text = unquote(part, errors="surrogateescape")
    if re.search(r"%(?![0-9a-fA-F]{2})", part) or not text.isprintable():
        raise _wrong("a % must be followed by two hexadecimal digits, and control characters are not allowed")
    return text


def _wrong(reason: str) -> UsageError:
    return UsageError(f"the URL of the destination cannot be used: {reason}")
