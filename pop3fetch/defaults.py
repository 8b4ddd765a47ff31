"""The defaults, and the words that a user chooses among: each is written here, once."""

from __future__ import annotations

from collections.abc import Iterable

TLS_MODES = ("implicit", "auto", "starttls", "off")
# "auto", then what --auth can force: user, apop, and the mechanisms of ``pop3/sasl.py``.
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
STREAMS = ("-", "mbox:-")  # of --output, for standard output

TLS_PORT = 995  # RFC 8314 section 7.3
PLAIN_PORT = 110  # RFC 1939 section 3
DEFAULT_TIMEOUT = 60.0  # seconds to wait for a server
DEFAULT_EXEC_TIMEOUT = 600.0  # seconds that a program may take for a message
KEYRING_TIMEOUT = 5.0  # seconds for a look into it; without a session bus a backend may wait forever
CRON_PATH = "/usr/bin:/bin"  # where a job of cron finds programs
ACCOUNTS_AT_ONCE = 8  # by -A: --jobs
ACCOUNTS_AT_ONCE_PER_HOST = 4  # --jobs-per-host


LIKELY = 0.75  # likeness of a word and its slip, 0 to 1: `lst` and `list` 0.86, `--new` and `--yes` 0.33
SHORTEST = 3  # letters of a beginning that suggests the whole word


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the known word of which this is a likely slip, or nothing.

    Also if one is the beginning of the other: ``username`` suggests ``user``.
    """
    import re
    from difflib import SequenceMatcher

    def likeness(other: str) -> float:
        one, two = (re.sub("[-_ ]", "", text).lower() for text in (word, other))
        shorter = min(one, two, key=len)
        begins = len(shorter) >= SHORTEST and one[: len(shorter)] == two[: len(shorter)]
        return max(SequenceMatcher(None, one, two).ratio(), LIKELY if begins else 0)

    nearest = max(sorted(known), key=likeness, default="")
    if not nearest or likeness(nearest) < LIKELY:
        return ""
    return f"; did you mean {nearest if nearest.startswith('-') else repr(nearest)}?"
