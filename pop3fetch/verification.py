"""How certificates are verified: the same by every version of Python.

Since 3.13, Python's defaults are stricter than OpenSSL's. They refuse authorities that `openssl req -x509`
makes, and that curl and mpop accept.
"""

from __future__ import annotations

import ssl


def verifying_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Return a client's context that verifies chain and host name against the system's authorities.

    ``ca_file``: against those in this file (PEM) instead; it may hold the server's own certificate.
    Raises OSError if the file cannot be used.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context
