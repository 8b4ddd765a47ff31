"""How a connection is made: host names to addresses, addresses to a connected socket."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from contextlib import suppress
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any

from pop3fetch.defaults import FAMILIES, UNIX_PREFIX
from pop3fetch.errors import ConnectionFailed, ResolverFailed, TimedOut, UnknownHost
from pop3fetch.values import NamedTuple

if TYPE_CHECKING:
    from pop3fetch.net.tunnel import Tunnel

ATTEMPT_DELAY = 0.25  # seconds until the next address is tried beside (RFC 8305 section 5)
# The resolver's errors about a name. Any other is trouble of the resolver itself, and temporary.
NO_SUCH_NAME = frozenset(
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY", "EAI_FAMILY", "EAI_SERVICE")
    if hasattr(socket, name)
)
FAMILY = dict(zip(FAMILIES, (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6), strict=True))


class Endpoint(NamedTuple):
    """Where a server is, and how to reach it.

    ``host`` is a name, an address or ``unix:/path``; ``family`` of FAMILIES; ``proxy`` a URL. ``tls_name``:
    the name that its certificate must have, if that is not the host's.
    """

    host: str
    port: int
    family: str = "any"
    proxy: str | None = None
    tunnel: Tunnel | None = None
    tls_name: str | None = None


class ResolvedAddress(NamedTuple):
    """One resolved address."""

    family: int
    target: Any


def wire_name(host: str) -> str:
    """Return the name in ASCII, an internationalised one as its A-labels (RFC 5890 section 2.3.2.1).

    Raises UnknownHost if it is not a host name.
    """
    if host.isascii():
        return host
    # The codec of the standard library is IDNA 2003: for it straße.example is strasse.example, which may
    # belong to another owner. UTS 46 folds case and width as browsers do.
    import idna

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise UnknownHost(host, "it is not a host name") from error


def certificate_name(host: str) -> str | None:
    """Return the name or address that a certificate must be for, None for a UNIX socket.

    A zone (``fe80::1%eth0``) names an interface of ours, and the dot at the end of a name is DNS's.
    """
    if host.startswith(UNIX_PREFIX):
        return None
    return wire_name(host).partition("%")[0].removesuffix(".")


def dial(endpoint: Endpoint, timeout: float | None) -> socket.socket:
    """Return a connected socket; ``timeout`` in seconds covers all addresses together.

    Raises UnknownHost, ResolverFailed, ConnectionFailed or TimedOut.
    """
    if endpoint.tunnel is not None:
        from pop3fetch.net.tunnel import connect_by

        certificate_name(endpoint.tls_name or endpoint.host)  # not resolved, but on the certificate
        connected: socket.socket = connect_by(endpoint.tunnel, endpoint.host, endpoint.port)
    elif endpoint.host.startswith(UNIX_PREFIX):
        addresses = [ResolvedAddress(socket.AF_UNIX, endpoint.host.removeprefix(UNIX_PREFIX))]
        connected = _race(endpoint, addresses, timeout)
    elif endpoint.proxy is not None:
        connected = _connect_through(endpoint.proxy, endpoint, timeout)
    else:
        connected = _race(endpoint, resolve(endpoint), timeout)
    connected.setblocking(True)
    if connected.family != socket.AF_UNIX:
        with suppress(OSError):  # macOS refuses it once the server has hung up, which the first read reports
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def _connect_through(proxy: str, endpoint: Endpoint, timeout: float | None) -> socket.socket:
    from pop3fetch.net.proxy import ask_for, called, location

    deadline = None if timeout is None else time.monotonic() + timeout
    server = (wire_name(endpoint.host), endpoint.port)
    way = Endpoint(*location(proxy), endpoint.family)
    try:
        connected = _race(way, resolve(way), timeout)
        connected.setblocking(True)
        ask_for(server, proxy, connected, deadline)
    except TimeoutError as error:
        raise TimedOut(endpoint.host, f"connecting through {called(proxy)} to", timeout or 0) from error
    except ConnectionFailed as error:
        raise ConnectionFailed(endpoint.host, endpoint.port, f"{called(proxy)}: {error.reason}") from error
    return connected


def resolve(endpoint: Endpoint) -> list[ResolvedAddress]:
    """Return the addresses of the host, in the order to try them; raises UnknownHost, ResolverFailed."""
    # As octets: text would pass through the codec that :func:`wire_name` avoids.
    host = wire_name(endpoint.host).encode("ascii")
    try:
        found = socket.getaddrinfo(host, endpoint.port, FAMILY[endpoint.family], socket.SOCK_STREAM)
    except OSError as error:
        reason = error.strerror or str(error)
        if isinstance(error, socket.gaierror) and error.errno in NO_SUCH_NAME:
            raise UnknownHost(endpoint.host, reason) from error
        raise ResolverFailed(endpoint.host, reason) from error
    # The families take turns, the preferred one first (RFC 8305 section 4).
    addresses = [ResolvedAddress(family, target) for family, _, _, _, target in found]
    first = [address for address in addresses if address.family == addresses[0].family]
    others = [address for address in addresses if address.family != addresses[0].family]
    return [address for address in chain(*zip_longest(first, others)) if address]


def _race(endpoint: Endpoint, addresses: list[ResolvedAddress], timeout: float | None) -> socket.socket:
    """Connect to several addresses side by side; the first that connects wins (RFC 8305 section 5)."""
    deadline = None if timeout is None else time.monotonic() + timeout
    waiting = list(reversed(addresses))
    reason = "it has no address"
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                if waiting:
                    reason = _begin(selector, waiting.pop()) or reason
                # Until all attempts are decided, or it is time for the next address.
                while selector.get_map():
                    left = None if deadline is None else max(deadline - time.monotonic(), 0)
                    if waiting:
                        left = ATTEMPT_DELAY if left is None else min(ATTEMPT_DELAY, left)
                    ready = selector.select(left)
                    if not ready and waiting:
                        break
                    if not ready:
                        raise TimedOut(endpoint.host, "connecting to", timeout or 0)
                    for key, _ in ready:
                        attempt: Any = key.fileobj
                        selector.unregister(attempt)
                        status = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                        if status == 0:
                            return attempt  # type: ignore[no-any-return]
                        reason = os.strerror(status)
                        attempt.close()
        finally:
            for key in list(selector.get_map().values()):
                with suppress(OSError):
                    key.fileobj.close()  # type: ignore[union-attr]
    raise ConnectionFailed(endpoint.host, endpoint.port, reason)


def _begin(selector: selectors.BaseSelector, address: ResolvedAddress) -> str | None:
    """Begin to connect; return why that failed at once, or None."""
    attempt = None
    try:
        attempt = socket.socket(address.family, socket.SOCK_STREAM)
        attempt.setblocking(False)
        status = attempt.connect_ex(address.target)
    except OSError as error:
        status = error.errno or errno.EINVAL
    # EAGAIN is a failure: the queue of a UNIX socket is full, and no event will follow.
    if attempt is not None and status in (0, errno.EINPROGRESS):
        selector.register(attempt, selectors.EVENT_WRITE)
        return None
    if attempt is not None:
        attempt.close()
    return os.strerror(status)
