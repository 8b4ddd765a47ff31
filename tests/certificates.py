"""TLS contexts of test servers, with certificates of authorities made for the tests."""

from __future__ import annotations

import ssl
from datetime import datetime

import trustme

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def server_context(
    authority: trustme.CA, *names: str, not_before: datetime | None = None, not_after: datetime | None = None
) -> ssl.SSLContext:
    """Return a context whose certificate, by ``authority``, is for ``names`` (default: all of loopback)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf = authority.issue_cert(*(names or LOOPBACK), not_before=not_before, not_after=not_after)
    leaf.configure_cert(context)
    return context
