"""How a connection comes about: names to addresses, addresses to a connected socket."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from contextlib import suppress
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

from pop3fetch.choices import FAMILIES, UNIX_PREFIX
from pop3fetch.errors import ConnectionFailed, ResolverFailed, TimedOut, UnknownHost
from pop3fetch.net.names import certificate_name, wire_name

if TYPE_CHECKING:
    from pop3fetch.net.tunnel import Tunnel

ATTEMPT_DELAY = 0.25  # seconds until the next address is tried beside (RFC 8305 section 5)
# What the resolver says of a name; anything else is its own trouble, and passes.
NO_SUCH_NAME = frozenset(
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY", "EAI_FAMILY", "EAI_SERVICE")
    if hasattr(socket, name)
)
FAMILY = dict(zip(FAMILIES, (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6), strict=True))


class Endpoint(NamedTuple):
    """Where a server is, and the way there.

    ``host`` is a name, an address or ``unix:/path``; ``family`` of FAMILIES; ``proxy`` a URL.
    """

    host: str
    port: int
    family: str = "any"
    proxy: str | None = None
    tunnel: Tunnel | None = None


class ResolvedAddress(NamedTuple):
    """One resolved address."""

    family: int
    target: Any


def dial(endpoint: Endpoint, timeout: float | None) -> socket.socket:
    """Return a connected socket; ``timeout`` in seconds covers all addresses together.

    Raises UnknownHost, ResolverFailed, ConnectionFailed or TimedOut.
    """
    if endpoint.tunnel is not None:
        from pop3fetch.net.tunnel import connect_by

        certificate_name(endpoint.host)  # nobody resolves it, but a certificate must be for it
        connected: socket.socket = connect_by(endpoint.tunnel, endpoint.host, endpoint.port)
    elif endpoint.host.startswith(UNIX_PREFIX):
        addresses = [ResolvedAddress(socket.AF_UNIX, endpoint.host.removeprefix(UNIX_PREFIX))]
        connected = _Race(endpoint, timeout).run(addresses)
    elif endpoint.proxy is not None:
        connected = _connect_through(endpoint.proxy, endpoint, timeout)
    else:
        connected = _Race(endpoint, timeout).run(_resolve(endpoint))
    connected.setblocking(True)
    if connected.family != socket.AF_UNIX:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def _connect_through(proxy: str, endpoint: Endpoint, timeout: float | None) -> socket.socket:
    from pop3fetch.net.proxy import ask_for, called, location

    deadline = None if timeout is None else time.monotonic() + timeout
    server = (wire_name(endpoint.host), endpoint.port)
    way = Endpoint(*location(proxy), endpoint.family)
    try:
        connected = _Race(way, timeout).run(_resolve(way))
        connected.setblocking(True)
        ask_for(server, proxy, connected, deadline)
    except TimeoutError as error:
        raise TimedOut(endpoint.host, f"connecting through {called(proxy)}", timeout or 0) from error
    except ConnectionFailed as error:
        raise ConnectionFailed(endpoint.host, endpoint.port, f"{called(proxy)}: {error.reason}") from error
    return connected


def _resolve(endpoint: Endpoint) -> list[ResolvedAddress]:
    # As octets, for text would be given to a codec that knows other names (see ``names``).
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


class _Race:
    """Connect to several addresses side by side; the first that stands wins (RFC 8305 section 5)."""

    def __init__(self, endpoint: Endpoint, timeout: float | None) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._reason = "it has no address"
        self._winner: socket.socket | None = None

    def run(self, addresses: list[ResolvedAddress]) -> socket.socket:
        waiting = list(reversed(addresses))
        with selectors.DefaultSelector() as selector:
            try:
                while self._winner is None and (waiting or selector.get_map()):
                    if waiting:
                        self._attempt(selector, waiting.pop())
                    self._wait(selector, more=bool(waiting))
            finally:
                for key in list(selector.get_map().values()):
                    with suppress(OSError):
                        key.fileobj.close()  # type: ignore[union-attr]
        if self._winner is None:
            raise ConnectionFailed(self._endpoint.host, self._endpoint.port, self._reason)
        return self._winner

    def _attempt(self, selector: selectors.BaseSelector, address: ResolvedAddress) -> None:
        attempt = None
        try:
            attempt = socket.socket(address.family, socket.SOCK_STREAM)
            attempt.setblocking(False)
            status = attempt.connect_ex(address.target)
        except OSError as error:
            status = error.errno or errno.EINVAL
        # Not EAGAIN: that is a UNIX socket whose queue is full, and nothing comes of it.
        if attempt is not None and status in (0, errno.EINPROGRESS):
            selector.register(attempt, selectors.EVENT_WRITE)
            return
        self._reason = os.strerror(status)
        if attempt is not None:
            attempt.close()

    def _wait(self, selector: selectors.BaseSelector, *, more: bool) -> None:
        """Wait until an attempt is decided, or until it is time for the next address."""
        while self._winner is None and selector.get_map():
            remaining = None if self._deadline is None else max(self._deadline - time.monotonic(), 0)
            if more:
                remaining = ATTEMPT_DELAY if remaining is None else min(ATTEMPT_DELAY, remaining)
            ready = selector.select(remaining)
            if not ready and more:
                return
            if not ready:
                raise TimedOut(self._endpoint.host, "connecting", self._timeout or 0)
            for key, _ in ready:
                self._decide(selector, key.fileobj)

    def _decide(self, selector: selectors.BaseSelector, attempt: Any) -> None:
        selector.unregister(attempt)
        status = attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status == 0 and self._winner is None:
            self._winner = attempt
            return
        if status:
            self._reason = os.strerror(status)
        attempt.close()
