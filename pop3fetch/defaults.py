"""The defaults, and the words that a user chooses among: each is written here, once."""

from __future__ import annotations

from collections.abc import Iterable

TLS_MODES = ("implicit", "auto", "starttls", "off")
# "auto", then what --auth can force.
AUTH_METHODS = (
    "auto",
    "user",
    "apop",
    "plain",
    "login",
    "cram-md5",
    "scram-sha-1",
    "scram-sha-256",
    "xoauth2",
    "oauthbearer",
    "external",
)
TOKEN_METHODS = ("xoauth2", "oauthbearer")  # whose secret is an OAuth 2 access token
FAMILIES = ("any", "ipv4", "ipv6")
PROXY_SCHEMES = ("socks5://", "http://")
UNIX_PREFIX = "unix:"  # of a host that is a UNIX socket

TLS_PORT = 995  # RFC 8314 section 7.3
PLAIN_PORT = 110  # RFC 1939 section 3
DEFAULT_TIMEOUT = 60.0  # seconds to wait for a server
DEFAULT_EXEC_TIMEOUT = 600.0  # seconds that a program may take for a message
CRON_PATH = "/usr/bin:/bin"  # where a job of cron finds programs
ACCOUNTS_AT_ONCE = 8  # by -A
ACCOUNTS_AT_ONCE_PER_HOST = 4


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known word that is nearest, or nothing."""
    from difflib import get_close_matches

    close = get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
