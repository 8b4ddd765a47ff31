"""The tables ``[destinations.NAME]``: mail servers that messages go to, as ``--output @NAME``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from pop3fetch.account import checks
from pop3fetch.account.checks import Check
from pop3fetch.values import NamedTuple

_FLAG = re.compile(r"\\?[!#$&'+-\[\]-z|}~]+")  # RFC 3501: an atom, or a system flag


def _flags(value: object) -> tuple[str, ...]:
    flags = checks.strings(value)
    for flag in flags:
        if not _FLAG.fullmatch(flag) or flag.lower() in ("\\recent", "\\deleted"):
            raise ValueError(f"must be flags such as \\Flagged, or keywords, not {flag!r}")
    return flags


# The keys that mean the same as those of an account.
LOGIN_KEYS: Mapping[str, Check] = {
    "ca_file": checks.path,
    "tls_fingerprint": checks.fingerprint,
    "tls_name": checks.server_name,
    "client_cert": checks.path,
    "client_key": checks.path,
    "password": checks.text,
    "password_file": checks.path,
    "password_command": checks.password_command,
    "oauth": checks.oauth_table,
    "timeout": checks.seconds,
}
DESTINATION_KEYS: Mapping[str, Check] = {
    "url": checks.text,
    "recipients": checks.addresses,
    "from": partial(checks.address, may_be_empty=True),
    "starttls": checks.flag,
    "insecure": checks.flag,
    "flags": _flags,
    **LOGIN_KEYS,
}


class DestinationTable(NamedTuple):
    """The checked keys of one table; ``where`` names the file and the table."""

    name: str
    where: str
    settings: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"DestinationTable({self.name!r})"

    @property
    def url(self) -> str:
        """The URL of the server."""
        return str(self.settings["url"])

    def login(self) -> dict[str, Any]:
        """Return what it shares with the login of an account."""
        return {key: self.settings[key] for key in LOGIN_KEYS if key in self.settings}
