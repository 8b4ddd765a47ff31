"""What `pop3fetch caps -v` shows of a server, line by line."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pop3fetch.net.certificate import Certificate
from pop3fetch.pop3.mail_session import MailSession
from pop3fetch.pop3.replies import Capabilities

DAY = 24 * 60 * 60  # seconds


def description(client: MailSession, capabilities: Capabilities) -> Iterator[str]:
    """Yield the TLS session, the certificate, the ways to log in, and the limits."""
    session = client.tls_session()
    if session is None:
        yield "TLS: none; everything but the password can be read on the network"
    else:
        yield f"TLS: {session.version}, {session.cipher}"
        yield from _certificate(session.certificate)
    yield f"login: {', '.join(_methods(client, capabilities)) or 'the server announces no method'}"
    yield from limits(capabilities)


def _certificate(certificate: Certificate) -> Iterator[str]:
    yield f"certificate: {certificate.subject}"
    yield f"names: {' '.join(certificate.names) or 'none'}"
    yield f"issuer: {certificate.issuer}"
    if certificate.expires is not None:
        days = int((certificate.expires - time.time()) // DAY)
        when = f"in {days} days" if days >= 0 else f"{-days} days ago"
        yield f"expires: {time.strftime('%Y-%m-%d', time.gmtime(certificate.expires))} ({when})"
    yield f"SHA-256: {certificate.fingerprint}"


def _methods(client: MailSession, capabilities: Capabilities) -> Iterator[str]:
    if client.server_challenge is not None:
        yield "APOP"
    if "USER" in capabilities:
        yield "USER"
    yield from capabilities.get("SASL") or []


def limits(capabilities: Capabilities) -> Iterator[str]:
    """Yield what EXPIRE and LOGIN-DELAY mean (RFC 2449 sections 6.5 and 6.7)."""
    for argument in (capabilities.get("EXPIRE") or [])[:1]:
        if argument == "0":
            yield "messages are deleted once they are retrieved (EXPIRE 0)"
        elif argument.upper() == "NEVER":
            yield "messages are kept forever (EXPIRE NEVER)"
        else:
            yield f"messages are kept for {argument} days (EXPIRE)"
    for argument in (capabilities.get("LOGIN-DELAY") or [])[:1]:
        yield f"{argument} seconds must pass between two logins (LOGIN-DELAY)"
