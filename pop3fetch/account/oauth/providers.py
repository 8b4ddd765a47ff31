"""The table ``oauth`` of an account: the client, and the OAuth 2 server's endpoints.

``provider`` is short for the endpoints and scopes of a well-known server; a key beside it wins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from pop3fetch.account.checks import Check, one_of, strings, text

_MICROSOFT = "https://login.microsoftonline.com/common/oauth2/v2.0"

PROVIDERS: Mapping[str, Mapping[str, Any]] = {
    "microsoft": {
        "authorization_endpoint": f"{_MICROSOFT}/authorize",
        "device_endpoint": f"{_MICROSOFT}/devicecode",
        "token_endpoint": f"{_MICROSOFT}/token",
        "scopes": ("https://outlook.office.com/POP.AccessAsUser.All", "offline_access"),
    },
    # Google has a device endpoint, too, but does not allow this scope there.
    "google": {
        "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
        "token_endpoint": "https://oauth2.googleapis.com/token",
        "scopes": ("https://mail.google.com/",),
    },
}
# Microsoft has a scope for each protocol. With Google's, all of them can be used.
PROTOCOL_SCOPES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("microsoft", "imap"): ("https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access"),
    ("microsoft", "smtp"): ("https://outlook.office.com/SMTP.Send", "offline_access"),
}
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3


def endpoint(value: object) -> str:
    """Return the URL of an OAuth 2 endpoint: https (RFC 6749 section 3.2), or http on loopback."""
    url = text(value)
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("must be a URL, in printable ASCII without spaces")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:  # of an address in brackets, or of a port
        host = None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)):
        raise ValueError("must be a URL that begins with https://")
    if "@" in parts.netloc or "#" in url:
        raise ValueError("must not contain a user name, a password or a fragment")
    return url


def _scopes(value: object) -> tuple[str, ...]:
    scopes = tuple(value.split()) if isinstance(value, str) else strings(value)
    if not scopes or not all(SCOPE.fullmatch(scope) for scope in scopes):
        raise ValueError("must be OAuth 2 scopes: words of printable ASCII, none with a quote or a backslash")
    return scopes


# The keys of [accounts.NAME.oauth].
OAUTH_KEYS: Mapping[str, Check] = {
    "provider": partial(one_of, PROVIDERS),
    "client_id": text,
    "client_secret": text,
    "authorization_endpoint": endpoint,
    "device_endpoint": endpoint,
    "token_endpoint": endpoint,
    "scopes": _scopes,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthSettings:
    """A client of an OAuth 2 server; ``device_endpoint`` is RFC 8628's device authorization endpoint.

    It has ``authorization_endpoint`` or ``device_endpoint``. Without ``scopes``, the server uses its default.
    """

    client_id: str
    token_endpoint: str
    authorization_endpoint: str | None = None
    device_endpoint: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ()


def from_table(
    table: Mapping[str, Any], wrong: Callable[[str, str, object], Exception], protocol: str = "pop3"
) -> OAuthSettings:
    """Return the settings of a checked table; ``wrong`` makes the error of key, reason and value."""
    provider = table.get("provider", "")
    given = {**PROVIDERS.get(provider, {}), **table}
    if "scopes" not in table and (provider, protocol) in PROTOCOL_SCOPES:
        given["scopes"] = PROTOCOL_SCOPES[provider, protocol]
    given.pop("provider", None)
    for key in ("client_id", "token_endpoint"):
        if key not in given:
            raise wrong(key, "is missing", None)
    if "device_endpoint" not in given and "authorization_endpoint" not in given:
        raise wrong("authorization_endpoint", "is missing, and so is device_endpoint; give one of them", None)
    return OAuthSettings(**given)
