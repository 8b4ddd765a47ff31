"""STLS and login: injection, stripping, downgrade."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from pop3fetch.status import Status
from tests.support.hostile_servers import (
    APOP,
    CAPA,
    GREETING,
    PASSWORD,
    TIMEOUT,
    Attack,
    hanging_up,
    mailbox,
    saying,
)
from tests.support.scripted_server import Script, Talk

PLAIN = b"+OK ready\r\n"
STLS_OFFERED = b"+OK\r\nSTLS\r\nUSER\r\nSASL PLAIN\r\n.\r\n"
STARTTLS = ("--tls", "starttls")


# -- injection, stripping, fall-back ---------------------------------------------------------


@pytest.mark.parametrize("injected", [b"+", b"\r\n", b"+OK\r\n", CAPA, b"+OK logged in\r\n" * 500])
@pytest.mark.parametrize("mode", ["starttls", "auto"])
def test_octets_behind_the_answer_to_stls_are_an_error(attack: Attack, mode: str, injected: bytes) -> None:
    after = attack(
        saying(PLAIN, *([STLS_OFFERED] if mode == "auto" else []), b"+OK\r\n" + injected), "--tls", mode
    )
    after.fails(Status.PROTOCOL, "octets before the TLS handshake").told_nothing().left_alone()


def test_octets_that_come_after_the_answer_to_stls_spoil_the_handshake(attack: Attack) -> None:
    def script(talk: Talk) -> None:
        talk.say(PLAIN)
        talk.expect(b"STLS\r\n")
        talk.say(b"+OK\r\n")
        talk.take(3)  # the client's hello is on its way: the handshake has begun
        talk.say(CAPA)

    attack([script], *STARTTLS).fails(Status.PROTOCOL, "TLS").told_nothing().left_alone()


@pytest.mark.parametrize(
    "answer", [b"-ERR no TLS today\r\n", b"-ERR\r\n", b"BAD\r\n", b"+ERR\r\n", b"\r\n", b"+\r\n"]
)
@pytest.mark.parametrize("consent", [(), ("--allow-insecure-login",)])
def test_stls_that_is_refused_or_garbled_does_not_allow_clear_text(
    attack: Attack, answer: bytes, consent: tuple[str, ...]
) -> None:
    after = attack(saying(GREETING, answer), *STARTTLS, *consent)
    after.fails(Status.PROTOCOL).told_nothing().left_alone()


@pytest.mark.parametrize("capa", [CAPA, b"-ERR\r\n", b"+OK\r\n.\r\n", b"+OK\r\nstls-not\r\n.\r\n"])
def test_if_stls_is_stripped_nothing_is_sent(attack: Attack, capa: bytes) -> None:
    after = attack(saying(PLAIN, capa, b"-ERR\r\n"))
    after.fails(Status.NO_LOGIN, "not logging in", "--tls").told_nothing().left_alone()


def test_rubbish_for_capa_is_an_error(attack: Attack) -> None:
    attack(saying(PLAIN, b"BAD\r\n")).fails(Status.PROTOCOL).told_nothing().left_alone()


@pytest.mark.parametrize(
    "words", [b"you are logged in already", b"[PREAUTH] alice", b"alice, maildrop ready"]
)
def test_no_greeting_spares_the_login_or_tls(attack: Attack, words: bytes) -> None:
    attack(saying(b"+OK " + words + b"\r\n", b"-ERR\r\n"), *STARTTLS).fails(Status.PROTOCOL).told_nothing()


def test_a_greeting_of_imap_is_not_a_pop3_server(attack: Attack) -> None:
    after = attack(saying(b"* PREAUTH IMAP4rev1 alice logged in\r\n"), *STARTTLS)
    after.fails(Status.PROTOCOL, "IMAP").told_nothing()


def test_capabilities_before_tls_do_not_count_inside(attack: Attack, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        talk.say(GREETING)
        talk.expect(b"STLS\r\n")
        talk.say(b"+OK\r\n")
        talk.start_tls()
        talk.expect(b"CAPA\r\n")
        talk.say(b"+OK\r\nSASL PLAIN\r\nUIDL\r\n.\r\n")
        assert talk.line().startswith(b"AUTH PLAIN ")
        talk.say(b"-ERR [AUTH] no\r\n")

    attack([script], *STARTTLS, "--ca-file", ca_file).fails(Status.NO_LOGIN)


def test_capabilities_from_clear_text_choose_no_mechanism_inside_tls(attack: Attack, ca_file: Path) -> None:
    def script(talk: Talk) -> None:
        talk.say(PLAIN)
        talk.expect(b"CAPA\r\n")
        talk.say(b"+OK\r\nSTLS\r\nSASL XOAUTH2\r\nPIPELINING\r\n.\r\n")
        talk.expect(b"STLS\r\n")
        talk.say(b"+OK\r\n")
        talk.start_tls()
        talk.expect(b"CAPA\r\n")
        talk.say(b"+OK\r\nSASL PLAIN\r\n.\r\n")
        talk.line()

    after = attack([script], "--auth", "xoauth2", "--ca-file", ca_file)
    after.fails(Status.NO_LOGIN, "does not offer XOAUTH2; it offers PLAIN")


@pytest.mark.parametrize("end", [hanging_up, lambda talk: talk.say(b"rubbish" * 100)])
def test_tls_that_breaks_does_not_lead_to_clear_text_even_if_that_is_allowed(
    attack: Attack, end: Script
) -> None:
    def script(talk: Talk) -> None:
        talk.say(GREETING)
        talk.expect(b"STLS\r\n")
        talk.say(b"+OK\r\n")
        end(talk)

    after = attack(script, *STARTTLS, "--allow-insecure-login")
    after.fails(Status.PROTOCOL, "TLS").told_nothing().left_alone()


@pytest.mark.parametrize("options", [(), ("--tls", "off"), ("--auth", "user"), ("--auth", "plain")])
def test_clear_text_needs_consent(attack: Attack, options: tuple[str, ...]) -> None:
    after = attack(saying(PLAIN, b"+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n"), *options)
    after.fails(Status.NO_LOGIN, "--allow-insecure-login").told_nothing().left_alone()


# -- APOP ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "challenge",
    [
        b"<\xe9@localhost>",
        b"<1@local\x00host>",
        b"<1@local\x1bhost>",
        b"<1 2@localhost>",
        b"<1@a@b>",
        b"<no-domain>",
        b"<@localhost>",
        b"<1@>",
        b"<>",
        b"1@localhost",
        b"<1@" + b"x" * 251 + b">",
        b"<" + b"x" * 4000 + b"@localhost>",
    ],
)
def test_a_chosen_challenge_is_refused(attack: Attack, challenge: bytes) -> None:
    after = attack(saying(b"+OK " + challenge + b"\r\n", CAPA))
    after.fails(Status.NO_LOGIN).told_nothing().left_alone()


@pytest.mark.parametrize("text", [b"<" * 8000, b"<a@" * 2600, b"<" + b"@" * 8000, (b"<" + b"a" * 249) * 32])
def test_a_greeting_that_costs_backtracking_costs_none(attack: Attack, text: bytes) -> None:
    attack(saying(b"+OK " + text + b"\r\n", CAPA)).fails(Status.NO_LOGIN).told_nothing()


def test_no_password_in_clear_text_follows_a_refused_apop(attack: Attack) -> None:
    after = attack(
        saying(GREETING, b"+OK\r\nUSER\r\nSASL PLAIN LOGIN CRAM-MD5\r\n.\r\n", b"-ERR no\r\n", b"+OK\r\n"),
        "--allow-insecure-login",
    )
    after.fails(Status.NO_LOGIN, "APOP").left_alone()
    assert PASSWORD.encode() not in after.received
    assert after.verbs == [b"CAPA", b"APOP"]


# -- SASL ------------------------------------------------------------------------------------


def scram(answer: Callable[[bytes], bytes], then: bytes = b"+OK\r\n") -> Script:
    """Return a SCRAM server whose first message is what ``answer`` makes of the client's nonce."""

    def script(talk: Talk) -> None:
        talk.say(b"+OK\r\n")
        talk.expect(b"CAPA\r\n")
        talk.say(b"+OK\r\nSASL SCRAM-SHA-256\r\n.\r\n")
        words = talk.line().split()
        nonce = base64.b64decode(words[2]).rpartition(b"r=")[2]
        talk.say(b"+ " + base64.b64encode(answer(nonce)) + b"\r\n")
        if talk.line() == b"*\r\n":
            talk.say(b"-ERR\r\n")
        else:
            talk.say(then)

    return script


