"""The login policy as one pure function: what is known -> the next step, or a refusal.

    implicit  TLS from the first octet, then the strongest method inside it
    auto      APOP if the greeting has a challenge; else STLS if it is offered, and the
              strongest method inside it; else, only if the user allows it, without TLS
    starttls  STLS before anything of the user's, whatever CAPA lists
    off       APOP or a challenge-response mechanism; clear text only if that is allowed

If STLS is offered and fails, or APOP is refused, the password is not sent in clear text.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from pop3fetch.defaults import AUTH_METHODS
from pop3fetch.errors import InsecureAuthenticationDisallowed, MechanismNotOffered
from pop3fetch.pop3.replies import Capabilities
from pop3fetch.pop3.sasl import MECHANISMS, Use
from pop3fetch.values import NamedTuple

APOP = "APOP"
STLS = "STLS"
USER = "USER"

MAIL_IN_CLEAR_TEXT = "APOP protects only the password: the mail crosses the network in clear text"
ALTHOUGH_STLS = f"{MAIL_IN_CLEAR_TEXT}, although the server offers STLS"

METHODS = {word: word.upper() for word in AUTH_METHODS if word != "auto"}
CLEAR_TEXT = frozenset(name for name, (_, shows, _) in MECHANISMS.items() if shows == "secret")
_NEEDS_TLS = {USER} | {name for name, (_, shows, _) in MECHANISMS.items() if shows != "proof"}


class LoginPolicy(NamedTuple):
    """What the user allows and wants: the TLS mode, one forced method, clear text, UTF8."""

    mode: str
    method: str | None = None
    allow_insecure: bool = False
    utf8: bool = False


class Situation(NamedTuple):
    """What is known before a step of the login.

    ``mode``: of TLS. ``method``: the forced one. ``challenge``: the greeting had a valid one.
    ``challenge_forgotten``: it had one before STLS. ``capabilities``: None if the server has no CAPA.
    ``bindable``: the TLS session has channel binding data. ``refused``: methods that the server refused.
    ``unfit``: methods in clear text that cannot carry these credentials.
    """

    mode: str
    method: str | None = None
    tls_active: bool = False
    challenge: bool = False
    capabilities: Capabilities | None = None
    allow_insecure: bool = False
    bindable: bool = False
    refused: frozenset[str] = frozenset()
    unfit: frozenset[str] = frozenset()
    challenge_forgotten: bool = False


def next_step(situation: Situation) -> str:
    """Return STLS, to start TLS and request the capabilities again, or the method to log in by.

    A method is APOP, USER (and PASS), or the name of a SASL mechanism.

    Raises InsecureAuthenticationDisallowed or MechanismNotOffered; then nothing of the user's
    may be sent.
    """
    capabilities = situation.capabilities or {}
    forced = situation.method
    apop_is_open = situation.challenge and APOP not in situation.refused
    if not situation.tls_active:
        if situation.mode == "starttls":
            return STLS
        logs_in_by_apop = apop_is_open and forced in (None, "apop")
        if situation.mode == "auto" and not logs_in_by_apop and STLS in capabilities:
            return STLS
    offered = capabilities.get("SASL") or []
    if forced:
        return _forced(situation, METHODS[forced], offered)
    names = {name.upper() for name in offered} - situation.refused
    if not situation.tls_active:
        if apop_is_open:
            return APOP
        safe = strongest(names - CLEAR_TEXT, channel_binding=False, uses=("password", "without TLS"))
        # A secret that APOP was refused with is not tried again, unless inside TLS.
        if safe and APOP not in situation.refused and (situation.mode == "off" or situation.allow_insecure):
            return safe
        if not situation.allow_insecure or situation.refused:
            raise _clear_text_refused("not logging in", situation)
    method = strongest(names - situation.unfit, channel_binding=situation.bindable) or USER
    if method in situation.refused:
        raise MechanismNotOffered("the server refused every method that it offers")
    return method


def _forced(situation: Situation, method: str, mechanisms: list[str]) -> str:
    offer = f"it offers {' '.join(mechanisms) or 'no SASL mechanism'}"
    if method == APOP and not situation.challenge:
        if situation.challenge_forgotten:
            forged = "no APOP after STLS: the challenge was received in clear text, and may be forged"
            raise MechanismNotOffered(forged, is_forgeable=True)
        raise MechanismNotOffered(f"the greeting of the server has no valid challenge for APOP; {offer}")
    if method in _NEEDS_TLS and not situation.tls_active and not situation.allow_insecure:
        raise _clear_text_refused(f"not logging in by {method} without TLS", situation)
    if method in (APOP, USER):
        return method
    offered = {name.upper() for name in mechanisms}
    if situation.bindable and f"{method}-PLUS" in offered:
        return f"{method}-PLUS"
    if situation.capabilities is not None and method not in offered:
        raise MechanismNotOffered(f"the server does not offer {method}; {offer}")
    return method


def _clear_text_refused(what: str, situation: Situation) -> InsecureAuthenticationDisallowed:
    offers_stls = STLS in (situation.capabilities or {})
    why = "" if offers_stls else "the server offers no STLS and "
    return InsecureAuthenticationDisallowed(
        f"{what}: {why}the password would cross the network in clear text", offers_stls
    )


def strongest(
    offered: Iterable[str], *, channel_binding: bool, uses: Container[Use] = ("password",)
) -> str | None:
    """Return the strongest of the mechanisms offered that is chosen for one of these uses, or None."""
    names = {name.upper() for name in offered}
    for name, (_, _, use) in MECHANISMS.items():
        if name in names and use in uses and (channel_binding or not name.endswith("-PLUS")):
            return name
    return None
