"""TLS contexts of test servers, with certificates of authorities made for the tests."""

from __future__ import annotations

import hashlib
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import trustme

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Identity:
    """A server's context, and the SHA-256 fingerprint of its certificate: 64 lower-case digits."""

    context: ssl.SSLContext
    fingerprint: str


def identity(
    authority: trustme.CA, *names: str, not_before: datetime | None = None, not_after: datetime | None = None
) -> Identity:
    """Return a server's identity by ``authority``, for ``names`` (default: all of loopback)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf = authority.issue_cert(*(names or LOOPBACK), not_before=not_before, not_after=not_after)
    leaf.configure_cert(context)
    der = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
    return Identity(context, hashlib.sha256(der).hexdigest())


def server_context(
    authority: trustme.CA, *names: str, not_before: datetime | None = None, not_after: datetime | None = None
) -> ssl.SSLContext:
    """Return a context whose certificate, by ``authority``, is for ``names`` (default: all of loopback)."""
    return identity(authority, *names, not_before=not_before, not_after=not_after).context


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str | None) -> ssl.SSLObject:
    """Make a handshake in memory; return the client's end, or raise the client's error."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(to_client, to_server, server_hostname=name)
    there = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):  # turns: TLS 1.2 takes two of each
        with suppress(ssl.SSLWantReadError):
            here.do_handshake()
        with suppress(ssl.SSLError):  # the client's is the one that is looked at
            there.do_handshake()
    here.do_handshake()
    return here
