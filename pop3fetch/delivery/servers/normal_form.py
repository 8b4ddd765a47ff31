"""What of a message every IMAP server gives back as it was: by it, an appended message is found again.

Dovecot drops CRs before CRLF and at the end, and stores NUL as 0x80; Cyrus stores an X for each 8-bit octet
of the header. So CRs do not count, nor line ends at the end, and these octets are made equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256

PIECE = 64 * 1024

_NOT_ASCII = re.compile(rb"[\x80-\xff]")


def digest_of(blocks: Iterable[bytes]) -> str:
    """Return the digest of a message's normal form."""
    digest = sha256()
    before = b"\n"  # the last octet: a header may be empty
    is_header = True
    held = 0  # line ends that may be the last octets
    for block in blocks:
        octets = block.replace(b"\r", b"").replace(b"\0", b"\x80")
        if is_header and octets:
            end = (before + octets).find(b"\n\n")
            is_header = end < 0
            body = len(octets) if is_header else end + 1
            before = octets[-1:]
            octets = _NOT_ASCII.sub(b"X", octets[:body]) + octets[body:]
        text = octets.rstrip(b"\n")
        if text:
            while held:
                digest.update(b"\n" * min(held, PIECE))
                held -= min(held, PIECE)
            digest.update(text)
        held += len(octets) - len(text)
    return digest.hexdigest()
