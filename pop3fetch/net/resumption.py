"""TLS sessions that a process that stays resumes: they save the certificate (RFC 8446 section 2.2).

In a resumed handshake the server proves that it is the one of the handshake before, whose certificate was
verified; its certificate is not sent again. Only sessions of TLS 1.3 are resumed, because those of TLS 1.2
have no forward secrecy. Each is resumed once (appendix C.4). A session is never resumed if its certificate
was not verified, if that was a day ago, or if the certificate has expired since.
"""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable
from typing import NamedTuple

LONGEST = 24 * 60 * 60  # seconds: by then a certificate may be revoked, and an authority no longer trusted


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
    """The sessions of one account, the latest of each peer."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock`` as :func:`time.time`."""
        self.clock = clock
        self.kept: dict[Peer, Verified] = {}
        self.failed: dict[Peer, float] = {}  # when a handshake failed that was to resume a session

    def handshake(self, peer: Peer) -> Handshake:
        """Begin a handshake with ``peer``."""
        kept = self.kept.pop(peer, None)
        return Handshake(self, peer, kept if kept and kept.is_good(self.clock()) else None)


class Handshake:
    """A handshake, which resumes a ``session`` if there is one."""

    def __init__(self, sessions: Resumption, peer: Peer, kept: Verified | None) -> None:
        self._sessions = sessions
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
        session, peer = tls.session, self._peer
        certificate = tls.getpeercert() or {}  # empty unless it was verified
        if (
            0 <= self._begun - self._sessions.failed.get(peer, -math.inf) < LONGEST
            or tls.version() != "TLSv1.3"
            or peer.context.verify_mode != ssl.CERT_REQUIRED
            or session is None
            or not session.has_ticket
            or "notAfter" not in certificate
        ):
            return
        is_resumed = self._kept is not None and tls.session_reused
        since = self._kept.since if self._kept and is_resumed else self._begun
        expires = float(ssl.cert_time_to_seconds(str(certificate["notAfter"])))
        self._sessions.kept[peer] = Verified(session, since, expires)
