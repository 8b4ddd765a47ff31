"""SASL mechanisms against the examples of their RFCs, and against dishonest servers."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pop3fetch.defaults import TOKEN_METHODS
from pop3fetch.errors import MechanismFailed
from pop3fetch.pop3 import sasl
from pop3fetch.pop3.login import CLEAR_TEXT
from pop3fetch.pop3.sasl import MECHANISMS, Credentials, Mechanism, mechanism
from tests.support.scram import ScramServer, hash_of

NONCE = "rOprNGfwEbeRWgbNEkqO"
SCRAMS = [name for name in MECHANISMS if name.startswith("SCRAM")]
PLUS = [name for name in SCRAMS if name.endswith("-PLUS")]
BARE_SCRAMS = [name for name in SCRAMS if name not in PLUS]
SECRET = "secret pass-wörd"
UNPROVEN = r"^SCRAM-SHA-256: the server does not prove that it knows the password \("
BINDINGS = [
    ("tls-exporter", b"\x00exported\xff"),
    ("tls-server-end-point", b"hash"),
    ("tls-unique", b"finished"),
]


def initial(exchange: Mechanism) -> bytes:
    response = exchange.initial()
    assert response is not None
    return response


def scram(name: str = "SCRAM-SHA-256", user: str = "user", secret: str = "pencil") -> Mechanism:
    return mechanism(name, Credentials(user, secret), nonce=NONCE)


def assert_logs_in(exchange: Mechanism, server: ScramServer) -> bytes:
    """Run a whole exchange and return the client-final-message."""
    client_final = exchange.respond(server.first(initial(exchange)))
    assert exchange.respond(server.final(client_final)) == b""
    exchange.finish()
    return client_final


# Names and choice


def test_all_names_make_a_mechanism_of_that_name() -> None:
    everything = Credentials("user", "token", channel_binding=BINDINGS[0])
    for name in MECHANISMS:
        assert mechanism(name.lower(), everything).name == name


def test_the_mechanisms_are_those_of_the_contract() -> None:
    assert set(MECHANISMS) == {
        *("PLAIN", "LOGIN", "CRAM-MD5", "XOAUTH2", "OAUTHBEARER", "EXTERNAL"),
        *("SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"),
    }


def test_an_unknown_mechanism_is_refused_in_harmless_words() -> None:
    with pytest.raises(MechanismFailed, match=r"unknown mechanism NTLM\\x1b; use one of SCRAM-"):
        mechanism("NTLM\x1b", Credentials("user", "secret"))


def test_clear_text_mechanisms_are_exactly_those_that_send_the_secret() -> None:
    def sends_secret(name: str) -> bool:
        binding = BINDINGS[0] if name.endswith("-PLUS") else None
        exchange = mechanism(name, Credentials("user", "very-secret", channel_binding=binding), nonce=NONCE)
        first = exchange.initial()
        sent = [first] if first is not None else []
        challenges = (
            [b"prompt", b"prompt"] if first is None else [f"r={NONCE}x,s=AAAAAAAAAAAAAAAA,i=4096".encode()]
        )
        for challenge in challenges:
            try:
                sent.append(exchange.respond(challenge))
            except MechanismFailed:
                break
        assert sent
        return any(b"very-secret" in octets for octets in sent)

    assert {name for name in MECHANISMS if sends_secret(name)} == CLEAR_TEXT


def test_the_mechanisms_for_tokens_are_those_that_the_settings_know() -> None:
    assert {name.lower() for name, (_, _, use) in MECHANISMS.items() if use == "token"} == {*TOKEN_METHODS}


# PLAIN, LOGIN, CRAM-MD5, EXTERNAL, APOP


def test_plain_sends_the_example_of_rfc_4616() -> None:
    exchange = mechanism("PLAIN", Credentials("tim", "tanstaaftanstaaf"))
    assert exchange.initial() == b"\0tim\0tanstaaftanstaaf"
    exchange.finish()
    assert exchange.refused() == ""


def test_plain_sends_utf_8() -> None:
    exchange = mechanism("PLAIN", Credentials("jürgen", SECRET))
    assert exchange.initial() == b"\0j\xc3\xbcrgen\0secret pass-w\xc3\xb6rd"


def test_login_answers_any_two_prompts_with_user_and_password() -> None:
    exchange = mechanism("LOGIN", Credentials("jürgen", SECRET))
    assert exchange.initial() is None
    assert exchange.respond(b"Username:") == b"j\xc3\xbcrgen"
    assert exchange.respond(b"\xff whatever\0") == b"secret pass-w\xc3\xb6rd"
    exchange.finish()


def test_cram_md5_gives_the_digest_of_rfc_2195() -> None:
    exchange = mechanism("CRAM-MD5", Credentials("tim", "tanstaaftanstaaf"))
    assert exchange.initial() is None
    response = exchange.respond(b"<1896.697170952@postoffice.reston.mci.net>")
    assert response == b"tim b913a602c7eda7a495b4e6e7334d3890"
    exchange.finish()


def test_cram_md5_digests_a_long_utf_8_password() -> None:
    exchange = mechanism("CRAM-MD5", Credentials("jürgen", SECRET * 9))
    expected = hmac.new((SECRET * 9).encode(), b"<x@y>", "md5").hexdigest()
    assert exchange.respond(b"<x@y>") == "jürgen ".encode() + expected.encode()


def test_cram_md5_does_not_digest_an_empty_challenge() -> None:
    with pytest.raises(MechanismFailed, match="CRAM-MD5: the server's challenge is empty"):
        mechanism("CRAM-MD5", Credentials("tim", "secret")).respond(b"")


@pytest.mark.parametrize(("user", "response"), [("fred@example.com", b"fred@example.com"), ("", b"")])
def test_external_sends_whom_to_be_and_no_secret(user: str, response: bytes) -> None:
    assert mechanism("EXTERNAL", Credentials(user, "secret")).initial() == response


def test_apop_gives_the_digest_of_rfc_1939() -> None:
    digest = sasl.apop_digest(b"<1896.697170952@dbc.mtview.ca.us>", "tanstaaf")
    assert digest == "c4c9334bac560ecc979e58001b3e22fb"


def test_apop_digests_utf_8() -> None:
    assert sasl.apop_digest(b"<x@y>", SECRET) == hashlib.md5(b"<x@y>" + SECRET.encode()).hexdigest()


def test_apop_refuses_a_secret_that_is_not_text() -> None:
    with pytest.raises(MechanismFailed, match="APOP cannot carry the secret"):
        sasl.apop_digest(b"<x@y>", "\udcff")


# Rounds, and credentials that do not fit


# The initial response, and one to each challenge; those of SCRAM depend on the server.
EXCHANGES: dict[str, tuple[bytes | None, ...]] = {
    "PLAIN": (b"\0user\0secret",),
    "LOGIN": (None, b"user", b"secret"),
    "CRAM-MD5": (None, b"user " + hmac.new(b"secret", b"challenge", "md5").hexdigest().encode()),
    "OAUTHBEARER": (b"n,a=user,\x01auth=Bearer secret\x01\x01", b"\x01"),
    "XOAUTH2": (b"user=user\x01auth=Bearer secret\x01\x01", b""),
    "EXTERNAL": (b"user",),
}


@pytest.mark.parametrize("name", [name for name in MECHANISMS if name not in SCRAMS])
def test_a_mechanism_answers_as_many_challenges_as_it_has_rounds(name: str) -> None:
    exchange = mechanism(name, Credentials("user", "secret"))
    assert name in EXCHANGES, "write its exchange there"
    first, *others = EXCHANGES[name]
    assert exchange.initial() == first
    assert [exchange.respond(b"challenge") for _ in others] == others
    for _ in range(2):
        with pytest.raises(MechanismFailed, match=f"{name}: the server requests more than"):
            exchange.respond(b"challenge")


@pytest.mark.parametrize("name", BARE_SCRAMS)
def test_scram_answers_two_challenges(name: str) -> None:
    exchange = scram(name)
    assert_logs_in(exchange, ScramServer(hash_of(name), b"pencil"))
    with pytest.raises(MechanismFailed, match=f"{name}: the server requests more"):
        exchange.respond(b"")


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("unfit", ["a\0b", "a\udcffb"])
def test_no_mechanism_carries_a_nul_or_invalid_utf_8(name: str, unfit: str) -> None:
    with pytest.raises(
        MechanismFailed, match=f"{name} cannot carry the user name: it contains a control character"
    ):
        mechanism(name, Credentials(unfit, "secret", channel_binding=BINDINGS[0]))
    with pytest.raises(MechanismFailed, match=f"{name} cannot carry the secret: it contains a control"):
        mechanism(name, Credentials("user", unfit, channel_binding=BINDINGS[0]))


@pytest.mark.parametrize("name", ["XOAUTH2", "OAUTHBEARER"])
@pytest.mark.parametrize("character", ["\x01", "\r", "\n", "\x1f", "\x7f"])
def test_oauth_fields_cannot_be_forged(name: str, character: str) -> None:
    forged = f"user{character}auth=Bearer other"
    with pytest.raises(MechanismFailed, match="cannot carry the user name"):
        mechanism(name, Credentials(forged, "token"))
    with pytest.raises(MechanismFailed, match="cannot carry the secret"):
        mechanism(name, Credentials("user", forged))


def test_oauthbearer_refuses_a_host_name_with_a_field_in_it() -> None:
    with pytest.raises(MechanismFailed, match="OAUTHBEARER cannot carry the host name"):
        mechanism("OAUTHBEARER", Credentials("user", "token", host="mail\x01auth=Bearer other"))


# XOAUTH2 and OAUTHBEARER


def test_xoauth2_sends_the_example_of_google() -> None:
    token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg"
    response = initial(mechanism("XOAUTH2", Credentials("someuser@example.com", token)))
    assert response == b"user=someuser@example.com\x01auth=Bearer " + token.encode() + b"\x01\x01"
    assert sasl.encode(response) == (
        b"dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRx"
        b"bVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ=="
    )


def test_oauthbearer_sends_the_example_of_rfc_7628() -> None:
    token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
    credentials = Credentials("user@example.com", token, host="server.example.com", port=143)
    assert sasl.encode(initial(mechanism("OAUTHBEARER", credentials))) == (
        b"bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZG"
        b"OWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )


def test_oauthbearer_escapes_the_user_and_leaves_out_what_is_not_known() -> None:
    response = mechanism("OAUTHBEARER", Credentials("a=b,c", "token")).initial()
    assert response == b"n,a=a=3Db=2Cc,\x01auth=Bearer token\x01\x01"


@pytest.mark.parametrize(("name", "acknowledgement"), [("XOAUTH2", b""), ("OAUTHBEARER", b"\x01")])
def test_an_oauth_error_challenge_is_acknowledged_and_reported(name: str, acknowledgement: bytes) -> None:
    exchange = mechanism(name, Credentials("user", "ya29.x"))
    assert exchange.refused() == ""
    challenge = sasl.decode(
        b"eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJleGFtcGxlX3Njb3BlIiwib3BlbmlkLWNvbmZpZ3VyYXRp"
        b"b24iOiJodHRwczovL2V4YW1wbGUuY29tLy53ZWxsLWtub3duL29wZW5pZC1jb25maWd1cmF0aW9uIn0="
    )
    assert exchange.respond(challenge) == acknowledgement
    assert exchange.refused() == (
        "status: invalid_token, scope: example_scope, "
        "openid-configuration: https://example.com/.well-known/openid-configuration"
    )


@pytest.mark.parametrize(
    ("challenge", "words"),
    [
        (b'{"status":"400","code":7,"more":{"a":1},"none":null,"list":[]}', "status: 400, code: 7"),
        (b'{"status":"400","scope":""}', "status: 400"),
        (b'{"more":{}}', '{"more":{}}'),
        (b'["status"]', '["status"]'),
        (b"no \x1b JSON\xff", r"no \x1b JSON\xff"),
        (b'{"status":"\\u001b[2J\\n"}', r"status: \x1b[2J\n"),
        (b"[" * 8000, "[" * 8000),  # whole: who shows it masks first, and cuts then
        (b'{"n":' + b"1" * 5000 + b"}", '{"n":' + "1" * 5000 + "}"),
        (b'{"status":"my-token is bad"}', "status: (secret) is bad"),
        (b"my-token is bad", "(secret) is bad"),
        (b"", ""),
    ],
)
def test_an_error_challenge_of_any_kind_is_shown_harmlessly(challenge: bytes, words: str) -> None:
    exchange = mechanism("XOAUTH2", Credentials("user", "my-token"))
    exchange.respond(challenge)
    assert exchange.refused() == words


def test_an_error_challenge_is_reported_without_a_token() -> None:
    exchange = mechanism("XOAUTH2", Credentials("user", ""))
    exchange.respond(json.dumps({"status": "400"}).encode())
    assert exchange.refused() == "status: 400"


# SCRAM


def test_scram_sha_1_follows_the_example_of_rfc_5802() -> None:
    exchange = mechanism("SCRAM-SHA-1", Credentials("user", "pencil"), nonce="fyko+d2lbbFgONRv9qkxdawL")
    assert exchange.initial() == b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"
    client_final = exchange.respond(b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096")
    assert client_final == (
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    )
    assert exchange.respond(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=") == b""
    exchange.finish()


def test_scram_sha_256_follows_the_example_of_rfc_7677() -> None:
    exchange = scram()
    assert exchange.initial() == exchange.initial() == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    client_final = exchange.respond(
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert client_final == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    assert exchange.respond(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=") == b""
    exchange.finish()


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("name", PLUS)
def test_plus_binds_the_login_to_the_channel(name: str, binding: tuple[str, bytes]) -> None:
    exchange = mechanism(name, Credentials("user", "pencil", channel_binding=binding), nonce=NONCE)
    header = f"p={binding[0]},,".encode()
    assert initial(exchange) == header + f"n=user,r={NONCE}".encode()
    client_final = assert_logs_in(exchange, ScramServer(hash_of(name), b"pencil"))
    assert client_final.startswith(b"c=" + base64.b64encode(header + binding[1]) + b",r=")


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("name", BARE_SCRAMS)
def test_a_channel_without_plus_reports_that_the_server_did_not_offer_it(
    name: str, binding: tuple[str, bytes]
) -> None:
    exchange = mechanism(name, Credentials("user", "pencil", channel_binding=binding), nonce=NONCE)
    assert exchange.initial() == f"y,,n=user,r={NONCE}".encode()
    client_final = assert_logs_in(exchange, ScramServer(hash_of(name), b"pencil"))
    assert client_final.startswith(b"c=" + base64.b64encode(b"y,,") + b",r=")


@pytest.mark.parametrize("name", PLUS)
def test_plus_without_a_channel_is_refused(name: str) -> None:
    with pytest.raises(MechanismFailed, match=f"{name}: there is no TLS channel to bind the login to"):
        scram(name)


@pytest.mark.parametrize("binding", [("tls-unknown", b"x"), ("tls-unique", b""), ("tls-exporter", b"")])
def test_an_invalid_channel_binding_is_refused(binding: tuple[str, bytes]) -> None:
    with pytest.raises(MechanismFailed, match=r"SCRAM-SHA-256-PLUS: it does not work with this .* channel"):
        mechanism("SCRAM-SHA-256-PLUS", Credentials("user", "pencil", channel_binding=binding))


def test_scram_makes_a_new_nonce_for_each_login() -> None:
    first, second = (initial(mechanism("SCRAM-SHA-256", Credentials("user", "pencil"))) for _ in range(2))
    assert first != second
    assert first.startswith(b"n,,n=user,r=")
    assert len(first.split(b"r=")[1]) == 32


def test_scram_escapes_the_user_name() -> None:
    assert initial(scram(user="a=b,c")) == f"n,,n=a=3Db=2Cc,r={NONCE}".encode()


@pytest.mark.parametrize(
    ("given", "prepared"),
    [
        (SECRET, SECRET),
        ("pass-wo\u0308rd", "pass-wörd"),
        ("I\u00adX", "IX"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("", ""),
    ],
)
def test_scram_prepares_user_name_and_password(given: str, prepared: str) -> None:
    exchange = scram(user="u" + given, secret=given)
    assert initial(exchange) == f"n,,n=u{prepared},r={NONCE}".encode()
    assert_logs_in(exchange, ScramServer("sha256", prepared.encode()))


@pytest.mark.parametrize(
    ("user", "secret"), [("", "pencil"), ("user\r\n", "pencil"), ("user", "pencil\x07"), ("user", "\u0627a")]
)
def test_scram_refuses_what_saslprep_prohibits(user: str, secret: str) -> None:
    with pytest.raises(MechanismFailed, match="SCRAM-SHA-256: it does not work with this user name"):
        scram(user=user, secret=secret)


def test_scram_refuses_an_unfit_nonce() -> None:
    with pytest.raises(MechanismFailed, match="it does not work"):
        mechanism("SCRAM-SHA-256", Credentials("user", "pencil"), nonce="with,comma")


@pytest.mark.parametrize("nonce", ["", NONCE, NONCE[:-1] + "xyz", "x" + NONCE])
def test_a_nonce_that_does_not_continue_ours_is_refused(nonce: str) -> None:
    reason = "nonce does not begin with ours" if nonce else "first message is malformed"
    with pytest.raises(MechanismFailed, match=f"^SCRAM-SHA-256: the server's {reason}$"):
        scram().respond(f"r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096".encode())


@pytest.mark.parametrize("count", ["1", "4095", "1000001", "9999999", "2147483648", "1" + "0" * 5000])
def test_a_hostile_iteration_count_is_refused_before_anything_is_computed(
    count: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[object] = []
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", lambda *arguments: computed.append(arguments))
    shown = count if len(count) <= 20 else f"{count[:19]}…"
    reason = f"the server requests {shown} iterations, outside of 4096 to 1000000"
    with pytest.raises(MechanismFailed, match=f"^SCRAM-SHA-256: {reason}$"):
        scram().respond(f"r={NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={count}".encode())
    assert computed == []


def test_an_honest_count_of_iterations_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []

    def pbkdf2(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        counts.append(iterations)
        return bytes(32)

    monkeypatch.setattr(hashlib, "pbkdf2_hmac", pbkdf2)
    scram().respond(f"r={NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=5000".encode())
    assert counts == [5000]


@pytest.mark.parametrize("count", [4096, 4097, 1_000_000])
def test_an_honest_iteration_count_is_computed(count: int) -> None:
    assert_logs_in(scram(), ScramServer("sha256", b"pencil", iterations=count))


@pytest.mark.parametrize(
    "server_first",
    [
        b"",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        b"r=NONCEx,s=W22ZaJ0SNY7soEsUEjb6gQ==",
        b"s=W22ZaJ0SNY7soEsUEjb6gQ==,r=NONCEx,i=4096",
        b"r=NONCEx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=04096",
        b"r=NONCEx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=+4096",
        b"r=NONCEx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096\n",
        "r=NONCEx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=٤٠٩٦".encode(),
        b"r=NONCE x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"m=ext,r=NONCEx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"r=NONCEx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096 ",
    ],
)
def test_a_malformed_first_message_is_refused(server_first: bytes) -> None:
    with pytest.raises(MechanismFailed, match="SCRAM-SHA-256: the server's first message is malformed"):
        scram().respond(server_first.replace(b"NONCE", NONCE.encode()))


@pytest.mark.parametrize(
    "tail",
    [
        b"s=A,i=4096",
        b"s=W22ZaJ0SNY7soEsUEjb6gQ,i=4096",
        b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,x",
    ],
)
def test_a_first_message_that_cannot_be_is_refused(tail: bytes) -> None:
    with pytest.raises(
        MechanismFailed, match=r"(^|: )the server's (first message is wrong \(|challenge is not base64$)"
    ):
        scram().respond(b"r=" + NONCE.encode() + b"x," + tail)


@pytest.mark.parametrize("name", BARE_SCRAMS)
@pytest.mark.parametrize("length", [1, 2, 3, 4, 8, 9, 11, 12, 13, 64])
def test_a_salt_of_any_length_logs_in(length: int, name: str) -> None:
    server = ScramServer(hash_of(name), b"pencil", salt=bytes(range(length)))
    assert_logs_in(scram(name), server)


def test_an_empty_salt_is_refused() -> None:
    with pytest.raises(MechanismFailed, match="malformed"):
        scram().respond(f"r={NONCE}x,s=,i=4096".encode())


def test_an_optional_extension_is_let_pass() -> None:
    server_first = f"r={NONCE}x,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,x=y,z=ö".encode()
    assert scram().respond(server_first).startswith(f"c=biws,r={NONCE}x,p=".encode())


def test_a_message_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(MechanismFailed, match="SCRAM-SHA-256: the server's message is not UTF-8"):
        scram().respond(b"r=\xff")


def test_a_forged_server_signature_is_refused() -> None:
    exchange, server = scram(), ScramServer("sha256", b"pencil")
    exchange.respond(server.first(initial(exchange)))
    with pytest.raises(MechanismFailed, match=UNPROVEN):
        exchange.respond(b"v=" + base64.b64encode(bytes(32)))
    with pytest.raises(MechanismFailed, match="without proving"):
        exchange.finish()


@pytest.mark.parametrize("server_final", [b"", b"v=", b"v=!!!!", b"v=AAAA", b"x=y", b"OK"])
def test_a_malformed_final_message_proves_nothing(server_final: bytes) -> None:
    exchange, server = scram(), ScramServer("sha256", b"pencil")
    exchange.respond(server.first(initial(exchange)))
    with pytest.raises(MechanismFailed, match=UNPROVEN):
        exchange.respond(server_final)


@pytest.mark.parametrize("challenges", [0, 1])
def test_ok_without_a_server_signature_is_refused(challenges: int) -> None:
    exchange, server = scram(), ScramServer("sha256", b"pencil")
    for _ in range(challenges):
        exchange.respond(server.first(initial(exchange)))
    reason = "the server accepted the login without proving that it knows the password"
    with pytest.raises(MechanismFailed, match=f"^SCRAM-SHA-256: {reason}$"):
        exchange.finish()


def test_a_right_signature_after_a_refused_first_message_proves_nothing() -> None:
    exchange, server = scram(), ScramServer("sha256", b"pencil")
    twin = scram()
    server_final = server.final(twin.respond(server.first(initial(twin))))
    with pytest.raises(MechanismFailed, match="iterations"):
        exchange.respond(server.server_first.replace(b"i=4096", b"i=1"))
    with pytest.raises(MechanismFailed, match="does not prove"):
        exchange.respond(server_final)
    with pytest.raises(MechanismFailed, match="without proving"):
        exchange.finish()


@pytest.mark.parametrize("after_first", [False, True])
def test_an_error_of_the_server_is_shown_harmlessly(after_first: bool) -> None:
    exchange, server = scram(), ScramServer("sha256", b"pencil")
    if after_first:
        exchange.respond(server.first(initial(exchange)))
    with pytest.raises(
        MechanismFailed, match=r"SCRAM-SHA-256: the server refuses: invalid-proof\\x1b\[2J"
    ) as caught:
        exchange.respond(b"e=invalid-proof\x1b[2J")
    assert len(str(caught.value)) < 100


# Base64


def test_an_empty_response_is_an_empty_line_but_an_equals_sign_with_auth() -> None:
    assert sasl.encode(b"") == b""
    assert sasl.encode_initial(b"") == b"="
    assert sasl.encode_initial(b"\0u\0p") == sasl.encode(b"\0u\0p") == b"AHUAcA=="


def test_a_long_response_stays_one_line() -> None:
    assert b"\n" not in sasl.encode(bytes(3000))


@pytest.mark.parametrize(
    "challenge", [b"A", b"AAA", b"AA==AA==", b"AA AA", b"AAAA\n", b"=", b"Username:", b"\xff"]
)
def test_a_challenge_that_is_not_base64_is_refused(challenge: bytes) -> None:
    with pytest.raises(MechanismFailed, match=r"^the server's challenge is not base64$"):
        sasl.decode(challenge)


@given(st.binary())
def test_decode_undoes_encode(octets: bytes) -> None:
    assert sasl.decode(sasl.encode(octets)) == octets


@given(st.binary())
def test_decode_raises_nothing_else(challenge: bytes) -> None:
    try:
        sasl.decode(challenge)
    except MechanismFailed:
        return
    assert set(challenge) <= set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")


# Any reply of a server, and the places that must not contain secrets


SCRAM_LIKE = st.lists(
    st.sampled_from(
        [
            f"r={NONCE}",
            f"r={NONCE}x",
            "s=W22ZaJ0SNY7soEsUEjb6gQ==",
            "i=4096",
            "v=AAAA",
            "e=x",
            "m=1",
            ",",
            "",
            "=",
            "x=é",
        ]
    )
).map(lambda parts: ",".join(parts).encode())
CHALLENGES = st.lists(st.one_of(st.binary(max_size=64), SCRAM_LIKE), min_size=1, max_size=4)


@pytest.mark.parametrize("name", MECHANISMS)
@settings(max_examples=60, deadline=None)
@given(challenges=CHALLENGES)
def test_only_mechanism_failed_leaves_and_a_liar_has_no_success(name: str, challenges: list[bytes]) -> None:
    exchange = mechanism(name, Credentials("user", "hunter2", channel_binding=BINDINGS[0]), nonce=NONCE)
    exchange.initial()
    for challenge in challenges:
        try:
            exchange.respond(challenge)
        except MechanismFailed as error:
            assert "hunter2" not in f"{error!s}{error!r}"
    if name in SCRAMS:
        with pytest.raises(MechanismFailed):
            exchange.finish()


@settings(max_examples=60, deadline=None)
@given(user=st.text(max_size=20), secret=st.text(max_size=20))
def test_only_mechanism_failed_leaves_whatever_the_credentials(user: str, secret: str) -> None:
    for name in MECHANISMS:
        try:
            exchange = mechanism(name, Credentials(user, secret, channel_binding=BINDINGS[0]))
        except MechanismFailed:
            continue
        exchange.initial()


@pytest.mark.parametrize("name", MECHANISMS)
def test_no_repr_shows_the_secret(name: str) -> None:
    credentials = Credentials("user", "hunter2", channel_binding=BINDINGS[0])
    exchange = mechanism(name, credentials)
    exchange.initial()
    assert repr(credentials).startswith("Credentials(user='user', host=''")
    for shown in (repr(credentials), str(credentials), repr(exchange), str(exchange)):
        assert "hunter2" not in shown


@pytest.mark.parametrize("name", MECHANISMS)
@pytest.mark.parametrize("secret", ["hunter2\0", "hunter2\udcff", "hunter2\x01"])
def test_no_exception_shows_or_holds_the_secret(name: str, secret: str) -> None:
    credentials = Credentials("user", secret, channel_binding=BINDINGS[0])
    try:
        mechanism(name, credentials)
    except MechanismFailed as error:
        chain: list[BaseException] = [error]
        while chain[-1].__context__ is not None:
            chain.append(chain[-1].__context__)
        assert "hunter2" not in "".join(repr((link, link.args, vars(link))) for link in chain)
    else:
        assert secret.endswith("\x01")
        assert name in {"PLAIN", "LOGIN", "CRAM-MD5", "EXTERNAL"}


def test_scramp_is_not_loaded_before_scram_is_wanted() -> None:
    code = (
        "import sys; from pop3fetch.pop3.sasl import Credentials, mechanism;"
        "mechanism('PLAIN', Credentials('u', 'p')).initial(); print('scramp' in sys.modules);"
        "mechanism('SCRAM-SHA-1', Credentials('u', 'p')); print('scramp' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=True,
    )
    assert ran.stdout.split() == ["False", "True"]
