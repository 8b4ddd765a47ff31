"""TLS sessions that a process that stays resumes: they save the certificate (RFC 8446 section 2.2).

In a resumed handshake the server proves that it is the one of the handshake before, whose certificate was
verified; its certificate is not sent again. Only sessions of TLS 1.3 are resumed, because those of TLS 1.2
have no forward secrecy. A session is never resumed if its certificate was not verified, if that was a day
ago, or if the certificate has expired since.
"""

from __future__ import annotations

import math
import ssl
import sys
import time
from collections.abc import Callable

from pop3fetch.values import NamedTuple

LONGEST = 24 * 60 * 60  # seconds: by then a certificate may be revoked, and an authority no longer trusted

# These versions of Python lose the memory of each session that is looked at, 6 KiB (python/cpython#116810).
LOSES_SESSIONS = sys.version_info < (3, 12, 8) or (3, 13) <= sys.version_info < (3, 13, 1)
MOST_LOSSES = 256  # sessions that a process looks at nevertheless


class Peer(NamedTuple):
    """Whom a session is with, and how the certificate is verified."""

    context: ssl.SSLContext
    host: str
    port: int
    name: str | None


class Verified(NamedTuple):
    """A session, when its certificate was verified, and when that expires; seconds since the epoch."""

    session: ssl.SSLSession
    since: float
    expires: float

    def is_good(self, now: float) -> bool:
        """Whether it may be resumed; not if the clock was set back behind the handshake."""
        return 0 <= now - self.since < LONGEST and now < self.expires


class Resumption:
    """The sessions of a process, the latest of each account with each peer.

    Each is resumed once (RFC 8446 appendix C.4). If Python ``loses`` sessions, one is resumed until
    the server refuses it.
    """

    def __init__(self, clock: Callable[[], float] = time.time, *, loses: bool = LOSES_SESSIONS) -> None:
        """``clock`` as :func:`time.time`."""
        self.clock = clock
        self.loses = loses
        self.looks = 0
        self.kept: dict[tuple[str, Peer], Verified] = {}
        self.failed: dict[Peer, float] = {}  # when a handshake failed that was to resume a session

    def handshake(self, account: str, peer: Peer) -> Handshake:
        """Begin a handshake with ``peer`` for an account."""
        kept = self.kept.pop((account, peer), None)
        return Handshake(self, account, peer, kept if kept and kept.is_good(self.clock()) else None)


class Handshake:
    """A handshake, which resumes a ``session`` if there is one."""

    def __init__(self, sessions: Resumption, account: str, peer: Peer, kept: Verified | None) -> None:
        self._sessions = sessions
        self._account = account
        self._peer = peer
        self._kept = kept
        self._begun = sessions.clock()

    @property
    def session(self) -> ssl.SSLSession | None:
        """The session to resume."""
        return self._kept.session if self._kept else None

    def fail(self) -> None:
        """Note that there is no session: if one was to be resumed, the server may fail on that."""
        if self._kept:
            self._sessions.failed[self._peer] = self._begun

    def keep(self, tls: ssl.SSLObject) -> None:
        """Keep the session at its end: TLS 1.3 sends what it is resumed with after the handshake."""
        sessions, before = self._sessions, self._kept if tls.session_reused else None
        if (
            0 <= self._begun - sessions.failed.get(self._peer, -math.inf) < LONGEST
            or tls.version() != "TLSv1.3"
            or self._peer.context.verify_mode != ssl.CERT_REQUIRED
        ):
            return
        if before and sessions.loses:
            sessions.kept[self._account, self._peer] = before
            return
        sessions.looks += 1
        if sessions.loses and sessions.looks > MOST_LOSSES:
            return
        session, certificate = tls.session, tls.getpeercert() or {}
        if session is None or not session.has_ticket or "notAfter" not in certificate:
            return
        expires = float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))
        since = before.since if before else self._begun
        sessions.kept[self._account, self._peer] = Verified(session, since, expires)
