"""Connections through a SOCKS5 or HTTP proxy. The proxy resolves the server's name, and we do not.

python-socks negotiates with the proxy, over a connection made by ``dial``.
"""

from __future__ import annotations

import os
import socket
import time
from base64 import b64encode
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from pop3fetch.errors import ConnectionFailed
from pop3fetch.values import without_login

HEADER_LIMIT = 16 * 1024  # octets of an HTTP proxy's reply
HEADER_END = b"\r\n\r\n"


def location(proxy: str) -> tuple[str, int]:
    """Return host and port of a proxy's URL; it must have both."""
    parts = urlsplit(proxy)
    assert parts.hostname and parts.port
    return parts.hostname, parts.port


def called(proxy: str) -> str:
    """Return the name of a proxy in an error."""
    return f"the proxy {without_login(proxy).rstrip('/')}"


def ask_for(server: tuple[str, int], proxy: str, connected: socket.socket, deadline: float | None) -> None:
    """Ask the proxy at the other end of ``connected`` to connect to ``server``: host in ASCII, and port.

    ``proxy``: ``socks5://[user:password@]host:port`` or ``http://…``; ``deadline``, a time of
    :func:`time.monotonic`, covers all of it. Raises TimeoutError, or ConnectionFailed without the proxy's
    password, and closes the connection. A name that the proxy cannot resolve is a ConnectionFailed, too:
    no proxy reports whether it exists.
    """
    from python_socks import ProxyError, ProxyTimeoutError  # slow to import, and rarely wanted
    from python_socks.sync import Proxy

    host, port = server
    line = _Line(connected, deadline, whole_header=proxy.startswith("http:"))
    try:
        Proxy.from_url(proxy, rdns=True, forward=cast(Proxy, line)).connect(host, port)
    except ProxyTimeoutError:
        raise TimeoutError from None
    except (ProxyError, OSError, ValueError) as error:
        # Not even as a cause: an error of encoding quotes what it could not encode.
        raise ConnectionFailed(host, port, _reason(error, proxy)) from None


class _Line:
    """The connection to a proxy as python-socks reads it: under one deadline, and no octet too many.

    POP3 servers send first. The greeting may arrive in one packet with an HTTP proxy's reply, and the
    library would drop it.
    """

    def __init__(self, connected: socket.socket, deadline: float | None, *, whole_header: bool) -> None:
        self._socket = connected
        self._deadline = deadline
        self._whole_header = whole_header

    def connect(self, **_: Any) -> _Line:
        """Return itself, in the place of a proxy before the proxy."""
        return self

    def sendall(self, octets: bytes) -> None:
        self._bound()
        self._socket.sendall(octets)

    def recv(self, size: int) -> bytes:
        if not self._whole_header:
            return self._receive(size)
        header = b""
        while not header.endswith(HEADER_END) and (octet := self._receive(1)):
            header += octet
            if len(header) > HEADER_LIMIT:
                raise ValueError("its reply has no end")
        return header

    def close(self) -> None:
        self._socket.close()

    def _receive(self, size: int) -> bytes:
        self._bound()
        return self._socket.recv(size)

    def _bound(self) -> None:
        if self._deadline is not None:
            # Zero would make the socket non-blocking, and a past deadline must fail as a time-out.
            self._socket.settimeout(max(self._deadline - time.monotonic(), 1e-6))


def _reason(error: Exception, proxy: str) -> str:
    """Return what went wrong, without the login: an HTTP proxy may repeat the request in its reply."""
    if isinstance(error, UnicodeError):
        return "its user name and password must be ASCII"
    reason = str(getattr(error, "strerror", None) or error)
    login = unquote(proxy.partition("://")[2].rpartition("@")[0])
    for secret in (b64encode(os.fsencode(login)).decode(), login, login.partition(":")[2]):
        reason = reason.replace(secret, "(secret)") if secret else reason
    return reason
