"""What an account's table ``oauth`` says: the client, and the OAuth 2 server's endpoints.

``provider`` is short for the endpoints and scopes of a well-known server; what stands beside it wins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

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


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthSettings:
    """A client of an OAuth 2 server; ``device_endpoint`` is RFC 8628's device authorization endpoint.

    One of ``authorization_endpoint`` and ``device_endpoint`` is there; no ``scopes`` are the server's own.
    """

    client_id: str
    token_endpoint: str
    authorization_endpoint: str | None = None
    device_endpoint: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ()


def from_table(table: Mapping[str, Any], wrong: Callable[[str, str], Exception]) -> OAuthSettings:
    """Return the settings of a checked table; ``wrong`` makes the error that is raised of key and reason."""
    given = {**PROVIDERS.get(table.get("provider", ""), {}), **table}
    given.pop("provider", None)
    for key in ("client_id", "token_endpoint"):
        if key not in given:
            raise wrong(key, "is missing")
    if "device_endpoint" not in given and "authorization_endpoint" not in given:
        raise wrong("authorization_endpoint", "is missing, and so is device_endpoint: one of them is needed")
    return OAuthSettings(**given)
