"""Whether a secret can be read out of what was shown."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote_from_bytes

BASE64_RUN = re.compile(rb"[A-Za-z0-9+/_-]{4,}")


def leaks(shown: bytes, secret: str) -> bool:
    """Return whether ``secret`` is in ``shown``: in clear, in hexadecimal, percent-encoded, or in base64.

    In base64 it may be a part of something longer, and begin anywhere in a group of four characters.
    """
    octets = secret.encode()
    forms = (octets, octets.hex().encode(), quote_from_bytes(octets, "").encode())
    if any(form.lower() in shown.lower() for form in forms):
        return True
    return any(octets in decoded for run in BASE64_RUN.findall(shown) for decoded in _decoded(run))


def _decoded(run: bytes) -> list[bytes]:
    """Return what a run of base64 decodes to, read from each of its first four characters on."""
    standard = run.translate(bytes.maketrans(b"-_", b"+/"))
    starts = (standard[start:] for start in range(4))
    return [base64.b64decode(part[: len(part) // 4 * 4] or b"") for part in starts] + [
        base64.b64decode(standard + b"=" * (-len(standard) % 4)) if len(standard) % 4 != 1 else b""
    ]
