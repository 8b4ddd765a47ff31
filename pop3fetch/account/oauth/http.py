"""One POST to an OAuth 2 server: with limits of time and size, over verified TLS.

A redirect is never followed: the form contains secrets, and only the configured endpoint may get it.
urllib uses the proxy that ``https_proxy`` names.
"""

from __future__ import annotations

import ssl
from http.client import HTTPException
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from pop3fetch.account.oauth.messages import Answer
from pop3fetch.ahead import Ahead, Interrupts
from pop3fetch.errors import ConnectionFailed, POP3Error, ProtocolViolation, TLSError
from pop3fetch.tls_policy import verifying_context

LIMIT = 30.0  # seconds for everything from the name's look-up to the last octet
LARGEST = 1 << 16  # octets of an answer; one with three tokens has a few thousand


def post(url: str, form: str, limit: float = LIMIT, interrupts: Interrupts | None = None) -> Answer:
    """Send ``form`` to ``url`` and return the answer, whatever its status; ``limit`` in seconds.

    Raises ConnectionFailed, TLSError, and ProtocolViolation if the answer is too large or not HTTP.
    """
    try:
        status, body = Ahead(lambda: _exchange(url, form, limit), interrupts=interrupts).result(limit)
    except (OSError, UnicodeError) as error:  # the latter of a host name that no DNS could have
        raise _trouble(url, error, limit) from error
    except HTTPException as error:
        raise ProtocolViolation(f"{url} does not speak HTTP ({type(error).__name__})") from error
    if len(body) > LARGEST:
        raise ProtocolViolation(f"{url} answered with more than {LARGEST} octets")
    return Answer(url, status, body)


def _exchange(url: str, form: str, limit: float) -> tuple[int, bytes]:
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    request = Request(url, form.encode(), headers)  # noqa: S310 - ``keys.endpoint`` has seen its scheme
    with _opener(request.type).open(request, timeout=limit) as response:
        return response.status, response.read(LARGEST + 1)


def _opener(scheme: str) -> OpenerDirector:
    """Return an opener that returns any answer; urllib's own one follows redirects."""
    opener = OpenerDirector()
    opener.addheaders = [("User-Agent", "pop3fetch")]
    if scheme == "https":
        opener.add_handler(ProxyHandler())
        opener.add_handler(HTTPSHandler(context=verifying_context()))
    else:  # on loopback: a proxy could only eavesdrop
        opener.add_handler(HTTPHandler())
    return opener


def _trouble(url: str, error: Exception, limit: float) -> POP3Error:
    reason = error.reason if isinstance(error, URLError) else error
    parts = urlsplit(url)
    host = parts.hostname or url
    if isinstance(reason, ssl.SSLError):
        return TLSError(host, getattr(reason, "verify_message", None) or reason.reason or str(reason))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if isinstance(reason, TimeoutError):
        return ConnectionFailed(host, port, f"no answer within {limit:g} s")
    return ConnectionFailed(host, port, getattr(reason, "strerror", None) or str(reason))
