"""The login policy: the whole table of situations, and what must hold in every row of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from pop3fetch.errors import InsecureAuthenticationDisallowed, MechanismNotOffered, POP3Error
from pop3fetch.pop3.login import APOP, METHODS, STLS, USER, LoginPolicy, Situation, next_step, strongest
from pop3fetch.pop3.replies import Capabilities
from pop3fetch.pop3.sasl import MECHANISMS
from pop3fetch.status import Status
from tests.support.situations import situations

# What a method needs without TLS, in the contract's words.
HANDS_OVER_THE_SECRET = {USER, "PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"}
MEANS_NOTHING_WITHOUT_TLS = {"EXTERNAL"}

# "The strongest mechanism that the server offers", strongest first.
INSIDE_TLS = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN", USER)
AUTO_OUTSIDE_TLS = (APOP, STLS, "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", USER)
NEVER_TLS = tuple(step for step in AUTO_OUTSIDE_TLS if step != STLS)


@pytest.fixture(autouse=True, scope="module")
def fresh_table() -> None:
    """Forget what another run in this process has decided: mutants come after one."""
    table.cache_clear()


@cache
def table() -> list[tuple[Situation, str | POP3Error]]:
    """Return every situation with the decision of the policy."""
    return [(situation, answer(situation)) for situation in situations()]


def answer(situation: Situation) -> str | POP3Error:
    try:
        return next_step(situation)
    except POP3Error as refusal:
        return refusal


def offers(situation: Situation, mechanism: str) -> bool:
    """Return whether the server names the mechanism; one without CAPA may have any that is forced."""
    if situation.capabilities is None:
        return situation.method is not None and not mechanism.endswith("-PLUS")
    names = situation.capabilities.get("SASL") or []
    return mechanism in [name.upper() for name in names]


def offers_stls(situation: Situation) -> bool:
    return situation.capabilities is not None and STLS in situation.capabilities


def test_a_policy_allows_nothing_that_it_is_not_asked_to() -> None:
    assert LoginPolicy("auto") == LoginPolicy("auto", method=None, allow_insecure=False, utf8=False)


# The policy a second time: what may be done at all, and what comes first.


def order_of_preference(situation: Situation) -> tuple[str, ...]:
    if situation.mode == "starttls" and not situation.tls_active:
        return (STLS,)
    if situation.method:
        forced = METHODS[situation.method]
        before = (APOP, STLS) if forced == APOP else (STLS,)
        return (*before, f"{forced}-PLUS", forced)
    if situation.tls_active:
        return INSIDE_TLS
    return AUTO_OUTSIDE_TLS if situation.mode == "auto" else NEVER_TLS


def is_possible(step: str, situation: Situation) -> bool:
    if step == STLS:
        return not situation.tls_active and (
            situation.mode == "starttls" or (situation.mode == "auto" and offers_stls(situation))
        )
    if step == APOP:
        return situation.challenge
    if step.endswith("-PLUS"):
        return offers(situation, step) and situation.bindable
    return step == USER or offers(situation, step)


def is_permitted(step: str, situation: Situation) -> bool:
    """Whether the contract permits a step that is possible."""
    if step in situation.refused:
        return False
    if situation.tls_active or step in (STLS, APOP):
        return True
    if APOP in situation.refused:
        return False  # it goes on with STLS or not at all
    if step in HANDS_OVER_THE_SECRET:
        return situation.allow_insecure and not situation.refused
    if step in MEANS_NOTHING_WITHOUT_TLS:
        return situation.allow_insecure
    # A challenge-response mechanism: the user's choice, or what --tls off is for.
    return situation.mode == "off" or situation.allow_insecure or situation.method is not None


def policy(situation: Situation) -> str | None:
    for step in order_of_preference(situation):
        if is_possible(step, situation) and is_permitted(step, situation):
            return step
    return None


def test_every_row_of_the_table_is_as_in_the_contract() -> None:
    for situation, answered in table():
        expected = policy(situation)
        assert answered == expected or (expected is None and isinstance(answered, POP3Error)), situation


# What must hold in every row, whatever else is decided


def rows(holds_for: Callable[[Situation], bool]) -> Iterator[tuple[Situation, str | POP3Error]]:
    found = [row for row in table() if holds_for(row[0])]
    assert found, "no row is looked at"
    return iter(found)


def test_without_tls_nothing_in_clear_text_without_consent() -> None:
    for situation, answered in rows(lambda s: not s.tls_active and not s.allow_insecure):
        assert answered not in HANDS_OVER_THE_SECRET, situation


def test_without_tls_nothing_in_clear_text_after_any_refusal_even_with_consent() -> None:
    for situation, answered in rows(lambda s: not s.tls_active and bool(s.refused)):
        assert answered not in HANDS_OVER_THE_SECRET, situation


def test_stls_that_is_offered_leaves_auto_nothing_else_but_apop() -> None:
    for situation, answered in rows(lambda s: s.mode == "auto" and not s.tls_active and offers_stls(s)):
        assert answered in (STLS, APOP), situation


def test_starttls_starts_tls_whatever_else_is_known() -> None:
    for situation, answered in rows(lambda s: s.mode == "starttls" and not s.tls_active):
        assert answered == STLS, situation


def test_off_never_starts_tls() -> None:
    for situation, answered in rows(lambda s: s.mode == "off"):
        assert answered != STLS, situation


def test_tls_is_never_started_inside_tls() -> None:
    for situation, answered in rows(lambda s: s.tls_active):
        assert answered != STLS, situation


def test_apop_that_was_refused_is_followed_by_stls_or_by_nothing() -> None:
    for situation, answered in rows(lambda s: APOP in s.refused and not s.tls_active):
        assert answered == STLS or isinstance(answered, POP3Error), situation


def test_what_was_refused_never_comes_again() -> None:
    for situation, answered in rows(lambda s: bool(s.refused)):
        assert answered not in situation.refused, situation


def test_a_forced_method_is_that_method_or_an_error() -> None:
    for situation, answered in rows(lambda s: s.method is not None):
        forced = METHODS[situation.method or ""]
        permitted = (STLS, forced, f"{forced}-PLUS")
        assert isinstance(answered, POP3Error) or answered in permitted, situation


def test_login_tokens_and_certificates_are_used_only_if_forced() -> None:
    for situation, answered in rows(lambda s: s.method is None):
        for method in ("LOGIN", "XOAUTH2", "OAUTHBEARER", "EXTERNAL"):
            assert answered != method, situation


def test_a_channel_is_bound_only_if_there_is_one() -> None:
    for situation, answered in rows(lambda s: not s.bindable):
        assert isinstance(answered, POP3Error) or not answered.endswith("-PLUS"), situation


def test_every_refusal_is_a_login_that_is_not_made() -> None:
    for situation, answered in table():
        if isinstance(answered, POP3Error):
            assert answered.exit_status is Status.NO_LOGIN, situation


# Which refusal it is, and its text


def test_clear_text_without_consent_is_its_own_error_with_what_the_ways_out_depend_on() -> None:
    for situation, answered in rows(lambda s: s.method is None and not s.tls_active and s.mode != "starttls"):
        if isinstance(answered, POP3Error):
            assert isinstance(answered, InsecureAuthenticationDisallowed), situation
            offers_stls = "STLS" in (situation.capabilities or {})
            assert ("the server offers no STLS" in str(answered)) != offers_stls
            assert answered.offers_stls == offers_stls


@pytest.mark.parametrize("method", ["user", "plain", "login", "xoauth2", "oauthbearer", "external"])
def test_a_forced_method_in_clear_text_wants_consent_before_it_is_looked_for(method: str) -> None:
    refusal = answer(Situation("off", method, capabilities={"SASL": []}))
    assert isinstance(refusal, InsecureAuthenticationDisallowed)
    assert METHODS[method] in str(refusal)


CROSSES = "the password would cross the network in clear text"
NO_STLS = "the server offers no STLS and "


@pytest.mark.parametrize(
    ("situation", "reason", "offers_stls"),
    [
        (Situation("auto", capabilities={}), f"not logging in: {NO_STLS}{CROSSES}", False),
        (Situation("off", capabilities=None), f"not logging in: {NO_STLS}{CROSSES}", False),
        (Situation("off", capabilities={"STLS": None}), f"not logging in: {CROSSES}", True),
        (
            Situation("off", "plain", capabilities={"STLS": None}),
            f"not logging in by PLAIN without TLS: {CROSSES}",
            True,
        ),
        (
            Situation("off", capabilities={}, allow_insecure=True, refused=frozenset({APOP})),
            f"not logging in: {NO_STLS}{CROSSES}",
            False,
        ),
    ],
)
def test_a_refused_login_in_clear_text_has_its_reason(
    situation: Situation, reason: str, offers_stls: bool
) -> None:
    refusal = answer(situation)
    assert isinstance(refusal, InsecureAuthenticationDisallowed)
    assert (str(refusal), refusal.offers_stls) == (reason, offers_stls)


def test_a_forced_apop_without_a_challenge_is_reported() -> None:
    refusal = answer(Situation("off", "apop", capabilities={"STLS": None, "SASL": ["PLAIN", "CRAM-MD5"]}))
    assert isinstance(refusal, MechanismNotOffered)
    assert str(refusal) == (
        "the greeting of the server has no valid challenge for APOP; it offers PLAIN CRAM-MD5"
    )


@pytest.mark.parametrize("mode", ["starttls", "auto", "off"])
def test_apop_after_stls_is_refused_for_the_reason_that_applies(mode: str) -> None:
    situation = Situation(mode, "apop", tls_active=True, capabilities={})
    refusal = answer(situation._replace(challenge_forgotten=True))
    assert isinstance(refusal, MechanismNotOffered)
    assert refusal.is_forgeable and "may be forged" in str(refusal)
    refusal = answer(situation)
    assert isinstance(refusal, MechanismNotOffered)
    assert "the greeting of the server has no valid challenge for APOP" in str(refusal)


@pytest.mark.parametrize(
    ("capabilities", "listed"),
    [
        ({"SASL": ["PLAIN", "LOGIN"]}, "it offers PLAIN LOGIN"),
        ({"SASL": []}, "it offers no SASL mechanism"),
        ({"TOP": None}, "it offers no SASL mechanism"),
    ],
)
def test_a_forced_mechanism_that_is_not_offered_lists_what_is(
    capabilities: Capabilities, listed: str
) -> None:
    refusal = answer(Situation("implicit", "cram-md5", tls_active=True, capabilities=capabilities))
    assert isinstance(refusal, MechanismNotOffered)
    assert "CRAM-MD5" in str(refusal)
    assert listed in str(refusal)


def test_a_server_that_has_refused_everything_is_offered_nothing_more() -> None:
    refusal = answer(Situation("implicit", tls_active=True, refused=frozenset({USER})))
    assert isinstance(refusal, MechanismNotOffered)


def test_every_mechanism_has_a_word_for_the_command_line() -> None:
    named = {name.removesuffix("-PLUS") for name in MECHANISMS}
    assert named == set(METHODS.values()) - {APOP, USER}


def test_every_method_of_the_command_line_is_known() -> None:
    assert list(METHODS) == [
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
    ]


@pytest.mark.parametrize(
    ("offered", "bound", "unbound"),
    [
        (MECHANISMS, "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"),
        (["SCRAM-SHA-1-PLUS", "SCRAM-SHA-256"], "SCRAM-SHA-256", "SCRAM-SHA-256"),
        (["PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"], "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"),
        (["plain", "scram-sha-1"], "SCRAM-SHA-1", "SCRAM-SHA-1"),
        (["LOGIN", "PLAIN", "CRAM-MD5"], "PLAIN", "PLAIN"),
        (["LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER", "EXTERNAL", "NTLM"], None, None),
        (["SCRAM-SHA-256-PLUS"], "SCRAM-SHA-256-PLUS", None),
        ([], None, None),
    ],
)
def test_the_strongest_offered_is_chosen(offered: list[str], bound: str | None, unbound: str | None) -> None:
    assert strongest(iter(offered), channel_binding=True) == bound
    assert strongest(iter(offered), channel_binding=False) == unbound


def test_a_use_adds_its_mechanisms_after_stronger_ones() -> None:
    offered = ["CRAM-MD5", "LOGIN", "EXTERNAL"]
    assert strongest(offered, channel_binding=True, uses=("password", "without TLS")) == "CRAM-MD5"
    assert strongest(offered, channel_binding=True, uses=("password", "last resort")) == "LOGIN"
    assert strongest([*offered, "PLAIN"], channel_binding=True, uses=("password", "last resort")) == "PLAIN"
