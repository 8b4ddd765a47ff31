"""Every situation that a login can be in: the rows of the policy's table."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from pop3fetch.pop3.login import APOP, METHODS, USER, Situation
from pop3fetch.pop3.replies import Capabilities

WAYS = [  # mode, and whether TLS is active
    ("implicit", True),
    ("auto", False),
    ("auto", True),
    ("starttls", False),
    ("starttls", True),
    ("off", False),
    ("off", True),  # who calls start_tls() before login()
]
OFFERS: list[list[str] | None] = [
    None,
    [],
    ["PLAIN"],
    ["PLAIN", "LOGIN"],
    ["CRAM-MD5"],
    ["PLAIN", "CRAM-MD5", "SCRAM-SHA-1"],
    ["plain", "scram-sha-1", "scram-sha-256"],
    ["SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "PLAIN"],
    ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "XOAUTH2", "OAUTHBEARER", "EXTERNAL"],
]
REFUSED = [
    frozenset[str](),
    frozenset({APOP}),
    frozenset({USER}),
    frozenset({"SCRAM-SHA-256"}),
    frozenset({"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"}),
    frozenset({"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", USER}),
]
YES_AND_NO = (True, False)


def all_capabilities() -> Iterator[Capabilities | None]:
    """Yield no CAPA at all, and each offer with STLS and without."""
    yield None
    for stls, sasl in product(YES_AND_NO, OFFERS):
        capabilities: Capabilities = {"TOP": None}
        if stls:
            capabilities["STLS"] = None
        if sasl is not None:
            capabilities["SASL"] = sasl
        yield capabilities


def situations() -> Iterator[Situation]:
    """Yield them all."""
    for (mode, tls), method, challenge, capabilities, allowed, bindable, refused in product(
        WAYS, [None, *METHODS], YES_AND_NO, all_capabilities(), YES_AND_NO, YES_AND_NO, REFUSED
    ):
        if bindable and not tls:
            continue  # without TLS there is no channel to bind to
        if method is not None and refused:
            continue  # a forced method that is refused is the end
        yield Situation(mode, method, tls, challenge, capabilities, allowed, bindable, refused)