SALT = base64.b64encode(b"salt")


@pytest.mark.parametrize(
    "answer",
    [
        lambda nonce: b"r=%bx,s=%b,i=2147483648" % (nonce, SALT),
        lambda nonce: b"r=%bx,s=%b,i=%b" % (nonce, SALT, b"9" * 5000),
        lambda nonce: b"r=%bx,s=%b,i=1000001" % (nonce, SALT),
        lambda nonce: b"r=%bx,s=%b,i=4095" % (nonce, SALT),
        lambda nonce: b"r=%bx,s=%b,i=1" % (nonce, SALT),
        lambda nonce: b"r=%bx,s=%b,i=-5000" % (nonce, SALT),
        lambda nonce: b"r=%b,s=%b,i=4096" % (nonce, SALT),
        lambda nonce: b"r=foreign,s=%b,i=4096" % SALT,
        lambda nonce: b"m=x,r=%bx,s=%b,i=4096" % (nonce, SALT),
        lambda nonce: b"e=other-error\x1b[2J",
        lambda nonce: b"\xff\xfe",
        lambda nonce: b"",
    ],
)
def test_a_scram_server_that_fishes_gets_no_proof(attack: Attack, answer: Callable[[bytes], bytes]) -> None:
    after = attack([scram(answer)], "--auth", "scram-sha-256", "--tls", "off")
    after.fails(Status.NO_LOGIN, "SCRAM-SHA-256").left_alone()
    assert after.received.splitlines()[2:] == [b"*"]


