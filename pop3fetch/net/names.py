"""What a host is called on the wire: by DNS, by a proxy, and in a certificate."""

from __future__ import annotations

from pop3fetch.choices import UNIX_PREFIX
from pop3fetch.errors import UnknownHost


def wire_name(host: str) -> str:
    """Return the name in ASCII, an internationalised one as its A-labels (RFC 5890 section 2.3.2.1).

    Raises UnknownHost if there is no such name.
    """
    if host.isascii():
        return host
    # Not the codec of the standard library: that is IDNA 2003, by which straße.example is
    # strasse.example and so may be somebody else's. UTS 46 folds case and width as browsers do.
    import idna

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise UnknownHost(host, "it is no host name") from error


def certificate_name(host: str) -> str | None:
    """Return the name or address that a certificate must be for, None for a UNIX socket.

    A zone (``fe80::1%eth0``) names an interface of ours, and the dot at the end of a name is DNS's.
    """
    if host.startswith(UNIX_PREFIX):
        return None
    return wire_name(host).partition("%")[0].removesuffix(".")
