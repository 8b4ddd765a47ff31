"""What a TLS session must satisfy: its version, its ciphers, and how its certificate is verified.

It is the same with every version of Python. Since 3.13, Python's defaults are stricter than OpenSSL's. They
refuse authorities that `openssl req -x509` makes, and that curl and mpop accept.
"""

from __future__ import annotations

import os
import re
import ssl

MINIMUM_VERSION, MINIMUM_NAME = ssl.TLSVersion.TLSv1_2, "TLS 1.2"  # RFC 8996 has ended those before

_HASHED = r"[0-9a-f]{8}\.[0-9]+"  # a name that OpenSSL finds a certificate by


def verifying_context(ca_file: str | None = None, *, ca_folder: str | None = None) -> ssl.SSLContext:
    """Return a client's context that verifies chain and host name against the system's authorities.

    ``ca_file``: against those in this file (PEM) instead; it may hold the server's own certificate.
    ``ca_folder``: against those in this folder, each of which is loaded when it is needed.
    Raises OSError if the file cannot be used.
    """
    context = ssl.create_default_context(cafile=ca_file, capath=ca_folder)
    context.minimum_version = MINIMUM_VERSION
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def choose_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    """Offer these ciphers for TLS 1.2, an OpenSSL list, instead of Python's; raises ssl.SSLError."""
    context.set_ciphers(f"{ciphers}:!aNULL:!eNULL")  # an anonymous server has no certificate to verify


def are_ciphers(ciphers: str) -> bool:
    """Return whether OpenSSL knows such ciphers."""
    try:
        choose_ciphers(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ciphers)
    except ssl.SSLError:
        return False
    return True


def authorities_folder() -> str | None:
    """Return the system's folder of authorities if OpenSSL can load single ones from it, else None.

    The whole bundle takes 40 to 80 ms to load, a fifth of a short run, and one authority less than 1 ms.
    SSL_CERT_DIR names another folder.
    """
    folder = ssl.get_default_verify_paths().capath
    try:
        names = os.listdir(folder) if folder else []
    except OSError:
        return None
    return folder if any(re.fullmatch(_HASHED, name) for name in names) else None