@pytest.mark.parametrize(
    "then", [b"+OK in\r\n", b"+ " + base64.b64encode(b"v=" + SALT) + b"\r\n", b"+ \r\n", b"+ dj0=\r\n"]
)
def test_a_scram_server_that_cannot_prove_itself_gets_no_session(attack: Attack, then: bytes) -> None:
    after = attack(
        [scram(lambda nonce: b"r=%bx,s=%b,i=4096" % (nonce, SALT), then)],
        "--auth", "scram-sha-256", "--tls", "off", "-vv",
    )  # fmt: skip
    assert after.ended.status == Status.NO_LOGIN
    after.left_alone()
    assert not {b"LIST", b"UIDL", b"RETR"} & set(after.verbs)


@pytest.mark.parametrize("challenge", [b"+ !!!!", b"+ \xff\xfe", b"+ YQ", b"+ Y Q = =", b"+ YQ==YQ=="])
def test_a_challenge_that_is_not_base64_cancels_the_login(attack: Attack, challenge: bytes) -> None:
    after = attack(
        saying(PLAIN, b"+OK\r\nSASL CRAM-MD5\r\n.\r\n", challenge + b"\r\n", b"-ERR\r\n"),
        "--auth", "cram-md5", "--tls", "off",
    )  # fmt: skip
    after.fails(Status.NO_LOGIN, "base64").left_alone()
    assert after.received.endswith(b"AUTH CRAM-MD5\r\n*\r\n")


@pytest.mark.parametrize(("method", "rounds"), [("login", 2), ("cram-md5", 1), ("plain", 0), ("xoauth2", 1)])
def test_challenges_without_end_are_cancelled(attack: Attack, method: str, rounds: int) -> None:
    def script(talk: Talk) -> None:
        talk.say(b"+OK\r\n")
        talk.expect(b"CAPA\r\n")
        talk.say(b"+OK\r\nSASL %b\r\n.\r\n" % method.upper().encode())
        while talk.line():
            talk.say(b"+ YQ==\r\n")

    after = attack([script], "--auth", method, "--tls", "off", "--allow-insecure-login")
    after.fails(Status.NO_LOGIN).left_alone()
    assert len(after.received.splitlines()) == len(["CAPA", "AUTH", "*"]) + rounds


# -- commands in arguments -------------------------------------------------------------------

INJECTED = "x\r\nDELE 1"


@pytest.mark.parametrize("user", [INJECTED, "a\rb", "a\nb", "a\0b", "\r\n"])
@pytest.mark.parametrize("method", ["user", "apop", "plain"])
def test_a_user_name_cannot_be_a_second_command(attack: Attack, user: str, method: str) -> None:
    def url(port: int) -> str:
        return f"pop3://{quote(user)}@127.0.0.1:{port}"

    server = attack.start(saying(GREETING, CAPA, *[b"-ERR\r\n"] * 4))
    ended = attack.here(
        "get", "--auth", method, "--allow-insecure-login", "--timeout", str(TIMEOUT),
        env={"POP3FETCH_ACCOUNT": url(server.port), "POP3FETCH_PASSWORD": PASSWORD},
    )  # fmt: skip
    server.wait()
    assert ended.status in (Status.USAGE, Status.NO_LOGIN)
    assert ended.err.startswith(b"pop3fetch: ")
    assert ended.err.count(b"\n") == 1
    assert b"DELE" not in b"".join(server.received)
    assert PASSWORD.encode() not in b"".join(server.received)


@pytest.mark.parametrize("password", [INJECTED, "a\rb", "a\nb"])
@pytest.mark.parametrize("method", ["user", "plain", "apop"])
def test_a_password_cannot_be_a_second_command(attack: Attack, password: str, method: str) -> None:
    after = attack(
        saying(GREETING, CAPA, *[b"+OK\r\n"] * 3),
        "--auth", method, "--allow-insecure-login", env={"POP3FETCH_PASSWORD": password},
    )  # fmt: skip
    assert after.ended.status != 0
    assert not re.search(rb"^DELE", after.received, re.MULTILINE)
    assert after.delivered == []


def test_a_selector_cannot_be_a_command(attack: Attack) -> None:
    after = attack(mailbox(), command=("get", "-o", "-", "uid:x\r\nDELE 1"))
    after.fails(Status.NO_MESSAGE)
    assert b"DELE" not in after.received
    assert APOP in after.commands
